"""Encoders: fitted on training rows only, and total over whatever comes later."""

from __future__ import annotations

import json

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from models.learning.labels import LabelEncoder
from models.tabular.encoding import FeatureEncoder

TRAIN = pl.DataFrame(
    {
        "number": [1.5, None, 3.0, float("nan")],
        "whole": [1, 2, 3, None],
        "flag": [True, False, None, True],
        "colour": ["red", "blue", "red", None],
        "same": [7, 7, 7, 7],
        "empty": [None, None, None, None],
        "not a number": [float("nan"), None, float("nan"), None],
        "one value with gaps": [5.0, None, 5.0, None],
        "same word": ["a", "a", "a", "a"],
    },
    schema_overrides={"empty": pl.String},
)
TEXT = st.none() | st.sampled_from(["a", "b", "c", "rare", ""])


def test_constant_and_empty_columns_are_left_out():
    encoder = FeatureEncoder.fit(TRAIN)
    assert encoder.columns == ("number", "whole", "flag", "colour", "one value with gaps")
    assert encoder.categorical_columns == [3]


def test_values_become_floats_codes_and_nan():
    nan = np.nan
    expected = [[1.5, 1, 1, 0, 5], [nan, 2, 0, 1, nan], [3, 3, nan, 0, 5], [nan, nan, 1, nan, nan]]
    matrix = FeatureEncoder.fit(TRAIN).transform(TRAIN)
    assert matrix.dtype == np.float32
    assert_array_equal(matrix, np.array(expected, dtype=np.float32))


def test_an_unseen_category_gets_a_code_of_its_own():
    encoder = FeatureEncoder.fit(TRAIN)
    later = TRAIN.with_columns(colour=pl.Series(["green", "blue", None, "red"]))
    assert_array_equal(encoder.transform(later)[:, 3], np.array([2, 1, np.nan, 0], np.float32))


def test_only_the_most_frequent_categories_are_kept_and_ties_go_by_name():
    values = ["c", "c", "c", "b", "a", "d", "d"]
    encoder = FeatureEncoder.fit(pl.DataFrame({"x": values}), max_categories=3)
    assert encoder.categories["x"] == ("c", "d", "a")
    assert encoder.transform(pl.DataFrame({"x": ["b", "zzz"]}))[:, 0].tolist() == [3, 3]


@given(st.lists(TEXT, min_size=2), st.lists(TEXT, min_size=1), st.integers(1, 3))
def test_codes_are_positions_whatever_rows_come(train, later, limit):
    frame = pl.DataFrame({"x": train}, schema={"x": pl.String})
    encoder = FeatureEncoder.fit(frame, max_categories=limit)
    if not encoder.columns:
        assert len(set(train) - {None}) <= 1
        return
    known = encoder.categories["x"]
    found = encoder.transform(pl.DataFrame({"x": later}, schema={"x": pl.String}))[:, 0]
    for value, code in zip(later, found, strict=True):
        if value is None:
            assert np.isnan(code)
        else:
            assert code == (known.index(value) if value in known else len(known))


def test_an_encoder_survives_json():
    encoder = FeatureEncoder.fit(TRAIN)
    assert FeatureEncoder.from_plain(json.loads(json.dumps(encoder.to_plain()))) == encoder


def test_a_missing_column_is_named():
    with pytest.raises(ValueError, match=r"lacks 1 columns: \['whole'\]"):
        FeatureEncoder.fit(TRAIN).transform(TRAIN.drop("whole"))


def test_columns_may_come_in_another_order():
    encoder = FeatureEncoder.fit(TRAIN)
    shuffled = TRAIN.select(reversed(TRAIN.columns))
    assert_array_equal(encoder.transform(shuffled), encoder.transform(TRAIN))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pl.Series([True, None, False]), (0, 1)),
        (pl.Series([3, 1, None, 3]), (1, 3)),
        (pl.Series(["none", "more", None]), ("more", "none")),
        (pl.Series([2.0, None, 0.5]), (0.5, 2.0)),
    ],
)
def test_classes_are_numbered_in_ascending_order(labels, classes):
    encoder = LabelEncoder.fit(labels, is_classification=True)
    assert encoder.classes == classes
    plain = [None if v is None else int(v) if isinstance(v, bool) else v for v in labels]
    expected = [np.nan if value is None else classes.index(value) for value in plain]
    assert_array_equal(encoder.transform(labels), np.array(expected, dtype=float))


def test_a_class_that_was_never_trained_on_is_no_label():
    encoder = LabelEncoder.fit(pl.Series(["a", "b"]), is_classification=True)
    assert_array_equal(encoder.transform(pl.Series(["b", "new", None])), [1.0, np.nan, np.nan])


def test_values_stay_as_they_are():
    encoder = LabelEncoder.fit(pl.Series([1.5, 2.0]), is_classification=False)
    assert encoder.classes == ()
    assert_array_equal(encoder.transform(pl.Series([7, None])), [7.0, np.nan])


def test_labels_that_are_not_known_yet_are_nan_whatever_their_type():
    encoder = LabelEncoder.fit(pl.Series([True, False]), is_classification=True)
    for unknown in (pl.Series([None] * 2, dtype=kind) for kind in (pl.Int64, pl.Boolean)):
        assert np.isnan(encoder.transform(unknown)).all()
