"""Texts as a few numbers: hashed character n-grams under a fixed random projection.

Hashing needs no vocabulary and the projection no fit, so a text's numbers depend on the text alone:
they are the same whatever rows there are beside it, now or later. Texts that share many character
trigrams lie close together (Johnson and Lindenstrauss, "Extensions of Lipschitz mappings into a
Hilbert space", 1984; Achlioptas, "Database-friendly random projections", 2003, for the signs).
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt
import polars as pl

BUCKETS = 2**12
BATCH = 20_000
SEED = 20240229


def ngram_components(texts: pl.Series, components: int = 8) -> pl.DataFrame:
    """The texts' character trigrams, projected to a few numbers per text.

    Lower-case trigrams within words are counted in 4,096 signed buckets, the counts are scaled to
    length one, and their sums under random signs are the components, so that the expected squared
    length of a text's components is one. Texts are taken in batches, which bounds the memory.

    Args:
        texts: Strings; NULL gives NULL, a text without any visible character zeros.
        components: How many numbers a text gives.

    Returns:
        Float64 columns "0", "1", ..., a row for each text, in order.

    Raises:
        ValueError: `components` is below 1.
    """
    if components < 1:
        raise ValueError(f"components must be at least 1 (got {components})")
    names = [str(position) for position in range(components)]
    filled = texts.cast(pl.String).fill_null("")
    projected = [
        pl.DataFrame(_projected(filled[start : start + BATCH], components), names, orient="row")
        for start in range(0, len(filled), BATCH)
    ]
    empty = pl.DataFrame(schema=dict.fromkeys(names, pl.Float64))
    missing = texts.is_null()
    return pl.concat([empty, *projected]).with_columns(
        pl.when(~missing).then(pl.col(name)).alias(name) for name in names
    )


def _projected(texts: pl.Series, components: int) -> npt.NDArray[np.float64]:
    # Slow to import, and only needed where there are texts.
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(3, 3), n_features=BUCKETS, norm="l2", alternate_sign=True
    )
    return np.asarray(vectorizer.transform(texts) @ _signs(components), dtype=np.float64)


@cache
def _signs(components: int) -> npt.NDArray[np.float64]:
    """A (buckets, components) matrix of -1 and 1, over the root of the number of components."""
    # numpy promises the same stream from RandomState in every release, not so from Generator.
    signs = np.random.RandomState(SEED).randint(0, 2, size=(components, BUCKETS)) * 2 - 1
    return signs.T / np.sqrt(components)
