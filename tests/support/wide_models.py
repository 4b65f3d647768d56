"""Random networks of all packable layers: real weights, levels, branches, groups, single outputs."""

from __future__ import annotations

import copy

import numpy as np

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Dropout,
    Flatten,
    GlobalAveragePool2D,
    Heaviside,
    MagnitudeAwareSign,
    MaxPool2D,
    PowerOfTwo,
    PReLU,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    ShiftBatchNorm,
    SignSTE,
    TensorNorm,
    Ternary,
    TernaryWeights,
)

QUANTIZERS = [
    SignSTE(), SignSTE(), MagnitudeAwareSign(), Ternary(0.1), TernaryWeights(), DoReFaWeights(2),
    DoReFaWeights(4), PowerOfTwo(), None,
]  # fmt: skip


class Random:
    """Layers one by one, with the shape after each."""

    def __init__(self, rng, shape):
        self.rng, self.shape, self.real = rng, shape, False

    def choose(self, *choices):
        return choices[int(self.rng.integers(len(choices)))]

    def quantizer(self):
        return self.choose(*QUANTIZERS)

    def product(self, channels, keep=False):
        """A dense layer, or a convolution, which keeps the rows and columns if asked to."""
        rng, n = self.rng, self.shape[-1]
        options = {"weight_quantizer": self.quantizer(), "bias": bool(rng.integers(2))}
        if len(self.shape) == 1:
            self.shape = (channels,)
            return Dense(n, channels, **options)
        groups = self.choose(*[g for g in (1, 1, 2, n) if n % g == 0 and channels % g == 0])
        height, width = self.shape[0], self.shape[-2]
        if len(self.shape) == 2:
            size = 3 if keep else int(rng.integers(1, min(4, width + 1)))
            pad = 1 if keep else int(rng.integers(0, 2))
            layer = Conv1D(n, channels, size, padding=pad, groups=groups, **options)
            self.shape = (width + 2 * pad - size + 1, channels)
            return layer
        size = (
            (3, 3) if keep else tuple(int(rng.integers(1, min(4, m + 1))) for m in (height, width))
        )
        pad = (1, 1) if keep else (int(rng.integers(0, 2)), int(rng.integers(0, 2)))
        # A border must be one of the numbers that come in: 0 always is.
        value = self.choose(0, 0, 1, -1) if self.signs else 0
        if self.pixels:
            pad = (1, 1) if keep else (0, 0)
        layer = Conv2D(
            n, channels, size, padding=pad, padding_value=value, groups=groups, **options
        )
        self.shape = (
            height + 2 * pad[0] - size[0] + 1, width + 2 * pad[1] - size[1] + 1, channels
        )  # fmt: skip
        return layer

    signs = False
    pixels = False

    def norm(self):
        n = self.shape[-1]
        return self.choose([], [BatchNorm(n)], [BatchNorm(n)], [TensorNorm()], [ShiftBatchNorm(n)])

    def activation(self):
        """Signs, levels, or real numbers that go on."""
        kind = self.choose("sign", "sign", "sign", "levels", "step", "relu", "prelu", "none")
        self.signs = kind == "sign"
        return {
            "sign": [Activation(SignSTE())],
            "levels": [Activation(DoReFaActivations(int(self.rng.integers(1, 5))))],
            "step": [Activation(Heaviside())],
            "relu": [Activation(ReLU())],
            "prelu": [PReLU(self.shape[-1])],
            "none": [],
        }[kind]

    def pool(self):
        if len(self.shape) != 3 or min(self.shape[:2]) < 2:
            return []
        height, width, n = self.shape
        kind = self.choose(MaxPool2D, AveragePool2D, AveragePool2D)
        self.shape = (height // 2, width // 2, n)
        self.signs &= kind is MaxPool2D
        return [kind(2)]

    def block(self):
        """A residual block or branches side by side."""
        shape, n, signs = self.shape, self.shape[-1], self.signs
        if self.rng.integers(2) or len(shape) == 2:
            inside = [*self.activation(), self.product(n, keep=True), *self.norm()]
            self.shape, self.signs = shape, False
            return [Residual(Sequential(*inside))]
        branches = []
        for _ in range(int(self.rng.integers(1, 4))):
            self.shape, self.signs = shape, signs
            branches.append(
                Sequential(self.product(self.choose(2, 4), keep=True), *self.norm(),
                           *self.activation())
            )  # fmt: skip
        if self.rng.integers(3) == 0:
            branches.append(Sequential())
        self.shape = (*shape[:-1], sum(_channels(branch, n) for branch in branches))
        self.signs = False
        return [Concatenate(*branches)]


def _channels(branch, n):
    for layer in branch:
        n = getattr(layer, "out_channels", getattr(layer, "out_features", n))
    return n


def random_model(rng):
    """A random network on bytes, with values as training might leave them; its input's shape."""
    shape = [(12,), (6, 7, 1), (5, 6, 2), (8, 8, 3), (9, 4)][int(rng.integers(5))]
    r = Random(rng, shape)
    layers = [Rescale(*r.choose((1 / 255, 0), (2 / 255, -1), (1, -128), (-1 / 128, 1)))]
    if rng.integers(5) == 0:
        layers.append(Activation(SignSTE()))
        r.signs = True
    r.pixels = not r.signs
    channels = r.choose(2, 4, 6)
    if r.pixels:  # without a border, which would have to be a pixel
        size = 2 if len(shape) > 1 else None
        options = {"weight_quantizer": r.quantizer()}
        if size is None:
            layers.append(Dense(shape[-1], channels, **options))
            r.shape = (channels,)
        elif len(shape) == 2:
            layers.append(Conv1D(shape[-1], channels, 2, **options))
            r.shape = (shape[0] - 1, channels)
        else:
            layers.append(Conv2D(shape[-1], channels, 2, **options))
            r.shape = (shape[0] - 1, shape[1] - 1, channels)
        r.pixels = False
    else:
        layers.append(r.product(channels))
    layers += [*r.norm(), *r.activation()]
    for _ in range(int(rng.integers(0, 4))):
        step = r.choose("product", "product", "pool", "block", "drop")
        if step == "product":
            layers += [r.product(r.choose(2, 4, 6)), *r.pool(), *r.norm(), *r.activation()]
        elif step == "pool":
            layers += r.pool()
        elif step == "block":
            layers += r.block()
        else:
            layers.append(Dropout(0.2))
    if len(r.shape) == 3 and rng.integers(2):
        layers.append(GlobalAveragePool2D())
        r.shape = r.shape[-1:]
    elif len(r.shape) > 1:
        layers.append(Flatten())
        r.shape = (int(np.prod(r.shape)),)
    if r.choose(0, 0, 1):
        layers += [Activation(SignSTE())]
    if rng.integers(8):
        layers += [Dense(r.shape[0], r.choose(1, 2, 5), weight_quantizer=r.quantizer())]
        r.shape = (layers[-1].out_features,)
        layers += r.norm()
    model = Sequential(*layers).initialize(rng)
    return calm(model, rng), shape


def calm(model, rng):
    """Values as after training."""
    for parameter in model.parameters():
        data = parameter.data
        if parameter.name == "bias":
            data[...] = rng.normal(0, 0.5, data.shape)
        elif parameter.name == "gamma":
            data[...] = rng.choice([-1, 1, 1, 1], data.shape) * rng.uniform(0.2, 2, data.shape)
        elif parameter.name == "beta":
            data[...] = rng.normal(0, 0.5, data.shape)
        elif parameter.name == "slope":
            data[...] = rng.uniform(-0.2, 1.5, data.shape)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.normal(0, 2, buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.uniform(0.1, 30, buffer.data.shape)
    return model


def in_float64(model):
    """A copy of a model, with the same values in float64."""
    double = copy.deepcopy(model).initialize(0, np.float64)
    for mine, its in zip(_values(double), _values(model), strict=True):
        mine.data[...] = its.data
    return double


def _values(model):
    return [*model.parameters(), *model.buffers()]


def near_changes(model, x, distance=1e-9):
    """The samples in which some sign or level may go either way, by the rounding of float64."""
    near = np.zeros(len(x), bool)
    forward = Activation.forward

    def watched(layer, v, *, train=False):
        f, at = layer.function, v
        if isinstance(f, DoReFaActivations):
            n = 2**f.bits - 1
            at = np.where((v > -0.1) & (v < 1.1), n * v - np.floor(n * v) - 0.5, 1)
        elif isinstance(f, ReLU):
            at = np.ones((len(v), 1))
        if at.dtype == np.float64:
            near[(abs(at.reshape(len(at), -1)) < distance).any(axis=1)] = True
        return forward(layer, v, train=train)

    Activation.forward = watched
    try:
        model.forward(x)
    finally:
        Activation.forward = forward
    return near


def same_signs(model, packed, x):
    """The samples in which all signs and levels of a model and its packed form agree.

    The layers' outputs are compared in order. A sign of signs has no stage of its own, and pools
    in front of a sign may run behind its stage.
    """
    outputs = []
    forward = Activation.forward

    def watched(layer, v, *, train=False):
        y = forward(layer, v, train=train)
        again = isinstance(layer.function, SignSTE) and np.array_equal(v, y)
        if not isinstance(layer.function, ReLU) and not again:
            outputs.append(y.reshape(len(y), -1))
        return y

    Activation.forward = watched
    try:
        model.forward(x)
    finally:
        Activation.forward = forward
    kinds = [stage.kind for stage in packed.stages]
    places = [i for i, kind in enumerate(kinds) if kind in ("binarize", "threshold", "levels")]
    same = np.full(len(x), len(places) == len(outputs))
    for i, theirs in zip(places, outputs, strict=False):
        stop = i + 1
        while (
            np.prod(packed.stages[stop - 1].out_shape) > theirs.shape[1] and kinds[stop] == "pool"
        ):
            stop += 1
        ours = packed.after(x, stop).reshape(len(x), -1)
        if ours.shape != theirs.shape:
            return np.zeros(len(x), bool)
        if kinds[i] != "levels":
            theirs = theirs > 0
        else:
            theirs = np.rint(theirs * packed.stages[i].thresholds.shape[1])
        same &= (ours == theirs).all(axis=1)
    return same
