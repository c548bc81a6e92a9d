"""A task's report as one static HTML page that needs no network and no other file."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from models.reporting import wording
from models.reporting.metadata import data_uri
from models.reporting.report import TaskReport, headline, label_heading, label_value
from models.reporting.scores import higher_is_better

if TYPE_CHECKING:
    from jinja2 import Template

_TEMPLATES = Path(__file__).parent / "templates"
# More rows of a long table are folded away; they stay in the page.
_SHOWN_FEATURES = 25
_PLOT_SCALE = 0.65


def render_report(report: TaskReport) -> str:
    """The report as HTML: style and images inline, every text escaped."""
    task = report.task
    return _template().render(
        report=report,
        task=task,
        question=report.question or wording.question(task),
        headline=headline(report),
        facts=_facts(report),
        passed=sum(check.passed for check in report.checks),
        checks=sorted(report.checks, key=lambda check: check.passed),
        features=sorted(report.features, key=lambda row: (-_sortable(row.importance), row.name)),
        shown_features=_SHOWN_FEATURES,
        label_heading=label_heading(task.task_type),
        label_value=lambda value: label_value(task.task_type, value),
        higher_is_better=higher_is_better,
    )


def _facts(report: TaskReport) -> dict[str, str]:
    """The settings that the scores depend on, by their name on the page."""
    task = report.task
    facts = {
        "Task type": task.task_type.value.replace("_", " "),
        "Selected on": wording.label_name(task.metric.value),
        "Protocol": task.protocol.value,
        "As of": wording.moment(report.as_of),
        "Label window": wording.span(task.window),
        "Training stride": wording.span(task.stride),
        "Validation span": wording.span(task.validation_span),
        "Model": report.model,
        "Source": report.source,
    }
    return {name: value for name, value in facts.items() if value}


def _shown_width(png: bytes) -> int:
    """The width of a plot on the page: one scale for all, so that their text is equally large."""
    return round(int.from_bytes(png[16:20], "big") * _PLOT_SCALE)


def _sortable(value: float) -> float:
    return value if math.isfinite(value) else -math.inf


@cache
def _template() -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Any] = {
        "number": wording.figure,
        "percent": wording.percent,
        "moment": wording.moment,
        "readable": wording.label_name,
        "png": data_uri,
        "shown_width": _shown_width,
        "svg": lambda content: data_uri(content, "image/svg+xml"),
    }
    environment.filters.update(filters)
    return environment.get_template("report.html.j2")
