"""The border to Great Expectations: the only module that imports it, and only when it runs.

It takes about three seconds to import. pandas frames exist on this side of the border alone.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from models.quality.data_docs import fresh_directory
from models.quality.plan import Check, Expectation, Frame, TablePlan
from models.quality.results import CheckResult, QualityReport, Severity

SITE = "quality"


class QualityError(RuntimeError):
    """A check could not be evaluated. Great Expectations alone would report it as not met."""


@dataclass(frozen=True)
class Outcome:
    """What Great Expectations found for one expectation."""

    expectation: Expectation
    success: bool
    result: Mapping[str, Any]

    def describe(self) -> str:
        """The finding for people: `expect_...(column=amount, min_value=0): 5 of 120 rows, ...`."""
        arguments = ", ".join(f"{key}={value}" for key, value in self.expectation.kwargs.items())
        text = f"{self.expectation.type}({arguments})"
        if "unexpected_count" in self.result:
            examples = ", ".join(map(str, self.result["partial_unexpected_list"][:3]))
            counts = f"{self.result['unexpected_count']:,} of {self.result['element_count']:,}"
            return f"{text}: {counts} rows are unexpected" + (
                f" (e.g. {examples})" if examples else ""
            )
        return f"{text}: observed {self.result.get('observed_value', 'otherwise')}"


def validate(plans: Sequence[TablePlan], docs_dir: Path | None, title: str) -> QualityReport:
    """Run the checks of every table, one validation a table and frame, and publish Data Docs."""
    context = _context()
    source = context.data_sources.add_pandas(title)
    results = [result for plan in plans for result in _validate_table(context, source, plan)]
    index = None if docs_dir is None else _publish(context, docs_dir)
    return QualityReport(tuple(results), index)


def _great_expectations() -> Any:
    # Releases before 1.24 report usage over the network unless told not to.
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    import great_expectations

    return great_expectations


def _context() -> Any:
    context = _great_expectations().get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    return context


@cache
def expectation_types() -> tuple[str, ...]:
    """The names of the expectations that Great Expectations has."""
    _great_expectations()
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    return tuple(sorted(list_registered_expectation_implementations()))


def expectation_class(kind: str) -> Any:
    """The pydantic model of an expectation, by its snake-case name."""
    _great_expectations()
    from great_expectations.expectations.registry import get_expectation_impl

    return get_expectation_impl(kind)


def _validate_table(context: Any, source: Any, plan: TablePlan) -> list[CheckResult]:
    asked: dict[Frame, list[tuple[str, Expectation]]] = {}
    for planned in plan.checks:
        for expectation in planned.all_expectations(plan.relation.large):
            entry = (planned.definition.name, expectation)
            asked.setdefault(expectation.frame, []).append(entry)
    outcomes: dict[str, list[Outcome]] = {check.definition.name: [] for check in plan.checks}
    for frame, entries in asked.items():
        suite = [_build(check, expectation) for check, expectation in entries]
        name = plan.relation.name + frame.value
        found = _run(context, source, name, suite, plan.frame(frame))
        for position, (check, expectation) in enumerate(entries):
            outcomes[check].append(_outcome(plan, check, expectation, found[position]))
    return [_result(plan, check, outcomes[check.definition.name]) for check in plan.checks]


def _build(check: str, expectation: Expectation) -> Any:
    model = expectation_class(expectation.type)
    return model(**expectation.kwargs, severity=expectation.severity.value, notes=check)


def _run(
    context: Any, source: Any, name: str, suite: list[Any], frame: Any
) -> dict[int, dict[str, Any]]:
    """Validate a frame; results by position, because Great Expectations reorders them."""
    gx = _great_expectations()
    for position, expectation in enumerate(suite):
        expectation.meta = {"position": position}
    batch = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all rows")
    stored = context.suites.add(gx.ExpectationSuite(name, expectations=suite))
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name=name, data=batch, suite=stored)
    )
    # The run name is shown in Data Docs, and part of the page's address.
    run = definition.run(
        batch_parameters={"dataframe": frame}, run_id=gx.RunIdentifier(run_name=source.name)
    )
    plain = [result.to_json_dict() for result in run.results]
    return {result["expectation_config"]["meta"]["position"]: result for result in plain}


def _outcome(
    plan: TablePlan, check: str, expectation: Expectation, found: Mapping[str, Any]
) -> Outcome:
    error = _exception_message(found.get("exception_info") or {})
    if error is not None:
        raise QualityError(
            f"table {plan.relation.name!r} ({plan.relation.rows:,} rows), check {check}:"
            f" {expectation.type}({dict(expectation.kwargs)}) could not be evaluated: {error}."
            " Compare the column's type with the arguments."
        )
    return Outcome(expectation, bool(found["success"]), found["result"])


def _exception_message(info: Mapping[str, Any]) -> str | None:
    """The message of a raised exception: `info` is one record, or one record a failed metric."""
    records = [info] if "raised_exception" in info else list(info.values())
    for record in records:
        if record.get("raised_exception"):
            return str(record.get("exception_message"))
    return None


def _result(plan: TablePlan, check: Check, outcomes: Sequence[Outcome]) -> CheckResult:
    unmet = [outcome for outcome in outcomes if not outcome.success]
    severity = check.gravity
    if outcomes and not check.figures:
        grades = {outcome.expectation.severity for outcome in unmet or outcomes}
        severity = Severity.CRITICAL if Severity.CRITICAL in grades else Severity.WARNING
    passed = not unmet and check.within
    message = check.passed if passed else (check.failed or _unmet_message(plan, unmet))
    observed = {**check.observed, "expectations": [_summary(outcome) for outcome in outcomes]}
    return CheckResult(
        check.definition.name,
        plan.relation.name,
        severity,
        passed,
        message,
        json.loads(json.dumps(observed, default=str)),
    )


def _unmet_message(plan: TablePlan, unmet: Sequence[Outcome]) -> str:
    findings = "; ".join(outcome.describe() for outcome in unmet)
    sampled = ""
    if plan.relation.large and any(o.expectation.frame is Frame.ROWS for o in unmet):
        sampled = f" (in a sample of the table's {plan.relation.rows:,} rows)"
    return (
        f"{plan.relation.name}: {findings}{sampled}. Correct the rows in the dbt model, or the"
        " expectation in its meta block."
    )


def _summary(outcome: Outcome) -> dict[str, Any]:
    keys = ("observed_value", "element_count", "unexpected_count", "partial_unexpected_list")
    return {
        "type": outcome.expectation.type,
        "kwargs": dict(outcome.expectation.kwargs),
        "severity": outcome.expectation.severity.value,
        "success": outcome.success,
        **{key: outcome.result[key] for key in keys if key in outcome.result},
    }


def _publish(context: Any, docs_dir: Path) -> Path:
    """Render everything that this context validated, and put it in place of `docs_dir`."""
    with fresh_directory(docs_dir) as directory:
        store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(directory)}
        site = {
            "class_name": "SiteBuilder",
            "show_how_to_buttons": False,
            "store_backend": store,
            "site_index_builder": {"class_name": "DefaultSiteIndexBuilder"},
        }
        context.add_data_docs_site(SITE, site)
        # Named, because the context has a default site that would leak into the temp directory.
        context.build_data_docs(site_names=[SITE])
        if not (directory / "index.html").exists():
            raise QualityError(f"Great Expectations rendered no index page for {docs_dir}")
        # Three megabytes of how-to animations that no page shows without the how-to buttons.
        for animation in (directory / "static" / "images").glob("*.gif"):
            animation.unlink()
    return docs_dir / "index.html"
