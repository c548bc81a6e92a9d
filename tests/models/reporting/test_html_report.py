import re
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

import polars as pl
import pytest

from models.database.schema import Metric, Protocol, RelationalSchema, Table, Task, TaskType
from models.reporting.er_diagram import draw_er_diagram
from models.reporting.figure import placeholder
from models.reporting.html_report import render_report
from models.reporting.report import (
    CheckRow,
    FeatureRow,
    ScoreRow,
    SplitSummary,
    TaskReport,
    headline,
    summarize_splits,
)
from models.reporting.wording import figure, leakage_statement, question, span

TASK = Task(
    name="position",
    entity_table="drivers",
    entity_column="driverId",
    time_column="date",
    label_column="position",
    task_type=TaskType.REGRESSION,
    window=timedelta(days=60),
    stride=timedelta(days=60),
    validation_span=timedelta(days=365, hours=6),
    metric=Metric.MAE,
    hidden_columns=(("results", "position"),),
    title="Finishing <position>",
)
AS_OF = datetime(2010, 1, 1)
SCHEMA = RelationalSchema("f1", (Table("drivers"), Table("races", time_column="date")))
SCORES = (
    ScoreRow("validation", "rolling", "mae", 3.102, 0.021, 5, 3.06, 499, 4.301),
    ScoreRow("test", "frozen", "mae", 4.157, 0.05, 5, 4.11, 760, 4.512),
    ScoreRow("test", "rolling", "mae", 3.358, 0.03, 5, 3.31, 760, 4.512),
    ScoreRow("test", "rolling", "nmae", 0.583, None, 1, None, 760, 0.575),
)


def report(**changes) -> TaskReport:
    full = TaskReport(
        database_title="Formula <1>",
        task=TASK,
        as_of=AS_OF,
        source="https://example.org/data?a=1&b=2",
        model="LightGBM",
        baseline="the training median",
        scores=SCORES,
        notes=("The future is not known: no score.",),
        splits=(SplitSummary("train", 10, 9, 3, 4, AS_OF, None, None),),
        leakage=leakage_statement(TASK, AS_OF, SCHEMA),
        parameters={"learning_rate": 0.05, "<p>": "<script>alert(1)</script>"},
        features=tuple(FeatureRow(f"MEAN(a < b & {i})", i / 1000, "x > y") for i in range(40)),
        checks=(
            CheckRow("unique", "races", "critical", True),
            CheckRow("dangling", "results", "warning", False, "3 < 4"),
        ),
        plots={"A <plot>": (placeholder("A", "b"), "caption & more")},
        er_diagram=draw_er_diagram(SCHEMA, {}),
        fingerprints={"features": "abc123"},
    )
    return replace(full, **changes)


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.sources, self.rows = [], [], [], [[]]
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        found = dict(attrs)
        self.sources += [found[name] for name in ("src", "href", "data", "srcset") if name in found]
        if tag not in ("meta", "img", "link", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.rows[-1].append(data.strip())


def test_the_page_is_well_formed():
    page = Page(render_report(report()))
    assert page.open == []
    assert {"html", "head", "body", "table", "img"} <= set(page.tags)
    assert "script" not in page.tags


def test_every_score_names_its_split_protocol_metric_seeds_and_spread():
    rows = [" | ".join(row) for row in Page(render_report(report())).rows]
    for score in SCORES:
        name = {"mae": "MAE", "nmae": "NMAE"}[score.metric]
        start = f"{score.split} | {score.protocol} | {name} | ↓ lower is better | "
        (row,) = [row for row in rows if row.startswith(start)]
        assert figure(score.mean) in row
        assert score.spread in row
        assert figure(score.baseline) in row
    assert ScoreRow("test", "frozen", "mae", 1.0).spread == "1 seed, no spread"


def test_texts_are_escaped():
    text = render_report(report())
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "MEAN(a &lt; b &amp; 7)" in text
    assert "Finishing &lt;position&gt;" in text
    assert "<plot>" not in text


def test_nothing_is_loaded_from_elsewhere():
    text = render_report(report())
    page = Page(text)
    assert page.sources
    assert all(source.startswith("data:image/") for source in page.sources)
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import", text)
    # The source's address is shown, as text.
    assert re.findall(r"https?://[^<\s]*", text) == ["https://example.org/data?a=1&amp;b=2"]


def test_the_page_is_deterministic():
    assert render_report(report()) == render_report(report())


def test_a_report_with_nothing_but_a_task_is_a_page():
    page = render_report(TaskReport("db", TASK, AS_OF))
    assert Page(page).open == []
    assert "There is no score yet" in page


def test_failed_checks_come_first_and_further_features_are_folded():
    text = render_report(report())
    assert text.index("✗ failed") < text.index("✓ passed")
    assert "15 more features" in text
    assert text.index("a &lt; b &amp; 39") < text.index("a &lt; b &amp; 38")


def test_the_headline_is_the_latest_split_under_the_task_protocol():
    assert headline(report()) == (
        "MAE 3.358 (± 0.03 over 5 seeds) on the test split under the rolling protocol: "
        "better by 1.15 than the training median, which scores 4.512."
    )
    frozen = replace(TASK, protocol=Protocol.FROZEN)
    assert "MAE 4.157" in headline(report(task=frozen))


@pytest.mark.parametrize(
    ("metric", "mean", "std", "baseline", "verdict"),
    [
        ("mae", 2.0, 0.1, 3.0, "better by 1.00"),
        ("roc_auc", 0.6, 0.01, 0.5, "better by 0.100"),
        ("roc_auc", 0.4, 0.01, 0.5, "worse by 0.100"),
        ("mae", 2.0, 0.5, 2.2, "no different"),
        ("mae", 2.0, None, None, "no baseline"),
    ],
)
def test_verdicts_know_the_direction_and_the_spread(metric, mean, std, baseline, verdict):
    row = ScoreRow("test", "frozen", metric, mean, std, 5, None, 9, baseline)
    assert row.verdict == verdict


def test_the_question_and_leakage_statement_name_windows_tables_and_protocol():
    assert question(TASK) == (
        "For each driverId in drivers: the value of position in the 60 days after the cutoff."
    )
    rolling = " ".join(leakage_statement(TASK, AS_OF, SCHEMA))
    assert "Rolling protocol" in rolling
    assert "results.position" in rolling
    assert "(drivers)" in rolling
    frozen = leakage_statement(replace(TASK, protocol=Protocol.FROZEN), AS_OF)
    assert any("rows up to 2010-01-01 only" in sentence for sentence in frozen)


def test_summaries_count_labels_entities_and_cutoffs():
    table = pl.DataFrame(
        {
            "driverId": [1, 1, 2, 1],
            "date": [datetime(2000, 1, 1), datetime(2001, 1, 1), datetime(2001, 1, 1), AS_OF],
            "position": [1.0, None, 4.0, None],
            "split": ["train", "train", "train", "test"],
        }
    )
    train, test = summarize_splits(table, TASK)
    first, last = datetime(2000, 1, 1), datetime(2001, 1, 1)
    assert train == SplitSummary("train", 3, 2, 2, 2, first, last, 2.5)
    assert test == SplitSummary("test", 1, 0, 1, 1, AS_OF, AS_OF, None)
    classes = replace(TASK, task_type=TaskType.MULTICLASS_CLASSIFICATION)
    assert [row.label for row in summarize_splits(table, classes)] == [0.5, None]


def test_numbers_and_spans_read_well():
    assert span(timedelta(days=365, hours=6)) == "365 days 6 hours"
    assert [figure(v) for v in (1234567, 0.0, 3.35812, None, float("nan"), 1e-9)] == [
        "1,234,567",
        "0.000",
        "3.358",
        "–",
        "–",
        "1.000e-09",
    ]
