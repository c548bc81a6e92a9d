"""What a bundle keeps of a network's plan."""

from __future__ import annotations

from models.learning.outcome import TargetScale
from models.rdl.bundle import Blueprint, blueprint_from_plain
from models.rdl.config import RDLConfig


def test_a_blueprint_of_older_code_is_read_without_the_settings_that_are_no_more():
    blueprint = Blueprint(
        config=RDLConfig(channels=16, kept_epochs={"frozen": 2}),
        statistics={},
        edge_types=(),
        degrees={},
        scale=TargetScale(),
        outputs=1,
        seed_inputs=None,
        text_encoder="hashed",
    )
    plain = blueprint.to_plain()
    assert blueprint_from_plain(plain) == blueprint
    plain["config"]["keep"] = "best"
    assert blueprint_from_plain(plain) == blueprint
