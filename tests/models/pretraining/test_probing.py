"""A planted signal: the pretrained backbone's embeddings tell it, a random one's hardly do."""

import dataclasses

import polars as pl
import pytest

from models.database.schema import Metric, TaskType
from models.database.training_table import NoExamplesError
from models.pretraining.pretraining import pretrain
from models.pretraining.probing import ProbeConfig, probe
from models.rdl.initialisation import load_pretrained
from tests.models.pretraining.world import AGAIN, AS_OF, SCHEMA, config

FEW = ProbeConfig(fan_out=4, training_rows=100)


@pytest.fixture(scope="module")
def pretrained(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretrained")
    settings = config(epochs=10, steps=None, learning_rate=0.01)
    vectors = {"customers": world.vectors()}
    pretrain(SCHEMA, world.graph, vectors, AS_OF, settings, folder, device="cpu")
    return load_pretrained(folder)


def test_pretraining_on_task_vectors_reveals_what_decides_the_label(world, pretrained):
    found = probe(pretrained, world.graph, AGAIN, world.training_table(), AS_OF, FEW)
    assert found["rows"]["train"] == 100
    for protocol in ("rolling", "frozen"):
        assert set(found["pretrained"][protocol]) == {"score", "strength"}
    learned, floor = (found[name]["rolling"]["score"] for name in ("pretrained", "random"))
    assert learned > 0.85
    assert learned > floor + 0.1


def test_the_probe_repeats_itself(world, pretrained):
    rows = world.training_table()
    one, two = (probe(pretrained, world.graph, AGAIN, rows, AS_OF, FEW) for _ in range(2))
    assert one | {"seconds": 0} == two | {"seconds": 0}


@pytest.mark.parametrize(
    ("task_type", "metric"),
    [(TaskType.REGRESSION, Metric.MAE), (TaskType.MULTICLASS_CLASSIFICATION, Metric.ACCURACY)],
)
def test_other_kinds_of_tasks(world, pretrained, task_type, metric):
    task = dataclasses.replace(AGAIN, task_type=task_type, metric=metric)
    # A class that only validation has.
    label = pl.col("label").cast(pl.Float64)
    if task_type != TaskType.REGRESSION:
        is_new = (pl.col("split") == "val") & (pl.col("row_id") % 5 == 0)
        label = pl.when(is_new).then(pl.lit("z")).otherwise(pl.format("c{}", "label"))
    rows = world.training_table().with_columns(label=label)
    found = probe(pretrained, world.graph, task, rows, AS_OF, FEW)
    score = found["pretrained"]["rolling"]["score"]
    assert 0 < score < (0.5 if metric is Metric.MAE else 1)


def test_a_task_without_labelled_rows_is_refused(world, pretrained):
    rows = world.training_table().filter(pl.col("split") == "train")
    with pytest.raises(NoExamplesError, match=r"'again' has .* 0 validation rows"):
        probe(pretrained, world.graph, AGAIN, rows, AS_OF, FEW)
