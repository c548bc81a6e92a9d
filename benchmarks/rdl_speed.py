"""Speed of training the RDL family against PyG's loaders, and against the size of the graph.

    python -m benchmarks.rdl_speed --parts contestants sizes --out out/benchmarks

Seconds are those of sampling, forward, backward and the optimiser's step. Every contestant trains
the same model on the same seeds in this run, in a process of its own with one thread: RelBench's
GraphSAGE on rel-f1's task driver-dnf. The peer's environment is made on the first run; it compiles
torch-sparse, which takes minutes. Where there is an accelerator both train there too, and relforge
also samples there. `sizes` measures relforge on generated databases that grow.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl
import torch

from benchmarks.case import Case
from benchmarks.databases import Unavailable, prepare
from benchmarks.environments import Engine, python_of
from benchmarks.orders import OrderSize, write_orders
from benchmarks.processes import run_limited
from benchmarks.tables import machine, markdown
from benchmarks.training import Speed, TrainingRequest, TrainingShape

OURS = Engine("rdl")
PEER = Engine("pyg_loader", ("torch-scatter==2.1.2", "torch-sparse==0.6.18"), on_top=True)
# The first is what the others are compared with.
CONTESTANTS = {
    "relforge": (OURS, "same"),
    "defaults": (OURS, "defaults"),
    "temporal": (PEER, "temporal"),
    "untimed": (PEER, "untimed"),
}
LABEL = ("driver-dnf", "did_not_finish")
# Of rel-f1's strings these name things; the others are categories.
TEXTS = {
    "circuits": ("circuitRef", "name", "location"),
    "constructors": ("constructorRef", "name"),
    "drivers": ("driverRef", "forename", "surname"),
    "races": ("name",),
}
PARTS = ("contestants", "sizes")
SIZES = (100_000, 1_000_000, 10_000_000)
HEADER = (
    "contestant", "device", "seeds", "seeds / CPU s", "seeds / wall s", "ratio to ours, CPU",
    "ratio, wall", "sampling, % of wall", "rows / seed", "edges / seed", "parameters", "loss",
    "peak MB", "device busy, %", "note",
)  # fmt: skip
CAPTION = """\
One thread each; on an accelerator the peer's loader has as many processes as `--loaders` says.
A ratio is relforge's speed over the contestant's. `relforge` has the peer's layers and
widths, its column encoders merged into one map. Rows and edges are what was sampled: without times
seeds share rows, and see the future."""
SIZE_HEADER = (
    "edges", "customers", "seeds", "graph s", "s / 1,000 seeds", "epoch s",
    "sampling, % of wall", "rows / seed", "edges / seed", "peak MB", "slope from the row above",
)  # fmt: skip
SIZE_CAPTION = """\
Customers, orders, their lines and products in constant proportions, a seed for every second customer. An
epoch's time (CPU seconds of one thread, on an accelerator wall seconds) is that of the measured
batches times the seeds there are; 1 is the slope of what grows in proportion to the graph."""


@dataclass(frozen=True, slots=True)
class Options:
    """The command line."""

    contestants: tuple[str, ...] = tuple(CONTESTANTS)
    sizes: tuple[int, ...] = ()
    shape: TrainingShape = field(default_factory=TrainingShape)
    batches: int = 8
    warm_up: int = 2
    device: str = "cpu"
    loaders: int = 0
    cpu_limit_s: int = 1_800


@dataclass(frozen=True, slots=True)
class Point:
    """A measurement at one size of the graph."""

    size: OrderSize
    speed: Speed

    @property
    def epoch_s(self) -> float:
        """Seconds for all seeds: of a processor's work, or as an accelerator's user waits."""
        seconds = self.speed.cpu_s if self.speed.device == "cpu" else self.speed.wall_s
        return self.size.seeds * seconds / max(self.speed.seeds, 1)


def rel_f1(folder: Path) -> tuple[Case, tuple[tuple[str, str], ...]]:
    """RelBench's Formula 1 database with the labels of driver-dnf, and its texts.

    Raises:
        Unavailable: RELFORGE_DATABASES names no folder that has it.
    """
    case = prepare("f1", folder)
    task, column = LABEL
    root = Path(os.environ["RELFORGE_DATABASES"]) / "rel-f1"
    labels = pl.read_parquet(root / "tasks" / task / "train.parquet")[column]
    labelled = folder / "labelled.parquet"
    pl.read_parquet(case.seeds).with_columns(label=labels.cast(pl.Int8)).write_parquet(labelled)
    texts = tuple((table, name) for table, names in TEXTS.items() for name in names)
    return replace(case, seeds=str(labelled)), texts


def speeds(case: Case, texts: tuple[tuple[str, str], ...], options: Options) -> Iterator[Speed]:
    """Every contestant's speed, as soon as it is measured."""
    for name in options.contestants:
        yield speed_of(name, case, texts, options)


def speed_of(
    contestant: str, case: Case, texts: tuple[tuple[str, str], ...], options: Options
) -> Speed:
    """One contestant's speed; the reason where it has none."""
    engine, variant = CONTESTANTS[contestant]
    request = TrainingRequest(
        case,
        texts,
        options.shape,
        options.batches,
        options.warm_up,
        variant,
        options.device,
        options.loaders,
    )
    try:
        python = python_of(engine)
    except Unavailable as reason:
        return Speed(contestant, options.device, skipped=str(reason))
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        asked, answered, home = (Path(folder) / name for name in ("asked", "answered", "home"))
        home.mkdir()
        request.write(asked, home)
        failure = run_limited(
            [str(python), "-m", engine.module, asked, answered], options.cpu_limit_s
        )
        if failure:
            return Speed(contestant, options.device, skipped=failure)
        return Speed.read(answered)


def points(options: Options) -> Iterator[Point]:
    """The speed at every size, the database written and deleted again."""
    for edges in options.sizes:
        size = OrderSize(edges)
        with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
            case = write_orders(f"orders-{edges}", Path(folder), size)
            yield Point(size, speed_of("relforge", case, (), options))


def slope(measured: Sequence[Point]) -> float:
    """The slope of log(epoch time) against log(edges) by least squares, NaN below two points."""
    kept = [point for point in measured if not point.speed.skipped]
    if len(kept) < 2:
        return math.nan
    x, y = ([math.log(value) for value in values] for values in (
        [point.size.edges for point in kept],
        [max(point.epoch_s, 1e-9) for point in kept],
    ))  # fmt: skip
    return float(np.polyfit(x, y, 1)[0])


def line_of(speed: Speed, ours: Speed | None) -> tuple[object, ...]:
    """One line of the contestants' table; `ours` is relforge's speed in this run."""
    if speed.skipped:
        return (speed.contestant, speed.device, *[""] * 12, f"skipped: {speed.skipped}")
    compared = ours is not None and not ours.skipped
    return (
        speed.contestant,
        speed.device,
        f"{speed.seeds:,}",
        f"{speed.seeds / speed.cpu_s:.0f}",
        f"{speed.seeds / speed.wall_s:.0f}",
        f"{_ratio(ours, speed, 'cpu_s'):.2f}" if compared else "",
        f"{_ratio(ours, speed, 'wall_s'):.2f}" if compared else "",
        f"{100 * speed.sampling_s / speed.wall_s:.1f}",
        f"{speed.nodes / speed.seeds:.0f}",
        f"{speed.edges / speed.seeds:.0f}",
        f"{speed.parameters:,}",
        f"{speed.loss:.3f}",
        f"{speed.peak_mb:,.0f}",
        "" if speed.utilisation is None else f"{speed.utilisation:.0f}",
        speed.note,
    )


def _ratio(ours: Speed | None, speed: Speed, seconds: str) -> float:
    """How many times as fast as the contestant relforge is, per seed."""
    assert ours is not None
    return (getattr(speed, seconds) / speed.seeds) / (getattr(ours, seconds) / ours.seeds)


def report(measured: Sequence[Speed]) -> str:
    """The contestants' table with its caption."""
    ours = next((speed for speed in measured if speed.contestant.startswith("relforge")), None)
    return f"{markdown(HEADER, [line_of(speed, ours) for speed in measured])}\n\n{CAPTION}"


def size_line(point: Point, before: Point | None) -> tuple[object, ...]:
    """One line of the table of sizes."""
    size, speed = point.size, point.speed
    place = (f"{size.edges:,}", f"{size.customers:,}", f"{size.seeds:,}")
    if speed.skipped:
        return (*place, *[""] * 7, f"skipped: {speed.skipped}")
    return (
        *place,
        f"{speed.build_s:.1f}",
        f"{1000 * point.epoch_s / size.seeds:.2f}",
        f"{point.epoch_s:.1f}",
        f"{100 * speed.sampling_s / speed.wall_s:.1f}",
        f"{speed.nodes / speed.seeds:.0f}",
        f"{speed.edges / speed.seeds:.0f}",
        f"{speed.peak_mb:,.0f}",
        "" if before is None or before.speed.skipped else f"{slope([before, point]):.2f}",
    )


def size_report(measured: Sequence[Point]) -> str:
    """The table of sizes with the slope over all of them."""
    lines = [
        size_line(point, measured[at - 1] if at else None) for at, point in enumerate(measured)
    ]
    total = f"Slope of the epoch's time over all sizes: {slope(measured):.2f}."
    return f"{markdown(SIZE_HEADER, lines)}\n\n{SIZE_CAPTION}\n{total}"


def _arguments() -> argparse.Namespace:
    usual = Options()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=[PARTS[0]])
    parser.add_argument("--databases", help="folder with rel-f1; else RELFORGE_DATABASES")
    parser.add_argument("--contestants", nargs="+", choices=list(CONTESTANTS))
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="edges of the graphs")
    parser.add_argument("--devices", nargs="+", help="cpu, cuda, cuda:1; else what there is")
    parser.add_argument("--batches", type=int, default=usual.batches, help="that are timed")
    parser.add_argument("--warm-up", type=int, default=usual.warm_up, help="batches before these")
    parser.add_argument("--loaders", type=int, default=_loaders(), help="with an accelerator")
    parser.add_argument("--cpu-limit", type=int, default=usual.cpu_limit_s)
    parser.add_argument("--out", type=Path, help="folder for the tables and the figures as JSON")
    return parser.parse_args()


def _loaders() -> int:
    return max((os.cpu_count() or 1) - 1, 0)


def _devices() -> list[str]:
    return ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]


def _contest(options: Options, folder: Path) -> Iterator[Speed]:
    try:
        case, texts = rel_f1(folder)
    except Unavailable as reason:
        yield Speed("all", options.device, skipped=str(reason))
        return
    for speed in speeds(case, texts, options):
        print(*line_of(speed, None), sep="  ", flush=True)
        yield speed


def _growth(options: Options) -> Iterator[Point]:
    for point in points(options):
        print(*size_line(point, None), sep="  ", flush=True)
        yield point


def main() -> None:
    """Print the tables."""
    given = _arguments()
    if given.databases:
        os.environ["RELFORGE_DATABASES"] = given.databases
    print(f"{machine()}\n", flush=True)
    texts, figures = [], []
    for device in given.devices or _devices():
        options = Options(
            tuple(given.contestants or CONTESTANTS),
            tuple(given.sizes),
            batches=given.batches,
            warm_up=given.warm_up,
            device=device,
            loaders=0 if device == "cpu" else given.loaders,
            cpu_limit_s=given.cpu_limit,
        )
        if "contestants" in given.parts:
            with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
                measured = list(_contest(options, Path(folder)))
            texts.append(report(measured))
            figures += [asdict(speed) for speed in measured]
        if "sizes" in given.parts:
            grown = list(_growth(options))
            texts.append(size_report(grown))
            figures += [{"edges": point.size.edges, **asdict(point.speed)} for point in grown]
    text = "\n\n".join(texts)
    print(f"\n{text}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "rdl_speed.md").write_text(f"{text}\n")
        (given.out / "rdl_speed.json").write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
