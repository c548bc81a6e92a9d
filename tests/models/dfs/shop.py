"""A small random shop: NULLs, ties in value and in time, rows exactly at cutoffs, orphans."""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table

S = SemanticType
START = datetime(2024, 1, 1)
TYPES = {
    S.NUMERICAL: pl.Float64,
    S.CATEGORICAL: pl.String,
    S.BOOLEAN: pl.Boolean,
    S.TIMESTAMP: pl.Datetime("us"),
}


def table(name, columns, key="id", time=None):
    keys = (key,) if isinstance(key, str) else key
    described = tuple(Column(column, "", kind) for column, kind in columns.items())
    return Table(name, described, keys, time)


def reference(child, column, parent):
    return ForeignKey(child, (column,), parent, ("id",))


SHOP = RelationalSchema(
    "shop",
    (
        table(
            "customers", {"id": None, "region_id": None, "age": S.NUMERICAL, "tier": S.CATEGORICAL}
        ),
        table("regions", {"id": None, "opened": S.TIMESTAMP, "size": S.NUMERICAL}, time="opened"),
        table(
            "stores",
            {
                "id": None,
                "opened": S.TIMESTAMP,
                "area": S.NUMERICAL,
                "kind": S.CATEGORICAL,
                "online": S.BOOLEAN,
            },
            time="opened",
        ),
        table(
            "orders",
            {
                "id": None,
                "customer_id": None,
                "store_id": None,
                "at": S.TIMESTAMP,
                "price": S.NUMERICAL,
                "channel": S.CATEGORICAL,
                "paid": S.BOOLEAN,
            },
            time="at",
        ),
        table(
            "items",
            {
                "id": None,
                "order_id": None,
                "at": S.TIMESTAMP,
                "quantity": S.NUMERICAL,
                "colour": S.CATEGORICAL,
                "returned": S.BOOLEAN,
            },
            time="at",
        ),
        table(
            "notes", {"id": None, "customer_id": None, "score": S.NUMERICAL, "topic": S.CATEGORICAL}
        ),
    ),
    (
        reference("customers", "region_id", "regions"),
        reference("orders", "customer_id", "customers"),
        reference("orders", "store_id", "stores"),
        reference("items", "order_id", "orders"),
        reference("notes", "customer_id", "customers"),
    ),
)


class Draw:
    """Random columns."""

    def __init__(self, seed, rows):
        self.random, self.rows = np.random.default_rng(seed), rows

    def one_of(self, choices, null=0.2):
        picked = self.random.integers(0, len(choices), self.rows)
        missing = self.random.random(self.rows) < null
        return [None if gone else choices[at] for at, gone in zip(picked, missing, strict=True)]

    def days(self, last, null=0.0):
        return self.one_of([START + timedelta(hours=12 * half) for half in range(2 * last)], null)


def shop_frames(seed, customers=8, orders=60, items=120):
    """The shop's tables as polars frames; all times are whole half-days."""
    numbers = [0.0, 0.1, 0.2, 0.3, 1.0, 2.5, -7.75, 1e6 + 0.1, 3.0]
    who, what, which = Draw(seed, customers), Draw(seed + 1, orders), Draw(seed + 2, items)
    other, place = Draw(seed + 3, 20), Draw(seed + 4, 4)
    frames = {
        "customers": {
            "id": range(customers),
            "region_id": who.one_of(range(4)),
            "age": who.one_of(numbers),
            "tier": who.one_of(["a", "b"]),
        },
        "regions": {"id": range(4), "opened": place.days(20), "size": place.one_of(numbers)},
        "stores": {
            "id": range(4),
            "opened": place.days(20),
            "area": place.one_of(numbers),
            "kind": place.one_of(["x", "y"]),
            "online": place.one_of([True, False]),
        },
        "orders": {
            "id": range(orders),
            "customer_id": what.one_of(range(customers)),
            "store_id": what.one_of(range(4)),
            "at": what.days(30),
            "price": what.one_of(numbers),
            "channel": what.one_of(["b", "a", "c"]),
            "paid": what.one_of([True, False]),
        },
        "items": {
            "id": range(items),
            "order_id": which.one_of(range(orders)),
            "at": which.days(35),
            "quantity": which.one_of(numbers),
            "colour": which.one_of(["red", "blue"]),
            "returned": which.one_of([True, False]),
        },
        "notes": {
            "id": range(20),
            "customer_id": other.one_of(range(customers)),
            "score": other.one_of(numbers),
            "topic": other.one_of(["t", "s"]),
        },
    }
    return {name: typed(SHOP, name, columns) for name, columns in frames.items()}


def typed(schema, name, columns):
    """A frame with the types that the schema's semantic types call for; keys are integers."""
    kinds = {column.name: column.semantic_type for column in schema.table(name).columns}
    data = {key: list(values) for key, values in columns.items()}
    return pl.DataFrame(
        data, schema_overrides={key: TYPES.get(kinds[key], pl.Int64) for key in data}
    )


def store(frames, folder):
    """Write the frames as Parquet files; the mapping that `compute_features` takes."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    files = {name: Path(folder) / f"{name}.parquet" for name in frames}
    for name, frame in frames.items():
        frame.write_parquet(files[name])
    return files


def seeds_at(entities, cutoffs, as_of=None):
    """Every entity at every cutoff; with `as_of` under the frozen protocol."""
    frame = pl.DataFrame({"entity": list(entities)}).join(
        pl.DataFrame({"cutoff_time": list(cutoffs)}, schema={"cutoff_time": pl.Datetime("us")}),
        how="cross",
    )
    cutoff = pl.col("cutoff_time")
    visible = cutoff if as_of is None else pl.min_horizontal(cutoff, pl.lit(as_of))
    return frame.with_columns(visible_until=visible).with_row_index("row_id")


def day(number):
    return START + timedelta(days=number)
