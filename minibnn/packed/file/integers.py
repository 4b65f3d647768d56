"""Stages on integers of more than one bit, from their fields and arrays in a file."""

from __future__ import annotations

import math

import numpy as np

from minibnn.packed.bits import bits_of_flat
from minibnn.packed.costs import CHANNELS
from minibnn.packed.description import named_arrays
from minibnn.packed.file.fields import LIMIT, Fields, StageArrays
from minibnn.packed.integer_stages import (
    LEAST,
    MOST,
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.stages import HostArray, Shape, Stage
from minibnn.windows import Windows

# The kinds of values that a stage takes, and the kind that it gives; "same" as it takes.
TAKES: dict[str, tuple[tuple[str, ...], str]] = {
    IntegerDense.kind: (("pixels", "bits", "numbers"), "acc"),
    IntegerConv.kind: (("pixels", "bits", "numbers"), "acc"),
    SumPoolStage.kind: (("bits", "numbers"), "acc"),
    LevelStage.kind: (("acc", "numbers"), "numbers"),
    ScaleStage.kind: (("acc", "numbers", "pixels", "bits"), "numbers"),
    SlopeStage.kind: (("numbers",), "numbers"),
    AddStage.kind: (("numbers",), "numbers"),
    ConcatStage.kind: (("bits", "numbers"), "same"),
}
LEVELS = 255
SHIFT = 48  # the greatest of a scale
SLOPE_SHIFT = 30  # and of a slope


def integer_stage(
    f: Fields, kind: str, holds: str, in_shape: Shape, sizes: list[int], arrays: StageArrays
) -> Stage:
    """A stage of one of the kinds in `TAKES`.

    Args:
        f: its fields.
        kind: its own.
        holds: the kind of values that it takes.
        in_shape: in which it takes them.
        sizes: how many values each source has.
        arrays: its arrays.

    Raises:
        ValueError: for a wrong field or array, and for arrays in another form than
            `named_arrays` gives.
    """
    stage = _stage(f, kind, holds, in_shape, sizes, arrays)
    for name, array in named_arrays((stage,)).items():
        own = arrays.taken.pop(name.removeprefix("0."), None)
        if own is None or own.dtype != array.dtype or not np.array_equal(own, array):
            raise ValueError(f"{f.where}: expected {name[2:]} in the form that has one spelling")
    if arrays.taken:
        raise ValueError(f"{f.where}: expected no {sorted(arrays.taken)[0]} that says nothing")
    return stage


def _stage(
    f: Fields, kind: str, holds: str, in_shape: Shape, sizes: list[int], arrays: StageArrays
) -> Stage:
    channels = in_shape[-1]
    if kind == IntegerDense.kind:
        out_shape, width = f.shape("out_shape"), math.prod(in_shape)
        if len(out_shape) != 1:
            raise ValueError(f"{f.where}: expected one axis of sums")
        weights = _weights(f, arrays, *out_shape, width)
        return IntegerDense(in_shape, out_shape, weights, holds)
    if kind == IntegerConv.kind:
        return _conv(f, holds, in_shape, arrays)
    if kind == SumPoolStage.kind:
        out_shape, windows = f.shape("out_shape"), Windows(f.pair("size"), f.pair("stride"))
        f.require_windows(windows, in_shape, out_shape)
        if out_shape[-1] != channels:
            raise ValueError(f"{f.where}: expected as many channels as come in")
        return SumPoolStage(in_shape, out_shape, holds, windows.size, windows.stride)
    if kind == LevelStage.kind:
        return _levels(f, in_shape, arrays)
    if kind == ScaleStage.kind:
        A, B = (_numbers(f, arrays, name, channels) for name in ("A", "B"))
        return ScaleStage(in_shape, in_shape, holds, A, B, f.integer("shift", 0, SHIFT))
    if kind == SlopeStage.kind:
        A = _numbers(f, arrays, "A", channels)
        return SlopeStage(in_shape, in_shape, A, f.integer("shift", 1, SLOPE_SHIFT))
    if kind == AddStage.kind:
        return AddStage(in_shape, in_shape)
    parts = f.integers("parts", 1)
    out_shape, places = (*in_shape[:-1], sum(parts)), math.prod(in_shape[:-1])
    if [places * n for n in parts] != sizes or parts[0] != channels:
        raise ValueError(f"{f.where}: expected the channels of each source as parts")
    if math.prod(out_shape) > LIMIT:
        raise ValueError(f"{f.where}: expected at most {LIMIT:,} values")
    return ConcatStage(in_shape, out_shape, parts)


def _conv(f: Fields, holds: str, in_shape: Shape, arrays: StageArrays) -> IntegerConv:
    out_shape = f.shape("out_shape")
    size, stride, dilation = f.pair("size"), f.pair("stride"), f.pair("dilation")
    border, groups = f.pairs("border"), f.integer("groups", 1, CHANNELS)
    ends = {"pixels": (0, 255), "bits": (-1, 1), "numbers": (LEAST, MOST)}[holds]
    value = f.integer("border_value", *ends)
    windows = Windows(size, stride, dilation)
    padded = (*(n + sum(b) for n, b in zip(in_shape, border, strict=False)), *in_shape[2:])
    f.require_windows(windows, padded, out_shape)
    if in_shape[-1] % groups or out_shape[-1] % groups:
        raise ValueError(f"{f.where}: expected channels in {groups} groups of one size")
    width = math.prod(size) * in_shape[-1] // groups
    weights = _weights(f, arrays, out_shape[-1], width)
    more = (size, stride, dilation, border, value, groups)
    return IntegerConv(in_shape, out_shape, weights, holds, *more)


def _weights(f: Fields, arrays: StageArrays, channels: int, width: int) -> HostArray:
    """Weights (channels, width) of int8; see `weight_form`."""
    if channels > CHANNELS:
        raise ValueError(f"{f.where}: expected at most {CHANNELS:,} channels")
    if 255 * width >= 2**31:
        raise ValueError(f"{f.where}: expected sums that fit into int32")
    flat = arrays.take("weights", np.uint8, np.int8)
    if flat.dtype == np.int8:
        if len(flat) != channels * width or flat.min() < -127:
            raise ValueError(f"{f.where}: expected {channels * width:,} weights from -127 to 127")
        return flat.reshape(channels, width)
    W = bits_of_flat(flat, channels, width).astype(np.int8)
    W *= 2
    W -= 1
    if arrays.has("mask"):
        mask = bits_of_flat(arrays.take("mask", np.uint8), channels, width)
        W *= mask.view(np.int8)
    return W


def _levels(f: Fields, in_shape: Shape, arrays: StageArrays) -> LevelStage:
    count, n = f.integer("levels", 1, LEVELS), in_shape[-1]
    flat = arrays.take("thresholds", np.int16, np.int32).astype(np.int32)
    if len(flat) != n * count:
        raise ValueError(f"{f.where}: expected {n * count:,} thresholds, got {len(flat):,}")
    thresholds, falling = flat.reshape(n, count), falling_of(arrays, n)
    upwards = np.where(falling[:, None], -1, 1) * np.diff(thresholds.astype(np.int64), axis=1)
    if (upwards < 0).any():
        raise ValueError(f"{f.where}: expected rising thresholds, or falling ones where it falls")
    return LevelStage(in_shape, in_shape, thresholds, falling)


def falling_of(arrays: StageArrays, channels: int) -> HostArray:
    """The directions (channels,) of bool; without the array all thresholds rise."""
    if not arrays.has("falling"):
        return np.zeros(channels, bool)
    bits = bits_of_flat(arrays.take("falling", np.uint8), 1, channels)
    directions: HostArray = bits[0].astype(bool)
    return directions


def _numbers(f: Fields, arrays: StageArrays, name: str, channels: int) -> HostArray:
    values = arrays.take(name, np.int16, np.int32, np.int64).astype(np.int64)
    if len(values) != channels:
        raise ValueError(f"{f.where}: expected {name} for {channels:,} channels")
    return values
