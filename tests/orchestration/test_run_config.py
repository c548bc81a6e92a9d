"""A run's configuration file is refused before anything is imported, with the mend."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.database.dbt_folder import DeclarationError
from orchestration.run import check_config, main

DEMO = Path(__file__).parents[2] / "orchestration" / "demo.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ops: {a: [}", "is not valid YAML"),
        ("- ops", "is no mapping; it begins with ops:"),
    ],
)
def test_what_dagster_cannot_read_is_refused(tmp_path: Path, text: str, message: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(DeclarationError, match=message):
        check_config(path)
    with pytest.raises(DeclarationError, match="is no file"):
        check_config(tmp_path / "other.yaml")


def test_the_command_line_tells_it_and_imports_nothing(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setenv("RELFORGE_HOME", str(tmp_path / "home"))
    path = tmp_path / "config.yaml"
    path.write_text("- ops")
    assert main(["--source", "shop", "--config", str(path)]) == 2
    assert "is no mapping" in capsys.readouterr().err
    assert not (tmp_path / "home" / "store").exists()


def test_what_dagster_can_read_is_not():
    check_config(DEMO)
