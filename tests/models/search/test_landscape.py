"""Landscapes: of functions whose shape is known, and of trained networks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import torch

from models.artifacts.recipe import file_digest
from models.database.schema import Metric, Protocol, TaskType
from models.dfs.feature_table import seeds_of
from models.families.bundle import RowsToPredict, load_bundle
from models.families.candidate import Candidate
from models.families.trial import TrialInputs, train_candidate
from models.rdl.graph_files import write_graph
from models.rdl.text import HASHED
from models.search.landscape import (
    Form,
    LandscapeConfig,
    around,
    directions,
    landscape,
    losses_of,
    measure,
    parameter_names,
)
from tests.models.pretraining import world
from tests.models.tabular import trained

FAST = LandscapeConfig(radii=(0.1, 0.5))
SMALL = {"seeds": 2, "channels": 8, "layers": 1, "epochs": 2, "device": "cpu"}
HESSIAN = np.array([[3.0, 1.0], [1.0, -2.0]])


def bowl(points):
    return 2 + np.einsum("pi,ij,pj->p", points, HESSIAN, points)


@pytest.mark.parametrize("form", list(Form))
def test_a_quadratic_function_has_its_own_curvature_slope_and_barrier(form):
    config = LandscapeConfig(form=form)
    slope, curvature, barrier, loss = measure(bowl(config.points), config)
    # The loss is 2 at the centre, so everything is half as large.
    assert loss == pytest.approx(2)
    assert curvature == pytest.approx(np.abs(np.linalg.eigvalsh(HESSIAN)).max())
    edge = [(1, 0), (1, 1)] if form == Form.GRID else [(1, 0), (0.5**0.5, 0.5**0.5)]
    assert barrier == pytest.approx((bowl(np.array(edge)).max() - 2) / 2)
    if form == Form.RAYS:
        # Between radii 0.5 and 1 the quotient is 1.5 times that of the unit step.
        assert slope == pytest.approx(1.5 * (bowl(np.array(edge)).max() - 2) / 2)
    else:
        assert slope == pytest.approx(4.0, rel=0.3)


def test_what_falls_everywhere_has_no_barrier_and_a_hole_no_bounds():
    config = LandscapeConfig()
    distance = np.linalg.norm(config.points, axis=1)
    assert measure(2 - distance, config)[2] == 0
    assert measure(2 + distance, config)[2] == pytest.approx(0.5)
    wild = np.where(distance > 0, np.inf, 1.0)
    assert not np.isfinite(measure(wild, config)[1])


def test_the_first_point_of_rays_and_the_middle_one_of_a_grid_is_the_centre():
    rays, grid = LandscapeConfig(), LandscapeConfig(form=Form.GRID)
    assert rays.points.shape == (33, 2)
    assert grid.points.shape == (25, 2)
    assert rays.points[0].tolist() == grid.points[12].tolist() == [0, 0]
    with pytest.raises(ValueError, match="ascending radii above 0"):
        LandscapeConfig(radii=(0.5, 0.1))


def test_directions_are_orthogonal_and_as_long_as_the_weights_of_each_filter():
    weights = torch.randn(5, 3, 2)
    for per_filter in (True, False):
        first, second = directions("w", weights, LandscapeConfig(per_filter=per_filter))
        shape = (5, 6) if per_filter else (1, 30)
        own, one, two = (t.reshape(shape) for t in (weights, first, second))
        for towards in (one, two):
            torch.testing.assert_close(towards.norm(dim=1), own.norm(dim=1))
        assert ((one * two).sum(1).abs() < 1e-4).all()
    # A vector, and a matrix of single numbers, are one filter; a single number has one direction.
    for shape in ((7,), (7, 1)):
        first, second = directions("v", torch.ones(shape), FAST)
        assert first.norm().item() == pytest.approx(7**0.5, rel=1e-5)
        assert first.abs().std() > 0.1
        assert second.norm().item() == pytest.approx(7**0.5, rel=1e-5)
    first, second = directions("b", torch.tensor([2.0]), FAST)
    assert (abs(first.item()), second.item()) == (pytest.approx(2), 0)
    assert directions("z", torch.zeros(4, 3), FAST)[1].abs().sum() == 0


def test_directions_follow_from_name_shape_and_seed_alone():
    weights = torch.randn(4, 3)
    first, _ = directions("layer.weight", weights, FAST)
    torch.manual_seed(9)
    again, _ = directions("layer.weight", 3 * weights, FAST)
    torch.testing.assert_close(again, 3 * first)
    for other in (
        directions("other.weight", weights, FAST),
        directions("layer.weight", weights, replace(FAST, seed=1)),
    ):
        assert not torch.allclose(other[0], first)


def test_losses_are_what_the_metrics_say():
    values = trained.make_task(TaskType.REGRESSION)
    labels, guesses = np.array([0.0, 1.0]), np.array([[0.5, 3.0]])
    assert losses_of(values, labels, guesses).tolist() == [1.25]
    assert losses_of(replace(values, metric=Metric.RMSE), labels, guesses).tolist() == [2.125]
    binary = trained.make_task(TaskType.BINARY_CLASSIFICATION)
    chances = np.array([[0.25, 0.5], [1.0, 1.0]])
    expected = -np.log([0.75 * 0.5, 1e-12]) / 2
    assert losses_of(binary, labels, chances) == pytest.approx(expected)
    several = trained.make_task(TaskType.MULTICLASS_CLASSIFICATION)
    shares = np.array([[[0.5, 0.3, 0.2], [0.1, 0.8, 0.1]]])
    assert losses_of(several, labels, shares) == pytest.approx(-np.log([0.5 * 0.8]) / 2)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A small network over features, and trees."""
    root = tmp_path_factory.mktemp("shop")
    made = trained.train_small(trained.make_task(TaskType.BINARY_CLASSIFICATION), root)
    inputs = TrialInputs(
        made.features.schema, made.task, trained.AS_OF, made.table, made.features, made.files
    )
    train_candidate(
        Candidate("net", "resnet", SMALL | {"max_columns": 8}), inputs, root / "network", 1
    )
    return made, inputs, root / "network"


@pytest.fixture(scope="module")
def relational(tmp_path_factory):
    """A small relational network."""
    root = tmp_path_factory.mktemp("world")
    made = world.World(root)
    (root / "graph").mkdir()
    write_graph(made.graph, root / "graph")
    rows = made.training_table().with_columns(pl.col("row_id").cast(pl.Int64))
    inputs = TrialInputs(
        world.SCHEMA, world.AGAIN, world.AS_OF, rows, graph=root / "graph", text_encoder=HASHED
    )
    settings = SMALL | {"features": False, "fan_out": 2, "seeds": 1, "steps_per_epoch": 2}
    settings |= {"heads": 1, "normalization": "batch", "strategy": "uniform"}
    train_candidate(Candidate("rdl", "rdl", settings), inputs, root / "bundle", 1)
    return inputs, root / "bundle"


def test_trees_have_no_landscape(shop):
    made, inputs, _ = shop
    assert landscape(made.folder, inputs, Protocol.FROZEN) is None


def test_a_networks_landscape_starts_at_its_loss_and_leaves_it_alone(shop):
    _, inputs, folder = shop
    before = {path.name: file_digest(path) for path in folder.iterdir()}
    torch.manual_seed(0)
    state = torch.get_rng_state()
    found = landscape(folder, inputs, Protocol.ROLLING, FAST)
    assert torch.equal(torch.get_rng_state(), state)
    assert {path.name: file_digest(path) for path in folder.iterdir()} == before
    assert found.loss == pytest.approx(loss_on_validation(folder, inputs, Protocol.ROLLING))
    assert found.evaluations == 17
    assert min(found.slope, found.curvature) > 0
    again = landscape(folder, inputs, Protocol.ROLLING, FAST)
    assert replace(again, seconds=0) == replace(found, seconds=0)


def test_both_networks_the_grid_and_fewer_rows_are_options(shop):
    _, inputs, folder = shop
    one = landscape(folder, inputs, Protocol.FROZEN, FAST)
    two = landscape(folder, inputs, Protocol.FROZEN, replace(FAST, networks=2))
    assert two.evaluations == 2 * one.evaluations
    assert two.slope != one.slope
    grid = landscape(folder, inputs, Protocol.FROZEN, LandscapeConfig(form=Form.GRID))
    assert (grid.evaluations, grid.loss) == (25, one.loss)
    few = landscape(folder, inputs, Protocol.FROZEN, replace(FAST, rows=5))
    assert few.loss != one.loss


def test_a_relational_networks_landscape_is_measured_and_repeats_itself(relational):
    inputs, folder = relational
    config = replace(FAST, rows=60)
    found = landscape(folder, inputs, Protocol.FROZEN, config)
    assert np.isfinite([found.slope, found.curvature, found.barrier]).all()
    assert found.slope > 0
    again = landscape(folder, inputs, Protocol.FROZEN, config)
    assert replace(again, seconds=0) == replace(found, seconds=0)


def test_only_trained_weights_are_moved(relational):
    _, folder = relational
    bundle = load_bundle(folder)
    state = dict(bundle.states[0][Protocol.FROZEN])
    kept = {name: value.clone() for name, value in state.items()}
    names = parameter_names(bundle)
    moved = around(state, names, FAST)
    assert all(torch.equal(state[name], kept[name]) for name in kept)
    assert all(torch.equal(moved[0][name], kept[name]) for name in kept)
    buffers = set(state) - names
    assert any("running_mean" in name for name in buffers)
    assert all(torch.equal(moved[-1][name], kept[name]) for name in buffers)
    assert any(not torch.equal(moved[-1][name], kept[name]) for name in names)


def test_without_labels_in_validation_there_is_nothing_to_measure(shop):
    _, inputs, folder = shop
    unknown = inputs.training_table.with_columns(
        label=pl.when(pl.col("split") != "val").then("label")
    )
    with pytest.raises(ValueError, match="none of its validation rows has a label"):
        landscape(folder, replace(inputs, training_table=unknown), Protocol.FROZEN)


def loss_on_validation(folder, inputs, protocol):
    bundle = load_bundle(folder)
    rows = inputs.training_table.filter(pl.col("split") == "val")
    seeds = seeds_of(rows, inputs.task, inputs.as_of, protocol)
    asked = RowsToPredict(seeds, features=inputs.features.under(protocol))
    predictions = bundle.predict(asked, protocol)[:1]
    return losses_of(inputs.task, bundle.labels.transform(rows["label"]), predictions)[0]
