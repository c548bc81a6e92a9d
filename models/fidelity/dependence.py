"""How much of a cell its own row, its parents, its children and its past explain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from models.database.schema import SemanticType, Table
from models.fidelity.databases import Database, sample_rows, values_of
from models.fidelity.estimator import explained_share, make_target
from models.fidelity.relatives import child_aggregates, earlier_rows, parent_columns
from models.synthetic.streams import Streams

EXPLAINED = (SemanticType.NUMERICAL, SemanticType.BOOLEAN, SemanticType.CATEGORICAL)
RELATIVES = ("parents", "children", "history", "all_children")
CLEAR = 0.05


@dataclass(frozen=True, slots=True)
class Explained:
    """What explains one column. Scores are `explained_share`s; a lift is what relatives add to it.

    Attributes:
        table: The column's table.
        column: The column.
        kind: Numerical, boolean or categorical.
        rows: Rows that were looked at.
        own: The score of the row's other columns.
        parents: The lift by the columns of its parents. Columns with many values tell which parent
            it is, so that what its other children have in common counts as well.
        children: The lift by aggregates of its children strictly before the row's time.
        history: The lift by aggregates of earlier rows of the same table with the same parent.
        all_children: The lift by aggregates of all its children, later ones too: what a cell and
            its children have in common, not what foretells the cell.
        together: The score of the row's other columns, its parents, children before it and history.

    A lift is None where there are no such relatives.
    """

    table: str
    column: str
    kind: SemanticType
    rows: int
    own: float
    parents: float | None
    children: float | None
    history: float | None
    all_children: float | None
    together: float


def dependence(
    database: Database, seed: int = 0, targets: int = 20, rows: int = 2000
) -> list[Explained]:
    """What explains the columns of a database.

    Args:
        database: The database.
        seed: Draws the columns, the rows and their halves.
        targets: At most so many columns, from at most half as many tables, which take turns.
        rows: At most so many rows of a table.

    Returns:
        In order of tables and columns; columns with too few values or almost only one are left out.
    """
    streams = Streams(seed).child("dependence")
    found = []
    for name, columns in _chosen(database, streams, targets, rows).items():
        table = database.schema.table(name)
        sample = sample_rows(database.tables[name], rows, streams.generator("rows", name))
        found += _of_table(database, table, columns, sample, streams.child(name))
    return found


def _chosen(database: Database, streams: Streams, targets: int, rows: int) -> dict[str, list[str]]:
    """The columns to explain by table: tables take turns in a random order, so do their columns."""
    offers: list[tuple[int, int, str, str]] = []
    order = streams.generator("tables").permutation(len(database.schema.tables))
    for place, table in zip(order, database.schema.tables, strict=True):
        sample = sample_rows(
            database.tables[table.name], rows, streams.generator("rows", table.name)
        )
        known = values_of(sample, database.schema, table)
        generator = streams.generator("columns", table.name)
        usable = [
            column.name
            for column in table.columns
            if column.name in known.columns
            and column.semantic_type in EXPLAINED
            and make_target(known[column.name].drop_nulls(), column.semantic_type, generator)
        ]
        for turn, column in enumerate(generator.permutation(usable)):
            offers.append((turn, int(place), table.name, str(column)))
    # Every table costs queries of its own.
    most = -(-targets // 2)
    tables = list(dict.fromkeys(offer[2] for offer in sorted(offers)))[:most]
    kept = [offer[2:] for offer in sorted(offers) if offer[2] in tables][:targets]
    return {
        table.name: columns
        for table in database.schema.tables
        if (columns := [c for c in table.column_names if (table.name, c) in kept])
    }


def _of_table(
    database: Database,
    table: Table,
    columns: Sequence[str],
    sample: pl.DataFrame,
    streams: Streams,
) -> list[Explained]:
    own = values_of(sample, database.schema, table)
    relatives = {
        "parents": parent_columns(database, table, sample),
        "children": child_aggregates(database, table, sample),
        "history": earlier_rows(database, table, sample),
    }
    relatives["all_children"] = (
        child_aggregates(database, table, sample, whole=True)
        if table.time_column
        else relatives["children"]
    )
    return [_explained(table, name, own, relatives, streams) for name in columns]


def _explained(
    table: Table,
    column: str,
    own: pl.DataFrame,
    relatives: Mapping[str, pl.DataFrame],
    streams: Streams,
) -> Explained:
    known = own[column].is_not_null()
    kind = table.column(column).semantic_type
    assert kind is not None
    target = make_target(own[column].filter(known), kind, streams.generator("halves", column))
    assert target is not None, f"{table.name}.{column}"
    base = _varying(own.drop(column), known)
    usable = {name: _varying(frame, known) for name, frame in relatives.items()}
    score = explained_share(target, base)
    lifts = {
        name: explained_share(target, _beside(base, frame)) - score if frame.width else None
        for name, frame in usable.items()
    }
    everything = _beside(base, usable["parents"], usable["children"], usable["history"])
    return Explained(
        table=table.name,
        column=column,
        kind=kind,
        rows=target.values.size,
        own=score,
        together=explained_share(target, everything),
        **lifts,
    )


def _varying(columns: pl.DataFrame, known: pl.Series) -> pl.DataFrame:
    """The columns, in some of the rows, that are not constant there."""
    rows = columns.filter(known) if columns.width else columns
    return rows.select(column for column in rows if column.n_unique() > 1)


def _beside(*frames: pl.DataFrame) -> pl.DataFrame:
    """Columns side by side, those of equal names apart."""
    numbered = [
        frame.rename({name: f"{place} {name}" for name in frame.columns})
        for place, frame in enumerate(frames)
        if frame.width
    ]
    return pl.concat(numbered, how="horizontal") if numbered else pl.DataFrame()


def summary(explained: Sequence[Explained]) -> dict[str, float | None]:
    """Figures over the columns of a database; None where no column says anything.

    Lifts: the median over the columns that have such relatives, and the share of all columns whose
    lift is greater than `CLEAR`.
    """
    if not explained:
        return {}
    own = np.array([one.own for one in explained])
    found: dict[str, float | None] = {
        "columns explained": float(len(explained)),
        "own row: median": float(np.median(own)),
        "own row: share over .9": float((own > 0.9).mean()),
        "own row: share under .05": float((own < 0.05).mean()),
        "together: median": float(np.median([one.together for one in explained])),
    }
    for name in RELATIVES:
        lifts = [getattr(one, name) for one in explained]
        known = [lift for lift in lifts if lift is not None]
        words = name.replace("_", " ")
        found[f"{words} lift: median"] = float(np.median(known)) if known else None
        found[f"{words} lift: share over .05"] = sum(lift > CLEAR for lift in known) / len(lifts)
    return found
