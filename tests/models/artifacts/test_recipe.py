"""Fingerprints: what changes them, what does not, and how a change is put into words."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifacts import recipe as recipes
from models.artifacts.recipe import Recipe, canonical_json, code_version, file_digest
from models.database.schema import Column, Metric, SemanticType

BASE = Recipe("features", "shop/churn", "c1", {"depth": 2, "tables": ["a"]}, {"staging": "s1"})
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.mark.parametrize(
    "other",
    [
        replace(BASE, stage="training"),
        replace(BASE, code="c2"),
        replace(BASE, config={"depth": 3, "tables": ["a"]}),
        replace(BASE, config={"depth": 2, "tables": ["a", "b"]}),
        replace(BASE, config={"depth": 2, "tables": ["a"], "more": None}),
        replace(BASE, inputs={"staging": "s2"}),
        replace(BASE, inputs={"source": "s1"}),
        replace(BASE, inputs={}),
    ],
)
def test_the_fingerprint_follows_stage_code_config_and_inputs(other):
    assert other.fingerprint != BASE.fingerprint


@pytest.mark.parametrize(
    "same",
    [
        replace(BASE, subject="shop/spend"),
        replace(BASE, config={"tables": ["a"], "depth": 2}),
        replace(BASE, config={"depth": 2, "tables": ("a",)}),
    ],
)
def test_the_fingerprint_ignores_the_subject_and_the_order_of_settings(same):
    assert same.fingerprint == BASE.fingerprint


@given(st.dictionaries(st.text(max_size=3), PLAIN, max_size=4), st.randoms())
def test_equal_values_have_one_canonical_text_and_unequal_ones_two(config, random):
    keys = list(config)
    random.shuffle(keys)
    assert canonical_json({key: config[key] for key in keys}) == canonical_json(config)
    assert canonical_json({**config, "changed": 1}) != canonical_json({**config, "changed": "1"})


def test_dataclasses_enums_and_times_have_a_canonical_text():
    @dataclass(frozen=True)
    class Setting:
        metric: Metric
        window: timedelta
        at: datetime
        hour: time
        columns: tuple[Column, ...]

    setting = Setting(
        Metric.MAE,
        timedelta(days=1, microseconds=1),
        datetime(2020, 1, 2, 3),
        time(6),
        (Column("a", semantic_type=SemanticType.TEXT),),
    )
    text = canonical_json({"b": setting, "a": SemanticType.TEXT})
    assert text == (
        '{"a":"text","b":{"at":"2020-01-02T03:00:00","columns":[{"declared":false,'
        '"description":"","name":"a","semantic_type":"text","sql_type":""}],"hour":"06:00:00",'
        '"metric":"mae","window":"86400.000001s"}}'
    )


@pytest.mark.parametrize("value", [object(), Path("x"), {1, 2}])
def test_a_value_without_a_canonical_text_is_refused_by_type(value):
    with pytest.raises(TypeError, match=type(value).__name__):
        canonical_json({"value": value})


def test_differences_name_each_changed_setting_and_input():
    before = replace(BASE, config={"dfs": {"depth": 1, "old": 1}}, code="c0").to_plain()
    now = replace(BASE, config={"dfs": {"depth": 2}, "text": "x" * 60}, inputs={"staging": "s2"})
    assert now.differences(before) == [
        "code version",
        "config.dfs.depth 1 -> 2",
        "config.dfs.old 1 -> (none)",
        f"config.text (none) -> {'x' * 37}...",
        "inputs.staging s1 -> s2",
    ]
    assert BASE.differences(BASE.to_plain()) == []


def test_the_code_version_follows_the_source_of_the_named_packages_only(tmp_path, monkeypatch):
    monkeypatch.setattr(recipes, "ROOT", tmp_path)
    for name in ("one/a.py", "one/deep/b.sql", "one/notes.md", "other/c.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")

    def version(*packages):
        code_version.cache_clear()
        return code_version(*packages)

    try:
        first = version("one")
        (tmp_path / "other/c.py").write_text("2")
        (tmp_path / "one/notes.md").write_text("2")
        assert version("one") == first
        assert version("one", "other") != first
        (tmp_path / "one/deep/b.sql").write_text("2")
        second = version("one")
        assert second != first
        (tmp_path / "one/a.py").rename(tmp_path / "one/z.py")
        assert version("one") not in (first, second)
        assert version("one/z.py") != version("one")
        with pytest.raises(FileNotFoundError, match="'gone'"):
            version("gone")
    finally:
        code_version.cache_clear()


def test_a_files_digest_is_that_of_its_content(tmp_path):
    for name, content in {"a": b"x", "b": b"x", "c": b"y"}.items():
        (tmp_path / name).write_bytes(content)
    assert file_digest(tmp_path / "a") == file_digest(tmp_path / "b")
    assert file_digest(tmp_path / "a") != file_digest(tmp_path / "c")
