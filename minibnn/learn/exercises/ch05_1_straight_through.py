"""The backward pass of the sign

Forward: h = sign(z). The straight-through estimator goes back as if the sign
had been another function, its surrogate s:

    s(z) = z                    dz = dh
    s(z) = clip(z, -c, c)       dz = dh where |z| <= c, else 0

The second is for a clip c, a positive number; the first for c = None. The
edges |z| = c belong to the inside.

Write the backward pass, and the surrogate that it is the derivative of. z, dh
and dz have the same shape. dh is not yours: leave it as it is.
"""

import numpy as np


def backward(dh, z, c):
    """dz, for a clip c or for None."""
    # hole: dz for both cases
    if c is None:
        return dh
    return dh * (np.abs(z) <= c)
    # end of hole


def surrogate(z, c):
    """s(z), for a clip c or for None."""
    # hole: s(z) for both cases
    if c is None:
        return z
    return np.clip(z, -c, c)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Differences, mistake

HINTS = [
    "np.abs(z) <= c is an array of True and False. Multiplied with numbers, they count as 1 and 0.",
    "It is z that has to be inside of the clip. dh may be as large as it likes.",
    "backward: dh if c is None, else dh * (np.abs(z) <= c). surrogate: z if c is None, else "
    "np.clip(z, -c, c).",
]

_Z = np.array([[-2.0, -1.0, -0.4, 0.0], [0.3, 0.6, 1.0, 2.5]])
_DH = np.array([[0.5, -2.0, 1.5, 3.0], [-0.7, 0.2, 4.0, -1.0]])
_INSIDE = np.array([-2.2, -0.7, 0.2, 0.9, 1.6])
_MORE = np.array([1.0, 2.0, -3.0, 0.5, -1.5])
CHECKS = [
    Agrees(backward, [(_DH, _Z, None)], "straight through"),
    Agrees(backward, [(_DH, _Z, 1.0), (_DH, _Z, 0.5)], "with a clip"),
    Agrees(surrogate, [(_Z, None), (_Z, 1.0), (_Z, 0.5)], "the surrogate"),
    Differences(backward, lambda z, dh, c: (dh * surrogate(z, c)).sum(), "z",
                [(_MORE, _INSIDE, 1.0), (_MORE, _INSIDE, 0.5)], "one is the other's derivative",
                at=lambda dh, z, c: (z, dh, c)),
]  # fmt: skip


@mistake(backward, "the true derivative")
def zero(dh, z, c):
    """Behind a sign the true gradient is zero, and nothing learns. The estimator takes the
    surrogate's slope in its place."""
    return np.zeros_like(dh)


@mistake(backward, "a mask on the gradient, not on the score")
def mask_of_dh(dh, z, c):
    """The mask asks where the sign was taken: at z. It has nothing to do with how large dh is."""
    return dh if c is None else dh * (np.abs(dh) <= c)


@mistake(backward, "a clipped gradient")
def clipped_gradient(dh, z, c):
    """np.clip(dh, -c, c) limits large gradients, which is something else. Here dh passes whole
    where |z| <= c, and not at all elsewhere."""
    return dh if c is None else np.clip(dh, -c, c)


@mistake(backward, "a mask without its edges")
def without_edges(dh, z, c):
    """At |z| = c the gradient passes, too: <=, not <."""
    return dh if c is None else dh * (np.abs(z) < c)


@mistake(backward, "a mask upside down")
def outside(dh, z, c):
    """It passes the gradient outside of the clip and stops it inside. Scores near zero are the ones
    that a step can flip."""
    return dh if c is None else dh * (np.abs(z) > c)


@mistake(backward, "a mask on one side only")
def one_side(dh, z, c):
    """z <= c lets all negative scores pass, however far they are. Take the magnitude."""
    return dh if c is None else dh * (z <= c)


@mistake(surrogate, "the sign in the place of its surrogate")
def the_sign(z, c):
    """The sign is flat. The surrogate is the function whose slope backward uses: z itself, or z
    limited to [-c, c]."""
    return np.where(z >= 0, 1.0, -1.0)


@mistake(surrogate, "a surrogate that is zero outside")
def zero_outside(z, c):
    """Beyond the clip it jumps to 0. np.clip holds it at the edge, so that it stays flat there, and
    without a jump."""
    return z if c is None else z * (np.abs(z) <= c)
