"""Words of bits: how rows of +1 and -1 lie in memory, for whoever computes with them."""

WORD = 64  # bits in a word


def words_of(width: int) -> int:
    """How many words a row of so many bits takes.

    >>> words_of(64), words_of(65)
    (1, 2)
    """
    return -(-width // WORD)
