"""Pretraining: what it sees, that it repeats itself, resumes, and hands over its backbone."""

import dataclasses
import json
from datetime import timedelta

import polars as pl
import pytest
import torch

from models.learning.config import epoch_seed
from models.pretraining.config import Pretext
from models.pretraining.pretraining import CURVES, pretrain, pretraining_limit
from models.pretraining.rows import MICROSECOND, read_entity_vectors
from models.rdl.config import Convolution
from models.rdl.initialisation import check_compatible, load_pretrained, take_over
from models.rdl.network import Backbone, RelationalNetwork, neighbour_counts
from models.rdl.past_labels import with_past_labels
from models.rdl.rows import row_inputs
from models.rdl.sampler import TemporalSampler
from models.rdl.statistics import graph_statistics
from models.tve.task_vectors import Mode
from tests.models.pretraining.world import (
    AGAIN,
    AS_OF,
    LIMIT,
    SCHEMA,
    SHAPE,
    START,
    TILE,
    World,
    config,
)


def run(world, folder, vectors=None, work=None, lines=None, **changes):
    settings = config(**changes)
    mode = Mode.REFERENCE if settings.pretext == Pretext.TVE_REFERENCE else Mode.TYPED
    given = vectors or {"customers": world.vectors("customers", str(mode))}
    report = (lambda line: None) if lines is None else lines.append
    return pretrain(
        SCHEMA,
        world.graph,
        given,
        AS_OF,
        settings,
        folder,
        device="cpu",
        work=work,
        progress=report,
    )


def history(folder):
    """The curves without times."""
    stages = json.loads((folder / CURVES).read_text())
    return [
        [{k: v for k, v in entry.items() if k != "seconds"} for entry in stage["history"]]
        for stage in stages
    ]


@pytest.mark.parametrize("pretext", list(Pretext))
def test_every_objective_learns_repeats_itself_and_loads(world, tmp_path, pretext):
    metadata = run(world, tmp_path / "one", pretext=pretext, epochs=3, learning_rate=0.01)
    run(world, tmp_path / "two", pretext=pretext, epochs=3, learning_rate=0.01)
    one, two = load_pretrained(tmp_path / "one"), load_pretrained(tmp_path / "two")
    assert history(tmp_path / "one") == history(tmp_path / "two")
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)
    for stage, summary in zip(history(tmp_path / "one"), metadata["stages"], strict=True):
        assert stage[-1]["loss"] < stage[0]["loss"]
        assert summary["best_loss"] == min(entry["validation_loss"] for entry in stage)
    assert one.pretext == pretext
    assert one.shape == SHAPE
    assert one.limit == LIMIT
    assert one.hidden == {("visits", "secret")}
    assert all(n.column != "secret" for n in one.statistics["visits"].numbers)
    backbone = Backbone(one.statistics, list(one.edge_types), one.shape)
    backbone.load_state_dict(dict(one.state))


def test_one_backbone_learns_from_two_entity_tables(world, tmp_path):
    vectors = {table: world.vectors(table) for table in ("customers", "shops")}
    metadata = run(world, tmp_path, vectors, epochs=1, steps=None)
    assert metadata["rows"].keys() == vectors.keys()
    steps = sum(-(-rows // 32) for rows in metadata["rows"].values())
    assert metadata["stages"][0]["steps"] == steps
    alone = run(world, tmp_path / "alone", epochs=1, steps=None)
    assert metadata["parameters"] == alone["parameters"]


@pytest.mark.parametrize("pretext", [Pretext.TVE, Pretext.CONTRASTIVE_THEN_TVE])
def test_a_run_that_was_killed_ends_in_the_same_result(world, tmp_path, pretext):
    class KilledError(Exception):
        pass

    class Kill(list):
        def append(self, line):
            if "epoch 1" in line:
                raise KilledError(line)

    changes = {"pretext": pretext, "epochs": 3}
    run(world, tmp_path / "whole", **changes)
    with pytest.raises(KilledError):
        run(world, tmp_path / "broken", work=tmp_path / "work", lines=Kill(), **changes)
    lines = []
    run(world, tmp_path / "broken", work=tmp_path / "work", lines=lines, **changes)
    assert any("resumed after 1 epochs" in line for line in lines)
    assert history(tmp_path / "whole") == history(tmp_path / "broken")
    one, two = load_pretrained(tmp_path / "whole"), load_pretrained(tmp_path / "broken")
    assert all(torch.equal(one.state[name], two.state[name]) for name in one.state)


@pytest.mark.parametrize("pretext", [Pretext.TVE, Pretext.TVE_MASKED, Pretext.TVE_CONTRASTIVE])
def test_the_future_changes_nothing_in_training(world, tmp_path, pretext):
    other = World(tmp_path, future=3)
    assert not other.frames["visits"].equals(world.frames["visits"])
    # One validation row, so that validation cannot stop or choose; training losses tell.
    for name, where in (("now", world), ("other", other)):
        run(where, tmp_path / name, pretext=pretext, patience=None)
    losses = [
        [(entry["loss"], entry["learning_rate"]) for entry in history(tmp_path / name)[0]]
        for name in ("now", "other")
    ]
    assert losses[0] == losses[1]
    validation = [history(tmp_path / name)[0][0]["validation_loss"] for name in ("now", "other")]
    assert validation[0] != validation[1]


def test_no_target_of_training_reaches_past_the_limit(world):
    folder = world.vectors("customers")
    early = LIMIT - timedelta(days=10)
    known = read_entity_vectors(folder, world.graph, "customers", early, AS_OF, config())
    horizons = torch.tensor([target["horizon"] for target in known.targets])
    ends = known.train.seeds.cutoff_time[:, None] + horizons * (TILE // MICROSECOND)
    until = (early - START.replace(year=1970)) // MICROSECOND
    assert (ends[known.train.mask] <= until).all()
    assert (ends > until).any()
    whole = read_entity_vectors(folder, world.graph, "customers", LIMIT, AS_OF, config())
    assert len(known.train) < len(whole.train)
    # A row without any target is none.
    assert known.train.mask.any(dim=1).all()
    assert (known.validation.seeds.cutoff_time >= until).all()


def test_validation_is_altered_in_the_same_way_every_time(world, tmp_path):
    """A network that does not change has the same validation loss in every epoch."""
    frozen = {"learning_rate": 1e-12, "weight_decay": 0.0, "epochs": 2}
    for pretext in (Pretext.MASKED, Pretext.CONTRASTIVE):
        run(world, tmp_path / pretext, pretext=pretext, **frozen)
        run(world, tmp_path / f"{pretext} clean", pretext=pretext, corruption=0.0, **frozen)
        first, second = history(tmp_path / pretext)[0]
        clean = history(tmp_path / f"{pretext} clean")[0][0]
        assert first["validation_loss"] == pytest.approx(second["validation_loss"], abs=1e-6)
        assert first["validation_loss"] != pytest.approx(clean["validation_loss"], abs=1e-4)


def test_vectors_of_the_wrong_kind_date_or_table_are_refused(world, tmp_path):
    with pytest.raises(ValueError, match=r"needs task vectors of mode reference.*customers"):
        run(world, tmp_path, {"customers": world.vectors()}, pretext=Pretext.TVE_REFERENCE)
    with pytest.raises(ValueError, match="given for 'shops' describe 'customers'"):
        run(world, tmp_path, {"shops": world.vectors()})
    with pytest.raises(ValueError, match="'customers' know what happened until"):
        read_entity_vectors(world.vectors(), world.graph, "customers", LIMIT, LIMIT, config())
    with pytest.raises(ValueError, match="no task vectors were given"):
        pretraining_limit(SCHEMA, {}, AS_OF)
    soon = START + timedelta(days=1)
    with pytest.raises(ValueError, match="no training row"):
        read_entity_vectors(world.vectors(), world.graph, "customers", soon, AS_OF, config())


def test_the_limit_is_the_first_validation_cutoff_of_any_task(world):
    folders = {"customers": world.vectors()}
    assert pretraining_limit(SCHEMA, folders, AS_OF) == LIMIT
    longer = dataclasses.replace(AGAIN, name="b", validation_span=timedelta(days=20))
    schema = dataclasses.replace(SCHEMA, tasks=(AGAIN, longer))
    assert pretraining_limit(schema, folders, AS_OF) == AS_OF - timedelta(days=20)


@pytest.mark.parametrize("convolution", list(Convolution))
def test_a_network_with_past_labels_takes_over_what_there_is(world, tmp_path, convolution):
    shape = dataclasses.replace(SHAPE, convolution=convolution, layers=1)
    run(world, tmp_path, shape=shape, epochs=1, steps=1)
    pretrained = load_pretrained(tmp_path)
    table = world.training_table().with_columns(pl.col("label").cast(pl.Float64))
    graph = with_past_labels(world.graph, AGAIN, table)
    until = (LIMIT - START.replace(year=1970)) // MICROSECOND
    own = graph_statistics(graph, until, AGAIN.hidden_columns)
    check_compatible(pretrained, shape, graph.edge_types, graph.tables, AGAIN.hidden_columns, LIMIT)
    statistics = pretrained.statistics_for(own)
    torch.manual_seed(1)
    backbone = Backbone(statistics, graph.edge_types, shape, neighbour_counts(graph, until, 4))
    before = {name: value.clone() for name, value in backbone.state_dict().items()}
    found = take_over(backbone, graph.edge_types, pretrained)
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    assert found.taken + found.new == parameters
    # What is taken is all that the pretrained backbone has.
    bare = Backbone(
        pretrained.statistics,
        world.graph.edge_types,
        shape,
        neighbour_counts(world.graph, until, 4),
    )
    assert found.taken == sum(parameter.numel() for parameter in bare.parameters())
    after = backbone.state_dict()
    fresh = [name for name in after if "past labels" in name]
    assert fresh
    assert all(torch.equal(after[name], before[name]) for name in fresh)
    # Where no past label is visible the two give the same embeddings.
    bare.load_state_dict(dict(pretrained.state))
    rows, times = torch.arange(20), torch.full((20,), until)

    def embed(which, where, known):
        sampler = TemporalSampler(where, (50,) * shape.hops)
        none = {e.name: (0,) * shape.hops for e in where.edge_types if "past labels" in e.name}
        sampler = dataclasses.replace(sampler, relation_fan_outs=none)
        sample = sampler.sample("customers", rows, times, torch.Generator().manual_seed(0))
        network = RelationalNetwork(which, 1).eval()
        return network.backbone(row_inputs(where, known), sample, times)

    torch.testing.assert_close(
        embed(bare, world.graph, pretrained.statistics), embed(backbone, graph, statistics)
    )


def test_a_backbone_that_does_not_fit_is_refused(world, tmp_path):
    run(world, tmp_path, epochs=1, steps=1)
    pretrained = load_pretrained(tmp_path)
    edges, tables = world.graph.edge_types, list(world.graph.tables)
    check_compatible(pretrained, dataclasses.replace(SHAPE, dropout=0.5), edges, tables)
    for shape, graph, hidden, first, message in (
        (dataclasses.replace(SHAPE, channels=8), tables, (), None, "channels 16 .here 8"),
        (SHAPE, ["customers"], (), None, r"lacks .*shops, visits"),
        (SHAPE, tables, [("customers", "age")], None, "may read customers.age"),
        (SHAPE, tables, (), LIMIT - timedelta(days=1), "first validation cutoff"),
    ):
        with pytest.raises(ValueError, match=message):
            check_compatible(pretrained, shape, edges, graph, hidden, first)
    other = graph_statistics(world.graph, (LIMIT - START.replace(year=1970)) // MICROSECOND)
    with pytest.raises(ValueError, match="build the network with the statistics"):
        take_over(Backbone(other, edges, SHAPE), edges, pretrained)
    with pytest.raises(FileNotFoundError, match="no pretrained backbone"):
        load_pretrained(tmp_path / "nowhere")


def test_settings_are_checked():
    with pytest.raises(ValueError, match="corruption is a share"):
        config(corruption=1.5)
    with pytest.raises(ValueError, match="temperature must be positive"):
        config(temperature=0.0)
    with pytest.raises(ValueError, match="batch_size must be at least 1"):
        config(batch_size=0)
    assert epoch_seed(0, 0) != epoch_seed(0, 1)
