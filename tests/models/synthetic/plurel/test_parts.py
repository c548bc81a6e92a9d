"""Laws, activations, networks, encoders, aggregations: against torch, SciPy and plain loops."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional

from models.synthetic.draws import Choice, Fixed, Integer, LogUniform, PowerLawInteger, Uniform
from models.synthetic.plurel.activations import ACTIVATIONS, BOUNDED, random_sines, sine
from models.synthetic.plurel.aggregations import Aggregation, aggregator, combine, of_nothing
from models.synthetic.plurel.batches import batch, places
from models.synthetic.plurel.digits import significant
from models.synthetic.plurel.encoders import Cells, cells_of, draw_encoders
from models.synthetic.plurel.laws import Initialisation, beta_quantiles, matrices, picks
from models.synthetic.plurel.networks import LIMIT, WIDTH, NetworkSettings, draw_networks

EVERYTHING = slice(None)


def generator(seed=0):
    return np.random.default_rng(seed)


@pytest.mark.parametrize(
    "draw",
    [
        Fixed(3.0), Uniform(1.0, 2.0), LogUniform(0.1, 10.0), Integer(2, 5), Choice((1.0, 4.0)),
        Choice((1.0, 4.0), (3.0, 1.0)), PowerLawInteger(1, 4),
    ],
    ids=repr,
)  # fmt: skip
def test_a_batch_has_the_distribution_of_single_draws(draw):
    drawn = batch(draw, generator(), 4000)
    rng = generator(1)
    single = np.array([draw.sample(rng) for _ in range(4000)])
    assert drawn.dtype == np.float64
    assert stats.ks_2samp(drawn, single).pvalue > 1e-3


def test_places_follow_weights():
    drawn = np.bincount(places(Choice("abc", (1.0, 0.0, 3.0)), generator(), 4000), minlength=3)
    assert drawn[1] == 0
    assert drawn[2] / 4000 == pytest.approx(0.75, abs=0.03)


@pytest.mark.parametrize(
    ("law", "filler"),
    [
        (Initialisation.KAIMING_NORMAL, torch.nn.init.kaiming_normal_),
        (Initialisation.KAIMING_UNIFORM, torch.nn.init.kaiming_uniform_),
        (Initialisation.XAVIER_NORMAL, torch.nn.init.xavier_normal_),
        (Initialisation.XAVIER_UNIFORM, torch.nn.init.xavier_uniform_),
        (Initialisation.TRUNCATED_NORMAL, torch.nn.init.trunc_normal_),
    ],
)
@pytest.mark.parametrize("shape", [(1, 32), (32, 32), (32, 1)])
def test_matrices_are_filled_as_torch_fills_them(law, filler, shape):
    torch.manual_seed(0)
    ours = matrices((12_000 // (shape[0] * shape[1]), *shape), Choice((law,)), None, generator())
    theirs = np.stack([filler(torch.empty(shape)).numpy() for _ in ours])
    assert stats.ks_2samp(ours.ravel(), theirs.ravel()).pvalue > 1e-3
    assert ours.std() == pytest.approx(theirs.std(), rel=0.04)


def test_sparse_matrices_are_small_and_half_empty_and_single_rows_empty():
    found = matrices((50, 32, 32), Choice((Initialisation.SPARSE,)), None, generator())
    assert np.mean(found == 0) == pytest.approx(0.5, abs=0.02)
    assert found[found != 0].std() == pytest.approx(0.01, rel=0.05)
    assert not matrices((50, 1, 32), Choice((Initialisation.SPARSE,)), None, generator()).any()


def test_density_thins_out_and_keeps_the_expected_sum():
    law = Choice((Initialisation.TRUNCATED_NORMAL,))
    full = matrices((60, 32, 32), law, None, generator())
    thin = matrices((60, 32, 32), law, Fixed(0.3), generator())
    assert np.mean(thin == 0) == pytest.approx(0.7, abs=0.01)
    assert thin[thin != 0].std() == pytest.approx(full.std() / 0.3, rel=0.03)
    assert np.mean(matrices((60, 32, 32), law, Fixed(1.0), generator()) == 0) == 0


def test_filled_up_embeddings_have_the_scale_of_those_that_count():
    law = Choice((Initialisation.XAVIER_NORMAL,))
    found = matrices((500, 10, 32), law, None, generator(), np.full(500, 2))
    assert found.std() == pytest.approx(np.sqrt(2 / 34), rel=0.02)


@pytest.mark.parametrize(("alpha", "beta"), [(0.5, 0.5), (0.5, 5.0), (2.0, 3.0), (5.0, 0.6)])
def test_beta_quantiles_are_those_of_scipy(alpha, beta):
    (found,) = beta_quantiles(np.array([alpha]), np.array([beta]), 256)
    exact = stats.beta.ppf((np.arange(256) + 0.5) / 256, alpha, beta)
    assert found == pytest.approx(exact, abs=2e-4)
    drawn = picks(found, (500, 32), generator())
    assert drawn.mean() == pytest.approx(alpha / (alpha + beta), abs=0.01)
    assert drawn.std() == pytest.approx(stats.beta.std(alpha, beta), rel=0.03)


@pytest.mark.parametrize("name", sorted(ACTIVATIONS))
def test_activations_are_torchs(name):
    plain = {
        "identity": lambda x: x,
        "abs": torch.abs,
        "sin": torch.sin,
        "cos": torch.cos,
        "sign": torch.sign,
        "clip": lambda x: x.clamp(-1, 1),
        "signed_log": lambda x: torch.log1p(x.abs()) * x.sign(),
        "bent_identity": lambda x: (torch.sqrt(x**2 + 1) - 1) / 2 + x,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
    }
    function = plain.get(name) or getattr(functional, name)
    values = np.concatenate([np.linspace(-40, 40, 2001), [0.0, 700.0, -700.0]])
    given = values.copy()
    found = ACTIVATIONS[name](values)
    assert found == pytest.approx(function(torch.from_numpy(values)).numpy(), abs=1.1e-3)
    assert np.array_equal(values, given)
    if name in BOUNDED:
        assert np.abs(found).max() <= 1 + 1e-6


def test_sines_are_sines_far_away_too():
    values = np.linspace(-5000, 5000, 30_001)
    assert np.abs(sine(values) - np.sin(values)).max() < 1e-6
    found = random_sines(values, np.array([2.0, 1.0]), np.array([0.5, 3.0]), np.array([0.0, 1.0]))
    assert found == pytest.approx(2 * np.sin(values / 2) + np.sin(3 * values + 1), abs=1e-5)


def by_hand(networks, group, place, inputs):
    """One network of a group, layer by layer."""
    start = networks.bounds[0][group]
    slot = networks.order[start : networks.bounds[0][group + 1]].tolist().index(place)
    values = inputs
    for layer, (weights, bounds) in enumerate(zip(networks.matrices, networks.bounds, strict=True)):
        own = weights[bounds[group] : bounds[group + 1]]
        if slot >= len(own):
            continue
        values = values @ own[slot]
        if layer < len(networks.matrices) - 1:
            name = networks.activations[layer][start + slot]
            values = (
                random_sines(values, *networks.sines[layer, start + slot])
                if name == "random_sines"
                else ACTIVATIONS[name](values)
            )
            values = np.clip(networks.gains[layer][start + slot] * values, -LIMIT, LIMIT)
    return values


@pytest.mark.parametrize(("inputs", "outputs"), [(1, WIDTH), (WIDTH, WIDTH), (WIDTH, 1)])
def test_networks_are_computed_group_by_group_as_one_by_one(inputs, outputs):
    groups = [3, 0, 1, 9]
    networks = draw_networks(groups, inputs, outputs, NetworkSettings(), generator(5))
    for group, size in enumerate(groups):
        given = generator(group).normal(size=(size, 300, inputs))
        found = networks(group, given)
        assert found.shape == (size, 300, outputs)
        for place in range(size):
            expected = by_hand(networks, group, place, given[place])
            assert found[place] == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_depths_of_networks_follow_their_draw():
    networks = draw_networks([5] * 400, 1, 1, NetworkSettings(), generator())
    sizes = [len(weights) for weights in networks.matrices]
    assert sizes[0] == sizes[-1] == 2000
    assert sizes[1] / 2000 == pytest.approx(2 / 3, abs=0.04)
    assert sizes[2] / 2000 == pytest.approx(1 / 3, abs=0.04)
    for slots in networks.order.reshape(400, 5).tolist():
        assert sorted(slots) == [0, 1, 2, 3, 4]
    # Each input has the deepest network of its group now and then.
    assert set(networks.order.reshape(400, 5)[:, 0].tolist()) == {0, 1, 2, 3, 4}


def test_contradictory_networks_are_refused():
    with pytest.raises(ValueError, match="two layers at least"):
        draw_networks([1], 1, 1, NetworkSettings(layers=Fixed(1)), generator())
    with pytest.raises(ValueError, match="no activation swish"):
        NetworkSettings(activations=Choice(("relu", "swish")))


def test_cells_of_few_values_are_exact():
    values = np.array([3.0, -1.0, 3.0, 2.0, -1.0])
    cells = cells_of(values, 3)
    assert cells.points[cells.place].tolist() == values.tolist()
    assert cells_of(np.zeros(4), 1).place.tolist() == [0] * 4


def test_cells_of_many_values_are_near_and_equal_values_share_one():
    values = np.round(generator().standard_cauchy(3000), 1)
    cells = cells_of(values, 64)
    assert len(cells.points) <= 64
    near = cells.points[cells.place]
    ranks = stats.rankdata(values) / 3000
    at = np.searchsorted(np.sort(values), near) / 3000
    assert np.abs(at - ranks).max() < 0.05
    for value in np.unique(values)[:20]:
        assert len(set(cells.place[values == value].tolist())) == 1


def test_encoders_embed_numbers_and_categories_and_weigh_them():
    numbers = cells_of(np.linspace(-1, 1, 50), 100)
    names = Cells(np.arange(50) % 3, None, 3)
    settings = NetworkSettings(density=Fixed(1.0), activations=Choice(("tanh",)))
    encoders = draw_encoders([[0, 3, 0], [4]], settings, generator())
    inputs = [numbers, names, numbers]
    found = encoders(0, inputs, np.ones(3))
    assert [table.shape[1] for table in found] == [WIDTH] * 3
    assert not np.array_equal(found[0], found[2])
    for cells, table in zip(inputs, found, strict=True):
        assert cells.place.max() < len(table)
    # A number's embedding is a function of the number alone.
    again = encoders(0, [cells_of(np.array([-1.0, 1.0]), 9), names, numbers], np.ones(3))
    assert again[0][:2] == pytest.approx(found[0][[0, 49]])
    twice = encoders(0, inputs, np.array([1.0, -2.0, 1e12]))
    assert twice[1] == pytest.approx(-2 * found[1])
    assert np.abs(twice[2]).max() <= 1e4
    assert encoders(1, [Cells(np.array([0, 3]), None, 4)], np.ones(1))[0].shape[0] >= 4


@pytest.mark.parametrize("spread", [1.0, 300.0, 5000.0])
@pytest.mark.parametrize("how", list(Aggregation))
def test_aggregations_are_torchs(how, spread):
    rng = generator(3)
    tables = [rng.normal(scale=spread, size=(7, 4)) for _ in range(3)]
    ats = [rng.integers(7, size=200) for _ in range(3)]
    given = [rng.normal(scale=spread, size=(200, 4))]
    parts = np.stack([*(t[at] for t, at in zip(tables, ats, strict=True)), *given])
    stack = torch.from_numpy(parts)
    expected = {
        Aggregation.SUM: lambda: stack.sum(0),
        Aggregation.MAX: lambda: stack.max(0).values,
        Aggregation.PRODUCT: lambda: stack.prod(0).clamp(-1e12, 1e12),
        Aggregation.LOG_SUM_EXP: lambda: torch.logsumexp(stack, 0),
    }[how]().numpy()
    with np.errstate(all="ignore"):
        aggregate = aggregator(how, tables, ats, given)
        found = aggregate(EVERYTHING)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-9)
        assert np.array_equal(aggregate(slice(20, 50)), found[20:50])
        assert np.array_equal(aggregate(np.array([3, 1])), found[[3, 1]])
        nothing = np.full_like(found, of_nothing(how))
        assert combine(how, found, nothing) == pytest.approx(found)


def test_a_product_of_infinities_and_zeros_is_a_number():
    tables = [np.array([[1e4]])] * 100 + [np.array([[0.0]])]
    with np.errstate(all="ignore"):
        found = aggregator(Aggregation.PRODUCT, tables, [np.zeros(2, np.int64)] * 101, [])
        assert np.isfinite(found(EVERYTHING)).all()


def test_six_digits():
    values = np.array([0.0, 1.23456789, -987654321.0, 1.23456789e-9, 99999.96, 1e300, -2.5])
    found = significant(values)
    expected = [float(f"{value:.5e}") for value in values]
    assert found[:-2].tolist() == expected[:-2]
    assert found == pytest.approx(values, rel=1e-5)
    assert np.array_equal(significant(found), found)
