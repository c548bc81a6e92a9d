"""How training gets its trials: named candidates one by one, or a study that follows the routing."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets import training_tables
from assets.bank import note_trials
from assets.pretraining import encoder_subject
from assets.routing import Route, whole_space
from assets.signals import read_signals
from assets.staging import staged_tables
from assets.temporal_graph import graph_subject, text_encoder_of
from assets.workplace import Workplace, latest, upstream
from models.artifacts import Artifact, Outcome, code_version
from models.artifacts.recipe import canonical_json, digest
from models.database.schema import Protocol, RelationalSchema, Task, to_plain
from models.database.training_table import read_training_table
from models.settings import EMBEDDINGS, ON_GRAPHS, RDL

if TYPE_CHECKING:
    from models.families.candidate import Candidate
    from models.search.records import StudyConfig, TrialRecord
    from models.search.space import Space
    from models.search.trial_runner import TrialRunner

CODE = ("models/families", "models/learning", "models/reporting/scores.py", "models/bank")
FAMILY_CODE = {
    RDL: ("models/rdl", "models/tabular"),
    EMBEDDINGS: ("models/rdl", "models/pretraining/config.py", "models/tabular"),
}
SCRATCH = "scratch"


def make_runner(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    schema: RelationalSchema,
    task: Task,
    as_of: datetime,
    features: Artifact,
    families: Sequence[str],
    encoders: Sequence[str],
    force: bool,
) -> "TrialRunner":
    """What the trials of a task at a date have in common.

    Args:
        context: The run's.
        workplace: The run's.
        schema: The database.
        task: The task.
        as_of: The date.
        features: The task's feature table.
        families: The learners; what none of them reads need not be there.
        encoders: Objectives of pretrained encoders; those that are not there are left out.
        force: Train anew what is there.
    """
    from models.dfs.feature_table import read_feature_table
    from models.families.trial import TrialInputs
    from models.search.trial_runner import TrialRunner, encoder_input

    subject = training_tables.subject(schema, task, as_of)
    table = upstream(workplace, "training_table", features)
    found = {"training_table": table, "features": features}
    if not ON_GRAPHS.isdisjoint(families):
        what = f"the temporal graph of {schema.database}"
        found["temporal_graph"] = latest(
            workplace, "temporal_graph", graph_subject(schema, as_of), what
        )
    graph = found.get("temporal_graph")
    pretrained = {}
    for objective in encoders:
        encoder = workplace.store.latest("pretraining", encoder_subject(schema, objective, as_of))
        if encoder is not None:
            pretrained[objective] = encoder.path
            found[encoder_input(objective)] = encoder
    feature_table = read_feature_table(features.path)
    staging = upstream(workplace, "staging", features)
    return TrialRunner(
        store=workplace.store,
        run_id=context.run.run_id,
        subject=subject,
        inputs=TrialInputs(
            schema=feature_table.schema,
            task=task,
            as_of=as_of,
            training_table=read_training_table(table.path / training_tables.FILE),
            features=feature_table,
            tables=staged_tables(staging, feature_table.schema),
            graph=graph.path if graph else None,
            text_encoder=text_encoder_of(graph) if graph else "",
            pretrained=pretrained,
        ),
        fingerprints={name: artifact.fingerprint for name, artifact in found.items()},
        code={
            family: code_version(*CODE, *FAMILY_CODE.get(family, ("models/tabular",)))
            for family in families
        },
        threads=workplace.threads,
        force=force,
    )


def encoders_of(candidates: "Sequence[Candidate]") -> set[str]:
    """Objectives of the pretrained encoders that candidates build upon."""
    configs = [candidate.config() for candidate in candidates]
    found = {getattr(one, "initialisation", getattr(one, "encoder", SCRATCH)) for one in configs}
    return found - {SCRATCH}


def train_named(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    runner: "TrialRunner",
    candidates: "Sequence[Candidate]",
) -> list[Outcome]:
    """A trial of each candidate, noted for the bank; one that fails fails the run."""
    outcomes: list[Outcome] = []
    try:
        for one in candidates:
            outcomes.append(_told(context, runner.run(one, context.log.info)))
    finally:
        _note(workplace, runner, outcomes, ())
    return outcomes


def search(
    context: dg.AssetExecutionContext,
    workplace: Workplace,
    runner: "TrialRunner",
    route: Route,
    families: Sequence[str],
    config: Any,
    trials: int,
) -> list[Outcome]:
    """The trials of the study that follows a route, those of earlier runs included.

    Args:
        context: The run's.
        workplace: The run's.
        runner: Trains candidates.
        route: Branches, warm starts and priors.
        families: Learners that may be searched.
        config: A `TrainingStageConfig`.
        trials: How many.

    Raises:
        Failure: No trial has a score, or the settings contradict each other.
    """
    from models.search.race import race
    from models.search.study import run_study
    from models.search.trial_runner import evaluate

    task, progress = runner.inputs.task, context.log.info
    space = _space(runner, route, families, config)
    study = _study_config(task, runner, route, space, config, trials)
    name = f"{runner.subject}/{study.fingerprint[:12]}"
    place = config.storage or workplace.settings.home / "studies"
    starts = [*_defaults(space), *route.warm_starts]
    try:
        if len(space.branches) > 1 and not config.explore:
            rounds = max(1, min(3, study.trials // len(space.branches)))
            found = race(study, space, partial(evaluate, runner=runner), place, name, progress,
                         config.workers, starts, route.priors, rounds)  # fmt: skip
            records = [record for own in found.records.values() for record in own]
        else:
            records = run_study(study, space, partial(evaluate, runner=runner), place, name,
                                progress, config.workers, starts, route.priors)  # fmt: skip
    except (ValueError, RuntimeError) as fault:
        raise dg.Failure(f"the search for task {task.name}: {fault}") from fault
    complete = [one.candidate for one in records if one.state == "complete" and one.candidate]
    if not complete:
        why = next((one.failure for one in records if one.failure), "none was run")
        raise dg.Failure(f"no trial of task {task.name} has a score: {why}")
    outcomes = [_told(context, replace(runner, force=False).run(one)) for one in complete]
    _note(workplace, runner, outcomes, records)
    return outcomes


def _told(context: dg.AssetExecutionContext, outcome: Outcome) -> Outcome:
    trial = outcome.artifact
    verb = "reused" if outcome.reused else f"computed in {outcome.seconds:.1f} s"
    context.log.info(f"trial {trial.metadata['candidate']}: {verb}")
    return outcome


def _space(runner: "TrialRunner", route: Route, families: Sequence[str], config: Any) -> "Space":
    from models.search.space import Branch
    from models.search.trial_runner import encoder_input

    features = runner.inputs.features
    depth = max((len(one.path) for one in features.definitions), default=1) if features else 1
    windows = bool(features and features.has_windows)
    whole = whole_space(families)
    fixed = {name: _budget(name, config) for name in whole.learners}
    starts = tuple(
        one
        for one in whole.initialisations
        if one == SCRATCH or encoder_input(one) in runner.fingerprints
    )
    branches = tuple(Branch(name) for name in route.branches)
    return replace(
        whole,
        branches=branches,
        initialisations=starts,
        depth=max(depth, 1),
        windows=windows,
        fixed=fixed,
    )


def _budget(learner: str, config: Any) -> dict[str, Any]:
    """The settings of a trial that say how much is spent on it."""
    given = {
        "seeds": config.trial_seeds,
        "max_seconds": config.trial_seconds,
        # An epoch over a table costs little, and stopping early sees to their number.
        "epochs": config.trial_epochs if learner == RDL else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def _study_config(
    task: Task, runner: "TrialRunner", route: Route, space: "Space", config: Any, trials: int
) -> "StudyConfig":
    from models.search.records import StudyConfig

    # All that decides which trials there are and what comes of them: another study otherwise.
    decisive = {
        "inputs": dict(runner.fingerprints),
        "code": [dict(runner.code), code_version("models/search")],
        "task": to_plain(replace(task, candidates=())),
        "space": asdict(space),
        "warm starts": [asdict(one) for one in route.warm_starts],
        "priors": [[name, list(own.items())] for name, own in route.priors.items()],
        "sampler": [config.sampler, config.pruner, config.seed, config.explore],
    }
    return StudyConfig(
        metric=task.metric,
        protocol=task.protocol,
        trials=max(trials, len(space.branches)),
        seconds=config.seconds,
        seed=config.seed,
        sampler="random" if config.explore else config.sampler,
        pruner=config.pruner,
        fingerprint=digest(canonical_json(decisive)),
    )


def _defaults(space: "Space") -> "list[Candidate]":
    """The default candidate of each learner that is searched, the branches in turn."""
    from models.families.candidate import Candidate
    from models.search.space import Branch

    found = []
    for branch in space.branches:
        for learner in space.learners_of(branch):
            settings = {"features": branch == Branch.HYBRID} if learner == RDL else {}
            candidate = Candidate(learner, learner, settings)
            if space.parameters_of(candidate) is not None:
                found.append(candidate)
    return found


def _note(
    workplace: Workplace,
    runner: "TrialRunner",
    outcomes: Sequence[Outcome],
    records: "Sequence[TrialRecord]",
) -> None:
    """Notes the trials for the next edition of the bank, those that failed with the reason."""
    from models.bank.measuring import trial_row
    from models.search.trial_runner import bank_rows

    signals = workplace.store.latest("signals", runner.subject)
    known = canonical_json(read_signals(signals) if signals else {})
    rows = [row for outcome in outcomes for row in bank_rows(outcome.artifact)]
    for record in records:
        if record.failure and record.candidate:
            shared = trial_row(record.candidate, runner.inputs, "real")
            code = {"code_version": runner.code[record.candidate.family]}
            why = {"seed": 0, "failure": record.failure, "seconds": record.seconds}
            rows += [shared | code | why | {"protocol": str(protocol)} for protocol in Protocol]
    note_trials(workplace.settings, [row | {"signals": known} for row in rows])
