"""The plan, the threads, the order of rows and the batches leave every bit as it is."""

import math
from fractions import Fraction

import numpy as np
import polars as pl
import pytest

from models.aggregation import engine, evaluation
from models.aggregation.combining import Plan
from models.dfs import FeatureConfig, compute_features, enumerate_features
from tests.models.dfs.shop import SHOP, day, seeds_at, shop_frames, store

FEATURES = enumerate_features(SHOP, "customers", FeatureConfig(depth=3, max_features=10_000))
SEEDS = seeds_at(range(8), [day(number) for number in range(0, 34, 3)])


def compute(files, **options):
    return compute_features(SHOP, FEATURES, files, SEEDS, entity_table="customers", **options)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return store(shop_frames(7, orders=300, items=600), tmp_path_factory.mktemp("shop"))


@pytest.fixture(scope="module")
def expected(files):
    return compute(files, threads=1)


def test_two_runs_and_any_number_of_threads_agree(files, expected):
    assert compute(files, threads=1).equals(expected)
    assert compute(files, threads=2).equals(expected)


@pytest.mark.parametrize("plan", [Plan.RANGE, Plan.SWEEP])
def test_plans_agree(files, expected, plan):
    assert compute(files, plan=plan).equals(expected)


def test_the_order_of_rows_in_the_files_does_not_matter(tmp_path, expected):
    frames = shop_frames(7, orders=300, items=600)
    shuffled = {
        name: frame.sample(fraction=1, shuffle=True, seed=1) for name, frame in frames.items()
    }
    assert compute(store(shuffled, tmp_path)).equals(expected)


def test_batches_do_not_matter(files, expected, monkeypatch):
    monkeypatch.setattr(engine, "SEEDS_PER_QUERY", 30)
    monkeypatch.setattr(evaluation, "VALUES_PER_QUERY", 2)
    monkeypatch.setattr(evaluation, "PAIRS_PER_QUERY", 50)
    steps = []
    found = compute(files, memory_limit="1GB", progress=lambda done, of: steps.append((done, of)))
    assert found.equals(expected)
    assert steps[-1][0] == steps[-1][1] == len(steps)


def test_sums_are_correctly_rounded_and_deviations_accurate(tmp_path):
    random = np.random.default_rng(0)
    frames = shop_frames(7, customers=1, orders=5000)
    values = random.normal(1e7, 1e-2, 5000) * random.choice([1, -1, 1e-6], 5000)
    frames["orders"] = frames["orders"].with_columns(
        pl.lit(0).alias("customer_id"), pl.Series("price", values)
    )
    names = ("SUM(orders.price)", "STD(orders.price)")
    features = [feature for feature in FEATURES if feature.name in names]
    found = compute_features(
        SHOP, features, store(frames, tmp_path), seeds_at([0], [day(99)]), entity_table="customers"
    )
    exact = sum(map(Fraction, values.tolist()))
    assert found["SUM(orders.price)"][0] == pytest.approx(float(exact), rel=1e-15)
    mean = exact / len(values)
    variance = sum((Fraction(value) - mean) ** 2 for value in values.tolist()) / (len(values) - 1)
    assert found["STD(orders.price)"][0] == pytest.approx(math.sqrt(variance), rel=1e-12)
