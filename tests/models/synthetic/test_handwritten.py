"""A simulation as second and third stage: exact times and keys, made-up columns, honest records."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal, assert_series_equal

from models.synthetic.database import Generator
from models.synthetic.generator import generate
from models.synthetic.handwritten import Causes, HandwrittenColumns, HandwrittenRows, Simulated
from models.synthetic.mechanisms import Mechanisms
from models.synthetic.population import Population
from models.synthetic.schema_layout import SchemaLayout
from models.synthetic.streams import Streams

START = datetime(1968, 2, 3, 4, 5, 6)
SPAN = timedelta(days=4000, seconds=17)
DDL = """
CREATE TABLE member (id BIGINT PRIMARY KEY, sponsor_id BIGINT REFERENCES member, joined_at TIMESTAMP
    NOT NULL, plan VARCHAR NOT NULL CHECK (plan IN ('small', 'large')));
CREATE TABLE visit (id BIGINT PRIMARY KEY, member_id BIGINT NOT NULL REFERENCES member,
    visited_at TIMESTAMP NOT NULL, minutes DOUBLE PRECISION NOT NULL, fee DOUBLE PRECISION NOT NULL);
"""
MORE = DDL.replace("fee DOUBLE PRECISION NOT NULL", "fee DOUBLE PRECISION, heat DOUBLE PRECISION")
CAUSES = {
    ("member", "plan"): Causes(signal=0.0),
    ("visit", "minutes"): Causes(("state",)),
    ("visit", "fee"): Causes(("parent:member_id.plan",)),
}
VISITS = 3000


def times(generator, count: int) -> pl.Series:
    seconds = np.sort(generator.integers(0, int(SPAN.total_seconds()) + 1, count))
    seconds[[0, -1]] = 0, int(SPAN.total_seconds())
    moments = np.datetime64(START, "us") + seconds.astype("timedelta64[s]")
    return pl.Series(moments, dtype=pl.Datetime("us"))


def club(streams) -> Simulated:
    random = streams.generator("club")
    plan = pl.Series(["small", "large"]).gather(random.integers(0, 2, 20))
    members = pl.DataFrame(
        {
            "id": range(20),
            "sponsor_id": [None, *(place // 2 for place in range(19))],
            "joined_at": times(random, 20),
            "plan": plan,
        }
    )
    state, noise = random.standard_normal((2, VISITS))
    who = random.integers(0, 20, VISITS)
    visits = pl.DataFrame(
        {
            "id": range(VISITS),
            "member_id": who,
            "visited_at": times(random, VISITS),
            "minutes": 60 + 10 * (0.6 * state + 0.8 * noise),
            "fee": plan.gather(who).replace_strict({"small": 5.0, "large": 2.0}),
        }
    )
    return Simulated({"member": members, "visit": visits}, {"visit": state[:, None]})


def generator(ddl: str = DDL, simulate=club, columns=None) -> Generator:
    layout = SchemaLayout.from_ddl(ddl, "club", span=(START, START + SPAN))
    columns = columns or HandwrittenColumns(CAUSES)
    return Generator(layout, HandwrittenRows(simulate), columns)


def club_tables(seed: int) -> dict[str, pl.DataFrame]:
    return dict(club(Streams(seed).child("rows")).tables)


def spoiled(table: str, change):
    def simulate(streams) -> Simulated:
        made = club(streams)
        return Simulated({**made.tables, table: change(made.tables[table])}, made.states)

    return simulate


def test_the_tables_are_those_of_the_simulation_to_the_second():
    database = generate(generator(), 4)
    for name, frame in club_tables(4).items():
        assert_frame_equal(database.tables[name], frame, check_exact=True)


def test_rows_have_the_parents_and_shares_of_the_simulation():
    rows = generate(generator(), 4).rows
    assert rows["member"].parents["sponsor_id"][0] == -1
    assert rows["member"].parents["sponsor_id"].max() == 9
    assert 0 < rows["visit"].times[0] < 1e-6
    assert rows["visit"].times[-1] == 1.0
    assert rows["visit"].states.shape == (VISITS, 1, 1)
    assert rows["member"].states.shape == (20, 1, 0)


def test_records_name_causes_and_measure_what_they_explain():
    found = {(m.table, m.column): m for m in generate(generator(), 4).mechanisms}
    assert found.keys() == CAUSES.keys()
    assert {place: m.inputs for place, m in found.items()} == {
        place: causes.inputs for place, causes in CAUSES.items()
    }
    assert found["member", "plan"].signal == 0.0
    assert found["visit", "minutes"].signal == pytest.approx(0.36, abs=0.05)
    assert found["visit", "fee"].signal == 1.0


def test_a_column_that_is_not_simulated_is_made_up():
    plain, more = generate(generator(), 4), generate(generator(MORE), 4)
    assert more.tables["visit"].columns == [*plain.tables["visit"].columns, "heat"]
    assert_frame_equal(more.tables["visit"].drop("heat"), plain.tables["visit"])
    assert more.tables["visit"]["heat"].n_unique() > VISITS / 2
    made = next(m for m in more.mechanisms if m.column == "heat")
    assert all(label.split(":")[0] in ("state", "history", "time") for label in made.inputs)


def test_a_column_that_is_not_declared_is_left_out():
    less = generate(generator(DDL.replace(", fee DOUBLE PRECISION NOT NULL", "")), 4)
    assert "fee" not in less.tables["visit"].columns
    assert "fee" not in {mechanism.column for mechanism in less.mechanisms}


def test_another_third_stage_may_follow():
    database = generate(generator(columns=Mechanisms()), 4)
    simulated = club_tables(4)["visit"]
    assert_frame_equal(
        database.tables["visit"].drop("minutes", "fee"), simulated.drop("minutes", "fee")
    )
    assert not database.tables["visit"]["minutes"].equals(simulated["minutes"])


def test_an_intervention_moves_made_up_columns_and_is_refused_for_simulated_ones():
    before = generate(generator(MORE), 4)
    after = generate(generator(MORE), 4, {("visit", "heat"): 3.0})
    moved = after.tables["visit"]["heat"].drop_nulls().mean()
    assert moved != before.tables["visit"]["heat"].drop_nulls().mean()
    assert_series_equal(after.tables["visit"]["fee"], before.tables["visit"]["fee"])
    with pytest.raises(ValueError, match=r"'visit', column 'fee'.*simulated.*visit\.heat"):
        generate(generator(MORE), 4, {("visit", "fee"): 1.0})
    with pytest.raises(ValueError, match=r"'minutes'.*there are: none"):
        generate(generator(), 4, {("visit", "minutes"): 1.0})
    with pytest.raises(ValueError, match="there is no such column"):
        generate(generator(MORE), 4, {("visit", "nothing"): 1.0})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: f.drop("member_id"), "visit, column member_id: keys and times cannot be made"),
        (lambda f: f.drop("visited_at"), "visit, column visited_at: keys and times cannot"),
        (lambda f: f.reverse(), "column visited_at: simulated rows are not in the order"),
        (
            lambda f: f.with_columns(pl.col("visited_at") + pl.duration(days=1)),
            r"column visited_at: \d+ of 3000 simulated times are NULL or outside the span",
        ),
        (
            lambda f: f.with_columns(pl.col("visited_at").replace(START, None)),
            r"1 of 3000 simulated times are NULL",
        ),
    ],
)
def test_simulations_that_do_not_fit_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        generate(generator(simulate=spoiled("visit", change)), 4)


def test_a_table_that_is_not_simulated_is_refused():
    ddl = DDL + "CREATE TABLE locker (id BIGINT PRIMARY KEY);"
    with pytest.raises(ValueError, match=r"table locker: .*makes: member, visit"):
        generate(generator(ddl), 4)


def test_columns_need_the_rows_of_the_simulation():
    layout = SchemaLayout.from_ddl(DDL, "club")
    with pytest.raises(ValueError, match="put HandwrittenRows before it"):
        generate(Generator(layout, Population(), HandwrittenColumns()), 1)


def test_a_history_is_not_measured():
    causes = {("visit", "fee"): Causes(("history:visit.fee.mean",))}
    with pytest.raises(ValueError, match="give the signal"):
        generate(generator(columns=HandwrittenColumns(causes)), 1)
