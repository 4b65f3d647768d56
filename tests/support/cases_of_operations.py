"""For each operation the arguments with which its implementations are compared with its reference.

An entry of `CASES` is a function that takes a `Make` and yields tuples of arguments: sizes around
those of blocks and vectors, one, none, and shapes that do not fit, for which the reference raises.
What `Make` gives is of one type, layout and kind of values; so each entry is gone through for all.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from minibnn import Adam, Fill, Parameter
from minibnn.backend import Backend
from minibnn.packed.bits import pack_rows as pack
from minibnn.packed.inference import BitMatrix, DenseLayers
from minibnn.windows import Windows

SPECIAL = (0.0, -0.0, np.inf, -np.inf, np.nan, 1e-40, -1e-40, 1e-310, 1.0, -1.0)


class Make:
    """Makes arrays for one backend; one made alike makes the same ones.

    Args:
        backend: whose arrays they are.
        dtype: of the floats; longdouble gives the values that float32 or float64 has, see `wide`.
        layout: one of `LAYOUTS`; arrays that are written to are not read-only.
        special: whether infinities, nan, both zeros and denormals are among the values.
        wide: whether floats become longdouble.
    """

    def __init__(
        self, backend: Backend, dtype: Any, layout: str, special: bool, wide: bool = False
    ) -> None:
        self.backend, self.dtype = backend, np.dtype(dtype)
        self.layout, self.special, self.wide = layout, special, wide
        self.rng = np.random.default_rng(5)

    @property
    def number(self) -> np.dtype[Any]:
        """The type of its floats."""
        return np.dtype(np.longdouble) if self.wide else self.dtype

    def floats(self, *shape: int, special: bool | None = None, center: float = 0) -> Any:
        """Around 0 or another number, of size 1."""
        a = np.array(center + self.rng.standard_normal(shape), self.dtype)
        if self.special if special is None else special:
            for value in SPECIAL:
                a[self.rng.random(shape) < 0.02] = value
        return self.array(a)

    def signs(self, *shape: int) -> Any:
        """-1 and +1."""
        return self.array(np.where(self.rng.random(shape) < 0.5, -1, 1).astype(self.dtype))

    def positive(self, *shape: int) -> Any:
        """From 1/2 to 2."""
        return self.array(np.array(self.rng.uniform(0.5, 2, shape), self.dtype))

    def whole(self, *shape: int, dtype: Any = None, least: int = -4, most: int = 4) -> Any:
        """Whole numbers."""
        return self.array(self.rng.integers(least, most + 1, shape).astype(dtype or self.dtype))

    def output(self, *shape: int) -> Any:
        """To be overwritten."""
        return self.array(np.full(shape, np.nan, self.dtype), output=True)

    def state(self, a: Any) -> Any:
        """An array that is changed: `a`, but writable."""
        return self.array(np.array(a), output=True)

    def array(self, a: Any, output: bool = False) -> Any:
        """`a` in the layout, where the backend has its arrays."""
        if self.wide and a.dtype.kind == "f":
            a = a.astype(np.longdouble)
        if not (output and self.layout == "read-only"):
            a = LAYOUTS[self.layout](a)
        return a if self.backend.array_type is np.ndarray else a.view(self.backend.array_type)


def strided(a: Any) -> Any:
    """With gaps between its numbers."""
    if not a.ndim:
        return a
    wide = np.zeros((*a.shape[:-1], 2 * a.shape[-1]), a.dtype)
    wide[..., ::2] = a
    return wide[..., ::2]


def backwards(a: Any) -> Any:
    """Its first row is the last one in memory."""
    return np.ascontiguousarray(a[::-1])[::-1] if a.ndim else a


def unaligned(a: Any) -> Any:
    """Beside the addresses that its type wants."""
    memory = np.zeros(a.nbytes + 1, np.uint8)[1:]
    b = memory.view(a.dtype).reshape(a.shape) if a.size else np.zeros_like(a)
    b[...] = a
    return b


def read_only(a: Any) -> Any:
    """Nobody may write to it."""
    a = np.array(a)
    a.flags.writeable = False
    return a


LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "contiguous": np.array,
    "columns": lambda a: np.array(a, order="F"),
    "strided": strided,
    "backwards": backwards,
    "unaligned": unaligned,
    "read-only": read_only,
}

CASES: dict[str, Callable[[Make], Iterator[tuple[Any, ...]]]] = {}
# How large the terms are that an implementation adds up, where it is not exact: a function with the
# reference's arguments, which returns and writes what its roundings are measured by. By default the
# reference of the arguments' absolute values: for sums of products, the sum of absolute values.
SIZES: dict[str, Callable[..., Any]] = {}
# Operations whose zeros may have either sign: the maximum of both zeros is one of them, and 0 times
# a number has the sign of the number.
EITHER_ZERO = {"max_pool", "max_pool_gradient"}


def cases(function: Callable[[Make], Iterator[tuple[Any, ...]]]) -> Any:
    """Enter the cases of the operation that a function is named after."""
    CASES[function.__name__] = function
    return function


def sizes(name: str) -> Callable[[Callable[..., Any]], Any]:
    """Enter a function as the sizes of an operation."""

    def enter(function: Callable[..., Any]) -> Any:
        SIZES[name] = function
        return function

    return enter


# --- Rows and channels ------------------------------------------------------------------------

# (batch, channels) and (batch, positions, channels). On CUDA the long ones are of several chunks.
BATCHES = [(1, 1), (2, 3), (65, 33), (7, 5, 33), (64, 10, 1), (3, 2, 2, 8), (0, 3), (5, 0),
           (2, 0, 3), (1025, 4)]  # fmt: skip
LONG = [(1024, 2), (2, 2500), (1025, 40), (2, 700, 32), (10, 3300, 1)]


def batches(make: Make) -> list[tuple[int, ...]]:
    """Long ones in one layout only: a kernel on the host takes its time."""
    return BATCHES + LONG * (make.layout == "contiguous" and not make.special)


@cases
def rescale(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in ((4, 64), (3, 5, 7, 1), (1,), (0, 3), (17,)):
        for scale, offset in ((1 / 255, 0.0), (2 / 255, -1.0), (-0.5, 3.0)):
            x = make.whole(*shape, dtype=np.uint8, least=0, most=255)
            yield x, scale, offset, make.number
        yield make.whole(*shape, dtype=np.int8), 0.5, 1.0, make.number
    yield make.array(np.arange(256, dtype=np.uint8)), 1 / 255, 0.0, make.number


@cases
def two_stage_sum(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in batches(make):
        yield make.floats(*shape), None
        yield make.floats(*shape), make.output(shape[-1])
    yield make.floats(4), None
    yield make.floats(4, 3), make.output(2)


@cases
def batch_norm(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in batches(make):
        gamma, beta = make.floats(shape[-1]), make.floats(shape[-1])
        yield make.floats(*shape), gamma, beta, 0.5
        yield make.floats(*shape, center=3), 1, beta, 1e-5
    yield make.floats(5, 3), 1, make.floats(2), 1e-5
    yield make.floats(5, 3), make.floats(2), make.floats(3), 1e-5
    yield make.floats(5, 3), make.floats(1), make.floats(3), 1e-5
    yield make.floats(3), 1, make.floats(3), 1e-5


@sizes("batch_norm")
def batch_norm_sizes(x, gamma, beta, epsilon):
    """A mean is off by roundings of its channel's greatest number; the spread divides them."""
    axes, n = tuple(range(x.ndim - 1)), max(1, math.prod(x.shape[:-1]))
    largest = abs(x).max(axis=axes, initial=0)
    var = ((x - x.sum(axis=axes) / n) ** 2).sum(axis=axes) / n
    inv_std = 1 / np.sqrt(var + epsilon)
    spreads = 1 + largest * inv_std
    x_hat = np.broadcast_to(spreads, x.shape)
    y = abs(gamma) * x_hat + abs(beta)
    return y, x_hat, largest, var + largest * np.sqrt(var), inv_std * spreads


@cases
def batch_norm_gradient(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in batches(make):
        c = shape[-1]
        for need_dx in (True, False):
            arrays = make.floats(*shape), make.floats(*shape), make.positive(c)
            yield *arrays, make.floats(c), make.output(c), make.output(c), need_dx
            yield *arrays, 1, None, make.output(c), need_dx
    one = make.positive(3), 1, None
    yield make.floats(5, 3), make.floats(5, 2), *one, make.output(3), True
    yield make.floats(5, 3), make.floats(1, 3), *one, make.output(3), True
    yield make.floats(5, 3), make.floats(5, 3), *one, make.output(2), True


@sizes("batch_norm_gradient")
def batch_norm_gradient_sizes(dy, x_hat, inv_std, gamma, dgamma, dbeta, need_dx):
    """The terms without their signs."""
    axes = tuple(range(dy.ndim - 1))
    n, scale = math.prod(dy.shape[:-1]), abs(gamma) * inv_std
    sum_dy, sum_dots = abs(dy).sum(axis=axes), abs(dy * x_hat).sum(axis=axes)
    dbeta[...] = sum_dy
    if dgamma is not None:
        dgamma[...] = sum_dots
    dx = scale * abs(dy) + scale * sum_dots / n * abs(x_hat) + scale * sum_dy / n
    return dx if need_dx else None


@cases
def normalize(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in batches(make):
        yield make.floats(*shape), *(make.floats(shape[-1]) for _ in range(3))
    yield make.floats(5, 3), make.floats(3), make.floats(2), make.floats(3)
    yield make.floats(5, 3), make.floats(3), make.floats(1), make.floats(3)


@cases
def update_running(make: Make) -> Iterator[tuple[Any, ...]]:
    for channels in (1, 10, 1500, 0):
        for bad in (None, 0, channels - 1):
            running = make.state(make.floats(channels)), make.state(make.positive(channels))
            mean, var = make.floats(channels, special=False), make.positive(channels)
            if bad is not None and channels and make.layout != "read-only":
                (mean if bad else var)[bad] = np.inf
            yield *running, mean, var, 0.9, 100 / 99
    yield make.output(3), make.output(3), make.floats(2), make.positive(3), 0.9, 1.0


# --- Windows ----------------------------------------------------------------------------------

# The images' shape, outputs, and windows.
GEOMETRIES = [
    ((2, 5, 6, 3), 4, Windows((3, 3))),
    ((2, 6, 5, 33), 3, Windows((2, 3))),
    ((3, 9, 9, 2), 40, Windows((3, 3))),
    ((3, 12, 11, 1), 32, Windows((3, 3))),
    ((1, 4, 9, 70), 2, Windows((1, 3), dilation=(1, 2))),
    ((1, 5, 5, 1), 1, Windows((5, 5), stride=(9, 9))),
    ((2, 9, 9, 3), 2, Windows((3, 2), stride=(3, 2), dilation=(2, 3))),
    ((2, 4, 4, 6), 4, Windows((2, 2), groups=2)),
    ((1, 1, 1, 1), 1, Windows((1, 1))),
    ((0, 4, 4, 2), 3, Windows((2, 2))),
    ((2, 4, 4, 0), 3, Windows((2, 2))),
    ((2, 3, 3, 2), 3, Windows((4, 4))),
]


def counted(shape: tuple[int, ...], windows: Windows) -> tuple[int, ...]:
    return tuple(max(0, n) for n in windows.counts(shape))


def kernel(make: Make, shape: tuple[int, ...], outputs: int, windows: Windows) -> Any:
    return make.floats(*windows.size, shape[-1] // windows.groups, outputs)


def edge_of_zeros(dz: Any) -> Any:
    """As behind a pooling that dropped a row and a column; the implementations leave them out."""
    dz = np.array(dz)
    dz[:, -1:] = 0
    dz[:, :, -1:] = 0
    return dz


@cases
def convolve(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, outputs, windows in GEOMETRIES:
        W = kernel(make, shape, outputs, windows)
        yield make.floats(*shape), W, windows
        yield make.signs(*shape), W, windows
        yield make.signs(*shape), make.signs(*W.shape), windows
    yield make.floats(2, 5, 5, 3), make.floats(2, 2, 2, 4), Windows((2, 2))


@cases
def convolve_dW(make: Make) -> Iterator[tuple[Any, ...]]:  # noqa: N802
    for shape, outputs, windows in GEOMETRIES:
        dz = make.floats(shape[0], *counted(shape, windows), outputs)
        yield make.floats(*shape), dz, windows
        yield make.floats(*shape, special=False), make.array(edge_of_zeros(dz)), windows
        yield make.signs(*shape), dz, windows
        yield make.signs(*shape), make.array(edge_of_zeros(dz)), windows
    yield make.floats(2, 5, 5, 3), make.floats(3, 4, 4, 4), Windows((2, 2))


@cases
def convolve_dx(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, outputs, windows in GEOMETRIES:
        dz = make.floats(shape[0], *counted(shape, windows), outputs)
        yield dz, kernel(make, shape, outputs, windows), windows, shape
        W = make.floats(*windows.size, shape[-1] // windows.groups, outputs, special=False)
        yield make.array(edge_of_zeros(dz)), W, windows, shape
        yield dz, make.signs(*W.shape), windows, shape
        yield make.array(edge_of_zeros(dz)), make.signs(*W.shape), windows, shape
    yield make.floats(3, 4, 4, 4), make.floats(2, 2, 3, 4), Windows((2, 2)), (2, 5, 5, 3)


@cases
def window_rows(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, _, windows in GEOMETRIES:
        for dtype in (np.uint8, np.int32, make.dtype):
            yield make.whole(*shape, dtype=dtype, least=0), windows


POOLS = [
    ((2, 4, 6, 3), Windows((2, 2), (2, 2))),
    ((2, 6, 6, 33), Windows((2, 2), (2, 2))),
    ((3, 20, 9, 5), Windows((3, 3), (2, 2))),
    ((1, 9, 9, 70), Windows((1, 3), (2, 1))),
    ((1, 16, 17, 2), Windows((16, 16))),  # as many positions as a byte counts
    ((1, 2, 300, 2), Windows((1, 257), (1, 257))),  # one more
    ((2, 9, 10, 9), Windows((3, 2), (2, 3), (3, 2))),
    ((1, 1, 1, 1), Windows((1, 1))),
    ((0, 4, 4, 2), Windows((2, 2))),
    ((2, 4, 4, 0), Windows((2, 2))),
]


@cases
def max_pool(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, windows in POOLS:
        for with_positions in (True, False):
            yield make.floats(*shape), windows, with_positions
            for dtype in (np.uint8, np.int32, make.dtype):
                yield make.whole(*shape, dtype=dtype, least=0), windows, with_positions


@cases
def max_pool_gradient(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, windows in POOLS:
        pooled = shape[0], *windows.counts(shape), shape[-1]
        most = math.prod(windows.size) - 1
        for dtype in (np.min_scalar_type(most), np.uint16):
            position = make.whole(*pooled, dtype=dtype, least=0, most=most)
            yield make.floats(*pooled), position, windows, shape
    windows, shape = Windows((2, 2), (2, 2)), (2, 6, 6, 3)
    position = make.whole(2, 3, 3, 3, dtype=np.uint8, least=0, most=3)
    yield make.floats(2, 2, 3, 3), position, windows, shape
    yield make.floats(2, 3, 3, 3), position[:, 1:], windows, shape


@cases
def average_pool(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, windows in POOLS:
        yield make.floats(*shape), windows


@cases
def average_pool_gradient(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, windows in POOLS:
        yield make.floats(shape[0], *windows.counts(shape), shape[-1]), windows, shape
    yield make.floats(2, 3, 3, 2), Windows((2, 2), (2, 2)), (2, 6, 6, 3)


# --- Signs, losses, random numbers ------------------------------------------------------------

SIZES_OF_BLOCKS = [(1,), (15,), (3, 7), (65, 1024), (130, 1025), (2, 3, 5), (5, 0)]


@cases
def binary_sign(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in (*SIZES_OF_BLOCKS, ()):
        yield (make.floats(*shape),)
    yield (make.whole(7, dtype=np.int32),)


@cases
def straight_through_gradient(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in SIZES_OF_BLOCKS:
        yield make.floats(*shape), make.floats(*shape), 1.0
    for clip in (2, 0.1):
        yield make.floats(3, 7), make.floats(3, 7), clip
    yield make.floats(8, 6), make.floats(8, 6), make.floats(8, 6)
    yield make.floats(8, 6), make.floats(7, 6), 1.0
    yield make.floats(8, 6), make.floats(1, 6), 1.0


# Rows and classes. On CUDA the last ones are of several blocks.
LOGITS = [(1, 1), (64, 10), (7, 40), (7, 41), (3, 100), (5, 2), (0, 3), (3, 0), (1000, 11)]


def labels(make: Make, shape: tuple[int, ...], dtype: Any) -> Any:
    return make.whole(shape[0], dtype=dtype, least=0, most=max(0, shape[1] - 1))


@cases
def log_softmax(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in LOGITS:
        yield (make.floats(*shape),)
        yield (make.floats(*shape, center=80),)
    yield (make.floats(5),)


@sizes("log_softmax")
def log_softmax_sizes(logits):
    """The exponential of a number makes a relative error of the number's rounding."""
    s = logits - logits.max(axis=1, keepdims=True)
    exp = np.exp(s)
    total = exp.sum(axis=1, keepdims=True)
    p = exp / total
    return 1 + abs(s) + np.log(total), np.where(p > 0, p * (1 + abs(s)), p)


@cases
def cross_entropy(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in LOGITS:
        for smoothing in (0.0, 0.1):
            yield make.floats(*shape), labels(make, shape, np.int64), smoothing
        yield make.floats(*shape), make.positive(*shape), 0.1
    for dtype in (np.uint8, np.int16):
        yield make.floats(64, 10), labels(make, (64, 10), dtype), 0.1
    yield make.floats(5, 3), labels(make, (4, 3), np.int64), 0.0


@sizes("cross_entropy")
def cross_entropy_sizes(logits, labels, smoothing):
    """As of the logarithms, weighted."""
    n, classes = logits.shape
    logp, p = log_softmax_sizes(logits)
    if labels.ndim == 1:
        labels = np.eye(classes)[labels]
    t = (1 - smoothing) * labels + smoothing / classes
    return np.where(t > 0, t * logp, 0).sum() / n, p


@cases
def cross_entropy_gradient(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in LOGITS:
        for smoothing in (0.0, 0.1):
            yield make.positive(*shape), labels(make, shape, np.int64), smoothing
        yield make.positive(*shape), make.positive(*shape), 0.1
    for dtype in (np.uint8, np.int16):
        yield make.positive(64, 10), labels(make, (64, 10), dtype), 0.1
    yield make.floats(5, 3), labels(make, (4, 3), np.int64), 0.0


@cases
def count_correct(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in LOGITS:
        yield make.floats(*shape), labels(make, shape, np.int64)
        yield make.whole(*shape), labels(make, shape, np.int64)  # several are the greatest
    for dtype in (np.uint8, np.int16):
        yield make.floats(64, 10), labels(make, (64, 10), dtype)


@cases
def uniform(make: Make) -> Iterator[tuple[Any, ...]]:
    k0, k1 = np.uint32(123456789), np.uint32(4000000000)
    for shape in (*SIZES_OF_BLOCKS, ()):
        for first in (0, 7, 2**32 - 10**6):
            yield make.backend.xp, shape, k0, k1, first, make.number
    yield make.backend.xp, (3,), make.array(np.array(k0)), make.array(np.array(k1)), 0, make.number
    yield make.backend.xp, (11,), k0, k1, 2**32 - 11, make.number
    yield make.backend.xp, (11,), k0, k1, 2**32 - 10, make.number
    yield make.backend.xp, (11,), k0, k1, -1, make.number


# --- Optimisers and captured steps --------------------------------------------------------------


def adam_scalars(learning_rate: float, t: int) -> tuple[float, ...]:
    """What changes in update number `t` of an Adam with the usual decays and epsilon."""
    w = Parameter("w", (1,), Fill(0.0))
    w.initialize(np.random.default_rng(0), np.float32)
    return Adam([w]).scalars(learning_rate, t - 1)


@cases
def adam(make: Make) -> Iterator[tuple[Any, ...]]:
    """Of finite values: implementations look for no overflow, where the reference raises."""
    for n in (1, 15, 4097, 70_000, 0):
        for bound in (None, 0.5):
            w, m = (make.state(make.floats(n, special=False)) for _ in range(2))
            g, v = make.floats(n, special=False), make.state(make.positive(n))
            yield w, g, m, v, 0.01, 1e-8, 0.9, 0.999, bound
    w, m, v = (make.state(make.positive(2, 3)) for _ in range(3))
    yield w, make.positive(2, 3), m, v, 0.01, 1e-8, 0.9, 0.999, 1.0
    w, m, v = (make.state(make.positive(6)) for _ in range(3))
    yield w, make.positive(5), m, v, 0.01, 1e-8, 0.9, 0.999, 1.0
    scalars = (make.array(np.array(a, make.dtype)) for a in (0.01, 1e-8))
    yield w, make.positive(6), m, v, *scalars, 0.9, 0.999, 1.0


@cases
def note_finite(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape in (*SIZES_OF_BLOCKS, ()):
        for before in (True, False):
            yield make.state(np.array(before)), make.floats(*shape, special=False)
            a = make.floats(*shape, special=False)
            if a.size and a.flags.writeable:
                a[(-1,) * a.ndim] = np.nan if before else -np.inf
            yield make.state(np.array(True)), a


@cases
def begin_step(make: Make) -> Iterator[tuple[Any, ...]]:
    for n, k in ((1, 2), (3, 0), (0, 4), (0, 0), (5, 7)):
        counter, now = (make.state(np.array(i, np.int64)) for i in (2, 9))
        keys = make.state(np.zeros(k, np.uint32))
        table = make.whole(4, k, dtype=np.uint32, least=0, most=2**32 - 1)
        yield counter, now, make.output(n), make.floats(4, n), keys, table


@cases
def gather_batch(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, dtype in (((12, 5, 7), np.uint8), ((12, 3), np.float64), ((12, 4), np.float32)):
        for kind in (np.uint8, np.int64):
            arrays = make.whole(*shape, dtype=dtype, least=0), make.whole(12, dtype=kind, least=0)
            order = make.array(make.rng.permutation(12).astype(np.int64))
            for now in (0, 2):
                yield arrays, order, make.array(np.array(now, np.int64)), 4


@cases
def note_step(make: Make) -> Iterator[tuple[Any, ...]]:
    for now in (0, 3):
        state = make.state(np.ones(4)), make.state(np.ones(4, bool))
        loss = make.array(np.array(0.1 if now else np.nan, make.dtype))
        yield *state, make.array(np.array(now, np.int64)), loss, make.array(np.array(now > 0))


# --- Packed inference -------------------------------------------------------------------------

WIDTHS = [1, 63, 64, 65, 200]


def bits(make: Make, *shape: int, dtype: Any = np.uint8) -> Any:
    return make.whole(*shape, dtype=dtype, least=0, most=1)


def words(make: Make, rows: int, width: int) -> Any:
    return make.array(pack(make.rng.integers(0, 2, (rows, width)).astype(np.uint8)))


@cases
def pack_rows(make: Make) -> Iterator[tuple[Any, ...]]:
    for width in (*WIDTHS, 0):
        for dtype in (np.uint8, np.bool_):
            for rows in (1, 9, 0):
                yield (bits(make, rows, width, dtype=dtype),)
    yield (bits(make, 3),)


@cases
def unpack_rows(make: Make) -> Iterator[tuple[Any, ...]]:
    for width in WIDTHS:
        for rows in (1, 9, 0):
            yield words(make, rows, width), width


@cases
def xnor_products(make: Make) -> Iterator[tuple[Any, ...]]:
    for width in WIDTHS:
        for n, m in ((1, 1), (5, 70), (33, 3), (70, 65), (0, 3), (40, 0)):
            yield words(make, n, width), words(make, m, width), width
    yield words(make, 2, 64), words(make, 3, 65), 64


@cases
def bit_products(make: Make) -> Iterator[tuple[Any, ...]]:
    for n, m, width in ((3, 4, 65), (0, 4, 65), (2048, 512, 512), (2049, 513, 520)):
        if n < 2048 or make.layout == "contiguous":
            yield bits(make, n, width), BitMatrix(words(make, m, width), width)
    yield bits(make, 3, 64), BitMatrix(words(make, 4, 65), 65)


@cases
def pixel_products(make: Make) -> Iterator[tuple[Any, ...]]:
    for n, m, width in ((3, 4, 65), (33, 70, 64), (0, 4, 65), (1030, 70, 1000)):
        if n < 1000 or make.layout == "contiguous":
            x = make.whole(n, width, dtype=np.uint8, least=0, most=255)
            yield x, BitMatrix(words(make, m, width), width)
    yield bits(make, 3, 64), BitMatrix(words(make, 4, 65), 65)


def thresholds(make: Make, channels: int) -> tuple[Any, Any]:
    t = make.whole(channels, dtype=np.int32, least=-9, most=9)
    return t, bits(make, channels, dtype=np.bool_)


@cases
def threshold_bits(make: Make) -> Iterator[tuple[Any, ...]]:
    for shape, channels in (
        ((9, 5), 5),
        ((300, 7), 7),
        ((3, 4, 4, 2), 2),
        ((6, 6), 3),
        ((0, 5), 5),
    ):
        acc = make.whole(*shape, dtype=np.int32, least=-9, most=9)
        yield acc, *thresholds(make, channels)
    yield make.whole(3, 5, dtype=np.int32), *thresholds(make, 4)
    yield make.whole(3, 5, dtype=np.int64), *thresholds(make, 5)


def scores(make: Make, n: int, classes: int) -> tuple[Any, Any, Any]:
    A, B = (make.whole(classes, dtype=np.int64, least=-(2**40), most=2**40) for _ in range(2))
    return make.whole(n, classes, dtype=np.int32, least=-2000, most=2000), A, B


@cases
def integer_scores(make: Make) -> Iterator[tuple[Any, ...]]:
    for n, classes in ((1, 1), (9, 10), (300, 33), (0, 3)):
        yield scores(make, n, classes)
    yield make.whole(3, 4, dtype=np.int32), *scores(make, 1, 5)[1:]


@cases
def score_labels(make: Make) -> Iterator[tuple[Any, ...]]:
    for n, classes in ((1, 1), (9, 10), (300, 33), (0, 3)):
        yield scores(make, n, classes)
        acc = make.whole(n, classes, dtype=np.int32)  # several are the greatest
        yield acc, *(make.array(np.full(classes, i, np.int64)) for i in (1, 0))
    yield make.whole(3, 4, dtype=np.int32), *scores(make, 1, 5)[1:]


@cases
def dense_layers(make: Make) -> Iterator[tuple[Any, ...]]:
    for pixels in (True, False):
        for widths in ((65, 30, 10), (64, 3), (200, 70, 33, 1)):
            layers = tuple(BitMatrix(words(make, m, width), width) for width, m in pairwise(widths))
            behind = tuple(thresholds(make, m) for m in widths[1:-1])
            for n in (1, 5, 0):
                x = make.whole(n, widths[0], dtype=np.uint8, least=0, most=255 if pixels else 1)
                yield x, DenseLayers(pixels, layers, behind)
