"""The measures on data whose answer is known."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from models.synthetic.dials.measures import (
    coefficient_drift,
    component_shares,
    explained,
    label_autocorrelation,
    label_homophily,
)

FIRST = datetime(2020, 1, 1)


def frame(cutoffs: list[int], entities: list[int], **columns) -> pl.DataFrame:
    times = [FIRST + timedelta(days=int(number)) for number in cutoffs]
    return pl.DataFrame({"cutoff_time": times, "entity": entities, **columns})


def random_links(generator: np.random.Generator) -> tuple[pl.DataFrame, np.ndarray]:
    """400 entities at two cutoffs, each with three of its group's four partners."""
    entities = np.tile(np.arange(400), 2)
    cutoffs = np.repeat([0, 1], 400)
    groups = generator.integers(20, size=800)
    links = [
        (c, e, 4 * g + s)
        for c, e, g in zip(cutoffs, entities, groups, strict=True)
        for s in range(3)
    ]
    when, who, partner = map(list, zip(*links, strict=True))
    return frame(when, who, partner=partner), groups


def test_homophily_of_a_small_graph_by_hand():
    # 0, 1 and 2 share a partner, 0 and 1 another; 3 is alone. Ordered pairs: 01, 10 equal, the other
    # four not.
    examples = frame([0] * 4, [0, 1, 2, 3], label=[1, 1, 0, 0])
    links = frame([0] * 7, [0, 1, 2, 3, 0, 0, 1], partner=[7, 7, 7, 8, 7, 9, 9])
    share, chance = 2 / 6, (4 / 6) ** 2 + (2 / 6) ** 2
    assert label_homophily(examples, links) == pytest.approx((share - chance) / (1 - chance))


@pytest.mark.parametrize("rate", [0.5, 0.05])
def test_homophily_is_nought_for_labels_that_ignore_links_and_one_within_equal_groups(rate):
    generator = np.random.default_rng(0)
    links, groups = random_links(generator)
    keyed = links.select("cutoff_time", "entity").unique(maintain_order=True)
    ignorant = keyed.with_columns(label=pl.Series(generator.random(800) < rate))
    loyal = keyed.with_columns(label=pl.Series(groups % 3 == 0))
    assert abs(label_homophily(ignorant, links)) < 0.03
    assert label_homophily(loyal, links) == pytest.approx(1.0)


def test_homophily_compares_labels_of_one_cutoff_only():
    # Each cutoff has one label, so pairs across cutoffs, or a common rate, would look homophilous.
    examples = frame([0, 0, 1, 1], [0, 1, 0, 1], label=[1, 1, 0, 0])
    links = frame([0, 0, 1, 1], [0, 1, 0, 1], partner=[7, 7, 7, 7])
    assert np.isnan(label_homophily(examples, links))


def test_no_example_is_its_own_neighbour():
    examples = frame([0, 0], [0, 1], label=[1, 0])
    links = frame([0, 0], [0, 1], partner=[7, 8])
    assert np.isnan(label_homophily(examples, links))


def test_autocorrelation_of_a_series():
    generator = np.random.default_rng(1)
    series = np.empty((200, 60))
    series[:, 0] = generator.standard_normal(200)
    for step in range(1, 60):
        series[:, step] = 0.7 * series[:, step - 1] + 0.51**0.5 * generator.standard_normal(200)
    wave = 10 * np.sin(np.arange(60))
    examples = frame(
        list(np.tile(np.arange(60), 200)),
        list(np.repeat(np.arange(200), 60)),
        label=(series + wave).ravel(),
    )
    assert label_autocorrelation(examples) == pytest.approx(0.7, abs=0.02)
    assert label_autocorrelation(examples, lag=2) == pytest.approx(0.49, abs=0.03)
    # A row that is missing must not bring its neighbours together.
    day = pl.col("cutoff_time").dt.ordinal_day()
    thinned = examples.filter((day + pl.col("entity")) % 2 == 0)
    assert np.isnan(label_autocorrelation(thinned))


def test_shares_sum_to_what_is_explained():
    generator = np.random.default_rng(2)
    first, second, noise = generator.standard_normal((3, 20_000))
    outcome = 2 * first + second + 2 * noise
    shares = component_shares({"first": first, "second": second, "no": 0 * first}, outcome)
    assert shares["first"] == pytest.approx(4 / 9, abs=0.02)
    assert shares["second"] == pytest.approx(1 / 9, abs=0.02)
    assert shares["no"] == pytest.approx(0.0, abs=1e-9)
    together = explained(outcome, np.column_stack([first, second]))
    assert sum(shares.values()) == pytest.approx(together)


def test_drift_of_coefficients_that_turn():
    generator = np.random.default_rng(3)
    terms = generator.standard_normal((2, 30_000))
    progress = np.repeat(np.linspace(0, 1, 10), 3000)
    for angle, drift in ((0.0, 0.0), (np.pi / 3, 0.5), (np.pi / 2, 1.0)):
        known = np.cos(angle * progress) * terms[0] + np.sin(angle * progress) * terms[1]
        labels = (known + generator.standard_normal(30_000) > 0).astype(float)
        assert coefficient_drift(labels, terms, progress) == pytest.approx(drift, abs=0.06)
