"""A network's inputs: one scale, flags for gaps, codes; fitted on training rows alone."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import torch
from scipy.stats import norm

from models.tabular.column_choice import most_informative
from models.tabular.encoding import FeatureEncoder
from models.tabular.network_encoding import FARTHEST, NetworkEncoder

NAN = np.nan


def matrix(*columns):
    return np.column_stack(columns).astype(np.float32)


def test_numbers_become_normal_scores_of_their_training_rank():
    values = np.random.default_rng(0).lognormal(size=501)
    encoder = NetworkEncoder.fit(matrix(values), {})
    numbers, codes = encoder.transform(matrix(np.quantile(values, [0.5, 0.9, 0.1])))
    assert numbers.dtype == torch.float32
    assert numbers[:, 0].numpy() == pytest.approx([0, norm.ppf(0.9), norm.ppf(0.1)], abs=0.03)
    assert codes.shape == (3, 0)


def test_values_beyond_the_training_range_are_held_back():
    encoder = NetworkEncoder.fit(matrix(np.arange(100)), {})
    numbers, _ = encoder.transform(matrix([-1e9, 1e9]))
    assert numbers[:, 0].tolist() == [-FARTHEST, FARTHEST]


def test_gaps_are_zero_with_a_flag_for_each_pattern_of_gaps():
    first = [1.0, NAN, 3.0, 4.0]
    same_gaps, full, other_gaps = [7.0, NAN, 8.0, 9.0], [1, 2, 3, 4], [NAN, NAN, 1.0, 2.0]
    encoder = NetworkEncoder.fit(matrix(first, same_gaps, full, other_gaps), {})
    assert encoder.flagged == (0, 3)
    assert encoder.numbers == 6
    numbers, _ = encoder.transform(matrix([NAN], [8.0], [2], [1.0]))
    assert numbers[0, 0] == 0
    assert numbers[0, 4:].tolist() == [1, 0]


def test_categories_are_codes_with_room_for_unseen_values_and_gaps():
    train = pl.DataFrame({"x": ["a", "b", "a", None], "y": [1.0, 2.0, 3.0, 4.0]})
    features = FeatureEncoder.fit(train)
    encoder = NetworkEncoder.fit(features.transform(train), {0: 3})
    later = pl.DataFrame({"x": ["b", "new", None], "y": [1.0, 1.0, 1.0]})
    _, codes = encoder.transform(features.transform(later))
    assert codes[:, 0].tolist() == [1, 2, -1]
    assert encoder.sizes == (3,)
    assert encoder.numerical == (1,)


def test_later_rows_do_not_change_the_encoding():
    random = np.random.default_rng(1)
    train = random.normal(size=(50, 3)).astype(np.float32)
    one = NetworkEncoder.fit(train, {})
    numbers, _ = one.transform(train)
    other = NetworkEncoder.from_plain(one.to_plain())
    other.transform(1e6 * train)
    assert torch.equal(other.transform(train)[0], numbers)
    assert torch.equal(one.transform(train[7:9])[0], numbers[7:9])


def test_the_columns_that_tell_most_are_kept():
    random = np.random.default_rng(2)
    signal, code = random.normal(size=400), random.integers(0, 3, 400)
    noise = random.normal(size=(400, 4))
    gaps = np.where(signal > 0, NAN, random.normal(size=400))
    columns = matrix(noise[:, 0], signal**3, noise[:, 1], code, gaps, noise[:, 2:])
    labels = (signal > 0) + 2.0 * (code == 1)
    found = most_informative(columns, [3], labels, 3, is_classification=True)
    assert found == [1, 3, 4]
    again = most_informative(columns, [3], labels, 3, is_classification=True)
    assert again == found
    assert most_informative(columns, [3], labels, 99, is_classification=True) == list(range(7))
    value = most_informative(columns, [3], signal + code, 2, is_classification=False)
    assert 1 in value
