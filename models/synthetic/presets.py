"""Generators by name."""

from __future__ import annotations

from models.synthetic.database import Generator
from models.synthetic.layered_layout import LayeredLayout
from models.synthetic.mechanisms import Mechanisms
from models.synthetic.plurel import PLUREL, PLUREL_PAPER
from models.synthetic.population import Population

RELFORGE = Generator(LayeredLayout(), Population(), Mechanisms())

PRESETS = {"relforge": RELFORGE, "plurel": PLUREL, "plurel_paper": PLUREL_PAPER}
"""`relforge` is ours; `plurel` and `plurel_paper` make what PluRel's code and its paper make."""


def preset(name: str) -> Generator:
    """The generator of that name.

    Raises:
        ValueError: There is none; names those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r} (there are: {', '.join(PRESETS)})")
    return PRESETS[name]
