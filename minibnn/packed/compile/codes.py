"""Input codes as comparisons of the raw input with stored numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from minibnn.encoding.base import InputCode
from minibnn.layers import Activation, Layer
from minibnn.packed.errors import PackError
from minibnn.packed.numbers import Holds, Numbers
from minibnn.packed.stages import CodeStage, HostArray, Shape

SIGNS = 64  # of a feature, to compare with the model's own


def code_stage(
    where: str, shape: Shape, dtype: str, front: Sequence[Layer], code: InputCode | Activation
) -> CodeStage:
    """The stage whose bits are the signs that `code` gives after the layers in front of it.

    These layers (`Standardize`, `Rescale`) take each value alone, and rounding keeps its order: a
    larger input never gives a smaller output (or, for a negative scale, never a larger one). So the
    inputs for which a sign is +1 are an interval, and bisection on the model's own layers finds its
    two ends among all numbers of the input's dtype. The bits are equal for every input: nothing is
    rounded in the packed form.

    Args:
        where: the layer, for messages.
        shape: of a sample.
        dtype: of the input.
        front: the layers in front, with the last axis as it is in `shape`.
        code: a code, or a sign, which is 1 from 0 on.

    Raises:
        PackError: if the layers do not keep the order, as far as some bits tell.
    """
    features, numbers = shape[-1], Numbers(dtype)

    def value(x: HostArray) -> HostArray:
        with np.errstate(all="ignore"):  # an infinite value is compared like any other
            for layer in front:
                x = layer.forward(x)
        return x

    if isinstance(code, InputCode):
        low, high = (end.T for end in code.intervals())  # (B, features)
    else:
        low, high = np.zeros((1, features)), np.full((1, features), np.inf)

    def reaches(x: HostArray) -> HostArray:
        return np.asarray(value(x) >= low)

    def within(x: HostArray) -> HostArray:
        return np.asarray(value(x) <= high)

    least, most = (value(numbers.filled((1, features), end)) for end in numbers.ends)
    falls = np.broadcast_to(most < least, low.shape)
    # Where values rise, from the first x that reaches low to the last within high; where they fall,
    # from the first within high to the last that reaches low.
    begins = [numbers.first(holds, low.shape) for holds in (within, reaches)]
    stops = [numbers.first(_no(holds), low.shape) for holds in (reaches, within)]
    first, last = np.where(falls, *begins), np.where(falls, *stops) - 1
    nothing = first > last
    _check(where, numbers, first, last, nothing, lambda x: _bits(value(x), code, len(low)))
    lows = np.where(nothing, numbers.filled(low.shape, numbers.ends[1]), numbers.value(first))
    highs = np.where(nothing, numbers.filled(low.shape, numbers.ends[0]), numbers.value(last))
    return CodeStage(
        shape,
        (*shape[:-1], low.size),
        dtype,
        np.repeat(np.arange(features, dtype=np.int32), len(low)),
        np.ascontiguousarray(lows.T).reshape(-1).astype(dtype),
        np.ascontiguousarray(highs.T).reshape(-1).astype(dtype),
    )


def _no(holds: Holds) -> Holds:
    return lambda x: ~holds(x)


def _bits(y: HostArray, code: InputCode | Activation, B: int) -> HostArray:
    """The model's bits (rows, B, features) for values (rows, features)."""
    with np.errstate(all="ignore"):
        signs = code.forward(y)
    return np.asarray(signs.reshape(len(y), y.shape[1], B).swapaxes(1, 2) > 0)


def _check(
    where: str, numbers: Numbers, first: HostArray, last: HostArray, nothing: HostArray, bits: Any
) -> None:
    """Compare with the model's own bits around both ends of each interval, and at 17 places."""
    B = len(first)
    # The model gives all B signs of a number, one of which is compared here, so 1000 would be slow.
    signs = np.unique(np.linspace(0, B - 1, min(B, SIGNS)).astype(np.intp))
    first, last, nothing = (a[signs] for a in (first, last, nothing))
    others = [np.full_like(first, p) for p in np.linspace(*numbers.ends, 17).astype(np.int64)]
    for near in (first - 1, first, first + 1, last - 1, last, last + 1, *others):
        places = near.clip(*numbers.ends)  # a row for each of these signs
        inside = (places >= first) & (places <= last) & ~nothing
        got = bits(numbers.value(places))[np.arange(len(signs)), signs]
        if not (got == inside).all():
            feature = int(np.argwhere(got != inside)[0][1])
            raise PackError(
                f"{where}: expected layers in front that keep the order of numbers, got others in "
                f"feature {feature}; put Standardize or Rescale there"
            )
