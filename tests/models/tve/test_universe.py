"""Which rows there are: born in time, on the grid, dormant ones sampled and weighted."""

from dataclasses import replace
from datetime import timedelta

import polars as pl
import pytest

from models.database.schema import Task, TaskType
from models.tve.timeline import Timeline, rounded_tile, tasks_on, timeline_of
from tests.models.dfs.shop import SHOP, day, typed
from tests.models.tve.building import AS_OF, CONFIG, TILE, build, shop, with_customers

ALL = replace(CONFIG, dormant_per_active=None)
KEYS = ["cutoff_time", "entity"]


def brute_force_rows(frames, born, tile=TILE, as_of=AS_OF, slack=timedelta(0)):
    """(cutoff, entity, active) by loops; training ends four tiles before as_of."""
    events = events_of(frames, as_of)
    rows = set()
    for back in range(1, 30):
        cutoff = as_of - back * tile
        for entity, since in born.items():
            if since is not None and since <= cutoff + slack:
                active = any(who == entity and cutoff < at <= cutoff + tile for who, at in events)
                rows.add((cutoff, entity, active))
    first = min(at for _, at in events)
    return {row for row in rows if row[0] >= first}


def events_of(frames, as_of=AS_OF):
    """(customer, time) of every order and item up to as_of."""
    frames = with_customers(frames)
    pairs = [
        *frames["orders"].select("customer_id", "at").iter_rows(),
        *frames["items"].select("order_id.customer_id", "at").iter_rows(),
    ]
    return [(who, at) for who, at in pairs if who is not None and at is not None and at <= as_of]


def first_events(frames):
    found = {}
    for who, at in events_of(frames):
        found[who] = min(found.get(who, at), at)
    return found


def test_an_entity_is_there_from_its_first_event_on_and_never_before(tmp_path):
    frames = shop(orders=40)
    vectors, _, _ = build(frames, tmp_path, config=ALL)
    found = set(vectors.frame.select(*KEYS, "active").iter_rows())
    assert found == brute_force_rows(frames, first_events(frames))
    assert any(not active for *_, active in found)
    # Somebody's first event lies exactly at a cutoff.
    assert {moment for moment in first_events(frames).values()} & {row[0] for row in found}


def test_an_own_event_time_decides_where_there_is_one(tmp_path):
    frames = shop(orders=80)
    tables = dict(frames)
    tables["stores"] = tables["stores"].with_columns(
        pl.Series("opened", [day(6), day(7), None, day(25)], dtype=pl.Datetime("us"))
    )
    vectors, _, _ = build(tables, tmp_path, config=ALL, entity="stores")
    since = dict(vectors.frame.group_by("entity").agg(pl.col("cutoff_time").min()).iter_rows())
    assert since == {0: day(6), 1: day(8)}


def test_the_sample_of_dormant_rows_weighs_what_all_of_them_do(tmp_path):
    frames = shop(orders=40)
    full, _, _ = build(frames, tmp_path / "all", config=ALL)
    few, _, _ = build(frames, tmp_path / "few", config=replace(CONFIG, dormant_per_active=0.5))
    assert full.frame["weight"].unique().to_list() == [1.0]
    assert few.frame.height < full.frame.height
    assert few.frame.join(full.frame, on=KEYS, how="anti").is_empty()
    assert few.frame.filter(pl.col("active")).height == full.frame.filter(pl.col("active")).height
    groups = ["cutoff_time", "active"]
    weights = [
        {(cutoff, active): weight for cutoff, active, weight in sums.iter_rows()}
        for sums in (one.frame.group_by(groups).agg(pl.col("weight").sum()) for one in (full, few))
    ]
    assert weights[0] == pytest.approx(weights[1])


def test_another_seed_draws_another_sample(tmp_path):
    frames = shop(orders=40)
    some = [
        build(frames, tmp_path / str(seed), config=replace(CONFIG, seed=seed))[0].frame
        for seed in (0, 0, 1)
    ]
    assert some[0].equals(some[1])
    assert not some[0].select(KEYS).equals(some[2].select(KEYS))


def a_task(window, span, table="customers", stride=None):
    return Task(
        name=f"task{window}",
        entity_table=table,
        entity_column="id",
        time_column="timestamp",
        label_column="label",
        task_type=TaskType.REGRESSION,
        window=timedelta(days=window),
        stride=timedelta(days=stride or window),
        validation_span=timedelta(days=span),
    )


def test_training_cutoffs_are_those_of_the_task_with_the_smallest_window():
    schema = replace(SHOP, tasks=(a_task(7, 14), a_task(3, 9), a_task(1, 1, "stores")))
    tasks = tasks_on(schema, "customers")
    assert [task.window.days for task in tasks] == [3, 7]
    timeline = timeline_of(tasks, day(30), tasks[0].window)
    grid = timeline.grid(day(1))
    train = grid.filter(pl.col("split") == "train")["cutoff_time"].to_list()
    # The task's own: from as_of - span - window back to the first event, a window apart; but none
    # whose window reaches into the validation of the other task, which begins at day 16.
    own = [day(30 - 9 - 3 * back) for back in range(1, 8) if 30 - 9 - 3 * back >= 1]
    assert train == sorted(cutoff for cutoff in own if cutoff + timedelta(days=3) <= day(16))
    validation = grid.filter(pl.col("split") == "val")["cutoff_time"].to_list()
    assert validation == [day(18), day(21), day(24), day(27)]


def test_a_horizon_is_closed_up_to_the_last_instant_of_its_split():
    timeline = Timeline(timedelta(days=2), day(10), day(10), day(20))
    grid = timeline.grid(day(0))
    assert grid["cutoff_time"].to_list() == [day(at) for at in range(0, 20, 2)]
    closed = grid.filter(timeline.is_complete(3))["cutoff_time"].to_list()
    assert closed == [day(at) for at in (0, 2, 4, 10, 12, 14)]
    with pytest.raises(ValueError, match="after the last known instant"):
        Timeline(timedelta(days=2), day(10), day(21), day(20))


@pytest.mark.parametrize(
    ("hours", "days"), [(0, 1), (1, 1), (60, 1), (70, 7), (24 * 20, 30), (24 * 60, 90), (24 * 999, 365)]
)  # fmt: skip
def test_a_gap_between_events_is_rounded_to_a_usual_tile(hours, days):
    assert rounded_tile(timedelta(hours=hours)) == timedelta(days=days)


def test_without_tasks_the_median_gap_gives_the_tile(tmp_path):
    frames = shop()
    frames["orders"] = typed(SHOP, "orders", {
        "id": range(12), "customer_id": [0] * 6 + [1] * 6, "store_id": [0] * 12,
        "at": [day(6 * at) for at in range(6)] + [day(1 + 8 * at) for at in range(6)],
        "price": [1.0] * 12, "channel": ["a"] * 12, "paid": [True] * 12,
    })  # fmt: skip
    vectors, metadata, _ = build(frames, tmp_path, day(42), replace(CONFIG, tile=None))
    assert metadata["tile_days"] == 7
    assert vectors.manifest["timeline"]["train_limit"] == day(42 - 28).isoformat()


def test_an_entity_table_without_events_is_told(tmp_path):
    with pytest.raises(ValueError, match="no table with an event time refers to it"):
        build(shop(), tmp_path, entity="notes")


def test_silence_after_the_last_row_is_not_taken_for_inactivity(tmp_path):
    frames = shop()
    last = frames["items"]["at"].max()
    assert last == day(34.5)
    vectors, metadata, _ = build(frames, tmp_path / "late", as_of=day(46), config=ALL)
    assert metadata["known_until"] == str(last)
    assert (vectors.frame["cutoff_time"].max() + TILE) <= last
    assert set(vectors.frame["split"]) == {"train"}, "validation would begin at day 38"
    _, metadata, _ = build(frames, tmp_path / "fresh", as_of=day(36), config=ALL)
    assert metadata["known_until"] == str(day(36))


def test_default_horizons_leave_most_training_rows_uncensored(tmp_path):
    frames = shop(orders=400)
    short = replace(CONFIG, tile=timedelta(hours=12), horizons=None)
    vectors, metadata, _ = build(frames, tmp_path / "short", config=short)
    assert vectors.manifest["horizons"] == [1, 4, 12]
    assert all(share <= 0.3 for share in metadata["censored_share"].values())
    long = replace(CONFIG, tile=timedelta(days=3), horizons=None)
    vectors, _, _ = build(frames, tmp_path / "long", config=long)
    assert vectors.manifest["horizons"] == [1]
