"""Columns of texts as whole numbers, and feature names that say which text each number is."""

from __future__ import annotations

import re
from collections.abc import Iterable

from minibnn.data.errors import SamplesError

__all__ = ["MOST_CATEGORIES", "categories_of", "feature_name", "plain_name"]

MOST_CATEGORIES = 256  # of a column of texts


def feature_name(where: str, name: str, texts: Iterable[str]) -> tuple[str, tuple[str, ...]]:
    """The name of a feature that was a column of texts, and its sorted categories.

    Raises:
        SamplesError: there are too many categories, or the name could not be read again.

    >>> feature_name("birds.csv", "island", ["Dream", "Biscoe", "Dream"])
    ('island: 0 Biscoe, 1 Dream', ('Biscoe', 'Dream'))
    """
    categories = tuple(sorted(set(texts)))
    if len(categories) > MOST_CATEGORIES:
        expected = f"numbers, or at most {MOST_CATEGORIES} different texts, in column {name!r}"
        hint = "remove the column if it is a name or a date"
        raise SamplesError(where, expected, f"{len(categories)} different texts", hint)
    coded = f"{name}: " + ", ".join(f"{i} {text}" for i, text in enumerate(categories))
    if categories_of(coded) != categories or plain_name(coded) != name:
        shown = next((t for t in categories if re.search(r", \d+ ", t)), categories[0])
        expected = f"texts without a number behind a comma in column {name!r}"
        raise SamplesError(where, expected, f"{shown!r}", "replace the comma")
    return coded, categories


def categories_of(name: str) -> tuple[str, ...] | None:
    """The categories that the name of a feature lists; None if it lists none.

    >>> categories_of("island: 0 Biscoe, 1 Dream"), categories_of("mass in g")
    (('Biscoe', 'Dream'), None)
    """
    _, found, rest = name.partition(": 0 ")
    if not found:
        return None
    categories = []
    for number in range(1, MOST_CATEGORIES + 1):
        text, found, rest = rest.partition(f", {number} ")
        categories.append(text)
        if not found:
            break
    return tuple(categories)


def plain_name(name: str) -> str:
    """The name of the column that a feature was.

    >>> plain_name("island: 0 Biscoe, 1 Dream")
    'island'
    """
    return name.partition(": 0 ")[0]
