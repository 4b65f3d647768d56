"""Bop

The binary optimiser has no latent weights. For each weight w, which is +1 or
-1, it keeps a running mean m of the gradients, and flips the weight if the
mean is large enough and has the same sign as the weight:

    m <- (1 - gamma) m + gamma dw
    w <- -w    where w m > threshold, with the new m

Why the same sign? A positive gradient says that the loss falls if w becomes
smaller, and a w of +1 can do that.

w, m and dw have the same shape, whichever it is. Write a step that returns the
new w and m and leaves the arrays as they are.

Then let it run: `run` begins with m = 0 and makes a step for each row of
`gradients`, an array (steps, weights). Return w in the end, and how many flips
there were in all, of all weights. (A weight that flips twice counts twice.)
"""

import numpy as np


def bop_step(w, m, dw, gamma, threshold):
    """The new w and m."""
    # hole: first the mean, then the flips
    m = (1 - gamma) * m + gamma * dw
    w = np.where(w * m > threshold, -w, w)
    # end of hole
    return w, m


def run(w, gradients, gamma, threshold):
    """w after a step for each gradient, and the number of flips."""
    m, flips = np.zeros_like(w), 0
    for dw in gradients:
        # hole: a step; count the weights that it flips
        before = w
        w, m = bop_step(w, m, dw, gamma, threshold)
        flips += int((w != before).sum())
        # end of hole
    return w, flips


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake, parts
from minibnn.learn.values import copies

HINTS = [
    "w * m > threshold is True where both have the same sign and m is larger than the threshold.",
    "np.where(w * m > threshold, -w, w) flips those and keeps the others.",
    "In run: keep the old w as `before`, make the step, and add int((w != before).sum()).",
]

_rng = np.random.default_rng(64)
_W = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
_M = np.array([0.3, 0.2, -0.1, -0.4, 0.05, -0.02])
_DW = np.array([0.2, -0.9, 1.5, -0.1, 0.12, -0.6])
CASES = [(_W, _M, _DW, 0.25, 0.1), (_W, -_M, _DW, 0.5, 0.14), (-_W, 0 * _M, _DW, 1.0, 0.11),
         (_W, _M, _DW, 0.25, 0.28), (_W, 0 * _M, _DW, 0.5, 0.75)]  # fmt: skip
_WAVES = np.sin(0.7 * np.arange(14)[:, None] + np.arange(6))  # so that weights flip back
_GRADIENTS = (_WAVES + _rng.normal(0, 0.5, size=(14, 6))).round(2)


def beside_minibnn(bop_step):
    """The same steps as minibnn's Bop, with a layer of the library."""
    from minibnn import Bop, Dense, SignSTE

    layer = Dense(3, 2, bias=False, weight_quantizer=SignSTE()).initialize(0, np.float64)
    optimizer = Bop(layer.parameters(), threshold=0.3, gamma=0.2)
    w, m, same, path = layer.weight.data.copy(), np.zeros((3, 2)), 0, []
    for gradient in _GRADIENTS:
        dw = gradient.reshape(3, 2)
        layer.weight.grad[...] = dw
        optimizer.step()
        w, m = bop_step(*copies((w, m, dw)), 0.2, 0.3)  # one that works in place is told above
        same += int((np.asarray(w) == layer.weight.data).sum())
        path.append(w)
    return {"weights equal to minibnn's, of 14 steps of 6": same, "all w on the way": path}


CHECKS = [
    *parts(bop_step, CASES, "w m", points=2),
    Probe(bop_step, beside_minibnn, "fourteen steps beside minibnn's Bop"),
    Agrees(run, [(_W, _GRADIENTS, 0.2, 0.3), (-_W, _GRADIENTS, 0.5, 0.8)], "a run, with its flips",
           points=2),
]  # fmt: skip


def _step(flip=lambda w, m, threshold: w * m > threshold, mean=lambda g: (1 - g, g), late=False):
    """A step with another condition or another mean."""

    def bop_step(w, m, dw, gamma, threshold):
        keep, take = mean(gamma)
        new = keep * m + take * dw
        seen = m if late else new
        return np.where(flip(w, seen, threshold), -w, w), new

    return bop_step


@mistake(bop_step, "a flip of the weights that are right")
def opposite(*given):
    """It flips where the mean has the opposite sign, so the loss grows. A positive gradient wants w
    to become smaller, which a w of +1 can do, and a w of -1 has done."""
    return _step(flip=lambda w, m, threshold: -w * m > threshold)(*given)


@mistake(bop_step, "a flip that does not ask for the sign of the mean")
def whatever_sign(*given):
    """|m| > threshold alone flips weights that agree with the gradient, too. The mean must have the
    weight's sign."""
    return _step(flip=lambda w, m, threshold: np.abs(m) > threshold)(*given)


@mistake(bop_step, "a step without threshold")
def no_threshold(*given):
    """Every mean of the right sign flips its weight, however small it is. The threshold says how
    sure the gradients have to be."""
    return _step(flip=lambda w, m, threshold: w * m > 0)(*given)


@mistake(bop_step, "a flip by the old mean")
def old_mean(*given):
    """First the mean takes in the new gradient, then the flips are decided, with the new m."""
    return _step(late=True)(*given)


@mistake(bop_step, "a mean with its two factors exchanged")
def exchanged(*given):
    """gamma is the share of the *new* gradient, usually small. The old mean is kept with
    1 - gamma."""
    return _step(mean=lambda g: (g, 1 - g))(*given)


@mistake(bop_step, "a sum of gradients, not a mean")
def sums(*given):
    """m + gamma dw forgets nothing, which is what latent weights do. The old mean fades:
    (1 - gamma) m."""
    return _step(mean=lambda g: (1, g))(*given)


@mistake(bop_step, "a flip by the gradient of this batch alone")
def by_gradient(w, m, dw, gamma, threshold):
    """One batch is a poor guess. The mean m over many of them decides."""
    return np.where(w * dw > threshold, -w, w), (1 - gamma) * m + gamma * dw


@mistake(run, "the weights that are different in the end")
def ends(w, gradients, gamma, threshold):
    """A weight that flipped and flipped back made two flips, and you count none. Count in each
    step."""
    m, start = np.zeros_like(w), w
    for dw in gradients:
        w, m = bop_step(w, m, dw, gamma, threshold)
    return w, int((w != start).sum())


@mistake(run, "the number of steps in which something flipped")
def steps_with_flips(w, gradients, gamma, threshold):
    """A step may flip several weights, and each of them counts. Sum w != before."""
    m, flips = np.zeros_like(w), 0
    for dw in gradients:
        before = w
        w, m = bop_step(w, m, dw, gamma, threshold)
        flips += int((w != before).any())
    return w, flips


@mistake(run, "a run that begins each step with a mean of 0")
def forgetful(w, gradients, gamma, threshold):
    """The mean has to be kept from step to step: bop_step returns it, and the next step gets it."""
    flips = 0
    for dw in gradients:
        before = w
        w, _ = bop_step(w, np.zeros_like(w), dw, gamma, threshold)
        flips += int((w != before).sum())
    return w, flips
