"""Short texts of plain words, some of which tell a number and some of which do not."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from models.synthetic.rows import Floats, Indices

LEVELS = 6
"""Numbers are told in so many grades."""

WORDINGS = 5
"""Beginnings that tell the same grade."""

ENDINGS = 24
"""Endings, which tell nothing."""

MOST_ENDING = 6
"""Words of the longest ending."""

# fmt: off
ADJECTIVES = (
    "amber", "ancient", "autumn", "bare", "bitter", "blue", "bold", "brief", "bright", "broad",
    "busy", "calm", "clear", "clever", "coarse", "cold", "common", "cool", "crisp", "curious",
    "deep", "dense", "distant", "dry", "early", "eastern", "empty", "faint", "famous", "fine",
    "firm", "flat", "fresh", "gentle", "golden", "grand", "green", "grey", "heavy", "hollow",
    "honest", "humble", "idle", "inner", "keen", "large", "late", "light", "little", "lively",
    "local", "lone", "long", "loose", "loud", "lucky", "mellow", "mild", "modern", "narrow",
    "neat", "noble", "northern", "odd", "open", "outer", "pale", "patient", "plain", "polite",
    "proud", "pure", "quick", "quiet", "rapid", "rare", "raw", "red", "rich", "rough",
    "round", "royal", "rural", "safe", "sharp", "short", "shy", "silent", "silver", "simple",
    "slow", "small", "smooth", "soft", "solid", "southern", "spare", "steady", "steep", "still",
    "strict", "strong", "subtle", "sudden", "sunny", "sweet", "swift", "tall", "tame", "tender",
    "thick", "thin", "tidy", "tiny", "usual", "vivid", "warm", "western", "wet", "white",
    "wide", "wild", "wise", "wooden", "yellow", "young",
)
NOUNS = (
    "anchor", "apple", "arch", "autumn", "bakery", "barn", "basket", "beach", "bell", "bench",
    "bird", "boat", "bottle", "bridge", "brook", "bucket", "button", "cabin", "candle", "canyon",
    "castle", "cedar", "chair", "chapel", "cliff", "clock", "cloud", "coast", "compass", "copper",
    "corner", "cotton", "creek", "crown", "desert", "door", "drum", "engine", "falcon", "farm",
    "feather", "fence", "ferry", "field", "fire", "forest", "fountain", "fox", "garden", "gate",
    "glass", "grove", "hammer", "harbour", "hill", "horse", "house", "island", "ivy", "jacket",
    "kettle", "kitchen", "ladder", "lake", "lamp", "lantern", "leaf", "lemon", "letter", "library",
    "linen", "maple", "market", "meadow", "mill", "mirror", "moon", "mountain", "needle", "oak",
    "ocean", "orchard", "paper", "path", "pebble", "pillow", "pine", "planet", "pond", "quarry",
    "rain", "ribbon", "ridge", "river", "road", "roof", "rope", "salt", "school", "shell",
    "ship", "shore", "spoon", "spring", "square", "station", "stone", "storm", "stove", "street",
    "summer", "table", "temple", "thread", "tower", "train", "valley", "village", "wagon", "wall",
    "well", "wheel", "willow", "wind", "window", "winter",
)
# fmt: on


@dataclass(frozen=True, slots=True)
class Phrases:
    """Texts of a beginning that tells a grade and an ending that tells nothing, 2 to 8 words.

    Attributes:
        beginnings: Two words each, WORDINGS a grade, grade after grade.
        endings: From no word to MOST_ENDING.
    """

    beginnings: tuple[str, ...]
    endings: tuple[str, ...]

    def texts(self, grades: Indices, places: Floats) -> pl.Series:
        """The texts of rows.

        Args:
            grades: int64 [rows], from 0 to below LEVELS.
            places: From 0 to below 1, float64 [rows]; they choose wording and ending.
        """
        place = places * WORDINGS
        wording = place.astype(np.int64)
        ending = ((place - wording) * ENDINGS).astype(np.int64)
        beginnings = pl.Series(self.beginnings).gather(grades * WORDINGS + wording)
        return beginnings + pl.Series(self.endings).gather(ending)


def phrases(generator: np.random.Generator) -> Phrases:
    """The phrases of a column: no two grades share an adjective or a noun."""
    adjectives = _shuffled(ADJECTIVES, generator)
    nouns = _shuffled(NOUNS, generator)
    told = LEVELS * WORDINGS
    beginnings = [f"{a} {n}" for a, n in zip(adjectives[:told], nouns[:told], strict=True)]
    free = adjectives[told:], nouns[told:]
    endings = []
    for _ in range(ENDINGS):
        words = []
        for place in range(int(generator.integers(0, MOST_ENDING, endpoint=True))):
            bank = free[place % 2]
            words.append(bank[int(generator.integers(len(bank)))])
        endings.append("".join(f" {word}" for word in words))
    return Phrases(tuple(beginnings), tuple(endings))


def _shuffled(words: tuple[str, ...], generator: np.random.Generator) -> list[str]:
    return [words[place] for place in generator.permutation(len(words)).tolist()]
