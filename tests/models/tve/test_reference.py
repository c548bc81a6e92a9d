"""The paper's construction: its dimensions, names and order, and its scaling by hand."""

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest

from models.database.schema import ForeignKey, RelationalSchema
from models.tve.paths import target_paths
from models.tve.reference import COMPONENTS, _correspondence, reference_vectors
from models.tve.task_vectors import Mode, TaskVectorBuilder, TaskVectorConfig, read_task_vectors
from tests.models.dfs.shop import S, table

START = datetime(2024, 1, 1)
TIME = S.TIMESTAMP


def keyed(child, parent):
    return ForeignKey(child, (f"{parent}_id",), parent, ("id",))


AMAZON = RelationalSchema(
    "amazon",
    (
        table("customer", {"id": None, "name": S.TEXT}),
        table("product", {"id": None, "title": S.TEXT, "price": S.NUMERICAL}),
        table(
            "review",
            {"id": None, "customer_id": None, "product_id": None, "at": TIME,
             "summary": S.TEXT, "rating": S.NUMERICAL, "verified": S.BOOLEAN},
            time="at",
        ),
    ),
    (keyed("review", "customer"), keyed("review", "product")),
)  # fmt: skip
CUSTOMER_CATEGORIES = ("FN", "Active", "club_member_status", "fashion_news_frequency")
ARTICLE_CATEGORIES = tuple(f"category{at}" for at in range(12))
HM = RelationalSchema(
    "hm",
    (
        table(
            "customer",
            {"id": None, **dict.fromkeys(CUSTOMER_CATEGORIES, S.CATEGORICAL), "age": S.NUMERICAL},
        ),
        table("article", {"id": None, **dict.fromkeys(ARTICLE_CATEGORIES, S.CATEGORICAL)}),
        table(
            "transactions",
            {"id": None, "customer_id": None, "article_id": None, "at": TIME,
             "price": S.NUMERICAL, "sales_channel_id": S.CATEGORICAL},
            time="at",
        ),
    ),
    (keyed("transactions", "customer"), keyed("transactions", "article")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("schema", "entity", "depth", "numbers", "modes"),
    [
        (AMAZON, "customer", 1, 8, 1),
        (AMAZON, "customer", 2, 30, 3),
        (AMAZON, "product", 1, 8, 1),
        (AMAZON, "product", 2, 24, 3),
        (HM, "customer", 1, 8, 1),
        (HM, "article", 1, 8, 1),
        (HM, "article", 2, 38, 7),
        # 48 in the paper's lists, which leave out the modes of two columns and count twelve.
        (HM, "customer", 2, 48, 15),
    ],
)
def test_the_numeric_columns_are_as_many_as_in_the_papers_lists(
    schema, entity, depth, numbers, modes
):
    paths = target_paths(schema, entity, depth, 99)
    found = reference_vectors(schema, entity, paths, timedelta(7), timedelta(7), {})
    assert len(found.numbers) == numbers
    assert len(found.modes) == modes
    names = [one.name for one in (*found.numbers, *found.modes)]
    assert len(set(names)) == len(names)


def test_columns_are_named_by_path_aggregate_table_occurrence_and_column():
    paths = target_paths(AMAZON, "customer", 2, 99)
    found = reference_vectors(AMAZON, "customer", paths, timedelta(7), timedelta(7), {})
    names = [one.name for one in found.numbers]
    assert names[:8] == [
        *(
            f"customer_review__{aggregate}__review__0__rating"
            for aggregate in ("mean", "min", "max", "sum", "count", "std")
        ),
        "customer_review__count__review__0__verified",
        "customer_review__num_unique__review__0__verified",
    ]
    assert "customer_review_product__sum__product__0__price" in names
    by_customer = next(n for n in names if n.startswith("customer_review_review_0__mean"))
    assert by_customer == "customer_review_review_0__mean__review__1__rating"
    first = next(one for one in found.numbers if one.name == by_customer)
    assert "customer" in first.features[0].name.split(".")


def amazon_files(folder, reviews=60, seed=4):
    random = np.random.default_rng(seed)
    frames = {
        "customer": pl.DataFrame({"id": range(6), "name": ["a b"] * 6}),
        "product": pl.DataFrame({"id": range(3), "title": ["t"] * 3, "price": [1.0, None, 5.0]}),
        "review": pl.DataFrame(
            {
                "id": range(reviews),
                "customer_id": random.integers(0, 6, reviews),
                "product_id": random.integers(0, 3, reviews),
                "at": [START + timedelta(hours=int(h)) for h in random.integers(0, 800, reviews)],
                "summary": ["fine"] * reviews,
                "rating": random.integers(1, 6, reviews).astype(float),
                "verified": random.integers(0, 2, reviews).astype(bool),
            }
        ).with_columns(pl.col("at").cast(pl.Datetime("us"))),
    }
    files = {name: folder / f"{name}.parquet" for name in frames}
    for name, frame in frames.items():
        frame.write_parquet(files[name])
    return frames, files


def reference(files, folder, schema=AMAZON, entity="customer", depth=2):
    config = TaskVectorConfig(mode=Mode.REFERENCE, tile=timedelta(days=2), depth=depth)
    builder = TaskVectorBuilder(schema, entity, files, config)
    folder.mkdir()
    builder.build(START + timedelta(days=32), folder)
    return read_task_vectors(folder)


@pytest.mark.parametrize(
    ("entity", "depth", "width"),
    [("customer", 1, 11), ("customer", 2, 37), ("product", 1, 11), ("product", 2, 31)],
)
def test_vectors_of_the_amazon_schema_have_the_papers_dimension(tmp_path, entity, depth, width):
    _, files = amazon_files(tmp_path)
    vectors = reference(files, tmp_path / "out", AMAZON, entity, depth)
    assert len(vectors.names) == width
    assert vectors.names[-1] == "label"
    values, mask = vectors.matrices()
    assert mask.all()
    assert np.isfinite(values).all()


def test_scaling_is_min_max_over_active_training_rows_and_the_rest_is_zero(tmp_path):
    frames, files = amazon_files(tmp_path)
    vectors = reference(files, tmp_path / "out")
    frame, tile = vectors.frame, timedelta(days=2)
    first = dict(frames["review"].group_by("customer_id").agg(pl.col("at").min()).iter_rows())
    sums = []
    for row in frame.iter_rows(named=True):
        begin, end = row["cutoff_time"], row["cutoff_time"] + tile
        assert first[row["entity"]] <= end, "newborn entities belong to it"
        inside = frames["review"].filter(
            pl.col("customer_id") == row["entity"], pl.col("at") > begin, pl.col("at") <= end
        )
        assert row["label"] == float(inside.is_empty())
        assert row["active"] == (not inside.is_empty())
        sums.append(inside["rating"].sum() if inside.height else None)
    assert any(first[row[0]] > row[1] for row in frame.select("entity", "cutoff_time").iter_rows())
    fitted = [
        value
        for value, active, split in zip(sums, frame["active"], frame["split"], strict=True)
        if active and split == "train"
    ]
    low, high = min(fitted), max(fitted)
    wanted = [0.0 if value is None else (value - low) / (high - low) for value in sums]
    found = frame["customer_review__sum__review__0__rating"].to_list()
    assert found == pytest.approx(wanted, abs=1e-6)
    assert frame["weight"].unique().to_list() == [1.0]
    idle = frame.filter(~pl.col("active")).select(vectors.names[:-1])
    assert idle.height
    assert idle.sum().sum_horizontal().item() == 0.0


def test_many_modes_become_the_coordinates_of_a_correspondence_analysis(tmp_path):
    """Coordinates keep the chi-square distances between rows, which the one-hot columns define."""
    random = np.random.default_rng(0)
    codes = [random.integers(0, 25, 400) for _ in range(3)]
    shares = np.column_stack([np.eye(25)[code] for code in codes])
    fitted = np.arange(400) < 300
    found = _correspondence(shares, fitted)
    assert found.shape == (400, COMPONENTS)
    rows = shares / 3
    weighted = (rows - rows[fitted].mean(axis=0)) / np.sqrt(rows[fitted].mean(axis=0))
    distance = np.linalg.norm(weighted[:50, None] - weighted[None, :50], axis=2)
    coordinates = np.linalg.norm(found[:50, None] - found[None, :50], axis=2)
    assert np.corrcoef(distance.ravel(), coordinates.ravel())[0, 1] > 0.98
