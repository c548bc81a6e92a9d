"""What a contestant in the speed of training is asked to do and what it answers; JSON in between."""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import polars as pl
import torch

from benchmarks.case import Case
from benchmarks.databases import schema_of
from benchmarks.metering import Meter
from models.database.schema import RelationalSchema, SemanticType

Batch = TypeVar("Batch")
ORDER_SEED = 0


@dataclass(frozen=True)
class TrainingShape:
    """The model and the sampling, which all contestants share.

    `fan_out` has one number a layer, nearest the seed first: how many rows are drawn per relation.
    """

    channels: int = 128
    fan_out: tuple[int, ...] = (128, 64)
    batch_size: int = 512
    learning_rate: float = 0.005
    aggregation: str = "sum"


@dataclass(frozen=True)
class TrainingRequest:
    """Batches to train on.

    The case's seeds have a binary `label` beside `row_id`, `entity` and `cutoff_time`. `text` names
    the (table, column) pairs among its categorical columns that are read as text. `variant` chooses
    among a contestant's ways of sampling. `loaders` is how many processes may sample beside the
    one that trains. `home` is an empty folder for the contestant's own files.
    """

    case: Case
    text: tuple[tuple[str, str], ...]
    shape: TrainingShape
    batches: int
    warm_up: int
    variant: str = ""
    device: str = "cpu"
    loaders: int = 0
    home: str = ""

    def write(self, file: Path, home: Path) -> None:
        """Write the request to a JSON file, with the folder for the contestant's files."""
        file.write_text(json.dumps({**asdict(self), "home": str(home)}))

    @classmethod
    def read(cls, file: Path) -> TrainingRequest:
        """The request in a JSON file."""
        plain = json.loads(file.read_text())
        shape = {**plain["shape"], "fan_out": tuple(plain["shape"]["fan_out"])}
        return cls(
            **{
                **plain,
                "case": Case.from_plain(plain["case"]),
                "text": tuple((table, column) for table, column in plain["text"]),
                "shape": TrainingShape(**shape),
            }
        )

    @property
    def schema(self) -> RelationalSchema:
        """The case as this project's schema, with its texts."""
        schema = schema_of(self.case)
        tables = tuple(
            replace(
                table,
                columns=tuple(
                    replace(column, semantic_type=SemanticType.TEXT)
                    if (table.name, column.name) in self.text
                    else column
                    for column in table.columns
                ),
            )
            for table in schema.tables
        )
        return replace(schema, tables=tables)

    def seeds(self) -> pl.DataFrame:
        """The seeds of all batches, those of the warm-up first.

        A permutation of the case's seeds, the same for every contestant, repeated as often as the
        batches need. Columns as the case's.
        """
        all_seeds = pl.read_parquet(self.case.seeds)
        order = np.random.default_rng(ORDER_SEED).permutation(all_seeds.height)
        count = (self.warm_up + self.batches) * self.shape.batch_size
        return all_seeds[np.resize(order, count)]


@dataclass(frozen=True)
class Speed:
    """How fast a contestant trained; one with `skipped` has no figures.

    `wall_s` and `cpu_s` are those of sampling, forward, backward and the optimiser's step of all
    measured batches, `sampling_s` the wall seconds of these until the batch was there. `nodes` and
    `edges` are what was sampled for all measured seeds. `utilisation` is the accelerator's mean in
    percent. `build_s` is the wall time from the tables to the graph and the model.
    """

    contestant: str
    device: str = "cpu"
    seeds: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    sampling_s: float = 0.0
    build_s: float = 0.0
    nodes: int = 0
    edges: int = 0
    parameters: int = 0
    loss: float = 0.0
    peak_mb: float = 0.0
    utilisation: float | None = None
    note: str = ""
    skipped: str = ""

    def write(self, file: Path) -> None:
        """Write a contestant's answer."""
        file.write_text(json.dumps(asdict(self)))

    @classmethod
    def read(cls, file: Path) -> Speed:
        """A contestant's answer."""
        return cls(**json.loads(file.read_text()))


@dataclass(frozen=True, slots=True)
class Step:
    """What came of one batch: rows and edges sampled, and the loss, fetched when it is asked for."""

    nodes: int
    edges: int
    loss: Callable[[], float]


def measure_training(
    request: TrainingRequest,
    contestant: str,
    batches: Iterator[Batch],
    train: Callable[[Batch], Step],
) -> Speed:
    """Train on all batches and time those after the warm-up.

    Args:
        request: How many batches there are.
        contestant: The name in the answer.
        batches: Samples the next batch when it is asked for it.
        train: Forward, backward and the optimiser's step.
    """
    for _ in range(request.warm_up):
        train(next(batches))
    _wait_for(request.device)
    sampling_s, steps = 0.0, []
    with Utilisation(request.device) as utilisation, Meter() as meter:
        for _ in range(request.batches):
            started = time.perf_counter()
            batch = next(batches)
            sampling_s += time.perf_counter() - started
            steps.append(train(batch))
        _wait_for(request.device)
    return Speed(
        contestant,
        request.device,
        request.batches * request.shape.batch_size,
        meter.wall_s,
        meter.cpu_s,
        sampling_s,
        nodes=sum(step.nodes for step in steps),
        edges=sum(step.edges for step in steps),
        loss=statistics.fmean(step.loss() for step in steps),
        peak_mb=meter.peak_mb,
        utilisation=utilisation.mean,
    )


def _wait_for(device: str) -> None:
    """Return when an accelerator has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


class Utilisation:
    """The share of time in which an accelerator worked, sampled by its driver's tool.

    Attributes:
        mean: In percent over the body of the `with` statement; None on a processor, or without tool.
    """

    TOOL = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")
    EVERY_MS = 100

    def __init__(self, device: str) -> None:
        self._device = device
        self._tool: subprocess.Popen[str] | None = None
        self.mean: float | None = None

    def __enter__(self) -> Utilisation:
        kind, _, number = self._device.partition(":")
        if kind == "cuda":
            command = [*self.TOOL, f"--loop-ms={self.EVERY_MS}", f"--id={number or 0}"]
            with suppress(OSError):
                self._tool = subprocess.Popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._tool is None:
            return
        self._tool.terminate()
        printed, _ = self._tool.communicate()
        self.mean = mean_of(printed.split())


def mean_of(words: Sequence[Any]) -> float | None:
    """The mean of those words that are numbers, None if none is."""
    numbers = [float(word) for word in words if str(word).replace(".", "", 1).isdigit()]
    return statistics.fmean(numbers) if numbers else None
