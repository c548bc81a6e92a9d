"""The training's configuration, as Dagster reads it."""

import dagster as dg

from assets.training import TrainingStageConfig, named_candidates
from models.database.schema import TaskType
from tests.models.tabular.trained import make_task


def test_a_setting_of_a_candidate_can_be_null():
    settings = {"max_columns": None, "seeds": 2}
    task, found = make_task(TaskType.REGRESSION), []

    @dg.op
    def read(config: TrainingStageConfig):
        found.extend(named_candidates(config, task, ("ft_transformer",)))

    given = {"candidates": [{"family": "ft_transformer", "settings": settings}]}
    config = {"ops": {"read": {"config": given}}}
    assert dg.GraphDefinition(name="reads", node_defs=[read]).execute_in_process(config).success
    [candidate] = found
    assert candidate.settings == settings
    assert candidate.config().max_columns is None
