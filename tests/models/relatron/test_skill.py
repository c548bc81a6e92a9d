from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from models.database.schema import TaskType
from models.relatron.skill import skill, skill_samples

BINARY, MULTI = TaskType.BINARY_CLASSIFICATION, TaskType.MULTICLASS_CLASSIFICATION


def test_skill_is_zero_for_what_is_trivial_and_one_for_what_is_perfect():
    labels = np.array([0.0, 1.0, 4.0, 1.0])
    median = np.array([1.0])
    assert skill(TaskType.REGRESSION, labels, np.full(4, 1.0), median) == 0
    assert skill(TaskType.REGRESSION, labels, labels, median) == 1
    assert skill(TaskType.REGRESSION, labels, labels + 1, median) == pytest.approx(0.0)
    classes = np.array([0.0, 1.0, 1.0, 0.0])
    assert skill(BINARY, classes, np.full(4, 0.3), median) == 0
    assert skill(BINARY, classes, classes, median) == 1
    assert skill(MULTI, classes, np.eye(2)[classes.astype(int)], median) == 1


def test_the_skill_of_two_classes_is_scikit_learns_area_also_with_ties():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, 200).astype(float)
    scores = generator.integers(0, 5, 200) + labels
    expected = 2 * roc_auc_score(labels, scores) - 1
    assert skill(BINARY, labels, scores, np.zeros(1)) == pytest.approx(expected)
    both = np.stack([-scores, scores], axis=1)
    assert skill(MULTI, labels, both, np.zeros(2)) == pytest.approx(expected)


def test_samples_of_two_predictions_are_of_the_same_rows():
    labels = np.random.default_rng(0).integers(0, 2, 100).astype(float)
    scores = np.random.default_rng(1).random(100)
    one = skill_samples(BINARY, labels, scores, np.zeros(1), 20, 5)
    other = skill_samples(BINARY, labels, 2 * scores, np.zeros(1), 20, 5)
    assert np.array_equal(one.samples, other.samples)
    assert one.error > 0.05


def test_one_class_alone_has_no_skill():
    assert np.isnan(skill(BINARY, np.ones(5), np.arange(5.0), np.zeros(1)))
