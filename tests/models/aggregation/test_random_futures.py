"""On random databases: no bit of a feature depends on what it must not see."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.aggregation.windows import following, trailing
from tests.models.aggregation.comparison import compute, is_close
from tests.models.aggregation.random_databases import (
    CUTOFFS,
    MICROSECOND,
    TIME,
    WINDOW,
    examples,
)
from tests.models.aggregation.random_features import (
    Case,
    cases,
    conditioned_cases,
    numbered,
    sibling_cases,
    targets,
    windowed,
)

# What rows that must not matter are changed to: other magnitudes, ranks and categories.
CHANGES = {
    "number": 1.25e20 + 0.5,
    "whole": -2_000_000_001,
    "Colour": "Aa comes first",
    "code": -7,
    "flag": True,
    "since": CUTOFFS[0] - timedelta(days=4000),
    "note": "quite another text",
}
KINDS = [cases(1, 30), cases(2, 20), conditioned_cases(2, 20), sibling_cases(20)]


@pytest.fixture
def new_folder(tmp_path_factory):
    return lambda: tmp_path_factory.mktemp("random")


def with_another_future(database, cut):
    """What happens after `cut`, and what has no time: changed, left out, doubled, and new."""

    def alter(table, row):
        changed = {**row, **{name: CHANGES[name] for name in row if name in CHANGES}}
        new = {**changed, TIME: cut + MICROSECOND}
        for part in table.primary_key:
            new[part] = f"{row[part]}, new" if part.endswith("name") else row[part] + 1000
        if row[TIME] is not None and row[TIME] <= cut:
            return [row, new]
        return [[], [changed], [changed, new]][sum(map(ord, repr(row))) % 3]

    return database.altered(alter)


def of_seeds(found, database, chosen):
    return found.filter([chosen(seed) for seed in database.seeds])


@pytest.mark.parametrize("kind", KINDS)
def test_what_happens_later_changes_no_bit_of_a_feature(new_folder, kind):
    @examples(3)
    @given(kind, st.sampled_from(CUTOFFS))
    def check(case, cut):
        features = [feature for feature in case.features if feature.window.is_past]
        features = numbered(features + windowed(case.database.schema, features, trailing(WINDOW)))
        other = with_another_future(case.database, cut)
        before = compute(case.database, features, new_folder())
        after = compute(other, features, new_folder(), seeds=case.database.seeds)
        assert_same_bits(before, after, case.database, lambda seed: seed.visible <= cut)

    check()


@pytest.mark.parametrize("kind", [cases(1, 30), sibling_cases(20)])
def test_what_happens_after_its_window_changes_no_bit_of_a_target(new_folder, kind):
    @examples(2)
    @given(kind)
    def check(case):
        features = numbered(targets(case, following(WINDOW)))
        cut = max(CUTOFFS) + WINDOW
        other = with_another_future(case.database, cut)
        before = compute(case.database, features, new_folder(), allow_future=True)
        seeds = case.database.seeds
        after = compute(other, features, new_folder(), seeds=seeds, allow_future=True)
        assert_same_bits(before, after, case.database, lambda seed: seed.visible + WINDOW <= cut)

    check()


def assert_same_bits(before, after, database, chosen):
    before, after = of_seeds(before, database, chosen), of_seeds(after, database, chosen)
    for name in before.columns:
        assert after[name].to_list() == before[name].to_list(), name


@examples(5)
@given(case=cases(1, 40), cut=st.sampled_from(CUTOFFS))
def test_what_happened_before_does_not_change_a_target(tmp_path_factory, case, cut):
    def alter(table, row):
        if row[TIME] is not None and row[TIME] > cut:
            return [row]
        changed = {**row, "number": -3.5, "whole": 17, "Colour": "Aa", "code": -7, "flag": True}
        changed = {name: value for name, value in changed.items() if name in row}
        return [[], [changed]][sum(map(ord, repr(row))) % 2]

    # Rows of the window only: no parents, which happened before.
    alone = [feature for feature in case.features if len(feature.path) == 1]
    features = numbered(targets(replace(case, features=alone), following(WINDOW)))
    seeds = [seed for seed in case.database.seeds if seed.visible == cut]
    before, after = (
        compute(database, features, tmp_path_factory.mktemp("past"), seeds=seeds, allow_future=True)
        for database in (case.database, case.database.altered(alter))
    )
    for feature in features:
        pairs = zip(before[feature.name], after[feature.name], strict=True)
        for ours, theirs in pairs:
            assert is_close(feature, theirs, ours, spread=4e9), feature.name


@pytest.mark.parametrize("kind", KINDS)
def test_seeds_do_not_influence_each_other(new_folder, kind):
    @examples(2)
    @given(kind)
    def check(case):
        features = numbered(case.features + windowed_of(case))
        together = compute(case.database, features, new_folder(), allow_future=True)
        for position in range(0, len(case.database.seeds), 4):
            seeds = [case.database.seeds[position]]
            alone = compute(case.database, features, new_folder(), seeds=seeds, allow_future=True)
            assert alone.drop("row_id").rows() == [together.drop("row_id").row(position)]

    check()


def windowed_of(case: Case):
    return windowed(case.database.schema, case.features, trailing(WINDOW))
