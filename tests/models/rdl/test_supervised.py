"""The supervised objective: its batches, what stale examples see, its predictions."""

from dataclasses import replace

import pytest
import torch

from models.database.schema import Metric, Protocol, TaskType
from models.learning.outcome import TargetScale
from models.rdl import supervised
from models.rdl.config import Convolution
from models.rdl.examples import Examples
from models.rdl.network import RelationalNetwork
from models.rdl.sampler import TemporalSampler
from models.rdl.supervised import Reader, SupervisedObjective, generator_for
from tests.models.rdl.league import half_day, microseconds
from tests.models.rdl.networks import backbone, shape_of

LAGS = (0, 4, 10)
"""How many half days after the limit the frozen validation cutoffs lie."""


def train_examples():
    rows = torch.arange(12).repeat(6)
    times = microseconds(*[half_day(10 + 5 * (place // 12)) for place in range(72)])
    labels = torch.randint(2, (72,), generator=torch.Generator().manual_seed(0)).double()
    return Examples("players", rows, times, times, labels)


def stale_examples():
    """The training examples as they were two or five days before."""
    train = train_examples()
    lag = microseconds(half_day(4), half_day(10)).repeat(36) - microseconds(half_day(0))
    return replace(train, visible_until=train.visible_until - lag)


def validation_examples():
    rows = torch.arange(12).repeat(3)
    cutoffs = microseconds(*[half_day(42 + LAGS[place // 12]) for place in range(36)])
    labels = (torch.arange(36) % 3 == 0).double()
    limit = microseconds(half_day(42)).expand(36)
    return {
        Protocol.FROZEN: Examples("players", rows, cutoffs, limit, labels),
        Protocol.ROLLING: Examples("players", rows, cutoffs, cutoffs, labels),
    }


@pytest.fixture
def objective(league, statistics, inputs):
    def make(
        seed=0,
        staleness=0.5,
        train=train_examples(),  # noqa: B008
        stale=stale_examples(),  # noqa: B008
        validation=None,
        fan_outs=(3, 2),
        dropout=0.0,
    ):
        shape = shape_of(Convolution.SAGE, dropout=dropout)
        network = RelationalNetwork(backbone(league, statistics, shape), 1)
        reader = Reader(network, inputs, TemporalSampler(league, fan_outs))
        return SupervisedObjective(
            reader,
            train,
            stale,
            validation or validation_examples(),
            TaskType.BINARY_CLASSIFICATION,
            Metric.ROC_AUC,
            TargetScale(),
            2,
            batch_size=16,
            staleness=staleness,
            seed=seed,
        )

    return make


def batches_of(one, epoch):
    """Every batch's examples, and the loss with which its sample is seen."""
    found = []
    for batch in one.batches(epoch):
        examples, _ = batch
        loss, parts = one.loss(batch)
        assert parts == {}
        found.append(
            [examples.rows, examples.cutoff_time, examples.visible_until, examples.labels, loss]
        )
    return found


def equal(one, other):
    return all(
        torch.equal(a, b)
        for first, second in zip(one, other, strict=True)
        for a, b in zip(first, second, strict=True)
    )


def test_batches_depend_on_seed_and_epoch_alone(objective):
    fresh, used = objective(), objective()
    used.validate()
    for epoch in (2, 0):
        batches_of(used, epoch)
    torch.manual_seed(99)
    assert equal(batches_of(fresh, 1), batches_of(used, 1))
    assert not equal(batches_of(fresh, 1), batches_of(fresh, 2))
    assert not equal(batches_of(fresh, 1), batches_of(objective(seed=1), 1))


def test_every_epoch_samples_anew(objective):
    """The order of examples is not all that changes."""
    seeds = {
        next(iter(objective(seed).batches(epoch)))[1].initial_seed()
        for seed in range(3)
        for epoch in range(4)
    }
    assert len(seeds) == 12


def test_an_epoch_has_every_example_once(objective):
    one = objective()
    train = train_examples()
    places = {
        (row, time): label
        for row, time, label in zip(
            train.rows.tolist(), train.cutoff_time.tolist(), train.labels.tolist(), strict=True
        )
    }
    found = [examples for examples, _ in one.batches(3)]
    assert [len(examples) for examples in found] == [16, 16, 16, 16, 8]
    seen = {}
    for examples in found:
        for row, time, label in zip(
            examples.rows.tolist(),
            examples.cutoff_time.tolist(),
            examples.labels.tolist(),
            strict=True,
        ):
            seen[row, time] = label
    assert seen == places


def test_staleness_only_ever_takes_away(objective):
    """Each example is seen from its own earlier moment or its cutoff, by the share, with the features
    of that moment."""
    train = replace(train_examples(), features=torch.arange(72.0)[:, None])
    stale = replace(stale_examples(), features=-1 - torch.arange(72.0)[:, None])
    one = objective(staleness=0.6, train=train, stale=stale)
    marks = []
    for epoch in range(20):
        for examples, _ in one.batches(epoch):
            marks += (examples.features[:, 0] < 0).tolist()
            for place in range(len(examples)):
                mark = int(examples.features[place, 0])
                source, position = (train, mark) if mark >= 0 else (stale, -1 - mark)
                for name in ("rows", "cutoff_time", "visible_until", "labels"):
                    assert getattr(examples, name)[place] == getattr(source, name)[position]
    assert sum(marks) / len(marks) == pytest.approx(0.6, abs=0.05)


@pytest.mark.parametrize("staleness", [0.0, 1.0])
def test_no_and_full_staleness(objective, staleness):
    one = objective(staleness=staleness)
    lags = torch.cat([e.cutoff_time - e.visible_until for e, _ in one.batches(0)])
    assert bool((lags > 0).any()) == (staleness == 1.0)
    assert bool((lags >= 0).all())


def test_there_is_no_staleness_where_both_protocols_see_the_same(objective):
    one = objective(staleness=1.0, stale=None)
    assert all(torch.equal(e.cutoff_time, e.visible_until) for e, _ in one.batches(0))


def test_validation_is_scored_under_both_protocols(objective, monkeypatch):
    one = objective()
    found = one.validate()
    assert set(found) == set(one.watched) == {"frozen", "rolling"}
    assert all(one.watched.values())
    assert found["frozen"] != found["rolling"]
    assert one.validate() == found
    # One cutoff: both ask the same, once.
    rolling = validation_examples()[Protocol.ROLLING]
    same = objective(validation={Protocol.FROZEN: rolling, Protocol.ROLLING: rolling})
    calls = []
    monkeypatch.setattr(
        supervised,
        "to_predictions",
        lambda *a, f=supervised.to_predictions: calls.append(1) or f(*a),
    )
    values = same.validate()
    assert values["frozen"] == values["rolling"]
    assert len(calls) == 1


def test_predictions_are_the_same_every_time(objective, monkeypatch):
    one = objective(dropout=0.5)
    train = train_examples()
    first = one.reader.all_raw(train)
    one.module.train()
    torch.manual_seed(5)
    assert torch.equal(one.reader.all_raw(train), first)
    assert first.shape == (72, 1)
    assert not first.requires_grad
    embedded = one.reader.embeddings(train)
    assert embedded.shape == (72, 8)
    torch.testing.assert_close(one.module.head(embedded), first)


def test_batches_of_predictions_do_not_matter_where_fan_outs_suffice(objective, monkeypatch):
    one = objective(fan_outs=(10**9, 10**9))
    whole = one.reader.all_raw(train_examples())
    monkeypatch.setattr(supervised, "EVALUATION_BATCH", 7)
    torch.testing.assert_close(one.reader.all_raw(train_examples()), whole)


def test_a_prediction_does_not_see_past_its_limit(objective):
    """Later limits are another question; the same limit at a later cutoff sees the same rows."""
    one = objective(fan_outs=(10**9, 10**9))
    train = train_examples()
    early = microseconds(half_day(-5)).expand(72)
    before = Examples("players", train.rows, train.cutoff_time, early, train.labels)
    none = one.reader.all_raw(before)
    seen = one.reader.all_raw(train)
    assert not torch.allclose(none, seen)
    sample = one.reader.sampler.sample(
        "players", before.rows, early, generator_for(early.device, 0)
    )
    assert len(sample.rows["plays"]) == 0


def test_gradients_reach_the_network(objective):
    one = objective()
    loss, _ = one.loss(next(iter(one.batches(0))))
    loss.backward()
    assert loss.shape == ()
    assert one.reader.network.head[-1].weight.grad.abs().sum() > 0
    assert one.reader.network.backbone.seed_mark.grad.abs().sum() > 0


@pytest.mark.parametrize("metric", [Metric.MAE, Metric.RMSE])
def test_errors_are_better_when_lower(league, statistics, inputs, metric):
    network = RelationalNetwork(backbone(league, statistics, shape_of(Convolution.SAGE)), 1)
    reader = Reader(network, inputs, TemporalSampler(league, (3, 2)))
    scale = TargetScale(2.0, 3.0, 0.0, 5.0)
    one = SupervisedObjective(
        reader,
        train_examples(),
        None,
        validation_examples(),
        TaskType.REGRESSION,
        metric,
        scale,
        0,
        16,
        0.0,
        0,
    )
    assert not any(one.watched.values())
    assert all(0 <= value <= 5 for value in one.validate().values())
