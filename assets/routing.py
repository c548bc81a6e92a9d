"""Stage 10, routing: from signals and bank to the branches, candidates and priors of the search."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets import training_tables
from assets.bank import BANK, FILE, newest_edition
from assets.signals import read_signals
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
    upstream,
)
from models.artifacts import Artifact, Recipe, code_version
from models.database.schema import RelationalSchema, Task
from models.settings import EMBEDDINGS, RDL

if TYPE_CHECKING:
    from models.families.candidate import Candidate
    from models.search.space import Space

STAGE = "routing"
DECISION = "decision.json"
PLOT = "gaps.png"
CODE = ("models/relatron", "models/search/space.py", "models/search/priors.py", "models/bank")
# What the pipelines train networks from, besides scratch, unless a run's configuration differs.
DEFAULT_OBJECTIVE = "tve"


class RoutingStageConfig(StageConfig):
    """Whether to follow the bank, and how sure it has to be."""

    branch: str = Field(
        "",
        description=(
            "dfs, rdl or hybrid: search this branch whatever the bank says. Empty: the router "
            "decides which branches are searched; where they are several, they race."
        ),
    )
    threshold: float = Field(
        0.005,
        description="The largest expected regret, relative, with which branches are left out.",
        gt=0,
    )
    warm_starts: int = Field(4, description="Candidates taken over from alike tasks.", ge=0)


@dataclass(frozen=True)
class Route:
    """What a search follows.

    `branches` are those to search (several where they race), `warm_starts` the candidates to try
    first and `priors` the weights of the space's choices.
    """

    branches: tuple[str, ...]
    warm_starts: "tuple[Candidate, ...]" = ()
    priors: Mapping[str, Mapping[Any, float]] = field(default_factory=dict)


def routing_asset(
    schema: RelationalSchema, task: Task, families: Sequence[str]
) -> dg.AssetsDefinition:
    """The decision on what to search for a task."""

    @dg.asset(
        key=task_key(schema, task, STAGE),
        deps=[task_key(schema, task, "signals"), BANK],
        group_name=group(schema, STAGE),
        kinds={"python"},
        partitions_def=as_of_partitions(schema),
        description=(
            "Which branches may suit the task: DFS features with a tabular learner, a network over the "
            "graph, or a hybrid of both; with the expected gap, its error, and why."
        ),
        op_tags={"stage": STAGE},
    )
    def routing(
        context: dg.AssetExecutionContext, config: RoutingStageConfig, workplace: Workplace
    ) -> dg.MaterializeResult[Any]:
        as_of = as_of_date(context, schema)
        subject = training_tables.subject(schema, task, as_of)
        signals = latest(workplace, "signals", subject, f"the signals {subject}")
        table = upstream(workplace, "training_table", signals)
        bank = newest_edition(workplace)
        space = whole_space(families)
        forced = _forced(config.branch, space)
        recipe = Recipe(
            stage=STAGE,
            subject=subject,
            code=code_version(*CODE),
            config={
                "space": asdict(space),
                "forced": config.branch,
                "threshold": config.threshold,
                "warm_starts": config.warm_starts,
                "protocol": task.protocol,
            },
            inputs={
                "signals": signals.fingerprint,
                "training_table": table.fingerprint,
                "bank": bank.fingerprint,
            },
        )

        def produce(folder: Path) -> Mapping[str, Any]:
            return _route(schema, task, signals, table, bank, space, forced, config, folder)

        outcome = workplace.build(context, recipe, produce, force=config.force)
        for sentence in outcome.artifact.metadata["reasons"]:
            context.log.info(f"routing of {task.name}: {sentence}")
        return materialization(outcome, metadata=_metadata(outcome.artifact))

    return routing


def is_routed(families: Sequence[str]) -> bool:
    """Whether there is more than one branch to choose from."""
    from models.search.space import Branch

    return sum(bool(_learners(branch, families)) for branch in Branch) > 1


def whole_space(families: Sequence[str]) -> "Space":
    """The design space of these families."""
    from models.search.space import Branch, Space

    branches = tuple(branch for branch in Branch if _learners(branch, families))
    if not branches:
        raise dg.Failure(
            f"there is no search over the families {', '.join(families)}; name candidates, or add "
            "lightgbm, linear, resnet, ft_transformer or rdl to RELFORGE_FAMILIES"
        )
    learners = tuple(dict.fromkeys(n for b in branches for n in _learners(b, families)))
    starts = ("scratch", DEFAULT_OBJECTIVE) if RDL in learners else ("scratch",)
    return Space(branches, learners, starts)


def _learners(branch: Any, families: Sequence[str]) -> tuple[str, ...]:
    """The learners of a branch; where there are networks, trees over their embeddings too."""
    from models.search.space import SPACE

    allowed = {*families, EMBEDDINGS} if RDL in families else set(families)
    return tuple(name for name in SPACE[branch] if name in allowed)


def read_route(routing: Artifact) -> Route:
    """What a search follows, of a routing's artifact."""
    from models.families.candidate import Candidate

    found = json.loads((routing.path / DECISION).read_text())
    return Route(
        tuple(found["branches"]),
        tuple(Candidate(**one) for one in found["warm_starts"]),
        {name: {value: w for value, w in pairs} for name, pairs in found["priors"].items()},
    )


def _forced(branch: str, space: "Space") -> Any:
    from models.search.space import Branch

    known = [str(one) for one in space.branches]
    if branch and branch not in known:
        raise dg.Failure(
            f"the routing's configuration: branch must be one of {', '.join(known)} or empty "
            f"(got {branch!r})"
        )
    return Branch(branch) if branch else None


def _route(
    schema: RelationalSchema,
    task: Task,
    signals: Artifact,
    table: Artifact,
    bank: Artifact,
    space: "Space",
    forced: Any,
    config: RoutingStageConfig,
    folder: Path,
) -> Mapping[str, Any]:
    import polars as pl

    from models.database.training_table import read_training_table
    from models.relatron.decision import draw_decision
    from models.relatron.selector import fit_selector
    from models.relatron.task_rows import task_row, task_rows
    from models.relatron.transfer import nearest_trials

    rows = read_training_table(table.path / training_tables.FILE)
    known = rows.filter(pl.col("label").is_not_null())
    counts = {split: known.filter(pl.col("split") == split).height for split in ("train", "val")}
    own = task_row(read_signals(signals), str(task.task_type), counts["train"], counts["val"])
    trials = pl.read_parquet(bank.path / FILE)
    protocol = str(task.protocol)
    # Of its own database the bank may know what happened after as_of.
    selector = fit_selector(task_rows(trials), protocol, without=schema.database)
    decision = selector.decide(own, space.branches, config.threshold, forced)
    taken = nearest_trials(
        trials, own, space, protocol, without=schema.database, most=config.warm_starts
    )
    plain = decision.as_data() | {
        "warm_starts": [asdict(candidate) for candidate in taken.candidates],
        "priors": {name: list(weights.items()) for name, weights in taken.priors.items()},
    }
    (folder / DECISION).write_text(json.dumps(plain, indent=1, default=str))
    (folder / PLOT).write_bytes(draw_decision(decision))
    return {key: value for key, value in plain.items() if key not in ("priors", "warm_starts")} | {
        "candidates taken over": [candidate.name for candidate in taken.candidates]
    }


def _metadata(routing: Artifact) -> dict[str, Any]:
    found = routing.metadata
    branches = found["gaps"].keys()
    return {
        "decision": found["decision"],
        "confidence": round(found["confidence"], 3),
        "protocol": found["protocol"],
        "why": dg.MetadataValue.md("\n".join(f"- {sentence}" for sentence in found["reasons"])),
        "branches": table_metadata(
            {
                "branch": branch,
                "expected gap to dfs": found["gaps"][branch],
                "standard error": found["errors"][branch],
                "probability to be best": found["probabilities"][branch],
                "expected regret": found["expected_regret"][branch],
            }
            for branch in branches
        ),
        "nearest tasks of the bank": table_metadata(
            {
                "database": one["database"],
                "task": one["task"],
                "distance": one["distance"],
                **{f"gap of {branch}": gap for branch, gap in one["gaps"].items()},
            }
            for one in found["nearest"]
        ),
        "gaps": image(routing.path / PLOT),
    }
