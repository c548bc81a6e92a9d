"""The corpus: synthetic databases with tasks, tried with both families, as rows of the bank."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from assets.workplace import Workplace, image, table_metadata
from models.settings import Settings

if TYPE_CHECKING:
    from models.corpus.config import CorpusConfig

CORPUS = dg.AssetKey(["synthetic", "corpus"])


def corpus_folder(settings: Settings) -> Path:
    """Where a corpus's bank and notes are."""
    return settings.home / "corpus"


class CorpusStageConfig(dg.Config):
    """What to make and to try."""

    databases: int = Field(20, description="Databases with tasks sampled from the grammar.")
    tasks: int = Field(3, description="Tasks of each of them.")
    planted: int = Field(40, description="Databases with one task whose signal is set by dials.")
    seed: int = Field(0, description="Of everything; another one adds to the same bank.")
    preset: str = Field("relforge", description="relforge, plurel or plurel_paper.")
    depth: int = Field(2, description="Of the DFS features.")
    model_seeds: int = Field(2, description="Models of each candidate.")
    seconds: float = Field(20.0, description="Budget of training one network, in seconds.")
    workers: int = Field(0, description="Databases at a time; 0: as many as there are threads.")


def corpus_config(config: CorpusStageConfig) -> "CorpusConfig":
    """What to make and to try.

    Raises:
        ValueError: A setting has a value that it cannot have.
    """
    from models.corpus.config import CorpusConfig

    return CorpusConfig(**config.model_dump(exclude={"workers"}))


@dg.asset(
    key=CORPUS,
    group_name="synthetic_corpus",
    kinds={"parquet", "lightgbm", "PyTorch"},
    description=(
        "Synthetic databases, some with tasks of the grammar, some with one task planted by dials; "
        "LightGBM on DFS features and a relational network tried on each. Appends to the bank; a run "
        "that was killed goes on where it was."
    ),
)
def corpus(
    context: dg.AssetExecutionContext, config: CorpusStageConfig, workplace: Workplace
) -> dg.MaterializeResult[Any]:
    """Makes what is not there yet."""
    from models.corpus.corpus import make_corpus
    from models.corpus.dial_study import dial_effects, dial_table, draw_dials
    from models.corpus.study import draw_gaps, gaps, read_corpus

    workers = config.workers or workplace.threads
    folder = corpus_folder(workplace.settings)
    try:
        settings = corpus_config(config)
    except ValueError as fault:
        raise dg.Failure(f"the corpus's configuration: {fault}") from fault
    summary = make_corpus(settings, folder, workers, context.log.info)
    found = gaps(read_corpus(folder))
    (folder / "gaps.png").write_bytes(draw_gaps(found))
    dials = dial_table(found.filter(found["protocol"] == "rolling"))
    about_dials: dict[str, Any] = {}
    if not dials.is_empty():
        (folder / "dials.png").write_bytes(draw_dials(dials))
        effects = table_metadata(dial_effects(dials).to_dicts())
        about_dials = {"gaps by dial": image(folder / "dials.png"), "effects of dials": effects}
    return dg.MaterializeResult(
        metadata={
            "databases": summary["databases"],
            "there before": summary["skipped"],
            "tasks": summary["tasks"],
            "rows of the bank": summary["rows"],
            "failed": table_metadata(
                {"database": name, "why": why} for name, why in summary["failed"].items()
            ),
            "gaps": image(folder / "gaps.png"),
            **about_dials,
            "folder": dg.MetadataValue.path(str(folder)),
        }
    )
