"""From a description and arrays to a program; no number of a file is used before it is checked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.packed.bits import bits_of_flat, rows_of_flat
from minibnn.packed.costs import CHANNELS, STAGES, require_affordable
from minibnn.packed.description import DEFAULTS, Interface, interval_end
from minibnn.packed.stages import (
    DTYPES,
    Binarize,
    CodeStage,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
)
from minibnn.windows import Windows

LIMIT = 2**28  # of each size; `costs` limits what they take together


def build(described: Any, arrays: dict[str, HostArray]) -> tuple[Interface, tuple[Stage, ...]]:
    """What a description takes and gives, and its stages with their arrays.

    Raises:
        ValueError: for anything that `describe` and `named_arrays` do not give.
    """
    whole = _Fields("architecture", described)
    input_shape = whole.shape("input_shape")
    dtype = whole.values.pop("input_dtype", "uint8")
    if dtype not in DTYPES:
        raise ValueError(f"expected an input of {', '.join(DTYPES)}")
    features, classes = whole.names("features"), whole.names("classes")
    listed = whole.take("stages")
    whole.end()
    if type(listed) is not list or not listed:
        raise ValueError("expected a list of stages")
    if len(listed) > STAGES:
        raise ValueError(f"expected at most {STAGES:,} stages, got {len(listed):,}")
    arrays = dict(arrays)
    stages: list[Stage] = []
    holds, shape = "pixels", input_shape
    for i, description in enumerate(listed):
        before = holds
        stage, holds = _stage(_Fields(f"stage {i}", description), before, shape, arrays, i, dtype)
        if math.prod(stage.in_shape) != math.prod(shape):
            raise ValueError(f"stage {i}: expected values of {shape}, got {stage.in_shape}")
        if before == "acc" and stage.in_shape[-1] != shape[-1]:
            raise ValueError(f"stage {i}: expected the channels of {shape}, got {stage.in_shape}")
        if isinstance(stage, ScoreStage):
            stage = _with_size(stage, stages)
        elif isinstance(stage, ThresholdStage):
            _check_reach(i, stage, stages)
        shape = stage.out_shape
        stages.append(stage)
    if holds != "scores":
        raise ValueError("expected scores as the last stage")
    if arrays:
        raise ValueError(f"expected no arrays but the stages', got {sorted(arrays)[0]!r}")
    require_affordable(input_shape, tuple(stages))
    if dtype != "uint8" and not isinstance(stages[0], CodeStage):
        raise ValueError(f"expected a code of {dtype} as the first stage")
    for names, count in ((features, input_shape[-1]), (classes, max(shape[-1], 2))):
        if names is not None and not len(names) == len(set(names)) == count:
            raise ValueError(f"expected {count} different names")
    return Interface(input_shape, dtype, features, classes), tuple(stages)


class _Fields:
    """A JSON object whose fields are taken one by one, each checked."""

    def __init__(self, where: str, value: Any) -> None:
        self.where = where
        if type(value) is not dict:
            raise ValueError(f"{where}: expected an object")
        self.values = dict(value)

    def take(self, name: str) -> Any:
        if name not in self.values and name not in DEFAULTS:
            raise ValueError(f"{self.where}: expected a field {name!r}")
        return self.values.pop(name) if name in self.values else DEFAULTS[name]

    def integer(self, name: str, low: int, high: int) -> int:
        return self._checked(name, self.take(name), low, high)

    def flag(self, name: str) -> bool:
        value = self.take(name)
        if type(value) is not bool:
            raise ValueError(f"{self.where}: expected true or false as {name}")
        return value

    def shape(self, name: str) -> Shape:
        values = self._several(name, self.take(name), 1)
        if not 1 <= len(values) <= 8 or math.prod(values) > LIMIT:
            raise ValueError(f"{self.where}: expected a shape of at most {LIMIT:,} values")
        return values

    def pair(self, name: str, low: int = 1) -> tuple[int, int]:
        first, second = self._two(name, self._several(name, self.take(name), low))
        return first, second

    def pairs(self, name: str) -> tuple[tuple[int, int], tuple[int, int]]:
        value = self.take(name)
        if type(value) not in (list, tuple):
            raise ValueError(f"{self.where}: expected pairs as {name}")
        first, second = (
            self._two(name, self._several(name, part, 0)) for part in self._two(name, value)
        )
        return (first[0], first[1]), (second[0], second[1])

    def names(self, name: str) -> tuple[str, ...] | None:
        value = self.values.pop(name, None)
        if value is None:
            return None
        if type(value) is not list or not all(type(v) is str for v in value):
            raise ValueError(f"{self.where}: expected texts as {name}")
        return tuple(value)

    def end(self) -> None:
        if self.values:
            raise ValueError(f"{self.where}: expected no field {sorted(self.values)[0]!r}")

    def _several(self, name: str, value: Any, low: int) -> tuple[int, ...]:
        if type(value) not in (list, tuple):
            raise ValueError(f"{self.where}: expected integers as {name}")
        return tuple(self._checked(name, n, low, LIMIT) for n in value)

    def _two(self, name: str, value: Any) -> Any:
        if len(value) != 2:
            raise ValueError(f"{self.where}: expected two numbers as {name}")
        return value

    def _checked(self, name: str, value: Any, low: int, high: int) -> int:
        if type(value) is not int or not low <= value <= high:
            raise ValueError(f"{self.where}: expected {name} between {low} and {high}")
        return value


def _stage(
    f: _Fields, holds: str, shape: Shape, arrays: dict[str, HostArray], i: int, dtype: str
) -> tuple[Stage, str]:
    """The stage that takes values of this kind (`holds`) and shape, and the kind that it gives."""

    def array(name: str, *dtypes: type[np.generic]) -> HostArray:
        value = arrays.pop(f"{i}.{name}", None)
        if value is None or value.ndim != 1 or value.dtype.type not in dtypes:
            raise ValueError(f"{f.where}: expected a vector {name} of its dtype")
        return value

    kind = f.take("kind")
    in_shape = f.shape("in_shape") if "in_shape" in f.values else shape
    stage: Stage
    if kind == CodeStage.kind and holds == "pixels":
        stage, gives = _code(f, i, in_shape, array, arrays, dtype), "bits"
    elif kind == Binarize.kind and holds == "pixels":
        # -1 and 256 are beyond every pixel.
        stage = Binarize(in_shape, in_shape, f.integer("threshold", -1, 256), f.flag("falling"))
        gives = "bits"
    elif kind in (DenseStage.kind, ConvStage.kind) and holds in ("pixels", "bits"):
        stage, gives = _product(f, kind, in_shape, array("weights", np.uint8)), "acc"
        if stage.pixels != (holds == "pixels"):
            raise ValueError(f"{f.where}: expected pixels where there are some")
    elif kind == PoolStage.kind and holds in ("bits", "acc"):
        stage = PoolStage(in_shape, f.shape("out_shape"), f.pair("size"), f.pair("stride"))
        _check_windows(f.where, stage, Windows(stage.size, stage.stride), in_shape)
        if stage.out_shape[-1] != in_shape[-1]:
            raise ValueError(f"{f.where}: expected as many channels as come in")
        gives = holds
    elif kind == ThresholdStage.kind and holds == "acc":
        thresholds = array("thresholds", np.int16, np.int32).astype(np.int32)
        n = len(thresholds)
        if in_shape[-1] != n:
            raise ValueError(f"{f.where}: expected {in_shape[-1]} thresholds, got {n}")
        falling = np.zeros(n, bool)
        if f"{i}.falling" in arrays:
            falling = bits_of_flat(array("falling", np.uint8), 1, n)[0].astype(bool)
        stage, gives = ThresholdStage(in_shape, in_shape, thresholds, falling), "bits"
    elif kind == ScoreStage.kind and holds == "acc" and len(in_shape) == 1:
        A, B = (array(k, np.int16, np.int32, np.int64).astype(np.int64) for k in ("A", "B"))
        scale, offset = (array(k, np.float32) for k in ("scale", "offset"))
        if np.isnan(scale).any() or np.isnan(offset).any():
            raise ValueError(f"{f.where}: expected numbers as scale and offset, got nan")
        shift = f.integer("shift", -(2**16), 2**16)
        stage = ScoreStage(in_shape, in_shape, A, B, shift, True, scale, offset)
        gives = "scores"
    else:
        raise ValueError(f"{f.where}: expected a stage that takes {holds}")
    f.end()
    return stage, gives


def _code(
    f: _Fields, i: int, in_shape: Shape, array: Any, arrays: dict[str, HostArray], dtype: str
) -> CodeStage:
    out_shape = f.shape("out_shape")
    feature = array("feature", np.int16, np.int32).astype(np.int32)
    if out_shape != (*in_shape[:-1], len(feature)):
        raise ValueError(f"{f.where}: expected a bit for each of {len(feature)} comparisons")
    if len(feature) and not (feature.min() >= 0 and feature.max() < in_shape[-1]):
        raise ValueError(f"{f.where}: expected features below {in_shape[-1]}")
    ends = []
    for name in ("low", "high"):
        end = np.full(len(feature), interval_end(np.dtype(dtype), name), dtype)
        if f"{i}.{name}" in arrays:
            end = array(name, np.dtype(dtype).type)
            if len(end) != len(feature):
                raise ValueError(f"{f.where}: expected a {name} for each comparison")
            if dtype == "float32" and np.isnan(end).any():
                raise ValueError(f"{f.where}: expected numbers as {name}, got nan")
        ends.append(end)
    return CodeStage(in_shape, out_shape, dtype, feature, *ends)


def _product(f: _Fields, kind: str, in_shape: Shape, flat: HostArray) -> Product:
    out_shape, pixels = f.shape("out_shape"), f.flag("pixels")
    if out_shape[-1] > CHANNELS:
        raise ValueError(f"{f.where}: expected at most {CHANNELS:,} channels")
    if kind == DenseStage.kind:
        width = math.prod(in_shape)
        if len(out_shape) != 1 or 255 * width >= 2**31:
            raise ValueError(f"{f.where}: expected one axis of sums that fit into int32")
        return DenseStage(in_shape, out_shape, rows_of_flat(flat, *out_shape, width), width, pixels)
    size, stride, dilation = f.pair("size"), f.pair("stride"), f.pair("dilation")
    border, value = f.pairs("border"), f.integer("border_value", 0, 255 if pixels else 1)
    width = math.prod(size) * in_shape[-1]
    if 255 * width >= 2**31:
        raise ValueError(f"{f.where}: expected sums that fit into int32")
    if len(in_shape) != 3 or len(out_shape) != 3:
        raise ValueError(f"{f.where}: expected images")
    height, across = (n + sum(b) for n, b in zip(in_shape[:2], border, strict=True))
    padded = (height, across, in_shape[-1])
    weights = rows_of_flat(flat, out_shape[-1], width)
    shapes, windows = (in_shape, out_shape), Windows(size, stride, dilation)
    stage = ConvStage(*shapes, weights, width, pixels, *windows[:3], border, value)
    _check_windows(f.where, stage, windows, padded)
    return stage


def _check_windows(where: str, stage: Stage, windows: Windows, shape: Shape) -> None:
    if len(shape) != 3 or len(stage.out_shape) != 3:
        raise ValueError(f"{where}: expected images")
    if windows.counts((1, *shape)) != stage.out_shape[:2]:
        raise ValueError(f"{where}: expected as many windows as fit on {shape}")


def _check_reach(i: int, stage: ThresholdStage, before: list[Stage]) -> None:
    """Thresholds lie within the sums' reach, or 1 beyond, so exports store them like sums."""
    product = next(s for s in reversed(before) if isinstance(s, Product))
    low, high = product.reach()
    if (stage.thresholds < low - 1).any() or (stage.thresholds > high + 1).any():
        raise ValueError(f"stage {i}: expected thresholds within the sums' reach, or 1 beyond it")


def _with_size(stage: ScoreStage, before: list[Stage]) -> ScoreStage:
    """The stage with its `fits_int32`.

    Raises:
        ValueError: for too many numbers, too few, or too large ones.
    """
    product = next(s for s in reversed(before) if isinstance(s, Product))
    if any(a.shape != (product.channels,) for a in stage.arrays().values()):
        raise ValueError(f"expected numbers for {product.channels} classes")
    largest = stage.largest(*product.reach())
    if stage.in_shape != (product.channels,) or largest >= 2**62:
        raise ValueError("expected a score for each sum, in 62 bits")
    return replace(stage, fits_int32=largest < 2**31)
