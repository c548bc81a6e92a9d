from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import polars as pl
import pytest

from models.corpus.dial_study import dial_effects, dial_table, draw_dials
from models.synthetic.dials.sweep import moved_dials, settings


@pytest.fixture(scope="module")
def found() -> pl.DataFrame:
    """Gaps that rise with homophily by 0.6 a unit, fall with noise by 0.3, and know no other dial."""
    generator = np.random.default_rng(0)
    rows = []
    for dials in settings(160, seed=0):
        gap = 0.6 * dials.homophily - 0.3 * dials.noise + generator.normal(0, 0.01)
        signals = {"dials": asdict(dials), "moved": list(moved_dials(dials)), "realised": {}}
        rows.append({"origin": "planted", "gap": gap, "error": 0.02,
                     "signals": json.dumps(signals)})  # fmt: skip
    rows.append({"origin": "synthetic", "gap": 9.0, "error": 0.02, "signals": "{}"})
    return pl.DataFrame(rows)


def test_the_table_has_the_planted_tasks_with_their_dials(found: pl.DataFrame):
    table = dial_table(found)
    assert table.height == 160
    assert table["moved"][0] in ("", "homophily")
    assert set(table["moved"]) >= {"homophily", "rows", "several"}
    assert table["degree_exponent"].null_count() == 0


def test_planted_effects_are_found_and_no_others(found: pl.DataFrame):
    effects = {row["dial"]: row for row in dial_effects(dial_table(found)).to_dicts()}
    span = {"homophily": 0.6, "noise": -0.3}
    table = dial_table(found)
    for dial, slope in span.items():
        reach = float(table[dial].max() - table[dial].min())
        assert effects[dial]["slope"] == pytest.approx(slope * reach, abs=0.03)
        assert effects[dial]["alone"] * np.sign(slope) > 0.7
    for dial in ("rows", "degree", "order", "distractors"):
        assert abs(effects[dial]["slope"]) < 4 * effects[dial]["error"] + 0.01


def test_the_figure_is_drawn_for_few_tasks_too(found: pl.DataFrame):
    assert draw_dials(dial_table(found)).startswith(b"\x89PNG")
    assert draw_dials(dial_table(found.head(3))).startswith(b"\x89PNG")
