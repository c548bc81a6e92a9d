"""A small league with what is hard about databases, the same rows in every run.

Teams have string keys, no time, and refer to each other; players have a time, some of them a missing
one; matches have a composite key; plays refer to players and matches, some to none that exists;
nothing is in the table of injuries.
"""

from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import torch

from models.database.schema import Column, ForeignKey, RelationalSchema, SemanticType, Table
from models.rdl.build import build_graph
from models.rdl.graph import as_microseconds
from models.rdl.rows import row_inputs
from models.rdl.statistics import graph_statistics

S = SemanticType
START = datetime(2024, 1, 1)
HALF_DAYS = 60
MICROSECOND = timedelta(microseconds=1)


def _table(name, columns, key, time=None):
    described = tuple(Column(column, "", kind) for column, kind in columns.items())
    return Table(name, described, key, time)


LEAGUE = RelationalSchema(
    "league",
    (
        _table("teams", {"name": None, "colour": S.CATEGORICAL, "rival": None}, ("name",)),
        _table(
            "players",
            {
                "id": None,
                "team": None,
                "joined": S.TIMESTAMP,
                "born": S.TIMESTAMP,
                "height": S.NUMERICAL,
                "position": S.CATEGORICAL,
                "bio": S.TEXT,
                "passport": S.IDENTIFIER,
            },
            ("id",),
            "joined",
        ),
        _table(
            "matches",
            {"season": None, "number": None, "at": S.TIMESTAMP, "crowd": S.NUMERICAL},
            ("season", "number"),
            "at",
        ),
        _table(
            "plays",
            {
                "id": None,
                "player": None,
                "of_number": None,
                "of_season": None,
                "at": S.TIMESTAMP,
                "fair": S.BOOLEAN,
                "points": S.NUMERICAL,
                "note": S.TEXT,
            },
            ("id",),
            "at",
        ),
        _table(
            "injuries",
            {
                "id": None,
                "player": None,
                "at": S.TIMESTAMP,
                "part": S.CATEGORICAL,
                "report": S.TEXT,
            },
            ("id",),
            "at",
        ),
    ),
    (
        ForeignKey("teams", ("rival",), "teams", ("name",)),
        ForeignKey("players", ("team",), "teams", ("name",)),
        ForeignKey("plays", ("player",), "players", ("id",)),
        # The parts of a key in another order than the parent's.
        ForeignKey("plays", ("of_number", "of_season"), "matches", ("number", "season")),
        ForeignKey("injuries", ("player",), "players", ("id",)),
    ),
)
TYPES = {
    "teams": {"name": pl.String, "colour": pl.String, "rival": pl.String},
    "players": {
        "id": pl.Int64,
        "team": pl.String,
        "joined": pl.Datetime("us"),
        "born": pl.Datetime("us"),
        "height": pl.Float64,
        "position": pl.String,
        "bio": pl.String,
        "passport": pl.String,
    },
    "matches": {
        "season": pl.String,
        "number": pl.Int32,
        "at": pl.Datetime("us"),
        "crowd": pl.Int64,
    },
    "plays": {
        "id": pl.Int64,
        "player": pl.Int64,
        "of_number": pl.Int32,
        "of_season": pl.String,
        "at": pl.Datetime("us"),
        "fair": pl.Boolean,
        "points": pl.Float64,
        "note": pl.String,
    },
    "injuries": {
        "id": pl.Int64,
        "player": pl.Int64,
        "at": pl.Datetime("us"),
        "part": pl.String,
        "report": pl.String,
    },
}


def half_day(number):
    """A time so many half days after the start."""
    return START + number * timedelta(hours=12)


def microseconds(*times):
    """Times as int64 microseconds."""
    return as_microseconds(pl.Series(times, dtype=pl.Datetime("us")))


def league_frames(seed=0, plays=150):
    """The tables as polars frames."""
    random = np.random.default_rng(seed)

    def some(choices, rows, null=0.15):
        picked, gone = random.integers(0, len(choices), rows), random.random(rows) < null
        return [None if g else choices[p] for p, g in zip(picked, gone, strict=True)]

    times = [half_day(number) for number in range(HALF_DAYS)]
    teams = ["Ånd", "bees", "C'est", "dogs", "e"]
    matches = [(season, number) for season in ("23/24", "24/25") for number in range(6)]
    played = some([*matches, ("23/24", 99)], plays)
    rows = {
        "teams": {
            "name": teams,
            "colour": ["red", "red", "blue", None, "red"],
            "rival": ["bees", "Ånd", "C'est", None, "nobody"],
        },
        "players": {
            "id": [7 * number % 23 for number in range(12)],
            "team": some([*teams, "nobody"], 12),
            "joined": some(times[:20], 12),
            "born": some([START - timedelta(days=9000 + number) for number in range(9)], 12),
            "height": some([1.5, 1.75, 1.8, 2.1], 12),
            "position": some(["front", "back"], 12),
            "bio": some(["quick and tall", "né à Ωville", ""], 12),
            "passport": [f"P{number}" for number in range(12)],
        },
        "matches": {
            "season": [season for season, _ in matches],
            "number": [number for _, number in matches],
            "at": some(times, len(matches)),
            "crowd": some([10, 2000, 35], len(matches)),
        },
        "plays": {
            "id": random.permutation(plays),
            "player": some([7 * number % 23 for number in range(13)], plays),
            "of_number": [match and match[1] for match in played],
            "of_season": [match and match[0] for match in played],
            "at": some(times, plays, null=0.05),
            "fair": some([True, False], plays),
            "points": some([0.0, 1.0, 2.5, float("inf"), float("nan"), -3.0], plays),
            "note": some(["two words", "one", "one more note"], plays),
        },
        "injuries": {"id": [], "player": [], "at": [], "part": [], "report": []},
    }
    return {name: pl.DataFrame(columns, schema=TYPES[name]) for name, columns in rows.items()}


def store(frames, folder: Path):
    """The frames as Parquet, by table."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {name: folder / f"{name}.parquet" for name in frames}
    for name, frame in frames.items():
        frame.write_parquet(files[name], row_group_size=20)
    return files


def league_graph(folder: Path, frames=None, **settings):
    """The temporal graph of the league."""
    return build_graph(LEAGUE, store(frames or league_frames(), folder), **settings)


def league_inputs(graph, until=None):
    """Statistics of what is visible at a time (by default everything), and the rows' inputs."""
    limit = microseconds(until or half_day(HALF_DAYS)).item()
    statistics = graph_statistics(graph, limit)
    return statistics, row_inputs(graph, statistics)


def assert_same_graph(one, other):
    """Bit for bit the same graph."""
    assert one.foreign_keys == other.foreign_keys
    assert list(one.tables) == list(other.tables)
    assert torch.equal(one.times, other.times)
    for first, second in zip(one.adjacency, other.adjacency, strict=True):
        for part in ("parent", "children", "first", "order"):
            assert same(getattr(first, part), getattr(second, part)), part
    for name, table in one.tables.items():
        assert_same_table(table, other.tables[name])


def assert_same_table(one, other):
    assert (one.name, one.rows) == (other.name, other.rows)
    assert (one.time is None) == (other.time is None)
    assert one.time is None or same(one.time, other.time)
    assert same(one.time_rank, other.time_rank)
    assert one.numerical_columns == other.numerical_columns
    assert one.timestamp_columns == other.timestamp_columns
    assert same(one.numerical, other.numerical)
    assert same(one.timestamps, other.timestamps)
    assert one.keys.equals(other.keys)
    assert one.keys.schema == other.keys.schema
    for first, second in ((one.categorical, other.categorical), (one.text, other.text)):
        assert list(first) == list(second)
        for column, values in first.items():
            assert same(values.codes, second[column].codes), column
            assert values.values.to_list() == second[column].values.to_list()
            assert values.values.dtype == second[column].values.dtype
            embeddings = second[column].embeddings
            assert (values.embeddings is None) == (embeddings is None)
            assert values.embeddings is None or same(values.embeddings, embeddings), column


def same(one, other):
    """Equal in type, shape and every bit (NaN equals NaN)."""
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if one.is_floating_point():
        return torch.equal(one.isnan(), other.isnan()) and torch.equal(
            one.nan_to_num(), other.nan_to_num()
        )
    return torch.equal(one, other)
