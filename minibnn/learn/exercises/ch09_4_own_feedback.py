"""A feedback of your own for the library

In minibnn a layer with feedback computes dx = dz B.T, and asks an object for
B. The class of such an object is derived from Feedback, and has one method:

    backward_weights(W)     returns B, of the shape of W

Write two of them.

SignFeedback: B has the signs of W (with sign(0) = +1), times the mean size of
the elements of W. So the errors keep about the size that they would have.

PartFeedback(p): B is W where the size of an element is at least p, and 0
elsewhere: small weights send nothing back. Do not change W.
"""

import numpy as np

from minibnn import Feedback


class SignFeedback(Feedback):
    """Only the signs of the weights go back."""

    def backward_weights(self, W):
        """B, of the shape of W."""
        return np.where(W >= 0, 1.0, -1.0) * np.abs(W).mean()  # hole: signs times mean size


class PartFeedback(Feedback):
    """Only the large weights go back."""

    def __init__(self, p):
        self.p = p

    def backward_weights(self, W):
        """B, of the shape of W."""
        return np.where(np.abs(W) >= self.p, W, 0.0)  # hole: W or 0


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn import Dense
from minibnn.learn.author import Probe, mistake

HINTS = [
    "np.where(W >= 0, 1.0, -1.0) are the signs. np.abs(W).mean() is one number.",
    "np.where(np.abs(W) >= self.p, W, 0.0): a new array, and W stays as it is.",
]

_W = np.array([[0.5, -0.2, 0.0], [-1.5, 0.3, 0.1]])
_X = np.array([[1.0, -2.0], [0.5, 0.25], [3.0, 1.0]])
_DZ = np.array([[0.3, -1.0, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.9]])


def _in_a_layer(feedback):
    """B, and what a layer with this feedback sends back."""
    W = _W.copy()
    B = feedback.backward_weights(W)
    if np.shape(B) != W.shape:
        return {"B": B}
    layer = Dense(2, 3, bias=False, feedback=feedback).initialize(0, np.float64)
    layer.weight.data[...] = _W
    z = layer.forward(_X, train=True)
    dx = layer.backward(_DZ)
    return {"B": B, "W afterwards": W, "z": z, "dx": dx, "dW": layer.weight.grad}


def _two(kind):
    return {
        f"{name}, for p = {p}": value
        for p in (0.2, 1.0)
        for name, value in _in_a_layer(kind(p)).items()
    }


CHECKS = [
    Probe(SignFeedback, lambda kind: _in_a_layer(kind()), "the signs, in a layer", points=2),
    Probe(PartFeedback, _two, "the large weights, in a layer", points=2),
]


@mistake(SignFeedback, "a feedback of bare signs")
class BareSigns(Feedback):
    """The signs are right, but errors become much larger than W would make them. Multiply by the
    mean size of W."""

    def backward_weights(self, W):
        return np.where(W >= 0, 1.0, -1.0)


@mistake(SignFeedback, "a feedback with np.sign")
class NumpySign(Feedback):
    """np.sign(0) is 0. Here, as everywhere in this book, sign(0) is +1."""

    def backward_weights(self, W):
        return np.sign(W) * np.abs(W).mean()


@mistake(SignFeedback, "a feedback that is transposed")
class Transposed(Feedback):
    """B has the shape of W. The layer transposes it itself, in dz B.T."""

    def backward_weights(self, W):
        return (np.where(W >= 0, 1.0, -1.0) * np.abs(W).mean()).T


@mistake(SignFeedback, "a feedback with the mean of W, not of its sizes")
class MeanOfW(Feedback):
    """Positive and negative weights nearly cancel in the mean of W. Take the mean of their
    sizes."""

    def backward_weights(self, W):
        return np.where(W >= 0, 1.0, -1.0) * W.mean()


@mistake(PartFeedback, "a feedback that keeps large positive weights only")
class PositiveOnly(Feedback):
    """A weight of -1.5 is large, too. Compare its size, np.abs(W)."""

    def __init__(self, p):
        self.p = p

    def backward_weights(self, W):
        return np.where(self.p <= W, W, 0.0)


@mistake(PartFeedback, "a feedback that keeps the small weights")
class SmallOnes(Feedback):
    """It is upside down: the large ones go back."""

    def __init__(self, p):
        self.p = p

    def backward_weights(self, W):
        return np.where(np.abs(W) < self.p, W, 0.0)


@mistake(PartFeedback, "a feedback that changes the weights of the layer")
class InPlace(Feedback):
    """W[...] = 0 changes the layer itself, whose forward pass then computes something else. Make
    a new array."""

    def __init__(self, p):
        self.p = p

    def backward_weights(self, W):
        W[np.abs(W) < self.p] = 0.0
        return W
