"""Which values a function has: found out from the function itself, never from what it claims."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from minibnn.backend import Array

# float32 holds 2^24 steps; beyond 16 bits the rounding is no quantization any more.
MAX_BITS = 16
# Values are looked for from -limit to limit. Further out, squares would overflow.
_LIMITS = (1.0, 8.0, *(2.0**n for n in (-12, 12, -24, 24, -36, 36, -48, 48)))
# As many bits have the numbers of points in the grids over one range, from coarse to fine.
_GRIDS = (12, 14, 16, 18, 20)
# For many channels at once: of how many the values are looked at, and how large an array may be.
_COARSE_GRIDS = (8, 10, 12, 14)
_CHANNELS, _MOST = 16, 2**22


class _HasForward(Protocol):
    def forward(self, x: Array) -> Array: ...


def weight_levels(function: _HasForward, axes: int = 2, channels: int = 1) -> Array | None:
    """The values that one channel of a weight with so many axes can have, sorted; None for reals.

    The function is asked on grids of numbers of every size, as one channel, which is the last axis:
    so a sign with a scale for each channel has two values in one. A function that cannot take one
    channel alone, since it holds numbers of its own for each, is asked on all `channels`, for up to
    8 bits. If a finer grid brings no further values, these are all. A function that cannot be asked
    (it raises, gives nan, infinity or another shape) counts as one of real numbers.

    It takes milliseconds, for many bits some tenths of a second: nothing for a training step.
    """
    leading = (-1, *(1,) * (axes - 2))
    try:
        return _levels(function, (*leading, 1)[:axes])
    except Exception:  # whatever a function of a user's does with numbers that it did not expect
        pass
    try:
        return _find_levels(function, (*leading, channels), _COARSE_GRIDS)
    except Exception:
        return None


def weight_bits(function: _HasForward, axes: int = 2, channels: int = 1) -> int:
    """How many bits one value of a weight takes; 32 for real numbers."""
    return _bits(weight_levels(function, axes, channels))


def activation_bits(function: _HasForward) -> int:
    """How many bits one value of an activation takes; 32 for real numbers.

    It has to have few values whether they belong to one sample or to many.
    """
    try:
        bits = _bits(_levels(function, (-1, 1)))
        return bits if bits == 32 else max(bits, _bits(_levels(function, (1, -1))))
    except Exception:  # as for weights
        return 32


def _bits(levels: Array | None) -> int:
    return 32 if levels is None else max(1, math.ceil(math.log2(len(levels))))


def _levels(function: _HasForward, shape: tuple[int, ...]) -> Array | None:
    kind = type(function)
    # Ours have numbers for fields and stay as they are, so that their values can be kept.
    if kind.__module__.startswith("minibnn.functions.") and kind.__hash__ is not None:
        return _levels_of_ours(function, shape)  # type: ignore[arg-type]
    return _find_levels(function, shape)


@lru_cache(maxsize=256)
def _levels_of_ours(function: Any, shape: tuple[int, ...]) -> Array | None:
    return _find_levels(function, shape)


def _find_levels(
    function: _HasForward, shape: tuple[int, ...], grids: tuple[int, ...] = _GRIDS
) -> Array | None:
    """The values of `function` in the range that shows most of them, on arrays of this shape.

    In a wide range even the finest grid may be too coarse for what happens around zero. What it
    shows there is no more than a narrower range did, if there are few values at all.
    """
    function = copy.deepcopy(function)  # it may draw, or count its calls
    all_seen, some_seen = [], [0]
    most = 2**MAX_BITS if grids is _GRIDS else 2 ** _COARSE_GRIDS[0]
    with np.errstate(all="ignore"):
        for limit in _LIMITS:
            levels, all_of_them = _levels_within(limit, function, shape, grids, most)
            if len(levels) > most:
                return None
            if all_of_them:
                all_seen.append(levels)
            else:
                some_seen.append(len(levels))
    levels = max(all_seen, key=len, default=np.empty(0))
    return levels if len(levels) >= max(1, *some_seen) else None


def _levels_within(
    limit: float,
    function: _HasForward,
    shape: tuple[int, ...],
    grids: tuple[int, ...],
    most: int,
) -> tuple[Array, bool]:
    """The values on [-limit, limit], and whether a finer grid brought no more of them."""
    before, channels = math.inf, max(1, shape[-1])
    levels = np.empty(0)
    for bits in grids:
        if 2**bits * channels > _MOST:
            return levels, False
        x = np.linspace(-limit, limit, 2**bits + 1, dtype=np.float32)
        x = np.repeat(x, channels).reshape(shape)
        y = function.forward(x)
        if y.shape != x.shape or not np.isfinite(y).all():
            raise ValueError("expected finite values in the shape of x")
        seen = y.reshape(-1, channels).T[:: -(-channels // _CHANNELS)]
        levels = max(map(np.unique, seen), key=len)
        if len(levels) > most or before <= len(levels) <= 1.001 * before:
            break
        before = len(levels)
    else:
        return levels, False
    return levels, True
