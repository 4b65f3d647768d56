"""Networks that round in one place each, and searches for inputs on which that shows most."""

from __future__ import annotations

import numpy as np
from wide_models import calm, in_float64, near_changes

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv2D,
    Dense,
    DoReFaActivations,
    Flatten,
    GlobalAveragePool2D,
    PReLU,
    ReLU,
    Rescale,
    Residual,
    Sequential,
    SignSTE,
    pack,
)
from minibnn.packed.compile.weights import weights_of

SIGN = SignSTE()


def dense(n, m, **options):
    return Dense(n, m, weight_quantizer=SIGN, **options)


def conv(n, m, size, **options):
    return Conv2D(n, m, size, weight_quantizer=SIGN, **options)


def block(n):
    return Residual(Sequential(Activation(SIGN), dense(n, n), BatchNorm(n)))


def first(*after):
    """Real weights on pixels."""
    return Rescale(1 / 255), Dense(16, 8), *after, dense(8, 3, bias=False)


# Each as layers and the shape of a sample.
KINDS = {
    "real first layer": lambda: (first(Activation(ReLU())), (16,)),
    "real first layer, sign": lambda: (first(Activation(SIGN)), (16,)),
    "real last layer": lambda: (
        (Rescale(2 / 255, -1), dense(16, 24), Activation(SIGN), Dense(24, 3)), (16,)),
    "real layer on levels": lambda: (
        (Rescale(2 / 255, -1), dense(16, 12), Activation(DoReFaActivations(2)), Dense(12, 3)),
        (16,)),
    "residual stream": lambda: (
        (Rescale(2 / 255, -1), dense(16, 8), block(8), block(8), dense(8, 3, bias=False)), (16,)),
    "PReLU": lambda: (
        (Rescale(2 / 255, -1), dense(16, 8), PReLU(8), dense(8, 3, bias=False)), (16,)),
    "average pooling": lambda: (
        (Rescale(2 / 255, -1), conv(1, 4, 3), BatchNorm(4), AveragePool2D(2), Flatten(),
         dense(16, 3, bias=False)), (6, 6, 1)),
    "global average pooling": lambda: (
        (Rescale(2 / 255, -1), conv(1, 4, 3), Activation(ReLU()), GlobalAveragePool2D(),
         dense(4, 3, bias=False)), (5, 5, 1)),
    "batch norm on a stream": lambda: (
        (Rescale(2 / 255, -1), dense(16, 8), block(8), BatchNorm(8), PReLU(8),
         dense(8, 3, bias=False)), (16,)),
    "concatenation of streams": lambda: (
        (Rescale(2 / 255, -1),
         Concatenate(Sequential(dense(16, 4), BatchNorm(4)), Sequential(dense(16, 4), PReLU(4))),
         dense(8, 3, bias=False)), (16,)),
}  # fmt: skip


class Search:
    """The largest difference found, and the samples tried.

    Attributes:
        packed: the packed network.
        share: the largest difference of outputs, as a share of the bound.
        tried: how many inputs were compared.
    """

    def __init__(self, kind, rng):
        layers, self.shape = KINDS[kind]()
        self.rng, self.share, self.tried = rng, 0.0, 0
        self.model = calm(Sequential(*layers).initialize(rng), rng)
        self.packed = pack(self.model, self.shape)
        self.double = in_float64(self.model)
        self.rounded = with_packed_weights(self.double)
        self.best = np.zeros((0, *self.shape), np.uint8), np.zeros(0)

    def off(self, x):
        """How far the packed outputs are from the exact ones, (batch, classes), with a sign."""
        off = self.packed.logits(x) - self.double.forward(x)
        off[near_changes(self.double, x)] = 0  # where float64 may round a sign to the other side
        self.tried += len(x)
        self.share = max(self.share, float(abs(off).max() / self.packed.bound))
        return off

    def keep(self, x, score, count=32):
        """Keep the best inputs so far."""
        x, score = np.concatenate([self.best[0], x]), np.concatenate([self.best[1], score])
        order = np.argsort(-score)[:count]
        self.best = x[order], score[order]

    def by_chance(self, count):
        """Inputs of several distributions."""
        kinds = [self.uniform, self.extreme, self.sparse, self.grey, self.two]
        for i in range(-(-count // 1000)):
            x = kinds[i % len(kinds)]((1000, *self.shape)).astype(np.uint8)
            self.keep(x, abs(self.off(x)).max(axis=1))

    def uniform(self, shape):
        return self.rng.integers(0, 256, shape)

    def extreme(self, shape):
        return self.rng.choice([0, 255], shape)

    def sparse(self, shape):
        return np.where(self.rng.random(shape) < 0.2, self.rng.integers(0, 256, shape), 0)

    def grey(self, shape):
        return self.rng.normal(127, 20, shape).clip(0, 255)

    def two(self, shape):
        """Two values in each sample."""
        pair = self.rng.integers(0, 256, (2, shape[0], *(1,) * (len(shape) - 1)))
        return np.where(self.rng.random(shape) < 0.5, *pair)

    def by_gradient(self, count):
        """Steps along the sign of the gradient of what the rounded weights change.

        Where no weights are rounded, that is the model's own gradient.
        """
        tried = 0
        while tried < count:
            x = self.uniform((500, *self.shape)).astype(np.uint8)
            c, sign = self.rng.integers(0, 3, len(x)), self.rng.choice([-1, 1], len(x))
            for step in (255, 128, 32, 8, 1):
                g = sign.reshape(-1, *(1,) * len(self.shape)) * self.gradient(x, c)
                x = (x + step * np.sign(g)).clip(0, 255).astype(np.uint8)
                self.keep(x, abs(self.off(x)).max(axis=1))
                tried += len(x)

    def gradient(self, x, c):
        """The gradient of output c of each sample, for its bytes."""
        dy = np.eye(3)[c]
        theirs = gradient(self.double, x, dy)
        ours = gradient(self.rounded, x, dy)
        return ours - theirs if (ours != theirs).any() else theirs

    def by_climbing(self, count):
        """Change one or two bytes of the best inputs, and keep what is better."""
        tried = 0
        while tried < count:
            x = np.repeat(self.best[0], 16, axis=0)
            rows, flat = np.arange(len(x)), x.reshape(len(x), -1)
            pairs = self.rng.random(len(x)) < 0.5
            for second in (False, True):
                at = self.rng.integers(0, flat.shape[1], len(x))
                old = flat[rows, at].astype(int)
                near = old + self.rng.choice([-16, -3, -2, -1, 1, 2, 3, 16], len(x))
                far = self.rng.choice([0, 255, 128, 1, 254], len(x))
                new = np.where(self.rng.random(len(x)) < 0.7, near, far).clip(0, 255)
                flat[rows, at] = np.where(pairs, new, old) if second else new
            self.keep(x, abs(self.off(x)).max(axis=1))
            tried += len(x)


def with_packed_weights(model):
    """A copy of a model whose real weights are those of its packed form."""
    copied = in_float64(model)
    for layer in leaves(copied):
        if isinstance(layer, Dense | Conv2D) and layer.weight_quantizer is None:
            W = layer.weight.data
            found = weights_of(layer, np.asarray(layer.quantized_weight(False)))
            size = np.array([float(s) for s in found.size])
            W[...] = (found.rows * size[:, None]).T.reshape(W.shape)
    return copied


def leaves(layer):
    children = [child for _, child in layer.named_children()]
    return [leaf for child in children for leaf in leaves(child)] if children else [layer]


def gradient(model, x, dy):
    """Of the sum of ``dy y`` for x, with batch norms in evaluation."""
    norms = [layer for layer in leaves(model) if isinstance(layer, BatchNorm)]
    if not norms:
        model.forward(x, train=True)
        return model.backward(dy)
    found = np.zeros(x.shape)
    flat = found.reshape(len(x), -1)
    for i in range(flat.shape[1]):
        ends = []
        for step in (-8, 8):
            moved = x.astype(np.int16).reshape(len(x), -1)
            moved[:, i] = (moved[:, i] + step).clip(0, 255)
            ends.append(model.forward(moved.astype(np.uint8).reshape(x.shape)))
        flat[:, i] = ((ends[1] - ends[0]) * dy).sum(axis=1)
    return found
