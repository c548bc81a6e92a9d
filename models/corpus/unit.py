"""One database of a corpus: made, given tasks, and tried with every candidate."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from models.artifacts.recipe import code_version
from models.bank.measuring import measure_candidate
from models.corpus.config import CorpusConfig
from models.database.schema import RelationalSchema, Task
from models.dfs.config import FeatureConfig
from models.dfs.feature_table import build_feature_table, read_feature_table
from models.families.trial import TrialInputs
from models.rdl.build import build_graph
from models.rdl.graph_files import read_graph, write_graph
from models.relatron.signals import SignalConfig, SignalInputs, signals_as_data, task_signals
from models.synthetic.database import SyntheticDatabase
from models.synthetic.dials.plant import plant
from models.synthetic.dials.sweep import moved_dials, settings
from models.synthetic.draws import Fixed
from models.synthetic.generator import generate
from models.synthetic.presets import preset
from models.synthetic.relational_schema import relational_schema, write_tables
from models.synthetic.streams import Streams
from models.synthetic.tasks.grammar import Grammar
from models.synthetic.tasks.labels import label_table
from models.synthetic.tasks.sample import sample_tasks
from models.synthetic.tasks.task import SyntheticTask

CODE = ("models/bank", "models/dfs", "models/families", "models/learning", "models/rdl",
        "models/tabular", "models/relatron", "models/synthetic", "models/corpus")  # fmt: skip
PLANTED = "planted"
SAMPLED = "sampled"
# Of a corpus there are many tasks, so that each may be known less well.
SIGNALS = SignalConfig(rows=2000, probe_training_rows=2000, probe_validation_rows=2000)
FORECASTS = Grammar(autocomplete=Fixed(False))


@dataclass(frozen=True, slots=True)
class Unit:
    """A database to make: sampled from a preset with tasks of the grammar, or planted by dials."""

    kind: str
    number: int

    @property
    def name(self) -> str:
        """Its file name."""
        return f"{self.kind}_{self.number:05d}"


@dataclass(frozen=True, slots=True)
class LabelledTask:
    """A task with its labels and what is known of it."""

    task: SyntheticTask
    labels: pl.DataFrame
    signals: Mapping[str, Any] = field(default_factory=dict)


def units(config: CorpusConfig) -> list[Unit]:
    """The databases of a corpus, both kinds by turns, so that one cut short has both."""
    sampled = [Unit(SAMPLED, number) for number in range(config.databases)]
    planted = [Unit(PLANTED, number) for number in range(config.planted)]
    pairs = [pair for pair in zip(sampled, planted, strict=False)]
    rest = sampled[len(pairs) :] + planted[len(pairs) :]
    return [unit for pair in pairs for unit in pair] + rest


def run_unit(config: CorpusConfig, unit: Unit) -> list[dict[str, Any]]:
    """Makes the database and tries every candidate on each of its tasks: rows of the bank."""
    database, tasks = _made(config, unit)
    version = code_version(*CODE)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        schema = relational_schema(database.blueprint, [one.task for one in tasks])
        tables = write_tables(database, folder / "tables")
        graph_folder = folder / "graph"
        graph_folder.mkdir()
        write_graph(build_graph(schema, tables, threads=1), graph_folder)
        graph = read_graph(graph_folder)
        for place, one in enumerate(tasks):
            task = schema.task(one.task.name)
            inputs = _inputs(config, schema, task, one, tables, graph_folder, folder / f"{place}")
            measured = task_signals(
                SignalInputs(schema, task, inputs.as_of, one.labels, inputs.features, graph),
                SIGNALS,
            )
            known = {**one.signals, **signals_as_data(measured)}
            for candidate in config.candidates():
                rows += measure_candidate(
                    candidate,
                    inputs,
                    folder / f"{place}" / candidate.name,
                    origin="planted" if unit.kind == PLANTED else "synthetic",
                    signals=known,
                    code_version=version,
                    graph=graph,
                )
    return rows


def _made(config: CorpusConfig, unit: Unit) -> tuple[SyntheticDatabase, list[LabelledTask]]:
    return _planted(config, unit) if unit.kind == PLANTED else _sampled(config, unit)


def _sampled(config: CorpusConfig, unit: Unit) -> tuple[SyntheticDatabase, list[LabelledTask]]:
    seed = config.seed + unit.number
    database = generate(preset(config.preset), seed)
    found = sample_tasks(database, Streams(seed).child("tasks"), config.tasks, FORECASTS)
    return database, [
        LabelledTask(one.task, one.labels, {**one.report.measures, "terms": dict(one.task.terms)})
        for one in found.tasks
    ]


def _planted(config: CorpusConfig, unit: Unit) -> tuple[SyntheticDatabase, list[LabelledTask]]:
    """One setting of the dials; a longer corpus of the same seed begins with the same ones."""
    dials = settings(config.planted, config.seed)[unit.number]
    made = plant(dials, config.seed + unit.number)
    labels = label_table(made.database, made.task)
    signals = {"dials": asdict(dials), "moved": list(moved_dials(dials)), "realised": made.realised}
    return made.database, [LabelledTask(made.task, labels, signals)]


def _inputs(
    config: CorpusConfig,
    schema: RelationalSchema,
    task: Task,
    one: LabelledTask,
    tables: Mapping[str, Path],
    graph: Path,
    folder: Path,
) -> TrialInputs:
    as_of = schema.default_as_of
    assert as_of is not None
    features = folder / "features"
    features.mkdir(parents=True)
    # The last window before the cutoff is what one looks at first to foretell the next one.
    wanted = FeatureConfig(depth=config.depth, windows=(task.window,))
    build_feature_table(schema, task, one.labels, as_of, tables, wanted, features, 1)
    return TrialInputs(
        schema=schema,
        task=task,
        as_of=as_of,
        training_table=one.labels,
        features=read_feature_table(features),
        tables=tables,
        graph=graph,
        text_encoder="",
    )
