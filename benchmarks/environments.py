"""The environments that peers run in: their requirements contradict this project's."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.databases import Unavailable

INSTALL_LIMIT_S = 1_800
COMPILE_LIMIT_S = 7_200
# Sources are compiled one at a time (each takes a gigabyte), and for the processor: what is compiled
# here samples there, whatever else the machine has.
COMPILE = {"MAX_JOBS": "1", "FORCE_ONLY_CPU": "1"}
# Builds wheels by itself from 70.1 on; what a new environment starts with may be older.
BUILDER = "setuptools>=70.1,<82"


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine to measure: its worker module and what to install, None for this environment.

    With `on_top` the engine's environment sees the packages of this one, and the requirements are
    compiled against them: C++ extensions of the torch that is installed here.
    """

    name: str
    requirements: tuple[str, ...] | None = None
    on_top: bool = False

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
    below = [f"torch=={version('torch')}"] if engine.on_top else []
    wanted = "\n".join([*engine.requirements, *below])
    if installed.exists() and installed.read_text() == wanted:
        return python
    venv.create(folder, clear=True, with_pip=True)
    if engine.on_top:
        _show_packages_of_this(folder)
        _pip(python, [BUILDER], INSTALL_LIMIT_S)
        unisolated = ["--no-build-isolation", "--no-deps", *engine.requirements]
        _pip(python, unisolated, COMPILE_LIMIT_S, {**COMPILE, **os.environ})
    else:
        _pip(python, engine.requirements, INSTALL_LIMIT_S)
    installed.write_text(wanted)
    return python


def _show_packages_of_this(folder: Path) -> None:
    """Let the environment in the folder import what is installed here, after its own packages."""
    python = f"python{sys.version_info.major}.{sys.version_info.minor}"
    packages = folder / "lib" / python / "site-packages"
    (packages / "packages_below.pth").write_text(f"{sysconfig.get_path('purelib')}\n")


def _pip(
    python: Path, given: Sequence[str], limit_s: int, variables: Mapping[str, str] | None = None
) -> None:
    try:
        done = subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", *given],
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
            env=variables,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"pip took more than {limit_s} s") from error
    if done.returncode:
        raise Unavailable(f"pip: {telling_line(done.stderr)}")


def telling_line(text: str) -> str:
    """The line of a program's messages that says most: the last that names an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception|ERROR)\b", line)]
    return (errors or lines or ["no message"])[-1][:200]
