"""Names and meta blocks of the nodes of dbt's manifest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Node = Mapping[str, Any]


def table_name(node: Node) -> str:
    """The table or task name of a dbt model: its name without the database's prefix."""
    return without_prefix(str(node["name"]))


def without_prefix(name: str) -> str:
    """A model's name without its database's prefix."""
    return name.split("__", 1)[1] if "__" in name else name


def unquoted(name: str) -> str:
    """A name without the quotes that dbt keeps around it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') and name.endswith('"') else name


def relforge_block(node: Node) -> dict[str, Any]:
    """The `relforge` block of a node's, column's or test's meta, wherever dbt put it."""
    return relforge_meta((node.get("config") or {}).get("meta")) or relforge_meta(node.get("meta"))


def relforge_meta(meta: Any) -> dict[str, Any]:
    """The `relforge` block of a meta mapping; empty where there is none."""
    return dict((meta or {}).get("relforge", {}))
