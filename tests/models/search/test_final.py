"""From candidates to artifacts to the model: trials as they are kept, and the choice among them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from models.artifacts import ArtifactStore
from models.bank.store import append_to_bank, read_bank
from models.database.schema import Protocol, TaskType
from models.families.bundle import load_bundle
from models.families.candidate import Candidate
from models.families.trial import TrialInputs
from models.search.choice import Choice
from models.search.final import make_model, weights_of
from models.search.refit import fixed_length, refit, refit_model, rounds_of, with_validation
from models.search.study import run_study
from models.search.trial_runner import (
    TrialRunner,
    bank_rows,
    evaluate,
    read_predictions,
    validation_of,
)
from tests.models.tabular.trained import AS_OF, make_task, train_small

TREES = Candidate("trees", "lightgbm", {"seeds": 2, "rounds": 10, "min_data_in_leaf": 3})
STUMPS = Candidate("stumps", "lightgbm", {"seeds": 1, "rounds": 2, "num_leaves": 2})
NET = Candidate("net", "resnet", {"seeds": 1, "channels": 8, "layers": 1, "epochs": 2,
                                  "max_columns": 8, "device": "cpu"})  # fmt: skip


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> TrialRunner:
    folder = tmp_path_factory.mktemp("runner")
    made = train_small(make_task(TaskType.REGRESSION, Protocol.FROZEN), folder / "small")
    return TrialRunner(
        ArtifactStore(folder / "store"),
        "run",
        "club/spend/2020-01-01",
        TrialInputs(made.features.schema, made.task, AS_OF, made.table, made.features, made.files),
        {"training_table": "a" * 24, "features": "b" * 24},
        {"lightgbm": "code", "resnet": "code", "rdl": "code"},
        1,
    )


@pytest.fixture(scope="module")
def trials(runner: TrialRunner):
    return [runner.run(one).artifact for one in (TREES, STUMPS, NET)]


def test_a_trial_is_trained_once_and_its_name_and_settings_tell_trials_apart(runner, trials):
    again = runner.run(TREES)
    assert again.reused
    assert again.artifact.fingerprint == trials[0].fingerprint
    assert len({trial.fingerprint for trial in trials}) == 3
    assert not replace(runner, force=True).run(STUMPS).reused


def test_a_trial_knows_its_predictions_and_its_rows_of_the_bank(runner, trials, tmp_path):
    rows = bank_rows(trials[0])
    assert {(row["protocol"], row["seed"]) for row in rows} == {
        (protocol, seed) for protocol in ("frozen", "rolling") for seed in (0, 1)
    }
    table = runner.inputs.training_table
    found, predictions = validation_of(trials, table, Protocol.FROZEN)
    own = [row["validation"] for row in rows if row["protocol"] == "frozen"]
    by_seed = found.scores(read_predictions(trials[0], "val", Protocol.FROZEN))
    np.testing.assert_allclose(sorted(by_seed), sorted(own), rtol=1e-6)
    assert len(predictions) == 3
    append_to_bank(tmp_path, [row | {"signals": "{}"} for row in rows])
    assert read_bank([tmp_path]).height == 4


def test_a_trial_that_lacks_an_input_says_which(runner):
    with pytest.raises(ValueError, match="reads the temporal_graph, which is not there"):
        runner.run(Candidate("graph", "rdl", {"features": False}))


def test_the_best_on_validation_becomes_the_model(runner, trials, tmp_path):
    found = make_model(trials, runner.inputs, str(Choice.BEST_VALIDATION), tmp_path / "bundle")
    board = [row for row in found["leaderboard"] if row["protocol"] == "frozen"]
    best = min(board, key=lambda row: row["mean"])
    assert found["candidate"] == best["candidate"]
    assert [row["candidate"] for row in board if row["weight"] == 1] == [best["candidate"]]
    assert load_bundle(tmp_path / "bundle").record["candidate"] == best["candidate"]
    assert "bank_rows" not in found


@pytest.mark.parametrize("rule", [Choice.ONE_STANDARD_ERROR_FLATTEST, Choice.VOTE])
def test_flatness_is_measured_where_the_rule_asks_for_it(runner, trials, tmp_path, rule):
    found = make_model(trials, runner.inputs, str(rule), tmp_path / "bundle")
    assert found["candidate"] in ("trees", "stumps", "net")
    assert found["why"].startswith(found["candidate"])


def test_an_ensemble_is_no_worse_on_validation_than_most_members(runner, trials, tmp_path):
    found = make_model(trials, runner.inputs, "ensemble", tmp_path / "bundle")
    for protocol in Protocol:
        rows, predictions = validation_of(trials, runner.inputs.training_table, protocol)
        singles = rows.scores(np.stack(predictions))
        assert found["validation_scores"][0][str(protocol)] <= np.median(singles)
        weights = [
            row["weight"] for row in found["leaderboard"] if row["protocol"] == str(protocol)
        ]
        assert sum(weights) == pytest.approx(1)
    by_protocol = [
        {row["candidate"]: row["weight"] for row in found["leaderboard"] if row["protocol"] == p}
        for p in map(str, Protocol)
    ]
    assert by_protocol[0] == by_protocol[1]
    assert load_bundle(tmp_path / "bundle").record["family"] == "ensemble"


def test_test_labels_decide_nothing(runner, trials, tmp_path):
    """The same choice and the same weights, whatever happened after as_of."""
    other = runner.inputs.training_table.with_columns(
        label=pl.when(pl.col("split") == "test").then(pl.col("label") * -7).otherwise("label")
    )
    moved = replace(runner.inputs, training_table=other)
    for choice in ("ensemble", "one_standard_error_flattest"):
        first = make_model(trials, runner.inputs, choice, tmp_path / f"{choice} first")
        second = make_model(trials, moved, choice, tmp_path / f"{choice} second")
        assert first == second


def test_an_unknown_choice_is_refused(runner, trials, tmp_path):
    with pytest.raises(ValueError, match="choice must be one of ensemble, best_validation"):
        make_model(trials, runner.inputs, "best", tmp_path / "bundle")


def test_a_study_evaluates_by_the_tasks_protocol(runner, tmp_path):
    from functools import partial

    from models.search.records import StudyConfig
    from models.search.space import Branch, Space

    fixed = {"lightgbm": {"seeds": 1, "rounds": 3}}
    space = Space((Branch.DFS,), ("lightgbm",), depth=2, fixed=fixed)
    config = StudyConfig(runner.inputs.task.metric, Protocol.FROZEN, trials=3)
    records = run_study(config, space, partial(evaluate, runner=runner), tmp_path, "study")
    assert [record.state for record in records] == ["complete"] * 3
    for record in records:
        assert record.score == pytest.approx(record.metrics["frozen"])
        assert record.error is not None
        assert record.error > 0
        assert record.path is not None
        assert record.path.exists()


def test_a_refit_trains_on_validation_rows_and_keeps_their_scores(runner, trials, tmp_path):
    table = runner.inputs.training_table
    longer = with_validation(table)
    added = longer.height - table.height
    assert added == table.filter((pl.col("split") == "val") & pl.col("label").is_not_null()).height
    found = make_model(trials, runner.inputs, "ensemble", tmp_path / "validated")
    weights = weights_of(found["leaderboard"])
    refit_model(trials, weights, runner, tmp_path / "bundle", seeds=3)
    bundle = load_bundle(tmp_path / "bundle")
    for member in bundle.members:
        name = member.record["candidate"]
        [trial] = [one for one in trials if one.metadata["candidate"] == name]
        assert member.record["rows"]["train"] == trial.metadata["rows"]["train"] + added
        assert member.record["validation_scores"] == trial.metadata["validation_scores"]
        _check_length(member, trial)
    # A second time everything is found again.
    refit_model(trials, weights, runner, tmp_path / "again", seeds=3)
    made = list((runner.store.root / "refit").glob("*/artifact.json"))
    assert len(made) == len(bundle.members)


def test_a_member_that_weighs_little_is_refitted_with_few_seeds(runner, trials, tmp_path):
    shares = {"trees": 0.87, "stumps": 0.04, "net": 0.09}
    refit_model(trials, shares, runner, tmp_path / "bundle", seeds=3)
    bundle = load_bundle(tmp_path / "bundle")
    seeds = {one.record["candidate"]: len(one.seeds) for one in bundle.members}
    assert seeds == {"trees": 3, "stumps": 1, "net": 2}


def _check_length(member, trial):
    """As many trees, or more as there are more rows, or as many epochs as the trial."""
    for best in member.record["best_rounds"]:
        if member.record["family"] != "lightgbm":
            kept = member.record["parameters"]["kept_epochs"]
            assert kept == {p: rounds_of(trial, Protocol(p)) for p in kept}
            assert {p: best[p] for p in kept} == kept
            continue
        for protocol in Protocol:
            if member.record["parameters"]["trees"].get(protocol):
                counted = rounds_of(trial, protocol)
                assert counted <= best[protocol] <= 1.5 * counted + 1
                assert member.record["staleness"][protocol] == trial.metadata["staleness"][protocol]


def test_a_refit_is_as_long_as_the_best_of_its_trial(trials):
    rounds = {protocol: rounds_of(trials[0], protocol) for protocol in Protocol}
    longer = fixed_length(TREES, rounds, growth=1.2)
    assert longer.settings["trees"] == {p: max(1, round(1.2 * n)) for p, n in rounds.items()}
    assert "staleness" not in longer.settings
    longest = fixed_length(TREES, {Protocol.FROZEN: 10}, growth=9.0, staleness=0.0)
    assert longest.settings["trees"] == {"frozen": 15}
    assert longest.settings["max_seconds"] is None, "what a trial was cut to is in its trees"
    assert longest.settings["staleness"] == 0
    many = {Protocol.FROZEN: 2}
    graph = Candidate("graph", "rdl", {"seeds": 2})
    found = [fixed_length(one, many, 1.0, seeds=9).config().seeds for one in (TREES, NET, graph)]
    assert found == [9, 9, 9]
    assert fixed_length(TREES, many, 1.0, seeds=1).config().seeds == TREES.config().seeds
    both = fixed_length(NET, {Protocol.FROZEN: 2, Protocol.ROLLING: 5}, 2.0).settings
    assert both["epochs"] == 5
    assert both["kept_epochs"] == {"frozen": 2, "rolling": 5}


def test_a_refit_knows_no_test_label(runner, trials, tmp_path):
    other = runner.inputs.training_table.with_columns(
        label=pl.when(pl.col("split") == "test").then(pl.col("label") * -7).otherwise("label")
    )
    moved = replace(
        runner,
        inputs=replace(runner.inputs, training_table=other),
        store=ArtifactStore(tmp_path / "other"),
    )
    first, second = (refit(trials[0], {Protocol.ROLLING: 5}, one) for one in (runner, moved))
    assert first.fingerprint == second.fingerprint
    assert (first.path / "bundle" / "seed_0_rolling.txt").read_text() == (
        second.path / "bundle" / "seed_0_rolling.txt"
    ).read_text()
