"""A tiny database in which a customer's group, and nothing else, decides whether they come again.

Customers visit a shop once, at a random time; those of lively groups come a second time within four
days. Visits have an amount (sometimes unknown), a kind and a note.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from models.database.schema import (
    Column,
    ForeignKey,
    RelationalSchema,
    SemanticType,
    Table,
    Task,
    TaskType,
)
from models.pretraining.config import PretrainingConfig
from models.rdl.build import build_graph
from models.rdl.config import Convolution, NetworkShape
from models.tve.task_vectors import TaskVectorBuilder, TaskVectorConfig

S = SemanticType
START = datetime(2024, 1, 1)
AS_OF, VALIDATION = START + timedelta(days=56), timedelta(days=12)
LIMIT = AS_OF - VALIDATION
GROUPS = 40
TILE = timedelta(days=4)


def table(name, columns, time=None):
    described = tuple(Column(column, "", kind) for column, kind in columns.items())
    return Table(name, described, ("id",), time)


AGAIN = Task(
    "again",
    "customers",
    "customer_id",
    "cutoff_time",
    "label",
    TaskType.BINARY_CLASSIFICATION,
    TILE,
    timedelta(days=2),
    VALIDATION,
    evaluation_cutoffs=4,
    hidden_columns=(("visits", "secret"),),
)
SCHEMA = RelationalSchema(
    "world",
    (
        table("customers", {"id": None, "group": S.CATEGORICAL, "age": S.NUMERICAL}),
        table("shops", {"id": None, "size": S.NUMERICAL}),
        table(
            "visits",
            {
                "id": None,
                "customer_id": None,
                "shop_id": None,
                "at": S.TIMESTAMP,
                "amount": S.NUMERICAL,
                "kind": S.CATEGORICAL,
                "note": S.TEXT,
                "secret": S.NUMERICAL,
            },
            "at",
        ),
    ),
    (
        ForeignKey("visits", ("customer_id",), "customers", ("id",)),
        ForeignKey("visits", ("shop_id",), "shops", ("id",)),
    ),
    (AGAIN,),
)


def frames(customers=1500, future=0):
    """The tables; `future` changes every visit after LIMIT and nothing else."""
    random = np.random.default_rng(5)
    group = random.integers(0, GROUPS, customers)
    first = np.sort(random.uniform(0, 54, customers))
    is_lively = group % 2 == 0
    second = first[is_lively] + random.uniform(0.5, 3.5, is_lively.sum())
    who = np.concatenate([np.arange(customers), np.nonzero(is_lively)[0]])
    when = np.concatenate([first, second])
    order = np.argsort(when, kind="stable")
    who, when = who[order], when[order]
    rows = len(who)
    amount = random.lognormal(1, 1, rows)
    amount[random.random(rows) < 0.3] = np.nan
    kind, shop = random.integers(0, 3, rows), random.integers(0, 5, rows)
    if future:
        later = when > (LIMIT - START) / timedelta(days=1)
        changed = np.random.default_rng(future)
        amount[later] = changed.lognormal(5, 2, later.sum())
        kind[later] = changed.integers(0, 9, later.sum())
        shop[later] = changed.integers(0, 5, later.sum())
        who[later] = changed.integers(0, customers, later.sum())
    return {
        "customers": pl.DataFrame(
            {
                "id": np.arange(customers),
                "group": [f"g{number}" for number in group],
                "age": random.normal(40, 9, customers),
            }
        ),
        "shops": pl.DataFrame({"id": np.arange(5), "size": random.normal(0, 1, 5)}),
        "visits": pl.DataFrame(
            {
                "id": np.arange(rows),
                "customer_id": who,
                "shop_id": shop,
                "at": [START + timedelta(days=round(day * 24) / 24) for day in when],
                "amount": amount,
                "kind": [f"k{number}" for number in kind],
                "note": [f"note {number % 7}" for number in range(rows)],
                "secret": random.normal(0, 1, rows),
            }
        ).with_columns(pl.col("amount").fill_nan(None), pl.col("at").cast(pl.Datetime("us"))),
    }


class World:
    """The tables in files, their graph and the task vectors of two entity tables."""

    def __init__(self, folder, future=0):
        self.folder = Path(folder)
        self.frames = frames(future=future)
        self.tables = {name: self.folder / f"{name}.parquet" for name in self.frames}
        for name, frame in self.frames.items():
            frame.write_parquet(self.tables[name])
        self.graph = build_graph(SCHEMA, self.tables)

    def vectors(self, entity_table="customers", mode="typed"):
        folder = self.folder / f"vectors-{entity_table}-{mode}"
        if folder.exists():
            return folder
        folder.mkdir()
        config = TaskVectorConfig(
            mode=mode, tile=TILE, horizons=(1, 2), lookback=2, top_k=3, max_targets=60
        )
        TaskVectorBuilder(SCHEMA, entity_table, self.tables, config).build(AS_OF, folder)
        return folder

    def training_table(self):
        """Customers whose only visit lies in the last two days: do they come in the next four?"""
        visits = self.frames["visits"]
        days = range(4, 53, 2)
        found = []
        for number in days:
            cutoff = START + timedelta(days=number)
            split = "train" if cutoff < LIMIT else "val"
            seen = visits.filter(pl.col("at") <= cutoff).group_by("customer_id")
            new = seen.agg(pl.len(), pl.col("at").max()).filter(
                (pl.col("len") == 1) & (pl.col("at") > cutoff - timedelta(days=2))
            )
            coming = visits.filter(pl.col("at").is_between(cutoff, cutoff + TILE, closed="right"))
            found.append(
                new.sort("customer_id").select(
                    pl.col("customer_id").alias("entity"),
                    pl.lit(cutoff).cast(pl.Datetime("us")).alias("cutoff_time"),
                    pl.col("customer_id")
                    .is_in(coming["customer_id"].implode())
                    .cast(pl.Int8)
                    .alias("label"),
                    pl.lit(split).alias("split"),
                )
            )
        # Windows of training rows end by LIMIT.
        rows = pl.concat(found).filter(
            (pl.col("split") == "val") | (pl.col("cutoff_time") + TILE <= LIMIT)
        )
        return rows.with_row_index("row_id")


SHAPE = NetworkShape(Convolution.SAGE, layers=2, channels=16, heads=2, encoder_layers=1)


def config(**changes):
    """Settings small enough for a test."""
    given = {
        "shape": SHAPE,
        "fan_out": 4,
        "epochs": 2,
        "steps": 4,
        "batch_size": 32,
        "validation_rows": 64,
        "most_nodes": 40,
        "warm_up_steps": 0,
        "schedule": "constant",
    }
    return PretrainingConfig(**(given | changes))
