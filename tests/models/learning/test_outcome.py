"""What outputs mean: losses and their gradients, predictions, labels, devices, batches."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch

from models.database.schema import Metric, TaskType
from models.learning.batching import shuffled_batches
from models.learning.device import choose_device
from models.learning.labels import LabelEncoder, baseline, watched_score
from models.learning.outcome import TargetScale, make_loss, outputs_of, to_predictions

BINARY, MULTI, VALUE = (
    TaskType.BINARY_CLASSIFICATION,
    TaskType.MULTICLASS_CLASSIFICATION,
    TaskType.REGRESSION,
)


def gradient(loss, raw, labels):
    raw = torch.tensor(raw, requires_grad=True)
    loss(raw, torch.tensor(labels, dtype=torch.float64)).backward()
    return raw.grad


def test_outputs():
    assert [outputs_of(kind, 3) for kind in (BINARY, MULTI, VALUE)] == [1, 3, 1]


def test_the_binary_gradient_is_probability_minus_label():
    raw = [[0.3], [-1.2]]
    found = gradient(make_loss(BINARY, Metric.ROC_AUC), raw, [1, 0])
    expected = (torch.sigmoid(torch.tensor(raw)) - torch.tensor([[1.0], [0.0]])) / 2
    torch.testing.assert_close(found, expected)


def test_the_multiclass_gradient_is_probabilities_minus_one_hot():
    raw = [[0.3, 1.0, -1.0], [2.0, 0.0, 0.5]]
    found = gradient(make_loss(MULTI, Metric.ACCURACY), raw, [2, 0])
    hot = torch.nn.functional.one_hot(torch.tensor([2, 0]), 3)
    torch.testing.assert_close(found, (torch.softmax(torch.tensor(raw), 1) - hot) / 2)


def test_the_gradient_of_mae_is_a_sign_and_of_the_others_bounded_errors():
    scale = TargetScale(centre=10.0, spread=2.0)
    raw = [[0.0], [0.0], [0.0]]
    labels = [11.0, 4.0, 30.0]  # 0.5, -3 and 10 standard deviations from the centre
    found = gradient(make_loss(VALUE, Metric.MAE, scale), raw, labels)
    torch.testing.assert_close(found * 3, torch.tensor([[-1.0], [1.0], [-1.0]]))
    found = gradient(make_loss(VALUE, Metric.RMSE, scale), raw, labels)
    torch.testing.assert_close(found * 3, torch.tensor([[-0.5], [1.0], [-1.0]]))


def test_values_come_back_in_label_units_within_the_training_range():
    labels = np.append(np.arange(101.0), np.nan)
    scale = TargetScale.fit(VALUE, labels)
    assert (scale.centre, scale.lowest, scale.highest) == (50.0, 2.0, 98.0)
    raw = torch.tensor([[0.0], [100.0], [-100.0]])
    assert to_predictions(raw, VALUE, scale).tolist() == [50.0, 98.0, 2.0]
    free = to_predictions(raw, VALUE, scale, clamp=False)
    assert free[1] == pytest.approx(50 + 100 * scale.spread)
    assert TargetScale.from_plain(scale.to_plain()) == scale
    assert TargetScale.from_plain(TargetScale().to_plain()) == TargetScale()
    same = TargetScale.fit(VALUE, np.full(3, 7.0), bent=True)
    assert (same.spread, same.knee) == (1.0, 1.0)


def test_bent_outputs_are_even_steps_near_the_median_and_factors_far_from_it():
    labels = np.append(np.repeat([0.0, 4.0, 10.0, 12.0, 90.0], 20), np.nan)
    scale = TargetScale.fit(VALUE, labels, bent=True)
    assert (scale.centre, scale.knee, scale.highest) == (10.0, 4.0, 90.0)
    raw = torch.tensor([[0.0], [0.01], [-0.01], [2.0], [3.0], [50.0]])
    found = to_predictions(raw, VALUE, scale, clamp=False)
    assert found[:3] == pytest.approx([10.0, 10.04, 9.96], abs=1e-5)
    assert found[4] - 10 == pytest.approx(np.e * (found[3] - 10), rel=0.02)
    assert np.isfinite(found).all()
    assert TargetScale.from_plain(scale.to_plain()) == scale


def test_the_loss_of_a_scale_with_a_knee_is_that_of_the_values():
    labels = torch.tensor([3.0, 40.0, 1000.0])
    scale = TargetScale(centre=10.0, spread=50.0, knee=4.0)
    raw = torch.tensor([[-1.0], [0.5], [4.0]], requires_grad=True)
    predicted = to_predictions(raw, VALUE, scale)
    loss = make_loss(VALUE, Metric.MAE, scale)(raw, labels)
    assert loss.item() * 50 == pytest.approx(np.abs(predicted - labels.numpy()).mean())
    loss.backward()
    slopes = torch.cosh(raw.detach()) * 4 / 50 / 3 * torch.tensor([[1.0], [-1.0], [-1.0]])
    torch.testing.assert_close(raw.grad, slopes)


def test_where_most_labels_are_the_same_the_knee_is_their_mean_distance_from_it():
    labels = np.append(np.zeros(80), np.full(20, 50.0))
    assert TargetScale.fit(VALUE, labels, bent=True).knee == 10.0


def test_a_scale_of_older_code_has_no_knee():
    scale = TargetScale.from_plain({"centre": 5.0, "spread": 2.0})
    assert to_predictions(torch.tensor([[3.0]]), VALUE, scale).tolist() == [11.0]


def test_probabilities():
    raw = torch.tensor([[0.0], [2.0]])
    assert to_predictions(raw, BINARY).tolist() == pytest.approx([0.5, 0.880797])
    several = to_predictions(torch.tensor([[0.0, 0.0], [1.0, -1.0]]), MULTI)
    assert several.sum(axis=1).tolist() == pytest.approx([1.0, 1.0])
    assert several.dtype == np.float64


def test_a_score_that_is_not_defined_is_nan():
    labels = np.array([1.0, 1.0])
    assert np.isnan(watched_score(BINARY, Metric.ROC_AUC, labels, np.array([0.2, 0.4]), 2))
    labels = np.array([1.0, 0.0])
    assert watched_score(BINARY, Metric.ROC_AUC, labels, np.array([0.2, 0.1]), 2) == 1.0


def test_labels_and_their_baseline():
    encoder = LabelEncoder.fit(pl.Series(["b", None, "a", "b"]), True)
    found = encoder.transform(pl.Series(["a", "b", "c", None]))
    assert found[:2].tolist() == [0.0, 1.0]
    assert np.isnan(found[2:]).all()
    assert baseline(MULTI, np.array([0.0, 1.0, 1.0, 1.0]), 3) == [0.25, 0.75, 0.0]


def test_devices():
    assert choose_device("cpu").type == "cpu"
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert choose_device().type == expected
    with pytest.raises(ValueError, match="auto, cpu, cuda"):
        choose_device("gpu")
    with pytest.raises(ValueError, match=r"finds [0-9]+ CUDA devices"):
        choose_device("cuda:99")


@pytest.mark.parametrize(("rows", "sizes"), [(9, [4, 5]), (8, [4, 4]), (1, [1]), (10, [4, 4, 2])])
def test_batches_hold_every_row_once_and_none_alone(rows, sizes):
    batches = list(shuffled_batches(rows, 4, seed=1, epoch=2))
    assert [len(batch) for batch in batches] == sizes
    assert sorted(torch.cat(batches).tolist()) == list(range(rows))


def test_batches_follow_seed_and_epoch():
    orders = {
        (s, e): tuple(torch.cat(list(shuffled_batches(50, 8, s, e))).tolist())
        for s in range(3)
        for e in range(3)
    }
    assert len(set(orders.values())) == 9
    assert orders[1, 2] == tuple(torch.cat(list(shuffled_batches(50, 8, 1, 2))).tolist())
