"""A few hundred orders through the whole command, without compiling the peer."""

from __future__ import annotations

import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
import torch
from torch_geometric.data import HeteroData
from torch_geometric.sampler.base import NumNeighbors

from benchmarks import environments, rdl_speed
from benchmarks.databases import Unavailable
from benchmarks.environments import Engine
from benchmarks.orders import OrderSize, make_orders, write_orders
from benchmarks.rdl_speed import Options, Point, rel_f1, report, size_report, slope, speed_of
from benchmarks.training import (
    Speed,
    Step,
    TrainingRequest,
    TrainingShape,
    Utilisation,
    mean_of,
    measure_training,
)
from benchmarks.workers.pyg_loader import (
    NAMES,
    Model,
    SparseTemporalSampler,
    add_seed_nodes,
    graph_of,
)
from models.database.schema import SemanticType

TINY = TrainingShape(channels=8, fan_out=(4, 3), batch_size=16)
SIZE = OrderSize(edges=1_400)


@pytest.fixture(scope="module")
def case(tmp_path_factory):
    return write_orders("orders", tmp_path_factory.mktemp("orders"), SIZE)


@pytest.fixture
def request_of(case):
    def request_of(**given):
        return TrainingRequest(case, (), TINY, batches=2, warm_up=1, **given)

    return request_of


@pytest.mark.parametrize("contestant", ["relforge", "defaults"])
def test_relforge_trains_in_a_process_of_its_own(case, contestant):
    options = Options(shape=TINY, batches=2, warm_up=1, cpu_limit_s=120)
    speed = speed_of(contestant, case, (("products", "category"),), options)
    assert speed.skipped == ""
    assert speed.seeds == 32
    assert 0 < speed.sampling_s < speed.wall_s
    assert speed.cpu_s > 0
    # A customer's own row, its orders (4 of them) and three lines of each.
    assert 1 < speed.nodes / speed.seeds < 1 + 4 + 4 * 3
    assert speed.edges > 0
    assert speed.parameters > 0


def test_what_cannot_be_installed_is_skipped_with_the_reason(case, monkeypatch):
    def refuse(engine: Engine) -> Path:
        raise Unavailable(f"{engine.name}: no compiler")

    monkeypatch.setattr(rdl_speed, "python_of", refuse)
    speed = speed_of("temporal", case, (), Options(shape=TINY))
    assert speed.skipped == "pyg_loader: no compiler"
    assert "skipped: pyg_loader: no compiler" in report([speed])


def test_a_worker_that_fails_says_why(case, monkeypatch):
    monkeypatch.setattr(rdl_speed, "python_of", lambda engine: Path(sys.executable))
    monkeypatch.setitem(rdl_speed.CONTESTANTS, "wrong", (Engine("rdl"), "no such variant"))
    speed = speed_of("wrong", case, (), Options(shape=TINY, batches=1, warm_up=0))
    assert "no such variant" in speed.skipped


def test_rel_f1_is_asked_for_by_its_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("RELFORGE_DATABASES", str(tmp_path))
    with pytest.raises(Unavailable, match="rel-f1"):
        rel_f1(tmp_path)


def test_a_request_survives_the_way_through_its_file(request_of, tmp_path):
    request = request_of(variant="same", device="cuda:1", loaders=3)
    request.write(tmp_path / "asked", tmp_path)
    assert TrainingRequest.read(tmp_path / "asked") == replace(request, home=str(tmp_path))


def test_every_contestant_gets_the_same_seeds(request_of):
    first, second = request_of(variant="same").seeds(), request_of(variant="temporal").seeds()
    assert first.equals(second)
    assert first.height == 3 * TINY.batch_size


def test_texts_are_texts_in_the_schema(request_of):
    schema = replace(request_of(), text=(("products", "category"),)).schema
    types = {
        (table.name, column.name): column.semantic_type
        for table in schema.tables
        for column in table.columns
    }
    assert types["products", "category"] is SemanticType.TEXT
    assert types["customers", "country"] is SemanticType.CATEGORICAL


def test_warm_up_batches_are_not_timed(request_of):
    seen = []
    speed = measure_training(request_of(), "one", iter(range(9)), lambda b: _step(seen, b))
    assert seen == [0, 1, 2]
    assert speed.seeds == 2 * TINY.batch_size
    assert (speed.nodes, speed.edges, speed.loss) == (1 + 2, 10 + 20, 1.5)


def _step(seen, batch):
    seen.append(batch)
    return Step(batch, 10 * batch, lambda: float(batch))


def test_the_tool_that_watches_an_accelerator_may_be_missing(monkeypatch):
    monkeypatch.setattr(Utilisation, "TOOL", ("no-such-tool",))
    with Utilisation("cuda") as found:
        pass
    assert found.mean is None
    assert mean_of(["30", "[N/A]", "50"]) == 40.0
    assert mean_of(["[N/A]"]) is None


def test_utilisation_is_what_the_tool_prints(monkeypatch):
    monkeypatch.setattr(Utilisation, "TOOL", ("sh", "-c", "echo 20; echo 40; exec sleep 5"))
    with Utilisation("cuda") as found:
        time.sleep(0.3)
    assert found.mean == 30.0


def test_orders_grow_in_proportion_and_are_labelled_by_what_comes_after():
    tables = make_orders(SIZE)
    edges = tables["orders"].height + 2 * tables["lines"].height
    assert edges == SIZE.edges
    seeds = tables["seeds"]
    assert seeds.height == SIZE.seeds
    both = seeds.join(tables["orders"], left_on="entity", right_on="customer_id")
    gap = pl.col("at") - pl.col("cutoff_time")
    soon = both.filter((gap > pl.duration()) & (gap <= pl.duration(days=60)))
    assert set(seeds.filter(pl.col("label") == 1)["row_id"]) == set(soon["row_id"])
    assert 0 < seeds["label"].sum() < seeds.height
    assert not make_orders(SIZE)["orders"].equals(make_orders(SIZE, seed=1)["orders"])


def test_the_tables_show_ratios_and_slopes():
    ours = Speed("relforge", seeds=100, wall_s=2.0, cpu_s=1.0, nodes=500, edges=900)
    peer = Speed("peer", seeds=50, wall_s=4.0, cpu_s=3.0, nodes=250, edges=450)
    line = dict(zip(rdl_speed.HEADER, rdl_speed.line_of(peer, ours), strict=True))
    assert line["ratio to ours, CPU"] == "6.00"
    assert line["ratio, wall"] == "4.00"
    points = [
        Point(OrderSize(edges), Speed("relforge", seeds=100, wall_s=1.0, cpu_s=1.0))
        for edges in (70_000, 700_000, 7_000_000)
    ]
    assert slope(points) == pytest.approx(1.0)
    one = Point(OrderSize(1_400), Speed("relforge", seeds=5, wall_s=3.0, cpu_s=2.0))
    assert one.epoch_s == SIZE.seeds * 2.0 / 5
    waited = replace(one, speed=replace(one.speed, device="cuda"))
    assert waited.epoch_s == SIZE.seeds * 3.0 / 5
    assert "1.00" in size_report(points).splitlines()[3]


def test_the_peer_has_a_node_for_each_seed_with_what_its_entity_had_by_then(request_of):
    data, _ = graph_of(request_of())
    kind = ("orders", "f2p_customer_id", "customers")
    sources, targets = data[kind].edge_index
    times = data["orders"].time
    middle = int(times.median())
    rows, cutoffs = torch.tensor([3, 0, 3]), torch.tensor([middle, 2 * middle, 0])
    customers = data["customers"].tf.num_rows
    first, known = add_seed_nodes(data, "customers", rows, cutoffs)
    assert first == customers
    assert known["customers"][customers:].tolist() == cutoffs.tolist()
    assert (known["customers"][:customers] < 0).all()
    new_sources, new_targets = data[kind].edge_index
    for position, (row, cutoff) in enumerate(zip(rows, cutoffs, strict=True)):
        expected = sources[(targets == row) & (times[sources] <= cutoff)].sort().values
        found = new_sources[new_targets == customers + position].sort().values
        assert torch.equal(found, expected)
    assert (new_targets == customers).sum() > 0
    assert (new_targets == customers + 2).sum() == 0
    assert data["customers"].tf.num_rows == customers + 3


def test_the_peer_s_model_gives_a_logit_a_seed(request_of):
    data, statistics = graph_of(request_of())
    model = Model(data, statistics, "customers", TINY)
    whole = HeteroData(data.to_dict())
    whole["customers"].batch_size = 7
    assert model(whole).shape == (7,)
    assert set(NAMES) == {"temporal", "untimed"}


def test_each_sampled_row_belongs_to_the_seed_that_it_leads_to():
    sampler = object.__new__(SparseTemporalSampler)
    sampler.sample_direction = "forward"
    sampler.num_neighbors = NumNeighbors([2, 2])
    orders, lines = ("orders", "to", "customers"), ("lines", "to", "orders")
    node = {
        "customers": torch.tensor([8, 9]),
        "orders": torch.tensor([4, 5, 4]),
        "lines": torch.tensor([1, 2]),
        "products": torch.tensor([], dtype=torch.int64),
    }
    row = {lines: torch.tensor([0, 1]), orders: torch.tensor([0, 1, 2])}
    col = {lines: torch.tensor([2, 0]), orders: torch.tensor([1, 0, 0])}
    found = sampler._seed_of({"customers": node["customers"]}, node, row, col)
    assert {kind: seeds.tolist() for kind, seeds in found.items()} == {
        "customers": [0, 1],
        "orders": [1, 0, 0],
        "lines": [0, 1],
        "products": [],
    }


def test_an_environment_on_top_sees_these_packages_and_is_made_once(monkeypatch, tmp_path):
    asked = []
    packages = f"lib/python{sys.version_info.major}.{sys.version_info.minor}/site-packages"
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path))
    monkeypatch.setattr(environments, "_pip", lambda *given: asked.append(given))
    monkeypatch.setattr(
        environments.venv, "create", lambda folder, **_: (folder / packages).mkdir(parents=True)
    )
    engine = Engine("peer", ("one==1",), on_top=True)
    folder = environments.python_of(engine).parents[1]
    below = (folder / packages / "packages_below.pth").read_text().strip()
    assert Path(below, "torch").exists()
    assert asked[-1][1] == ["--no-build-isolation", "--no-deps", "one==1"]
    assert asked[-1][3]["MAX_JOBS"] == "1"
    calls = len(asked)
    environments.python_of(engine)
    assert len(asked) == calls
    monkeypatch.setattr(environments, "version", lambda name: "another")
    shutil.rmtree(folder / "lib")
    environments.python_of(engine)
    assert len(asked) == 2 * calls
