"""On random databases every feature has the value of brute force, under every plan."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregation.engine import Plan
from models.aggregation.paths import enumerate_paths
from models.aggregation.primitives import AGGREGATES, TRANSFORMS
from models.aggregation.windows import Window, following, trailing
from tests.models.aggregation.brute_force import Database, Seed, feature_value
from tests.models.aggregation.comparison import assert_equals_brute_force, compute
from tests.models.aggregation.random_databases import MICROSECOND, WINDOW, RandomDatabase, examples
from tests.models.aggregation.random_features import (
    cases,
    conditioned_cases,
    features_along,
    numbered,
    sibling_cases,
    targets,
    windowed,
)
from tests.models.dfs.shop import SHOP, day, shop_frames

LENGTHS = (WINDOW, timedelta(days=900), MICROSECOND)


@pytest.fixture
def new_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("random")


@pytest.mark.parametrize(("depth", "count"), [(0, 3), (1, 14), (2, 10), (3, 3)])
def test_features_of_the_past(new_folder, depth, count):
    @examples(count)
    @given(cases(depth))
    def check(case):
        assert_equals_brute_force(case.database, numbered(case.features), new_folder())

    check()


@pytest.mark.parametrize(("depth", "count"), [(1, 6), (2, 6), (3, 2)])
def test_windows_of_the_past(new_folder, depth, count):
    @examples(count)
    @given(cases(depth, at_most=25), st.sampled_from(LENGTHS))
    def check(case, length):
        features = windowed(case.database.schema, case.features, trailing(length))
        without_parents = [
            feature
            for feature in case.features
            if not any(later.forward > earlier.forward for earlier, later in pairwise(feature.path))
        ]
        ended = Window(-2 * length, -length)
        features += windowed(case.database.schema, without_parents, ended)
        assert_equals_brute_force(case.database, numbered(features), new_folder())

    check()


@examples(8)
@given(case=cases(1, at_most=25), length=st.sampled_from(LENGTHS))
def test_windows_of_the_future(tmp_path_factory, case, length):
    features = targets(case, following(length)) + targets(case, Window(-length, length))
    folder = tmp_path_factory.mktemp("random")
    assert_equals_brute_force(case.database, numbered(features), folder, allow_future=True)


@pytest.mark.parametrize(("depth", "count"), [(1, 6), (2, 6)])
def test_conditions(new_folder, depth, count):
    @examples(count)
    @given(conditioned_cases(depth))
    def check(case):
        features = [*case.features]
        features += windowed(case.database.schema, features, trailing(WINDOW))
        assert_equals_brute_force(case.database, numbered(features), new_folder())

    check()


@examples(8)
@given(case=sibling_cases())
def test_sibling_rows(tmp_path_factory, case):
    features = numbered(case.features)
    folder = tmp_path_factory.mktemp("random")
    assert_equals_brute_force(case.database, features, folder, allow_future=True)


@pytest.mark.parametrize("kind", [cases(1, 20), conditioned_cases(2, 20), sibling_cases(20)])
def test_plans_give_the_same_bits(new_folder, kind):
    @examples(2)
    @given(kind)
    def check(case):
        everything = [*case.features]
        everything += windowed(case.database.schema, everything, trailing(WINDOW))
        everything += targets(case, following(WINDOW))
        features = numbered(everything)
        expected = compute(case.database, features, new_folder(), allow_future=True)
        for plan in Plan:
            found = compute(case.database, features, new_folder(), allow_future=True, plan=plan)
            for name in found.columns:
                assert found[name].to_list() == expected[name].to_list(), (plan, name)

    check()


def test_every_primitive_and_transform_has_values(tmp_path):
    """The shop's groups are large: agreement on NULLs and zeros only would say nothing."""
    rows = {name: frame.to_dicts() for name, frame in shop_frames(3).items()}
    seen: set[str | None] = set()
    for entity in ("customers", "orders"):
        seeds = tuple(Seed(key, day(20), day(20)) for key in range(8))
        database = RandomDatabase(SHOP, rows, entity, seeds)
        features = [
            feature
            for path in enumerate_paths(SHOP, entity, 2)
            for feature in features_along(SHOP, entity, path)
        ]
        assert_equals_brute_force(database, numbered(features), tmp_path / entity)
        slow = Database(SHOP, rows)
        for feature in features:
            if any(feature_value(slow, feature, seed) for seed in seeds):
                seen |= {*feature.primitives, feature.transform}
    texts = {"num_characters", "num_words", "ngram_hash"}  # the shop has none
    assert seen >= {*AGGREGATES, *TRANSFORMS} - texts
