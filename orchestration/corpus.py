"""The command line of the corpus: synthetic databases with tasks, tried with both families.

python -m orchestration.corpus --databases 100 --planted 200
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

from assets.corpus import CorpusStageConfig, corpus_config, corpus_folder
from models.settings import Settings
from orchestration.instance import prepare_environment
from orchestration.jobs import CORPUS_JOB
from orchestration.run import follow


def main(arguments: list[str] | None = None) -> int:
    """Runs the corpus's job as `dagster job execute` does; returns its exit code, 2 for bad input."""
    settings = Settings.from_environment()
    given = vars(_parse(arguments))
    try:
        corpus_config(CorpusStageConfig(**given))
    except ValueError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    config = {"ops": {"synthetic__corpus": {"config": given}}}
    command = [sys.executable, "-m", "dagster", "job", "execute"]
    command += ["-m", "orchestration.definitions", "-j", CORPUS_JOB]
    log = settings.home / "logs" / f"{CORPUS_JOB}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "config.json"
        file.write_text(json.dumps(config))
        command += ["-c", str(file)]
        code = follow(command, prepare_environment(settings), log, time.monotonic())
    verdict = "finished" if code == 0 else f"FAILED (exit code {code})"
    print(f"corpus {verdict}; bank: {corpus_folder(settings) / 'bank'}; full log: {log}")
    return code


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, field in CorpusStageConfig.model_fields.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(field.default),
            default=field.default,
            help=f"{field.description} (default: {field.default})",
        )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
