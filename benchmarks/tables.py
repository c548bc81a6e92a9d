"""Markdown tables of measurements."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence


def markdown(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table; numbers are right aligned."""
    aligned = [
        "---:" if rows and all(_is_number(row[at]) for row in rows if row[at] != "") else "---"
        for at in range(len(header))
    ]
    lines = [header, aligned, *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _is_number(cell: object) -> bool:
    return str(cell).replace(",", "").replace(".", "", 1).replace("-", "", 1).isdigit()


def machine() -> str:
    """One line about where and when the figures were taken."""
    load = os.getloadavg()[0]
    return f"{platform.machine()}, {os.cpu_count()} cores, load average {load:.1f} at the start"
