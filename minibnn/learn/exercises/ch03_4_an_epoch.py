"""An epoch of mini-batches

An epoch shows each training sample to the network once, in a random order,
in mini-batches: after each of them the parameters make a step. The last
batch may be smaller than the others; it is not left out.

Here the network is a single dense layer with softmax. `order` is a random
order of the samples, such as [2, 0, 3, 1]: the first batch has the first
batch_size samples of this order, and so on.

For each batch: the logits z = x W + b, their gradient dz by
cross_entropy_gradient, then dW and db, then a step of gradient descent.
Return the new W and b, and leave the old ones as they are.

x (samples, in), labels (samples,), W (in, classes), b (classes,)
"""

import numpy as np


def cross_entropy_gradient(z, labels):
    """dz, the gradient of the mean loss of a batch by its logits."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    dz = e / e.sum(axis=1, keepdims=True)
    dz[np.arange(len(z)), labels] -= 1
    return dz / len(z)


def epoch(W, b, x, labels, order, batch_size, learning_rate):
    """W and b after one pass over all samples in this order."""
    for start in range(0, len(order), batch_size):
        # hole: the batch's samples, their gradients, and a step of W and b
        chosen = order[start : start + batch_size]
        z = x[chosen] @ W + b
        dz = cross_entropy_gradient(z, labels[chosen])
        W = W - learning_rate * x[chosen].T @ dz
        b = b - learning_rate * dz.sum(axis=0)
        # end of hole
    return W, b


# ---- the learner's file ends here ------------------------------------------------------------

from functools import cache

from minibnn.learn.author import Agrees, Probe, mistake

SECONDS = 20
HINTS = [
    "chosen = order[start : start + batch_size] has the numbers of the batch's samples. Python "
    "cuts the last slice short by itself.",
    "x[chosen] and labels[chosen] are the batch. Both have to be chosen with the same numbers, or "
    "the labels belong to other samples.",
    "dW = x[chosen].T @ dz and db = dz.sum(axis=0), without a further division: dz is the gradient "
    "of a mean already. The step is W = W - learning_rate * dW.",
]

_rng = np.random.default_rng(34)
_X, _LABELS = _rng.normal(size=(7, 3)).round(2), np.array([0, 1, 1, 0, 1, 0, 0])
_W, _B = _rng.normal(size=(3, 2)).round(2), np.array([0.1, -0.2])
CASES = [
    (_W, _B, _X, _LABELS, np.array([3, 0, 6, 2, 5, 1, 4]), 3, 0.5),
    (_W, _B, _X[:4], _LABELS[:4], np.array([1, 3, 0, 2]), 2, 0.1),
]


@cache
def digits():
    """Some of the digits that come with minibnn."""
    from minibnn import load_sample

    data = load_sample()
    x = data.train_images[:1000].reshape(1000, 784) / 255
    test = data.test_images.reshape(-1, 784) / 255
    return x, data.train_labels[:1000], test, data.test_labels


def on_digits(epoch):
    """An epoch on digits, and how many others it then reads."""
    x, labels, test, test_labels = digits()
    order = np.random.default_rng(0).permutation(len(x))
    W, b = epoch(np.zeros((784, 10)), np.zeros(10), x, labels, order, 64, 0.5)
    right = ((test @ W + b).argmax(axis=1) == test_labels).mean()
    return {"accuracy on digits that it has not seen": right}


CHECKS = [
    Agrees(epoch, CASES, "W after an epoch", points=2, returns="W b", part="W"),
    Agrees(epoch, CASES, "b after an epoch", returns="W b", part="b"),
    Probe(epoch, on_digits, "it learns to read digits", points=1),
]


def _other(batches, labelled=None, step=1.0, total=False):
    """An epoch with another choice of batches, of labels, or another step."""

    def epoch(W, b, x, labels, order, batch_size, learning_rate):
        W0, b0 = W, b
        for chosen in batches(order, batch_size):
            at = (W0, b0) if total else (W, b)
            z = x[chosen] @ at[0] + at[1]
            there = chosen if labelled is None else labelled(len(chosen), chosen)
            dz = step * cross_entropy_gradient(z, labels[there])
            W = W - learning_rate * x[chosen].T @ dz
            b = b - learning_rate * dz.sum(axis=0)
        return W, b

    return epoch


def _cut(order, size):
    return [order[i : i + size] for i in range(0, len(order), size)]


@mistake(epoch, "an epoch that leaves out the last, smaller batch")
def leaves_out(*given):
    """The samples that are left over at the end belong to the epoch, too. A slice that goes beyond
    the end of the order is cut short by Python."""
    return _other(lambda order, size: [c for c in _cut(order, size) if len(c) == size])(*given)


@mistake(epoch, "an epoch in the order of the data")
def not_shuffled(*given):
    """It takes the samples as they stand in x. If they are sorted, by class for instance, each
    batch undoes what the one before has learnt. Choose by `order`."""
    return _other(lambda order, size: _cut(np.arange(len(order)), size))(*given)


@mistake(epoch, "an epoch with the labels of other samples")
def labels_in_old_order(W, b, x, labels, order, batch_size, learning_rate):
    """x is taken in the random order, labels are not: the network learns to name digits wrongly.
    Choose both with the same numbers."""
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        dz = cross_entropy_gradient(x[chosen] @ W + b, labels[start : start + batch_size])
        W = W - learning_rate * x[chosen].T @ dz
        b = b - learning_rate * dz.sum(axis=0)
    return W, b


@mistake(epoch, "an epoch of the first batch, again and again")
def first_batch(*given):
    """Every batch begins at the same place: the network sees a few samples many times, and the
    others never. The slice has to begin at `start`."""
    return _other(lambda order, size: [order[:size]] * -(-len(order) // size))(*given)


@mistake(epoch, "an epoch with one step, on all samples")
def one_step(W, b, x, labels, order, batch_size, learning_rate):
    """All samples at once give one good step. Mini-batches give many steps that are nearly as good
    each, in the same time."""
    dz = cross_entropy_gradient(x @ W + b, labels)
    return W - learning_rate * x.T @ dz, b - learning_rate * dz.sum(axis=0)


@mistake(epoch, "an epoch whose gradients all come from the first W and b")
def from_the_first(*given):
    """The gradient of each batch has to be taken where the parameters are by then, after the steps
    before. Use the new W and b in z."""
    return _other(_cut, total=True)(*given)


@mistake(epoch, "an epoch uphill")
def uphill(*given):
    """The steps go the way of the gradient, so the loss grows. Subtract."""
    return _other(_cut, step=-1.0)(*given)


@mistake(epoch, "an epoch in which dW is divided by the batch size again")
def divided_twice(W, b, x, labels, order, batch_size, learning_rate):
    """dz is the gradient of a mean: it has been divided by the number of samples already. Divided
    once more, the steps become much too small."""
    for chosen in _cut(order, batch_size):
        dz = cross_entropy_gradient(x[chosen] @ W + b, labels[chosen])
        W = W - learning_rate * x[chosen].T @ dz / len(chosen)
        b = b - learning_rate * dz.mean(axis=0)
    return W, b
