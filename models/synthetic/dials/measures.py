"""What a planted task turned out to be: measures of its labels, links and components."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl
from scipy.sparse import csr_array

from models.synthetic.rows import Floats


def label_homophily(examples: pl.DataFrame, links: pl.DataFrame) -> float:
    """Adjusted label homophily along entity - partner - entity, between labels of one cutoff.

    Two examples of the same cutoff are neighbours if their entities are linked to a partner in
    common; no example is its own neighbour. Of all ordered pairs of neighbours the share h with equal
    labels is compared with the share Z that chance would give: for each class the square of the share
    of pair ends that carry it, summed over the classes. The adjusted value (h - Z) / (1 - Z), with
    both averaged over cutoffs by their pairs, is 0 for labels that ignore the links whatever the
    balance of the classes, and 1 for equal neighbours: the adjusted homophily of Platonov et al.
    (2023), "Characterizing graph datasets for node classification", section 2, a cutoff at a time.

    Args:
        examples: cutoff_time, entity, label.
        links: cutoff_time, entity, partner: what may be known at the cutoff; repetitions count once.

    Returns:
        The adjusted homophily; NaN if there are no neighbours or all labels are equal.
    """
    numbered = examples.select("cutoff_time", "entity").with_row_index("example")
    known = links.unique().join(numbered, on=["cutoff_time", "entity"])
    partner = known.select(pl.struct("cutoff_time", "partner").rank("dense") - 1).to_series()
    ends = (known["example"].to_numpy(), partner.to_numpy())
    incidence = csr_array((np.ones(len(known)), ends), shape=(len(examples), len(known)))
    neighbours = (incidence @ incidence.T).tocsr()
    neighbours.setdiag(0)
    neighbours.eliminate_zeros()
    neighbours.data[:] = 1.0
    classes = examples["label"].to_dummies().to_numpy().astype(np.float64)
    degrees = neighbours.sum(axis=1)
    equal = ((neighbours @ classes) * classes).sum(axis=1)
    cutoffs = examples["cutoff_time"].rank("dense").to_numpy().astype(np.int64) - 1
    pairs = np.bincount(cutoffs, degrees)
    by_class = np.stack([np.bincount(cutoffs, degrees * column) for column in classes.T])
    chance = np.divide((by_class**2).sum(axis=0), pairs, out=np.zeros_like(pairs), where=pairs > 0)
    possible = float((pairs - chance).sum())
    return float((equal.sum() - chance.sum()) / possible) if possible > 0 else float("nan")


def label_autocorrelation(examples: pl.DataFrame, value: str = "label", lag: int = 1) -> float:
    """Correlation of an entity's label with its label `lag` cutoffs before, over all entities.

    The mean of each cutoff is taken out first, so that a rate that moves is no autocorrelation.

    Args:
        examples: cutoff_time, entity and the value, a row an entity and cutoff.
        value: The column to look at.
        lag: How many cutoffs lie between the two.

    Returns:
        Pearson's correlation; NaN if no entity has two labels so far apart, or none varies.
    """
    centred = examples.select(
        "entity",
        number=pl.col("cutoff_time").rank("dense").cast(pl.Int64),
        now=pl.col(value).cast(pl.Float64) - pl.col(value).mean().over("cutoff_time"),
    )
    before = centred.select("entity", number=pl.col("number") + lag, before=pl.col("now"))
    pairs = centred.join(before, on=["entity", "number"], maintain_order="left")
    found = pairs.select(pl.corr("now", "before")).item()
    return float("nan") if found is None else float(found)


def residual(target: Floats, explained_by: Floats) -> Floats:
    """What a linear model with a constant leaves of a target.

    Args:
        target: float64 [rows].
        explained_by: float64 [rows, columns].
    """
    design = np.column_stack([np.ones(len(target)), explained_by])
    return np.asarray(target - design @ _coefficients(design, target))


def explained(target: Floats, explained_by: Floats) -> float:
    """R² of a linear model: float64 [rows] from float64 [rows, columns]; 0 for a constant target."""
    spread = float(np.var(target))
    return 1.0 - float(np.var(residual(target, explained_by))) / spread if spread > 1e-12 else 0.0


def component_shares(components: Mapping[str, Floats], outcome: Floats) -> dict[str, float]:
    """How the variance of an outcome divides among its components.

    The share of a component is its coefficient in the linear model times its covariance with the
    outcome, over the outcome's variance: Pratt's measure (1987, "Dividing the indivisible: using
    simple symmetry to partition variance explained"), which sums to the model's R².

    Args:
        components: float64 [rows] by name; constant ones have the share 0.
        outcome: float64 [rows].
    """
    names = list(components)
    design = np.column_stack([components[name] - components[name].mean() for name in names])
    centred = outcome - outcome.mean()
    weights = _coefficients(design, centred)
    shares = weights * (design.T @ centred) / (centred @ centred)
    return dict(zip(names, map(float, shares), strict=True))


def coefficient_drift(labels: Floats, terms: Floats, progress: Floats) -> float:
    """1 minus the cosine between the terms' coefficients at the start and at the end.

    The coefficients are those of a linear model of the label in which each is a quadratic function
    of the progress. Their errors make the cosine smaller: with coefficients of no size the measure
    tends to 1.

    Args:
        labels: float64 [rows].
        terms: Functions of visible columns, float64 [terms, rows], of equal variance.
        progress: When each row is, from 0 to 1, float64 [rows].
    """
    # Quadratic functions by their values at the start, at the end, and what bends them between.
    middle = progress * (1.0 - progress)
    parts = [*terms * (1.0 - progress), *terms * progress, *terms * middle]
    design = np.column_stack([np.ones(len(labels)), *parts])
    first, last, _ = np.split(_coefficients(design, labels)[1:], 3)
    size = float(np.linalg.norm(first) * np.linalg.norm(last))
    return 1.0 - float(first @ last) / size if size > 0 else 0.0


def _coefficients(design: Floats, target: Floats) -> Floats:
    """Least squares by the normal equations: the designs are tall, and columns may be constant."""
    return np.asarray(np.linalg.lstsq(design.T @ design, design.T @ target, rcond=None)[0])
