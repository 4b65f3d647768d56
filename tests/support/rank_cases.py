"""Small trainings for several ranks, of everything that a sum over the batch goes through.

As a script it trains them on all ranks, and on some of them; rank 0 writes what they end with:

    mpirun -n 4 python tests/support/rank_cases.py endings.json
"""

from __future__ import annotations

import hashlib
import json
import sys
from functools import partial

import numpy as np
from own_optimizers import WithoutState

from minibnn import (
    F1,
    R2,
    Activation,
    Adam,
    AdaMax,
    AdaSTE,
    BalancedAccuracy,
    BatchNorm,
    BinaryCrossEntropy,
    Bop,
    Buffer,
    Concatenate,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    FixedFeedback,
    Flatten,
    IterableLoader,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    MeanSquaredError,
    OptimizerGroup,
    PReLU,
    Radial,
    RandomShift,
    Residual,
    Sequential,
    ShiftAdaMax,
    ShiftBatchNorm,
    SignSTE,
    StochasticSign,
    Tanh,
    TensorNorm,
    TernaryWeights,
    fit,
    split_parameters,
)
from minibnn.backend import over_whole_batch
from minibnn.distributed import Ranks

SAMPLES = 45  # in batches of 16: the last one has 13


def vectors(samples=SAMPLES, dtype=np.float32):
    """Samples of 8 numbers, in three classes."""
    rng = np.random.default_rng(11)
    x = rng.standard_normal((samples, 8)).astype(dtype)
    return x, (x[:, 0] > 0).astype(np.int64) + (x[:, 1] + x[:, 2] > 0)


def images(samples=SAMPLES, dtype=np.float32):
    """Samples of 6x6 numbers in one channel."""
    rng = np.random.default_rng(12)
    x = rng.standard_normal((samples, 6, 6, 1)).astype(dtype)
    return x, (x[:, 2, 2, 0] > 0).astype(np.int64) + (x[:, 3, 3, 0] > 0)


class Counted(Layer):
    """Divides by a mean square over the whole batch; it keeps that, and how often it ran."""

    def __init__(self):
        self.kept = Buffer("kept")
        self.calls = 0

    def _initialize(self, rng, dtype):
        super()._initialize(rng, dtype)
        self.kept.data = np.ones(1, dtype)

    def forward(self, x, *, train=False):
        if not train:
            return x / np.sqrt(self.kept.data)
        self.calls += 1
        n, squares = over_whole_batch(x.size, (x * x).sum(keepdims=True))
        mean = squares.reshape(1) / n
        self.kept.data[...] = 0.5 * self.kept.data + 0.5 * mean + 1e-3 * self.calls
        self.saved = (x.shape, np.sqrt(mean))
        return x / np.sqrt(mean)

    def backward(self, dy, *, need_dx=True):
        (root,) = self.take_saved(dy)
        return dy / root  # the mean is taken as a constant

    def state(self):
        return {**super().state(), "calls": self.calls}

    def restore(self, state):
        super().restore(state)
        self.calls = state["calls"]


class Changing:
    """Callbacks that change what no state has, after steps and after an epoch."""

    def __init__(self, dropout, loss, model):
        self.dropout, self.loss, self.model = dropout, loss, model

    def on_step(self, epoch, step):
        self.dropout.rate = 0.1 * (step + 1)

    def on_epoch(self, history):
        self.loss.label_smoothing = 0.1
        self.model.layers[0].weight_quantizer = SignSTE(clip=0.5)


def dense(n, m, quantizer=None, **options):
    return Dense(n, m, weight_quantizer=quantizer or SignSTE(), bias=False, **options)


def head(n, m=3):
    return [dense(n, m), BatchNorm(m)]


def hidden(n, m, **options):
    return [dense(n, m, **options), BatchNorm(m), Activation(SignSTE(clip=1.0))]


class Case:
    """A training; made anew, it is the same one."""

    def __init__(self, *layers, data=vectors, batch=16, epochs=2, dtype=np.float32, **options):
        self.model = (layers[0] if len(layers) == 1 else Sequential(*layers)).initialize(3, dtype)
        arrays = data(dtype=dtype)
        self.train = DataLoader(arrays, batch, shuffle=True, rng=5)
        self.loss = LogitCrossEntropy()
        self.epochs = epochs
        self.options = options
        self.optimizer = None

    def fit(self, comm=None, **options):
        if self.optimizer is None:
            self.optimizer = Adam(self.model.parameters(), 0.02)
        options = {"epochs": self.epochs, "progress": False, **self.options, **options}
        self.history = fit(
            self.model, self.train, loss=self.loss, optimizer=self.optimizer, comm=comm, **options
        )
        return self

    def values(self):
        """All numbers that it ends with, in float64."""
        arrays = [a.data for a in (*self.model.parameters(), *self.model.buffers())]
        return [np.float64(a) for a in arrays] + [self.history.to_numpy()]

    def digest(self):
        """Of all bytes of parameters, buffers and history."""
        digest = hashlib.sha256()
        for a in (*self.model.parameters(), *self.model.buffers()):
            digest.update(np.ascontiguousarray(a.data).tobytes())
        digest.update(self.history.to_numpy().tobytes())
        return digest.hexdigest()


def random(**kw):
    """Dropout, stochastic signs of activations and of weights, batch norm."""
    return Case(
        Dropout(0.2),
        dense(8, 12, StochasticSign()),
        BatchNorm(12),
        Activation(StochasticSign(clip=1.0)),
        Dropout(0.3),
        *head(12),
        **kw,
    )


def shifts(**kw):
    """Batch norm by shifts, and its optimiser."""
    case = Case(
        dense(8, 12), ShiftBatchNorm(12), Activation(SignSTE(clip=1.0)), dense(12, 3),
        ShiftBatchNorm(3), **kw,
    )  # fmt: skip
    case.optimizer = ShiftAdaMax(case.model.parameters(), 2**-6)
    return case


def convolution(**kw):
    """Convolutions, pooling, batch norm over positions."""
    return Case(
        Conv2D(1, 4, 3, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(4),
        Activation(SignSTE(clip=1.0)),
        MaxPool2D(2),
        Flatten(),
        *head(16),
        data=images,
        **kw,
    )


def branches(**kw):
    """Branches, and the other activations and layers with sums over the batch."""
    block = Sequential(Activation(SignSTE(clip=1.0)), dense(12, 12), BatchNorm(12))
    return Case(
        Concatenate(Sequential(Dense(8, 6), PReLU(6)), Sequential(Dense(8, 6), Activation(Tanh()))),
        Residual(block),
        TensorNorm(),
        Radial(12, 3),
        **kw,
    )


def feedback(**kw):
    """Matrices for the error that the first forward draws, and fixed ones."""
    return Case(
        DirectFeedback(
            Sequential(*hidden(8, 12)),
            Sequential(*hidden(12, 10, feedback=FixedFeedback())),
            Sequential(*head(10)),
        ),
        **kw,
    )


def weighted(**kw):
    """Weights of samples; the first two of eight parts of each batch weigh nothing."""
    case = Case(*hidden(8, 12), *head(12), **kw)
    x, y = case.train.arrays
    w = np.random.default_rng(6).random(len(x)).astype(x.dtype)
    w[np.arange(len(x)) % 16 < 4] = 0
    case.train = DataLoader((x, y, w), 16)
    return case


def classes(**kw):
    """Weights of classes, one of them 0; sorted samples, so that whole parts weigh nothing."""
    case = Case(*hidden(8, 12), *head(12), class_weight={0: 0.0, 1: 2.0, 2: 0.5}, **kw)
    x, y = case.train.arrays
    order = np.argsort(y, kind="stable")
    mixed = order[:SAMPLES].reshape(3, -1).T.reshape(-1)  # each batch has some of each class
    case.train = DataLoader((x[mixed], y[mixed]), 16)
    return case


def clipped(**kw):
    """Gradients of a norm that is too large, of two optimisers; weights without latent ones."""
    case = Case(*hidden(8, 12), *head(12), clip_norm=0.05, **kw)
    binary, rest = split_parameters(case.model)
    case.optimizer = OptimizerGroup(Bop(binary, threshold=1e-6), AdaMax(rest, 0.02))
    return case


def without_store(**kw):
    """An optimiser of a user's own, without a flat store, of some parameters only."""
    case = Case(*hidden(8, 12), *head(12), **kw)
    case.optimizer = WithoutState(list(case.model.parameters())[1:])
    return case


def iterable(**kw):
    """Batches of other sizes, made as they are needed; the last have fewer samples than ranks."""
    case = Case(*hidden(8, 12), *head(12), **kw)
    x, y = case.train.arrays

    def batches(epoch):
        rng = np.random.default_rng(epoch)
        for size in (9, 16, 3, 2):
            rows = rng.integers(0, len(x), size)
            yield x[rows], y[rows]

    case.train = IterableLoader(batches, 4)
    return case


def augmented(**kw):
    """Images that are moved at random."""
    case = Case(
        Flatten(), *hidden(36, 12), *head(12), data=images, validation=0.2,
        metrics=[F1(), BalancedAccuracy()], **kw,
    )  # fmt: skip
    train = case.train
    case.train = DataLoader(train.arrays, 16, shuffle=True, rng=5, augment=RandomShift(1))
    return case


def few(**kw):
    """Batches smaller than most numbers of ranks, the last one with two samples."""
    return Case(
        Dropout(0.2), *hidden(8, 12), *head(12), data=lambda **k: vectors(11, **k), batch=3, **kw
    )


def changing(**kw):
    """Callbacks that change the model and the loss."""
    case = random(**kw)
    dropout = case.model.layers[0]
    case.options["callbacks"] = [Changing(dropout, case.loss, case.model)]
    return case


def own(**kw):
    """A layer of a user's own with a state, and a statistic over the whole batch."""
    return Case(dense(8, 12), Counted(), Activation(Tanh()), Dense(12, 3), **kw)


def numbers(**kw):
    """Targets that are numbers, and a metric whose sums cannot just be added."""
    case = Case(
        Dense(8, 12, bias=False), BatchNorm(12), Activation(Tanh()), Dense(12, 2), metrics=[R2()],
        evaluate_train=2, **kw,
    )  # fmt: skip
    x, _ = case.train.arrays
    case.train = DataLoader((x, x[:, :2] * 3 + 5), 16, shuffle=True, rng=5)
    case.loss = MeanSquaredError()
    several = [x[first : first + 7] for first in range(0, len(x), 7)]  # evaluated one by one
    case.options["validation"] = IterableLoader([(its, its[:, :2] * 3 + 5) for its in several])
    return case


def labels(**kw):
    """Several labels a sample, ternary weights."""
    case = Case(
        dense(8, 12, TernaryWeights()), BatchNorm(12), Activation(Tanh()), Dense(12, 4), **kw
    )
    x, _ = case.train.arrays
    case.train = DataLoader((x, (x[:, :4] > 0).astype(x.dtype)), 16, shuffle=True, rng=5)
    case.loss = BinaryCrossEntropy()
    return case


def adaptive(**kw):
    """A quantizer whose gradient depends on the sign of dy; weights outside of [-1, 1]."""
    return Case(
        dense(8, 12, AdaSTE(), weight_init=lambda s, r: 1.5 * r.standard_normal(s)), BatchNorm(12),
        Activation(Tanh()), *head(12), **kw,
    )  # fmt: skip


def wide(**kw):
    """Gradients of more than 64 kB, which are exchanged in shares."""
    return Case(*hidden(8, 120), *hidden(120, 160), *head(160), epochs=1, **kw)


CASES = {
    case.__name__: case
    for case in (
        random, shifts, convolution, branches, feedback, weighted, classes, clipped, without_store,
        iterable, augmented, few, changing, own, numbers, labels, adaptive, wide,
    )
}  # fmt: skip


IN_PARTS = ("random", "weighted", "wide")  # with statistics of each part
SOME = ("random", "convolution", "weighted", "without_store", "iterable", "few", "wide")


def endings(ranks, names=CASES, dtype=np.float32):
    """What these cases end with on these ranks: digests, or in sum mode all numbers."""
    options = {"dtype": dtype}
    if ranks.batch_norm == "part":  # a part of one sample would have no variance
        options["data"] = partial(vectors, 32)
    ended = {name: CASES[name](**options).fit(ranks) for name in names}
    if ranks.exact:
        return {name: case.digest() for name, case in ended.items()}
    return {name: [a.tolist() for a in case.values()] for name, case in ended.items()}


def all_endings():
    """On all ranks of mpirun, and on the first ones of them; for rank 0."""
    from mpi4py import MPI

    world, found = MPI.COMM_WORLD, {}
    plans = {
        "exact 4": (4, {}, {}),
        "exact 3": (3, {}, {"names": SOME}),
        "part 3": (3, {"batch_norm": "part"}, {"names": IN_PARTS}),
        "sum 3": (3, {"mode": "sum"}, {"dtype": np.float64}),
    }
    for name, (size, how, what) in plans.items():
        comm = world.Split(0 if world.rank < size else MPI.UNDEFINED, world.rank)
        if comm != MPI.COMM_NULL:
            found[name] = endings(Ranks(**{"mode": "exact", "comm": comm, **how}), **what)
    return found if world.rank == 0 else None


if __name__ == "__main__":
    found = all_endings()
    if found is not None:
        with open(sys.argv[1], "w") as file:
            json.dump(found, file)
