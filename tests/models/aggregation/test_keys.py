"""Keys of every shape: two to one table, to the table itself, of two columns, of strings."""

import polars as pl
import pytest

from models.database.schema import ForeignKey, RelationalSchema
from models.dfs import FeatureConfig, compute_features, enumerate_features
from tests.models.dfs.shop import S, day, reference, seeds_at, store, table, typed


def compute(schema, entity, frames, folder, seeds, depth=2):
    features = enumerate_features(schema, entity, FeatureConfig(depth=depth))
    return compute_features(schema, features, store(frames, folder), seeds, entity_table=entity)


def test_two_keys_to_one_table_are_told_apart(tmp_path):
    schema = RelationalSchema(
        "flights",
        (
            table("airports", {"id": None, "city": S.CATEGORICAL}),
            table("flights", {"id": None, "origin_id": None, "dest_id": None, "at": S.TIMESTAMP,
                              "delay": S.NUMERICAL}, time="at"),
        ),
        (reference("flights", "origin_id", "airports"), reference("flights", "dest_id", "airports")),
    )  # fmt: skip
    frames = {
        "airports": typed(schema, "airports", {"id": [0, 1, 2], "city": ["A", "B", "C"]}),
        "flights": typed(schema, "flights", {
            "id": [0, 1, 2], "origin_id": [0, 0, 1], "dest_id": [1, 2, 0],
            "at": [day(1), day(2), day(3)], "delay": [1.0, 2.0, 4.0]}),
    }  # fmt: skip
    found = compute(schema, "airports", frames, tmp_path, seeds_at([0, 1], [day(5)]))
    assert found["SUM(flights[origin_id].delay)"].to_list() == [3.0, 4.0]
    assert found["SUM(flights[dest_id].delay)"].to_list() == [4.0, 1.0]
    assert found["LAST(flights[origin_id].airports[dest_id].city)"].to_list() == ["C", "A"]
    assert not [name for name in found.columns if "flights[dest_id].airports[dest_id]" in name]
    direct = compute(schema, "flights", frames, tmp_path / "d", seeds_at([1], [day(5)]))
    assert direct["airports[origin_id].city"].to_list() == ["A"]
    assert direct["airports[dest_id].city"].to_list() == ["C"]
    assert direct["airports[dest_id].COUNT(flights[dest_id])"].to_list() == [1.0]


def test_a_table_may_refer_to_itself(tmp_path):
    schema = RelationalSchema(
        "staff",
        (table("staff", {"id": None, "boss_id": None, "pay": S.NUMERICAL}),),
        (reference("staff", "boss_id", "staff"),),
    )
    rows = {"id": [0, 1, 2, 3], "boss_id": [None, 0, 0, 1], "pay": [9.0, 5.0, 4.0, 1.0]}
    frames = {"staff": typed(schema, "staff", rows)}
    found = compute(schema, "staff", frames, tmp_path, seeds_at(range(4), [day(1)]))
    assert found["staff[boss_id].pay"].to_list() == [None, 9.0, 9.0, 5.0]
    assert found["staff[boss_id].staff[boss_id].pay"].to_list() == [None, None, None, 9.0]
    assert found["COUNT(staff[boss_id])"].to_list() == [2.0, 1.0, 0.0, 0.0]
    assert found["SUM(staff[boss_id].COUNT(staff[boss_id]))"].to_list() == [1.0, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("reverse", [False, True])
def test_keys_may_have_several_columns_in_any_order(tmp_path, reverse):
    columns = ("shelf", "room")[:: -1 if reverse else 1]
    schema = RelationalSchema(
        "library",
        (
            table("rooms", {"id": None, "floor": S.NUMERICAL}),
            table("shelves", {"no": None, "room": None, "width": S.NUMERICAL}, ("room", "no")),
            table("books", {"id": None, "shelf": None, "room": None, "pages": S.NUMERICAL}),
        ),
        (
            ForeignKey("shelves", ("room",), "rooms", ("id",)),
            ForeignKey(
                "books", columns, "shelves", tuple({"shelf": "no"}.get(c, c) for c in columns)
            ),
        ),
    )
    frames = {
        "rooms": typed(schema, "rooms", {"id": [0, 1], "floor": [1.0, 2.0]}),
        "shelves": typed(schema, "shelves", {
            "no": [1, 2, 1], "room": [0, 0, 1], "width": [10.0, 20.0, 30.0]}),
        "books": typed(schema, "books", {
            "id": [0, 1, 2, 3], "shelf": [1, 2, 1, 2], "room": [0, 0, 1, 1],
            "pages": [100.0, 200.0, 300.0, 400.0]}),
    }  # fmt: skip
    books = compute(schema, "books", frames, tmp_path / "b", seeds_at(range(4), [day(1)]))
    assert books["shelves.width"].to_list() == [10.0, 20.0, 30.0, None]
    assert books["shelves.rooms.floor"].to_list() == [1.0, 1.0, 2.0, None]
    assert books["shelves.SUM(books.pages)"].to_list() == [100.0, 200.0, 300.0, None]
    rooms = compute(schema, "rooms", frames, tmp_path / "r", seeds_at([0, 1], [day(1)]))
    assert rooms["MAX(shelves.SUM(books.pages))"].to_list() == [200.0, 300.0]
    assert "MEAN(shelves.no)" not in rooms.columns


def test_keys_may_be_strings_and_names_mixed_case_with_spaces(tmp_path):
    schema = RelationalSchema(
        "odd",
        (
            table("My Customers", {"id": None, "Home Town": S.CATEGORICAL}),
            table("select", {"id": None, "Customer Id": None, "row_id": S.NUMERICAL}),
        ),
        (ForeignKey("select", ("Customer Id",), "My Customers", ("id",)),),
    )
    frames = {
        "My Customers": pl.DataFrame({"id": ["x'", 'y"'], "Home Town": ["Ä", "B"]}),
        "select": pl.DataFrame(
            {"id": ["1", "2"], "Customer Id": ["x'", "x'"], "row_id": [1.0, 2.0]}
        ),
    }
    found = compute(schema, "My Customers", frames, tmp_path, seeds_at(["x'", 'y"'], [day(1)]))
    assert found["Home Town"].to_list() == ["Ä", "B"]
    assert found["SUM(select.row_id)"].to_list() == [3.0, 0.0]
    direct = compute(schema, "select", frames, tmp_path, seeds_at(["1", "2"], [day(1)]))
    assert direct["select.row_id"].to_list() == [1.0, 2.0]
    assert direct["row_id"].to_list() == [0, 1]
