"""Publishing a directory in one step."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def fresh_directory(target: Path) -> Iterator[Path]:
    """An empty directory that takes the target's place when the block ends without an error.

    It is built beside the target (`.<name>-*`), so that a killed run leaves the old directory as
    it was, and readers never see half of the new one.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    built, replaced = workspace / "built", workspace / "replaced"
    built.mkdir()
    try:
        yield built
        if target.exists():
            target.rename(replaced)
        try:
            built.rename(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
