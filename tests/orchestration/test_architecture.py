"""What may import what, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures import PATIENCE, ROOT

LAYERS = ("models", "assets", "orchestration")
FILES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
# Inside models, a package may import those to its left, and itself.
FLOORS = ("settings", "database", "artifacts", "synthetic", "aggregation", "quality", "dfs",
          "tve", "reporting", "learning", "tabular", "rdl", "pretraining", "families",
          "bank", "search", "relatron", "fidelity", "corpus")  # fmt: skip
# Upward imports that exist, each for a reason given where it stands.
KNOWN = {
    ("database", "artifacts"),  # digests of files and texts
    ("database", "synthetic"),  # the demo is one of the sources
}
MAX_LINES = 420


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_lies_below_it_and_is_not_too_long(path: Path):
    relative = path.relative_to(ROOT).parts
    above = LAYERS[LAYERS.index(relative[0]) + 1 :]
    named = set(imports(path))
    upward = [name for name in named if name.split(".")[0] in (*above, "tests")]
    assert upward == []
    if relative[0] == "models":
        assert [n for n in named if n.split(".")[0] == "dagster"] == []
    assert len(path.read_text().splitlines()) <= MAX_LINES


def test_the_packages_of_models_are_stacked():
    found = set()
    for path in (ROOT / "models").rglob("*.py"):
        own = path.relative_to(ROOT / "models").parts[0].removesuffix(".py")
        for name in imports(path):
            parts = name.split(".")
            if parts[0] == "models" and len(parts) > 1 and parts[1] != own and own in FLOORS:
                assert parts[1] in FLOORS, f"give models/{parts[1]} its place in FLOORS"
                if FLOORS.index(parts[1]) > FLOORS.index(own):
                    found.add((own, parts[1]))
    assert found <= KNOWN


def test_every_module_of_models_can_be_imported_without_dagster():
    modules = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in FILES
        if path.relative_to(ROOT).parts[0] == "models"
    ]
    assert len(modules) > 50
    code = (
        "import importlib, sys\n"
        "sys.modules['dagster'] = None\n"
        f"for name in {modules!r}:\n"
        "    importlib.import_module(name)\n"
        "assert not [m for m in sys.modules if m.startswith('dagster') and sys.modules[m]]\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE
    )
    assert finished.returncode == 0, finished.stderr
