"""Builds the temporal graph of a database from its staged tables, set-based."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.database.quoting import quote
from models.database.schema import ForeignKey, RelationalSchema, SemanticType, Table
from models.rdl.graph import (
    NodeTable,
    TemporalGraph,
    Values,
    adjacency_of,
    as_microseconds,
    time_ranks,
)
from models.rdl.text import TextEncoder, hashed_texts


def build_graph(
    schema: RelationalSchema,
    tables: Mapping[str, Path],
    *,
    text_encoder: TextEncoder | None = None,
    earlier: TemporalGraph | None = None,
    threads: int = 2,
    memory_limit: str | None = None,
) -> TemporalGraph:
    """The temporal graph of a database.

    Nothing is fitted here: values are stored as they are, so the graph knows of no date, and what a
    learner takes from it (scales, known categories) it takes from the rows that it may see.

    Args:
        schema: The database, with semantic types. Keys and identifiers are no features.
        tables: Parquet of each staged table.
        text_encoder: How texts become numbers; None for hashed character n-grams.
        earlier: A graph of fewer rows of the same database and text encoder: the texts it knows are
            not encoded again, the costly part of a build. The result is the same without it.
        threads: DuckDB's threads; the result does not depend on it.
        memory_limit: Of DuckDB, such as "4GB".

    Returns:
        The graph, on the CPU.

    Raises:
        ValueError: A row refers to several parents by one key: the parent's key is not unique.
    """
    settings: dict[str, Any] = {"threads": threads}
    if memory_limit:
        settings["memory_limit"] = memory_limit
    with duckdb.connect(":memory:", config=settings) as connection:
        frames = {table.name: _read(connection, tables[table.name]) for table in schema.tables}
        parents = [
            _parents(connection, tables, key, frames[key.table].height)
            for key in schema.foreign_keys
        ]
    timed = {t.name: _event_times(t, frames[t.name]) for t in schema.tables}
    times, ranks = time_ranks(list(timed.values()), [frames[name].height for name in timed])
    nodes = {}
    for table, rank in zip(schema.tables, ranks, strict=True):
        known = earlier.tables[table.name].text if earlier else {}
        nodes[table.name] = _node_table(
            schema, table, frames[table.name], timed[table.name], rank, text_encoder, known
        )
    adjacency = tuple(
        adjacency_of(parent, nodes[key.table].time_rank, nodes[key.parent].rows, len(times) + 2)
        for key, parent in zip(schema.foreign_keys, parents, strict=True)
    )
    return TemporalGraph(nodes, schema.foreign_keys, adjacency, times)


def _read(connection: duckdb.DuckDBPyConnection, file: Path) -> pl.DataFrame:
    rows = connection.execute(
        "select * exclude (file_row_number) from read_parquet(?, file_row_number = true) "
        "order by file_row_number",
        [str(file)],
    )
    return pl.DataFrame(rows.to_arrow_table())


def _parents(
    connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Path], key: ForeignKey, rows: int
) -> Tensor:
    """The row number of each child row's parent, int64, -1 where there is none."""
    pairs = zip(key.columns, key.parent_columns, strict=True)
    on = " and ".join(f"child.{quote(column)} = parent.{quote(other)}" for column, other in pairs)
    found = connection.execute(
        "select coalesce(parent.file_row_number, -1) as parent "
        "from read_parquet(?, file_row_number = true) child "
        f"left join read_parquet(?, file_row_number = true) parent on {on} "
        "order by child.file_row_number",
        [str(tables[key.table]), str(tables[key.parent])],
    ).fetchnumpy()["parent"]
    if len(found) != rows:
        raise ValueError(
            f"{key}: {len(found)} pairs of a row and its parent for {rows} rows of {key.table!r}; "
            f"make {', '.join(key.parent_columns)} of {key.parent!r} unique"
        )
    return torch.from_numpy(np.ascontiguousarray(found, dtype=np.int64))


def _event_times(table: Table, frame: pl.DataFrame) -> Tensor | None:
    return as_microseconds(frame[table.time_column]) if table.time_column else None


def _node_table(
    schema: RelationalSchema,
    table: Table,
    frame: pl.DataFrame,
    time: Tensor | None,
    rank: Tensor,
    text_encoder: TextEncoder | None,
    known_texts: Mapping[str, Values],
) -> NodeTable:
    keys = schema.key_columns(table.name)
    kinds: dict[SemanticType, list[str]] = {kind: [] for kind in SemanticType}
    for column in table.columns:
        if column.semantic_type and column.name not in keys and column.name != table.time_column:
            kinds[column.semantic_type].append(column.name)
    # In the table's order: a Boolean is a number with two values.
    numbers = [
        column.name
        for column in table.columns
        if column.name in kinds[SemanticType.NUMERICAL] + kinds[SemanticType.BOOLEAN]
    ]
    stamps = kinds[SemanticType.TIMESTAMP]
    return NodeTable(
        name=table.name,
        rows=frame.height,
        time=time,
        time_rank=rank,
        numerical_columns=tuple(numbers),
        numerical=_columns(
            [_numbers(frame[name]) for name in numbers], frame.height, torch.float32
        ),
        timestamp_columns=tuple(stamps),
        timestamps=_columns([_stamps(frame[name]) for name in stamps], frame.height, torch.int64),
        categorical={name: _values(frame[name]) for name in kinds[SemanticType.CATEGORICAL]},
        text={
            name: _embedded(
                _values(frame[name]), text_encoder or hashed_texts, known_texts.get(name)
            )
            for name in kinds[SemanticType.TEXT]
        },
        keys=frame.select(table.primary_key),
    )


def _columns(columns: list[Tensor], rows: int, dtype: torch.dtype) -> Tensor:
    return torch.stack(columns, dim=1) if columns else torch.zeros((rows, 0), dtype=dtype)


def _numbers(column: pl.Series) -> Tensor:
    numbers = column.cast(pl.Float64, strict=False).cast(pl.Float32).fill_null(float("nan"))
    values = torch.from_numpy(numbers.to_numpy().copy())
    return torch.where(torch.isfinite(values), values, torch.nan)


def _stamps(column: pl.Series) -> Tensor:
    if column.dtype == pl.String:
        column = column.str.to_datetime(time_unit="us", strict=False)
    return as_microseconds(column)


def _values(column: pl.Series) -> Values:
    texts = column.cast(pl.String)
    distinct = texts.drop_nulls().unique().sort()
    positions = (
        texts.replace_strict(
            distinct,
            pl.Series(range(len(distinct)), dtype=pl.Int32),
            default=-1,
            return_dtype=pl.Int32,
        )
        if len(distinct)
        else pl.Series([-1] * len(texts), dtype=pl.Int32)
    )
    codes = torch.from_numpy(positions.fill_null(-1).to_numpy().copy())
    return Values(codes, distinct.alias("value"))


def _embedded(values: Values, encoder: TextEncoder, known: Values | None) -> Values:
    """The values with an embedding each; those that are known keep theirs."""
    if known is None or known.embeddings is None or len(known.values) == 0:
        return Values(values.codes, values.values, torch.from_numpy(encoder(values.values)))
    place = pl.DataFrame({"value": values.values}).join(
        pl.DataFrame({"value": known.values}).with_row_index("row"),
        on="value",
        how="left",
        maintain_order="left",
    )["row"]
    is_new = place.is_null()
    embeddings = known.embeddings[
        torch.from_numpy(place.fill_null(0).cast(pl.Int64).to_numpy().copy())
    ]
    if is_new.any():
        encoded = torch.from_numpy(encoder(values.values.filter(is_new)))
        embeddings[torch.from_numpy(is_new.to_numpy().copy())] = encoded
    return Values(values.codes, values.values, embeddings)
