import io
from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from PIL import Image

from models.database.schema import TaskType
from models.reporting import plots
from models.reporting.figure import MAX_BYTES, ordered_splits, plain
from models.reporting.label_plots import _pool_cutoffs, _tidy
from models.reporting.metadata import metadata_markdown
from models.reporting.score_plots import _confusion_counts, _reliability

BINARY, REGRESSION = TaskType.BINARY_CLASSIFICATION, TaskType.REGRESSION
MULTICLASS = TaskType.MULTICLASS_CLASSIFICATION
NAN = float("nan")


def assert_png(content: bytes) -> None:
    assert content.startswith(b"\x89PNG")
    assert len(content) <= MAX_BYTES
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert image.width > 300
        assert not image.info.keys() & {"Software", "Creation Time"}


def training_table(cutoffs, labels, per_cutoff=3):
    rng = np.random.default_rng(0)
    times = [datetime(2000, 1, 1) + timedelta(days=30 * i) for i in range(cutoffs)]
    splits = ["train" if i < cutoffs * 0.7 else "val" for i in range(cutoffs)]
    return pl.DataFrame(
        {
            "cutoff_time": [time for time in times for _ in range(per_cutoff)],
            "split": np.repeat(splits, per_cutoff),
            "label": rng.choice(np.array(labels), cutoffs * per_cutoff),
        }
    ).with_columns(pl.col("cutoff_time").cast(pl.Datetime("us")))


def nulls(dtype):
    return training_table(4, [0.0]).with_columns(pl.lit(None, dtype).alias("label"))


TABLES = {
    "binary": (training_table(20, [0, 1]), BINARY),
    "boolean": (training_table(5, [True, False]), BINARY),
    "one class": (training_table(5, [0]), BINARY),
    "regression": (training_table(20, [1.5, 2.0, 7.0]), REGRESSION),
    "skewed": (training_table(20, [0.0, 0.1, 1e9]), REGRESSION),
    "NaN": (training_table(3, [NAN, np.inf]), REGRESSION),
    "multiclass": (training_table(20, ["a", "_b", "$x_$", "<c>"]), MULTICLASS),
    "many classes": (training_table(20, list(map(str, range(40)))), MULTICLASS),
    "one cutoff": (training_table(1, [1.0, 2.0]), REGRESSION),
    "one cutoff, classes": (training_table(1, ["a", "b"]), MULTICLASS),
    "thousands of cutoffs": (training_table(3000, [0, 1], 1), BINARY),
    "nulls": (nulls(pl.Float64), REGRESSION),
    "untyped nulls": (nulls(pl.Null), BINARY),
    "null classes": (nulls(pl.String), MULTICLASS),
    "empty": (training_table(1, [1.0]).clear(), REGRESSION),
}


@pytest.mark.parametrize("name", TABLES)
def test_label_over_time_draws_any_training_table(name):
    assert_png(plots.class_balance_over_time(*TABLES[name]))


@pytest.mark.parametrize("name", TABLES)
def test_label_distribution_draws_any_training_table(name):
    assert_png(plots.label_distribution(TABLES[name][0]))


def test_label_plots_accept_zones_dates_and_a_missing_split():
    table = training_table(4, [0, 1]).drop("split")
    zoned = table.with_columns(pl.col("cutoff_time").dt.replace_time_zone("Europe/Berlin"))
    dated = table.with_columns(pl.col("cutoff_time").cast(pl.Date))
    assert_png(plots.class_balance_over_time(zoned, BINARY))
    assert_png(plots.class_balance_over_time(dated, BINARY))


def test_pooled_cutoffs_never_mix_splits_and_lose_no_row():
    rows = _tidy(training_table(3000, [0, 1], 2), BINARY, "cutoff_time", "label", "split")
    pooled, per_point = _pool_cutoffs(rows)
    assert per_point == 25
    assert pooled.height == rows.height
    assert pooled.group_by("point").agg(pl.col("split").n_unique())["split"].max() == 1


rng = np.random.default_rng(1)
TRUTH = (rng.random(3000) < 0.2).astype(float)
PROBABILITY = np.clip(0.2 * TRUTH + rng.random(3000) * 0.8, 0, 1)
PAIRS = {
    "normal": (TRUTH, PROBABILITY),
    "empty": ([], []),
    "one class": ([0, 0, 0], [0.1, 0.2, 0.3]),
    "one row": ([1.0], [0.5]),
    "no label": ([None, None], [0.1, 0.9]),
    "some NaN": ([0, 1, NAN, 1], [0.1, NAN, 0.4, 0.9]),
    "constant prediction": ([0, 1, 1], [0.5, 0.5, 0.5]),
    "not probabilities": ([0, 1, 1], [-5.0, 3.0, 1e12]),
    "very skewed": ([0.0] * 4000 + [1e9], [1.0] * 4000 + [1e8]),
}
SCORE_PLOTS = [
    plots.roc_curve,
    plots.precision_recall_curve,
    plots.calibration,
    plots.predicted_against_actual,
]


@pytest.mark.parametrize("plot", SCORE_PLOTS, ids=lambda plot: plot.__name__)
@pytest.mark.parametrize("name", PAIRS)
def test_score_plots_draw_any_predictions(plot, name):
    assert_png(plot(*PAIRS[name], subject="test split, frozen"))


@pytest.mark.parametrize("name", PAIRS)
def test_prediction_distribution_with_and_without_labels(name):
    labels, predictions = PAIRS[name]
    kind = REGRESSION if name == "very skewed" else BINARY
    assert_png(plots.prediction_distribution(predictions, labels, task_type=kind))
    assert_png(plots.prediction_distribution(predictions, task_type=kind))


@pytest.mark.parametrize("rows", [0, 1, 50])
@pytest.mark.parametrize("count", [1, 3, 60])
def test_multiclass_plots_draw_any_number_of_rows_and_classes(rows, count):
    classes = [f"_class ${index}" for index in range(count)]
    probabilities = np.random.default_rng(0).dirichlet(np.ones(count), rows).reshape(rows, count)
    labels = [classes[index % count] for index in range(rows)]
    assert_png(plots.confusion_matrix(labels, probabilities, classes))
    assert_png(plots.confusion_matrix(labels, labels, classes))
    assert_png(plots.prediction_distribution(probabilities, task_type=MULTICLASS, classes=classes))


def test_confusion_counts_pool_unlisted_classes_at_the_end():
    truth, choice = np.array([0, 0, 1, -1]), np.array([0, 1, 1, 0])
    counts, names = _confusion_counts(truth, choice, ["a", "b"])
    assert names == ["a", "b", "other"]
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def test_reliability_keeps_equal_predictions_together():
    truth = np.array([0.0, 1.0] * 50)
    predicted, observed, error = _reliability(truth, np.full(100, 0.3))
    assert predicted == pytest.approx([0.3])
    assert observed.tolist() == [0.5]
    # Wilson's interval of 50 out of 100.
    assert error[:, 0] == pytest.approx([0.0962, 0.0962], abs=1e-3)


def test_feature_importance_survives_strange_names_and_gains():
    names = ["MEAN(a.b < $x_{$)", "_hidden", "x" * 300] + [f"f{i}" for i in range(100)]
    assert_png(plots.feature_importance(names, [3.0, NAN, 1.0] + [0.1] * 100))
    assert_png(plots.feature_importance(["a"], [0.0]))
    assert_png(plots.feature_importance([], []))
    with pytest.raises(ValueError, match="got 1, 2"):
        plots.feature_importance(["a"], [1.0, 2.0])


def test_learning_curve_draws_short_long_and_broken_histories():
    normal = plots.SeedCurve(0, list(np.linspace(1, 0, 5000)), list(np.linspace(1, 0.5, 5000)), 90)
    short = plots.SeedCurve(1, [1.0], [], best=7)
    broken = plots.SeedCurve(2, [NAN, NAN], [1.0, NAN])
    assert_png(plots.learning_curve([normal, short, broken], "mae"))
    assert_png(plots.learning_curve([], "mae"))


def test_score_by_cutoff_draws_one_none_and_thousands():
    times = [datetime(2000, 1, 1) + timedelta(days=i) for i in range(4000)]
    frame = pl.DataFrame({"cutoff_time": times, "score": np.linspace(0, 1, 4000)})
    both = frame.with_columns(protocol=pl.Series(["frozen", "rolling"] * 2000))
    assert_png(plots.score_by_cutoff(both, "mae", baseline=0.5))
    assert_png(plots.score_by_cutoff(frame.head(1), "mae", baseline=NAN))
    assert_png(plots.score_by_cutoff(frame.clear(), "mae"))
    assert_png(plots.score_by_cutoff(frame.with_columns(score=pl.lit(None)), "mae"))


def test_the_same_inputs_give_the_same_bytes():
    for draw in (
        lambda: plots.class_balance_over_time(*TABLES["multiclass"]),
        lambda: plots.predicted_against_actual(TRUTH, PROBABILITY),
        lambda: plots.calibration(TRUTH, PROBABILITY),
    ):
        assert draw() == draw()


def test_row_order_does_not_change_the_label_plots():
    table = TABLES["multiclass"][0]
    shuffled = table.sample(fraction=1.0, shuffle=True, seed=3)
    first, second = (plots.class_balance_over_time(t, MULTICLASS) for t in (table, shuffled))
    assert first == second


def test_text_is_literal_and_short():
    assert plain("a $x$\n b") == r"a \$x\$ b"
    assert len(plain("x" * 500, 20)) == 20
    assert ordered_splits(["test", "val", "zz", "train"]) == ["train", "val", "test", "zz"]


def test_metadata_markdown_is_an_inline_image():
    assert metadata_markdown(b"abc") == "![](data:image/png;base64,YWJj)"
