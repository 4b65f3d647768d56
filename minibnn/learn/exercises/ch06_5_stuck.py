"""Which weights can still learn

Suppose that the sign of the weights has a clip: the gradient passes only where
|W| <= clip. Then a latent weight beyond the clip gets no gradient. With plain
gradient descent it stays where it is for ever: it is stuck.

1. `stuck`: True for each weight that is stuck, given its latent weights and
   the clip. If the clip is None the gradient passes everywhere.
2. `can_be_stuck`: whether this can happen at all in training, given the bound
   and the clip; each of them is a positive number or None. The bound keeps
   all weights in [-bound, bound], its edges included, and |W| = clip is still
   inside of the clip.
3. `after_steps`: the latent weights after some steps of gradient descent with
   such a clip, and with a bound or None. All steps have the same dWq, the
   gradient by the binary weights. The learning rate is positive. W may start
   beyond the bound; the bound then holds after the first step.
"""

import numpy as np


def stuck(W, clip):
    """True where a weight gets no gradient, of the shape of W."""
    # hole: an array of True and False
    if clip is None:
        return np.zeros(W.shape, dtype=bool)
    return np.abs(W) > clip
    # end of hole


def can_be_stuck(bound, clip):
    """Whether a weight can ever be stuck: True or False."""
    # hole: for numbers, and for None
    if clip is None:
        return False
    return bound is None or bound > clip
    # end of hole


def after_steps(W, dWq, learning_rate, bound, clip, steps):
    """The latent weights after so many steps."""
    for _ in range(steps):
        # hole: the gradient that passes, the step, the bound
        dW = np.where(stuck(W, clip), 0.0, dWq)
        W = W - learning_rate * dW
        if bound is not None:
            W = np.clip(W, -bound, bound)
        # end of hole
    return W


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "np.abs(W) > clip is True beyond the clip. For None, an array of False: "
    "np.zeros(W.shape, dtype=bool).",
    "Without a clip nothing is ever stuck. With a clip and no bound a weight can get beyond it. "
    "With both, it can if the bound is larger than the clip.",
    "np.where(stuck(W, clip), 0.0, dWq) is the gradient that passes. Then the step, then np.clip, "
    "in each of the steps anew.",
]

_W = np.array([[0.5, -1.0, 1.2], [-0.7, 0.0, -3.0]])
_DW = np.array([[-0.4, 0.5, 1.25], [1.0, -0.3, 0.6]])
CHECKS = [
    Agrees(stuck, [(_W, 1.0), (_W, 0.6), (_W, None)], "which weights are stuck"),
    Agrees(can_be_stuck, [(1.0, 1.0), (1.0, 0.5), (0.5, 1.0), (None, 1.0), (1.0, None),
                          (None, None)], "whether it can happen"),
    Agrees(after_steps, [(_W, _DW, 0.5, None, 1.0, 6), (_W, _DW, 0.5, 1.0, 1.0, 6),
                         (_W, _DW, 0.5, 2.0, 1.0, 3), (_W, _DW, 0.5, None, None, 2)],
           "where the weights end", points=2),
]  # fmt: skip


@mistake(stuck, "the opposite: the weights that can move")
def free(W, clip):
    """Beyond the clip there is no gradient. Inside, where |W| <= clip, it passes."""
    return np.ones(W.shape, dtype=bool) if clip is None else np.abs(W) <= clip


@mistake(stuck, "a mask in which weights on the edge are stuck")
def edge(W, clip):
    """At |W| = clip the gradient still passes: the condition for being stuck is >, not >=."""
    return np.zeros(W.shape, dtype=bool) if clip is None else np.abs(W) >= clip


@mistake(stuck, "a mask for one side only")
def one_side(W, clip):
    """Weights below -clip are beyond it as well. Take the magnitude."""
    return np.zeros(W.shape, dtype=bool) if clip is None else clip < W


@mistake(can_be_stuck, "an answer in which the edge of the clip is too far")
def equal_too(bound, clip):
    """With a bound of 1 and a clip of 1 no weight gets beyond the clip, and at its edge the
    gradient passes."""
    return clip is not None and (bound is None or bound >= clip)


@mistake(can_be_stuck, "an answer with bound and clip exchanged")
def exchanged(bound, clip):
    """A bound that is *larger* than the clip lets weights get beyond the clip."""
    return clip is not None and (bound is None or bound < clip)


@mistake(can_be_stuck, "an answer in which no bound is safe")
def no_bound_is_safe(bound, clip):
    """Without a bound nothing keeps a weight from getting beyond the clip."""
    return clip is not None and bound is not None and bound > clip


@mistake(can_be_stuck, "an answer in which no clip is dangerous")
def no_clip_is_dangerous(bound, clip):
    """Without a clip the gradient passes everywhere, so a weight is never stuck. It may be far
    from zero, but it comes back."""
    return clip is None or bound is None or bound > clip


@mistake(after_steps, "a mask from the weights at the beginning")
def first_mask(W, dWq, learning_rate, bound, clip, steps):
    """A weight can get stuck on the way. Look at the mask again in each step."""
    dW = np.where(stuck(W, clip), 0.0, dWq)
    for _ in range(steps):
        W = W - learning_rate * dW
        W = W if bound is None else np.clip(W, -bound, bound)
    return W


@mistake(after_steps, "a step without the mask")
def no_mask(W, dWq, learning_rate, bound, clip, steps):
    """The gradient passes only where a weight is not stuck: use your `stuck`."""
    for _ in range(steps):
        W = W - learning_rate * dWq
        W = W if bound is None else np.clip(W, -bound, bound)
    return W


@mistake(after_steps, "a step without the bound")
def no_bound(W, dWq, learning_rate, bound, clip, steps):
    """After each step np.clip brings the weights back into [-bound, bound], unless the bound is
    None."""
    for _ in range(steps):
        W = W - learning_rate * np.where(stuck(W, clip), 0.0, dWq)
    return W


@mistake(after_steps, "the bound at the end only")
def bound_at_end(W, dWq, learning_rate, bound, clip, steps):
    """The bound holds after each step. Applied once at the end, it does not keep weights from
    getting stuck on the way."""
    W = no_bound(W, dWq, learning_rate, bound, clip, steps)
    return W if bound is None else np.clip(W, -bound, bound)
