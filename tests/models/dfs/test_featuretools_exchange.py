"""Definitions travel to featuretools and back under the same names, and mean the same there."""

from dataclasses import replace
from datetime import timedelta

import featuretools as ft
import pandas as pd
import polars as pl
import pytest
from featuretools.feature_base.feature_base import (
    AggregationFeature,
    DirectFeature,
    IdentityFeature,
    TransformFeature,
)

from models.aggregation.compilation import is_of_seed
from models.aggregation.engine import compute_features
from models.aggregation.features import Condition
from models.aggregation.primitives import AGGREGATES, TRANSFORMS
from models.aggregation.windows import Window, following, trailing
from models.database.schema import ForeignKey, RelationalSchema
from models.dfs.config import FeatureConfig
from models.dfs.definition import define, walk
from models.dfs.enumeration import enumerate_features
from models.dfs.featuretools_entity_set import entity_set
from models.dfs.featuretools_exchange import from_featuretools, to_featuretools
from tests.models.dfs import shop as plain
from tests.models.dfs.shop import (
    S,
    day,
    reference,
    seeds_at,
    shop_frames,
    store,
    table,
    typed,
)

PRIMITIVES = tuple(name for name in (*AGGREGATES, *TRANSFORMS) if name != "ngram_hash")
# The notes' topics are texts here.
SHOP = plain.SHOP.with_tables(
    replace(
        described,
        columns=tuple(
            replace(column, semantic_type=S.TEXT) if column.name == "topic" else column
            for column in described.columns
        ),
    )
    for described in plain.SHOP.tables
)


@pytest.fixture(scope="module")
def shop():
    return entity_set(SHOP, shop_frames(5))


def feature(path, column, *primitives, **more):
    return define(SHOP, "customers", walk(SHOP, "customers", *path), column, primitives, **more)


def names(definitions):
    return [name for definition in definitions for name in definition.get_feature_names()]


def test_every_enumerated_feature_survives_the_round_trip(shop):
    config = FeatureConfig(
        depth=2, primitives=PRIMITIVES, max_features=10_000, windows=(timedelta(days=7),)
    )
    values = {("orders", "channel"): ("a", "b"), ("orders", "paid"): ("true",)}
    features = [
        found
        for found in enumerate_features(SHOP, "customers", config, interesting_values=values)
        if not is_of_seed(found)
    ]
    exported = to_featuretools(features, SHOP, shop)
    assert names(exported) == [found.name for found in features]
    assert from_featuretools(exported, SHOP) == tuple(features)
    used = {name for found in features for name in (*found.primitives, found.transform)}
    assert used == {*PRIMITIVES, None}
    assert any(found.where for found in features)
    assert any(found.window.length for found in features)


def test_saved_definitions_can_be_read(shop, tmp_path):
    features = (
        feature(["regions"], "size"),
        feature(["orders"], "channel", "n_most_common", component=0, name="top"),
        feature(["orders"], "channel", "n_most_common", component=1),
        feature(["orders"], "channel", "n_most_common", component=2),
        feature(["orders"], None, "count", where=Condition("channel", "a")),
        feature(["orders", "items"], "quantity", "mean", "sum", name="spent"),
        feature(["orders", "items"], "colour", "mode", "n_most_common", component=1),
    )
    exported = to_featuretools(features, SHOP, shop)
    ft.save_features(exported, str(tmp_path / "features.json"))
    assert from_featuretools(tmp_path / "features.json", SHOP) == features
    assert from_featuretools(ft.save_features(exported), SHOP) == features


def test_what_featuretools_enumerates_is_understood_or_refused_with_its_reason(shop):
    found = ft.dfs(
        entityset=shop,
        target_dataframe_name="customers",
        agg_primitives=list(AGGREGATES),
        trans_primitives=["weekday", "is_weekend", "age", "time_since", "num_words"],
        max_depth=2,
        features_only=True,
    )
    with pytest.raises(ValueError) as refusal:
        from_featuretools(found, SHOP)
    reasons = dict(line.split(": ", 1) for line in str(refusal.value).splitlines()[1:])
    assert "no aggregate reads it" in reasons["MEAN(orders.TIME_SINCE(at))"]
    assert "no aggregate reads a time since" in reasons["MEAN(orders.TIME_SINCE_LAST(items.at))"]
    # A whole output counts as one definition there.
    understood = [one for one in found if one.get_name() not in reasons]
    imported = from_featuretools(understood, SHOP)
    assert {f.name for f in imported} >= {
        "age", "COUNT(orders)", "TREND(orders.price, at)", "N_MOST_COMMON(orders.channel)[1]",
        "MODE(orders.WEEKDAY(at))", "MEAN(orders.stores.area)", "MAX(orders.COUNT(items))",
        "PERCENT_TRUE(orders.IS_WEEKEND(at))", "regions.COUNT(customers)", "ALL(orders.paid)",
        "NUM_UNIQUE(orders.store_id)", "regions.AGE(opened)", "TIME_SINCE_FIRST(orders.at)",
            "MEAN(notes.NUM_WORDS(topic))",
    }  # fmt: skip
    assert names(to_featuretools(imported, SHOP, shop)) == [one.name for one in imported]


def test_features_without_a_counterpart_are_all_named_with_a_reason(shop):
    price = IdentityFeature(shop["orders"].ww["price"])
    channel = IdentityFeature(shop["orders"].ww["channel"])
    at = IdentityFeature(shop["orders"].ww["at"])
    quantity = IdentityFeature(shop["items"].ww["quantity"])
    size = DirectFeature(IdentityFeature(shop["regions"].ww["size"]), "customers")

    def of_orders(base, primitive, **more):
        return AggregationFeature(base, "customers", primitive, **more)

    inner = AggregationFeature(quantity, "orders", ft.primitives.Mean, use_previous="3 days")
    last = AggregationFeature(
        IdentityFeature(shop["items"].ww["at"]), "orders", ft.primitives.TimeSinceLast
    )
    wrong = {
        "MEDIAN(orders.price)": (of_orders(price, ft.primitives.Median), "'median' is not known"),
        "ratio": ((size / size).rename("ratio"), "not known"),
        "two steps": (
            AggregationFeature(quantity, "customers", ft.primitives.Mean, name="two steps"),
            "2 steps at once",
        ),
        "hours": (
            of_orders(at, ft.primitives.TimeSinceLast(unit="hours"), name="hours"),
            "settings of its own: unit='hours'",
        ),
        "four": (
            of_orders(channel, ft.primitives.NMostCommon(n=4), name="four"),
            "settings of its own: n=4",
        ),
        "months": (
            of_orders(price, ft.primitives.Sum, use_previous="2 months", name="months"),
            "no fixed length",
        ),
        "inner window": (of_orders(inner, ft.primitives.Max, name="inner window"), "an inner"),
        "elapsed": (of_orders(last, ft.primitives.Mean, name="elapsed"), "time since"),
        "dear": (
            of_orders(price, ft.primitives.Sum, where=price > 3, name="dear"),
            "not that a column equals",
        ),
        "weekend": (
            of_orders(
                price,
                ft.primitives.Sum,
                where=TransformFeature(at, ft.primitives.Weekday) == 6,
                name="weekend",
            ),
            "not on a column of the rows",
        ),
        "key": (IdentityFeature(shop["customers"].ww["region_id"], name="key"), "no semantic type"),
    }
    fine = of_orders(price, ft.primitives.Sum)
    with pytest.raises(ValueError, match=r"^11 of 12 featuretools features") as refusal:
        from_featuretools([fine, *(definition for definition, _ in wrong.values())], SHOP)
    lines = str(refusal.value).splitlines()[1:]
    for line, (name, (_, reason)) in zip(lines, wrong.items(), strict=True):
        assert line.startswith(f"{name}: ")
        assert reason in line


def test_features_that_featuretools_lacks_are_all_named_with_a_reason(shop):
    week = timedelta(days=7)
    wrong = {
        "NGRAM_HASH": replace(feature([], "tier"), name="text", transform="ngram_hash"),
        "cutoff time": feature([], "cutoff_time", transform="month"),
        "'next 7 days'": feature(["orders"], "price", "sum", window=following(week)),
        "'-14 days to -7 days'": feature(
            ["orders"], "price", "sum", window=Window(-2 * week, -week)
        ),
        "lookback": feature(["orders", "stores", "orders"], "price", "sum", lookback=week),
        "no relationship notes(other_id)": define(
            replace(SHOP, foreign_keys=(reference("notes", "other_id", "customers"),)),
            "customers",
            walk(
                replace(SHOP, foreign_keys=(reference("notes", "other_id", "customers"),)),
                "customers",
                "notes",
            ),
            None,
            ["count"],
        ),
    }
    with pytest.raises(ValueError, match=r"^6 of 7 features have no counterpart") as refusal:
        to_featuretools([feature(["orders"], None, "count"), *wrong.values()], SHOP, shop)
    for reason, refused in wrong.items():
        (line,) = [a for a in str(refusal.value).splitlines() if a.startswith(f"{refused.name}: ")]
        assert reason in line


def test_what_travels_means_the_same_there(shop, tmp_path):
    features = (
        feature(["orders"], None, "count", where=Condition("paid", "true")),
        feature(["orders"], "price", "sum", where=Condition("channel", "a")),
        feature(["orders"], "price", "max", window=trailing(timedelta(hours=100))),
        feature(
            ["orders", "items"], "quantity", "mean", "sum", where=Condition("colour", "red", 1)
        ),
        *(feature(["orders"], "channel", "n_most_common", component=n) for n in range(3)),
        feature(["orders"], "at", "mode", transform="weekday"),
        feature(["orders"], "at", "percent_true", transform="is_weekend"),
        feature(["notes"], "topic", "mean", transform="num_characters"),
        feature(["regions"], "opened", transform="age"),
    )
    seeds = seeds_at(range(8), [day(9), day(21)])
    ours = compute_features(
        SHOP, features, store(shop_frames(5), tmp_path), seeds, entity_table="customers"
    )
    ids = pl.col("entity").cast(pl.String)
    times = seeds.select(id=ids, time="cutoff_time").to_pandas()
    theirs = ft.calculate_feature_matrix(
        to_featuretools(features, SHOP, shop), shop, cutoff_time=times, cutoff_time_in_index=True
    ).loc[list(times.itertuples(index=False, name=None))]
    for one in features:
        found = ours[one.name]
        values = [None if value != value else value for value in theirs[one.name].astype(object)]
        if one.semantic_type is S.NUMERICAL:
            assert found.to_list() == pytest.approx(list(map(_number, values))), one.name
        else:
            assert found.to_list() == [None if value is None else str(value) for value in values]
        assert found.null_count() < len(found), one.name


def _number(value):
    return None if value is None or value is pd.NA else float(value)


def test_a_transform_of_a_parents_value_is_the_parents_transformed_value(shop):
    opened = DirectFeature(IdentityFeature(shop["regions"].ww["opened"]), "customers")
    (imported,) = from_featuretools([TransformFeature(opened, ft.primitives.Age)], SHOP)
    name = "AGE(regions.opened)"
    assert imported == feature(["regions"], "opened", transform="age", name=name)
    (exported,) = to_featuretools([imported], SHOP, shop)
    assert type(exported) is DirectFeature
    assert exported.get_name() == name


def test_a_window_becomes_use_previous(shop):
    (exported,) = to_featuretools(
        [feature(["orders"], "price", "sum", window=trailing(timedelta(hours=36)))], SHOP, shop
    )
    assert exported.get_name() == "SUM(orders.price, 36 hours)"
    assert exported.use_previous == ft.Timedelta(36 * 3600, "s")
    weeks = AggregationFeature(
        IdentityFeature(shop["orders"].ww["price"]),
        "customers",
        ft.primitives.Sum,
        use_previous="2 weeks",
    )
    (imported,) = from_featuretools([weeks], SHOP)
    assert imported.window == trailing(timedelta(days=14))


def test_codes_keep_their_order_and_are_compared_as_codes(tmp_path):
    schema = RelationalSchema(
        "codes",
        (
            table("people", {"id": None}),
            table("calls", {"id": None, "person_id": None, "code": S.CATEGORICAL}),
        ),
        (reference("calls", "person_id", "people"),),
    )
    frames = {
        "people": pl.DataFrame({"id": [0, 1]}),
        "calls": pl.DataFrame({"id": [0, 1, 2], "person_id": [0, 0, 0], "code": [101, 36, None]}),
    }
    path = walk(schema, "people", "calls")
    features = (
        define(schema, "people", path, "code", ["mode"]),
        define(schema, "people", path, None, ["count"], where=Condition("code", "101")),
    )
    entities = entity_set(schema, frames)
    exported = to_featuretools(features, schema, entities)
    assert exported[1].where.primitive.value == 101
    assert from_featuretools(exported, schema) == features
    theirs = ft.calculate_feature_matrix(exported, entities)
    ours = compute_features(
        schema, features, store(frames, tmp_path), seeds_at([0, 1], [day(1)]), entity_table="people"
    )
    assert ours["MODE(calls.code)"].to_list() == ["36", None]
    assert theirs["MODE(calls.code)"].tolist()[0] == 36
    assert ours["COUNT(calls WHERE code = 101)"].to_list() == [1.0, 0.0]
    assert theirs["COUNT(calls WHERE code = 101)"].tolist() == [1, 0]


def test_keys_of_every_shape_are_exchanged():
    schema = RelationalSchema(
        "library",
        (
            table("shelves", {"no": None, "room": None, "width": S.NUMERICAL}, ("room", "no")),
            table("books", {"id": None, "shelf": None, "room": None, "sequel_id": None,
                            "pages": S.NUMERICAL, "genre_code": S.CATEGORICAL}),
            table("loans", {"id": None, "book_id": None, "returned_id": None}),
        ),
        (
            ForeignKey("books", ("shelf", "room"), "shelves", ("no", "room")),
            reference("books", "sequel_id", "books"),
            reference("loans", "book_id", "books"),
            reference("loans", "returned_id", "books"),
        ),
    )  # fmt: skip
    frames = {
        "shelves": typed(schema, "shelves", {
            "no": [1, 2, 1], "room": [0, 0, 1], "width": [10.0, 20.0, 30.0]}),
        "books": pl.DataFrame({
            "id": [0, 1, 2], "shelf": [2, 1, 2], "room": [0, 1, None], "sequel_id": [1, None, 1],
            "pages": [100, 200, 300], "genre_code": [7, 8, 7]}),
        "loans": typed(schema, "loans", {
            "id": [0, 1], "book_id": [0, 1], "returned_id": [None, 1]}),
    }  # fmt: skip
    entities = entity_set(schema, frames)
    features = enumerate_features(
        schema, "books", FeatureConfig(depth=1, primitives=("count", "sum"))
    )
    exported = to_featuretools(features, schema, entities)
    assert from_featuretools(exported, schema) == features
    values = ft.calculate_feature_matrix(exported, entities).loc[["0", "1", "2"]]
    found = {
        name: values[name].astype(float).fillna(-1).tolist()
        for name in values
        if "genre_code" not in name
    }
    assert values["genre_code"].tolist() == [7, 8, 7]
    assert found == {
        "pages": [100.0, 200.0, 300.0],
        "shelves.width": [20.0, 30.0, -1.0],
        "books[sequel_id].pages": [200.0, -1.0, 200.0],
        "COUNT(books[sequel_id])": [0.0, 2.0, 0.0],
        "SUM(books[sequel_id].pages)": [0.0, 400.0, 0.0],
        "COUNT(loans[book_id])": [1.0, 1.0, 0.0],
        "COUNT(loans[returned_id])": [0.0, 1.0, 0.0],
    }
