"""Texts as numbers: hashed character n-grams by default, a sentence encoder as an extra."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl

from models.aggregation.text_components import ngram_components

HASHED = "hashed n-grams"
DIMENSIONS = 64
TextEncoder = Callable[[pl.Series], np.ndarray]
"""Texts to float32 [texts, dimensions]; the same text always gives the same numbers."""


def text_encoder_named(name: str) -> TextEncoder:
    """The encoder of that name: `hashed n-grams`, or a model of sentence-transformers.

    Raises:
        ModuleNotFoundError: It is a sentence encoder and the library is not installed.
    """
    return hashed_texts if name == HASHED else sentence_encoder(name)


def hashed_texts(texts: pl.Series) -> np.ndarray:
    """Hashed character trigrams under a fixed projection, float32 [texts, 64]; needs no download."""
    components = ngram_components(texts, DIMENSIONS).to_numpy()
    # The projection has expected length one; entries of about one suit networks better.
    return np.asarray(components * np.sqrt(DIMENSIONS), dtype=np.float32)


def sentence_encoder(model: str) -> TextEncoder:
    """A sentence encoder of the library sentence-transformers, by name or path.

    Raises:
        ModuleNotFoundError: The library is not installed.
    """
    try:
        from sentence_transformers import SentenceTransformer
    except ModuleNotFoundError as fault:
        raise ModuleNotFoundError(
            f"the text encoder {model!r} is a sentence encoder, which needs the extra 'text': "
            "pip install 'relforge[text]'"
        ) from fault
    loaded = SentenceTransformer(model)

    def encode(texts: pl.Series) -> np.ndarray:
        vectors = loaded.encode(texts.to_list(), normalize_embeddings=True)
        return np.asarray(vectors * np.sqrt(vectors.shape[1]), dtype=np.float32)

    return encode
