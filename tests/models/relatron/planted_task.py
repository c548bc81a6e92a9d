"""Small planted tasks with their signals' inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import polars as pl

from models.dfs.config import FeatureConfig
from models.dfs.feature_table import build_feature_table, read_feature_table
from models.rdl.build import build_graph
from models.relatron.inputs import SignalConfig, SignalInputs
from models.synthetic.dials.dials import Dials
from models.synthetic.dials.plant import PlantedTask, plant
from models.synthetic.relational_schema import relational_schema, write_tables
from models.synthetic.tasks.labels import label_table

PLAIN = Dials(
    homophily=0.0,
    autocorrelation=0.0,
    interaction=0.2,
    noise=0.2,
    entities=300,
    cutoffs=5,
    rows=1200,
    communities=10,
    degree=6,
    distractors=2,
)
QUICK = SignalConfig(draws=40, probe_rounds=40)


def planted(**dials) -> PlantedTask:
    return plant(replace(PLAIN, **dials), 3)


def inputs_of(made: PlantedTask, folder: Path, *, features: bool = False) -> SignalInputs:
    """The inputs of a planted task; `folder` receives its tables, and its features if asked for."""
    schema = relational_schema(made.database.blueprint, [made.task])
    task, as_of = schema.task(made.task.name), schema.default_as_of
    tables = write_tables(made.database, folder / "tables")
    labels = label_table(made.database, made.task)
    found = None
    if features:
        (folder / "features").mkdir()
        wanted = FeatureConfig(depth=2)
        build_feature_table(schema, task, labels, as_of, tables, wanted, folder / "features", 1)
        found = read_feature_table(folder / "features")
        schema = found.schema
    return SignalInputs(schema, task, as_of, labels, found, build_graph(schema, tables, threads=1))


def shuffled(inputs: SignalInputs, seed: int = 0) -> SignalInputs:
    """The same rows with each other's labels, within the splits."""
    parts = [
        part.with_columns(label=part["label"].sample(fraction=1, shuffle=True, seed=seed))
        for part in inputs.training_table.partition_by("split", maintain_order=True)
    ]
    return replace(inputs, training_table=pl.concat(parts))


def by_name(signals):
    return {one.name: one for one in signals}
