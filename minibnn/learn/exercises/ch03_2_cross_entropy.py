"""Cross-entropy and its gradient

The loss of a sample is -log of the probability that softmax gives to its
true class; the loss of a batch is the mean over its samples. In terms of
the logits z:

    loss of a sample = log(exp(z_1) + ... + exp(z_n)) - z_true

Here too, subtract the largest logit of the row from all its logits first:
the loss stays the same, and nothing overflows. Do not take the logarithm of
a probability: it may be rounded to 0.

The gradient by the logits has the same simple form as for one neuron. With
t = 1 for the true class and t = 0 for the others:

    dz = (p - t) / batch

z and dz are (batch, classes). labels are integers (batch,), the true classes.
"""

import numpy as np


def softmax(z):
    """The probabilities of each row of z."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(z, labels):
    """The mean loss of a batch, a number."""
    rows = np.arange(len(z))  # z[rows, labels] are the logits of the true classes
    # hole: from z with the largest of each row subtracted
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - z[rows, labels]
    return losses.mean()
    # end of hole


def cross_entropy_gradient(z, labels):
    """dz, the gradient of the mean loss by the logits."""
    rows = np.arange(len(z))
    # hole: from softmax(z); dz[rows, labels] are the elements of the true classes
    dz = softmax(z)
    dz[rows, labels] -= 1
    return dz / len(z)
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Differences, mistake

HINTS = [
    "Begin with z = z - z.max(axis=1, keepdims=True). np.exp(z).sum(axis=1) has a sum for each "
    "sample, of shape (batch,), as z[rows, labels] has.",
    "The losses of all samples are np.log(np.exp(z).sum(axis=1)) - z[rows, labels]; return their "
    "mean.",
    "For the gradient: dz = softmax(z), then `dz[rows, labels] -= 1` subtracts t, and dz / len(z) "
    "makes it the gradient of a mean.",
]

_rng = np.random.default_rng(32)
SMALL = [
    (np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), np.array([1, 0])),
    (_rng.normal(size=(4, 3)).round(2), np.array([2, 0, 0, 1])),
]
LARGE = [
    (np.array([[1000.0, 0.0, -1000.0], [3.0, 1.0, 2.0]]), np.array([1, 1])),
    (np.array([[1500.0, 0.0, 1.0]]), np.array([0])),
]

CHECKS = [
    Agrees(cross_entropy, SMALL, "the loss of small logits"),
    Agrees(cross_entropy, LARGE, "the loss of large logits"),
    Differences(cross_entropy_gradient, cross_entropy, "z", SMALL, "the gradient", points=2),
]


@mistake(cross_entropy, "the sum of the losses in place of their mean")
def summed(z, labels):
    """A sum grows with the batch, so the learning rate would have to shrink with it. Take the
    mean."""
    return cross_entropy(z, labels) * len(z)


@mistake(cross_entropy, "the logarithm of a probability that was rounded to 0")
def by_way_of_p(z, labels):
    """For small logits it is right. If the true class is far behind, its probability is rounded to
    0, and the loss becomes infinite, where it is 1000. Use the equation with z_true."""
    return -np.log(softmax(z)[np.arange(len(z)), labels]).mean()


@mistake(cross_entropy, "the loss without the largest logit subtracted")
def overflows(z, labels):
    """exp(1000) is inf. Subtract the largest logit of each row from the row first."""
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean()


@mistake(cross_entropy, "the loss with its sign exchanged")
def wrong_sign(z, labels):
    """This is the mean logarithm of the probability, which is negative, and which training would
    make smaller still. The logarithm of the sum comes first, minus z_true."""
    return -cross_entropy(z, labels)


@mistake(cross_entropy, "the loss that compares with all logits")
def all_columns(z, labels):
    """z[:, labels] takes a column for each label, from every row. With z[rows, labels] each row
    gives one number, that of its own label."""
    z = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(axis=1))[:, None] - z[:, labels]).mean()


@mistake(cross_entropy_gradient, "the gradient of the sum, not of the mean")
def gradient_of_sum(z, labels):
    """It is too large by the batch size. The loss is a mean, so its gradient has the same divisor:
    divide by the number of samples."""
    return cross_entropy_gradient(z, labels) * len(z)


@mistake(cross_entropy_gradient, "an array of probabilities, without t subtracted")
def without_labels(z, labels):
    """All of it is positive, so a step makes all logits smaller, that of the true class as well.
    Subtract 1 from the elements of the true classes."""
    return softmax(z) / len(z)


@mistake(cross_entropy_gradient, "the gradient with its sign exchanged")
def gradient_sign(z, labels):
    """t - p points downhill. The gradient points uphill: p - t."""
    return -cross_entropy_gradient(z, labels)


@mistake(cross_entropy_gradient, "the gradient divided by the number of classes")
def by_classes(z, labels):
    """The mean is over the samples, so the divisor is the number of rows, len(z). z.mean or z.size
    would count the classes, too."""
    return cross_entropy_gradient(z, labels) * len(z) / z.shape[1]
