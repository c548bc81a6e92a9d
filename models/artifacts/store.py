"""The artifact store: build once per fingerprint, publish atomically, find again.

Layout under the store's root:

    <stage>/<fingerprint>/         the artifact's files and `artifact.json`; immutable once visible
    latest/<subject>.json          the recipe last used for a subject, to say what changed
    building/<host>-<pid>-<id>/    work in progress; swept once its process is gone
    work/<stage>/<fingerprint>/    checkpoints of a long build, which outlive a kill; gone once it
                                   is published

An artifact is built aside and renamed into place, so it is visible only when complete. Two runs
that build the same fingerprint at once both succeed: the second finds the first one's and drops its
own.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.artifacts.recipe import Recipe, digest, file_digest

RECORD = "artifact.json"


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published artifact: its folder and what is recorded about it."""

    stage: str
    fingerprint: str
    path: Path
    record: Mapping[str, Any]

    @property
    def metadata(self) -> dict[str, Any]:
        """What the stage reported about its result (row counts, scores, ...)."""
        return dict(self.record["metadata"])

    @property
    def inputs(self) -> dict[str, str]:
        """Fingerprints of the upstream artifacts it was made from, by name."""
        return dict(self.record["recipe"]["inputs"])

    @property
    def content(self) -> str:
        """The digest of its files' content: equal contents, equal digests."""
        return str(self.record["content"])


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of asking for an artifact.

    `made_by` is the run that built it, `changed` what differs from the subject's previous recipe.
    """

    artifact: Artifact
    reused: bool
    made_by: str
    changed: tuple[str, ...]
    seconds: float


class ArtifactStore:
    """A folder of content-addressed artifacts, safe for several processes at once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def get(self, stage: str, fingerprint: str) -> Artifact:
        """The artifact of that fingerprint.

        Raises:
            KeyError: it is not in the store.
        """
        artifact = self.find(stage, fingerprint)
        if artifact is None:
            raise KeyError(f"the store at {self.root} has no {stage} artifact {fingerprint}")
        return artifact

    def find(self, stage: str, fingerprint: str) -> Artifact | None:
        """The artifact of that fingerprint, or None."""
        path = self.root / stage / fingerprint
        try:
            record = json.loads((path / RECORD).read_text())
        except FileNotFoundError:
            return None
        return Artifact(stage, fingerprint, path, record)

    def build(
        self,
        recipe: Recipe,
        produce: Callable[[Path], Mapping[str, Any]],
        run_id: str = "",
        *,
        force: bool = False,
    ) -> Outcome:
        """The recipe's artifact: the published one, or else what `produce` writes into a folder.

        Args:
            recipe: What the artifact is made from.
            produce: Writes the files into the folder it is given and returns JSON-ready metadata.
            run_id: Recorded as the maker.
            force: Build even if the fingerprint exists, and replace what is there.
        """
        started = time.monotonic()
        changed = self._changed(recipe)
        if force:
            shutil.rmtree(self._work(recipe), ignore_errors=True)
        artifact = None if force else self.find(recipe.stage, recipe.fingerprint)
        reused = artifact is not None
        if artifact is None:
            artifact = self._publish(recipe, produce, run_id, force)
        self._remember(recipe)
        made_by = str(artifact.record.get("run_id", ""))
        return Outcome(artifact, reused, made_by, changed, time.monotonic() - started)

    def work(self, recipe: Recipe) -> Path:
        """A folder for the checkpoints of a recipe's build: the next attempt finds them again."""
        folder = self._work(recipe)
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _work(self, recipe: Recipe) -> Path:
        return self.root / "work" / recipe.stage / recipe.fingerprint

    def latest(self, stage: str, subject: str) -> Artifact | None:
        """The artifact last asked for under that subject, if it is still in the store."""
        recipe = self._latest_recipe(stage, subject)
        return self.find(stage, recipe["fingerprint"]) if recipe else None

    def subjects(self, stage: str, prefix: str) -> list[str]:
        """Subjects of a stage that start with the prefix (`rel_f1/driver_dnf/`), sorted."""
        folder = self.root / "latest" / stage
        names = (json.loads(path.read_text())["subject"] for path in folder.glob("*.json"))
        return sorted(name for name in names if name.startswith(prefix))

    def _publish(
        self,
        recipe: Recipe,
        produce: Callable[[Path], Mapping[str, Any]],
        run_id: str,
        force: bool,
    ) -> Artifact:
        self.sweep()
        building = self.root / "building"
        aside = building / f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        aside.mkdir(parents=True)
        try:
            metadata = produce(aside)
            files = {
                str(path.relative_to(aside)): file_digest(path)
                for path in sorted(aside.rglob("*"))
                if path.is_file()
            }
            record = {
                "recipe": recipe.to_plain(),
                "subject": recipe.subject,
                "run_id": run_id,
                "metadata": dict(metadata),
                "files": files,
                "content": digest("\n".join(f"{name}:{sha}" for name, sha in files.items())),
            }
            (aside / RECORD).write_text(json.dumps(record, indent=1, default=str))
            self._move_into_place(aside, recipe, force)
            shutil.rmtree(self._work(recipe), ignore_errors=True)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        return self.get(recipe.stage, recipe.fingerprint)

    def _move_into_place(self, aside: Path, recipe: Recipe, force: bool) -> None:
        final = self.root / recipe.stage / recipe.fingerprint
        final.parent.mkdir(parents=True, exist_ok=True)
        if force and final.exists():
            os.rename(final, aside.with_name(f"{aside.name}-replaced"))
        try:
            os.rename(aside, final)
        except OSError:
            # Another run published the same fingerprint meanwhile: same recipe, same artifact.
            if not (final / RECORD).exists():
                raise

    def sweep(self) -> None:
        """Removes work in progress of processes on this machine that are gone."""
        here = socket.gethostname()
        for path in (self.root / "building").glob(f"{here}-*"):
            pid = path.name.removeprefix(f"{here}-").split("-")[0]
            if path.name.endswith("-replaced") or not (pid.isdigit() and _is_running(int(pid))):
                shutil.rmtree(path, ignore_errors=True)

    def _pointer(self, stage: str, subject: str) -> Path:
        return self.root / "latest" / stage / f"{digest(subject)}.json"

    def _latest_recipe(self, stage: str, subject: str) -> dict[str, Any] | None:
        try:
            return dict(json.loads(self._pointer(stage, subject).read_text()))
        except FileNotFoundError:
            return None

    def _changed(self, recipe: Recipe) -> tuple[str, ...]:
        previous = self._latest_recipe(recipe.stage, recipe.subject)
        return tuple(recipe.differences(previous)) if previous else ("first run",)

    def _remember(self, recipe: Recipe) -> None:
        pointer = self._pointer(recipe.stage, recipe.subject)
        pointer.parent.mkdir(parents=True, exist_ok=True)
        content = recipe.to_plain() | {
            "subject": recipe.subject,
            "fingerprint": recipe.fingerprint,
        }
        write_atomically(pointer, json.dumps(content))


def write_atomically(path: Path, text: str) -> None:
    """Writes a text file so that a reader sees the old or the new content, never a part."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.{uuid.uuid4().hex[:8]}")
    aside.write_text(text)
    os.replace(aside, path)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
