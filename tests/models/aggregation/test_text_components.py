"""Hashed n-grams of texts: row-wise, stateless, bounded in memory."""

import subprocess
import sys

import numpy as np
import polars as pl
import pytest

from models.aggregation import text_components
from models.aggregation.text_components import ngram_components

TEXTS = pl.Series(
    ["late and damaged", None, "LATE and damaged!", "wonderful colours", "", "né 北京"]
)


def test_a_text_gives_a_float_per_component_and_null_gives_null():
    found = ngram_components(TEXTS, components=5)
    assert found.schema == dict.fromkeys("01234", pl.Float64)
    assert found.height == len(TEXTS)
    assert found.row(1) == (None,) * 5
    assert found.row(4) == (0.0,) * 5
    assert all(value is not None and np.isfinite(value) for value in found.row(5))
    assert any(found.row(5))
    assert ngram_components(TEXTS).width == 8


def test_a_texts_numbers_do_not_depend_on_other_texts_or_batches(monkeypatch):
    whole = ngram_components(TEXTS)
    apart = pl.concat([ngram_components(TEXTS.slice(row, 1)) for row in range(len(TEXTS))])
    monkeypatch.setattr(text_components, "BATCH", 2)
    assert ngram_components(TEXTS).equals(whole)
    assert apart.equals(whole)


def test_texts_alike_lie_closer_than_others():
    found = ngram_components(TEXTS, components=256).to_numpy()
    alike, other = np.linalg.norm(found[0] - found[2]), np.linalg.norm(found[0] - found[3])
    assert alike < 0.75 * other
    # The projection keeps lengths: every text with a trigram has length one before it.
    assert np.linalg.norm(found[0]) == pytest.approx(1, abs=0.2)


def test_another_process_gives_the_same_numbers():
    code = (
        "import polars as pl; from models.aggregation.text_components import ngram_components\n"
        "print(ngram_components(pl.Series(['late and damaged'])).row(0))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert printed.stdout.strip() == str(ngram_components(TEXTS).row(0)), printed.stderr


def test_no_texts_give_no_rows_and_senseless_counts_are_refused():
    nothing = ngram_components(pl.Series([], dtype=pl.String))
    assert (nothing.height, nothing.width) == (0, 8)
    assert ngram_components(pl.Series([None, None])).null_count().row(0) == (2,) * 8
    with pytest.raises(ValueError, match="components"):
        ngram_components(TEXTS, components=0)
