"""What the quality gates report: the catalogue of checks and the plain results of a run.

The catalogue is static, so that Dagster can declare a check before any data exist.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple


class Severity(StrEnum):
    """What a failed check means: CRITICAL stops the pipeline, WARNING is shown."""

    CRITICAL = "critical"
    WARNING = "warning"


class CheckDefinition(NamedTuple):
    """A check as it is known before any data exist.

    `severity` is the gravest that a result may carry: `user_expectations` and `label_present` can
    also fail as a mere warning.
    """

    name: str
    severity: Severity
    description: str


RAW_CHECKS = {
    check.name: check
    for check in (
        CheckDefinition("not_empty", Severity.CRITICAL, "The table has rows."),
        CheckDefinition(
            "columns_present", Severity.CRITICAL, "Every column that the schema declares exists."
        ),
        CheckDefinition(
            "event_times_parse", Severity.CRITICAL, "Event times written as text are times."
        ),
    )
}

STAGED_CHECKS = {
    check.name: check
    for check in (
        CheckDefinition(
            "primary_key_unique", Severity.CRITICAL, "No primary key occurs twice or is NULL."
        ),
        CheckDefinition(
            "foreign_keys_resolve",
            Severity.CRITICAL,
            "References without a parent row stay within the foreign key's tolerance.",
        ),
        CheckDefinition(
            "event_times_valid",
            Severity.CRITICAL,
            "No event lies in the future (blocks), and every event has a time (warns).",
        ),
        CheckDefinition(
            "constant_columns", Severity.WARNING, "No column holds the same value in every row."
        ),
        CheckDefinition(
            "user_expectations", Severity.CRITICAL, "What the dbt model's meta block expects."
        ),
    )
}

TRAINING_TABLE_CHECKS = {
    check.name: check
    for check in (
        CheckDefinition(
            "labels_inside_window",
            Severity.CRITICAL,
            "No label comes from after the time up to which its split may look.",
        ),
        CheckDefinition(
            "one_row_per_entity_and_cutoff",
            Severity.CRITICAL,
            "No (entity, cutoff_time) occurs twice or is NULL.",
        ),
        CheckDefinition(
            "splits_disjoint",
            Severity.CRITICAL,
            "The windows of a split close before the cutoffs of the next one begin.",
        ),
        CheckDefinition(
            "splits_not_empty",
            Severity.CRITICAL,
            "Training and validation rows have labels, and there are rows to predict.",
        ),
        CheckDefinition(
            "label_present", Severity.CRITICAL, "Labels are not NULL where a window has closed."
        ),
        CheckDefinition(
            "two_classes", Severity.CRITICAL, "Training and validation rows have two classes each."
        ),
        CheckDefinition(
            "label_type", Severity.CRITICAL, "Binary labels are 0 or 1, regression labels finite."
        ),
        CheckDefinition(
            "class_rate", Severity.WARNING, "The rarest class has at least 1 % of the labels."
        ),
        CheckDefinition(
            "label_drift", Severity.WARNING, "Labels look alike in training and validation."
        ),
        CheckDefinition(
            "user_expectations", Severity.CRITICAL, "What the dbt model's meta block expects."
        ),
    )
}


def raw_check_names() -> list[CheckDefinition]:
    """The checks that every raw table gets, in order."""
    return list(RAW_CHECKS.values())


def staged_check_names() -> list[CheckDefinition]:
    """The checks that every staged table gets, in order."""
    return list(STAGED_CHECKS.values())


def training_table_check_names() -> list[CheckDefinition]:
    """The checks that a training table gets, in order."""
    return list(TRAINING_TABLE_CHECKS.values())


@dataclass(frozen=True)
class CheckResult:
    """The outcome of one check on one table.

    `message` is one line for people and names the mend when the check failed. `observed` holds the
    figures behind it as JSON-ready data.
    """

    name: str
    table: str
    severity: Severity
    passed: bool
    message: str
    observed: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class QualityReport:
    """The results of one call: every check of every table, and the Data Docs that show them."""

    results: tuple[CheckResult, ...]
    docs_index: Path | None = None

    def __iter__(self) -> Iterator[CheckResult]:
        return iter(self.results)

    @property
    def failures(self) -> list[CheckResult]:
        """The checks that did not pass, whatever their severity."""
        return [result for result in self.results if not result.passed]

    @property
    def blocking(self) -> list[CheckResult]:
        """The failed checks that must stop the pipeline."""
        return [result for result in self.failures if result.severity is Severity.CRITICAL]
