"""A bank without any training: gaps between branches that follow a signal, or nothing."""

import json
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl

from models.bank.store import append_to_bank, read_bank
from models.families.candidate import Candidate

SETTINGS = {
    "dfs": ("lightgbm", [{"num_leaves": 7}, {"num_leaves": 31}, {"num_leaves": 63}]),
    "rdl": ("rdl", [{"features": False, "layers": layers, "fan_out": 16} for layers in (1, 2, 3)]),
    "hybrid": (
        "rdl",
        [{"features": True, "layers": layers, "fan_out": 16} for layers in (1, 2, 3)],
    ),
}


def bank_row(database, task, branch, place, validation, test, **changes):
    """A row of the bank: the place-th trial of a branch."""
    family, choices = SETTINGS[branch]
    candidate = Candidate(family, family, choices[place])
    config = candidate.config()
    settings = {name: getattr(config, name) for name in config.__dataclass_fields__}
    return {
        "database": database,
        "task": task,
        "as_of": datetime(2020, 1, 1),
        "origin": "real",
        "task_type": "binary_classification",
        "metric": "roc_auc",
        "protocol": "rolling",
        "train_rows": 1000,
        "validation_rows": 100,
        "test_rows": 100,
        "signals": "{}",
        "family": family,
        "candidate": family,
        "settings": json.dumps(settings),
        "seed": 0,
        "validation": validation,
        "validation_error": 0.004,
        "test": test,
        "test_error": 0.004,
        "trivial_test": 0.5,
        "code_version": "1",
    } | changes


def fabricated_bank(folder: Path, slope: float, databases=12, origin="real", seed=0, **changes):
    """Three tasks a database; rdl is ahead of dfs by slope * signal `told`, hybrid never is."""
    generator = np.random.default_rng(seed)
    rows = []
    for number in range(databases):
        for task in range(3):
            told = float(generator.standard_normal())
            signals = {"told": told, "told_error": 0.1, "seconds": 1.0}
            signals |= {f"noise_{i}": float(generator.standard_normal()) for i in range(10)}
            size = int(10 ** generator.uniform(3, 6))
            scores = {"dfs": 0.75, "rdl": 0.75 + slope * told, "hybrid": 0.70}
            for branch, score in scores.items():
                for place in range(3):
                    own = score - 0.01 * place
                    draws = own + 0.004 * generator.standard_normal(2)
                    rows.append(
                        bank_row(
                            f"{origin}_{number}",
                            f"task_{task}",
                            branch,
                            place,
                            float(draws[0]),
                            float(draws[1]),
                            origin=origin,
                            signals=json.dumps(signals),
                            train_rows=size,
                            **changes,
                        )
                    )
    append_to_bank(folder, rows)
    return read_bank([folder])


def asked(**signals: float) -> pl.DataFrame:
    """The row of a task to route."""
    from models.relatron.task_rows import task_row

    return task_row(signals, "binary_classification", 30_000, 100)
