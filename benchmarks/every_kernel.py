"""Every hand-written CUDA kernel, launched through the primitives that use it.

    compute-sanitizer --tool memcheck python benchmarks/every_kernel.py
    compute-sanitizer --tool racecheck python benchmarks/every_kernel.py

Runs each primitive of the GPU backend that has a kernel, in float32 and float64, on arrays of odd
sizes that each have an allocation of their own, so that a sanitizer sees every access beside one.
Fails if a kernel of the ``.cu`` files was not launched. `confirm_gpu.py` compares the same results
with those of the CPU, and measures the same launches at the sizes of a wide network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))  # where minibnn is not installed

from launches import FLOATS, listening, missing  # noqa: E402

from minibnn import DeviceError, get_backend  # noqa: E402
from minibnn.backend import (  # noqa: E402
    AdamStep,
    Array,
    Backend,
    BitMatrix,
    DenseLayers,
    Questions,
    StepTables,
)
from minibnn.backend.cuda import CupyBackend  # noqa: E402
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx  # noqa: E402
from minibnn.layers.pooling import (  # noqa: E402
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)
from minibnn.layers.reshape import rescale  # noqa: E402
from minibnn.packed.stages import window_rows  # noqa: E402
from minibnn.windows import Windows  # noqa: E402

Results: TypeAlias = Iterator[tuple[str, Array]]


@dataclass(frozen=True)
class Sizes:
    """How large the arrays are.

    Attributes:
        batch: rows.
        width: of a layer.
        pixels: of an image as a row.
        weights: of a layer.
        parameters: of a network, at least as many as the weights.
        images: (number, side, channels, output channels) of a convolution.
        bits: (rows, width) of a packed layer.
        long: rows of an evaluation.
        steps: rows of the tables of an epoch.
    """

    batch: int
    width: int
    pixels: int
    weights: tuple[int, int]
    parameters: int
    images: tuple[int, int, int, int]
    bits: tuple[int, int]
    long: int
    steps: int


# Each kernel gets several blocks, the last one not full; sums over channels get several chunks.
ODD = Sizes(13, 67, 29, (31, 67), 2111, (53, 11, 5, 7), (257, 259), 1031, 7)
# 784-4096-4096-4096-10 at batch 100, and the second convolution of larq-cnn.
WIDE = Sizes(
    100, 4096, 784, (4096, 4096), 36_831_232, (100, 13, 32, 64), (4096, 4096), 10_000, 1000
)


class Inputs:
    """Arrays that hold the same numbers on every backend: those of `Backend.uniform`."""

    def __init__(self, backend: Backend, dtype: Any) -> None:
        self.backend = backend
        self.dtype = np.dtype(dtype)
        self.made = 0

    def floats(self, *shape: int) -> Array:
        """From -1 to 1."""
        self.made += 1
        u = self.backend.uniform(shape, 7, self.made, self.dtype)
        return u * 2 - 1

    def whole(self, *shape: int) -> Array:
        """Whole numbers from -4 to 3: their sums are exact, in whatever order."""
        return self.backend.xp.floor(self.floats(*shape) * 4)

    def bytes(self, *shape: int, below: int = 256) -> Array:
        """Integers of a byte."""
        return ((self.floats(*shape) + 1) * (below / 2)).astype(np.uint8)


def elementwise(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `elementwise.cu`."""
    rows, width = sizes.batch, sizes.width
    x, dy = make.floats(rows, width), make.floats(rows, width)
    yield "binarize", backend.binarize(make.floats(*sizes.weights))
    yield "gate", backend.gate(dy, x, 0.5)
    pixels = make.bytes(rows, sizes.pixels)
    yield "rescale", backend.run(rescale, pixels, 2 / 255, -1.0, make.dtype)
    shift, a, b = (make.floats(width) for _ in range(3))
    yield "affine", backend.affine(shift, (a, x))
    yield "affine of two", backend.affine(shift, (a, x), (b, dy))
    yield "normalize", backend.normalize(x, shift, a, b)
    yield "uniform", backend.uniform((rows, width), 2**63 - 1, 3, make.dtype)
    w, g, m = (make.floats(sizes.parameters) for _ in range(3))
    v = abs(make.floats(sizes.parameters))
    inputs, outputs = sizes.weights
    weights = w[: inputs * outputs].reshape(inputs, outputs)
    kept = Questions()
    kept.signs = backend.keep_signs([w], [weights])
    numbers = AdamStep.of(0.01, 0.9, 0.999, 1e-8, 7, 0.5)
    with kept.in_charge():
        backend.adam_step(w, g, m, v, numbers, backend.xp.ones((), bool))
        signs = backend.binarize(weights)
    yield from zip(("adam: w", "adam: m", "adam: v"), (w, m, v), strict=True)
    row = abs(make.floats(4)) + 1e-3
    rates = [row[i : i + 1].reshape(()) for i in range(4)]  # in a row on the device
    middle = w.size // 3
    parts = [
        (slice(0, middle), AdamStep(rates[0], rates[1], 0.9, 0.999, 0.5)),
        (slice(middle, w.size), AdamStep(rates[2], rates[3], 0.9, 0.999, None)),
    ]
    w_parts = w.copy()
    backend.adam_steps(w_parts, g, m.copy(), v.copy(), parts)
    yield "adam on parts", w_parts
    yield "adam: signs", signs * weights  # a weight that rounds to another side of 0 is no error


def steps(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `steps.cu`."""
    put, rows = backend.asarray, sizes.steps
    samples = 5 * sizes.batch
    number = np.zeros((), np.int64)
    keys = make.bytes(rows, 2).astype(np.uint32)
    floats = make.floats(rows, 3)
    tables = StepTables(
        put(number + 2), put(number.copy()), make.floats(3), floats, keys[0].copy(), keys
    )
    backend.begin_step(tables)
    yield from zip(("begin_step: floats", "begin_step: keys"), (tables.floats, tables.keys),
                   strict=True)  # fmt: skip
    yield "begin_step: now", tables.counter * 100 + tables.now
    arrays = make.bytes(samples, sizes.pixels), make.bytes(samples)
    order = put(np.random.default_rng(0).permutation(samples))
    now = tables.now.copy()  # who launches `begin_step` again must not move it
    gathered = backend.gather_batch(arrays, order, now, sizes.batch)
    yield from zip(("gather: images", "gather: labels"), gathered, strict=True)
    losses, all_finite = put(np.zeros(rows)), put(np.ones((), bool))
    backend.note_loss(losses, all_finite, now, make.floats(1).reshape(()))
    yield from zip(
        ("note_loss: losses", "note_loss: all finite"), (losses, all_finite), strict=True
    )
    gradient = make.floats(sizes.parameters)
    backend.note_finite(all_finite, gradient)
    yield "note_finite: all finite", all_finite.copy()
    gradient[-1] = np.inf
    backend.note_finite(all_finite, gradient)
    backend.note_refused(losses, all_finite, now)
    yield "note_finite: not", all_finite
    yield "note_refused", backend.xp.isfinite(losses)


def convolution(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `convolution.cu`."""
    n, side, channels, outputs = sizes.images
    x, W = make.whole(n, side, side, channels), make.whole(3, 3, channels, outputs)
    windows = Windows((3, 3))
    z = backend.run(convolve, x, W, windows)
    yield "convolve", z
    dz = make.whole(*z.shape)
    yield "convolve_dW", backend.run(convolve_dW, x, dz, windows)
    yield "convolve_dx", backend.run(convolve_dx, dz, W, windows, x.shape)
    pixels = make.bytes(n, side, side, channels)
    yield "window_rows", backend.run(window_rows, pixels, windows)


def pooling(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `pooling.cu`."""
    n, side, channels, _ = sizes.images
    x = make.whole(n, side, side, channels)
    tiles, overlapping = Windows((2, 2), stride=(2, 2)), Windows((3, 3))
    for name, windows in (("", tiles), (" of windows that overlap", overlapping)):
        y, position = backend.run(max_pool, x, windows, True)
        dy = make.floats(*y.shape)
        yield f"max_pool{name}", y
        dx = backend.run(max_pool_gradient, dy, position, windows, x.shape)
        yield f"max_pool_gradient{name}", dx
        yield f"average_pool{name}", backend.run(average_pool, x, windows)
        dx = backend.run(average_pool_gradient, dy, windows, x.shape)
        yield f"average_pool_gradient{name}", dx
    pixels = make.bytes(n, side, side, channels)
    yield "max_pool of bytes", backend.run(max_pool, pixels, tiles, False)[0]
    integers = (x * 1000).astype(np.int32)
    yield "max_pool of integers", backend.run(max_pool, integers, overlapping, False)[0]


def channels(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `channels.cu`: of a dense layer, and of images, which have many rows."""
    n, side, depth, _ = sizes.images
    for name, shape, width in (
        ("dense", (sizes.batch, sizes.width), sizes.width),
        ("images", (n, side * side * depth), depth),
    ):
        x, dy = make.floats(*shape), make.floats(*shape)
        yield f"channel_sums, {name}", backend.channel_sums(x, width)
        yield f"channel_dots, {name}", backend.channel_dots(x, dy, width)
        gamma, beta, dgamma, dbeta, mean = (make.floats(width) for _ in range(5))
        parts = ("y", "x^", "mean", "var", "inv_std")
        found = dict(zip(parts, backend.batch_norm(x, gamma, beta, 1e-3), strict=True))
        yield from ((f"batch_norm: {part}, {name}", a) for part, a in found.items())
        inv_std = found["inv_std"]
        dx = backend.batch_norm_gradient(dy, found["x^"], inv_std, gamma, dbeta, dgamma)
        yield from ((f"batch_norm_gradient: {part}, {name}", a)
                    for part, a in (("dx", dx), ("dbeta", dbeta), ("dgamma", dgamma)))  # fmt: skip
        var = abs(make.floats(width))
        backend.update_running(mean, var, found["mean"], found["var"], 0.9, 1.01)
        yield f"update_running: mean, {name}", mean
        yield f"update_running: var, {name}", var


def classes(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `classes.cu`, on a batch and on an evaluation."""
    for name, rows in (("batch", sizes.batch), ("evaluation", sizes.long)):
        logits, labels = make.floats(rows, 11) * 5, make.bytes(rows, below=11)
        loss, kept = backend.cross_entropy(logits, labels, 0.1)
        yield f"cross_entropy, {name}", loss
        gradient = backend.cross_entropy_gradient(kept, labels, 0.1)
        yield f"cross_entropy_gradient, {name}", gradient
        yield f"count_correct, {name}", backend.count_correct(logits, labels)


def bits(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """The kernels of `bits.cu`; they know no type of floats."""
    outputs, width = sizes.bits
    few, many = (make.bytes(n, width, below=2) for n in (sizes.batch, sizes.long))
    W = BitMatrix(backend.pack_rows(make.bytes(outputs, width, below=2)), width)
    yield "pack_rows", W.words
    packed = [backend.pack_rows(rows) for rows in (few, many)]
    yield "xnor_products of few rows", backend.xnor_products(packed[0], W.words, width)
    acc = backend.xnor_products(packed[1], W.words, width)
    yield "xnor_products", acc
    yield "bit_products", backend.bit_products(many, W)
    yield "pixel_products of few rows", backend.pixel_products(make.bytes(7, width), W)
    yield "pixel_products", backend.pixel_products(make.bytes(sizes.long, width), W)
    thresholds = (make.floats(outputs) * 9).astype(np.int32)
    falling = make.bytes(outputs, below=2).astype(bool)
    yield "threshold_bits", backend.threshold_bits(acc, thresholds, falling)
    A, B = ((make.floats(11) * 1000).astype(np.int64) for _ in range(2))
    yield "integer_scores", backend.integer_scores(acc[:, :11], A, B)
    yield "score_labels", backend.score_labels(acc[:, :11], A, B)
    pair = make.bytes(61, width, below=2), make.bytes(11, 61, below=2)
    layers = tuple(BitMatrix(backend.pack_rows(rows), rows.shape[1]) for rows in pair)
    ends = ((thresholds[:61], falling[:61]),)
    for pixels, x in ((True, make.bytes(sizes.batch, width)), (False, few)):
        network = DenseLayers(pixels, layers, ends)
        yield f"dense_layers of {'pixels' if pixels else 'bits'}", backend.dense_layers(x, network)


def products(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Through cuBLAS, no kernels of ours: exact for signs, and for floats not rounded to TF32."""
    a, b = make.floats(sizes.batch, sizes.width), make.floats(sizes.width, sizes.batch)
    yield "matmul", backend.matmul(a, b)
    yield "matmul, both transposed", backend.matmul(b.T, a.T)
    signs = [backend.binarize(m) for m in (a, b)]
    for m in signs:
        backend.mark_signs(m)
    yield "matmul of signs", backend.matmul(*signs)
    whole = [make.whole(*m.shape).astype(np.float16) for m in (a, b)]
    yield "half_matmul", backend.half_matmul(*whole)


PRIMITIVES = (elementwise, steps, convolution, pooling, channels, classes, bits, products)


def results(backend: Backend, dtype: Any, sizes: Sizes) -> Results:
    """The result of each primitive, one after the other."""
    make = Inputs(backend, dtype)
    for primitives in PRIMITIVES:
        yield from primitives(backend, make, sizes)


def main() -> None:
    """Launch all of them."""
    try:
        backend = get_backend("gpu")
    except DeviceError as error:
        print(f"every_kernel.py: {error}", file=sys.stderr)
        sys.exit(4)
    assert isinstance(backend, CupyBackend)
    # From a pool an array may have neighbours, and no sanitizer would see who writes to them.
    backend.xp.cuda.set_allocator(None)
    with listening(backend) as ears:
        for dtype in FLOATS:
            for _, array in results(backend, dtype, ODD):
                backend.to_host(array)
    lacking = missing(ears.heard)
    if lacking:
        sys.exit(f"every_kernel.py: not launched: {', '.join(lacking)}")
    print(f"every kernel was launched: {len(ears.heard)}")


if __name__ == "__main__":
    main()
