"""Training-table rows as tensors."""

import numpy as np
import polars as pl
import pytest
import torch

from models.rdl.examples import make_examples
from tests.models.rdl.league import half_day, microseconds

TIMES = pl.Datetime("us")
SEEDS = pl.DataFrame(
    {
        "row_id": [5, 9, 2],
        "entity": [14, 0, 14],
        "cutoff_time": pl.Series([half_day(9), half_day(3), half_day(1)], dtype=TIMES),
        "visible_until": pl.Series([half_day(7), half_day(3), half_day(1)], dtype=TIMES),
    }
)


def test_seeds_as_tensors(league):
    features = np.arange(6.0).reshape(3, 2)
    found = make_examples(league, "players", SEEDS, np.array([1.0, np.nan, 0.0]), features)
    keys = league.tables["players"].keys["id"]
    assert [keys[row] for row in found.rows.tolist()] == [14, 0, 14]
    assert torch.equal(found.cutoff_time, microseconds(*map(half_day, (9, 3, 1))))
    assert torch.equal(found.visible_until, microseconds(*map(half_day, (7, 3, 1))))
    assert found.labels.dtype == torch.float64
    assert (found.features.dtype, found.features.shape) == (torch.float32, (3, 2))
    assert len(found) == 3
    some = found.take(torch.tensor([2, 0]))
    assert torch.equal(some.rows, found.rows[[2, 0]])
    assert torch.equal(some.cutoff_time, found.cutoff_time[[2, 0]])
    assert torch.equal(some.visible_until, found.visible_until[[2, 0]])
    assert some.labels.tolist() == [0.0, 1.0]
    assert some.features.tolist() == [[4.0, 5.0], [0.0, 1.0]]


def test_seeds_without_labels_and_features(league):
    found = make_examples(league, "players", SEEDS)
    assert len(found.labels) == 0
    assert found.features is None
    some = found.take(torch.tensor([1])).to(torch.device("cpu"))
    assert (len(some), len(some.labels), some.features) == (1, 0, None)


def test_unknown_entities_are_refused(league):
    with pytest.raises(KeyError, match="lacks 1 of 3 entities, such as 77"):
        make_examples(league, "players", SEEDS.with_columns(entity=pl.Series([14, 77, 0])))
