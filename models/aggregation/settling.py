"""When a feature of a row stops changing.

A feature of a child row (`SUM(items.price)` of an order) changes with the cutoff time only until
everything that it reaches has happened; from then on it is final. So a nested aggregate takes final
values like any column, dated when they became final, and only the children that a cutoff sees
before that are evaluated at the cutoff itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from models.aggregation.paths import Hop, Path
from models.aggregation.reading import time_of
from models.aggregation.relations import key_pairs
from models.aggregation.session import Session
from models.aggregation.sql import all_of, call, col, named, number, row_number, source, table
from models.database.schema import RelationalSchema

# Long before any event, yet far enough from the smallest BIGINT for windows to be subtracted.
BEGINNING = -(2**61)


def settled(session: Session, schema: RelationalSchema, name: str, path: Path) -> str | None:
    """The table `s0`, `s1`, ... (primary key of a table), `settled` (microseconds).

    That is the latest time of the rows that a path from the row reaches, itself left out; rows
    that reach none have no entry. None where no table on the path has times.
    """
    if not path:
        return None
    hop = path[0]
    below = settled(session, schema, hop.target, path[1:])
    time = time_of(schema.table(hop.target), "reached")
    if below is None and time is None:
        return None
    query = _reached(schema, hop, name, below)
    moments = [time] if time is not None else []
    moments += [col("settled", "below")] if below is not None else []
    moment = call("GREATEST", *moments) if len(moments) > 1 else moments[0]
    reached = query.select(named(moment, "moment"), copy=False).subquery("reached", copy=False)
    keys = [col(f"s{at}") for at in range(len(schema.table(name).primary_key))]
    latest = named(call("MAX", col("moment")), "settled")
    query = (
        exp.select(*keys, latest)
        .from_(reached, copy=False)
        .group_by(*(key.copy() for key in keys), copy=False)
    )
    found = session.create(query, "settled")
    if below is not None:
        session.drop(below)
    return found


def _reached(schema: RelationalSchema, hop: Hop, name: str, below: str | None) -> exp.Select:
    """The rows that one step reaches, with the primary key of the row it starts from."""
    key = hop.foreign_key
    primary = schema.table(name).primary_key
    if hop.forward:
        query = exp.select(
            *(named(col(column, "row"), f"s{at}") for at, column in enumerate(primary))
        )
        query = query.from_(source(name, "row"), copy=False)
        on = [
            col(column, "row").eq(col(referred, "reached"))
            for column, referred in zip(key.columns, key.parent_columns, strict=True)
        ]
        query = query.join(source(hop.target, "reached"), on=all_of(on), copy=False)
    else:
        pairs = key_pairs(schema, key)
        query = exp.select(*(named(col(column, "reached"), f"s{k[1:]}") for column, k in pairs))
        query = query.from_(source(hop.target, "reached"), copy=False)
    if below is not None:
        reached = schema.table(hop.target).primary_key
        same = [
            col(column, "reached").eq(col(f"s{at}", "below")) for at, column in enumerate(reached)
        ]
        query = query.join(table(below, "below"), on=all_of(same), join_type="left", copy=False)
    return query


def with_settling(
    session: Session,
    schema: RelationalSchema,
    hop: Hop,
    base: str,
    timed: bool,
    paths: Sequence[Path],
) -> str:
    """The child rows `base` with `ctx`, a number, and `seen`: when all values below are final."""
    primary = schema.table(hop.target).primary_key
    own = col("time", "b") if timed else number(BEGINNING)
    query = exp.select(exp.Column(this=exp.Star(), table=exp.to_identifier("b", quoted=True)))
    query = query.select(named(row_number(), "ctx"), copy=False)
    query = query.from_(table(base, "b"), copy=False)
    moments: list[exp.Expression] = [own]
    made = []
    for at, path in enumerate(dict.fromkeys(paths)):
        name = settled(session, schema, hop.target, path)
        if name is None:
            continue
        made.append(name)
        alias = f"path{at}"
        on = [col(f"p{i}", "b").eq(col(f"s{i}", alias)) for i in range(len(primary))]
        query = query.join(table(name, alias), on=all_of(on), join_type="left", copy=False)
        moments.append(call("COALESCE", col("settled", alias), number(BEGINNING)))
    seen = call("GREATEST", *moments) if len(moments) > 1 else moments[0]
    found = session.create(query.select(named(seen, "seen"), copy=False), "children")
    session.drop(*made)
    return found
