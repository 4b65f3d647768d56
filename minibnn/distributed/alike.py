"""Whether all ranks do the same: their data, settings, versions and values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile

MOST = 60  # letters of a value in a message


class RanksDifferError(ValueError):
    """The ranks of a training differ in what has to be the same. All of them raise it."""


def require_alike(who: str, facts: Sequence[Mapping[str, str]], hint: str) -> None:
    """Raise RanksDifferError unless all ranks have the same facts.

    Args:
        who: begins the message.
        facts: of each rank, by name.
        hint: what to do; it ends the message.
    """
    found = [
        f"{name}: {_of_ranks([rank.get(name, 'none') for rank in facts])}"
        for name in dict.fromkeys(name for rank in facts for name in rank)
        if len({rank.get(name) for rank in facts}) > 1
    ]
    if found:
        raise RanksDifferError(
            f"{who}: expected the same on all {len(facts)} ranks, got different ones: "
            f"{'; '.join(found)}; {hint}"
        )


def _of_ranks(values: Sequence[str]) -> str:
    """Each value with its ranks: ``1 on rank 0, 2 on ranks 1 to 3``."""
    ranks: dict[str, list[int]] = {}
    for rank, value in enumerate(values):
        ranks.setdefault(value, []).append(rank)
    # Of long texts, from a little before the first difference.
    same = takewhile(lambda letters: len(set(letters)) == 1, zip(*ranks, strict=False))
    first = len(list(same)) - 20
    return ", ".join(f"{_short(value, first)} on {_named(where)}" for value, where in ranks.items())


def _named(ranks: list[int]) -> str:
    """As text: ``rank 3``, ``ranks 0 to 2``, ``ranks 0, 2, 5``."""
    if len(ranks) == 1:
        return f"rank {ranks[0]}"
    if len(ranks) > 2 and ranks == list(range(ranks[0], ranks[-1] + 1)):
        return f"ranks {ranks[0]} to {ranks[-1]}"
    shown = ", ".join(map(str, ranks[:8]))
    return f"ranks {shown}" + (", ..." if len(ranks) > 8 else "")


def _short(text: str, first: int) -> str:
    if len(text) > MOST and first > 0:
        text = "..." + text[first:]
    return text if len(text) <= MOST else text[: MOST - 3] + "..."
