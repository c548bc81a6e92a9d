from __future__ import annotations

import numpy as np

from models.synthetic.words import ADJECTIVES, ENDINGS, LEVELS, NOUNS, WORDINGS, phrases


def test_words_stand_once_in_their_list():
    assert len(set(ADJECTIVES)) == len(ADJECTIVES)
    assert len(set(NOUNS)) == len(NOUNS)
    assert len(ADJECTIVES) > LEVELS * WORDINGS < len(NOUNS)


def test_texts_are_a_few_words_whose_beginning_tells_the_grade():
    generator = np.random.default_rng(0)
    grades = generator.integers(0, LEVELS, 5000)
    texts = phrases(np.random.default_rng(1)).texts(grades, generator.random(5000)).to_list()
    words = [text.split(" ") for text in texts]
    lengths = {len(text) for text in words}
    assert min(lengths) == 2 < max(lengths) <= 8
    for place in (0, 1):
        told: dict[str, set[int]] = {}
        for text, grade in zip(words, grades.tolist(), strict=True):
            told.setdefault(text[place], set()).add(grade)
        assert len(told) == LEVELS * WORDINGS
        assert all(len(found) == 1 for found in told.values())
    endings = {(grade, *text[2:]) for text, grade in zip(words, grades.tolist(), strict=True)}
    # Almost every ending comes with every grade.
    assert len(endings) > 0.7 * ENDINGS * LEVELS


def test_columns_have_their_own_phrases():
    one, other = phrases(np.random.default_rng(1)), phrases(np.random.default_rng(2))
    assert one == phrases(np.random.default_rng(1))
    assert not set(one.beginnings) & set(other.beginnings)
