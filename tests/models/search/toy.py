"""A toy search: the score is a sum of settings, so that the best candidate is known."""

from __future__ import annotations

import sys
import time
from functools import partial
from pathlib import Path

from models.database.schema import Metric, Protocol
from models.search.records import Result, StudyConfig
from models.search.space import Branch, Space
from models.search.study import run_study

SPACE = Space(branches=(Branch.DFS, Branch.RDL), learners=("lightgbm", "resnet", "rdl"))
TREES = Space(branches=(Branch.DFS,), learners=("lightgbm",))
GOOD = {"feature_fraction": 0.8, "lambda_l2": 5.0, "num_leaves": 31}


def config(trials=12, **settings):
    return StudyConfig(Metric.ROC_AUC, Protocol.FROZEN, trials=trials, **settings)


def score(candidate):
    if candidate.family != "lightgbm":
        return 0.5
    return 0.6 + 0.1 * sum(candidate.settings[name] == value for name, value in GOOD.items())


def evaluate(candidate, number, report):
    return Result(score(candidate), error=0.01, metrics={"rows": 7.0})


def evaluate_slowly(seconds, candidate, number, report):
    time.sleep(seconds)
    return evaluate(candidate, number, report)


def hang_at(place, folder, candidate, number, report):
    """Evaluates until a trial that says that it began and then never ends."""
    if number == place:
        (Path(folder) / "hangs").touch()
        time.sleep(600)
    return evaluate(candidate, number, report)


def refuse_networks(candidate, number, report):
    if candidate.family == "rdl":
        raise ValueError("no graph here")
    return evaluate(candidate, number, report)


def plain(records):
    return [(r.state, r.score, dict(r.candidate.settings)) for r in records]


if __name__ == "__main__":
    # A process of its own: `hang FOLDER`, or `work STORAGE` beside another one.
    what, place = sys.argv[1:]
    if what == "hang":
        run_study(config(8), SPACE, partial(hang_at, 4, place), place, "toy")
    else:
        run_study(config(16), TREES, partial(evaluate_slowly, 0.02), place, "toy")
