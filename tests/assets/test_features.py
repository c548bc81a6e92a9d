"""The feature stage's settings: checked before any work, and all part of the fingerprint."""

from dataclasses import replace
from datetime import datetime, timedelta

import dagster as dg
import pytest
from pydantic import ValidationError

from assets.features import FeatureStageConfig, feature_config, feature_recipe
from models.database.schema import Task, TaskType
from models.dfs.config import FeatureConfig
from tests.models.dfs.shop import SHOP

DAY = timedelta(days=1)
TASK = Task(
    "churn", "customers", "customer", "at", "label", TaskType.REGRESSION, DAY, DAY, DAY
)  # fmt: skip
CHANGES = {
    "depth": 3,
    "max_features": 40,
    "max_paths": 9,
    "primitives": ["trend", "count"],
    "windows": ["30 days"],
    "where": True,
}


def fingerprint(**settings):
    config = FeatureStageConfig(**settings)
    return feature_recipe(SHOP, TASK, datetime(2024, 1, 1), config, {}).fingerprint


def test_the_defaults_are_those_of_the_library_and_windows_of_the_task():
    multiples = (DAY, 4 * DAY, 16 * DAY)
    assert feature_config(FeatureStageConfig(), TASK) == FeatureConfig(windows=multiples)
    assert feature_config(FeatureStageConfig(windows=[]), TASK) == FeatureConfig()
    more = feature_config(FeatureStageConfig(windows=["90 days", "task"]), TASK)
    assert more.windows == (90 * DAY, *multiples)


def test_a_task_with_another_window_has_another_fingerprint():
    weekly = replace(TASK, window=7 * DAY)
    recipes = [
        feature_recipe(SHOP, task, datetime(2024, 1, 1), FeatureStageConfig(), {})
        for task in (TASK, weekly)
    ]
    assert recipes[0].fingerprint != recipes[1].fingerprint


def test_every_setting_reaches_the_library_and_the_fingerprint():
    assert {*CHANGES, "force"} == set(FeatureStageConfig.model_fields)
    changed = {fingerprint(**{name: value}) for name, value in CHANGES.items()}
    assert len(changed | {fingerprint()}) == len(CHANGES) + 1
    assert fingerprint(force=True) == fingerprint()
    assert feature_config(FeatureStageConfig(**CHANGES), TASK) == FeatureConfig(
        3, ("trend", "count"), 40, (timedelta(days=30),), 9
    )


def test_one_length_written_in_two_ways_is_one_fingerprint():
    assert fingerprint(windows=["2 days"]) == fingerprint(windows=["48 hours"])


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"primitives": ["means"]}, "did you mean 'mean'"),
        ({"windows": ["a while"]}, "'a while'"),
        ({"windows": ["1 day", "24 hours"]}, "listed twice"),
        ({"windows": ["task", "4 days"]}, "listed twice"),
    ],
)
def test_a_senseless_setting_fails_with_its_mend(wrong, message):
    with pytest.raises(dg.Failure, match=message):
        feature_config(FeatureStageConfig(**wrong), TASK)


@pytest.mark.parametrize("wrong", [{"depth": 0}, {"depth": 4}, {"max_features": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValidationError):
        FeatureStageConfig(**wrong)
