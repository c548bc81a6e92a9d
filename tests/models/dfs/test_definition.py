"""Hand-written features: paths in words, and what is refused with which words."""

from datetime import timedelta

import pytest

from models.aggregation.features import Condition
from models.aggregation.windows import following, trailing
from models.database.schema import RelationalSchema
from models.dfs.config import PRIMITIVES, FeatureConfig
from models.dfs.definition import define, walk
from models.dfs.enumeration import enumerate_features
from tests.models.dfs.shop import SHOP, S, reference, table

DAY = timedelta(days=1)
STAFF = RelationalSchema(
    "staff",
    (table("staff", {"id": None, "boss_id": None, "pay": S.NUMERICAL}),),
    (reference("staff", "boss_id", "staff"),),
)


def feature(steps, column, *primitives, **more):
    return define(SHOP, "customers", walk(SHOP, "customers", *steps), column, primitives, **more)


def test_everything_that_is_enumerated_can_be_defined_by_hand():
    config = FeatureConfig(depth=2, primitives=PRIMITIVES, max_features=10_000, windows=(3 * DAY,))
    values = {("orders", "channel"): ("a",), ("notes", "topic"): ("t",)}
    features = enumerate_features(SHOP, "customers", config, interesting_values=values)
    for one in features:
        assert one == define(
            SHOP,
            one.table,
            one.path,
            one.column,
            one.primitives,
            transform=one.transform,
            window=one.window,
            where=one.where,
            component=one.component,
            name=one.name,
        )
    assert {one.window for one in features} == {trailing(3 * DAY), features[0].window}


def test_names_and_types_follow_from_the_parts():
    first = feature(["orders"], None, "time_since_first")
    assert (first.name, first.column) == ("TIME_SINCE_FIRST(orders.at)", "at")
    top = feature(["orders"], "at", "n_most_common", transform="weekday", component=2)
    assert top.name == "N_MOST_COMMON(orders.WEEKDAY(at))[2]"
    assert (top.semantic_type, feature(["orders"], "paid", "last").semantic_type) == (
        S.CATEGORICAL,
        S.BOOLEAN,
    )
    nested = feature(
        ["orders", "items"], "quantity", "max", "sum", where=Condition("colour", "red", 1)
    )
    assert nested.name == "MAX(orders.SUM(items.quantity WHERE colour = red))"
    ahead = feature(["orders"], "price", "sum", window=following(7 * DAY))
    assert ahead.name == "SUM(orders.price, next 7 days)"
    siblings = feature(["orders", "stores", "orders"], "price", "sum", lookback=28 * DAY)
    assert siblings.name == "SUM(orders.stores.orders.price, lookback 28 days)"
    assert feature(["orders"], "store_id", "num_unique").semantic_type is S.NUMERICAL


def test_a_path_is_written_as_in_names_with_an_arrow_where_it_matters():
    (up,) = walk(STAFF, "staff", "-> staff[boss_id]")
    (down,) = walk(STAFF, "staff", "<- staff[boss_id]")
    assert (up.forward, down.forward) == (True, False)
    with pytest.raises(
        ValueError, match=r"2 steps 'staff\[boss_id\]' from 'staff'; steps there: ->"
    ):
        walk(STAFF, "staff", "staff[boss_id]")
    with pytest.raises(ValueError, match="no step 'item' from 'customers <- orders"):
        walk(SHOP, "customers", "orders", "item")
    assert walk(SHOP, "customers", "orders[customer_id]") == walk(SHOP, "customers", "orders")
    with pytest.raises(KeyError, match="no table 'client'"):
        walk(SHOP, "client")


@pytest.mark.parametrize(
    ("arguments", "more", "message"),
    [
        ((["orders"], "channel", "mean"), {},
         r"MEAN cannot read column 'channel' of table 'orders': it is categorical .*; MEAN reads "
         "numerical"),
        ((["orders"], "price", "mode"), {}, "'price' of table 'orders': it is numerical"),
        ((["orders"], "at", "mean"), {}, "it is timestamp"),
        ((["orders"], "customer_id", "sum"), {}, "it is of no semantic type; SUM reads numerical"),
        ((["orders"], "price", "mean"), {"transform": "weekday"},
         "WEEKDAY cannot read column 'price' of table 'orders': .* WEEKDAY reads timestamp"),
        ((["regions"], "opened"), {}, "a feature without primitives cannot read column 'opened'"),
        ((["orders"], "at", "mean"), {"transform": "weekday"},
         "MEAN cannot read WEEKDAY, which is categorical; it reads numerical"),
        ((["orders"], "at", "mean"), {"transform": "age"}, "AGE changes with the cutoff time"),
        ((["orders", "items"], "colour", "mean", "mode"), {},
         "MEAN cannot read MODE, which is categorical; it reads numerical"),
        ((["orders", "items"], None, "count", "count"), {}, "COUNT cannot read COUNT, .* rows"),
        ((["orders", "items"], None, "max", "time_since_last"), {}, "no aggregate reads a time since"),
        ((["orders", "items"], "quantity", "trend", "sum"), {}, "TREND cannot read SUM"),
        ((["orders"], "price", "sum", "mean"), {}, "1 steps towards children, .* there are 2"),
        ((["orders"], "price"), {}, "1 steps towards children, .* there are 0"),
        ((["orders"], "price", "count"), {}, "COUNT of table 'orders' reads rows, not a column"),
        ((["orders"], None, "sum"), {}, "SUM at 'customers <- orders .*' needs a column"),
        ((["orders", "stores"], None, "count"), {}, "must end with a step towards children"),
        ((["notes"], None, "time_since_last"), {}, "needs an event time, which table 'notes'"),
        ((["notes"], "score", "trend"), {}, "TREND needs an event time, which table 'notes'"),
        ((["notes"], "score", "sum"), {"window": trailing(DAY)}, "needs an event time"),
        (([], "age"), {"window": trailing(DAY)}, "needs a step towards children"),
        ((["orders"], None, "count"), {"where": Condition("channel", "a", 1)}, "level 1 needs more"),
        ((["orders"], "channel", "n_most_common"), {}, "component from 0 to 2"),
        ((["orders"], "channel", "n_most_common"), {"component": 3}, "component from 0 to 2"),
        ((["orders"], "channel", "mode"), {"component": 0}, "one value only, no component 0"),
        ((["orders", "stores", "orders"], "price", "sum"), {"lookback": -DAY}, "must be positive"),
        ((["orders"], "price", "sum"), {"lookback": DAY}, "two steps towards children"),
        ((["orders"], "price", "avg"), {}, "unknown primitives: 'avg'"),
        ((["orders"], "price", "men"), {}, "did you mean 'mean'"),
        ((["orders"], "at", "mode"), {"transform": "week_day"}, "did you mean 'weekday'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(arguments, more, message):
    with pytest.raises(ValueError, match=message):
        feature(*arguments, **more)


def test_unknown_columns_and_steps_are_refused():
    with pytest.raises(KeyError, match="table 'orders' has no column 'prize'"):
        feature(["orders"], "prize", "sum")
    with pytest.raises(KeyError, match="table 'orders' has no column 'kind'"):
        feature(["orders"], None, "count", where=Condition("kind", "x"))
    with pytest.raises(ValueError, match=r"no step '<- items .*' leads from table 'customers'"):
        define(SHOP, "customers", walk(SHOP, "orders", "items"), None, ["count"])
