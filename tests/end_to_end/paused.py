"""`dagster ...` that touches a file and then stands still in the middle of a stage, to be killed.

python -m tests.end_to_end.paused <stage> <marker> job execute ...
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from models.artifacts import ArtifactStore, Recipe
from models.database import dbt
from models.database.warehouse import Turn


def main() -> None:
    stage, marker, *arguments = sys.argv[1:]

    def pause() -> None:
        Path(marker).touch()
        time.sleep(120)

    if stage.startswith("dbt "):
        pause_dbt(stage.removeprefix("dbt "), Path(marker))
    elif stage == "write-back":
        pause_write_back(pause)
    else:
        pause_stage(stage, pause)
    sys.argv = ["dagster", *arguments]
    from dagster._cli import main as dagster

    dagster()


def pause_stage(stage: str, pause: Callable[[], None]) -> None:
    """Stands still when the stage has written its files but nobody can see them yet."""
    publish: Any = ArtifactStore._publish

    def paused(
        store: ArtifactStore, recipe: Recipe, produce: Callable[[Path], Any], *rest: Any
    ) -> Any:
        def slow(folder: Path) -> Mapping[str, Any]:
            metadata: Mapping[str, Any] = produce(folder)
            pause()
            return metadata

        return publish(store, recipe, slow if recipe.stage == stage else produce, *rest)

    setattr(ArtifactStore, "_publish", paused)  # noqa: B010


def pause_dbt(selected: str, marker: Path) -> None:
    """Touches the marker as soon as dbt, a child, has the warehouse open for these models."""
    run: Any = dbt._dbt

    def watched(code: str, project: Path, arguments: list[str], *rest: Any) -> Any:
        if any(selected in argument for argument in arguments):
            _, _, warehouse, _ = rest
            threading.Thread(target=watch, args=(warehouse, marker), daemon=True).start()
        return run(code, project, arguments, *rest)

    setattr(dbt, "_dbt", watched)  # noqa: B010


def watch(warehouse: Path, marker: Path) -> None:
    while not any(has_open(pid, warehouse) for pid in children()):
        time.sleep(0.02)
    marker.touch()


def children() -> Iterator[int]:
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            yield int(stat.parent.name)


def has_open(pid: int, path: Path) -> bool:
    try:
        return any(os.readlink(fd) == str(path) for fd in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:
        return False


def pause_write_back(pause: Callable[[], None]) -> None:
    """Stands still inside the transaction that replaces the predictions in the warehouse."""
    connect: Any = Turn.connect

    class Connection:
        def __init__(self, real: Any) -> None:
            self.real = real

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        def commit(self) -> None:
            pause()

    @contextmanager
    def paused(turn: Turn) -> Iterator[Any]:
        with connect(turn) as connection:
            yield Connection(connection)

    setattr(Turn, "connect", paused)  # noqa: B010


if __name__ == "__main__":
    main()
