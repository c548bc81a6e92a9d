"""Candidates: named points of the design space, each of one family with some settings."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pydantic import TypeAdapter, ValidationError

from models.learning.config import known_settings


@dataclass(frozen=True, slots=True)
class Candidate:
    """A named point of the design space; settings that are not given are the family's defaults."""

    name: str
    family: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    def config(self) -> Any:
        """The family's configuration with these settings.

        Raises:
            ValueError: A setting is not one of the family's, or has a value that it cannot have.
        """
        family = _known(self.family, list(FAMILIES), "family")
        known = FAMILIES[family]()
        free = [f.name for f in dataclasses.fields(known.config) if f.name not in known.fixed]
        for name in self.settings:
            _known(name, free, f"setting of the candidate {self.name!r} ({self.family})")
        try:
            settings = {**known.defaults, **self.settings, **known.fixed}
            return TypeAdapter(known.config).validate_python(settings)
        except ValidationError as error:
            found = "; ".join(_in_words(entry) for entry in error.errors())
            raise ValueError(f"candidate {self.name!r} ({self.family}): {found}") from error


def candidate_from_plain(plain: Mapping[str, Any]) -> Candidate:
    """The candidate of plain data: `family`, optionally `name` (the family's), `settings`.

    Raises:
        ValueError: An entry, the family, a setting or a setting's value is not known; names what it
            resembles.
    """
    for name in plain:
        _known(name, ["name", "family", "settings"], "entry of a candidate")
    if "family" not in plain:
        raise ValueError(f"a candidate needs a family, one of {', '.join(FAMILIES)} (got none)")
    family = str(plain["family"])
    candidate = Candidate(
        str(plain.get("name") or family), family, dict(plain.get("settings") or {})
    )
    candidate.config()
    return candidate


def recorded_candidate(name: str, family: str, settings: Mapping[str, Any]) -> Candidate:
    """The candidate of settings as trials record them, which include what the family fixes.

    Settings that the family no longer has are left out: trials of older code stay of use.
    """
    if family not in FAMILIES:
        return Candidate(name, family, settings)
    known = FAMILIES[family]()
    own = known_settings(known.config, settings)
    return Candidate(name, family, {n: value for n, value in own.items() if n not in known.fixed})


def candidates_from_plain(plain: Sequence[Mapping[str, Any]]) -> tuple[Candidate, ...]:
    """The candidates of a list of plain data.

    Raises:
        ValueError: The list is empty, two candidates share a name, or one of them is not valid.
    """
    candidates = tuple(candidate_from_plain(entry) for entry in plain)
    names = [candidate.name for candidate in candidates]
    if not names:
        raise ValueError("there must be at least one candidate (got none)")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"candidates share a name: {', '.join(twice)}; give each one of its own")
    return candidates


def _known(name: str, known: Sequence[str], what: str) -> str:
    if name in known:
        return name
    close = difflib.get_close_matches(str(name).lower(), known, n=1)
    suggestion = f", did you mean {close[0]!r}?" if close else ""
    raise ValueError(f"unknown {what}: {name!r}{suggestion}; known: {', '.join(known)}")


def _in_words(error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return f"{place}: {message} (got {error['input']!r})" if place else message


@dataclass(frozen=True, slots=True)
class FamilyConfig:
    """A family's configuration: its dataclass, what the family fixes, and its other defaults."""

    config: type[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)
    defaults: Mapping[str, Any] = field(default_factory=dict)


def _lightgbm() -> FamilyConfig:
    from models.tabular.lightgbm_config import LightGBMConfig

    return FamilyConfig(LightGBMConfig)


def _network(architecture: str) -> FamilyConfig:
    from models.tabular.network_config import DEFAULTS, NetworkConfig

    return FamilyConfig(NetworkConfig, {"architecture": architecture}, DEFAULTS[architecture])


def _tabpfn() -> FamilyConfig:
    from models.tabular.in_context import InContextConfig

    return FamilyConfig(InContextConfig)


def _rdl() -> FamilyConfig:
    from models.rdl.config import RDLConfig

    return FamilyConfig(RDLConfig)


def _lightgbm_on_embeddings() -> FamilyConfig:
    from models.families.embedding_config import EmbeddingFeaturesConfig

    return FamilyConfig(EmbeddingFeaturesConfig)


# A family's libraries are imported when the family is used, not before.
FAMILIES: Mapping[str, Callable[[], FamilyConfig]] = {
    "lightgbm": _lightgbm,
    "linear": partial(_network, "linear"),
    "resnet": partial(_network, "resnet"),
    "ft_transformer": partial(_network, "ft_transformer"),
    "tabpfn": _tabpfn,
    "rdl": _rdl,
    "lightgbm_on_embeddings": _lightgbm_on_embeddings,
}
