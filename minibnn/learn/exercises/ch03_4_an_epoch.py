"""An epoch of mini-batches

An epoch shows each training sample to the network once, in a random order,
in mini-batches: after each of them the parameters make a step. The last
batch may be smaller than the others; it is not left out.

Here the network is a single dense layer with softmax. `order` is a random
order of the samples, such as [2, 0, 3, 1]: the first batch has the first
batch_size samples of this order, and so on.

For each batch: the logits z = x W + b, their gradient dz by
cross_entropy_gradient, then dW and db, then a step of gradient descent.
Return the new W and b, and leave the old ones as they are (unlike the
chapter's `step`, which works in place).

Return a third value: the mean loss of all samples in this epoch, each taken
when its batch came, before the step. It costs little, because the logits are
there anyway, and programs that train show it as they go. cross_entropy gives
the mean of a batch. Mind the last batch: each sample counts the same.

x (samples, in), labels (samples,), W (in, classes), b (classes,)
"""

import numpy as np


def cross_entropy_gradient(z, labels):
    """dz, the gradient of the mean loss of a batch by its logits."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    dz = e / e.sum(axis=1, keepdims=True)
    dz[np.arange(len(z)), labels] -= 1
    return dz / len(z)


def cross_entropy(z, labels):
    """The mean loss of a batch, a number."""
    z = z - z.max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean()


def epoch(W, b, x, labels, order, batch_size, learning_rate):
    """W and b after one pass over all samples in this order, and the mean loss."""
    # hole: go through the batches; add up what the mean loss needs
    loss = 0.0
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        z = x[chosen] @ W + b
        loss += cross_entropy(z, labels[chosen]) * len(chosen) / len(order)
        dz = cross_entropy_gradient(z, labels[chosen])
        W = W - learning_rate * x[chosen].T @ dz
        b = b - learning_rate * dz.sum(axis=0)
    # end of hole
    return W, b, loss


# ---- the learner's file ends here ------------------------------------------------------------

from functools import cache

from minibnn.learn.author import Agrees, Probe, mistake

SECONDS = 20
HINTS = [
    "`for start in range(0, len(order), batch_size):` begins a batch at each start, and "
    "chosen = order[start : start + batch_size] has the numbers of its samples. Python cuts the "
    "last slice short by itself.",
    "x[chosen] and labels[chosen] are the batch. Both have to be chosen with the same numbers, or "
    "the labels belong to other samples.",
    "dW = x[chosen].T @ dz and db = dz.sum(axis=0), without a further division: dz is the gradient "
    "of a mean already. The step is W = W - learning_rate * dW.",
    "cross_entropy(z, labels[chosen]) * len(chosen) is the sum of the batch's losses. Add these up "
    "and divide by len(order) at the end.",
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
    W, b, _ = epoch(np.zeros((784, 10)), np.zeros(10), x, labels, order, 64, 0.5)
    z = test @ W + b
    right = (z.argmax(axis=1) == test_labels).mean()
    loss = cross_entropy(z, test_labels)  # tells apart what reads nothing
    return {"accuracy on digits that it has not seen": right, "the loss on these digits": loss}


NAMES = "W b loss"
CHECKS = [
    Agrees(epoch, CASES, "W after an epoch", points=2, returns=NAMES, part="W"),
    Agrees(epoch, CASES, "b after an epoch", returns=NAMES, part="b"),
    Agrees(epoch, CASES, "the mean loss", points=2, returns=NAMES, part="loss"),
    Probe(epoch, on_digits, "it learns to read digits", points=1),
]


def _other(batches, step=1.0, total=False, mean=np.average, after=False, bias=np.sum):
    """An epoch with another choice of batches, another step, or another mean of the losses."""

    def epoch(W, b, x, labels, order, batch_size, learning_rate):
        W0, b0, losses, sizes = W, b, [], []
        for chosen in batches(order, batch_size):
            at = (W0, b0) if total else (W, b)
            z = x[chosen] @ at[0] + at[1]
            dz = step * cross_entropy_gradient(z, labels[chosen])
            W = W - learning_rate * x[chosen].T @ dz
            b = b - learning_rate * bias(dz, axis=0)
            losses.append(cross_entropy(x[chosen] @ W + b if after else z, labels[chosen]))
            sizes.append(len(chosen))
        return W, b, mean(losses, weights=sizes)

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
    mixed = np.empty_like(labels)
    mixed[order] = labels  # the labels in the order of the data, where x is in the random one
    return epoch(W, b, x, mixed, order, batch_size, learning_rate)


@mistake(epoch, "an epoch of the first batch, again and again")
def first_batch(*given):
    """Every batch begins at the same place: the network sees a few samples many times, and the
    others never. The slice has to begin at `start`."""
    return _other(lambda order, size: [order[:size]] * -(-len(order) // size))(*given)


@mistake(epoch, "an epoch whose logits all come from the first W and b")
def from_the_first(*given):
    """The logits of each batch, for its loss and its gradient, have to come from the parameters as
    they are by then, after the steps before. Use the new W and b in z."""
    return _other(_cut, total=True)(*given)


@mistake(epoch, "an epoch uphill")
def uphill(*given):
    """The steps go the way of the gradient, so the loss grows. Subtract."""
    return _other(_cut, step=-1.0)(*given)


@mistake(epoch, "an epoch in which dW is divided by the batch size again")
def divided_twice(W, b, x, labels, order, batch_size, learning_rate):
    """dz is the gradient of a mean: it has been divided by the number of samples already. Divided
    once more, the steps become much too small."""
    total = 0.0
    for chosen in _cut(order, batch_size):
        z = x[chosen] @ W + b
        total += cross_entropy(z, labels[chosen]) * len(chosen)
        dz = cross_entropy_gradient(z, labels[chosen])
        W = W - learning_rate * x[chosen].T @ dz / len(chosen)
        b = b - learning_rate * dz.mean(axis=0)
    return W, b, total / len(order)


@mistake(epoch, "an epoch in which db is a mean over the batch")
def mean_bias(*given):
    """dz is the gradient of a mean already, so db adds up its rows: dz.sum(axis=0). W goes wrong
    with b, since each batch meets the b that the one before has left."""
    return _other(_cut, bias=np.mean)(*given)


@mistake(epoch, "an epoch whose loss takes the last batch for a full one")
def all_full(*given):
    """The last batch may be smaller. The sum of its losses is their mean times len(chosen), not
    times batch_size."""
    other = _other(_cut, mean=lambda losses, weights: weights[0] * sum(losses) / sum(weights))
    return other(*given)


@mistake(epoch, "an epoch whose loss is the mean of the batches' losses")
def mean_of_means(*given):
    """A sample in the small last batch then counts more than the others. Add up the losses of the
    samples, and divide once, by their number."""
    return _other(_cut, mean=lambda losses, weights: np.mean(losses))(*given)


@mistake(epoch, "an epoch whose loss is that of the last batch")
def last_loss(*given):
    """Each batch overwrites what the batches before gave. Add up over all of them."""
    return _other(_cut, mean=lambda losses, weights: losses[-1])(*given)


@mistake(epoch, "an epoch whose loss is taken after the steps")
def loss_after(*given):
    """Each batch has been measured after the network learnt from it, so the loss looks smaller than
    it was. Take it from the logits that you have before the step."""
    return _other(_cut, after=True)(*given)
