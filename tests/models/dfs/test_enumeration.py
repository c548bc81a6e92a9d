"""Which features a schema offers, under which names and budget."""

import json
from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest

from models.aggregation.features import Condition
from models.aggregation.paths import enumerate_paths
from models.aggregation.windows import PAST, trailing
from models.database.schema import RelationalSchema, SemanticType
from models.dfs import (
    FeatureConfig,
    compute_features,
    enumerate_features,
    explain,
    feature_from_plain,
)
from models.dfs.config import PRIMITIVES
from models.dfs.enumeration import offer_features
from tests.models.dfs.shop import SHOP, day, reference, seeds_at, shop_frames, store, table


def names(entity="customers", schema=SHOP, hidden=(), **config):
    features = enumerate_features(schema, entity, FeatureConfig(**config), hidden)
    return [feature.name for feature in features]


def test_names_are_unique_and_their_order_is_fixed():
    found = names(depth=3, max_features=10_000, windows=(timedelta(days=7),))
    assert len(found) == len(set(found)) > 200
    assert found == names(depth=3, max_features=10_000, windows=(timedelta(days=7),))


def test_depth_bounds_the_number_of_foreign_keys():
    of_seed = ["MONTH(cutoff_time)", "WEEKDAY(cutoff_time)", "TIME_SINCE(visible_until)"]
    assert names(depth=0) == ["age", "tier", *of_seed]
    assert "MEAN(orders.stores.area)" not in names(depth=1)
    assert {"MEAN(orders.stores.area)", "MEAN(orders.COUNT(items))"} <= set(names(depth=2))
    assert "MEAN(orders.MAX(items.quantity))" in names(depth=2)
    assert "regions.MEAN(customers.COUNT(orders))" in names(depth=3)


def test_a_budget_keeps_shallow_features_and_lets_paths_take_turns():
    everything, few = names(), names(max_features=20)
    assert len(few) == 20
    assert few == [name for name in everything if name in few]
    assert set(names(depth=0)) <= set(few)
    assert {"COUNT(orders)", "COUNT(notes)", "regions.size"} <= set(few)
    assert set(names(max_features=10)) <= set(few)


def test_a_child_is_not_left_by_the_key_it_was_reached_by():
    assert not [name for name in names(depth=3) if "orders.customers" in name]
    assert "regions.COUNT(customers)" in names()


def test_hidden_columns_are_neither_read_nor_walked():
    hidden = [("orders", "price"), ("orders", "store_id")]
    found = names(hidden=hidden)
    assert found
    assert not [name for name in found if "price" in name or "store" in name]


def changed(table, column, **changes):
    """The shop with other properties of a column."""
    columns = tuple(
        replace(found, **changes) if found.name == column else found
        for found in SHOP.table(table).columns
    )
    return SHOP.with_tables(
        replace(found, columns=columns) if found.name == table else found for found in SHOP.tables
    )


def test_keys_identifiers_and_unsupported_types_are_not_aggregated():
    assert not [name for name in names() if "_id" in name and "NUM_UNIQUE" not in name]
    assert "NUM_UNIQUE(orders.store_id)" in names()
    for changes in (
        {"semantic_type": SemanticType.IDENTIFIER},
        {"semantic_type": None},
        {"sql_type": "DOUBLE[]"},
        {"sql_type": "VARCHAR"},
    ):
        assert not [
            name for name in names(schema=changed("orders", "price", **changes)) if "price" in name
        ]


def test_definitions_survive_json():
    features = enumerate_features(SHOP, "customers", FeatureConfig(windows=(timedelta(hours=36),)))
    plain = json.loads(json.dumps([feature.to_plain() for feature in features]))
    assert tuple(map(feature_from_plain, plain)) == features
    assert len(set(features)) == len(features)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"primitives": ("Maen",)}, r"'Maen', did you mean 'mean'\?; known: count, mean"),
        ({"primitives": ("quux",)}, r"unknown primitives: 'quux'; known: .*ngram_hash"),
        ({"where_primitives": ("weekday",)}, "unknown primitives: 'weekday'"),
        ({"primitives": ("sum", "sum")}, r"primitives are listed twice: \['sum'\]"),
        ({"depth": -1}, "depth must be at least 0"),
        ({"max_features": 0}, "max_features and max_paths at least 1"),
        ({"max_paths": 0}, "max_features and max_paths at least 1"),
        ({"windows": (timedelta(0),)}, "windows must be positive"),
    ],
)
def test_unknown_primitives_and_senseless_settings_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        FeatureConfig(**wrong)


def test_unknown_tables_and_columns_are_refused():
    with pytest.raises(KeyError, match="no table 'nowhere'"):
        enumerate_features(SHOP, "nowhere")
    with pytest.raises(KeyError, match="no column 'colour'"):
        enumerate_features(SHOP, "customers", interesting_values={("orders", "colour"): ("red",)})


def test_every_primitive_is_enumerated_over_the_types_that_it_reads():
    schema = changed("notes", "topic", semantic_type=SemanticType.TEXT)
    found = set(names(schema=schema, depth=1, primitives=PRIMITIVES, max_features=10_000))
    assert found >= {
        "TREND(orders.price, at)", "SKEW(notes.score)", "VARIANCE(orders.price)",
        "FIRST(orders.paid)", "TIME_SINCE_FIRST(orders.at)", "AVG_TIME_BETWEEN(orders.at)",
        "ENTROPY(orders.channel)", "NUM_TRUE(orders.paid)", "ANY(orders.paid)", "ALL(orders.paid)",
        "regions.TIME_SINCE(opened)", "MODE(orders.WEEKDAY(at))", "ENTROPY(orders.HOUR(at))",
        "PERCENT_TRUE(orders.IS_WEEKEND(at))", "MEAN(notes.NUM_CHARACTERS(topic))",
        "LAST(orders.YEAR(at))", "regions.AGE(opened)", "regions.DAY(opened)", "COUNT(notes)",
    }  # fmt: skip
    # Without event times there is no trend; the transforms of a time are no numbers.
    assert not [name for name in found if name.startswith(("TREND(notes", "TIME_SINCE_LAST(notes"))]
    assert "MEAN(orders.WEEKDAY(at))" not in found
    # What depends on the cutoff is not aggregated, and the event time itself is no value.
    assert not [name for name in found if "orders.TIME_SINCE(" in name or "orders.AGE(" in name]
    assert not [name for name in found if name in ("regions.opened", "LAST(orders.at)")]


def test_a_trend_of_a_parents_value_goes_by_the_time_of_the_rows():
    found = names(primitives=("trend", "time_since_last", "avg_time_between"))
    assert "TREND(orders.stores.area, at)" in found
    assert not [name for name in found if name.startswith("TIME_SINCE_LAST(orders.stores")]
    assert not [name for name in found if "orders.TREND" in name or "orders.AVG_TIME" in name]


def test_several_values_are_a_feature_each():
    schema = changed("notes", "topic", semantic_type=SemanticType.TEXT)
    features = enumerate_features(
        schema,
        "customers",
        FeatureConfig(
            depth=1,
            primitives=("mean", "n_most_common", "ngram_hash"),
            windows=(timedelta(days=2),),
        ),
    )
    by_name = {feature.name: feature for feature in features}
    for position in range(3):
        top = by_name[f"N_MOST_COMMON(orders.channel)[{position}]"]
        assert (top.component, top.semantic_type) == (position, SemanticType.CATEGORICAL)
    assert by_name["N_MOST_COMMON(orders.channel, 2 days)[2]"].window == trailing(timedelta(days=2))
    hashed = [name for name in by_name if "NGRAM_HASH" in name]
    assert hashed == [f"MEAN(notes.NGRAM_HASH(topic))[{position}]" for position in range(8)]
    assert by_name[hashed[3]].semantic_type is SemanticType.NUMERICAL
    assert len(by_name) == len(features)
    of_the_note = names("notes", schema, depth=0, primitives=("ngram_hash",))
    assert of_the_note == ["score", *(f"NGRAM_HASH(topic)[{position}]" for position in range(8))]


def test_transforms_add_nothing_to_the_depth_and_are_read_through_parents():
    found = names("orders", depth=1, primitives=("weekday", "mode"))
    assert {"WEEKDAY(at)", "stores.WEEKDAY(opened)", "WEEKDAY(cutoff_time)"} <= set(found)
    assert "MODE(items.WEEKDAY(at))" in found
    assert "MODE(orders.stores.WEEKDAY(opened))" in names(primitives=("mode", "weekday"))
    assert "MODE(orders.MODE(items.WEEKDAY(at)))" in names(primitives=("mode", "weekday"))


VALUES = {
    ("orders", "channel"): ("b", "a"),
    ("orders", "paid"): ("true",),
    ("stores", "kind"): ("x",),
}


def conditional(**config):
    hidden = config.pop("hidden", ())
    config = FeatureConfig(max_features=10_000, **config)
    features = enumerate_features(SHOP, "customers", config, hidden, VALUES)
    return {feature.name: feature for feature in features if feature.where is not None}


def test_conditions_are_on_the_child_rows_own_columns_and_over_the_whole_past():
    found = conditional(windows=(timedelta(days=3),))
    assert {feature.primitives for feature in found.values()} == {("count",), ("mean",)}
    assert {feature.path[0].target for feature in found.values()} == {"orders"}
    assert all(feature.window == PAST for feature in found.values())
    assert {
        "COUNT(orders WHERE channel = b)", "COUNT(orders WHERE paid = true)",
        "MEAN(orders.price WHERE channel = a)", "MEAN(orders.stores.area WHERE channel = a)",
    } <= set(found)  # fmt: skip
    assert found["COUNT(orders WHERE channel = b)"].where == Condition("channel", "b")
    # Two steps towards children have no conditions.
    assert not [name for name in found if "items" in name]
    assert not [name for name in names(max_features=10_000) if "WHERE" in name]


def test_conditions_come_last_take_the_asked_primitives_and_skip_their_own_column():
    found = conditional(primitives=("count", "num_unique"), where_primitives=("num_unique", "sum"))
    assert {feature.primitives for feature in found.values()} == {("num_unique",)}
    assert "NUM_UNIQUE(orders.channel WHERE paid = true)" in found
    assert "NUM_UNIQUE(orders.channel WHERE channel = a)" not in found
    assert "NUM_UNIQUE(orders.stores.kind WHERE channel = a)" in found
    every = [f.name for f in enumerate_features(SHOP, "customers", interesting_values=VALUES)]
    of_orders = [name for name in every if "(orders" in name and "stores" not in name]
    first = next(at for at, name in enumerate(of_orders) if "WHERE" in name)
    assert first > of_orders.index("TIME_SINCE_LAST(orders.at)")


def test_hidden_columns_are_no_conditions():
    hidden = [("orders", "channel")]
    assert {feature.where.column for feature in conditional(hidden=hidden).values()} == {"paid"}


def test_a_hidden_event_time_orders_rows_but_is_not_read():
    found = names(hidden=[("orders", "at")], primitives=PRIMITIVES, windows=(timedelta(days=3),))
    assert "SUM(orders.price, 3 days)" in found
    of_orders = [name for name in found if "orders." in name and "items" not in name]
    assert of_orders
    assert not [
        name for name in of_orders if "orders.at" in name or "(at)" in name or "TREND" in name
    ]


def test_the_budget_says_how_many_there_were():
    everything = offer_features(SHOP, "customers", FeatureConfig(max_features=10_000))
    few = offer_features(SHOP, "customers", FeatureConfig(max_features=20))
    assert everything.offered == len(everything.features)
    assert (few.offered, few.paths, len(few.features)) == (everything.offered, everything.paths, 20)
    assert few.paths == len(enumerate_paths(SHOP, "customers", 2))


def test_too_many_paths_are_refused_before_they_are_listed():
    tables = [table(f"t{number}", {"id": None}) for number in range(40)]
    keys = [reference(f"t{a}", f"t{b}_id", f"t{b}") for a in range(40) for b in range(40) if a != b]
    dense = RelationalSchema("dense", tuple(tables), tuple(keys))
    with pytest.raises(
        ValueError, match=r"474,592 schema paths of depth 3 .*max_paths=10,000: use"
    ):
        enumerate_features(dense, "t0", FeatureConfig(depth=3))
    assert len(names("t0", dense, depth=1, max_paths=79, primitives=("count",))) == 39
    with pytest.raises(ValueError, match="more than max_paths=78"):
        names("t0", dense, depth=1, max_paths=78)


def test_a_table_that_refers_to_itself_is_walked_in_both_directions():
    schema = RelationalSchema(
        "staff",
        (table("staff", {"id": None, "boss_id": None, "pay": SemanticType.NUMERICAL}),),
        (reference("staff", "boss_id", "staff"),),
    )
    found = names("staff", schema, depth=3, primitives=("count", "sum"))
    assert {
        "staff[boss_id].staff[boss_id].pay", "COUNT(staff[boss_id])",
        "SUM(staff[boss_id].COUNT(staff[boss_id]))", "staff[boss_id].SUM(staff[boss_id].pay)",
        "SUM(staff[boss_id].SUM(staff[boss_id].SUM(staff[boss_id].pay)))",
    } <= set(found)  # fmt: skip
    assert len(found) == len(set(found))


def test_malformed_seeds_are_refused(tmp_path):
    files = store(shop_frames(1), tmp_path)
    seeds = seeds_at(range(3), [day(1)])
    features = enumerate_features(SHOP, "customers", FeatureConfig(depth=0))
    for wrong in (
        seeds.drop("entity"),
        seeds.with_columns(row_id=0),
        seeds.with_columns(visible_until=day(2)),
        seeds.with_columns(entity=None),
    ):
        with pytest.raises(ValueError, match="seeds"):
            compute_features(SHOP, features, files, wrong, entity_table="customers")


def test_the_explained_sql_gives_the_computed_values(tmp_path):
    files, seeds = store(shop_frames(9), tmp_path), seeds_at(range(8), [day(9), day(18)])
    features = enumerate_features(SHOP, "customers", FeatureConfig(windows=(timedelta(days=5),)))
    computed = compute_features(SHOP, features, files, seeds, entity_table="customers")
    for feature, explained in zip(
        features[::7], explain(SHOP, features[::7], "customers"), strict=True
    ):
        connection = duckdb.connect()
        connection.execute("CREATE SCHEMA source")
        for name, file in files.items():
            connection.execute(f"CREATE VIEW source.{name} AS FROM '{file}'")
        connection.register("frame", seeds.to_arrow())
        connection.execute("CREATE TABLE seeds AS FROM frame")
        found = connection.execute(explained.sql).pl()["f0"]
        assert found.to_list() == computed[feature.name].to_list(), explained.sql
        assert explained.path.startswith("customers")
