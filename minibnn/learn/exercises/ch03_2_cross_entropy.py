"""Cross-entropy of uncertain labels

Show a scrawl to ten people. Nine say "a four", one says "a nine". So the truth
about this image is a row t of shares, one for each class, with the sum 1. (The
one-hot row of a plain label is a special case.) The loss of a sample is then
the mean over the people:

    loss of a sample = -sum over j of t_j log(p_j)        with p = softmax(z)

and the loss of a batch is the mean over its samples. Put the softmax in, as
the chapter does for one true class, and write the loss in terms of the logits
z. Here too, subtract the largest logit of the row from all its logits first:
the loss stays the same, and nothing overflows. Do not take the logarithm of
a probability: it may be rounded to 0.

Then derive the gradient of the batch's loss by the logits, dz.

z, t and dz are (batch, classes).
"""

import numpy as np


def softmax(z):
    """The probabilities of each row of z."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def cross_entropy(z, t):
    """The mean loss of a batch, a number."""
    # hole: from z with the largest of each row subtracted
    z = z - z.max(axis=1, keepdims=True)
    losses = np.log(np.exp(z).sum(axis=1)) - (t * z).sum(axis=1)
    return losses.mean()
    # end of hole


def cross_entropy_gradient(z, t):
    """dz, the gradient of the mean loss by the logits."""
    return (softmax(z) - t) / len(z)  # hole: from softmax(z) and t


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, Differences, mistake

HINTS = [
    "log(p_j) is z_j minus the logarithm of the sum of all exponentials in the row. This logarithm "
    "is the same for all j, and the t_j add up to 1. So what is left of the sum over j?",
    "Begin with z = z - z.max(axis=1, keepdims=True). np.exp(z).sum(axis=1) has a sum for each "
    "sample, of shape (batch,), as (t * z).sum(axis=1) has.",
    "The losses of all samples are np.log(np.exp(z).sum(axis=1)) - (t * z).sum(axis=1); return "
    "their mean.",
    "For the gradient: the derivative of the logarithm of the sum by z_j is p_j, and that of the "
    "sum of t z is t_j. The loss is a mean, so divide by the number of samples.",
]

_rng = np.random.default_rng(32)
SMALL = [
    (np.array([[1.0, 2.0, 0.5], [0.0, -1.0, 3.0]]), np.array([[0.1, 0.9, 0.0], [0.5, 0.2, 0.3]])),
    (_rng.normal(size=(4, 3)).round(2), np.array([[0, 0, 1], [0.7, 0, 0.3], [1, 0, 0], [0, 1, 0]])),
]
LARGE = [
    (np.array([[1000.0, 0.0, -1000.0], [3.0, 1.0, 2.0]]), np.array([[0.25, 0.75, 0], [0, 1, 0]])),
    (np.array([[1500.0, 0.0, 1.0]]), np.array([[1.0, 0.0, 0.0]])),
]

CHECKS = [
    Agrees(cross_entropy, SMALL, "the loss of small logits"),
    Agrees(cross_entropy, LARGE, "the loss of large logits"),
    Differences(cross_entropy_gradient, cross_entropy, "z", SMALL, "the gradient", points=2),
]


@mistake(cross_entropy, "the sum of the losses in place of their mean")
def summed(z, t):
    """A sum grows with the batch, so the learning rate would have to shrink with it. Take the
    mean over the samples."""
    return cross_entropy(z, t) * len(z)


@mistake(cross_entropy, "a mean over the classes, too")
def over_everything(z, t):
    """The loss of a sample adds up over its classes; the mean is over the samples alone."""
    return cross_entropy(z, t) / z.shape[1]


@mistake(cross_entropy, "the logarithm of a probability that was rounded to 0")
def by_way_of_p(z, t):
    """For small logits it is right. If a class is far behind, its probability is rounded to 0, and
    the logarithm of 0 is infinite. Use an equation with z in it, not with p."""
    return -(t * np.log(softmax(z))).sum(axis=1).mean()


@mistake(cross_entropy, "the loss without the largest logit subtracted")
def overflows(z, t):
    """exp(1000) is inf. Subtract the largest logit of each row from the row first."""
    return (np.log(np.exp(z).sum(axis=1)) - (t * z).sum(axis=1)).mean()


@mistake(cross_entropy, "the loss with its sign exchanged")
def wrong_sign(z, t):
    """This is the mean logarithm of the probability, which is negative, and which training would
    make smaller still. The logarithm of the sum comes first, minus the sum of t z."""
    return -cross_entropy(z, t)


@mistake(cross_entropy, "the loss of the likeliest class alone")
def likeliest(z, t):
    """It counts the class with the largest share as the only true one. All classes count, each
    by its share."""
    return cross_entropy(z, np.eye(z.shape[1])[t.argmax(axis=1)])


@mistake(cross_entropy_gradient, "the gradient of the sum, not of the mean")
def gradient_of_sum(z, t):
    """It is too large by the batch size. The loss is a mean, so its gradient has the same divisor:
    divide by the number of samples."""
    return cross_entropy_gradient(z, t) * len(z)


@mistake(cross_entropy_gradient, "the gradient with 1 subtracted from every true class")
def ones_subtracted(z, t):
    """That is right for one-hot rows. If a class has only a share of the truth, subtract this
    share."""
    return (softmax(z) - (t > 0)) / len(z)


@mistake(cross_entropy_gradient, "an array of probabilities, without t subtracted")
def without_labels(z, t):
    """All of it is positive, so a step makes all logits smaller, those of the true classes as
    well. Subtract t."""
    return softmax(z) / len(z)


@mistake(cross_entropy_gradient, "the gradient with its sign exchanged")
def gradient_sign(z, t):
    """t - p points downhill. The gradient points uphill: p - t."""
    return -cross_entropy_gradient(z, t)


@mistake(cross_entropy_gradient, "the gradient divided by the number of classes")
def by_classes(z, t):
    """The mean is over the samples, so the divisor is the number of rows, len(z). z.mean or z.size
    would count the classes, too."""
    return cross_entropy_gradient(z, t) * len(z) / z.shape[1]
