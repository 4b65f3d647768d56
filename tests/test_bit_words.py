"""The number of words that rows of bits take."""

from __future__ import annotations

from minibnn.bit_words import WORD, words_of


def test_words_of_a_row():
    widths = [0, 1, WORD - 1, WORD, WORD + 1, 10 * WORD]
    assert [words_of(width) for width in widths] == [0, 1, 1, 1, 2, 10]
