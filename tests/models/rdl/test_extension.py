"""A graph built upon an earlier one is the same graph, and encodes only the texts that are new."""

import numpy as np
import polars as pl
import pytest

from models.rdl.graph_files import read_graph, write_graph
from models.rdl.text import hashed_texts, sentence_encoder
from tests.models.rdl.league import assert_same_graph, half_day, league_frames, league_graph

FRAMES = league_frames()


class CountingEncoder:
    """Hashes texts and remembers which."""

    def __init__(self):
        self.encoded = []

    def __call__(self, texts):
        self.encoded += texts.to_list()
        return hashed_texts(texts)


def frames():
    """The frames as they were at some time, and all of them; one note appears only later."""
    late = pl.col("at") > half_day(30)
    plays = FRAMES["plays"].with_columns(
        note=pl.when(late & (pl.col("id") % 3 == 0))
        .then(pl.lit("some later note"))
        .otherwise("note")
    )
    new = {**FRAMES, "plays": plays}
    old = {
        name: frame.filter(late.not_().fill_null(True)) if "at" in frame.columns else frame
        for name, frame in new.items()
    }
    return old, new


def test_only_new_texts_are_encoded(tmp_path):
    old, new = frames()
    first, second = CountingEncoder(), CountingEncoder()
    earlier = league_graph(tmp_path / "old", old, text_encoder=first)
    assert len(first.encoded) == 6
    extended = league_graph(tmp_path / "new", new, text_encoder=second, earlier=earlier)
    assert second.encoded == ["some later note"]
    assert_same_graph(extended, league_graph(tmp_path / "scratch", new))


def test_nothing_is_encoded_where_nothing_is_new(tmp_path, league):
    encoder = CountingEncoder()
    again = league_graph(tmp_path, text_encoder=encoder, earlier=league)
    assert encoder.encoded == []
    assert_same_graph(again, league)


def test_texts_that_are_gone_are_dropped(tmp_path):
    old, new = frames()
    later = league_graph(tmp_path / "new", new)
    assert_same_graph(
        league_graph(tmp_path / "again", old, earlier=later), league_graph(tmp_path / "old", old)
    )


def test_a_graph_in_files_can_be_extended(tmp_path):
    old, new = frames()
    (tmp_path / "graph").mkdir()
    write_graph(league_graph(tmp_path / "old", old), tmp_path / "graph")
    stored = read_graph(tmp_path / "graph")
    before = stored.tables["plays"].text["note"].embeddings.clone()
    extended = league_graph(tmp_path / "new", new, earlier=stored)
    assert_same_graph(extended, league_graph(tmp_path / "scratch", new))
    assert np.array_equal(stored.tables["plays"].text["note"].embeddings, before)


def test_a_sentence_encoder_asks_for_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sentence_transformers", None)
    with pytest.raises(ModuleNotFoundError, match=r"relforge\[text\]"):
        sentence_encoder("any")
