"""Amdahl's law

A part of a step takes the fraction f of its time, and becomes s times as
fast. The rest stays as it is.

    speed_up(f, s)        how many times as fast the whole step becomes
    limit(f)              what it can never pass, however fast the part
                          becomes; math.inf if the part is everything
    needed(f, wanted)     the s that makes the whole step `wanted` times as
                          fast, for 0 < f and 1 < wanted; math.inf if no s
                          does, and at the limit itself, which only a part
                          that takes no time at all would reach. (The
                          checks use an f and a `wanted` whose limit comes
                          out exactly, so you need no tolerance.)

And with several parts: `times` is an array with the milliseconds of the
parts, `factors` one with how many times as fast each becomes.
shares_after(times, factors) is an array, too: the fraction of the *new* step
that each part takes.
"""

from math import inf

import numpy as np


def speed_up(f, s):
    """How many times as fast the whole step becomes."""
    return 1 / ((1 - f) + f / s)  # hole: the old time by the new one


def limit(f):
    """The speed-up that cannot be passed."""
    return inf if f == 1 else 1 / (1 - f)  # hole: f / s vanishes


def needed(f, wanted):
    """The s with speed_up(f, s) == wanted, or inf."""
    # hole: solve for s; mind what cannot be had
    left = 1 / wanted - (1 - f)
    return f / left if left > 0 else inf
    # end of hole


def shares_after(times, factors):
    """Which fraction of the new step each part takes."""
    # hole: an array
    after = np.asarray(times) / np.asarray(factors)
    return after / after.sum()
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "speed_up: the new time, as a fraction of the old one, is (1 - f) + f / s. Half the time is "
    "twice as fast.",
    "limit: let s grow without end; f / s goes to 0. For f = 1 nothing is left.",
    "needed: 1 / wanted = (1 - f) + f / s. Solve for f / s first. If that is not positive, no s "
    "is enough.",
    "shares_after: new times are times / factors, part by part. Divide them by their sum.",
]

SEVERAL = [
    (np.array([12.0, 6.0, 2.0]), np.array([4.0, 1.0, 2.0])),
    (np.array([8.0, 1.0]), np.array([16.0, 1.0])),
    (np.array([3.0, 5.0, 4.0, 0.5]), np.array([1.0, 10.0, 2.0, 1.0])),
]
CHECKS = [
    Agrees(speed_up, [(0.5, 2.0), (0.75, 10.0), (0.9, 3.0)], "the speed-up"),
    Agrees(limit, [0.5, 0.75, 0.2, 1.0], "what it can never pass"),
    Agrees(needed, [(0.75, 2.0), (0.5, 1.25), (0.5, 2.0), (0.25, 3.0)], "the factor needed"),
    Agrees(shares_after, SEVERAL, "the shares afterwards"),
]


@mistake(speed_up, "the new time, not the speed-up")
def new_time(f, s):
    """This is the time that the step takes afterwards, as a fraction of the old one. Twice as fast
    is half of the time."""
    return (1 - f) + f / s


@mistake(speed_up, "a rest that is left out")
def without_rest(f, s):
    """Only the part becomes s times as fast. The other 1 - f of the time has to be added."""
    return s / f


@mistake(speed_up, "a mean of two speeds")
def mean_of_speeds(f, s):
    """It averages how *fast* the parts are. But it is times that add up: a slow part counts for as
    long as it takes."""
    return (1 - f) + f * s


@mistake(speed_up, "a law with f and 1 - f exchanged")
def exchanged(f, s):
    """f is the fraction that *becomes* faster. It is f that is divided by s."""
    return 1 / (f + (1 - f) / s)


@mistake(limit, "a limit of 1 / f")
def one_over_f(f):
    """If the part costs nothing, what is left is the other one, 1 - f."""
    return 1 / f


@mistake(limit, "a limit that fails for f = 1")
def fails(f):
    """If the part is the whole step, nothing is left that could limit it: math.inf. The formula
    divides by zero there."""
    return 1 / (1 - f)


@mistake(limit, "no limit")
def none(f):
    """The part can become as fast as you like. The rest takes 1 - f, as before."""
    return inf


@mistake(needed, "a factor that is negative")
def negative(f, wanted):
    """Beyond the limit the equation has a solution, but a negative one: the part would have to
    take less than no time. The answer is math.inf."""
    left = 1 / wanted - (1 - f)
    return f / left if left else inf


@mistake(needed, "a formula without a guard")
def unguarded(f, wanted):
    """At the limit f / s would have to be 0, and the formula divides by zero. Beyond it f / s would
    have to be negative. No s does either: math.inf."""
    return f / (1 / wanted - (1 - f))


@mistake(needed, "a formula without a guard at the limit itself")
def unguarded_limit(f, wanted):
    """At the limit f / s would have to be 0, and the formula divides by zero. No s makes it 0:
    math.inf."""
    left = 1 / wanted - (1 - f)
    return f / left if left >= 0 else inf


@mistake(needed, "the factor as if the part were everything")
def as_everything(f, wanted):
    """To make the whole twice as fast it is not enough to make a part twice as fast: it has to make
    up for the rest."""
    return wanted


@mistake(needed, "a factor in proportion to the part")
def proportional(f, wanted):
    """Times do not work that way. Put the formula equal to `wanted`, and solve it for s."""
    return wanted / f


@mistake(shares_after, "the shares before")
def before(times, factors):
    """These are the shares of the old step. The parts that became faster take less of the new
    one."""
    return np.asarray(times) / np.sum(times)


@mistake(shares_after, "shares of the old step")
def of_the_old(times, factors):
    """The new times are right, but they are divided by the old total. The shares of the new step
    add up to 1."""
    return np.asarray(times) / np.asarray(factors) / np.sum(times)


@mistake(shares_after, "the new times")
def only_times(times, factors):
    """These are milliseconds. A share is a part's time divided by the time of all."""
    return np.asarray(times) / np.asarray(factors)


@mistake(shares_after, "times that grow with the factor")
def grows(times, factors):
    """A part that becomes twice as fast takes *half* of the time: divide by the factor."""
    after = np.asarray(times) * np.asarray(factors)
    return after / after.sum()
