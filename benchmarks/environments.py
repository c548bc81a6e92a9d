"""The environments that peers run in: their requirements contradict this project's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from benchmarks.databases import Unavailable

INSTALL_LIMIT_S = 1_800


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine to measure: its worker module and what to install, None for this environment."""

    name: str
    requirements: tuple[str, ...] | None = None

    @property
    def module(self) -> str:
        """The worker."""
        return f"benchmarks.workers.{self.name}"


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("ours"),
        Engine("featuretools"),
        # setuptools 81 removed pkg_resources, which both import.
        Engine("fastdfs", ("fastdfs==1.2", "setuptools<81")),
        Engine("getml", ("getml==1.5.0", "psutil", "setuptools<81")),
    )
}


def cache() -> Path:
    """The folder of the environments: below RELFORGE_HOME, else in the user's cache."""
    home = os.environ.get("RELFORGE_HOME")
    return (Path(home) if home else Path.home() / ".cache" / "relforge").absolute() / "benchmarks"


def python_of(engine: Engine) -> Path:
    """The interpreter that has the engine, installed on the first call.

    Without a network pip's own settings say where wheels are (PIP_FIND_LINKS).

    Raises:
        Unavailable: pip could not install it.
    """
    if engine.requirements is None:
        return Path(sys.executable)
    folder = cache() / engine.name
    python, installed = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(engine.requirements)
    if installed.exists() and installed.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    command = [str(python), "-m", "pip", "install", "--quiet", *engine.requirements]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip took more than {INSTALL_LIMIT_S} s") from error
    if done.returncode:
        raise Unavailable(f"pip: {telling_line(done.stderr)}")
    installed.write_text(wanted)
    return python


def telling_line(text: str) -> str:
    """The line of a program's messages that says most: the last that names an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|ERROR)\b", line)]
    return (errors or lines or ["no message"])[-1][:200]
