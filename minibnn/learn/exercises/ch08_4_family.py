"""A family of comparisons

A table has k entries. Every pair of them is compared.

    how many pairs?         k (k - 1) / 2

If each pair has the chance `share` of a false alarm, and the pairs were
independent, the chance of at least one false alarm in the table is

    1 - (1 - share)^pairs

(The pairs of a table share entries, so they are not quite independent, and the
chapter measures less.)

Bonferroni's correction gives each pair an equal part of the whole: with 5 %
for the family, each pair may have 5 % / pairs.

Then decide. You are given p, a k x k array: p[i, j] is the chance that luck
alone makes a difference at least as large as the one seen between i and j
(the p-value). A pair is told apart if p[i, j] is at most its share.
"""

from itertools import combinations


def number_of_pairs(k):
    """How many pairs k entries have."""
    return k * (k - 1) // 2  # hole: a whole number


def chance_of_an_alarm(k, share):
    """The chance of at least one false alarm among all pairs."""
    return 1 - (1 - share) ** number_of_pairs(k)  # hole: by the formula


def pairs_apart(p, family):
    """The pairs (i, j), i < j, told apart, sorted; `family` is the whole chance."""
    # hole: a list of tuples
    k = len(p)
    share = family / number_of_pairs(k)
    return [(i, j) for i, j in combinations(range(k), 2) if p[i, j] <= share]
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

import numpy as np

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "Each of k entries meets k - 1 others, and each pair is counted twice.",
    "The chance of no alarm in any pair is (1 - share)^pairs.",
    "itertools.combinations(range(k), 2) goes through all pairs i < j, in order. The share is "
    "family / number_of_pairs(k).",
]

P = np.array([
    [1.0, 0.04, 0.005, 0.2],
    [0.04, 1.0, 0.009, 0.5],
    [0.005, 0.009, 1.0, 0.001],
    [0.2, 0.5, 0.001, 1.0],
])  # fmt: skip

EDGE = np.array([[1.0, 0.25, 0.5], [0.25, 1.0, 0.125], [0.5, 0.125, 1.0]])


def _found(function):
    """As texts: the lists differ in length."""
    return {
        "family of 5 %": str([tuple(map(int, pair)) for pair in function(P, 0.05)]),
        "family of 20 %": str([tuple(map(int, pair)) for pair in function(P, 0.2)]),
        "three entries, 5 %": str([tuple(map(int, pair)) for pair in function(P[:3, :3], 0.05)]),
        "p[0, 1] = 0.25, p[0, 2] = 0.5, p[1, 2] = 0.125, family of 75 %": str(
            [tuple(map(int, pair)) for pair in function(EDGE, 0.75)]
        ),
    }


CHECKS = [
    Agrees(number_of_pairs, [5, 2, 12], "the number of pairs"),
    Agrees(chance_of_an_alarm, [(5, 0.05), (2, 0.05), (8, 0.01)], "the chance of an alarm"),
    Probe(pairs_apart, _found, "which pairs are told apart", points=2),
]


@mistake(number_of_pairs, "a count of each pair twice")
def twice(k):
    """The pair of a and b is the pair of b and a: halve it."""
    return k * (k - 1)


@mistake(number_of_pairs, "a count with pairs of an entry with itself")
def with_itself(k):
    """An entry is not compared with itself: each meets k - 1 others, not k + 1."""
    return k * (k + 1) // 2


@mistake(number_of_pairs, "the number of comparisons with one favourite")
def with_favourite(k):
    """k - 1 comparisons pit one entry against the rest. The table is looked at for any pair that
    differs, so all pairs count."""
    return k - 1


@mistake(chance_of_an_alarm, "a sum of the chances")
def added(k, share):
    """The sum is an upper bound, which Bonferroni uses, and with many pairs it exceeds 1. The
    chance itself is one minus the chance that no pair alarms."""
    return share * number_of_pairs(k)


@mistake(chance_of_an_alarm, "the chance that there is no alarm")
def no_alarm(k, share):
    """This is the chance that all pairs are quiet. At least one alarm is the opposite."""
    return (1 - share) ** number_of_pairs(k)


@mistake(chance_of_an_alarm, "a chance that counts entries, not pairs")
def entries(k, share):
    """Each *pair* can alarm: the exponent is their number."""
    return 1 - (1 - share) ** k


@mistake(pairs_apart, "a table without correction")
def uncorrected(p, family):
    """Every pair got the whole 5 %. They have to share it."""
    return [(i, j) for i, j in combinations(range(len(p)), 2) if p[i, j] <= family]


@mistake(pairs_apart, "a share for each entry, not for each pair")
def by_entries(p, family):
    """The 5 % are divided by the number of entries. There are more pairs than that."""
    k = len(p)
    return [(i, j) for i, j in combinations(range(k), 2) if p[i, j] <= family / k]


@mistake(pairs_apart, "a list that leaves out a p exactly at its share")
def below_share(p, family):
    """Told apart are the pairs whose p is *at most* the share: <=, not <."""
    share = family / number_of_pairs(len(p))
    return [pair for pair in combinations(range(len(p)), 2) if p[pair] < share]


@mistake(pairs_apart, "a list of the pairs with the larger number first")
def swapped(p, family):
    """(2, 0) is the pair (0, 2). Write each with i < j."""
    return sorted((j, i) for i, j in pairs_apart(p, family))


@mistake(pairs_apart, "the pairs that are tied")
def tied(p, family):
    """A small p tells a pair apart; these are the others."""
    apart = pairs_apart(p, family)
    return [pair for pair in combinations(range(len(p)), 2) if pair not in apart]


@mistake(pairs_apart, "a list of each pair in both orders")
def both_orders(p, family):
    """(0, 2) and (2, 0) are the same pair. Keep those with i < j."""
    found = pairs_apart(p, family)
    return sorted(found + [(j, i) for i, j in found])
