"""Initial weights, and why they are not zero

Weights begin as random numbers. Their size decides whether signals grow or
die out from layer to layer. Two rules, for a matrix W of shape (in, out):

    He:      normal, with mean 0 and standard deviation sqrt(2 / in)
    Glorot:  uniform between -a and a, with a = sqrt(6 / (in + out))

He's is for layers behind a ReLU, which sets half of the numbers to 0; Glorot's
for tanh. Every draw comes from the generator rng that is passed.

Why random, and not all zero? Take a network of two layers,

    z1 = x W1 + b1      h = tanh(z1)      z2 = h W2 + b2

and softmax with cross-entropy. Going back, dW2 = h.T dz2, db2 is the sum of
dz2, dh = dz2 W2.T, dz1 = dh (1 - h h), dW1 = x.T dz1, db1 the sum of dz1.
Put W1, b1, W2 and b2 all at 0, and follow the equations: which of the four
gradients are not zero? And if all weights begin at the same 0.1, how many of
100 hidden neurons are different after training?
"""

import numpy as np


def he(n_in, n_out, rng):
    """W of shape (n_in, n_out) by He's rule."""
    return rng.normal(0, np.sqrt(2 / n_in), (n_in, n_out))  # hole: rng.normal(...)


def glorot(n_in, n_out, rng):
    """W of shape (n_in, n_out) by Glorot's rule."""
    # hole: a, then rng.uniform(...)
    a = np.sqrt(6 / (n_in + n_out))
    return rng.uniform(-a, a, (n_in, n_out))
    # end of hole


def learns_from_zero():
    """The parameters that learn if all begin at 0: a set such as {"W1", "b1"}."""
    return {"b2"}  # hole: some of W1, b1, W2, b2


def different_neurons():
    """How many of 100 hidden neurons are different, if all weights begin at 0.1."""
    return 1  # hole: a number from 1 to 100


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Answer, Probe, mistake

HINTS = [
    "rng.normal(mean, standard_deviation, shape) and rng.uniform(low, high, shape) draw arrays. A "
    "standard deviation is a root: np.sqrt.",
    "At zero, h = tanh(0) = 0, so what is h.T dz2? And dh goes through W2, which is 0. But dz2 = "
    "(p - t) / batch is not zero: all classes have the same p, and t is 1 for one of them.",
    "Neurons with the same weights give the same h, get the same gradient, and make the same step. "
    "So they stay the same: training never tells them apart.",
]


def statistics(limits):
    """A probe: the shape and the spread of a large W, for two shapes."""

    def probe(rule):
        found = {}
        for shape in ((500, 300), (200, 800)):
            W = np.asarray(rule(*shape, np.random.default_rng(0)))
            call = f"{shape[0]}, {shape[1]}, rng"
            found[f"the shape from {call}"] = W.shape
            found[f"the standard deviation from {call}"] = W.std()
            found[f"the mean is about 0, from {call}"] = bool(abs(W.mean()) < 0.02 * W.std())
            if limits:
                found[f"the largest weight from {call}"] = W.max()
            near = "the share of weights within one standard deviation"
            found[f"{near}, from {call}"] = (abs(W) < W.std()).mean()
        return found | (twice(rule) if limits else {})

    return probe


def twice(rule):
    """A probe: whether another generator gives other weights."""
    first, again, other = (np.asarray(rule(4, 3, np.random.default_rng(s))) for s in (1, 1, 2))
    return {
        "equal generators give equal weights": bool((first == again).all()),
        "other generators give other weights": bool((first != other).any()),
    }


CHECKS = [
    Probe(he, statistics(limits=False), "He's rule", tolerance=0.02, points=2),
    Probe(he, twice, "the draws come from the generator"),
    Probe(glorot, statistics(limits=True), "Glorot's rule", tolerance=0.02, points=2),
    Answer(learns_from_zero, "what learns from zero"),
    Answer(different_neurons, "neurons that begin alike"),
]


@mistake(he, "a variance in the place of the standard deviation")
def no_root(n_in, n_out, rng):
    """2 / in is the variance. normal takes the standard deviation, which is its root; your weights
    are much too small."""
    return rng.normal(0, 2 / n_in, (n_in, n_out))


@mistake(he, "the number of outputs in the place of the inputs")
def outputs(n_in, n_out, rng):
    """A sum has as many terms as there are inputs, so these decide how large it becomes."""
    return rng.normal(0, np.sqrt(2 / n_out), (n_in, n_out))


@mistake(he, "a standard deviation of sqrt(1 / in)")
def without_two(n_in, n_out, rng):
    """This keeps the size of signals through a layer without activation. The ReLU sets half of
    the numbers to 0, which takes half of the mean square: hence the 2."""
    return rng.normal(0, np.sqrt(1 / n_in), (n_in, n_out))


@mistake(he, "a standard deviation of 1")
def standard(n_in, n_out, rng):
    """With 500 inputs a sum then has a standard deviation of about 22, in the next layer 22 times
    more. Scale by sqrt(2 / in)."""
    return rng.normal(0, 1, (n_in, n_out))


@mistake(he, "a uniform draw")
def uniform(n_in, n_out, rng):
    """The spread is right, but He's rule as it stands here draws from a normal distribution."""
    return rng.uniform(-np.sqrt(6 / n_in), np.sqrt(6 / n_in), (n_in, n_out))


@mistake(he, "a draw from a generator of its own")
def own_generator(n_in, n_out, rng):
    """They do not depend on the generator that is passed. Then one seed no longer decides a whole
    training, or all layers begin alike. Draw from rng."""
    return np.random.default_rng(5).normal(0, np.sqrt(2 / n_in), (n_in, n_out))


@mistake(he, "a draw that does not come from rng")
def not_from_rng(n_in, n_out, rng):
    """Equal generators should give equal weights, and here they do not. Draw with rng.normal, not
    with np.random.normal."""
    return np.random.default_rng().normal(0, np.sqrt(2 / n_in), (n_in, n_out))


@mistake(glorot, "a draw that rng has no part in")
def glorot_not_from_rng(n_in, n_out, rng):
    """Equal generators should give equal weights, and here they do not. Draw with rng.uniform, not
    with np.random.uniform."""
    return glorot(n_in, n_out, np.random.default_rng())


@mistake(glorot, "Glorot's limit taken for a standard deviation")
def as_deviation(n_in, n_out, rng):
    """a is the end of the interval that uniform draws from: rng.uniform(-a, a, ...)."""
    return rng.normal(0, np.sqrt(6 / (n_in + n_out)), (n_in, n_out))


@mistake(glorot, "a draw of positive weights only")
def positive(n_in, n_out, rng):
    """The interval begins at 0 here. Weights need both signs, and the mean 0: from -a to a."""
    return rng.uniform(0, np.sqrt(6 / (n_in + n_out)), (n_in, n_out))


@mistake(glorot, "a limit of sqrt(2 / (in + out))")
def variance_as_limit(n_in, n_out, rng):
    """2 / (in + out) is the variance that Glorot's rule wants. A uniform draw from -a to a has the
    variance a^2 / 3; this is where the 6 comes from."""
    a = np.sqrt(2 / (n_in + n_out))
    return rng.uniform(-a, a, (n_in, n_out))


@mistake(learns_from_zero, "the whole last layer")
def last_layer():
    """dW2 = h.T dz2, and h = tanh(0) = 0. What is left of it?"""
    return {"W2", "b2"}


@mistake(learns_from_zero, "an empty set")
def nothing():
    """dz2 is (p - t) / batch. All classes have the probability 1/10, so it is not zero. Whose
    gradient contains dz2, and nothing else?"""
    return set()


@mistake(learns_from_zero, "the set of both biases")
def biases():
    """db1 is the sum of dz1, which comes from dh = dz2 W2.T. W2 is zero."""
    return {"b1", "b2"}


@mistake(learns_from_zero, "the set of all four")
def all_parameters():
    """Follow the equations with h = 0 and W2 = 0 in them: most of the products are zero."""
    return {"W1", "b1", "W2", "b2"}


@mistake(learns_from_zero, "the name of a gradient")
def gradient():
    """Its gradient is the one that is not zero. The answer is the parameter that it belongs to,
    without the d."""
    return {"db2"}


@mistake(different_neurons, "a hundred different neurons")
def all_different():
    """They begin with the same weights, so they give the same h and get the same gradient. What
    could tell them apart?"""
    return 100
