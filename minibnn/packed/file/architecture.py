"""From a description and arrays to a program; no number of a file is used before it is checked."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from minibnn.packed.bits import rows_of_flat
from minibnn.packed.costs import CHANNELS, STAGES, require_affordable
from minibnn.packed.description import Interface, interval_end
from minibnn.packed.file.arithmetic import with_checked_sizes
from minibnn.packed.file.fields import Fields, StageArrays
from minibnn.packed.file.integers import TAKES, falling_of, integer_stage
from minibnn.packed.integer_stages import AddStage, ConcatStage
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
    last_uses,
    size_of,
    sources_of,
)
from minibnn.windows import Windows

NUMBERS_SHIFT = 2**9  # more than float32 outputs need; so that float64 holds the numbers


def build(described: Any, arrays: dict[str, HostArray]) -> tuple[Interface, tuple[Stage, ...]]:
    """What a description takes and gives, and its stages with their arrays.

    Raises:
        ValueError: for anything that `describe` and `named_arrays` do not give.
    """
    whole = Fields("architecture", described)
    input_shape = whole.shape("input_shape")
    dtype = whole.values.pop("input_dtype", "uint8")
    if dtype not in DTYPES:
        raise ValueError(f"expected an input of {', '.join(DTYPES)}")
    features, classes = whole.names("features"), whole.names("classes")
    numbers = whole.flag("numbers")
    if numbers and classes is not None:
        raise ValueError("expected numbers or classes, got both")
    listed = whole.take("stages")
    whole.end()
    if type(listed) is not list or not listed:
        raise ValueError("expected a list of stages")
    if len(listed) > STAGES:
        raise ValueError(f"expected at most {STAGES:,} stages, got {len(listed):,}")
    arrays = dict(arrays)
    values = [("pixels", input_shape)]  # the kind and the shape of the input and of each output
    stages: list[Stage] = []
    for i, description in enumerate(listed):
        stage, gives = _stage(Fields(f"stage {i}", description), i, values, arrays, dtype)
        values.append((gives, stage.out_shape))
        stages.append(stage)
    holds, shape = values[-1]
    if holds != "scores":
        raise ValueError("expected scores as the last stage")
    if arrays:
        raise ValueError(f"expected no arrays but the stages', got {sorted(arrays)[0]!r}")
    program = tuple(stages)
    for i, last in enumerate(last_uses(program)[1:-1]):
        if last == i:
            raise ValueError(f"stage {i}: expected a later stage that takes its output")
    require_affordable(input_shape, program)
    takers = [stage for i, stage in enumerate(program) if -1 in sources_of(i, stage)]
    if dtype != "uint8" and not all(isinstance(stage, CodeStage) for stage in takers):
        raise ValueError(f"expected a code of {dtype} as the first stage")
    for names, count in ((features, input_shape[-1]), (classes, max(shape[-1], 2))):
        if names is not None and not len(names) == len(set(names)) == count:
            raise ValueError(f"expected {count} different names")
    end = program[-1]
    if numbers and isinstance(end, ScoreStage) and abs(end.shift) > NUMBERS_SHIFT:
        raise ValueError(f"expected numbers of a shift up to {NUMBERS_SHIFT}, got {end.shift}")
    program = with_checked_sizes(input_shape, program)
    return Interface(input_shape, dtype, features, classes, numbers), program


def _stage(
    f: Fields, i: int, values: list[tuple[str, Shape]], arrays: dict[str, HostArray], dtype: str
) -> tuple[Stage, str]:
    """The next stage, and the kind of its output.

    Args:
        f: its fields.
        i: its number.
        values: the kind and the shape of the input, and of the outputs of the stages before.
        arrays: of the file; the stage's own are taken out.
        dtype: of the input.
    """
    own = StageArrays(i, arrays)
    kind = f.take("kind")
    sources = f.integers("sources", -1, i - 1)
    if sources == (i - 1,):
        raise ValueError(f"{f.where}: expected no sources for the stage before")
    taken = [values[j + 1] for j in sources or (i - 1,)]
    holds, shape = taken[0]
    if len(taken) > 1 and kind not in (AddStage.kind, ConcatStage.kind):
        raise ValueError(f"{f.where}: expected one source")
    if any(other != holds for other, _ in taken):
        raise ValueError(f"{f.where}: expected sources of one kind")
    in_shape = f.shape("in_shape") if "in_shape" in f.values else shape
    sizes = [size_of(each) for _, each in taken]
    if kind != ConcatStage.kind and any(size != size_of(in_shape) for size in sizes):
        raise ValueError(f"stage {i}: expected values of {shape}, got {in_shape}")
    if holds == "acc" and in_shape[-1] != shape[-1]:
        raise ValueError(f"stage {i}: expected the channels of {shape}, got {in_shape}")
    stage: Stage
    if type(kind) is str and holds in TAKES.get(kind, ((), ""))[0]:
        stage, gives = integer_stage(f, kind, holds, in_shape, sizes, own), TAKES[kind][1]
        gives = holds if gives == "same" else gives
    else:
        stage, gives = _binary_stage(f, kind, holds, in_shape, own, dtype)
    f.end()
    return replace(stage, sources=sources) if sources else stage, gives


def _binary_stage(
    f: Fields, kind: Any, holds: str, in_shape: Shape, arrays: StageArrays, dtype: str
) -> tuple[Stage, str]:
    """A stage that takes values of this kind (`holds`) and shape, and the kind that it gives."""
    if kind == CodeStage.kind and holds == "pixels":
        return _code(f, in_shape, arrays, dtype), "bits"
    if kind == Binarize.kind and holds == "pixels":
        # -1 and 256 are beyond every pixel.
        threshold, falling = f.integer("threshold", -1, 256), f.flag("falling")
        return Binarize(in_shape, in_shape, threshold, falling), "bits"
    if kind in (DenseStage.kind, ConvStage.kind) and holds in ("pixels", "bits"):
        product = _product(f, kind, in_shape, arrays.take("weights", np.uint8))
        if product.pixels != (holds == "pixels"):
            raise ValueError(f"{f.where}: expected pixels where there are some")
        return product, "acc"
    if kind == PoolStage.kind and holds in ("bits", "acc", "numbers"):
        out_shape, windows = f.shape("out_shape"), Windows(f.pair("size"), f.pair("stride"))
        f.require_windows(windows, in_shape, out_shape)
        if out_shape[-1] != in_shape[-1]:
            raise ValueError(f"{f.where}: expected as many channels as come in")
        return PoolStage(in_shape, out_shape, windows.size, windows.stride), holds
    if kind == ThresholdStage.kind and holds in ("acc", "numbers"):
        thresholds = arrays.take("thresholds", np.int16, np.int32).astype(np.int32)
        n = len(thresholds)
        if in_shape[-1] != n:
            raise ValueError(f"{f.where}: expected {in_shape[-1]} thresholds, got {n}")
        return ThresholdStage(in_shape, in_shape, thresholds, falling_of(arrays, n)), "bits"
    if kind == ScoreStage.kind and holds in ("acc", "numbers") and len(in_shape) == 1:
        return _scores(f, in_shape, arrays), "scores"
    raise ValueError(f"{f.where}: expected a stage that takes {holds}")


def _scores(f: Fields, in_shape: Shape, arrays: StageArrays) -> ScoreStage:
    dtypes = np.int16, np.int32, np.int64
    A, B = (arrays.take(name, *dtypes).astype(np.int64) for name in ("A", "B"))
    scale, offset = (arrays.take(name, np.float32) for name in ("scale", "offset"))
    if any(array.shape != in_shape for array in (A, B, scale, offset)):
        raise ValueError(f"{f.where}: expected numbers for {in_shape[0]} classes")
    if np.isnan(scale).any() or np.isnan(offset).any():
        raise ValueError(f"{f.where}: expected numbers as scale and offset, got nan")
    shift = f.integer("shift", -(2**16), 2**16)
    return ScoreStage(in_shape, in_shape, A, B, shift, True, scale, offset)


def _code(f: Fields, in_shape: Shape, arrays: StageArrays, dtype: str) -> CodeStage:
    out_shape = f.shape("out_shape")
    feature = arrays.take("feature", np.int16, np.int32).astype(np.int32)
    if out_shape != (*in_shape[:-1], len(feature)):
        raise ValueError(f"{f.where}: expected a bit for each of {len(feature)} comparisons")
    if len(feature) and not (feature.min() >= 0 and feature.max() < in_shape[-1]):
        raise ValueError(f"{f.where}: expected features below {in_shape[-1]}")
    ends = []
    for name in ("low", "high"):
        end = np.full(len(feature), interval_end(np.dtype(dtype), name), dtype)
        if arrays.has(name):
            end = arrays.take(name, np.dtype(dtype).type)
            if len(end) != len(feature):
                raise ValueError(f"{f.where}: expected a {name} for each comparison")
            if dtype == "float32" and np.isnan(end).any():
                raise ValueError(f"{f.where}: expected numbers as {name}, got nan")
        ends.append(end)
    return CodeStage(in_shape, out_shape, dtype, feature, *ends)


def _product(f: Fields, kind: str, in_shape: Shape, flat: HostArray) -> Product:
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
    f.require_windows(windows, padded, out_shape)
    return stage
