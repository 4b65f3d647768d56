"""Launch every hand-written CUDA kernel, through the operations that use it.

    compute-sanitizer --tool memcheck python tools/validate_gpu/every_kernel.py
    compute-sanitizer --tool racecheck python tools/validate_gpu/every_kernel.py

Runs each operation that has a CUDA kernel, in float32 and float64, on arrays of odd sizes. Each
array has an allocation of its own, so that a sanitizer detects every access outside an array. Fails
if a kernel of the ``.cu`` files was not launched. `confirm_gpu.py` compares the same results with
those of the CPU, and times the same launches at the sizes of a wide network.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))  # minibnn may not be installed

from launches import FLOATS, missing, recorded_launches  # noqa: E402
from minibnn import DeviceError, get_backend  # noqa: E402
from minibnn.backend import (  # noqa: E402
    Array,
    Backend,
)
from minibnn.backend.cuda import CupyBackend  # noqa: E402
from minibnn.backend.operations import two_stage_sum  # noqa: E402
from minibnn.backend.updates import note_finite  # noqa: E402
from minibnn.functions.signs import binary_sign, straight_through_gradient  # noqa: E402
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx  # noqa: E402
from minibnn.layers.norm import (  # noqa: E402
    batch_norm,
    batch_norm_gradient,
    normalize,
    update_running,
)
from minibnn.layers.pooling import (  # noqa: E402
    average_pool,
    average_pool_gradient,
    max_pool,
    max_pool_gradient,
)
from minibnn.layers.reshape import rescale  # noqa: E402
from minibnn.losses.accuracy import count_correct  # noqa: E402
from minibnn.losses.cross_entropy import (  # noqa: E402
    cross_entropy,
    cross_entropy_gradient,
)
from minibnn.optimizers.adam import adam  # noqa: E402
from minibnn.packed.bits import pack_rows, xnor_products  # noqa: E402
from minibnn.packed.inference import (  # noqa: E402
    BitMatrix,
    DenseLayers,
    bit_products,
    dense_layers,
    integer_scores,
    pixel_products,
    score_labels,
    threshold_bits,
)
from minibnn.packed.stages import window_rows  # noqa: E402
from minibnn.random_stream import stream_keys, uniform  # noqa: E402
from minibnn.training.capture.operations import (  # noqa: E402
    begin_step,
    gather_batch,
    note_step,
)
from minibnn.windows import Windows  # noqa: E402

Results: TypeAlias = Iterator[tuple[str, Array]]


@dataclass(frozen=True)
class Sizes:
    """The sizes of the arrays.

    Attributes:
        batch: rows of a batch.
        width: width of a layer.
        pixels: pixels of an image.
        weights: shape of a layer's weights.
        parameters: parameters of a network, at least as many as the weights.
        images: (number, side, channels, output channels) of a convolution.
        bits: (rows, width) of a packed layer.
        long: rows of an evaluation.
        steps: rows of an epoch's tables.
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


# Each kernel gets several blocks, the last one partial; sums over channels get several chunks.
ODD = Sizes(13, 67, 29, (31, 67), 2111, (53, 11, 5, 7), (257, 259), 1031, 7)
# 784-4096-4096-4096-10 at batch 100, and the second convolution of larq-cnn.
WIDE = Sizes(
    100, 4096, 784, (4096, 4096), 36_831_232, (100, 13, 32, 64), (4096, 4096), 10_000, 1000
)


class Inputs:
    """Arrays with the same values on every backend, drawn by `uniform`."""

    def __init__(self, backend: Backend, dtype: Any) -> None:
        self.backend = backend
        self.dtype = np.dtype(dtype)
        self.made = 0

    def floats(self, *shape: int) -> Array:
        """Floats from -1 to 1."""
        self.made += 1
        return self.drawn(shape, 7, self.made) * 2 - 1

    def drawn(self, shape: tuple[int, ...], seed: int, count: int) -> Array:
        """Floats from 0 to 1."""
        backend = self.backend
        return backend.run(uniform, backend.xp, shape, *stream_keys(seed, count), 0, self.dtype)

    def whole(self, *shape: int) -> Array:
        """Integers from -4 to 3, as floats: their sums are exact in any order."""
        return self.backend.xp.floor(self.floats(*shape) * 4)

    def bytes(self, *shape: int, below: int = 256) -> Array:
        """Integers, as bytes."""
        return ((self.floats(*shape) + 1) * (below / 2)).astype(np.uint8)


def functions(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `signs.cu` and `random_stream.cu`."""
    x, dy = make.floats(sizes.batch, sizes.width), make.floats(sizes.batch, sizes.width)
    yield "binary_sign", backend.run(binary_sign, make.floats(*sizes.weights))
    gradient = backend.run(straight_through_gradient, dy, x, 0.5)
    yield "straight_through_gradient", gradient
    yield "uniform", make.drawn((sizes.batch, sizes.width), 2**63 - 1, 3)


def elementwise(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `rescale.cu` and `adam.cu`."""
    pixels = make.bytes(sizes.batch, sizes.pixels)
    yield "rescale", backend.run(rescale, pixels, 2 / 255, -1.0, make.dtype)
    w, g, m = (make.floats(sizes.parameters) for _ in range(3))
    v = abs(make.floats(sizes.parameters))
    with backend.update():
        backend.run(adam, w, g, m, v, 0.01, 1e-8, 0.9, 0.999, 0.5)
    yield from zip(("adam: w", "adam: m", "adam: v"), (w, m, v), strict=True)
    yield from finite(backend, g)


def finite(backend: Backend, a: Array) -> Results:
    """Launch the kernel of `finite.cu`."""
    allowed = backend.asarray(np.ones((), bool))
    backend.run(note_finite, allowed, a)
    yield "note_finite: all finite", allowed.copy()
    a[-1] = np.inf
    backend.run(note_finite, allowed, a)
    yield "note_finite: not", allowed


def captured_step(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `captured_step.cu`."""
    put, rows = backend.asarray, sizes.steps
    samples = 5 * sizes.batch
    number = np.zeros((), np.int64)
    counter, now = put(number + 2), put(number.copy())
    keys, key_table = put(np.zeros(2, np.uint32)), make.bytes(rows, 2).astype(np.uint32)
    floats, float_table = make.floats(3), make.floats(rows, 3)
    backend.run(begin_step, counter, now, floats, float_table, keys, key_table)
    yield from zip(("begin_step: floats", "begin_step: keys"), (floats, keys), strict=True)
    yield "begin_step: now", counter * 100 + now
    arrays = make.bytes(samples, sizes.pixels), make.bytes(samples)
    order = put(np.random.default_rng(0).permutation(samples))
    now = now.copy()  # another launch of `begin_step` must not change it
    gathered = backend.run(gather_batch, arrays, order, now, sizes.batch)
    yield from zip(("gather_batch: images", "gather_batch: labels"), gathered, strict=True)
    losses, verdicts = put(np.zeros(rows)), put(np.ones(rows, bool))
    refused = put(np.zeros((), bool))
    backend.run(note_step, losses, verdicts, now, make.floats(1).reshape(()), refused)
    yield from zip(("note_step: losses", "note_step: verdicts"), (losses, verdicts), strict=True)


def convolution(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `convolution.cu`."""
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
    """Launch the kernels of `pooling.cu`."""
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


def norms(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `batch_norm.cu` on a dense layer, and on images with many rows."""
    n, side, depth, _ = sizes.images
    for name, shape in (("dense", (sizes.batch, sizes.width)), ("images", (n, side, side, depth))):
        x, dy = make.floats(*shape), make.floats(*shape)
        gamma, beta, dgamma, dbeta, running = (make.floats(shape[-1]) for _ in range(5))
        yield f"two_stage_sum, {name}", backend.run(two_stage_sum, x, None)
        found = backend.run(batch_norm, x, gamma, beta, 1e-3)
        _, x_hat, mean, var, inv_std = found
        parts = ("y", "x_hat", "mean", "var", "inv_std")
        yield from ((f"batch_norm: {p}, {name}", a) for p, a in zip(parts, found, strict=True))
        dx = backend.run(batch_norm_gradient, dy, x_hat, inv_std, gamma, dgamma, dbeta, True)
        yield from ((f"batch_norm_gradient: {part}, {name}", a)
                    for part, a in (("dx", dx), ("dgamma", dgamma), ("dbeta", dbeta)))  # fmt: skip
        yield f"normalize, {name}", backend.run(normalize, x, mean, gamma, beta)
        running_var = abs(make.floats(shape[-1]))
        backend.run(update_running, running, running_var, mean, var, 0.9, 1.01)
        yield f"update_running: mean, {name}", running
        yield f"update_running: var, {name}", running_var


def losses(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `cross_entropy.cu` and `accuracy.cu` on a batch and an evaluation."""
    for name, rows in (("batch", sizes.batch), ("evaluation", sizes.long)):
        logits, labels = make.floats(rows, 11) * 5, make.bytes(rows, below=11)
        loss, p = backend.run(cross_entropy, logits, labels, 0.1)
        yield f"cross_entropy, {name}", loss
        yield f"cross_entropy: p, {name}", p
        gradient = backend.run(cross_entropy_gradient, p, labels, 0.1)
        yield f"cross_entropy_gradient, {name}", gradient
        yield f"count_correct, {name}", backend.run(count_correct, logits, labels)


def packed_bits(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Launch the kernels of `packed_bits.cu`; they have no float type."""
    outputs, width = sizes.bits
    few, many = (make.bytes(n, width, below=2) for n in (sizes.batch, sizes.long))
    W = BitMatrix(backend.run(pack_rows, make.bytes(outputs, width, below=2)), width)
    yield "pack_rows", W.words
    packed = [backend.run(pack_rows, rows) for rows in (few, many)]
    yield "xnor_products of few rows", backend.run(xnor_products, packed[0], W.words, width)
    acc = backend.run(xnor_products, packed[1], W.words, width)
    yield "xnor_products", acc
    yield "bit_products", backend.run(bit_products, many, W)
    for name, rows in ((" of few rows", 7), ("", sizes.long)):
        yield f"pixel_products{name}", backend.run(pixel_products, make.bytes(rows, width), W)
    thresholds = (make.floats(outputs) * 9).astype(np.int32)
    falling = make.bytes(outputs, below=2).astype(bool)
    yield "threshold_bits", backend.run(threshold_bits, acc, thresholds, falling)
    A, B = ((make.floats(11) * 1000).astype(np.int64) for _ in range(2))
    yield "integer_scores", backend.run(integer_scores, acc[:, :11], A, B)
    yield "score_labels", backend.run(score_labels, acc[:, :11], A, B)
    pair = make.bytes(61, width, below=2), make.bytes(11, 61, below=2)
    layers = tuple(BitMatrix(backend.run(pack_rows, rows), rows.shape[1]) for rows in pair)
    ends = ((thresholds[:61], falling[:61]),)
    for pixels, x in ((True, make.bytes(sizes.batch, width)), (False, few)):
        network = DenseLayers(pixels, layers, ends)
        name = f"dense_layers of {'pixels' if pixels else 'bits'}"
        yield name, backend.run(dense_layers, x, network)


def products(backend: Backend, make: Inputs, sizes: Sizes) -> Results:
    """Compute matrix products through cuBLAS; they must not be rounded to TF32."""
    a, b = make.floats(sizes.batch, sizes.width), make.floats(sizes.width, sizes.batch)
    yield "matmul", backend.matmul(a, b)
    yield "matmul, both transposed", backend.matmul(b.T, a.T)
    whole = [make.whole(*m.shape).astype(np.float16) for m in (a, b)]
    if isinstance(backend, CupyBackend):
        yield "half_matmul", backend.half_matmul(*whole)
    else:  # the expected result
        yield "half_matmul", backend.matmul(*(m.astype(np.float32) for m in whole))


FAMILIES = (
    functions,
    elementwise,
    captured_step,
    convolution,
    pooling,
    norms,
    losses,
    packed_bits,
    products,
)


def results(backend: Backend, dtype: Any, sizes: Sizes) -> Results:
    """Yield the results of all operations, with their names."""
    make = Inputs(backend, dtype)
    for family in FAMILIES:
        yield from family(backend, make, sizes)


def main() -> None:
    """Launch all kernels."""
    try:
        backend = get_backend("gpu")
    except DeviceError as error:
        print(f"every_kernel.py: {error}", file=sys.stderr)
        sys.exit(4)
    assert isinstance(backend, CupyBackend)
    # Without the memory pool, where a write beside an array may hit another array unnoticed.
    backend.xp.cuda.set_allocator(None)
    with recorded_launches(backend) as recording:
        for dtype in FLOATS:
            for _, array in results(backend, dtype, ODD):
                backend.to_host(array)
    absent = missing(recording.launched)
    if absent:
        sys.exit(f"every_kernel.py: not launched: {', '.join(absent)}")
    print(f"every kernel was launched: {len(recording.launched)}")


if __name__ == "__main__":
    main()
