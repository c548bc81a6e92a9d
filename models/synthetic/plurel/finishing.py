"""From the nodes of a causal model to the columns that are handed out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import polars as pl

from models.synthetic.blueprint import ColumnKind, ColumnPlan
from models.synthetic.draws import Choice, Draw, Uniform
from models.synthetic.plurel.digits import significant
from models.synthetic.rows import Floats, Indices

NUMBERS = (ColumnKind.NUMERICAL, ColumnKind.INTEGER)
INTEGERS_PER_DEVIATION = 10.0


class Transform(StrEnum):
    """What a column of numbers is put through in the end."""

    IDENTITY = "identity"
    RANK = "rank"
    LOGARITHM = "logarithm"
    ROOT = "root"
    STANDARD = "standard"


@dataclass(frozen=True, slots=True)
class Finishing:
    """What becomes of columns after the causal model.

    Attributes:
        permuted: The probability that the categories of a column that was cut are shuffled, drawn
            once a column.
        turned: The probability that their order is turned round, drawn once a column.
        transforms: What a column of numbers is put through, drawn once a column.
        null_share: The share of missing numbers, drawn once a table; rows are missing at random.
    """

    permuted: Draw[float] = Uniform(0.3, 1.0)
    turned: Draw[float] = Uniform(0.2, 0.8)
    transforms: Draw[Transform] = Choice(tuple(Transform))
    null_share: Draw[float] = Uniform(0.01, 0.1)

    def cut(self, values: Floats, categories: int, generator: np.random.Generator) -> Indices:
        """Numbers as categories, int64 [rows]: how many of a few rows' values each one exceeds."""
        bounds = np.sort(values[generator.integers(len(values), size=categories - 1)])
        found = np.searchsorted(bounds, values, side="left")
        if generator.random() < self.permuted.sample(generator):
            found = generator.permutation(categories)[found]
        if generator.random() < self.turned.sample(generator):
            found = categories - 1 - found
        return found

    def numbers(
        self,
        plan: ColumnPlan,
        values: Floats,
        before: Floats,
        null_share: float,
        generator: np.random.Generator,
    ) -> pl.Series:
        """A column of numbers.

        Args:
            plan: The column.
            values: What the causal model gave, float64 [rows].
            before: The same without an intervention on this column, which the transform is
                fitted on, so that it does not take the intervention back.
            null_share: The share of rows to empty, if the column is nullable.
            generator: Where the transform and these rows come from.
        """
        transform = self.transforms.sample(generator)
        empty = generator.permutation(len(values))[: int(null_share * len(values))]
        if plan.kind == ColumnKind.INTEGER:
            shown = np.rint(INTEGERS_PER_DEVIATION * _standard(values, before))
            found = pl.Series(plan.name, shown, pl.Float64).cast(pl.Int64)
        else:
            shown = significant(transformed(transform, values, before))
            found = pl.Series(plan.name, shown, pl.Float64)
        return found.scatter(np.sort(empty), None) if plan.nullable else found


def categories_of(plan: ColumnPlan, codes: Indices) -> pl.Series:
    """A column of categories, given by number: booleans whether it is not the first one, or names."""
    if plan.kind == ColumnKind.BOOLEAN:
        return pl.Series(plan.name, codes > 0, pl.Boolean)
    return pl.Series(plan.name, plan.categories, pl.String).gather(codes)


def transformed(transform: Transform, values: Floats, before: Floats) -> Floats:
    """The values under a transform that is fitted on others (see `Finishing.numbers`)."""
    match transform:
        case Transform.IDENTITY:
            return values
        case Transform.RANK:
            return _rank(values, before)
        case Transform.LOGARITHM:
            return np.copysign(np.log1p(np.abs(values)), values)
        case Transform.ROOT:
            return np.copysign(np.sqrt(np.abs(values)), values)
        case Transform.STANDARD:
            return _standard(values, before)


def _rank(values: Floats, before: Floats) -> Floats:
    """The place among the rows from 0 to 1; equal values stand in the order of their rows."""
    if not np.array_equal(values, before):
        return (1 + np.searchsorted(np.sort(before), values)) / (len(values) + 1)
    places = np.empty(len(values))
    places[np.argsort(values, kind="stable")] = np.arange(1, len(values) + 1)
    return places / (len(values) + 1)


def _standard(values: Floats, before: Floats) -> Floats:
    return (values - before.mean()) / max(float(before.std()), 1e-8)
