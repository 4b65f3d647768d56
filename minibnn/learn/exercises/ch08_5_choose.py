"""Choose by validation, report the test

First split: of n training samples, hold out `count` at random for validation.
Return two arrays of sample numbers, those to train on and those held out. No
sample may be in both, and none may be lost. Both are sorted.

Then choose. You are given two arrays of accuracies, each of shape (entries,
seeds): on the validation samples, and on the test samples. Choose the entry
by its *mean* over the seeds. Report its number, and what it can be expected
to reach on new samples: a mean that had no part in the choice.
"""

import numpy as np


def split(n, count, rng):
    """The numbers of the samples to train on, and of those held out."""
    # hole: two sorted arrays; rng.permutation(n) is 0 to n - 1 in a random order
    order = rng.permutation(n)
    train, held_out = np.sort(order[count:]), np.sort(order[:count])
    # end of hole
    return train, held_out


def choose(validation, test):
    """The number of the chosen entry, and the accuracy to report."""
    # hole: a whole number and a mean
    chosen = int(validation.mean(axis=1).argmax())
    reported = test[chosen].mean()
    # end of hole
    return chosen, reported


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Probe, mistake, parts

HINTS = [
    "order = rng.permutation(n); its first `count` numbers are held out, the rest are for "
    "training. np.sort sorts.",
    "validation.mean(axis=1) has one mean for each entry, and .argmax() the number of the largest.",
    "What is reported comes from test, from the row of the chosen entry, all its seeds.",
]


def _split(function):
    train, held_out = (np.asarray(part) for part in function(50, 12, np.random.default_rng(85)))
    again, _ = function(50, 12, np.random.default_rng(85))
    another, _ = function(50, 12, np.random.default_rng(86))
    small, few = function(9, 4, np.random.default_rng(87))
    return {
        "how many to train on": float(train.size),
        "how many are held out": float(held_out.size),
        "how many in both": float(np.intersect1d(train, held_out).size),
        "how many of 0 to 49 in either": float(np.isin(range(50), [*train, *held_out]).sum()),
        "both are sorted": bool((np.diff(train) >= 0).all() and (np.diff(held_out) >= 0).all()),
        "another generator, another split": not np.array_equal(train, another),
        "rng seeded as before, the same split": np.array_equal(train, again),
        "of 9 with 4 held out, how many in each": (float(len(small)), float(len(few))),
    }


# Entry 1 has the best single run, 2 the best mean, 3 the best test, 4 the best worst run.
_VALIDATION = np.array([[0.72, 0.76, 0.75], [0.99, 0.80, 0.85], [0.94, 0.91, 0.90],
                        [0.90, 0.92, 0.87], [0.912, 0.914, 0.913]])  # fmt: skip
_TEST = np.array([[0.75, 0.77, 0.74], [0.84, 0.86, 0.85], [0.90, 0.89, 0.85],
                  [0.93, 0.94, 0.92], [0.88, 0.87, 0.89]])  # fmt: skip
CHECKS = [
    Probe(split, _split, "the split", points=2),
    *parts(choose, [(_VALIDATION, _TEST), (_VALIDATION[3:], _TEST[3:])], "chosen reported"),
]


@mistake(split, "a split with samples in both parts")
def overlap(n, count, rng):
    """The two parts are drawn independently, so some samples are in both. Then the network is
    tested on what it has learnt by heart. Draw one order, and cut it."""
    return np.sort(rng.permutation(n)[count:]), np.sort(rng.permutation(n)[:count])


@mistake(split, "a split that is not random")
def not_random(n, count, rng):
    """Whatever rng is, the same samples are held out. Let rng choose them. If they are the first or
    the last: data are often sorted, by class or by day. (np.sort comes after the cut, not before.)
    """
    return np.arange(n - count), np.arange(n - count, n)


@mistake(split, "a split that is not drawn with rng")
def own_generator(n, count, rng):
    """np.random, or a generator that you make here, is not the one that was given: a seed does not
    bring the same split back. Draw with rng.permutation."""
    return split(n, count, np.random.default_rng())


@mistake(split, "a split that trains on everything")
def everything(n, count, rng):
    """The held-out samples are also among those to train on. Leave them out."""
    return np.arange(n), np.sort(rng.permutation(n)[:count])


@mistake(split, "the two parts the wrong way round")
def exchanged(n, count, rng):
    """First come the samples to train on, then those held out, of which there are `count`."""
    train, held_out = split(n, count, rng)
    return held_out, train


@mistake(choose, "a choice by the test samples")
def by_test(validation, test):
    """The test samples chose the winner, so they no longer tell how good it is. Choose by the
    validation samples."""
    chosen = int(test.mean(axis=1).argmax())
    return chosen, test[chosen].mean()


@mistake(choose, "a report of the validation accuracy")
def reports_validation(validation, test):
    """The choice is right, but this accuracy helped to win the choice, so it is too good on
    average. Report the test's."""
    chosen, _ = choose(validation, test)
    return chosen, validation[chosen].mean()


@mistake(choose, "a choice by the best single run")
def best_run(validation, test):
    """The best of many runs is the luckiest. Compare means over the seeds."""
    chosen = int(validation.max(axis=1).argmax())
    return chosen, test[chosen].mean()


@mistake(choose, "a report of the best seed")
def best_seed(validation, test):
    """The best seed on the test samples is luck on the test samples. Report the mean of all
    seeds."""
    chosen, _ = choose(validation, test)
    return chosen, test[chosen].max()
