"""Frequent values: counted up to a moment, in a fixed order."""

from dataclasses import replace

import polars as pl
import pytest

from models.database.schema import RelationalSchema
from models.dfs.conditions import frequent_values
from tests.models.dfs.shop import S, day, reference, store, table

SCHEMA = RelationalSchema(
    "visits",
    (
        table("people", {"id": None, "tier": S.CATEGORICAL, "age": S.NUMERICAL}),
        table(
            "visits",
            {"id": None, "person_id": S.CATEGORICAL, "at": S.TIMESTAMP, "page code": S.CATEGORICAL,
             "paid": S.BOOLEAN, "note": S.TEXT},
            time="at",
        ),
    ),
    (reference("visits", "person_id", "people"),),
)  # fmt: skip
PEOPLE = pl.DataFrame({"id": range(4), "tier": ["b", "a", "o'c", None], "age": [1.0] * 4})
VISITS = pl.DataFrame(
    {
        "id": range(9),
        "person_id": [0] * 9,
        "at": [day(n) for n in (1, 1, 1, 2, 2, 3, 4, 5)] + [None],
        "page code": [7, 7, 7, 9, 9, 8, 8, 8, 8],
        "paid": [True, False, True, None, None, None, True, True, True],
        "note": ["x"] * 9,
    }
)


@pytest.fixture
def files(tmp_path):
    return store({"people": PEOPLE, "visits": VISITS}, tmp_path)


def test_the_most_frequent_come_first_and_ties_go_by_value(files):
    found = frequent_values(SCHEMA, files, day(10))
    assert found == {
        ("people", "tier"): ("a", "b", "o'c"),
        ("visits", "page code"): ("7", "8", "9"),
        ("visits", "paid"): ("true", "false"),
    }
    assert found == frequent_values(
        SCHEMA,
        store({"people": PEOPLE[::-1], "visits": VISITS[::-1]}, files["people"].parent),
        day(10),
    )


def test_later_rows_and_rows_without_a_time_are_not_counted(files):
    found = frequent_values(SCHEMA, files, day(2))
    assert found["visits", "page code"] == ("7", "9")
    assert frequent_values(SCHEMA, files, day(3))["visits", "page code"] == ("7", "9", "8")
    assert ("visits", "page code") not in frequent_values(SCHEMA, files, day(0))


def test_a_value_needs_its_share_of_all_rows_and_there_are_only_so_many(files):
    found = frequent_values(SCHEMA, files, day(10), most=1, min_share=0.3)
    assert found == {("visits", "page code"): ("7",), ("visits", "paid"): ("true",)}
    assert ("people", "tier") in frequent_values(SCHEMA, files, day(10), min_share=0.25)


def test_a_value_of_nearly_all_rows_is_no_condition(files):
    people = PEOPLE.with_columns(tier=pl.lit("a"))
    store({"people": people}, files["people"].parent)
    assert ("people", "tier") not in frequent_values(SCHEMA, files, day(10))
    assert frequent_values(SCHEMA, files, day(10), min_share=0)["people", "tier"] == ("a",)


def test_columns_of_unsupported_types_are_left_out(files):
    people = SCHEMA.table("people")
    columns = [replace(column, sql_type="VARCHAR[]") for column in people.columns]
    schema = SCHEMA.with_tables([replace(people, columns=tuple(columns)), SCHEMA.table("visits")])
    assert ("people", "tier") not in frequent_values(schema, files, day(10))


def test_senseless_limits_and_missing_files_are_refused(files):
    for wrong in ({"most": 0}, {"min_share": 0.6}, {"min_share": -0.1}):
        with pytest.raises(ValueError, match="most must be at least 1"):
            frequent_values(SCHEMA, files, day(1), **wrong)
    with pytest.raises(KeyError, match="visits"):
        frequent_values(SCHEMA, {"people": files["people"]}, day(1))
