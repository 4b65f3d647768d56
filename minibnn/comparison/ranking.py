"""Rank entries; those that the seeds cannot tell apart are tied."""

from __future__ import annotations

import math
import statistics
import string
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from minibnn.checks import number

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95  # that no pair of the whole table is told apart by chance
# One character each, so that strings of them compare as sets: a to z, A to Z, then others.
LETTERS = string.ascii_letters + "".join(filter(str.isalpha, map(chr, range(0xC0, 0x3000))))


def rank(runs: pd.DataFrame, score: str = "accuracy", *, resolution: float = 0.0) -> pd.DataFrame:
    """Mean and spread of each entry over seeds, best first, with letters for ties.

    Two entries share a letter if the difference of their means lies inside the noise of the
    seeds, by Welch's test, with 95 % confidence for all pairs of the table together (the error that
    one pair may have is divided by the number of pairs, after Bonferroni). Only entries without a
    common letter are ranked.

    Args:
        runs: one row for each run, with a column ``entry`` and a column of scores.
        score: the name of that column; higher is better.
        resolution: the smallest step of a score, 1 / n for an accuracy on n images. Scores
            are rounded to such steps, so that runs may have equal scores although there is noise.
            So each spread counts as at least resolution / sqrt(12), the spread of the rounding
            alone.

    Returns:
        A DataFrame with the index ``entry`` and the columns ``mean``, ``std`` (of single runs,
        with n - 1), ``seeds`` and ``tied`` (the letters).

    Raises:
        ValueError: if a score is not finite.

    References: Welch 1947, Biometrika 34; the letters, Piepho 2004, "An algorithm for a
    letter-based representation of all-pairwise comparisons".

    >>> import pandas as pd
    >>> runs = pd.DataFrame({"entry": list("xxxyyyzzz"),
    ...     "accuracy": [0.96, 0.961, 0.959, 0.958, 0.961, 0.96, 0.85, 0.851, 0.849]})
    >>> rank(runs).tied.to_dict()
    {'x': 'a', 'y': 'a', 'z': 'b'}
    """
    resolution = number("rank", "resolution", resolution)
    import pandas as pd

    runs = runs.assign(**{score: runs[score].astype(float)})
    broken = runs[~np.isfinite(runs[score])]
    if len(broken):
        raise ValueError(
            f"rank: expected a finite {score} of every run, got {broken[score].iloc[0]} for "
            f"{broken.entry.iloc[0]!r}; count a run that failed as the worst score there is"
        )
    groups = runs.groupby("entry", sort=False, observed=True, dropna=False)[score]
    # Exact sums. With float sums, equal scores would have a spread, and their mean would depend on
    # their number.
    table = pd.DataFrame(
        {"mean": groups.agg(statistics.mean), "std": groups.agg(_deviation), "seeds": groups.size()}
    ).sort_values("mean", ascending=False, kind="stable")
    pairs = list(combinations(range(len(table)), 2))
    level = 1 - (1 - CONFIDENCE) / 2 / max(len(pairs), 1)
    spreads = table["std"].clip(lower=resolution / math.sqrt(12))
    found = list(zip(table["mean"], spreads, table["seeds"], strict=True))
    apart = {(i, j) for i, j in pairs if _beyond_noise(found[i], found[j], level)}
    table["tied"] = _letters(len(table), apart)
    return table


def _beyond_noise(
    one: tuple[float, float, int], two: tuple[float, float, int], level: float
) -> bool:
    """Whether two means differ by more than Welch's interval; never with a single seed."""
    (mean1, std1, n1), (mean2, std2, n2) = one, two
    if min(n1, n2) < 2:
        return False
    error1, error2 = std1 / math.sqrt(n1), std2 / math.sqrt(n2)
    error = math.hypot(error1, error2)
    if error == 0:
        return mean1 != mean2
    # Shares of the variance: they neither underflow nor overflow, whatever the unit of the score.
    share1, share2 = (error1 / error) ** 2, (error2 / error) ** 2
    freedom = 1 / (share1**2 / (n1 - 1) + share2**2 / (n2 - 1))
    return abs(mean1 - mean2) > student_quantile(level, freedom) * error


def _deviation(scores: pd.Series[float]) -> float:
    """The standard deviation with n - 1; nan for a single score."""
    return statistics.stdev(scores) if len(scores) > 1 else math.nan


def student_quantile(p: float, freedom: float) -> float:
    """The value below which a Student t variable lies with probability p, for 0.5 < p < 1.

    It is found by bisection. With t = sqrt(freedom) tan(a) the density becomes
    cos(a)^(freedom - 1), which is smooth on a finite interval; Simpson's rule integrates it.

    >>> round(student_quantile(0.975, 4), 3)
    2.776
    """
    norm = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)

    def tail(angle: float) -> float:  # from angle to pi/2; b = pi/2 - a keeps small tails exact
        b = np.linspace(0.0, math.pi / 2 - angle, 2001)
        weights = np.ones(2001)
        weights[1:-1:2], weights[2:-1:2] = 4, 2
        return float(norm * (np.sin(b) ** (freedom - 1) * weights).sum() * b[1] / 3)

    low, high = 0.0, math.pi / 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if tail(middle) > 1 - p else (low, middle)
    return math.sqrt(freedom) * math.tan(low)


def _letters(count: int, apart: set[tuple[int, int]]) -> list[str]:
    """A string for each entry; two share a letter exactly if they are not apart.

    Each letter is a set of entries. At first one set has all of them. Each pair that is apart
    splits the sets that have both. Then sets inside other sets are dropped.
    """
    sets = [set(range(count))] if count else []
    for i, j in sorted(apart):
        split = [part for s in sets if {i, j} <= s for part in (s - {i}, s - {j})]
        sets = [s for s in sets if not {i, j} <= s]
        for s in split:
            if not any(s <= other for other in sets):
                sets = [other for other in sets if not other <= s] + [s]
    sets.sort(key=sorted)
    names = LETTERS[: len(sets)]
    return ["".join(n for n, s in zip(names, sets, strict=True) if i in s) for i in range(count)]
