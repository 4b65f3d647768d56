"""A surrogate of your own, for minibnn

A function of minibnn has three methods: forward, surrogate, and backward,
which is the derivative of the surrogate times dy. Write the sign with this
one:

    s(x) = 2x - x|x|    where |x| <= 1
    s(x) = sign(x)      elsewhere

It rises from -1 to +1 like the clip, but as a curve: steep at 0, and flat
where it arrives. Find its derivative first, and where it is zero. (Negative
and positive x are alike but for the sign of x|x|.)

The check calls minibnn's check_gradients. Try it yourself:

    from minibnn import check_gradients
    print(check_gradients(CurvedSign(), np.random.normal(size=(5, 3))))
"""

import numpy as np

from minibnn import Function


class CurvedSign(Function):
    """The sign, with the slope of a curve."""

    def forward(self, x):
        """+1 where x >= 0, else -1, in the dtype of x."""
        return np.where(x >= 0, 1, -1).astype(x.dtype)  # hole: the sign

    def surrogate(self, x):
        """s(x)."""
        # hole: the curve inside, the sign outside
        return np.where(np.abs(x) <= 1, 2 * x - x * np.abs(x), self.forward(x))
        # end of hole

    def backward(self, dy, x):
        """dx = dy s'(x)."""
        return dy * np.maximum(2 - 2 * np.abs(x), 0)  # hole: with the derivative of s


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import LayerGradients, Probe, mistake
from minibnn.learn.values import call_text

HINTS = [
    "For positive x, s(x) = 2x - x^2, whose derivative is 2 - 2x. For negative x it is 2x + x^2, "
    "whose derivative is 2 + 2x. Both in one: 2 - 2|x|.",
    "Beyond 1 the curve is flat, so the derivative is 0 there. np.maximum(2 - 2 * np.abs(x), 0) "
    "does both.",
    "np.where(np.abs(x) <= 1, 2 * x - x * np.abs(x), self.forward(x)) is the surrogate.",
]

X = np.array([[-2.0, -0.9, -0.25], [0.3, 0.7, 1.6], [0.1, -1.2, 0.95]])


def values(Own):
    """What the methods give at some points."""
    own, x = Own(), np.array([-1.5, -0.5, -0.0, 0.0, 0.25, 1.0, 3.0])
    dy = np.arange(1.0, 8.0)
    return {
        call_text("forward", {"x": x}): own.forward(x),
        "dtype of forward(x) for an x of float32": str(own.forward(x.astype(np.float32)).dtype),
        call_text("surrogate", {"x": x}): own.surrogate(x),
        call_text("backward", {"dy": dy, "x": x}): own.backward(dy, x),
    }


CHECKS = [
    Probe(CurvedSign, values, "the values of the three methods", points=2),
    LayerGradients(CurvedSign, lambda Own: Own(), X, "check_gradients passes, with this curve",
                   points=2),
]  # fmt: skip


@mistake(CurvedSign, "a sign with a zero")
class WithZero(CurvedSign):
    """np.sign(0) is 0, a third value. In minibnn the sign of 0 is +1, and the check refuses any
    other."""

    def forward(self, x):
        return np.sign(x)


@mistake(CurvedSign, "a slope that does not end")
class WithoutEnd(CurvedSign):
    """2 - 2|x| is negative beyond 1: the gradient comes back with the wrong sign there. The curve
    is flat outside, so the slope is 0."""

    def backward(self, dy, x):
        return dy * (2 - 2 * np.abs(x))


@mistake(CurvedSign, "the clip mask with the curve's name")
class Mask(CurvedSign):
    """This is the derivative of np.clip(x, -1, 1). The curve is steeper at 0, and gets flatter on
    the way out: differentiate 2x - x|x|."""

    def backward(self, dy, x):
        return dy * (np.abs(x) <= 1)


@mistake(CurvedSign, "a slope without magnitude")
class OneSided(CurvedSign):
    """2 - 2x is right for positive x. For negative x the slope is 2 + 2x; with |x| one formula
    fits both."""

    def backward(self, dy, x):
        return dy * np.where(np.abs(x) <= 1, 2 - 2 * x, 0)


@mistake(CurvedSign, "a surrogate that is not the curve")
class TrueSurrogate(CurvedSign):
    """backward is right, but it is not the derivative of this surrogate. The curve is 2x - x|x|
    from -1 to 1; only beyond is it the sign."""

    def surrogate(self, x):
        return self.forward(x)


@mistake(CurvedSign, "a backward without dy")
class WithoutGradient(CurvedSign):
    """It returns the slope alone. The chain rule multiplies it by dy, the gradient that
    arrives."""

    def backward(self, dy, x):
        return np.maximum(2 - 2 * np.abs(x), 0)
