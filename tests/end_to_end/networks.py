"""Small settings for relational networks and their pretraining in whole runs."""

from __future__ import annotations

from typing import Any

NETWORK = {"channels": 8, "heads": 2, "fan_out": 4, "seeds": 2, "epochs": 3, "batch_size": 128}
FAMILIES = {"RELFORGE_FAMILIES": "lightgbm,rdl"}
ENCODER = "tiny_club/pretrained_encoder/tve"


def small(task: str = "member_comes", *candidates: dict[str, Any]) -> dict[str, Any]:
    """Run configuration: a small encoder, and candidates for a task (default: one of each family)."""
    given = list(candidates) or [
        {"family": "lightgbm", "settings": {"seeds": 1, "rounds": 5}},
        {"family": "rdl", "settings": NETWORK},
    ]
    encoder = {"epochs": 2, "steps": 3, "batch_size": 64, "channels": 8, "fan_out": 4}
    return {
        "ops": {
            "tiny_club__pretrained_encoder__tve": {"config": encoder},
            f"tiny_club__{task}__model": {"config": {"candidates": given}},
        }
    }
