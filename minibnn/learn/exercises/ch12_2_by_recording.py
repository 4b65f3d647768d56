"""Split by recording

Windows of the same recording are alike. So all windows of a recording belong
in the same part: otherwise a network that has learnt recordings by heart
looks good.

`group` has for each window the number of its recording. Choose `count` of the
recordings at random, and return two sorted arrays of window numbers: those
of the other recordings, to train on, and those of the chosen ones, held out.
Recordings may differ in how many windows they have, and their numbers need
not be 0, 1, 2 and so on.

Then write the alarm: how many recordings have windows in both parts? The
parts are arrays of window numbers.
"""

import numpy as np


def split(group, count, rng):
    """The windows to train on, and the windows held out."""
    # hole: np.unique(group) has each recording once
    chosen = rng.permutation(np.unique(group))[:count]
    held = np.isin(group, chosen)
    train, held_out = np.flatnonzero(~held), np.flatnonzero(held)
    # end of hole
    return train, held_out


def shared_recordings(group, train, held_out):
    """How many recordings have windows in both parts."""
    return len(np.intersect1d(group[train], group[held_out]))  # hole: a whole number


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "Permute the recordings, not the windows: rng.permutation(np.unique(group)), and take the "
    "first `count`.",
    "np.isin(group, chosen) says for each window whether its recording was chosen. "
    "np.flatnonzero gives the numbers of the windows where it is True, sorted.",
    "group[train] are the recordings of the training windows. np.intersect1d gives what two "
    "arrays have in common, each once.",
]

_GROUP = np.array(
    [7, 7, 7, 30, 30, 12, 12, 12, 12, 15, 15, 20, 20, 20, 9, 9, 31, 31, 31, 30, 7]
)  # seven recordings, and none of their numbers is below seven


def _split(function):
    """A split that is wrong, first of all one that holds out nothing; or the last one."""
    draws = [function(_GROUP, 3, np.random.default_rng(seed)) for seed in range(122, 142)]
    held_out = {tuple(np.ravel(held).tolist()) for _, held in draws}
    found = [_one(*map(np.asarray, draw), len(held_out) > 1) for draw in draws]
    found.sort(key=lambda one: one.get("recordings held out") != "none")
    return next((one for one in found if one != _one(*_RIGHT, True)), found[-1])


def _one(train, held_out, differ):
    if train.dtype == bool or held_out.dtype == bool:
        return {"the parts are": "masks"}
    if not np.isin([*train, *held_out], np.arange(len(_GROUP))).all():
        return {"the parts are": "numbers that some window does not have"}
    train, held_out = train.astype(int), held_out.astype(int)
    held = np.unique(_GROUP[held_out])
    both = np.intersect1d(_GROUP[train], held)
    found = {
        "the parts are": "numbers of windows",
        "windows in both": float(np.intersect1d(train, held_out).size),
        "windows in either": float(np.union1d(train, held_out).size),
        "recordings in both": "some" if both.size else "none",
    }
    if not both.size:
        sizes = "none", "fewer than 3", "fewer than 3", "3", "more than 3"
        found["recordings held out"] = sizes[min(held.size, 4)]
    if both.size or held.size != 3:
        return found  # whatever else may be wrong
    return {
        **found,
        "both are sorted": float((np.diff(train) > 0).all() and (np.diff(held_out) > 0).all()),
        "another generator, another split": float(differ),
    }


_RIGHT = split(_GROUP, 3, np.random.default_rng(0))
_TRAIN, _HELD = np.array([0, 1, 3, 5, 6, 16, 19]), np.array([2, 4, 7, 8, 20, 9])
CHECKS = [
    Probe(split, _split, "the split, drawn 20 times", points=3),
    Agrees(shared_recordings, [(_GROUP, _TRAIN, _HELD), (_GROUP, _TRAIN, np.array([9, 10, 14])),
                               (_GROUP, np.arange(10), np.arange(4, 9))], "the alarm"),
]  # fmt: skip


@mistake(split, "a split of windows, not of recordings")
def windows(group, count, rng):
    """At least one recording has windows in both parts. Draw `count` of the recordings, and hold
    out all windows of each."""
    order = rng.permutation(len(group))
    cut = len(group) * count // len(np.unique(group))
    return np.sort(order[cut:]), np.sort(order[:cut])


@mistake(split, "a split that does not depend on rng")
def last(group, count, rng):
    """The same recordings are held out every time. If they are the first or the last ones, they may
    be those of one day, or of one person. Draw them at random, by rng."""
    held = np.isin(group, np.unique(group)[-count:])
    return np.flatnonzero(~held), np.flatnonzero(held)


@mistake(split, "a split in which a recording may be drawn twice")
def drawn_twice(group, count, rng):
    """Fewer than `count` recordings are then held out. rng.choice and rng.integers draw with
    repetition, and in `group` itself a recording stands many times. np.unique(group) has each
    once; permute that."""
    held = np.isin(group, rng.choice(np.unique(group), count))
    return np.flatnonzero(~held), np.flatnonzero(held)


@mistake(split, "a split that holds out nothing, in some draws or in all")
def from_zero(group, count, rng):
    """Are the numbers drawn from 0, 1, 2 and so on? Not each of them is the number of a recording.
    Draw from np.unique(group)."""
    held = np.isin(group, rng.permutation(group.max() + 1)[:count])
    return np.flatnonzero(~held), np.flatnonzero(held)


@mistake(split, "a split into masks")
def masks(group, count, rng):
    """Masks say True or False for each window. Return the numbers of the windows: np.flatnonzero
    gives those where a mask is True."""
    held = np.isin(group, rng.permutation(np.unique(group))[:count])
    return ~held, held


@mistake(split, "a split into numbers that are not all windows")
def of_recordings(group, count, rng):
    """There are windows 0 to len(group) - 1, and some of the numbers returned lie outside. Are they
    numbers of recordings? Find the windows that belong to them."""
    order = rng.permutation(np.unique(group))
    return np.sort(order[count:]), np.sort(order[:count])


@mistake(split, "the two parts the wrong way round")
def exchanged(group, count, rng):
    """First come the windows to train on, then those of the `count` chosen recordings."""
    train, held_out = split(group, count, rng)
    return held_out, train


@mistake(shared_recordings, "windows in common, not recordings")
def shared_windows(group, train, held_out):
    """This counts windows that are in both parts. There may be none, and still recordings in both:
    look at group[train] and group[held_out]."""
    return len(np.intersect1d(train, held_out))


@mistake(shared_recordings, "a count of windows of shared recordings")
def counts_windows(group, train, held_out):
    """It counts the windows held out whose recording is also in training. Count each recording
    once."""
    return int(np.isin(group[held_out], group[train]).sum())


@mistake(shared_recordings, "a yes or no")
def yes_or_no(group, train, held_out):
    """It says whether there are any. How many are asked for."""
    return int(len(np.intersect1d(group[train], group[held_out])) > 0)
