"""A test that catches wrong gradients

You have written a backward pass. Now write the test that others have to pass
with theirs. It is given a function

    dx, dW, db = backward(dz, x, W)

for the layer z = x W.T + b of exercise 2.2, whose W is (out, in), and raises
an AssertionError if any of the three gradients is wrong: with a relative error
above 1e-5, say. What it returns or prints does not count. (Any other error
that a wrong backward causes counts as well, such as NumPy's ValueError if
shapes do not fit.) You are given `differences`, which needs no backward. To
compare, take your worst_error of the exercise before, or a function of
np.testing.

The check runs your test with a right implementation, which has to pass, and
with wrong ones, each of which has to fail. You do not see these beforehand.
Think of what people get wrong, and choose x, W and dz so that it shows.

The number whose gradient you need is L = sum of dz * z, with dz fixed: its
gradient by z is dz.
"""

import numpy as np


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
    """Raise an AssertionError if backward(dz, x, W) gives a wrong gradient."""
    # hole: choose dz, x, W and b; compare dx, dW and db with differences
    rng = np.random.default_rng(0)
    x, W, b = rng.normal(size=(4, 3)), rng.normal(size=(2, 3)), rng.normal(size=2)
    dz = rng.normal(size=(4, 2))
    dx, dW, db = backward(dz, x, W)
    np.testing.assert_allclose(dx, differences(lambda v: np.sum(dz * (v @ W.T + b)), x), rtol=1e-5)
    np.testing.assert_allclose(dW, differences(lambda v: np.sum(dz * (x @ v.T + b)), W), rtol=1e-5)
    np.testing.assert_allclose(db, differences(lambda v: np.sum(dz * (x @ W.T + v)), b), rtol=1e-5)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import CatchesMutants, mistake, mutant

HINTS = [
    "Draw x, W, b and dz at random (np.random.default_rng(0).normal(size=...)): ones and zeros "
    "hide mistakes. Take more than one sample and more than one neuron, and sizes that all differ.",
    "For dW: differences(lambda v: np.sum(dz * (x @ v.T + b)), W) is what it should be. For dx and "
    "db put v in the place of x and of b.",
    "np.testing.assert_allclose(dW, expected, rtol=1e-5) compares the shapes and all elements, and "
    "raises an AssertionError. Differences are not exact, so == would refuse the right one.",
]


def right_backward(dz, x, W):
    """What has to pass."""
    return dz @ W, dz.T @ x, dz.sum(axis=0)


def _off(array):
    """The array with its last element 1 % too large."""
    wrong = np.array(array, dtype=float)
    wrong.flat[-1] *= 1.01
    return wrong


CHECKS = [CatchesMutants(check_backward, right_backward, "your test, tested", points=10)]


@mutant(check_backward, "dW is divided by the batch size")
def mean_weights(dz, x, W):
    return dz @ W, dz.T @ x / len(x), dz.sum(axis=0)


@mutant(check_backward, "db is the mean over the batch, not the sum")
def mean_bias(dz, x, W):
    return dz @ W, dz.T @ x, dz.mean(axis=0)


@mutant(check_backward, "dx ignores the signs of the weights")
def without_signs(dz, x, W):
    return dz @ np.abs(W), dz.T @ x, dz.sum(axis=0)


@mutant(check_backward, "dx goes back through W.T, reshaped to the shape of W")
def turned(dz, x, W):
    return dz @ W.T.reshape(W.shape), dz.T @ x, dz.sum(axis=0)


@mutant(check_backward, "dW and db take every dz to be the mean of all")
def mean_of_dz(dz, x, W):
    mean = np.full(dz.shape, dz.mean())
    return dz @ W, mean.T @ x, mean.sum(axis=0)


@mutant(check_backward, "dW takes every x to be the mean of all")
def mean_of_x(dz, x, W):
    return dz @ W, dz.T @ np.full(x.shape, x.mean()), dz.sum(axis=0)


@mutant(check_backward, "dW has the shape (in, out)")
def transposed(dz, x, W):
    return dz @ W, x.T @ dz, dz.sum(axis=0)


@mutant(check_backward, "the last element of dx is 1 % too large")
def last_of_dx(dz, x, W):
    return _off(dz @ W), dz.T @ x, dz.sum(axis=0)


@mutant(check_backward, "the last element of dW is 1 % too large")
def last_of_weights(dz, x, W):
    return dz @ W, _off(dz.T @ x), dz.sum(axis=0)


@mutant(check_backward, "the last element of db is 1 % too large")
def last_of_bias(dz, x, W):
    return dz @ W, dz.T @ x, _off(dz.sum(axis=0))


def _compare(backward, dz, x, W, of=("dx", "dW", "db"), rtol=1e-5):
    """The reference's comparison, of these gradients, with these arrays."""
    expected = right_backward(dz, x, W)
    for name, got, wanted in zip(("dx", "dW", "db"), backward(dz, x, W), expected, strict=True):
        if name in of:
            np.testing.assert_allclose(got, wanted, rtol=rtol)


_rng = np.random.default_rng(24)
_X, _W, _DZ = _rng.normal(size=(4, 3)), _rng.normal(size=(2, 3)), _rng.normal(size=(4, 2))


@mistake(check_backward, "a test that passes for all of them")
def nothing(backward):
    """A test has to fail for something: compare each of the three gradients with differences, and
    assert that they agree. A True or False that is returned or printed counts for nothing."""
    backward(_DZ, _X, _W)


@mistake(check_backward, "a test that only a wrong shape fails")
def shapes(backward):
    """Most wrong gradients have the right shapes. Compare the numbers with those by differences. If
    you do: np.allclose only says True or False, and `assert` makes a test of it."""
    for got, wanted in zip(backward(_DZ, _X, _W), (_X, _W, _DZ[0]), strict=True):
        assert got.shape == wanted.shape


@mistake(check_backward, "a test with dz of ones")
def ones(backward):
    """If all of dz is one number, whatever mixes up the elements of dz, or leaves dz out, still
    gives the right numbers. Draw dz at random."""
    _compare(backward, np.ones((4, 2)), _X, _W)


@mistake(check_backward, "a test with a single sample")
def one_sample(backward):
    """For one sample a sum over the batch and a mean over it are the same. Take a batch of
    several samples."""
    _compare(backward, _DZ[:1], _X[:1], _W)


@mistake(check_backward, "a test of dx alone")
def dx_alone(backward):
    """dx is checked well. dW and db are what the layer learns by: compare them, too."""
    _compare(backward, _DZ, _X, _W, of=("dx",))


@mistake(check_backward, "a test without dx")
def without_dx(backward):
    """dW and db are checked well, dx is not compared at all."""
    _compare(backward, _DZ, _X, _W, of=("dW", "db"))


@mistake(check_backward, "a test without db")
def without_db(backward):
    """dx and dW are checked well, db is not compared at all."""
    _compare(backward, _DZ, _X, _W, of=("dx", "dW"))


@mistake(check_backward, "a test with positive weights only")
def positive_weights(backward):
    """Whatever loses the signs of the weights gives the right numbers if all weights are positive.
    Draw them from a distribution that has both signs, such as rng.normal."""
    _compare(backward, _DZ, _X, np.abs(_W))


@mistake(check_backward, "a test that is blind to a transpose of W")
def symmetric(backward):
    """If W is its own transpose, or has a single row or column, a forgotten transpose does not
    show. Take sizes that are all different, and larger than 1."""
    W = np.array([[1.5, -0.3, 0.7], [-0.3, -0.9, 0.4], [0.7, 0.4, 0.6]])
    _compare(backward, np.hstack([_DZ, _X[:, :1]]), _X, W)


@mistake(check_backward, "a test that overlooks an element, or a small error")
def loose(backward):
    """Errors of 1 % in the last element pass it. Compare all elements of all samples and neurons,
    and allow a relative error of about 1e-5."""
    _compare(backward, _DZ, _X, _W, rtol=0.1)


@mistake(check_backward, "a test that refuses all of them, the right one as well")
def exact(backward):
    """Look at its error below. Does it compare with ==, or allow too little? Differences are only
    nearly right: allow a relative error of about 1e-5. If the two are far apart, are they the
    differences of L = sum of dz * z, and by the array that the gradient belongs to?"""
    dW = differences(lambda v: np.sum(_DZ * (_X @ v.T)), _W)
    assert (backward(_DZ, _X, _W)[1] == dW).all()
