"""Models for files, with optimisers, and steps of training."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    BatchNorm,
    Bop,
    Conv2D,
    Cosine,
    Dense,
    DirectFeedback,
    Dropout,
    Exponential,
    Fill,
    FixedFeedback,
    Flatten,
    Function,
    Layer,
    LogitCrossEntropy,
    OptimizerGroup,
    Parameter,
    PerEpoch,
    Rescale,
    Reshape,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    StochasticSign,
    TensorNorm,
    Uniform,
    container,
    load_model,
    save_model,
    split_parameters,
)
from minibnn.backend import batch_sum
from minibnn.functions import sign
from minibnn.model_file.form import MODEL
from minibnn.optimizers import Descent


class Scale(Layer):
    """A layer of a user's own, with a parameter, a function, and a number that training changes."""

    def __init__(self, features, function=None, start=1.0):
        self.features, self.start = features, start
        self.function = SignSTE() if function is None else function
        self.scale = Parameter("scale", (features,), Fill(start))
        self.calls = 0

    def forward(self, x, *, train=False):
        self.check_input(x, self.features)
        y = x * self.scale.data
        if train:
            self.calls += 1
            self.saved = (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (x,) = self.take_saved(dy)
        batch_sum(x * dy, out=self.scale.grad)
        return dy * self.scale.data if need_dx else None

    def state(self):
        return {**super().state(), "calls": self.calls}

    def restore(self, state):
        super().restore(state)
        self.calls = state["calls"]


@dataclass(frozen=True)
class Steep(Function):
    """A function of a user's own."""

    slope: float = 2.0

    def forward(self, x):
        return sign(x)

    def backward(self, dy, x):
        return dy * self.slope

    def surrogate(self, x):
        return self.slope * x


@dataclass
class Halving:
    """A schedule of a user's own, with a state."""

    start: float

    def __post_init__(self):
        self.rate = self.start

    def __call__(self, t):
        if t:
            self.rate = max(self.rate / 2, 1e-4)
        return self.rate

    def state(self):
        return {"rate": self.rate}

    def restore(self, state):
        self.rate = state["rate"]


class Momentum(Descent):
    """An optimiser of a user's own."""

    def __init__(self, parameters, learning_rate, keep=0.9):
        super().__init__(parameters, learning_rate)
        self.keep = keep
        self.mean = self.backend.xp.zeros_like(self.store.data)

    def update(self, segment, scalars):
        (rate,), part = scalars, segment.where
        w, mean = self.store.data[part], self.mean[part]
        new = self.keep * mean + self.store.grad[part]
        self.backend.masked_write((mean, new), (w, w - rate * new))


def named_rate(t):
    """A schedule that is a function."""
    return 0.01 / (t + 1)


OWN = [Scale, Steep, Halving, Momentum, named_rate]


def dense(n, m, **options):
    bounds = {"weight_init": Uniform(-1, 1), "weight_bound": 1.0, "lr_scale": 3.0}
    return Dense(n, m, weight_quantizer=SignSTE(clip=1.0), **bounds, **options)


def modern():
    return Sequential(
        Flatten(), Rescale(2 / 255, -1), dense(12, 9, bias=False), BatchNorm(9, scale=False),
        Activation(SignSTE(clip=1.0)), dense(9, 3, bias=False), BatchNorm(3),
    )  # fmt: skip


def noisy():
    return Sequential(
        Flatten(), Rescale(1 / 255), Dense(12, 8, weight_quantizer=StochasticSign()), BatchNorm(8),
        Activation(StochasticSign(clip=1.0)), Dropout(0.3), Dense(8, 3, feedback=FixedFeedback()),
        TensorNorm(),
    )  # fmt: skip


def images():
    return Sequential(
        Reshape((4, 3, 1)), Rescale(1 / 255),
        Conv2D(1, 4, 2, padding=1, padding_value=-1, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(4), Activation(SignSTE(clip=1.0)), Flatten(), dense(80, 3, bias=False), BatchNorm(3),
    )  # fmt: skip


def direct():
    return DirectFeedback(
        Sequential(Flatten(), Rescale(1 / 255), Dense(12, 7), Activation(Steep(0.5))),
        Sequential(Scale(7, start=0.5), Dense(7, 3)),
        initializer=Uniform(-0.5, 0.5),
    )


def bop_and_adam(model):
    binary, rest = split_parameters(model)
    return OptimizerGroup(
        Bop(binary, threshold=1e-6, gamma=Exponential(0.1, 0.01, length=20)),
        Adam(rest, PerEpoch(Cosine(0.01, 0.0, length=4), 3), beta2=0.99),
    )


PAIRS = {
    "modern, Adam": (modern, lambda m: Adam(m.parameters(), Cosine(0.01, 0.0, length=20))),
    "modern, number": (modern, lambda m: AdaMax(m.parameters(), 0.01)),
    "modern, Bop": (modern, bop_and_adam),
    "noisy, SGD": (noisy, lambda m: SGD(list(m.parameters())[::-1], 0.1, momentum=0.9)),
    "images, shifts": (images, lambda m: ShiftAdaMax(m.parameters())),
    "direct, own": (direct, lambda m: Momentum(m.parameters(), Halving(0.1), keep=0.5)),
    "direct, function": (direct, lambda m: SGD(m.parameters(), named_rate)),
}


def train(model, optimizer, steps, seed):
    """Some steps; the batches depend on the seed alone. Returns the losses."""
    rng, loss, losses = np.random.default_rng(seed), LogitCrossEntropy(), []
    asarray = model.backend.asarray
    for _ in range(steps):
        x = asarray(rng.integers(0, 256, (6, 4, 3), np.uint8))
        labels = asarray(rng.integers(0, 3, 6))
        losses.append(float(loss.forward(model.forward(x, train=True), labels)))
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    return losses


def pair(name, dtype=np.float32, device="cpu"):
    """A model and its optimiser, both after some steps."""
    make, optimize = PAIRS[name]
    model = make().initialize(0, dtype).to(device)
    optimizer = optimize(model)
    train(model, optimizer, 5, seed=1)
    return model, optimizer


def everything(model, optimizer=None):
    """All of a state, as text and bytes."""
    state = {"model": model.state()}
    if optimizer is not None:
        state["optimizer"] = optimizer.state()
    return repr(_frozen(state))


def _frozen(value):
    if isinstance(value, dict):
        return {k: _frozen(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return str(value.dtype), value.shape, value.tobytes()
    return value


def saved_bytes(path, model, optimizer=None):
    save_model(model, path, optimizer=optimizer)
    return path.read_bytes()


def changed(data, change):
    """The bytes of a file after `change(metadata, arrays)`, under a right digest."""
    read = container.read(data, "file", MODEL)
    metadata, arrays = dict(read.metadata), read.arrays()
    change(metadata, arrays)
    return container.to_bytes(MODEL, metadata, arrays)


def with_text(data, key, change):
    """The bytes of a file with another JSON text."""

    def change_text(metadata, arrays):
        value = json.loads(metadata[key])
        other = change(value)
        value = value if other is None else other
        metadata[key] = json.dumps(value, separators=(",", ":"))

    return changed(data, change_text)


def loads(tmp_path, data, **options):
    path = tmp_path / "changed"
    path.write_bytes(data)
    return load_model(path, **options)
