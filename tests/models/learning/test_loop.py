"""The training loop: what it keeps, when it stops, and that it can be killed."""

from __future__ import annotations

import itertools
import math
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from models.learning.checkpoint import FILE, read_checkpoint
from models.learning.config import LoopConfig, epoch_seed, learning_rate_at
from models.learning.device import held_gigabytes
from models.learning.loop import fit
from tests.fixtures import wait_for
from tests.models.learning.small import CONFIG, Line, errors

CPU = torch.device("cpu")


class Scripted(Line):
    """Trains as a line does, and reports the metrics that a test dictates."""

    def __init__(self, **metrics: list[float]) -> None:
        super().__init__()
        self.metrics, self.epoch = metrics, -1
        self.watched = {name: name.startswith("high") for name in metrics}

    def validate(self):
        self.epoch += 1
        return {name: values[self.epoch] for name, values in self.metrics.items()}


def assert_equal_fits(one, other):
    assert errors(one) == errors(other)
    assert one.best_values == other.best_values
    assert one.best_epochs == other.best_epochs
    for metric, state in one.best_states.items():
        for name, tensor in state.items():
            assert torch.equal(tensor, other.best_states[metric][name])


def test_the_loss_falls_and_each_epoch_is_told_once():
    lines: list[str] = []
    found = fit(Line(), replace(CONFIG, epochs=4), CPU, progress=lines.append)
    assert errors(found)[-1] < errors(found)[0]
    assert [entry["steps"] for entry in found.history] == [3, 3, 3, 3]
    assert found.history[0]["twice"] == pytest.approx(2 * found.history[0]["loss"])
    assert len([line for line in lines if line.startswith("epoch")]) == 4
    assert found.stopped == "all 4 epochs are done"


def test_each_watched_metric_keeps_its_own_best_state():
    script = {"high": [1.0, 3.0, 2.0, 3.0], "low": [2.0, 5.0, 1.0, 4.0]}
    objective = Scripted(**script)
    states = []
    validate = objective.validate

    def spy():
        states.append(objective.module[0].weight.detach().clone())
        return validate()

    objective.validate = spy
    found = fit(objective, replace(CONFIG, epochs=4), CPU)
    assert found.best_epochs == {"high": 1, "low": 2}
    assert found.best_values == {"high": 3.0, "low": 1.0}
    assert torch.equal(found.best_states["high"]["0.weight"], states[1])
    assert torch.equal(found.best_states["low"]["0.weight"], states[2])


def test_fixed_epochs_are_kept_where_nothing_is_to_be_chosen():
    script = {"high": [3.0, 2.0, 1.0, 0.0], "low": [1.0, 2.0, 3.0, 4.0]}
    config = replace(CONFIG, epochs=4, patience=None, schedule="constant", averaging=0.0)
    objective = Scripted(**script)
    found = fit(objective, replace(config, kept_epochs={"high": 2}), CPU)
    assert found.best_epochs == {"high": 1, "low": 3}
    assert torch.equal(found.best_states["low"]["0.weight"], objective.module[0].weight.detach())
    # The state on the way is that of a training that ends there.
    shorter = Scripted(**{name: values[:2] for name, values in script.items()})
    fit(shorter, replace(config, epochs=2), CPU)
    assert torch.equal(found.best_states["high"]["0.weight"], shorter.module[0].weight.detach())
    for epochs in ({"high": 0}, {"high": 5}):
        with pytest.raises(ValueError, match="kept_epochs are from 1 to 4"):
            replace(config, kept_epochs=epochs)


def test_patience_counts_from_the_last_gain_of_any_metric():
    script = {"high": [1.0] + [0.0] * 20, "low": [3.0, 3.0, 1.0] + [2.0] * 18}
    found = fit(Scripted(**script), replace(CONFIG, epochs=20, patience=4), CPU)
    assert len(found.history) == 2 + 1 + 4
    assert found.stopped == "no watched metric gained for 4 epochs"


def test_an_undefined_metric_is_never_better_and_leaves_the_last_state():
    script = {"high": [math.nan] * 3, "low": [math.nan, 2.0, math.nan]}
    found = fit(Scripted(**script), replace(CONFIG, epochs=3, patience=1), CPU)
    assert found.best_epochs["low"] == 1
    assert found.best_values["low"] == 2.0
    assert math.isnan(found.best_values["high"])
    assert found.best_epochs["high"] == len(found.history) - 1


def test_the_same_seed_gives_the_same_run_and_another_seed_another():
    again = [fit(Line(3), CONFIG, CPU) for _ in range(2)]
    assert_equal_fits(*again)
    other = fit(Line(3), replace(CONFIG, seed=4), CPU)
    assert errors(other) != errors(again[0])


def test_training_leaves_the_global_random_state_alone():
    before = torch.random.get_rng_state()
    objective = Line()
    torch.random.set_rng_state(before)
    fit(objective, replace(CONFIG, epochs=1), CPU)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_killed_run_goes_on_where_it_was(tmp_path):
    command = [sys.executable, "-m", "tests.models.learning.small", str(tmp_path)]
    child = subprocess.Popen(command)
    wait_for(
        lambda: (
            ((tmp_path / FILE).exists() and epochs_done(tmp_path) >= 3) or child.poll() is not None
        )
    )
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    done = epochs_done(tmp_path)
    assert 3 <= done < CONFIG.epochs
    lines: list[str] = []
    resumed = fit(Line(3), CONFIG, CPU, tmp_path, lines.append)
    assert lines[0] == f"resumed after {done} epochs"
    assert_equal_fits(resumed, fit(Line(3), CONFIG, CPU))


def epochs_done(folder):
    found = read_checkpoint(folder)
    return len(found["fit"]["history"]) if found else 0


def test_a_finished_run_is_not_trained_again(tmp_path):
    first = fit(Line(3), CONFIG, CPU, tmp_path)
    lines: list[str] = []
    second = fit(Line(3), CONFIG, CPU, tmp_path, lines.append)
    assert_equal_fits(first, second)
    assert not [line for line in lines if line.startswith("epoch")]


@pytest.mark.parametrize("other", ["settings", "start"])
def test_a_checkpoint_of_another_run_is_ignored(tmp_path, other):
    fit(Line(3), CONFIG, CPU, tmp_path)
    config = replace(CONFIG, learning_rate=0.02) if other == "settings" else CONFIG
    objective = Line(4) if other == "start" else Line(3)
    lines: list[str] = []
    found = fit(objective, config, CPU, tmp_path, lines.append)
    assert "another run" in lines[0]
    assert_equal_fits(found, fit(Line(4) if other == "start" else Line(3), config, CPU))


def test_steps_per_epoch_bounds_an_epoch():
    found = fit(Line(), replace(CONFIG, epochs=2, steps_per_epoch=2), CPU)
    assert [entry["steps"] for entry in found.history] == [2, 2]


def test_the_budget_of_seconds_stops_training_in_the_middle_of_an_epoch(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("models.learning.loop.time.monotonic", lambda: clock[0])

    class Slow(Line):
        def loss(self, batch):
            clock[0] += 1
            return super().loss(batch)

    found = fit(Slow(), replace(CONFIG, max_seconds=4.5), CPU)
    assert [entry["steps"] for entry in found.history] == [3, 2]
    assert "seconds are spent" in found.stopped


def test_the_budget_of_memory_stops_training_and_keeps_the_best_state(monkeypatch):
    held = iter([1.0, 1.0, 1.5, 1.5, 2.5])
    monkeypatch.setattr("models.learning.loop.held_gigabytes", lambda device: next(held))
    found = fit(Line(), replace(CONFIG, max_gigabytes=2.0), CPU)
    assert [entry["steps"] for entry in found.history] == [3, 2]
    assert "2.5 GB were held, more than the 2.0 allowed" in found.stopped
    assert found.best_states


def test_memory_is_told_in_gigabytes():
    before = held_gigabytes(CPU)
    block = torch.ones(60_000_000)
    assert 0.2 < held_gigabytes(CPU) - before < 0.3
    del block


def test_gradients_are_clipped():
    config = LoopConfig(epochs=1, steps_per_epoch=1, clip_norm=1e-3)
    objective = Line()
    fit(objective, config, CPU)
    squares = [p.grad.square().sum() for p in objective.module.parameters()]
    assert torch.stack(squares).sum().sqrt().item() == pytest.approx(1e-3, rel=1e-3)


def test_bfloat16_steps_run_and_validation_stays_float32():
    objective = Line()
    seen = []
    objective.module[0].register_forward_hook(
        lambda m, i, out: seen.append((m.training, out.dtype))
    )
    found = fit(objective, replace(CONFIG, epochs=6, precision="bfloat16"), CPU)
    assert set(seen) == {(True, torch.bfloat16), (False, torch.float32)}
    assert errors(found)[-1] < errors(found)[0]


def test_a_loss_that_is_not_finite_ends_training_with_what_was_best():
    class Exploding(Line):
        def loss(self, batch):
            loss, parts = super().loss(batch)
            return (loss * math.nan if self.now == self.bad else loss), parts

        def batches(self, epoch):
            self.now = epoch
            yield from super().batches(epoch)

    objective = Exploding()
    objective.bad = 2
    found = fit(objective, CONFIG, CPU)
    assert "loss of epoch 2 is nan; lower learning_rate" in found.stopped
    assert len(found.history) == 2
    assert all(tensor.isfinite().all() for tensor in found.best_states["error"].values())
    objective = Exploding()
    objective.bad = 0
    with pytest.raises(FloatingPointError, match="loss of epoch 0 is nan"):
        fit(objective, CONFIG, CPU)


def test_an_epoch_without_batches_and_a_missing_metric_are_refused():
    empty = Line()
    empty.batches = lambda epoch: iter(())
    with pytest.raises(ValueError, match="epoch 0 has no training batch"):
        fit(empty, CONFIG, CPU)
    silent = Line()
    silent.watched = {"elsewhere": True}
    with pytest.raises(ValueError, match="'elsewhere'"):
        fit(silent, CONFIG, CPU)


def test_the_schedules():
    cosine = LoopConfig(epochs=10, learning_rate=0.1, schedule="cosine")
    rates = [learning_rate_at(cosine, epoch, 1000) for epoch in range(10)]
    assert rates[0] == 0.1
    assert rates[5] == pytest.approx(0.05)
    assert all(now < before for before, now in itertools.pairwise(rates))
    exponential = LoopConfig(learning_rate=0.1, schedule="exponential", gamma=0.5)
    assert learning_rate_at(exponential, 3, 1000) == pytest.approx(0.1 / 8)
    warm = LoopConfig(learning_rate=0.1, warm_up_steps=4)
    assert [learning_rate_at(warm, 0, step) for step in (0, 1, 3, 4)] == pytest.approx(
        [0.025, 0.05, 0.1, 0.1]
    )


def test_epochs_and_seeds_have_streams_of_their_own():
    drawn = {epoch_seed(s, e, p) for s in range(5) for e in range(5) for p in range(2)}
    assert len(drawn) == 50


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"schedule": "cosin"}, "schedule must be one of constant, cosine, exponential"),
        ({"precision": "half"}, "precision must be one of"),
        ({"compile": "always"}, "compile must be one of"),
        ({"epochs": 0}, "epochs and steps_per_epoch"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"gamma": 0.0}, "gamma"),
        ({"patience": 0}, "patience must be positive or None"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ValueError, match=message):
        LoopConfig(**setting)
