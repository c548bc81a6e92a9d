"""The same names give the same numbers as featuretools, on random databases."""

import featuretools as ft
import numpy as np
import pandas as pd
import pytest
from woodwork.logical_types import BooleanNullable, Categorical, Datetime, Double, Unknown

from models.dfs import FeatureConfig, compute_features, enumerate_features
from tests.models.dfs.shop import SHOP, S, day, seeds_at, shop_frames, store

LOGICAL = {
    S.NUMERICAL: Double,
    S.CATEGORICAL: Categorical,
    S.BOOLEAN: BooleanNullable,
    S.TIMESTAMP: Datetime,
}
PRIMITIVES = (
    "count", "sum", "mean", "std", "min", "max", "percent_true", "mode", "num_unique", "last",
    "time_since_last",
)  # fmt: skip
# One of each primitive and kind of path, so that agreement on names cannot be agreement on nothing.
EXPECTED = {
    "age", "tier", "regions.size", "COUNT(orders)", "SUM(orders.price)", "STD(orders.price)",
    "MODE(orders.channel)", "NUM_UNIQUE(orders.channel)", "PERCENT_TRUE(orders.paid)",
    "LAST(orders.price)", "LAST(orders.channel)", "LAST(notes.score)", "TIME_SINCE_LAST(orders.at)",
    "MEAN(orders.stores.area)", "MODE(orders.stores.kind)", "PERCENT_TRUE(orders.stores.online)",
    "LAST(orders.stores.area)", "MEAN(orders.COUNT(items))", "MAX(orders.SUM(items.quantity))",
    "STD(orders.MEAN(items.quantity))", "MODE(orders.MODE(items.colour))",
    "MEAN(orders.MIN(items.quantity))", "MEAN(orders.PERCENT_TRUE(items.returned))",
    "LAST(orders.paid)", "MEAN(orders.NUM_UNIQUE(items.colour))",
    "MEAN(orders.STD(items.quantity))", "COUNT(notes)", "NUM_UNIQUE(notes.topic)",
    "NUM_UNIQUE(orders.stores.kind)", "STD(orders.stores.area)",
}  # fmt: skip


def entity_set(frames):
    entities = ft.EntitySet("shop")
    for table in SHOP.tables:
        logical = {
            column.name: LOGICAL[column.semantic_type]
            for column in table.columns
            if column.semantic_type
        }
        frame = frames[table.name].to_pandas()
        for name in frame.columns:
            if name == "id" or name.endswith("_id"):
                # Integer keys with NULLs do not pass woodwork; strings do.
                frame[name] = [None if pd.isna(key) else f"k{int(key)}" for key in frame[name]]
                logical[name] = Unknown
        entities.add_dataframe(
            frame, table.name, index="id", time_index=table.time_column, logical_types=logical
        )
    for key in SHOP.foreign_keys:
        entities.add_relationship(key.parent, "id", key.table, key.columns[0])
    return entities


def as_comparable(column):
    numbers = pd.to_numeric(column, errors="coerce") if column.dtype != "category" else None
    if numbers is not None and numbers.notna().sum() == column.notna().sum():
        return numbers.astype("float64").to_numpy()
    return column.astype(object).where(column.notna(), None).to_numpy()


@pytest.mark.parametrize("seed", [3, 11])
def test_features_equal_those_of_featuretools(tmp_path, seed):
    frames = shop_frames(seed)
    seeds = seeds_at(range(8), [day(4), day(15), day(40)])
    features = enumerate_features(SHOP, "customers", FeatureConfig(primitives=PRIMITIVES))
    ours = compute_features(
        SHOP, features, store(frames, tmp_path), seeds, entity_table="customers"
    )

    definitions = ft.dfs(
        entityset=entity_set(frames),
        target_dataframe_name="customers",
        agg_primitives=list(PRIMITIVES),
        trans_primitives=[],
        max_depth=2,
        features_only=True,
    )
    names = {feature.name for feature in features}
    shared = [definition for definition in definitions if definition.get_name() in names]
    cutoffs = seeds.select(id="entity", time="cutoff_time").to_pandas()
    cutoffs["id"] = [f"k{key}" for key in cutoffs["id"]]
    theirs = ft.calculate_feature_matrix(
        shared, entity_set(frames), cutoff_time=cutoffs, cutoff_time_in_index=True
    ).loc[list(cutoffs.itertuples(index=False, name=None))]

    assert {definition.get_name() for definition in shared} >= EXPECTED
    for name in theirs.columns:
        expected = as_comparable(theirs[name])
        if expected.dtype == object:
            assert list(expected) == ours[name].to_list(), name
        else:
            # Of a parent that is missing or not visible, featuretools counts and sums 0; here it
            # is NULL, as everything else of such a parent.
            default = 0.0 if name.startswith(("regions.COUNT", "regions.SUM")) else np.nan
            found = ours[name].cast(float).fill_null(default).to_numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-9, err_msg=name)
