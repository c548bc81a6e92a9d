"""Stage 11, training: a search along the route, or named candidates; the model is chosen among them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.pretraining import encoder_key
from assets.routing import DEFAULT_OBJECTIVE, Route, is_routed, read_route, whole_space
from assets.searching import encoders_of, make_runner, search, train_named
from assets.task_vectors import entity_tables
from assets.temporal_graph import graph_key
from assets.workplace import (
    StageConfig,
    Workplace,
    as_of_date,
    as_of_partitions,
    group,
    image,
    latest,
    materialization,
    table_metadata,
    task_key,
)
from models.artifacts import Artifact, Outcome, Recipe, code_version
from models.database.schema import RelationalSchema, Task
from models.settings import ON_GRAPHS

if TYPE_CHECKING:
    from models.families.bundle import Bundle
    from models.families.candidate import Candidate
    from models.search.trial_runner import TrialRunner

STAGE = "model"
BUNDLE = "bundle"
VALIDATED = "validated"
LEADERBOARD = "leaderboard.json"
BEST = "best_validation"
TABPFN = "tabpfn"


class CandidateConfig(dg.Config):
    """A point of the design space."""

    name: str = Field("", description="Empty: the family's name.")
    family: str = Field(
        description=(
            "lightgbm, linear, resnet, ft_transformer, tabpfn, rdl or lightgbm_on_embeddings."
        )
    )
    # `Any` alone takes no null, which is a value of some settings.
    settings: dict[str, Any | None] = Field(
        {}, description="Settings of the family; docs/families.md lists them."
    )


class TrainingStageConfig(StageConfig):
    """What to search and how to choose; or which candidates to train instead."""

    trials: int | None = Field(
        None, description="Trials of the search; None for RELFORGE_TRIALS, by default 9.", ge=1
    )
    seconds: float | None = Field(
        None, description="No trial begins once all of them took so long; None for no limit."
    )
    trial_seeds: int = Field(2, description="Models of each trial.", ge=1)
    trial_epochs: int | None = Field(
        10,
        description="Epochs of a network over the graph, at most; None for the learner's own.",
        ge=1,
    )
    trial_seconds: float | None = Field(
        300,
        description=(
            "Budget of training one model, so that no trial holds up the search; one that it cuts "
            "short can't be repeated to the bit. None for no limit."
        ),
    )
    sampler: str = Field("tpe", description="tpe or random.")
    pruner: str = Field(
        "none", description="none, halving or hyperband; these need trials of one seed."
    )
    explore: bool = Field(
        False,
        description="Draw trials of all branches at random whatever the routing says, for the bank.",
    )
    workers: int = Field(
        1, description="Trials at a time; the order then is a matter of luck.", ge=1
    )
    seed: int = Field(0, description="Of the search.")
    storage: str = Field(
        "", description="URL of the studies, such as postgresql://...; empty: a file in the home."
    )
    choice: str = Field(
        "",
        description=(
            "ensemble, best_validation, one_standard_error_flattest, vote or late_validation. "
            "Empty: an ensemble of a search's trials, the best on validation of named candidates."
        ),
    )
    refit: bool | None = Field(
        None,
        description=(
            "Train what was chosen once more with the validation rows, which are the newest. None: "
            "for a search yes, for named candidates no."
        ),
    )
    refit_seeds: int = Field(
        3,
        description=(
            "Models of each refitted learner, at least: a search tries many candidates with few "
            "seeds each. Members of an ensemble that weigh little have fewer, one for each 5 %."
        ),
        ge=1,
    )
    candidates: list[CandidateConfig] = Field(
        [],
        description=(
            "Train these instead of searching. Empty: those that the task declares, if it does; "
            "of families in RELFORGE_FAMILIES only."
        ),
    )


def training_asset(
    schema: RelationalSchema, task: Task, families: Sequence[str], budget: int
) -> dg.AssetsDefinition:
    """The model bundle of a task, of a search of so many trials unless a run says otherwise."""
    deps = [task_key(schema, task, name) for name in ("features", "training_table")]
    if is_routed(families):
        deps.append(task_key(schema, task, "routing"))
    if not ON_GRAPHS.isdisjoint(families):
        deps.append(graph_key(schema))
        if entity_tables(schema):
            deps.append(encoder_key(schema, DEFAULT_OBJECTIVE))

    @dg.asset(
        key=task_key(schema, task, "model"),
        deps=deps,
        group_name=group(schema, "training"),
        kinds={"optuna", "lightgbm", "pytorch"},
        partitions_def=as_of_partitions(schema),
        description=(
            f"A search over the families {', '.join(families)} along the route: every trial is kept, "
            f"scored on the validation split by `{task.metric}` and noted for the bank. The chosen "
            "trial, or an ensemble of them, scores a new cutoff in a fresh process."
        ),
        op_tags={"stage": "training"},
    )
    def model(
        context: dg.AssetExecutionContext, config: TrainingStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        features = latest(workplace, "features", subject, f"the feature table {subject}")
        named = named_candidates(config, task, families)
        learners = {one.family for one in named} or {*whole_space(families).learners}
        runner = make_runner(
            context, workplace, schema, task, as_of, features, sorted(learners),
            sorted({DEFAULT_OBJECTIVE} | encoders_of(named)), config.force,
        )  # fmt: skip
        if named:
            outcomes = train_named(context, workplace, runner, named)
        else:
            route = Route(tuple(map(str, whole_space(families).branches)))
            if is_routed(families) and not config.explore:
                route = read_route(latest(workplace, "routing", subject, f"the routing {subject}"))
            outcomes = search(
                context, workplace, runner, route, families, config, config.trials or budget
            )
        trials = [outcome.artifact for outcome in outcomes]
        choice = config.choice or (BEST if named else "ensemble")
        is_refitted = not named if config.refit is None else config.refit
        refit_seeds = config.refit_seeds if is_refitted else 0
        recipe = Recipe(
            stage=STAGE,
            subject=subject,
            code=code_version("models/search", "models/families"),
            config={
                "protocol": task.protocol,
                "metric": task.metric,
                "choice": choice,
                "refit": refit_seeds,
            },
            inputs={f"trial {trial.metadata['candidate']}": trial.fingerprint for trial in trials},
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            return _make(context, task, trials, runner, choice, refit_seeds, folder)

        outcome = workplace.build(context, recipe, produce, force=config.force)
        return materialization(
            outcome, metadata=_metadata(task, outcome.artifact, outcomes, context.run.run_id)
        )

    return model


def named_candidates(
    config: TrainingStageConfig, task: Task, families: Sequence[str]
) -> "tuple[Candidate, ...]":
    """The candidates that the run or the task names; none where the run searches.

    Raises:
        Failure: One of them is not valid.
    """
    from models.families.candidate import candidates_from_plain

    given = [candidate.model_dump() for candidate in config.candidates]
    declared: list[Any] = [one for one in task.candidates if one["family"] in families]
    if set(families) <= {TABPFN}:
        # Nothing of it is searched.
        declared = declared or [{"family": TABPFN}]
    if not given and not declared:
        return ()
    try:
        return candidates_from_plain(given or declared)
    except ValueError as fault:
        raise dg.Failure(f"the training's configuration: {fault}") from fault


def _make(
    context: dg.AssetExecutionContext,
    task: Task,
    trials: Sequence[Artifact],
    runner: "TrialRunner",
    choice: str,
    refit_seeds: int,
    folder: Path,
) -> Mapping[str, Any]:
    """Writes the bundle, the one before a refit (none of 0 seeds), the leaderboard and the plots."""
    from models.families.bundle import load_bundle
    from models.search.final import make_model, weights_of
    from models.search.refit import refit_model

    chosen = folder / (VALIDATED if refit_seeds else BUNDLE)
    try:
        found = make_model(trials, runner.inputs, choice, chosen)
        if refit_seeds:
            weights = weights_of(found["leaderboard"])
            refit_model(trials, weights, runner, folder / BUNDLE, context.log.info, refit_seeds)
    except ValueError as fault:
        raise dg.Failure(f"the model of task {task.name}: {fault}") from fault
    # Without the seconds: the same inputs give the same files.
    scores = [{k: v for k, v in row.items() if k != "seconds"} for row in found["leaderboard"]]
    (folder / LEADERBOARD).write_text(json.dumps(scores, indent=1))
    _plot(task, load_bundle(chosen), folder)
    return found


def _plot(task: Task, bundle: "Bundle", folder: Path) -> None:
    from models.families.report import seed_curves
    from models.reporting.plots import feature_importance, learning_curve

    if bundle.record["importances"]:
        names, gains = zip(*bundle.record["importances"].items(), strict=True)
        (folder / "feature_importance.png").write_bytes(feature_importance(names, gains))
    curves = seed_curves(bundle, task.protocol)
    (folder / "learning_curve.png").write_bytes(learning_curve(curves, str(task.metric)))


def _metadata(
    task: Task, model: Artifact, trials: Sequence[Outcome], run_id: str
) -> dict[str, Any]:
    found = model.metadata
    own = [scores[str(task.protocol)] for scores in found["validation_scores"]]
    seeds = [
        {"seed": seed, "protocol": protocol, "rounds": best[protocol], "validation": scored}
        for seed, (best, scores) in enumerate(
            zip(found["best_rounds"], found["validation_scores"], strict=True)
        )
        for protocol, scored in scores.items()
    ]
    return {
        "candidate": found["candidate"],
        "family": found["family"],
        f"validation {task.metric}, {task.protocol}": sum(own) / len(own),
        "why": dg.MetadataValue.md(found["why"]),
        "leaderboard": table_metadata(_rounded(row) for row in found["leaderboard"]),
        "trials": table_metadata(
            {
                "candidate": trial.artifact.metadata["candidate"],
                # A search reads its own trials again once all are done.
                "reused": trial.made_by != run_id,
                "changed": ", ".join(trial.changed) or "nothing",
                "seconds": trial.artifact.metadata["seconds"],
            }
            for trial in trials
        ),
        "features used": found["features"],
        "training rows": found["rows"]["train"],
        "seeds": table_metadata(seeds),
        **{path.stem.replace("_", " "): image(path) for path in sorted(model.path.glob("*.png"))},
    }


def _rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: round(v, 4) if isinstance(v, float) else v for name, v in row.items()}
