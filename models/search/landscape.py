"""The loss landscape around a trained network: how steep, how curved, how high the walls are.

The loss along two random directions through the trained weights, each scaled by the weights' own
norms (Li et al., "Visualizing the loss landscape of neural nets", NeurIPS 2018, Section 4); of it
the three metrics that Relatron (ICLR 2026) chooses checkpoints by. Unlike there, the directions
follow from a seed and the parameters' names and shapes, so that networks of equal architecture are
cut through along the same ones, and all are measured at the same points.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import torch
from torch import Tensor

from models.artifacts.recipe import digest
from models.database.schema import Metric, Protocol, Task, TaskType
from models.dfs.feature_table import seeds_of
from models.families.bundle import Bundle, RowsToPredict, load_bundle
from models.families.trial import TrialInputs
from models.learning.outcome import outputs_of
from models.rdl.bundle import RDLBundle
from models.rdl.graph_files import read_graph
from models.tabular.network import make_network
from models.tabular.network_bundle import NetworkBundle

RAYS, GRID_POINTS = 8, 5
SMALLEST = 1e-12


class Form(StrEnum):
    """Where the loss is measured. RAYS: at some radii in 8 directions. GRID: 5 x 5 over [-1, 1]^2."""

    RAYS = "rays"
    GRID = "grid"


@dataclass(frozen=True, slots=True)
class LandscapeConfig:
    """How a landscape is measured.

    Attributes:
        form: Rays, or the reference's grid.
        radii: Of the rays, ascending, in norms of the weights; the first is also the step of the
            second differences at the centre.
        per_filter: Directions are scaled by the norm of each row of a weight matrix; by that of the
            whole tensor if not (the reference's form).
        rows: The most validation rows that the loss is averaged over.
        networks: The most of a bundle's seeds that are measured; their metrics are averaged.
        seed: Of directions and rows.
    """

    form: Form = Form.RAYS
    radii: tuple[float, ...] = (0.1, 0.25, 0.5, 1.0)
    per_filter: bool = True
    rows: int = 2048
    networks: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        is_ascending = all(a < b for a, b in zip((0.0, *self.radii), self.radii, strict=False))
        if not self.radii or not is_ascending or self.rows < 1 or self.networks < 1:
            raise ValueError(
                "a landscape needs ascending radii above 0, and at least one row and one network "
                f"(got {self.radii}, {self.rows}, {self.networks})"
            )

    @property
    def points(self) -> np.ndarray:
        """The steps along both directions, float64 [points, 2]; of rays the first is the centre."""
        if self.form == Form.GRID:
            axis = np.linspace(-1, 1, GRID_POINTS)
            return np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        angles = np.arange(RAYS) * 2 * np.pi / RAYS
        towards = np.stack([np.cos(angles), np.sin(angles)], axis=1)
        rays = towards[:, None, :] * np.array(self.radii)[None, :, None]
        return np.concatenate([np.zeros((1, 2)), rays.reshape(-1, 2)])


@dataclass(frozen=True, slots=True)
class Landscape:
    """The metrics of a landscape; of losses divided by the trained network's, so without units.

    Attributes:
        slope: The largest norm of the gradient on the grid, or the largest difference quotient
            along a ray.
        curvature: The largest absolute eigenvalue of the 2 x 2 Hessian at the centre.
        barrier: The largest rise of the loss along a ray, 0 where it rises nowhere.
        loss: The loss of the trained network on the probe: log loss, mean absolute error where the
            metric is MAE, else mean squared error.
        evaluations: Passes over the probe.
        seconds: What it took.
    """

    slope: float
    curvature: float
    barrier: float
    loss: float
    evaluations: int
    seconds: float


def landscape(
    folder: Path,
    inputs: TrialInputs,
    protocol: Protocol,
    config: LandscapeConfig | None = None,
    graph: Any = None,
) -> Landscape | None:
    """The landscape of a bundle's networks on validation rows as a protocol sees them.

    The networks are in evaluation mode and read the same sampled neighbourhoods at every point;
    neither they nor the bundle change.

    Args:
        folder: The bundle.
        inputs: What it was trained from.
        protocol: Says which of its states is measured.
        config: How.
        graph: The temporal graph in memory, where the bundle reads one; None to read it.

    Returns:
        The metrics, or None for models without a landscape: trees, in-context models, ensembles.

    Raises:
        ValueError: No validation row has a label.
    """
    started = time.monotonic()
    config = config or LandscapeConfig()
    bundle = load_bundle(folder)
    if not isinstance(bundle, NetworkBundle | RDLBundle):
        return None
    rows = probe(bundle, inputs, config)
    known = inputs.training_table.filter(pl.col("label").is_not_null())
    if graph is None and isinstance(bundle, RDLBundle) and inputs.graph is not None:
        graph = read_graph(inputs.graph)
    asked = RowsToPredict(
        seeds=seeds_of(rows, inputs.task, inputs.as_of, protocol),
        tables=inputs.tables,
        features=inputs.features.under(protocol) if inputs.features is not None else None,
        label_history=known.select("entity", "cutoff_time", "label"),
        graph=graph,
        threads=1,
    )
    states = [dict(one[protocol]) for one in bundle.states[: config.networks]]
    trained = parameter_names(bundle)
    moved: Any = tuple({protocol: at} for state in states for at in around(state, trained, config))
    # A bundle of the network at every point: it predicts them all from one preparation of the rows.
    predictions = replace(bundle, states=moved).predict(asked, protocol)
    labels = bundle.labels.transform(rows["label"])
    losses = losses_of(inputs.task, labels, predictions).reshape(len(states), -1)
    measured = np.array([measure(own, config) for own in losses])
    slope, curvature, barrier, loss = (float(value) for value in measured.mean(axis=0))
    seconds = round(time.monotonic() - started, 3)
    return Landscape(slope, curvature, barrier, loss, losses.size, seconds)


def probe(bundle: Bundle, inputs: TrialInputs, config: LandscapeConfig) -> pl.DataFrame:
    """The validation rows that the loss is averaged over, the same for all bundles of a task.

    Raises:
        ValueError: No validation row has a label that training knows.
    """
    rows = inputs.training_table.filter(pl.col("split") == "val")
    rows = rows.filter(~np.isnan(bundle.labels.transform(rows["label"])))
    if rows.is_empty():
        raise ValueError(
            f"task {inputs.task.name}: none of its validation rows has a label, so the loss around "
            "a network cannot be measured; choose by another rule"
        )
    generator = np.random.default_rng(config.seed)
    size = min(config.rows, rows.height)
    return rows[np.sort(generator.choice(rows.height, size=size, replace=False))]


def parameter_names(bundle: NetworkBundle | RDLBundle) -> frozenset[str]:
    """The names of a state's entries that are trained; the others are buffers."""
    with torch.random.fork_rng(devices=[]):
        if isinstance(bundle, RDLBundle):
            network: torch.nn.Module = bundle.blueprint.network()
        else:
            outputs = outputs_of(bundle.task.task_type, len(bundle.labels.classes))
            network = make_network(bundle.config, bundle.inputs, outputs)
    return frozenset(name for name, _ in network.named_parameters())


def around(
    state: Mapping[str, Tensor], trained: Iterable[str], config: LandscapeConfig
) -> list[dict[str, Tensor]]:
    """The state moved to every point of the configuration; its own tensors do not change."""
    weights = {name: state[name] for name in sorted(trained)}
    towards = {name: directions(name, w, config) for name, w in weights.items()}
    return [
        dict(state)
        | {name: w + a * towards[name][0] + b * towards[name][1] for name, w in weights.items()}
        for a, b in config.points.tolist()
    ]


def directions(name: str, weights: Tensor, config: LandscapeConfig) -> tuple[Tensor, Tensor]:
    """Two directions of a parameter, orthogonal to each other, of the norm of its weights.

    Norm and angle are per filter: per row of a matrix, for vectors and rows of a single number over
    the whole tensor. A single number has one direction only: the second is 0.

    Args:
        name: The parameter's; with its shape and the seed it decides the directions.
        weights: Its trained values.
        config: Whether to scale per filter, and the seed.
    """
    shape = tuple(weights.shape)
    seed = int(digest(f"{config.seed}:{name}:{shape}")[:15], 16)
    drawn = torch.randn((2, *shape), generator=torch.Generator().manual_seed(seed))
    is_matrix = weights.ndim > 1 and weights.numel() > shape[0]
    filters = shape[0] if config.per_filter and is_matrix else 1
    own = weights.detach().float().reshape(filters, -1)
    first, second = drawn.reshape(2, filters, -1)
    if own.shape[1] == 1:
        second = torch.zeros_like(second)
    else:
        shared = (first * second).sum(1, keepdim=True) / first.square().sum(1, keepdim=True)
        second = second - shared * first
    norm = own.norm(dim=1, keepdim=True)
    scaled = [d * norm / d.norm(dim=1, keepdim=True).clamp(min=SMALLEST) for d in (first, second)]
    return scaled[0].reshape(shape).to(weights), scaled[1].reshape(shape).to(weights)


def losses_of(task: Task, labels: np.ndarray, predictions: np.ndarray) -> np.ndarray:
    """The loss of each model's predictions, float64 [models]; see `Landscape.loss`.

    Args:
        task: Its type and metric decide the loss.
        labels: Encoded, [rows].
        predictions: [models, rows], or [models, rows, classes] for multiclass.
    """
    if task.task_type == TaskType.REGRESSION:
        errors = predictions - labels
        distance = np.abs(errors) if task.metric == Metric.MAE else errors**2
        return np.asarray(distance.mean(axis=1))
    if task.task_type == TaskType.BINARY_CLASSIFICATION:
        of_label = np.where(labels == 1, predictions, 1 - predictions)
    else:
        of_label = predictions[:, np.arange(labels.size), labels.astype(np.int64)]
    return np.asarray(-np.log(of_label.clip(SMALLEST)).mean(axis=1))


def measure(losses: np.ndarray, config: LandscapeConfig) -> tuple[float, float, float, float]:
    """Slope, curvature, barrier (see `Landscape`) and the loss at the centre.

    Args:
        losses: At the configuration's points, in their order.
        config: Says where the points lie.
    """
    centre = len(losses) // 2 if config.form == Form.GRID else 0
    relative = losses / max(float(losses[centre]), SMALLEST)
    # Far out a loss may have no bounds; neither have the metrics then.
    with np.errstate(invalid="ignore"):
        is_grid = config.form == Form.GRID
        found = _of_grid(relative) if is_grid else _of_rays(relative, config.radii)
    return (*found, float(losses[centre]))


def _of_rays(losses: np.ndarray, radii: Sequence[float]) -> tuple[float, float, float]:
    outward = losses[1:].reshape(RAYS, -1)
    lines = np.concatenate([np.full((RAYS, 1), losses[0]), outward], axis=1)
    slope = np.abs(np.diff(lines, axis=1) / np.diff([0.0, *radii])).max()
    # Second differences along 0, 45, 90 and 135 degrees give the whole Hessian.
    half = RAYS // 2
    along = (outward[:half, 0] + outward[half:, 0] - 2 * losses[0]) / radii[0] ** 2
    curvature = _largest_eigenvalue(along[0], along[2], (along[1] - along[3]) / 2)
    return float(slope), curvature, max(float((outward - losses[0]).max()), 0.0)


def _of_grid(losses: np.ndarray) -> tuple[float, float, float]:
    grid = losses.reshape(GRID_POINTS, GRID_POINTS)
    step, c = 2 / (GRID_POINTS - 1), GRID_POINTS // 2
    slope = np.hypot(*np.gradient(grid, step)).max()
    near = grid[c - 1 : c + 2, c - 1 : c + 2]
    curvature = _largest_eigenvalue(
        (near[0, 1] + near[2, 1] - 2 * near[1, 1]) / step**2,
        (near[1, 0] + near[1, 2] - 2 * near[1, 1]) / step**2,
        (near[0, 0] + near[2, 2] - near[0, 2] - near[2, 0]) / (4 * step**2),
    )
    # The rays of a grid are its axes and its diagonals.
    on_rays = [grid[c], grid[:, c], np.diagonal(grid), np.diagonal(grid[::-1])]
    return float(slope), curvature, max(float(np.max(on_rays) - grid[c, c]), 0.0)


def _largest_eigenvalue(first: float, second: float, mixed: float) -> float:
    hessian = np.array([[first, mixed], [mixed, second]])
    return (
        float(np.abs(np.linalg.eigvalsh(hessian)).max()) if np.isfinite(hessian).all() else np.inf
    )
