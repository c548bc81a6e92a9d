"""How this project's time and memory grow: with the data, and with the length of histories.

    python -m benchmarks.aggregation_scaling --out out/benchmarks

Each point is a process of its own with one thread. A slope is that of a straight line through the
logarithms: 1 is linear, 0 is independent of what grows.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmarks.case import Measurement, Request
from benchmarks.databases import SHOP_ITEMS, paths_of, write_shop
from benchmarks.environments import ENGINES
from benchmarks.processes import measure
from benchmarks.shop import ShopSize
from benchmarks.tables import machine, markdown

PRIMITIVES = ("max", "min", "mean", "std", "count", "mode")
WINDOW_DAYS = 30.0


@dataclass(frozen=True, slots=True)
class Series:
    """Shops of which one thing grows."""

    name: str
    grows: str
    sizes: tuple[ShopSize, ...]
    select: str = "all"

    def growth(self, size: ShopSize) -> float:
        """What grows."""
        if self.grows == "events + cutoffs":
            return size.events + size.seeds
        return size.events / size.users


def all_series(scale: float = 1.0) -> list[Series]:
    """The series; `scale` multiplies the events, users and cutoffs of all of them."""
    shop = ShopSize(1_000_000, 20_000, SHOP_ITEMS, 500_000, even=True)
    growing = tuple(
        ShopSize(events, events // 50, SHOP_ITEMS, events // 20)
        for events in (100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
    )
    longer = tuple(replace(shop, users=users) for users in (200_000, 20_000, 2_000))
    late = tuple(replace(size, events=size.events // 2, ratings=size.events) for size in longer)
    histories = "events per user"
    found = [
        Series("size", "events + cutoffs", growing),
        Series("history", histories, longer),
        Series("trailing 30 days", histories, longer, "windowed"),
        Series("late grandchildren", histories, late, "nested"),
    ]
    return [
        replace(series, sizes=tuple(_scaled(size, scale) for size in series.sizes))
        for series in found
    ]


def _scaled(size: ShopSize, scale: float) -> ShopSize:
    return replace(
        size,
        events=math.ceil(size.events * scale),
        users=math.ceil(size.users * scale),
        seeds=math.ceil(size.seeds * scale),
        ratings=math.ceil(size.ratings * scale),
    )


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of a series."""

    series: Series
    size: ShopSize
    measurement: Measurement

    @property
    def growth(self) -> float:
        """Where the point lies."""
        return self.series.growth(self.size)


def measure_point(series: Series, size: ShopSize, cpu_limit_s: int) -> Point:
    """The point, its data written and deleted again."""
    with tempfile.TemporaryDirectory(prefix="benchmark-") as folder:
        case = write_shop(series.name, Path(folder), size)
        result = str(Path(folder) / "result.parquet")
        request = Request(case, 2, PRIMITIVES, paths_of(case, 2), result, select=series.select)
        if series.select == "windowed":
            request = replace(request, window_days=WINDOW_DAYS)
        (found,) = measure(ENGINES["ours"], request, cpu_limit_s)
        return Point(series, size, found)


def slope(points: Sequence[Point], of: Callable[[Measurement], float]) -> float:
    """The slope of log(of) against log(growth) by least squares, NaN for fewer than two points."""
    kept = [point for point in points if not point.measurement.skipped]
    if len(kept) < 2:
        return math.nan
    x = np.log([point.growth for point in kept])
    y = np.log([max(of(point.measurement), 1e-9) for point in kept])
    return float(np.polyfit(x, y, 1)[0])


HEADER = (
    "series", "events", "users", "cutoffs", "grandchildren", "features", "wall s", "CPU s",
    "CPU µs / row", "peak MB", "slope from the row above",
)  # fmt: skip


def lines(points: Sequence[Point]) -> list[tuple[object, ...]]:
    """The table's lines of one series."""
    found: list[tuple[object, ...]] = []
    for at, point in enumerate(points):
        size, got = point.size, point.measurement
        place = (
            point.series.name,
            f"{size.events:,}",
            f"{size.users:,}",
            f"{size.seeds:,}",
            f"{size.ratings:,}",
        )
        if got.skipped:
            found.append((*place, *[""] * 5, f"skipped: {got.skipped}"))
            continue
        rows = size.events + size.seeds + size.ratings
        step = slope(points[at - 1 : at + 1], lambda got: got.cpu_s) if at else math.nan
        found.append(
            (
                *place,
                got.features,
                f"{got.wall_s:.2f}",
                f"{got.cpu_s:.2f}",
                f"{1e6 * got.cpu_s / rows:.2f}",
                f"{got.peak_mb:,.0f}",
                "" if math.isnan(step) else f"{step:.2f}",
            )
        )
    return found


def summary(points: Sequence[Point]) -> str:
    """The slopes of a whole series in words."""
    series = points[0].series
    time = slope(points, lambda got: got.cpu_s)
    memory = slope(points, lambda got: got.peak_mb)
    return f"- {series.name}: CPU s ~ ({series.grows})^{time:.2f}, peak MB ~ ^{memory:.2f}"


def plot(points: Sequence[Sequence[Point]], file: Path) -> None:
    """CPU seconds against size on the left, against the length of histories on the right."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for series in points:
        kept = [point for point in series if not point.measurement.skipped]
        if not kept:
            continue
        grows = kept[0].series.grows
        axis = axes[0 if grows == "events + cutoffs" else 1]
        label = f"{kept[0].series.name}, slope {slope(kept, lambda got: got.cpu_s):.2f}"
        axis.loglog(
            [point.growth for point in kept],
            [point.measurement.cpu_s for point in kept],
            marker="o",
            label=label,
        )
        axis.set(xlabel=grows, ylabel="CPU seconds")
    for axis in axes:
        axis.grid(True, which="both", alpha=0.3)
        if axis.lines:
            axis.legend()
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def main() -> None:
    """Print the table and draw the plot."""
    names = [series.name for series in all_series()]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--series", nargs="+", choices=names, default=names)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies all sizes")
    parser.add_argument("--cpu-limit", type=int, default=600, help="CPU seconds a point may take")
    parser.add_argument("--out", type=Path, help="folder for the table and the plot")
    given = parser.parse_args()
    print(f"{machine()}\n", flush=True)
    found = []
    for series in all_series(given.scale):
        if series.name not in given.series:
            continue
        points: list[Point] = []
        for size in series.sizes:
            points.append(measure_point(series, size, given.cpu_limit))
            print(*lines(points)[-1], sep="  ", flush=True)
        found.append(points)
    table = markdown(HEADER, [line for points in found for line in lines(points)])
    text = "\n".join([table, "", *map(summary, found)])
    print(f"\n{text}")
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        (given.out / "aggregation_scaling.md").write_text(f"{text}\n")
        plot(found, given.out / "aggregation_scaling.png")


if __name__ == "__main__":
    main()
