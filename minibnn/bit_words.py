"""The size of the words that hold packed bits."""

WORD = 64  # bits in a word


def words_of(width: int) -> int:
    """The number of words in a row of `width` bits.

    >>> words_of(64), words_of(65)
    (1, 2)
    """
    return -(-width // WORD)
