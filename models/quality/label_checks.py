"""The checks on a training table's labels: present, of the right type, two classes, no drift.

Thresholds: a class rarer than `MIN_CLASS_RATE` of the training labels is reported; drift between
train and val is reported beyond a population stability index of `MAX_STABILITY_INDEX` for classes,
or a standardised mean difference of `MAX_MEAN_DIFFERENCE` for numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from models.database.quoting import quote
from models.database.schema import Task, TaskType
from models.quality.plan import Check, Figure, share, true_everywhere
from models.quality.relation import Relation, is_numeric
from models.quality.results import TRAINING_TABLE_CHECKS, Severity
from models.quality.splits import SplitFacts

MIN_CLASS_RATE = 0.01
# The usual reading of the index: below 0.1 stable, 0.1 to 0.25 some shift, above that a large one.
MAX_STABILITY_INDEX = 0.1
# Cohen's medium effect.
MAX_MEAN_DIFFERENCE = 0.5
# With fewer labels in a split, chance alone passes these thresholds.
MIN_LABELS_FOR_DRIFT = 30

Counts = dict[str, dict[Any, int]]


def label_checks(
    task: Task, relation: Relation, splits: Mapping[str, SplitFacts]
) -> tuple[Check, ...]:
    """The label checks in catalogue order. Each fault is reported by one of them alone."""
    classes = task.task_type is not TaskType.REGRESSION
    counts = _class_counts(relation) if classes else {}
    return (
        _label_present(relation, splits),
        _two_classes(relation, task, counts),
        _label_type(relation, task),
        _class_rate(relation, counts),
        _class_drift(relation, counts) if classes else _mean_drift(relation),
    )


def _class_counts(relation: Relation) -> Counts:
    """Labelled rows by split and class. What is no number is the matter of `label_type`."""
    number = " and isfinite(label)" if relation.type_of("label") in ("FLOAT", "DOUBLE") else ""
    counts: Counts = {"train": {}, "val": {}}
    rows = relation.connection.execute(
        f"select split, label, count(*) from {quote(relation.name)}"
        f" where split in ('train', 'val') and label is not null{number} group by all order by all"
    ).fetchall()
    for split, label, count in rows:
        counts[split][label] = count
    return counts


def _label_present(relation: Relation, splits: Mapping[str, SplitFacts]) -> Check:
    """Critical without any label to learn from, a warning where a closed window has none."""
    definition = TRAINING_TABLE_CHECKS["label_present"]
    closed = [splits[name] for name in ("train", "val", "test")]
    learning = closed[:2]
    rows, missing = sum(s.rows for s in closed), sum(s.rows - s.labelled for s in closed)
    learning_rows, labels = sum(s.rows for s in learning), sum(s.labelled for s in learning)
    if not learning_rows:
        return Check(definition, f"{relation.name}: no train or val row, see splits_not_empty.")
    by_split = {
        name: splits[name].rows - splits[name].labelled for name in ("train", "val", "test")
    }
    return Check(
        definition,
        f"{relation.name}: {share(missing, rows)} closed windows have a NULL label.",
        f"{relation.name}: {share(missing, rows)} rows with a closed window have a NULL label"
        f" ({', '.join(f'{name} {count:,}' for name, count in by_split.items() if count)}). Give"
        " entities without events a label (coalesce(..., 0)), or leave such rows out of the task's"
        " SQL.",
        (
            Figure("train and val rows with a label", labels, at_least=1),
            Figure("closed windows without a label", missing, at_most=0),
        ),
        observed={"rows": rows, "null_labels": by_split, "null_share": missing / rows},
        severity=Severity.WARNING if labels else Severity.CRITICAL,
    )


def _two_classes(relation: Relation, task: Task, counts: Counts) -> Check:
    definition = TRAINING_TABLE_CHECKS["two_classes"]
    labelled = {split: classes for split, classes in counts.items() if classes}
    if not labelled:
        return Check(definition, f"{relation.name}: no classes, nothing to check.")
    single = [
        f"all {sum(classes.values()):,} {split} labels are {next(iter(classes))!r}"
        for split, classes in labelled.items()
        if len(classes) == 1
    ]
    return Check(
        definition,
        f"{relation.name}: "
        + ", ".join(f"{len(classes)} classes in {split}" for split, classes in labelled.items())
        + ".",
        f"{relation.name}: {'; '.join(single)}, so {task.metric} can't be computed or nothing be"
        " learned. Correct the label in the task's SQL, widen the window, or take more cutoffs"
        " (evaluation_cutoffs) or another as_of.",
        tuple(
            Figure(f"classes in {split}", len(classes), at_least=2)
            for split, classes in labelled.items()
        ),
        observed={"classes": {split: _named(classes) for split, classes in counts.items()}},
    )


def _label_type(relation: Relation, task: Task) -> Check:
    definition = TRAINING_TABLE_CHECKS["label_type"]
    sql_type = relation.type_of("label")
    any_type = task.task_type is TaskType.MULTICLASS_CLASSIFICATION
    if any_type and sql_type not in ("FLOAT", "DOUBLE"):
        return Check(definition, f"{relation.name}: {sql_type} labels are classes as they are.")
    binary = task.task_type is TaskType.BINARY_CLASSIFICATION
    number = "try_cast(label as double)"
    usable = f"{number} in (0, 1)" if binary else f"isfinite({number})"
    if not is_numeric(sql_type) and not (binary and sql_type == "BOOLEAN"):
        usable = "false"
    usable = f"coalesce(label is null or {usable}, false)"
    (bad, examples) = relation.one(
        f"select count(*) filter (not {usable}),"
        f" list_slice(list_sort(list(distinct label::varchar) filter (not {usable})), 1, 3)"
        f" from {quote(relation.name)}"
    )
    wanted = "0 or 1" if binary else "finite numbers"
    return Check(
        definition,
        f"{relation.name}: labels of {relation.rows:,} rows are {wanted} ({sql_type}).",
        f"{relation.name}: {share(bad, relation.rows)} rows have a label ({sql_type}) that is not"
        f" {wanted} (e.g. {', '.join(examples or [])}). Cast the label column in the task's SQL, or"
        f" change the task's type (now {task.task_type}).",
        (true_everywhere(f"labels other than {wanted}", bad, f"label is {wanted}", usable),),
        observed={"rows": relation.rows, "bad_labels": bad, "sql_type": sql_type},
    )


def _class_rate(relation: Relation, counts: Counts) -> Check:
    definition, classes = TRAINING_TABLE_CHECKS["class_rate"], counts.get("train", {})
    if len(classes) < 2:
        return Check(definition, f"{relation.name}: fewer than two classes, nothing to compare.")
    total = sum(classes.values())
    label, count = min(classes.items(), key=lambda item: item[1])
    rarest = f"{relation.name}: the rarest class, {label!r}, has {share(count, total)} train labels"
    return Check(
        definition,
        f"{rarest}.",
        f"{rarest}, under {100 * MIN_CLASS_RATE:g} %. Widen the window, add training cutoffs (a"
        " shorter stride), merge rare classes, or select on average_precision.",
        (Figure("share of the rarest class", count / total, at_least=MIN_CLASS_RATE),),
        observed={"label": label, "count": count, "rate": count / total, "labels": total},
    )


def _class_drift(relation: Relation, counts: Counts) -> Check:
    """The population stability index between train and val, less what chance contributes."""
    train, val = counts["train"], counts["val"]
    sizes = sum(train.values()), sum(val.values())
    classes = sorted({*train, *val}, key=str)
    if min(sizes) < MIN_LABELS_FOR_DRIFT or len(classes) < 2:
        return _too_few(relation, sizes)
    # Half a row a class keeps a class that one split lacks from being infinitely far away.
    total = [size + 0.5 * len(classes) for size in sizes]
    shares = [
        ((train.get(c, 0) + 0.5) / total[0], (val.get(c, 0) + 0.5) / total[1]) for c in classes
    ]
    index = sum((b - a) * math.log(b / a) for a, b in shares)
    limit = MAX_STABILITY_INDEX + (len(classes) - 1) * (1 / sizes[0] + 1 / sizes[1])
    far = max(range(len(classes)), key=lambda i: abs(shares[i][1] - shares[i][0]))
    change = (
        f"class {classes[far]!r} has {100 * shares[far][0]:.3g} % of {sizes[0]:,} train and"
        f" {100 * shares[far][1]:.3g} % of {sizes[1]:,} val labels"
    )
    return _drift(relation, "population stability index", index, limit, change)


def _mean_drift(relation: Relation) -> Check:
    """The difference of the means of train and val, in units of the pooled deviation."""
    if not is_numeric(relation.type_of("label")):
        return _too_few(relation, (0, 0))
    usable = "isfinite(label::double) and split = "
    train, val = (
        relation.one(
            "select count(*), coalesce(avg(label::double), 0),"
            " coalesce(var_samp(label::double), 0)"
            f" from {quote(relation.name)} where {usable}'{split}'"
        )
        for split in ("train", "val")
    )
    if min(train[0], val[0]) < MIN_LABELS_FOR_DRIFT:
        return _too_few(relation, (train[0], val[0]))
    deviation = math.sqrt((train[2] + val[2]) / 2)
    gap = abs(val[1] - train[1])
    difference = gap / deviation if deviation else (math.inf if gap else 0.0)
    change = f"mean label {train[1]:.4g} in {train[0]:,} train, {val[1]:.4g} in {val[0]:,} val rows"
    # JSON and Data Docs have no infinity.
    difference = min(difference, 1e9)
    return _drift(relation, "standardised mean difference", difference, MAX_MEAN_DIFFERENCE, change)


def _drift(relation: Relation, name: str, value: float, limit: float, change: str) -> Check:
    text = f"{relation.name}: {change} ({name} {value:.3g}, limit {limit:.3g})"
    return Check(
        TRAINING_TABLE_CHECKS["label_drift"],
        f"{text}.",
        f"{text}: validation does not look like training. Check the load around the validation"
        " span for missing or doubled events, or learn from later cutoffs only.",
        (Figure(name, value, at_most=limit),),
        observed={"measure": name, "value": value, "limit": limit},
    )


def _too_few(relation: Relation, sizes: tuple[int, int]) -> Check:
    return Check(
        TRAINING_TABLE_CHECKS["label_drift"],
        f"{relation.name}: {sizes[0]:,} train and {sizes[1]:,} val labels, too few to compare"
        f" (needs {MIN_LABELS_FOR_DRIFT} each and two classes).",
    )


def _named(classes: Mapping[Any, int]) -> dict[str, int]:
    return {str(label): count for label, count in classes.items()}
