"""Ranking: what it ranks, and what it refuses to rank."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from comparison_runs import table
from hypothesis import given
from hypothesis import strategies as st

from minibnn.comparison import rank
from minibnn.comparison.ranking import _letters, student_quantile


@pytest.mark.parametrize(
    ("p", "freedom", "t"),
    [  # from printed tables of the distribution
        (0.975, 1, 12.706),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.995, 4, 4.604),
        (0.9995, 8, 5.041),
        (0.975, 120, 1.980),
        (0.95, 2, 2.920),
    ],
)
def test_student_quantile(p, freedom, t):
    assert student_quantile(p, freedom) == pytest.approx(t, abs=6e-4 * max(1, t))


def test_ranked_only_beyond_noise():
    ranking = rank(
        table(worse=[0.90, 0.91, 0.92], better=[0.93, 0.95, 0.91], far=[0.5, 0.51, 0.49])
    )
    assert list(ranking.index) == ["better", "worse", "far"]
    assert ranking.tied.to_dict() == {"better": "a", "worse": "a", "far": "b"}
    assert ranking["mean"]["far"] == pytest.approx(0.5)
    assert ranking["std"]["far"] == pytest.approx(0.01)
    assert ranking.seeds.to_list() == [3, 3, 3]


def test_welch_by_hand():
    """Means 3 and 0, variances 1 and 4, three runs each: t = 3 / sqrt(5/3) = 2.3238.

    Freedom (1/3 + 4/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 2.9412; its 97.5 % point is 3.2184:
    inside the noise. With means 5 and 0, t = 3.873: beyond.
    """
    assert rank(table(a=[2, 3, 4], b=[-2, 0, 2])).tied.to_list() == ["a", "a"]
    assert rank(table(a=[4, 5, 6], b=[-2, 0, 2])).tied.to_list() == ["a", "b"]
    # Two more entries make six pairs, and each has to be beyond the noise of its 99.6 % point, 7.0.
    four = rank(table(a=[4, 5, 6], b=[-2, 0, 2], c=[4, 5, 6], d=[-2, 0, 2]))
    assert four.tied.to_list() == ["a", "a", "a", "a"]


@pytest.mark.parametrize(
    ("one", "two", "gap"),
    [  # unequal numbers of seeds and unequal spreads; the gap is SciPy's, t.ppf(0.975, Welch) * se
        ([0, 1, 2], [-3, -2, 0, 2, 3], 3.1850817379),  # t at 5.58 degrees of freedom: 2.492
        ([0, 4], [0, 1, 2, 3, 4, 5, 6, 7], 14.4594058087),  # at 1.40: 6.634
        ([0, 5, 10], [0, 1, 2, 3], 11.6745043015),  # at 2.20: 3.947
        ([0, 1, 2, 3, 4, 5], [0, 3, 9], 10.3400251954),  # at 2.34: 3.755
    ],
)
def test_welch_with_unequal_counts(one, two, gap):
    """Means closer than Welch's interval are tied, those farther apart are not, to five digits.

    Student's degrees of freedom (n + m - 2) would end the first interval at 3.127, and the second
    at 5.026; swapped counts move all of them.
    """
    for first, second in ((one, two), (two, one)):
        for part, letters in ((1 - 1e-5, ["a", "a"]), (1 + 1e-5, ["a", "b"])):
            shift = np.mean(second) - np.mean(first) + gap * part
            ranking = rank(table(a=np.array(first) + shift, b=second))
            assert ranking.tied.to_list() == letters


def test_between_the_quantiles_of_student_and_welch():
    """Means 3 and 0, variances 1 and 4 as above, and 5 runs of the wider: t = 3 / sqrt(17/15).

    t = 2.818 lies beyond the 97.5 % point at Student's 6 degrees of freedom (2.447) and Welch's
    5.89 (2.458); with the counts swapped t = 2.371, inside of 2.83. With 3 runs of each and a gap
    of 3.9, t = 3.021 lies beyond Student's 2.776, but inside of Welch's 3.218.
    """
    wide = list(np.array([-3, -2, 0, 2, 3]) * 2 / np.sqrt(6.5))
    assert rank(table(a=[2, 3, 4], b=wide)).tied.to_list() == ["a", "b"]
    assert rank(table(b=wide, a=[2, 3, 4])).tied.to_dict() == {"a": "a", "b": "b"}
    assert rank(table(a=[2.9, 3.9, 4.9], b=[-2, 0, 2])).tied.to_list() == ["a", "a"]


def test_one_seed_is_never_ranked():
    assert rank(table(a=[0.9], b=[0.1])).tied.to_list() == ["a", "a"]
    assert rank(table(a=[0.9, 0.9], b=[0.1])).tied.to_list() == ["a", "a"]


def test_no_spread_at_all():
    assert rank(table(a=[0.9, 0.9], b=[0.1, 0.1], c=[0.1, 0.1])).tied.to_list() == ["a", "b", "b"]


@pytest.mark.parametrize("score", [0.1, 0.9, 0.7, 1 / 3, 1e-3, 123456.7])
def test_equal_scores_without_spread_are_tied_whatever_the_number_of_seeds(score):
    """The sum of n equal floats, divided by n, need not be that float, nor their spread 0."""
    ranking = rank(table(**{f"n{n}": [score] * n for n in range(2, 13)}))
    assert set(ranking.tied) == {"a"}
    assert set(ranking["mean"]) == {score}
    assert set(ranking["std"]) == {0.0}
    assert rank(table(a=[score] * 3, b=[score * (1 + 1e-9)] * 6)).tied.to_list() == ["a", "b"]


def test_one_of_two_without_spread():
    """Only b has noise: standard error 1, and the 97.5 % point at its 3 degrees is 3.182."""
    b = [-np.sqrt(3), np.sqrt(3), -np.sqrt(3), np.sqrt(3)]  # variance 4
    assert rank(table(a=[3.1] * 2, b=b)).tied.to_list() == ["a", "a"]
    assert rank(table(a=[3.3] * 2, b=b)).tied.to_list() == ["a", "b"]


@pytest.mark.parametrize("unit", [1e-200, 1e-100, 1e100, 1e200])
def test_the_unit_of_a_score_does_not_matter(unit):
    """Squares of squares of these spreads are 0 or infinite as floats."""
    for a, letters in (([2, 3, 4], ["a", "a"]), ([4, 5, 6], ["a", "b"])):
        scores = table(a=np.array(a) * unit, b=np.array([-2, 0, 2]) * unit)
        assert rank(scores).tied.to_list() == letters


def test_every_kind_of_score_and_entry():
    """Counts, float32 and flags are scores; an entry that is None is an entry; no runs, no rows."""
    for dtype in (int, np.float32, bool):
        runs = table(a=[1, 1], b=[0, 0, 0]).astype({"accuracy": dtype})
        ranking = rank(runs)
        assert ranking.tied.to_list() == ["a", "b"]
        assert ranking["mean"].to_list() == [1.0, 0.0]
        assert ranking["mean"].dtype == ranking["std"].dtype == np.float64
    nobody = pd.DataFrame({"entry": ["a", "a", None, None], "accuracy": [1.0, 1.0, 2.0, 2.0]})
    assert rank(nobody).seeds.to_list() == [2, 2]
    assert rank(table(a=[0.5])).drop(columns="std").to_dict("list") == {
        "mean": [0.5],
        "seeds": [1],
        "tied": ["a"],
    }
    assert list(rank(nobody[:0]).columns) == ["mean", "std", "seeds", "tied"]


def test_runs_that_agree_by_chance_are_no_proof():
    """Two runs of each on 500 images, alike to the image: one image apart is within rounding.

    With no spread beyond rounding's, 1 / 500 / sqrt(12), t = 1 / sqrt(1/12) = 3.46 for one image
    and 6.93 for two; the 97.5 % point at 2 degrees of freedom is 4.30.
    """
    one = table(a=[0.502, 0.502], b=[0.5, 0.5])
    assert rank(one, resolution=1 / 500).tied.to_list() == ["a", "a"]
    assert rank(one).tied.to_list() == ["a", "b"]
    two = table(a=[0.504, 0.504], b=[0.5, 0.5])
    assert rank(two, resolution=1 / 500).tied.to_list() == ["a", "b"]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(score):
    with pytest.raises(ValueError, match=f"finite accuracy of every run, got {score} for 'b'"):
        rank(table(a=[0.5, 0.6], b=[0.5, score]))


def test_many_letters_stay_apart():
    """Thirty entries, each beyond the noise of all others: no word has a part of another."""
    words = _letters(30, set(combinations(range(30), 2)))
    assert {len(word) for word in words} == {1}
    assert len(set(words)) == 30


@given(st.integers(0, 9), st.data())
def test_letters_say_exactly_what_is_apart(count, data):
    pairs = list(combinations(range(count), 2))
    apart = set(data.draw(st.lists(st.sampled_from(pairs), unique=True))) if pairs else set()
    words = _letters(count, apart)
    assert len(words) == count
    assert all(words)
    for i, j in pairs:
        assert bool(set(words[i]) & set(words[j])) == ((i, j) not in apart)
