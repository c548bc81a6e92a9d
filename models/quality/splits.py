"""What a training table's splits may contain, and what they do contain."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, NamedTuple

from models.database.quoting import quote
from models.database.schema import Task
from models.quality.relation import Relation, literal

SPLITS = ("train", "val", "test", "predict")


class Rule(NamedTuple):
    """What a row of a split must not be: `sql` is true for a violation, `text` says so."""

    split: str
    name: str
    sql: str
    text: str


@dataclass(frozen=True)
class Frames:
    """The time rules of a task's splits on one date. A label window is (cutoff, cutoff + window]."""

    task: Task
    as_of: datetime
    last_event: datetime

    @cached_property
    def rules(self) -> tuple[Rule, ...]:
        """The rules, each of one split. A window that closes exactly at the limit is inside."""
        start, window = self.as_of - self.task.validation_span, self.task.window
        early = f"cutoff_time < {literal(self.as_of)}"
        early_text = f"have a cutoff before as_of {self.as_of}"
        return (
            Rule("train", "late", f"cutoff_time > {literal(start - window)}",
                 f"have a window ({window}) that closes after as_of - validation_span ({start})"),
            Rule("val", "late", f"cutoff_time > {literal(self.as_of - window)}",
                 f"have a window ({window}) that closes after as_of ({self.as_of})"),
            Rule("test", "late",
                 f"label is not null and cutoff_time > {literal(self.last_event - window)}",
                 f"have a label though their window ({window}) closes after the last event"
                 f" ({self.last_event})"),
            Rule("test", "early", early, early_text),
            Rule("predict", "labelled", "label is not null", "have a label though they are open"),
            Rule("predict", "early", early, early_text),
        )  # fmt: skip

    @cached_property
    def inside_sql(self) -> str:
        """SQL that is false just for the rows that break a rule. A NULL cutoff breaks none."""
        broken = " or ".join(f"(split = '{rule.split}' and {rule.sql})" for rule in self.rules)
        return f"not coalesce({broken}, false)"


@dataclass(frozen=True)
class SplitFacts:
    """One split of a training table: its rows, labels, cutoffs, and rows that break a time rule."""

    rows: int = 0
    labelled: int = 0
    first: datetime | None = None
    last: datetime | None = None
    outside: int = 0
    violations: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """Rows, labels and cutoffs, for people."""
        keys = ("rows", "labelled", "first", "last")
        return {key: getattr(self, key) for key in keys}


def read_splits(relation: Relation, frames: Frames) -> dict[str, SplitFacts]:
    """The facts of each split that a training table may have; empty ones included."""
    facts = {}
    for split in SPLITS:
        rules = [rule for rule in frames.rules if rule.split == split]
        counts = "".join(f", count(*) filter ({rule.sql})" for rule in rules)
        rows, labelled, first, last, outside, *violations = relation.one(
            "select count(*), count(label), min(cutoff_time), max(cutoff_time),"
            f" count(*) filter (not {frames.inside_sql}){counts}"
            f" from {quote(relation.name)} where split = '{split}'"
        )
        broken = {rule.name: count for rule, count in zip(rules, violations, strict=True)}
        facts[split] = SplitFacts(rows, labelled, first, last, outside, broken)
    return facts
