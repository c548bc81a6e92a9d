"""The curves of test score against budget, over made-up trials."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.checkpoint_choice import (
    BEST,
    GREEDY,
    METHODS,
    ORACLE,
    Measured,
    Subject,
    draw,
    learn_curves,
    table,
)
from models.database.schema import Metric, TaskType
from models.search.choice import Choice, Contender
from models.search.landscape import Landscape
from models.search.validation import ValidationRows

SIZE = 120


@pytest.fixture(scope="module")
def subject():
    """Trials that err independently; the one best on validation is the worst on test."""
    random = np.random.default_rng(0)
    times = np.datetime64("2024-01-01", "us") + (np.arange(SIZE) % 4).astype("timedelta64[D]")
    rows = {
        split: ValidationRows(TaskType.REGRESSION, Metric.MAE, random.normal(0, 1, SIZE), times)
        for split in ("val", "test")
    }
    trials = []
    for number in range(6):
        spread = {"val": 1.0 + 0.1 * number, "test": 2.0 if number == 0 else 1.0}
        predictions = {
            split: known.labels + random.normal(0, spread[split], SIZE)
            for split, known in rows.items()
        }
        scores = {s: float(rows[s].scores(predictions[s][None])[0]) for s in rows}
        flat = Landscape(1.0 + number, 1.0 + number, 0.1, 1.0, 33, 1.0)
        drawn = rows["val"].resampled(predictions["val"], 20)
        contender = Contender(str(number), "rdl", scores["val"], None, drawn, flat, scores["val"])
        trials.append(Measured(contender, predictions, scores["test"]))
    return Subject("made/up", rows, tuple(trials))


def test_every_method_has_a_score_at_every_budget(subject):
    curves = learn_curves(subject, orders=4)
    assert curves.budgets == (1, 2, 3, 5, 6)
    assert set(curves.scores) == set(METHODS)
    assert all(np.isfinite(found).all() for found in curves.scores.values())
    # With one trial there is nothing to choose; with all of them the order does not matter.
    for found in curves.scores.values():
        np.testing.assert_allclose(found[:, 0], curves.scores[BEST][:, 0])
    assert np.ptp(curves.scores[BEST][:, -1]) == 0
    assert (curves.scores[ORACLE] <= curves.scores[BEST]).all()


def test_more_tuning_gives_worse_choices_and_better_ensembles_here(subject):
    curves = learn_curves(subject, orders=4)
    assert curves.gains(BEST).tolist() == [0] * 5
    # The best on validation is the worst on test, twice as far off as the others.
    assert curves.gains(ORACLE)[-1] > 30
    assert curves.gains(GREEDY)[-1] > 30
    assert curves.scores[BEST].mean(axis=0)[-1] > curves.scores[BEST].mean(axis=0)[0]


def test_a_method_without_figures_leaves_a_gap_in_the_table(subject):
    curves = learn_curves(subject, orders=2)
    curves.scores[str(Choice.LATE_VALIDATION)][:] = np.nan
    found = table([curves, curves])
    assert "| best validation | +0.00 ± 0.00 (2) |" in found
    [late] = [line for line in found.splitlines() if line.startswith("| late validation")]
    assert late.replace(" ", "") == "|latevalidation||||"
    assert draw([curves]).startswith(b"\x89PNG")
