"""A step of latent weights

Behind each binary weight stands a real number, the latent weight W. The
forward pass uses its sign. The optimiser moves the real number, and keeps it
within a bound:

    Wq = sign(W)
    W  <- clip(W - learning_rate * dW, -bound, bound)

Write both, and then a short training of one binary layer, z = x Wq: in each
step the gradient dW is given by a function of Wq, and the layer makes a step.
Return the binary weights after the last one.

All three return new arrays, and leave W as it is. bound is a positive number,
or None for no bound.
"""

import numpy as np


def binary_weights(W):
    """Wq, of +1.0 and -1.0; the sign of 0 is +1."""
    return np.where(W >= 0, 1.0, -1.0)  # hole: from the latent weights


def step(W, dW, learning_rate, bound):
    """The latent weights after one step."""
    # hole: the step, and the bound unless it is None
    W = W - learning_rate * dW
    return W if bound is None else np.clip(W, -bound, bound)
    # end of hole


def train(W, gradient_of, learning_rate, bound, steps):
    """The binary weights after so many steps; gradient_of(Wq) returns dW."""
    # hole: in each step, the gradient at the binary weights moves the latent ones
    for _ in range(steps):
        W = step(W, gradient_of(binary_weights(W)), learning_rate, bound)
    return binary_weights(W)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Probe, mistake

HINTS = [
    "np.clip(W, -bound, bound) keeps all numbers in the interval. First the step, then the bound.",
    "In train, W stays the array of real numbers from step to step. Only gradient_of gets the "
    "signs.",
    "The loop has one line: W = step(W, gradient_of(binary_weights(W)), learning_rate, bound). "
    "After it, return binary_weights(W).",
]

_rng = np.random.default_rng(61)
_W = np.array([[0.3, -0.95, 0.0], [-0.2, 0.7, 0.98]])
_DW = np.array([[1.0, 0.5, -2.0], [-3.0, 0.25, -1.5]])
CASES = [(_W, _DW, 0.1, 1.0), (_W, _DW, 0.1, None), (_W, -_DW, 0.5, 0.8)]


def to_a_target(train):
    """Binary weights for a few sums that they should give."""
    x = _rng_x()
    t = x @ np.array([1.0, -1.0, 1.0, 1.0, -1.0])
    start = np.array([-0.9, 0.8, 0.4, -0.3, 0.6])  # the first step flips none

    def gradient_of(Wq):
        seen.append(np.array(Wq))
        return x.T @ (x @ Wq - t) / len(x)

    found = {}
    for learning_rate, bound in [(0.02, 1.0), (0.02, 0.5), (0.1, None)]:
        seen: list[np.ndarray] = []
        W = start.copy()
        after = train(W, gradient_of, learning_rate, bound, 25)
        text = f"learning rate {learning_rate}, bound {bound}: "
        found[text + "Wq after 25 steps"] = after
        found[text + "how many gradients were asked for"] = len(seen)
        found[text + "the mean of all Wq on the way"] = np.mean(seen, axis=0) if seen else None
        found[text + "the W that train was given, afterwards"] = W
    return found


def _rng_x():
    return np.random.default_rng(7).normal(size=(30, 5))


CHECKS = [
    Agrees(binary_weights, [_W, np.array([-0.0, -1e-9, 5.0])], "the binary weights"),
    Agrees(step, CASES, "one step", points=2),
    Probe(train, to_a_target, "training finds a target", points=2),
]


@mistake(binary_weights, "a sign that can be zero")
def with_zero(W):
    """np.sign has a third value at 0. The sign of 0 is +1 here, and everywhere in minibnn."""
    return np.sign(W)


@mistake(binary_weights, "the latent weights, rounded")
def rounded(W):
    """Rounding makes 0 of everything below a half. Take the sign: +1 or -1, however small W is."""
    return np.round(W)


@mistake(step, "a step without its bound")
def unbounded(W, dW, learning_rate, bound):
    """The step is right. After it, np.clip has to bring the weights back into [-bound, bound]."""
    return W - learning_rate * dW


@mistake(step, "a bound before the step")
def bound_first(W, dW, learning_rate, bound):
    """The weights are brought into the bound, and then the step leads out of it. First the step,
    then the bound."""
    return (W if bound is None else np.clip(W, -bound, bound)) - learning_rate * dW


@mistake(step, "a step from the signs")
def from_signs(W, dW, learning_rate, bound):
    """It starts from sign(W), so what earlier steps have added up is lost. The step moves the real
    number."""
    W = binary_weights(W) - learning_rate * dW
    return W if bound is None else np.clip(W, -bound, bound)


@mistake(step, "a step uphill")
def uphill(W, dW, learning_rate, bound):
    """W + learning_rate * dW makes the loss larger. Subtract."""
    W = W + learning_rate * dW
    return W if bound is None else np.clip(W, -bound, bound)


@mistake(step, "a bound on the gradient")
def bounded_gradient(W, dW, learning_rate, bound):
    """The bound is for the weights: clip W after the step, not dW before it."""
    return W - learning_rate * (dW if bound is None else np.clip(dW, -bound, bound))


@mistake(step, "a mask in the place of the bound")
def masked(W, dW, learning_rate, bound):
    """This stops the gradient beyond the bound, as the clip mask of chapter 5 does. A bound is for
    the weights: make the whole step, then bring W back with np.clip."""
    return W - learning_rate * dW * (True if bound is None else np.abs(W) <= bound)


@mistake(train, "training that steps from the bits")
def forgets(W, gradient_of, learning_rate, bound, steps):
    """Each step forgets the ones before, so steps smaller than 1 never flip a weight. Move W, the
    real numbers, and take signs for the gradient only."""
    for _ in range(steps):
        W = binary_weights(step(W, gradient_of(binary_weights(W)), learning_rate, bound))
    return W


@mistake(train, "training with gradients at the latent weights")
def at_latent(W, gradient_of, learning_rate, bound, steps):
    """The network multiplies with signs, so its gradient is taken at the signs:
    gradient_of(binary_weights(W))."""
    for _ in range(steps):
        W = step(W, gradient_of(W), learning_rate, bound)
    return binary_weights(W)


@mistake(train, "training that returns the latent weights")
def returns_latent(W, gradient_of, learning_rate, bound, steps):
    """The training is right. What is asked for are the binary weights in the end."""
    for _ in range(steps):
        W = step(W, gradient_of(binary_weights(W)), learning_rate, bound)
    return W


@mistake(train, "training with the gradient of the first step, again and again")
def first_gradient(W, gradient_of, learning_rate, bound, steps):
    """Once a weight has flipped, the gradient is another. Ask for it in each step."""
    dW = gradient_of(binary_weights(W))
    for _ in range(steps):
        W = step(W, dW, learning_rate, bound)
    return binary_weights(W)
