"""The command of the fidelity report, on a small folder and one small synthetic database."""

from __future__ import annotations

import json

import pytest

from benchmarks import fidelity
from models.fidelity import report
from models.synthetic.database import Generator
from models.synthetic.draws import Fixed, LogUniformInteger
from models.synthetic.layered_layout import LayeredLayout
from tests.fixtures import write_relbench_folder
from tests.models.synthetic.plain_stages import PlainColumns, PlainRows

LAYOUT = LayeredLayout(
    tables=Fixed(3), columns=Fixed(3), activity_rows=LogUniformInteger(1500, 1600)
)
SMALL = Generator(LAYOUT, PlainRows(), PlainColumns())


def test_a_page_is_written_and_what_was_made_is_kept(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(fidelity, "preset", lambda name: SMALL)
    monkeypatch.setattr(report, "SPECTRA", 0)  # DFS features take seconds
    write_relbench_folder(tmp_path / "real" / "club")
    out = tmp_path / "out"
    command = ["--real", str(tmp_path / "real"), "--synthetic", "1", "--tasks", "4"]
    assert fidelity.main([*command, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    page = (out / "fidelity.md").read_text()
    assert page in printed
    for part in ("The-Club", "relforge: median", "## Coverage", "## Detection", "| club_visits |"):
        assert part in page, part
    assert (out / "fidelity.png").stat().st_size > 1000
    everything = json.loads((out / "fidelity.json").read_text())
    assert [len(everything[part]) for part in ("real", "synthetic", "detection")] == [1, 1, 1]
    monkeypatch.setattr(fidelity, "fidelity_report", None)
    assert fidelity.main([*command, "--out", str(out)]) == 0
    assert "CPU-s" not in capsys.readouterr().out


def test_bad_commands_say_what_is_missing(tmp_path, capsys):
    with pytest.raises(SystemExit):
        fidelity.main([])
    assert "--real or --synthetic" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="no RelBench folder"):
        fidelity.main(["--real", str(tmp_path), "--out", str(tmp_path / "out")])
