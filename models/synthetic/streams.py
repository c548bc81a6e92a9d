"""Random generators by name, all of them from one seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Streams:
    """Independent generators, one a name: what one stage draws moves nothing that another draws.

    Generators are NumPy's PCG64, whose integers and doubles are the same on every machine.
    """

    seed: int
    path: tuple[str, ...] = ()

    def child(self, *names: str) -> Streams:
        """The streams below a name, such as those of one table."""
        return Streams(self.seed, (*self.path, *names))

    def generator(self, *names: str) -> np.random.Generator:
        """A new generator of that name; twice the same name gives twice the same numbers."""
        key = hashlib.blake2b("\0".join((*self.path, *names)).encode(), digest_size=16).digest()
        words = np.frombuffer(key, dtype="<u4").tolist()
        return np.random.Generator(
            np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=words))
        )
