"""The gate before features: a training table without leakage, and with labels to learn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from models.database.quoting import quote
from models.database.schema import Task
from models.quality.keys import unique_key
from models.quality.label_checks import label_checks
from models.quality.plan import Check, Figure, TablePlan, share, true_everywhere
from models.quality.relation import (
    Relation,
    is_temporal,
    literal,
    naive_utc,
    open_relations,
)
from models.quality.results import TRAINING_TABLE_CHECKS, QualityReport
from models.quality.splits import SPLITS, Frames, SplitFacts, read_splits
from models.quality.user import require_known_tables, user_check
from models.quality.validation import validate

REBUILD = "Rebuild the table with the training_table macro"


def check_training_table(
    task: Task,
    path: Path,
    *,
    as_of: datetime,
    last_event: datetime,
    user_expectations: Mapping[str, Sequence[Mapping[str, Any]]] | None = None,
    docs_dir: Path | None = None,
) -> QualityReport:
    """Validate a task's training table (entity, cutoff_time, label, split), given as Parquet.

    `last_event` is the time of the newest event in the data: the labels of test rows must lie
    before it. `user_expectations` maps the task's name to entries `{type, kwargs, severity}`.
    """
    user = user_expectations or {}
    require_known_tables(user, [task.name])
    with open_relations({task.name: path}) as relations:
        relation = relations[task.name]
        _prepare(relation)
        frames = Frames(task, naive_utc(as_of), naive_utc(last_event))
        splits = read_splits(relation, frames)
        checks = (
            _labels_inside_window(relation, frames, splits),
            _one_row(relation),
            _splits_disjoint(relation, task, splits),
            _splits_not_empty(relation, splits),
            *label_checks(task, relation, splits),
            user_check(
                TRAINING_TABLE_CHECKS["user_expectations"], relation, user.get(task.name, ())
            ),
        )
        return validate([TablePlan(relation, checks)], docs_dir, "training table")


def _prepare(relation: Relation) -> None:
    """Require the four columns; from here on, cutoff_time is a timestamp in UTC."""
    relation.require(("entity", "cutoff_time", "label", "split"), f"{REBUILD}.")
    if not is_temporal(relation.type_of("cutoff_time")):
        raise ValueError(
            f"table {relation.name!r} ({relation.path}): cutoff_time is"
            f" {relation.type_of('cutoff_time')}, not a timestamp. {REBUILD}."
        )
    relation.connection.execute(
        f"create or replace view {quote(relation.name)} as select * replace"
        f" (cutoff_time::timestamp as cutoff_time) from read_parquet({literal(relation.path)})"
    )


def _labels_inside_window(
    relation: Relation, frames: Frames, splits: Mapping[str, SplitFacts]
) -> Check:
    problems = [
        f"{share(splits[rule.split].violations[rule.name], splits[rule.split].rows)} {rule.split}"
        f" rows {rule.text}"
        for rule in frames.rules
        if splits[rule.split].violations[rule.name]
    ]
    outside = sum(facts.outside for facts in splits.values())
    failed = (
        f"{relation.name}: {'; '.join(problems)}. Such a label was not yet known, or belongs to a"
        f" later split. {REBUILD}, or filter cutoff_time and label accordingly."
    )
    return Check(
        TRAINING_TABLE_CHECKS["labels_inside_window"],
        f"{relation.name}: every label of {relation.rows:,} rows lies inside its split's window.",
        failed,
        (
            true_everywhere(
                "rows outside their split's window", outside, "inside window", frames.inside_sql
            ),
        ),
        observed={
            "rows": relation.rows,
            "as_of": frames.as_of,
            "last_event": frames.last_event,
            "violations": {name: facts.violations for name, facts in splits.items()},
        },
    )


def _one_row(relation: Relation) -> Check:
    mend = (
        "Group by entity and cutoff time in the task's SQL, and leave out rows without either: a"
        " join that multiplies rows is the usual cause."
    )
    definition = TRAINING_TABLE_CHECKS["one_row_per_entity_and_cutoff"]
    return unique_key(definition, relation, ("entity", "cutoff_time"), mend)


def _splits_disjoint(relation: Relation, task: Task, splits: Mapping[str, SplitFacts]) -> Check:
    """The last window of a split closes at or before the first cutoff of the next."""
    predicted = [s.first for s in (splits["test"], splits["predict"]) if s.first is not None]
    starts = {"val": splits["val"].first, "prediction": min(predicted, default=None)}
    figures, problems = [], []
    for earlier, later in (("train", "val"), ("val", "prediction"), ("train", "prediction")):
        last, start = splits[earlier].last, starts[later]
        if last is None or start is None:
            continue
        gap = (start - (last + task.window)).total_seconds()
        figures.append(
            Figure(f"seconds from last {earlier} window to first {later} cutoff", gap, 0)
        )
        if gap < 0:
            problems.append(
                f"the last {earlier} window closes at {last + task.window}, after the first"
                f" {later} cutoff {start} ({splits[earlier].rows:,} {earlier} rows)"
            )
    unknown = relation.rows - sum(splits[name].rows for name in SPLITS)
    figures.append(Figure("rows whose split is unknown", unknown, at_most=0))
    if unknown:
        problems.append(f"{share(unknown, relation.rows)} rows have a split not in {list(SPLITS)}")
    return Check(
        TRAINING_TABLE_CHECKS["splits_disjoint"],
        f"{relation.name}: the splits of {relation.rows:,} rows follow each other in time.",
        f"{relation.name}: {'; '.join(problems)}. Move the cutoff_time of the earlier split back by"
        f" a window ({task.window}), or {REBUILD[0].lower()}{REBUILD[1:]}.",
        tuple(figures),
        observed={name: splits[name].as_dict() for name in SPLITS},
    )


def _splits_not_empty(relation: Relation, splits: Mapping[str, SplitFacts]) -> Check:
    """Train and val have labels. A table of NULL labels only is the matter of `label_present`."""
    labelled = {name: splits[name].labelled for name in ("train", "val")}
    if not any(labelled.values()):
        labelled = {name: splits[name].rows for name in labelled}
    to_predict = splits["test"].rows + splits["predict"].rows
    empty = [f"{name} has no labelled row" for name, count in labelled.items() if not count]
    empty += [] if to_predict else ["there is no test or predict row, hence nothing to predict"]
    return Check(
        TRAINING_TABLE_CHECKS["splits_not_empty"],
        f"{relation.name}: {splits['train'].labelled:,} train and {splits['val'].labelled:,} val"
        f" labels, {to_predict:,} rows to predict.",
        f"{relation.name}: {'; '.join(empty)} (of {relation.rows:,} rows). Choose another as_of, a"
        " shorter window or validation_span, or load more history; without rows to predict, check"
        " the task's population.",
        (
            *(Figure(f"{name} rows with a label", n, at_least=1) for name, n in labelled.items()),
            Figure("rows to predict", to_predict, at_least=1),
        ),
        observed={"rows": relation.rows, "labelled": labelled, "to_predict": to_predict},
    )
