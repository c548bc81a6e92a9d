"""What a corpus says of the families: how far apart they are, and on which tasks."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from models.bank.store import read_bank
from models.corpus.config import FEATURES_ONLY, NETWORK_ONLY
from models.database.schema import Metric

TASK = ("database", "task", "as_of", "origin", "metric", "protocol", "signals", "code_version")


def read_corpus(folder: Path) -> pl.DataFrame:
    """The bank of a corpus."""
    return read_bank([folder / "bank"])


def gaps(bank: pl.DataFrame) -> pl.DataFrame:
    """How much better the network is than DFS with LightGBM, by task and protocol.

    For scores whose best value is known (1 for a ROC AUC or an accuracy, 0 for an error) the gap is
    relative to what the trivial predictor leaves to be gained: gap = (rdl - dfs) / |best - trivial|,
    where the trivial AUC is 0.5. Scores are means over seeds on test.

    Returns:
        One row a task and protocol: `TASK`, train_rows, dfs, rdl, trivial, gap (positive where the
        network wins), error (standard error of the gap, from the bootstrap errors of both test
        scores and the spread over seeds), and seconds.
    """
    by_family = (
        bank.filter(pl.col("failure").is_null() & pl.col("test").is_not_null())
        .group_by(*TASK, "candidate")
        .agg(
            pl.col("train_rows").first(),
            pl.col("test").mean(),
            pl.col("trivial_test").first().alias("trivial"),
            (pl.col("test_error").mean().pow(2) + pl.col("test").std().fill_null(0).pow(2) / pl.len())
            .alias("variance"),
            pl.col("seconds").sum(),
        )
    )  # fmt: skip
    dfs = by_family.filter(pl.col("candidate") == FEATURES_ONLY).drop("candidate")
    rdl = by_family.filter(pl.col("candidate") == NETWORK_ONLY).drop(
        "candidate", "train_rows", "trivial"
    )
    joined = dfs.rename({"test": "dfs"}).join(
        rdl.rename({"test": "rdl"}), on=list(TASK), suffix="_rdl", nulls_equal=True
    )
    higher = pl.col("metric").is_in([str(m) for m in Metric if m.higher_is_better])
    trivial = pl.when(pl.col("metric") == str(Metric.ROC_AUC)).then(0.5).otherwise("trivial")
    room = (pl.when(higher).then(1.0).otherwise(0.0) - trivial).abs().clip(1e-9)
    return joined.select(
        *TASK,
        "train_rows",
        "dfs",
        "rdl",
        trivial.alias("trivial"),
        (pl.when(higher).then(1).otherwise(-1) * (pl.col("rdl") - pl.col("dfs")) / room).alias(
            "gap"
        ),
        ((pl.col("variance") + pl.col("variance_rdl")).sqrt() / room).alias("error"),
        (pl.col("seconds") + pl.col("seconds_rdl")).alias("seconds"),
    ).sort(TASK)


def planted(found: pl.DataFrame, dial: str) -> pl.DataFrame:
    """The tasks of a sweep: those that moved this dial alone, with its value and measured value."""
    signals = [json.loads(text) for text in found["signals"]]
    rows = [
        {"place": place, "value": _number(one["dials"][dial]), "realised": _realised(one, dial)}
        for place, one in enumerate(signals)
        if one.get("moved") in ([], [dial])
    ]
    if not rows:
        return found.clear().with_columns(value=pl.lit(0.0), realised=pl.lit(0.0))
    chosen = pl.DataFrame(rows)
    return pl.concat([found[chosen["place"].to_list()], chosen.drop("place")], how="horizontal")


def _number(value: Any) -> float:
    return float("nan") if value is None or isinstance(value, str) else float(value)


def _realised(signals: Mapping[str, Any], dial: str) -> float:
    return _number(signals["realised"].get(dial))


def draw_gaps(found: pl.DataFrame) -> bytes:
    """A PNG of the gaps of all tasks, with their errors, sorted."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3), layout="constrained")
    axes = figure.subplots()
    ordered = found.filter(pl.col("protocol") == "rolling").sort("gap")
    for origin, colour in (("synthetic", "tab:blue"), ("planted", "tab:orange")):
        own = ordered.with_row_index("place").filter(pl.col("origin") == origin)
        axes.errorbar(
            own["place"], np.clip(own["gap"], -1, 1), yerr=np.clip(own["error"], 0, 1),
            fmt=".", color=colour, label=origin, elinewidth=0.5,
        )  # fmt: skip
    axes.axhline(0, color="black", linewidth=0.5)
    axes.set(xlabel="tasks", ylabel="network minus DFS,\nshare of the room", ylim=(-1, 1))
    axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()
