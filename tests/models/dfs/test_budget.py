"""Counting paths without listing them; which features a budget keeps."""

import pytest

from models.aggregation.features import Feature
from models.aggregation.paths import enumerate_paths
from models.database.schema import RelationalSchema, SemanticType
from models.dfs.budget import count_paths, paths_within, within_budget
from tests.models.dfs.shop import SHOP, reference, table

CYCLE = RelationalSchema(
    "cycle",
    tuple(table(name, {"id": None}) for name in "abc"),
    (
        reference("a", "b_id", "b"),
        reference("b", "c_id", "c"),
        reference("c", "a_id", "a"),
        reference("a", "parent_id", "a"),
        reference("a", "other_b_id", "b"),
    ),
)


@pytest.mark.parametrize("depth", range(5))
@pytest.mark.parametrize(("schema", "entity"), [(SHOP, "customers"), (SHOP, "items"), (CYCLE, "a")])
def test_paths_are_counted_as_they_are_listed(schema, entity, depth):
    assert count_paths(schema, entity, depth) == len(enumerate_paths(schema, entity, depth))


def test_cycles_are_counted_at_any_depth_without_being_walked():
    assert count_paths(CYCLE, "a", 200) > 10**100
    with pytest.raises(ValueError, match="schema paths of depth 200 lead from table 'a'"):
        paths_within(CYCLE, "a", 200, 10**6)


def offer(*names):
    return tuple(Feature(name, "", (), None, (), SemanticType.NUMERICAL) for name in names)


def test_shallow_paths_come_first_and_those_of_one_depth_take_turns():
    paths = paths_within(SHOP, "customers", 2, 100)
    first, second = (path for path in paths if len(path) == 1 and not path[0].forward)
    deep = next(path for path in paths if len(path) == 2)
    offers = {
        (): offer("own"),
        deep: offer("d1"),
        first: offer("a1", "a2", "a3"),
        second: offer("b1"),
    }

    def kept(budget):
        return [feature.name for _, feature in within_budget(offers, budget)]

    assert [kept(budget) for budget in range(1, 6)] == [
        ["own"],
        ["own", "a1"],
        ["own", "a1", "b1"],
        ["own", "a1", "a2", "b1"],
        ["own", "a1", "a2", "a3", "b1"],
    ]
    assert kept(100) == ["own", "d1", "a1", "a2", "a3", "b1"]
    assert dict(within_budget(offers, 2))[first].name == "a1"
