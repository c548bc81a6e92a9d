"""Recipes: what an artifact is made from, and the fingerprint that follows from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from models.database.schema import to_plain

ROOT = Path(__file__).resolve().parents[2]


def canonical_json(value: Any) -> str:
    """JSON text that is the same for equal values: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain_or_fail)


def _plain_or_fail(value: Any) -> Any:
    plain = to_plain(value)
    if plain is value:
        raise TypeError(f"no canonical form for {type(value).__name__} (got {value!r})")
    return plain


def digest(text: str | bytes) -> str:
    """The first 24 hexadecimal digits of the SHA-256 of a text."""
    data = text.encode() if isinstance(text, str) else text
    return hashlib.sha256(data).hexdigest()[:24]


def file_digest(path: Path) -> str:
    """The digest of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:24]


@cache
def code_version(*packages: str) -> str:
    """The digest of the source of these packages or modules (`models/dfs`, `assets/features.py`).

    A stage names what it is made of; editing any of it makes the stage's artifacts new.
    """
    files: list[Path] = []
    for package in packages:
        path = ROOT / package
        if not path.exists():
            raise FileNotFoundError(f"code_version names {package!r}, which is not in the project")
        suffixes = {".py", ".sql", ".html"}
        files += [path] if path.is_file() else [p for p in path.rglob("*") if p.suffix in suffixes]
    parts = [f"{file.relative_to(ROOT)}:{file_digest(file)}" for file in sorted(files)]
    return digest("\n".join(parts))


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything an artifact depends on.

    `subject` says whose artifact it is (database, task, as_of) without being part of the
    fingerprint: two subjects with the same recipe share one artifact. `inputs` are fingerprints of
    upstream artifacts by name.
    """

    stage: str
    subject: str
    code: str
    config: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """The content address: the digest of stage, code version, configuration and inputs."""
        return digest(canonical_json(self.to_plain()))

    def to_plain(self) -> dict[str, Any]:
        """The fingerprinted parts as JSON-ready data."""
        plain = {
            "stage": self.stage,
            "code": self.code,
            "config": dict(self.config),
            "inputs": dict(self.inputs),
        }
        return dict(json.loads(canonical_json(plain)))

    def differences(self, previous: Mapping[str, Any]) -> list[str]:
        """What changed since a previous recipe, in words: `config.depth 1 -> 2`."""
        changes = [] if previous.get("code") == self.code else ["code version"]
        new = self.to_plain()
        for part in ("config", "inputs"):
            before, now = _flat(previous.get(part, {})), _flat(new[part])
            for key in sorted(before.keys() | now.keys()):
                if before.get(key) != now.get(key):
                    old_text, new_text = _short(before.get(key)), _short(now.get(key))
                    changes.append(f"{part}.{key} {old_text} -> {new_text}")
        return changes


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, item in value.items():
        if isinstance(item, Mapping):
            flat |= _flat(item, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = item
    return flat


def _short(value: Any) -> str:
    text = "(none)" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
