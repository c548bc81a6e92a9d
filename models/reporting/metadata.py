"""Plots as Dagster markdown metadata."""

from __future__ import annotations

import base64


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """The content as a `data:` address that needs no file and no network."""
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def metadata_markdown(png: bytes) -> str:
    """A markdown image of the PNG, for `MetadataValue.md`."""
    return f"![]({data_uri(png)})"
