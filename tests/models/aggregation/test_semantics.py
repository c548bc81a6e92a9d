"""The table of featuretools' aggregations on edge cases (specs/dfs.md, section 3)."""

from datetime import datetime, timedelta

import polars as pl
import pytest

from models.aggregation.combining import Plan
from models.aggregation.primitives import AGGREGATES
from models.database.schema import RelationalSchema
from models.dfs import FeatureConfig, compute_features, enumerate_features
from tests.models.dfs.shop import S, reference, seeds_at, store, table, typed

CUTOFF = datetime(2024, 1, 10)
SCHEMA = RelationalSchema(
    "cases",
    (
        table("parents", {"id": None}),
        table(
            "e",
            {
                "id": None,
                "parent": None,
                "t": S.TIMESTAMP,
                "num": S.NUMERICAL,
                "cat": S.CATEGORICAL,
                "flag": S.BOOLEAN,
            },
            time="t",
        ),
    ),
    (reference("e", "parent", "parents"),),
)
# Per case: values, categories, flags and days relative to the cutoff, in the order of the table.
CASES = [
    ([1, 2, 2, 7], "abbc", [True, False, True, True], [-9, -8, -7, -6]),
    ([1, None, 3, None], ["a", None, "a", None], [True, None, False, None], [-9, -8, -7, -6]),
    ([None, None], [None, None], [None, None], [-9, -8]),
    ([], [], [], []),
    ([4], "z", [True], [-5]),
    ([5, 6, 6, 5], "baba", [True, False, False, True], [-9, -8, -8, -7]),
    ([1, 10, 100], "pqr", [True, True, False], [-1, 0, 1]),
    ([3], "s", [True], [1]),
    ([1, None], ["a", None], [True, None], [-9, -7]),
]
DAY = 86400.0
EXPECTED = {
    "COUNT(e)": [4, 4, 2, 0, 1, 4, 2, 0, 2],
    "SUM(e.num)": [12, 4, 0, 0, 4, 22, 11, 0, 1],
    "MEAN(e.num)": [3, 2, None, None, 4, 5.5, 5.5, None, 1],
    "STD(e.num)": [2.7080128, 1.4142136, None, None, None, 0.5773503, 6.3639610, None, None],
    "MIN(e.num)": [1, 1, None, None, 4, 5, 1, None, 1],
    "MAX(e.num)": [7, 3, None, None, 4, 6, 10, None, 1],
    "MODE(e.cat)": ["b", "a", None, None, "z", "a", "p", None, "a"],
    "NUM_UNIQUE(e.cat)": [3, 1, 0, None, 1, 2, 2, None, 1],
    "PERCENT_TRUE(e.flag)": [0.75, 0.25, 0, None, 1, 0.5, 1, None, 0.5],
    "LAST(e.cat)": ["c", None, None, None, "z", "a", "q", None, None],
    "LAST(e.num)": [7, None, None, None, 4, 5, 10, None, None],
    "LAST(e.flag)": [True, None, None, None, True, True, True, None, None],
    "TIME_SINCE_LAST(e.t)": [
        6 * DAY, 6 * DAY, 8 * DAY, None, 5 * DAY, 7 * DAY, 0, None, 7 * DAY,
    ],
    "TIME_SINCE_FIRST(e.t)": [
        9 * DAY, 9 * DAY, 9 * DAY, None, 5 * DAY, 9 * DAY, DAY, None, 9 * DAY,
    ],
    "AVG_TIME_BETWEEN(e.t)": [
        DAY, DAY, DAY, None, None, 2 * DAY / 3, DAY, None, 2 * DAY,
    ],
    "VARIANCE(e.num)": [7.3333333, 2, None, None, None, 0.3333333, 40.5, None, None],
    "SKEW(e.num)": [1.8128020, None, None, None, None, 0, None, None, None],
    "TREND(e.num, t)": [1.8, None, None, None, None, 0, None, None, None],
    "FIRST(e.cat)": ["a", "a", None, None, "z", "b", "p", None, "a"],
    "FIRST(e.num)": [1, 1, None, None, 4, 5, 1, None, 1],
    "FIRST(e.flag)": [True, True, None, None, True, True, True, None, True],
    "ENTROPY(e.cat)": [
        1.0397208, 0.6931472, 0, None, 0, 0.6931472, 0.6931472, None, 0.6931472,
    ],
    "N_MOST_COMMON(e.cat)[0]": ["b", "a", None, None, "z", "a", "p", None, "a"],
    "N_MOST_COMMON(e.cat)[1]": ["a", None, None, None, None, "b", "q", None, None],
    "N_MOST_COMMON(e.cat)[2]": ["c", None, None, None, None, None, None, None, None],
    "NUM_TRUE(e.flag)": [3, 1, 0, 0, 1, 2, 2, 0, 1],
    "ANY(e.flag)": [True, True, False, None, True, True, True, None, True],
    "ALL(e.flag)": [False, False, True, None, True, False, True, None, True],
}  # fmt: skip


def case_frames():
    rows = [
        (parent, CUTOFF + timedelta(days=days), number, category, flag)
        for parent, case in enumerate(CASES)
        for number, category, flag, days in zip(*case, strict=True)
    ]
    parent, time, number, category, flag = zip(*rows, strict=True)
    columns = {"id": range(len(rows)), "parent": parent, "t": time, "num": number, "cat": category}
    return {
        "parents": typed(SCHEMA, "parents", {"id": range(len(CASES))}),
        "e": typed(SCHEMA, "e", {**columns, "flag": flag}),
    }


@pytest.mark.parametrize("plan", [Plan.RANGE, Plan.SWEEP])
@pytest.mark.parametrize("integers", [True, False])
def test_edge_cases_are_those_of_featuretools(tmp_path, plan, integers):
    frames = case_frames()
    if integers:
        frames["e"] = frames["e"].with_columns(pl.col("num").cast(pl.Int32))
    config = FeatureConfig(depth=1, primitives=tuple(AGGREGATES))
    features = enumerate_features(SCHEMA, "parents", config)
    found = compute_features(
        SCHEMA,
        features,
        store(frames, tmp_path),
        seeds_at(range(len(CASES)), [CUTOFF]),
        entity_table="parents",
        plan=plan,
    )
    assert {feature.primitives[0] for feature in features} == set(AGGREGATES)
    for name, expected in EXPECTED.items():
        values = found[name].to_list()
        assert values == [
            pytest.approx(value) if isinstance(value, float) else value for value in expected
        ], name


def test_types_of_the_result_follow_the_kind_of_feature(tmp_path):
    features = enumerate_features(SCHEMA, "parents", FeatureConfig(depth=1))
    found = compute_features(
        SCHEMA,
        features,
        store(case_frames(), tmp_path),
        seeds_at([0], [CUTOFF]),
        entity_table="parents",
    )
    assert found.columns == ["row_id", *(feature.name for feature in features)]
    assert found.schema["COUNT(e)"] == pl.Float64
    assert found.schema["MODE(e.cat)"] == pl.String
    assert found.schema["LAST(e.flag)"] == pl.Boolean
    assert found["MONTH(cutoff_time)"].to_list() == [1]
    assert found["WEEKDAY(cutoff_time)"].to_list() == [2]  # a Wednesday


def test_rows_of_a_table_without_times_count_whatever_the_cutoff_and_are_ordered_by_key(tmp_path):
    schema = RelationalSchema(
        "timeless",
        (
            table("parents", {"id": None}),
            table("e", {"id": None, "parent": None, "n": S.NUMERICAL}),
        ),
        (reference("e", "parent", "parents"),),
    )
    frames = {
        "parents": typed(schema, "parents", {"id": [0]}),
        "e": typed(schema, "e", {"id": [3, 9, 1], "parent": [0, 0, 0], "n": [1.0, 2.0, 4.0]}),
    }
    features = enumerate_features(schema, "parents", FeatureConfig(depth=1))
    found = compute_features(
        schema,
        features,
        store(frames, tmp_path),
        seeds_at([0], [CUTOFF, datetime(1990, 1, 1)]),
        entity_table="parents",
    )
    assert found["SUM(e.n)"].to_list() == [7.0, 7.0]
    assert found["LAST(e.n)"].to_list() == [2.0, 2.0]
    assert "TIME_SINCE_LAST(e)" not in found.columns


def test_numbers_that_are_not_finite_are_missing(tmp_path):
    frames = case_frames()
    number = pl.Series("num", [float("nan"), float("inf"), -float("inf"), 2.0])
    frames["e"] = frames["e"].head(4).with_columns(number)
    found = compute_features(
        SCHEMA,
        enumerate_features(SCHEMA, "parents", FeatureConfig(depth=1)),
        store(frames, tmp_path),
        seeds_at([0], [CUTOFF]),
        entity_table="parents",
    )
    assert found["MEAN(e.num)"].to_list() == [2.0]
    assert found["MAX(e.num)"].to_list() == [2.0]
    assert found["COUNT(e)"].to_list() == [4.0]


NOTHING = {"count": 0.0, "sum": 0.0, "num_true": 0.0}
NULLS = {
    "count": 2.0, "sum": 0.0, "num_true": 0.0, "num_unique": 0.0, "percent_true": 0.0,
    "entropy": 0.0, "any": False, "all": True, "time_since_last": 8 * DAY,
    "time_since_first": 9 * DAY, "avg_time_between": DAY,
}  # fmt: skip


@pytest.mark.parametrize(
    ("entity", "cutoff", "expected"),
    [
        (2, CUTOFF, NULLS),  # rows without values
        (0, CUTOFF - timedelta(days=1000), NOTHING),  # before all rows
        (3, CUTOFF, NOTHING),  # no rows at all
        (999, CUTOFF, NOTHING),  # an entity that nobody knows
    ],
)
def test_every_aggregate_of_nothing_has_its_value(tmp_path, entity, cutoff, expected):
    features = enumerate_features(
        SCHEMA, "parents", FeatureConfig(depth=1, primitives=tuple(AGGREGATES))
    )
    found = compute_features(
        SCHEMA,
        features,
        store(case_frames(), tmp_path),
        seeds_at([entity], [cutoff]),
        entity_table="parents",
    )
    for feature in features:
        assert feature.primitives[0] in AGGREGATES
        value = expected.get(feature.primitives[0])
        assert found[feature.name].to_list() == [value], feature.name


def test_trends_and_deviations_keep_their_digits_far_from_zero(tmp_path):
    frames = case_frames()
    values = [1e9 + 0.25, 1e9 + 0.5, 1e9 + 0.75, 1e9 + 1]
    frames["e"] = frames["e"].head(4).with_columns(pl.Series("num", values))
    names = ("std", "variance", "skew", "trend")
    features = enumerate_features(SCHEMA, "parents", FeatureConfig(depth=1, primitives=names))
    found = compute_features(
        SCHEMA,
        features,
        store(frames, tmp_path),
        seeds_at([0], [CUTOFF]),
        entity_table="parents",
    )
    assert found["VARIANCE(e.num)"][0] == pytest.approx(0.3125 / 3, rel=1e-12)
    assert found["STD(e.num)"][0] == pytest.approx((0.3125 / 3) ** 0.5, rel=1e-12)
    assert found["SKEW(e.num)"][0] == pytest.approx(0, abs=1e-12)
    assert found["TREND(e.num, t)"][0] == pytest.approx(0.25, rel=1e-12)
