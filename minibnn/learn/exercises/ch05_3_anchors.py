"""A network of anchored signs

Differences of a binary network are zero. But anchor each sign at the value
that it got, and they give the straight-through gradient:

    f~(x) = f(x0) + s(x) - s(x0)

Here f is the sign, s its surrogate, and x0 the value that it got. First write
`anchored`, which returns the function f~. Then use it on this network, for a
loss that is the sum of dy * y with dy given:

    z = x sign(W1)       h = sign(z)       y = h sign(W2)

The signs of the weights have the identity as their surrogate, the sign of z
has np.clip(z, -1, 1). Return the gradients of the loss by W1 and by W2, by
differences of the anchored network. Each of the three signs has an anchor of
its own, which stays where it is while a weight is moved.

x is (batch, in), W1 (in, hidden), W2 (hidden, out), dy (batch, out).
"""

import numpy as np


def sign(x):
    """+1 where x >= 0, else -1."""
    return np.where(x >= 0, 1.0, -1.0)


def identity(x):
    """The surrogate of the sign of a weight."""
    return x


def clip(x):
    """The surrogate of the sign of a score."""
    return np.clip(x, -1, 1)


def differences(f, x, h=1e-5):
    """The gradient at x, by central differences, of an f that returns a number."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[place] += h
        down[place] -= h
        gradient[place] = (f(up) - f(down)) / (2 * h)
    return gradient


def anchored(f, s, x0):
    """The function f~ for this f and s, anchored at x0."""
    return lambda x: f(x0) + s(x) - s(x0)  # hole: a function of x


def gradients_by_anchors(dy, x, W1, W2):
    """dW1 and dW2, by differences of the anchored network."""
    # hole: the three anchored functions, then differences of the loss
    q1 = anchored(sign, identity, W1)
    f = anchored(sign, clip, x @ sign(W1))
    q2 = anchored(sign, identity, W2)
    dW1 = differences(lambda V: (dy * (f(x @ q1(V)) @ q2(W2))).sum(), W1)
    dW2 = differences(lambda V: (dy * (f(x @ q1(W1)) @ q2(V))).sum(), W2)
    # end of hole
    return dW1, dW2


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Probe, mistake, parts

HINTS = [
    "anchored returns a function: `return lambda x: ...`, or a `def` inside and its name.",
    "The anchors are what the signs get in the binary network: W1, x @ sign(W1), and W2. Make the "
    "three functions once, before the differences.",
    "With q1 = anchored(sign, identity, W1) and so on, y is f(x @ q1(W1)) @ q2(W2). For dW1: "
    "differences(lambda V: np.sum(dy * (f(x @ q1(V)) @ q2(W2))), W1).",
]

_AT = np.array([[-1.7, -0.3], [0.0, 0.8]])
_TO = np.array([[-1.6, -0.9], [0.4, 2.0]])


def values_and_slopes(anchored):
    """What f~ gives at the anchor and elsewhere."""
    f = anchored(sign, clip, _AT)
    if not callable(f):
        return {"anchored(f, s, x0) is a function": False}
    g = anchored(np.cos, np.sin, _AT)
    return {
        "anchored(f, s, x0) is a function": True,
        "f~(x0), for sign and clip": f(_AT),
        "f~ at another x": f(_TO),
        "f~(x0), for cos and sin": g(_AT),
        "f~ at another x, for cos and sin": g(_TO),
    }


_rng = np.random.default_rng(53)


def _case(batch, n_in, hidden, out):
    """dy, x, W1, W2."""
    return (
        _rng.normal(size=(batch, out)).round(2),
        (0.6 * _rng.normal(size=(batch, n_in))).round(2),
        _rng.normal(size=(n_in, hidden)).round(2),
        _rng.normal(size=(hidden, out)).round(2),
    )


CASES = [_case(4, 3, 5, 2), _case(6, 2, 3, 4)]
CHECKS = [
    Probe(anchored, values_and_slopes, "an anchored function", points=2),
    *parts(gradients_by_anchors, CASES, "dW1 dW2", points=2, tolerance=1e-5),
]


@mistake(anchored, "the surrogate, not anchored")
def only_surrogate(f, s, x0):
    """Its slope is right, but at x0 it has the surrogate's value. Add f(x0) - s(x0), so that it
    meets f there."""
    return s


@mistake(anchored, "the surrogate, lifted by f(x0)")
def not_taken_away(f, s, x0):
    """At x0 this gives f(x0) + s(x0). Take s(x0) away, so that it meets f there."""
    return lambda x: f(x0) + s(x)


@mistake(anchored, "the function without the surrogate")
def only_function(f, s, x0):
    """f itself is flat. f~ has the value of f at x0 only, and moves like s around it."""
    return f


@mistake(anchored, "a constant")
def constant(f, s, x0):
    """f(x0) does not depend on x, so all differences are 0. Let s(x) - s(x0) move it."""
    return lambda x: f(x0) + s(x0) - s(x0)


@mistake(anchored, "the function moved to where x is")
def moves(f, s, x0):
    """The anchor is fixed: f is taken at x0, not at x. With f(x) the jump of the sign is back as
    soon as x passes zero."""
    return lambda x: f(x) + s(x) - s(x0)


def _by(q1, f, q2, dy, x, W1, W2):
    """Differences of a network with these functions."""
    return (
        differences(lambda V: (dy * (f(x @ q1(V)) @ q2(W2))).sum(), W1),
        differences(lambda V: (dy * (f(x @ q1(W1)) @ q2(V))).sum(), W2),
    )


@mistake(gradients_by_anchors, "a gradient by differences of the signs themselves")
def of_signs(dy, x, W1, W2):
    """All differences are 0. Either there are no anchors, and signs do not change for a small step;
    or the anchors are computed again from the moved weights, and then s(x) - s(x0) is always 0.
    Make the three functions once, before the differences."""
    return _by(sign, sign, sign, dy, x, W1, W2)


@mistake(gradients_by_anchors, "a gradient by differences of the surrogates")
def of_surrogates(dy, x, W1, W2):
    """Without anchors this is another network: it multiplies with W1 and W2, not with their signs,
    and passes on clip(z), not its sign. Anchor all three."""
    return _by(identity, clip, identity, dy, x, W1, W2)


@mistake(gradients_by_anchors, "a network with its scores anchored at the real product")
def wrong_anchor(dy, x, W1, W2):
    """In the binary network the second sign gets z = x sign(W1), so that is its anchor. x W1 never
    occurs."""
    q1, q2 = anchored(sign, identity, W1), anchored(sign, identity, W2)
    return _by(q1, anchored(sign, clip, x @ W1), q2, dy, x, W1, W2)


@mistake(gradients_by_anchors, "a gradient without the clip")
def without_clip(dy, x, W1, W2):
    """The sign of a score has the clip as its surrogate. With the identity the gradient passes
    everywhere."""
    q1, q2 = anchored(sign, identity, W1), anchored(sign, identity, W2)
    return _by(q1, anchored(sign, identity, x @ sign(W1)), q2, dy, x, W1, W2)


@mistake(gradients_by_anchors, "a network with its weights clipped as well")
def clipped_weights(dy, x, W1, W2):
    """The surrogate of a weight's sign is the identity here: real weights beyond 1 have a gradient,
    too."""
    q1, q2 = anchored(sign, clip, W1), anchored(sign, clip, W2)
    return _by(q1, anchored(sign, clip, x @ sign(W1)), q2, dy, x, W1, W2)
