"""Whether two engines computed the same values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of the features that two results name alike.

    Attributes:
        numbers: How many features are numbers.
        cells: How many values of them both have.
        difference: The largest relative difference between these. A value that is small against its
            column's largest is taken for a millionth of that.
        missing: Share of values of number features that one result has and the other hasn't.
        texts: How many features are texts.
        equal_texts: Share of their values that are equal.
    """

    numbers: int
    cells: int
    difference: float
    missing: float
    texts: int
    equal_texts: float

    def __str__(self) -> str:
        parts = []
        if self.numbers:
            parts.append(f"{self.numbers} numbers: {self.difference:.0e} of {self.cells:,} values")
        if self.missing:
            parts.append(f"{self.missing:.1%} missing in one only")
        if self.texts:
            parts.append(f"{self.texts} texts: {self.equal_texts:.1%} equal")
        return ", ".join(parts) or "no feature in common"


def agreement(ours: Path, theirs: Path) -> Agreement:
    """Compares two Parquet files by `row_id`, on the features that both name alike."""
    first, second = pl.read_parquet(ours), pl.read_parquet(theirs)
    shared = [name for name in first.columns if name in second.columns and name != "row_id"]
    texts = [name for name in shared if not _is_number(first, name) or not _is_number(second, name)]
    numbers = [name for name in shared if name not in texts]
    keyed = pl.col("row_id").cast(pl.Int64)
    other = second.select(
        keyed,
        *(pl.col(name).cast(pl.Float64).fill_nan(None).alias(f"{name} ") for name in numbers),
        *(pl.col(name).cast(pl.String).alias(f"{name} ") for name in texts),
    )
    both = first.select(keyed, *shared).join(other, on="row_id", how="inner")
    if both.is_empty() or not shared:
        return Agreement(0, 0, 0.0, 0.0, 0, 0.0)
    checks = [_compared(both, name) for name in numbers]
    equal = [int(both[name].eq_missing(both[f"{name} "]).sum()) for name in texts]
    return Agreement(
        len(numbers),
        sum(cells for cells, _, _ in checks),
        max((difference for _, difference, _ in checks), default=0.0),
        sum(missing for _, _, missing in checks) / (both.height * max(len(numbers), 1)),
        len(texts),
        sum(equal) / (both.height * max(len(texts), 1)),
    )


def _is_number(frame: pl.DataFrame, name: str) -> bool:
    return frame[name].dtype.is_numeric()


def _compared(both: pl.DataFrame, name: str) -> tuple[int, float, int]:
    """(values that both have, largest relative difference, values that one has) of a feature."""
    first, second = pl.col(name).cast(pl.Float64), pl.col(f"{name} ")
    scale = pl.max_horizontal(second.abs(), second.abs().max() * 1e-6, pl.lit(1e-300))
    difference = ((first - second).abs() / scale).max()
    row = both.select(
        cells=(first.is_not_null() & second.is_not_null()).sum(),
        difference=difference.fill_null(0.0),
        missing=(first.is_null() != second.is_null()).sum(),
    ).row(0)
    return int(row[0]), float(row[1]), int(row[2])
