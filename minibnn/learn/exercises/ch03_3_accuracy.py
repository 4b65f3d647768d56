"""Accuracy, over a data set in batches

The network's answer is the class with the largest logit. The accuracy is the
share of the samples whose answer is right, between 0 and 1.

A large data set goes through the network in batches, and the last of them is
often smaller. The accuracy is still the share of all samples: each sample
counts as much as any other.

logits are (batch, classes), labels are integers (batch,).
"""

import numpy as np


def accuracy(logits, labels):
    """The share of right answers in one batch."""
    return (logits.argmax(axis=1) == labels).mean()  # hole: a number between 0 and 1


def accuracy_of_batches(batches):
    """The share of right answers in a list of batches, of pairs (logits, labels)."""
    # hole: a number between 0 and 1; batches may have different sizes
    right = count = 0
    for logits, labels in batches:
        right += (logits.argmax(axis=1) == labels).sum()
        count += len(labels)
    return right / count
    # end of hole


# ---- the learner's file ends here ------------------------------------------------------------

from minibnn.learn.author import Agrees, mistake

HINTS = [
    "logits.argmax(axis=1) is the place of the largest number in each row: the answers, (batch,).",
    "answers == labels is an array of True and False. Its mean is the share of True, its sum their "
    "number.",
    "For the batches keep two counters: of right answers, and of samples. Divide once, at the end.",
]

_BATCH = (
    np.array([[0.1, 2.0, 0.3], [1.5, 0.2, 0.1], [0.0, 0.3, 0.9], [2.0, 1.0, 3.0]]),
    np.array([1, 0, 1, 2]),
)
_LAST = (np.array([[0.2, 0.1, 0.0]]), np.array([2]))
_PAIR = (np.array([[0.0, 1.0, 0.5], [3.0, 1.0, 2.0], [0.0, 1.0, 0.5]]), np.array([1, 2, 0]))

CHECKS = [
    Agrees(accuracy, [_BATCH, _PAIR], "one batch"),
    Agrees(accuracy_of_batches, [[_BATCH, _LAST], [_PAIR, _BATCH]], "batches of several sizes",
           points=2),
]  # fmt: skip


@mistake(accuracy, "the number of right answers, not their share")
def number(logits, labels):
    """Divide by the number of samples; or take the mean of answers == labels."""
    return (logits.argmax(axis=1) == labels).sum()


@mistake(accuracy, "the largest logit of each column")
def columns(logits, labels):
    """argmax(axis=0) gives an answer for each class, so there are as many as classes. You want one
    for each sample: along the row, axis 1."""
    return (logits.argmax(axis=0) == labels).mean()


@mistake(accuracy, "the error rate")
def error_rate(logits, labels):
    """This is the share of wrong answers. Accuracy counts the right ones."""
    return (logits.argmax(axis=1) != labels).mean()


@mistake(accuracy, "the accuracy in percent")
def percent(logits, labels):
    """It is right but for the unit: a share lies between 0 and 1."""
    return 100 * (logits.argmax(axis=1) == labels).mean()


@mistake(accuracy_of_batches, "the mean of the batches' accuracies")
def mean_of_means(batches):
    """A sample in a small batch then counts more than one in a large batch: here a last batch of
    one sample counts as much as one of four. Count right answers and samples, and divide once."""
    return np.mean([accuracy(*batch) for batch in batches])


@mistake(accuracy_of_batches, "the accuracy of the last batch")
def last_only(batches):
    """Each batch overwrites what the batches before gave. Add up over all of them."""
    return accuracy(*batches[-1])


@mistake(accuracy_of_batches, "the number of right answers divided by that of batches")
def by_batches(batches):
    """You counted the right answers of all batches; the share is that of all samples. Count them,
    too: count += len(labels)."""
    return sum(number(*batch) for batch in batches) / len(batches)
