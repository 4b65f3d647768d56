"""A test that catches wrong binary layers

Others write the backward pass of a binary layer, and you write the test. It
is given a function

    dx, dW = backward(dh, x, W)

for the layer Wq = sign(W), z = x Wq, h = sign(z), whose signs have the
surrogates s(W) = W and s(z) = clip(z, -1, 1). Your test raises an
AssertionError if one of the gradients is wrong.

You are given `differences` and `anchored`. The number to differentiate is
the sum of dh * h, with dh fixed; anchor both signs at the values that they
get for your x and W. The check runs your test with a right implementation,
which has to pass, and with wrong ones, which have to fail. What it returns or
prints does not count. Choose x, W and dh so that mistakes show: there should
be scores inside of the clip and beyond it.
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


def anchored(f, s, x0):
    """The function with the value f(x0) at x0, and the slope of s."""
    return lambda x: f(x0) + s(x) - s(x0)


def differences(f, x, h=1e-5):
    """The gradient at x, by central differences, of an f that returns a number."""
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        up, down = x.astype(float), x.astype(float)
        up[place] += h
        down[place] -= h
        gradient[place] = (f(up) - f(down)) / (2 * h)
    return gradient


def check_backward(backward):
    """Raise an AssertionError if backward(dh, x, W) gives a wrong gradient."""
    # hole: choose dh, x and W; compare dx and dW with differences
    rng = np.random.default_rng(0)
    x, W, dh = 0.5 * rng.normal(size=(6, 4)), rng.normal(size=(4, 3)), rng.normal(size=(6, 3))
    q, f = anchored(sign, identity, W), anchored(sign, clip, x @ sign(W))
    dx, dW = backward(dh, x, W)
    expected = differences(lambda v: np.sum(dh * f(v @ q(W))), x)
    np.testing.assert_allclose(dx, expected, rtol=1e-5, atol=1e-8)
    expected = differences(lambda v: np.sum(dh * f(x @ q(v))), W)
    np.testing.assert_allclose(dW, expected, rtol=1e-5, atol=1e-8)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import CatchesMutants, mistake, mutant

HINTS = [
    "Draw x, W and dh at random, about 0.5 * rng.normal(size=(6, 4)) for x, so that about half of "
    "the scores are inside of the clip. Take sizes that are all different.",
    "The anchored functions: q = anchored(sign, identity, W) and f = anchored(sign, clip, "
    "x @ sign(W)). The layer is then f(x @ q(W)).",
    "For dW: differences(lambda v: np.sum(dh * f(x @ q(v))), W). For dx, put v in the place of x.",
    "np.testing.assert_allclose(dW, expected, rtol=1e-5, atol=1e-8) allows for differences, which "
    "are not exact, and for gradients of 0.",
]


def right_backward(dh, x, W):
    """What has to pass."""
    dz = dh * (np.abs(x @ sign(W)) <= 1)
    return dz @ sign(W).T, x.T @ dz


CHECKS = [CatchesMutants(check_backward, right_backward, "your test, tested", points=8)]


def _off(array):
    """The array with the last element that is not 0 made 1 % too large."""
    wrong = np.array(array, dtype=float)
    wrong.flat[np.flatnonzero(wrong)[-1:]] *= 1.01
    return wrong


@mutant(check_backward, "dx goes back through the real weights")
def real_weights(dh, x, W):
    dz = dh * (np.abs(x @ sign(W)) <= 1)
    return dz @ W.T, x.T @ dz


@mutant(check_backward, "the mask is missing")
def without_mask(dh, x, W):
    return dh @ sign(W).T, x.T @ dh


@mutant(check_backward, "both gradients take every dh to be the mean of all")
def mean_of_dh(dh, x, W):
    return right_backward(np.full(dh.shape, dh.mean()), x, W)


@mutant(check_backward, "the mask is of the product with the real weights")
def mask_of_real(dh, x, W):
    dz = dh * (np.abs(x @ W) <= 1)
    return dz @ sign(W).T, x.T @ dz


@mutant(check_backward, "weights beyond 1 get no gradient")
def masked_weights(dh, x, W):
    dx, dW = right_backward(dh, x, W)
    return dx, dW * (np.abs(W) <= 1)


@mutant(check_backward, "dW is divided by the batch size")
def mean(dh, x, W):
    dx, dW = right_backward(dh, x, W)
    return dx, dW / len(x)


@mutant(check_backward, "one of the last elements of dx is 1 % too large")
def last_of_dx(dh, x, W):
    dx, dW = right_backward(dh, x, W)
    return _off(dx), dW


@mutant(check_backward, "one of the last elements of dW is 1 % too large")
def last_of_weights(dh, x, W):
    dx, dW = right_backward(dh, x, W)
    return dx, _off(dW)


def _compare(backward, dh, x, W, of=("dx", "dW"), rtol=1e-5):
    """The reference's comparison, of these gradients, with these arrays."""
    pairs = zip(("dx", "dW"), backward(dh, x, W), right_backward(dh, x, W), strict=True)
    for name, got, wanted in pairs:
        if name in of:
            np.testing.assert_allclose(got, wanted, rtol=rtol, atol=1e-8)


_rng = np.random.default_rng(54)
_X, _W, _DH = 0.5 * _rng.normal(size=(6, 4)), _rng.normal(size=(4, 3)), _rng.normal(size=(6, 3))


@mistake(check_backward, "a test that passes for all of them")
def nothing(backward):
    """A test has to fail for something: compare both gradients with differences, and assert that
    they agree. A True or False that is returned or printed counts for nothing."""
    backward(_DH, _X, _W)


@mistake(check_backward, "a test that fails for all of them")
def of_other_functions(backward):
    """It refuses the right backward, too. If the error is about numbers, look at what you take
    differences of. Those of the signs themselves are all zero, and surrogates without anchors
    multiply with W, not with sign(W). Anchor both signs."""
    dx, dW = backward(_DH, _X, _W)
    np.testing.assert_allclose(dx, np.zeros(dx.shape), atol=1e-8)
    np.testing.assert_allclose(dW, np.zeros(dW.shape), atol=1e-8)


@mistake(check_backward, "a test of dx alone")
def dx_alone(backward):
    """dx is checked well. dW is what the layer learns by: compare it, too."""
    _compare(backward, _DH, _X, _W, of=("dx",))


@mistake(check_backward, "a test of dW alone")
def weights_alone(backward):
    """dW is checked well. dx is what the layer before learns by: compare it, too."""
    _compare(backward, _DH, _X, _W, of=("dW",))


@mistake(check_backward, "a test with small scores only")
def small_scores(backward):
    """All scores are inside of the clip, so a missing mask does not show. Take larger x."""
    _compare(backward, _DH, 0.05 * _X, _W)


@mistake(check_backward, "a test that overlooks an element, or a small error")
def loose(backward):
    """Errors of 1 % in one of the last elements pass it. Compare all elements of both gradients,
    and allow a relative error of about 1e-5."""
    _compare(backward, _DH, _X, _W, rtol=0.1)


@mistake(check_backward, "a test with weights of +1 and -1")
def signs_as_weights(backward):
    """If W is its own sign, nobody can tell which of the two was used. Draw W from a normal
    distribution."""
    _compare(backward, _DH, _X, sign(_W))


@mistake(check_backward, "a test with a single sample")
def one_sample(backward):
    """For one sample a sum over the batch and a mean over it are the same. Take a batch of
    several samples."""
    _compare(backward, _DH[2:3], _X[2:3], _W)
