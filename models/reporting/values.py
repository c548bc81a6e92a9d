"""Preparing arrays for plots and scores: what is known, on which axis, in how many pieces."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FloatArray = NDArray[np.float64]

# An axis shows this share of the values at least; what lies beyond is counted in a footnote.
CLIP_QUANTILE = 0.005
# Beyond this multiple of the central 90 % a linear axis hides nearly all values in one bin.
_SKEW = 12.0
_MAX_WHOLE_BINS = 60


@dataclass(frozen=True, slots=True)
class Scale:
    """The axis that shows a set of values: linear, or symmetric-logarithmic when very skewed."""

    low: float
    high: float
    symlog: bool = False
    threshold: float = 1.0

    def bins(self, count: int = 40) -> FloatArray:
        """Edges of histogram bins that are equally wide on this axis."""
        low, high = self._forward(np.array([self.low, self.high]))
        return self._backward(np.linspace(float(low), float(high), count + 1))

    def apply(self, ax: Axes, which: str = "x") -> None:
        """Put the scale on the x or y axis of a plot."""
        if self.symlog:
            setter = ax.set_xscale if which == "x" else ax.set_yscale
            setter("symlog", linthresh=self.threshold)

    def _forward(self, values: FloatArray) -> FloatArray:
        return np.arcsinh(values / self.threshold) if self.symlog else values

    def _backward(self, values: FloatArray) -> FloatArray:
        return np.sinh(values) * self.threshold if self.symlog else values


def floats(values: ArrayLike | pl.Series | None) -> FloatArray:
    """Values as a flat float array: NULL, infinite and unparsable become NaN."""
    if values is None:
        return np.empty(0)
    series = values if isinstance(values, pl.Series) else pl.Series(_flat(values), strict=False)
    if series.dtype == pl.Object:
        series = pl.Series([_number(value) for value in series.to_list()], dtype=pl.Float64)
    if isinstance(series.dtype, pl.Categorical | pl.Enum):
        series = series.cast(pl.String)
    numbers = series.cast(pl.Float64, strict=False).fill_null(float("nan")).to_numpy()
    return np.where(np.isfinite(numbers), numbers, np.nan)


def known_pairs(labels: Any, predictions: Any) -> tuple[FloatArray, FloatArray, int]:
    """The labels and predictions of rows where both are known, and the number of other rows."""
    truth, guess = floats(labels), floats(predictions)
    if len(truth) != len(guess):
        raise ValueError(
            f"labels and predictions differ in length (got {len(truth)}, {len(guess)})"
        )
    known = ~(np.isnan(truth) | np.isnan(guess))
    return truth[known], guess[known], int((~known).sum())


def scale_of(values: FloatArray) -> Scale:
    """The axis for the values: symlog when their range dwarfs the range of the central 90 %."""
    if not len(values):
        return Scale(0.0, 1.0)
    low, high = float(values.min()), float(values.max())
    if low == high:
        margin = max(abs(low) * 0.05, 0.5)
        return Scale(low - margin, high + margin)
    inner_low, inner_high = np.quantile(values, [0.05, 0.95])
    spread = float(inner_high - inner_low)
    if high - low <= _SKEW * spread:
        return Scale(low, high)
    magnitudes = np.abs(values[values != 0])
    return Scale(low, high, symlog=True, threshold=_power_of_ten(float(np.median(magnitudes))))


def histogram_edges(parts: Iterable[FloatArray], scale: Scale) -> FloatArray:
    """Bin edges for histograms on one axis, centred on whole numbers where a part has only those.

    Whole numbers in bins of another width would show gaps and peaks that the data do not have.
    """
    low, high = math.floor(scale.low), math.ceil(scale.high)
    whole = any(len(part) and np.array_equal(part, np.round(part)) for part in parts)
    if scale.symlog or not whole or not 0 < high - low <= _MAX_WHOLE_BINS:
        return scale.bins()
    return np.arange(low - 0.5, high + 1.0)


def clipped_range(*arrays: FloatArray) -> tuple[float, float]:
    """A common range that holds all but `CLIP_QUANTILE` of each array's values at each end."""
    low = min(float(np.quantile(array, CLIP_QUANTILE)) for array in arrays)
    high = max(float(np.quantile(array, 1 - CLIP_QUANTILE)) for array in arrays)
    if low == high:
        margin = max(abs(low) * 0.05, 0.5)
        return low - margin, high + margin
    margin = 0.03 * (high - low)
    return low - margin, high + margin


def thin(count: int, limit: int = 600) -> NDArray[np.int64]:
    """At most `limit` evenly spaced positions out of `count`, with the first and the last."""
    if count <= limit:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).round().astype(np.int64))


def class_names(classes: Sequence[Any]) -> list[str]:
    """Class values as display names."""
    return [str(value) for value in classes]


def plural(count: int, noun: str) -> str:
    """A count with its noun: `1 row`, `12,345 rows`."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def _power_of_ten(value: float) -> float:
    return 10.0 ** math.ceil(math.log10(max(value, 1e-12)))


def _flat(values: ArrayLike) -> list[Any] | NDArray[Any]:
    array = np.asarray(values)
    if array.dtype.kind in "fiub":
        return array.reshape(-1)
    return list(array.reshape(-1))


def _number(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
