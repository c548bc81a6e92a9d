"""What cannot be computed is refused with its name and the mend, before any query runs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from models.aggregation.engine import compute_features
from models.aggregation.features import Condition, Feature
from models.aggregation.paths import Hop
from models.aggregation.windows import Window, following
from models.database.schema import ForeignKey, RelationalSchema
from tests.models.dfs.shop import SHOP, S, day, seeds_at, shop_frames, store, table

WEEK = timedelta(days=7)
ORDERS, ITEMS, STORES = (
    next(key for key in SHOP.foreign_keys if (key.table, key.parent) == ends)
    for ends in (("orders", "customers"), ("items", "orders"), ("orders", "stores"))
)
TO_ORDERS, TO_ITEMS = Hop(ORDERS, False), Hop(ITEMS, False)
PRICES = Feature("prices", "customers", (TO_ORDERS,), "price", ("sum",), S.NUMERICAL)
NESTED = replace(
    PRICES, name="nested", path=(TO_ORDERS, TO_ITEMS), column="quantity", primitives=("max", "sum")
)
SIBLINGS = replace(
    PRICES,
    name="siblings",
    path=(TO_ORDERS, Hop(STORES, True), Hop(STORES, False)),
    lookback=WEEK,
)
REFUSED = {
    "an unknown primitive": (replace(PRICES, primitives=("median",)), "'median'.*known.*'mean'"),
    "an unknown transform": (replace(PRICES, transform="minute"), "'minute'.*known.*'hour'"),
    "a future without leave": (replace(PRICES, window=following(WEEK)), "prices.*next 7 days"),
    "a window into the future": (replace(PRICES, window=Window(-WEEK, WEEK)), "prices.*after"),
    "one aggregate too few": (replace(NESTED, primitives=("sum",)), "one aggregate for each"),
    "one aggregate too many": (replace(PRICES, primitives=("max", "sum")), "one aggregate for"),
    "elapsed times nested": (
        replace(NESTED, column="at", primitives=("mean", "time_since_last")),
        "nested.*aggregated",
    ),
    "elapsed times aggregated": (
        replace(PRICES, column="at", primitives=("mean",), transform="age"),
        "prices.*aggregated",
    ),
    "a lookback without siblings": (replace(PRICES, lookback=WEEK), "sibling rows"),
    "siblings in order": (replace(SIBLINGS, primitives=("last",)), "siblings"),
    "siblings by value": (replace(SIBLINGS, primitives=("num_unique",)), "siblings"),
    "two primitives over siblings": (replace(SIBLINGS, primitives=("max", "sum")), "siblings"),
    "a condition on the first rows": (
        replace(SIBLINGS, where=Condition("channel", "a", level=0)),
        "siblings",
    ),
    "another table's feature": (replace(PRICES, table="stores"), "stores.*'customers'"),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return store(shop_frames(1), tmp_path_factory.mktemp("shop"))


def compute(files, *features, schema=SHOP, entity_table="customers", **options):
    seeds = seeds_at([0], [day(20)])
    return compute_features(schema, features, files, seeds, entity_table=entity_table, **options)


@pytest.mark.parametrize("case", REFUSED)
def test_features_that_cannot_be_computed(files, case):
    feature, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        compute(files, feature)


def test_nested_aggregates_have_no_future_even_with_leave(files):
    with pytest.raises(ValueError, match=r"nested.*lookback"):
        compute(files, replace(NESTED, window=following(WEEK)), allow_future=True)
    found = compute(
        files,
        replace(PRICES, window=following(WEEK)),
        replace(SIBLINGS, window=following(WEEK)),
        allow_future=True,
    )
    assert found.columns == ["row_id", "prices", "siblings"]


def test_names_that_clash(files):
    with pytest.raises(ValueError, match="unique"):
        compute(files, PRICES, replace(NESTED, name="prices"))


def test_files_that_are_missing(files):
    with pytest.raises(KeyError, match=r"no file for the tables \['items'\]"):
        compute({name: file for name, file in files.items() if name != "items"}, NESTED)
    assert compute({name: files[name] for name in ("customers", "orders")}, PRICES).height == 1


def test_keys_that_identify_no_row(files):
    tables = [
        replace(one, primary_key=("id", "region_id")) if one.name == "customers" else one
        for one in SHOP.tables
    ]
    with pytest.raises(ValueError, match=r"customers.*one column"):
        compute(files, PRICES, schema=SHOP.with_tables(tables))
    odd = ForeignKey("children", ("parent",), "parents", ("code",))
    schema = RelationalSchema(
        "odd",
        (
            table("parents", {"id": None, "code": None}),
            table("children", {"id": None, "parent": None}),
        ),
        (odd,),
    )
    children = Feature("children", "parents", (Hop(odd, False),), None, ("count",), S.NUMERICAL)
    with pytest.raises(ValueError, match=r"must refer to the primary key.*parents"):
        compute(
            {"parents": files["customers"], "children": files["orders"]},
            children,
            schema=schema,
            entity_table="parents",
        )
