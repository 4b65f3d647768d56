"""How many bits a function's values take, found by evaluating it on grids of numbers."""

from __future__ import annotations

import copy
import math
from functools import lru_cache
from typing import Any, Protocol

import numpy as np

from minibnn.backend import Array

# float32 distinguishes 2^24 steps; with more than 16 bits rounding is hardly a quantization.
MAX_BITS = 16
# The ranges, from -limit to limit. Further out, squares would overflow.
_LIMITS = (1.0, 8.0, *(2.0**n for n in (-12, 12, -24, 24, -36, 36, -48, 48)))
# The grids over one range, from coarse to fine: 2^12 points to 2^20.
_GRIDS = (12, 14, 16, 18, 20)
# For many channels at once: coarser grids, the number of channels looked at, the largest array.
_COARSE_GRIDS = (8, 10, 12, 14)
_CHANNELS, _MOST = 16, 2**22


class _HasForward(Protocol):
    def forward(self, x: Array) -> Array: ...


def weight_levels(function: _HasForward, axes: int = 2, channels: int = 1) -> Array | None:
    """The values that one channel of a weight can have, sorted; None for real numbers.

    The function is evaluated on grids over narrow and wide ranges, in the shape of a weight with
    one channel (the last axis). So a sign with a scale for each channel has two values. If that
    fails, because the function stores numbers for each channel, it is evaluated on all `channels`,
    for up to 8 bits. The values are complete once a finer grid brings no new ones. A function
    counts as one of real numbers if it raises, or if it returns nan, infinity or another shape.

    This takes milliseconds, or some tenths of a second for many bits: too slow for a training step.

    Args:
        function: the quantizer.
        axes: how many axes the weight has.
        channels: how many channels the weight has.
    """
    leading = (-1, *(1,) * (axes - 2))
    try:
        return _levels(function, (*leading, 1)[:axes])
    except Exception:  # a user's function may raise anything for unexpected numbers
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

    A function that scales each sample by its own mean has few values for one sample, and no limit
    for many: such a function counts as one of real numbers.
    """
    try:
        bits = _bits(_levels(function, (-1, 1)))
        return bits if bits == 32 else max(bits, _bits(_levels(function, (1, -1))))
    except Exception:  # see `weight_levels`
        return 32


def _bits(levels: Array | None) -> int:
    return 32 if levels is None else max(1, math.ceil(math.log2(len(levels))))


def _levels(function: _HasForward, shape: tuple[int, ...]) -> Array | None:
    kind = type(function)
    # minibnn's own functions are immutable and hashable, so their values can be cached.
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

    In a wide range even the finest grid may be too coarse for the values around zero. If the
    number of values is finite, such a grid shows no more of them than a narrower range does.
    """
    function = copy.deepcopy(function)  # it may draw random numbers or count its calls
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
    """The values on [-limit, limit], and whether a finer grid brought no new ones."""
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
