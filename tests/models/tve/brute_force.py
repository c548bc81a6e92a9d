"""Task vectors the slow way: for one entity and cutoff walk the path row by row, then reduce.

Rows are dictionaries; nothing is shared with the library but the definitions of paths and targets.
"""

import math
import statistics
from collections import Counter
from datetime import timedelta

DAY = timedelta(days=1)


class Walker:
    """Rows that a path reaches, by nested loops."""

    def __init__(self, schema, frames):
        self.schema = schema
        self.rows = {name: frame.to_dicts() for name, frame in frames.items()}

    def time(self, table, row):
        column = self.schema.table(table).time_column
        return row[column] if column else None

    def refers(self, key, child, parent):
        pairs = zip(key.columns, key.parent_columns, strict=True)
        return all(child[own] is not None and child[own] == parent[other] for own, other in pairs)

    def events(self, hop, entity, begin, end):
        key = hop.foreign_key
        return [
            row
            for row in self.rows[hop.target]
            if row[key.columns[0]] == entity
            and self.time(hop.target, row) is not None
            and begin < self.time(hop.target, row) <= end
        ]

    def parent(self, hop, row, end):
        """The parent row, or one without values where there is none or it comes after the window."""
        for parent in self.rows[hop.target]:
            if self.refers(hop.foreign_key, row, parent):
                time = self.time(hop.target, parent)
                timed = self.schema.table(hop.target).time_column is not None
                if not timed or (time is not None and time <= end):
                    return parent
        return dict.fromkeys(self.schema.table(hop.target).column_names)

    def siblings(self, hop, row, lookback):
        table, columns = hop.target, hop.foreign_key.columns
        until = self.time(table, row)
        return [
            other
            for other in self.rows[table]
            if all(other[c] is not None and other[c] == row[c] for c in columns)
            and self.time(table, other) is not None
            and until - lookback < self.time(table, other) <= until
        ]

    def reach(self, hops, entity, begin, end, lookback):
        """The rows at the end of the path from the events of a window."""
        events = self.events(hops[0], entity, begin, end)
        if len(hops) == 1:
            return events
        if len(hops) == 2:
            return [self.parent(hops[1], row, end) for row in events]
        return [r for row in events for r in self.siblings(hops[2], row, lookback)]


def signed_log(value):
    return math.copysign(math.log1p(abs(value)), value)


def expected(walker, path, target, entity, cutoff, tile, lookback, vocabulary):
    """The target's value before scaling, None where it is masked."""
    end = cutoff + target.horizon * tile
    rows = walker.reach(path.hops, entity, cutoff, end, lookback)
    values = [row[target.column] for row in rows] if target.column else []
    known = [value for value in values if value is not None]
    kind = str(target.kind)
    if kind == "any":
        return float(bool(rows))
    if kind == "count":
        return math.log1p(len(rows))
    if kind == "sum":
        return signed_log(math.fsum(known))
    if kind == "mean":
        return signed_log(math.fsum(known) / len(known)) if known else None
    if kind in ("min", "max"):
        return signed_log({"min": min, "max": max}[kind](known)) if known else None
    if kind == "std":
        return math.log1p(statistics.stdev(known)) if len(known) > 1 else None
    if kind == "share":
        # A row without the value counts as one where it is not true.
        return sum(known) / len(values) if values else None
    if kind == "distinct":
        if len(path.hops) == 3:  # of siblings only the categories that have targets are told apart
            known = [value for value in known if value in vocabulary[path.table, target.column]]
        return math.log1p(len(set(known)))
    if kind == "category":
        counted = vocabulary[path.table, target.column]
        tally = Counter(value if value in counted else None for value in values)
        return tally[target.value] / len(values) if values else None
    if kind == "time_to_next":
        wait = min((walker.time(path.table, row) - cutoff for row in rows), default=end - cutoff)
        return math.log1p(wait / DAY)
    raise AssertionError(kind)
