"""A packed model's program as data: a description for JSON, and named arrays.

`file/architecture.py` checks what a file says and builds the program from it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from minibnn.packed.bits import flat_bits, narrowest
from minibnn.packed.integer_stages import (
    INTEGER_STAGES,
    AddStage,
    ConcatStage,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    weight_form,
)
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    HostArray,
    Product,
    ScoreStage,
    Shape,
    Stage,
    ThresholdStage,
    sources_of,
)

# The values that a description leaves out.
DEFAULTS = {
    "pixels": False,
    "falling": False,
    "stride": (1, 1),
    "dilation": (1, 1),
    "border": ((0, 0), (0, 0)),
    "border_value": 0,
    "groups": 1,
    "sources": (),
    "numbers": False,
}
_KEEPS_SHAPE = (Binarize, ThresholdStage, ScoreStage, LevelStage, ScaleStage, SlopeStage, AddStage)
# What follows from the arrays, from the sources and from the rest.
_IMPLIED = {"width", "fits_int32", "dtype", "takes"}


@dataclass(frozen=True)
class Interface:
    """What goes into a program, and what its scores are of.

    Attributes:
        shape: of one sample.
        dtype: of a sample: uint8, int8, int16 or float32.
        features: the names along the sample's last axis, or None.
        classes: the names of the classes, or None.
        numbers: whether the scores are numbers times ``2^shift``, not those of classes.
    """

    shape: Shape
    dtype: str = "uint8"
    features: tuple[str, ...] | None = None
    classes: tuple[str, ...] | None = None
    numbers: bool = False


def describe(interface: Interface, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """A program without its arrays; what is usual is left out."""
    shapes, described = [interface.shape], []
    for i, stage in enumerate(stages):
        described.append(_describe(stage, shapes[sources_of(i, stage)[0] + 1]))
        shapes.append(stage.out_shape)
    whole: dict[str, Any] = {"input_shape": list(interface.shape), "stages": described}
    if interface.dtype != "uint8":
        whole["input_dtype"] = interface.dtype
    for name in ("features", "classes"):
        names = getattr(interface, name)
        if names is not None:
            whole[name] = list(names)
    if interface.numbers:
        whole["numbers"] = True
    return whole


def format_version(interface: Interface, stages: tuple[Stage, ...]) -> int:
    """The first version of the file format that can say this; see `docs/packed-format.md`."""
    usual = interface == Interface(interface.shape)
    new = any(
        isinstance(stage, (CodeStage, *INTEGER_STAGES))
        or stage.sources
        or (isinstance(stage, ScoreStage) and len(stage.A) == 1)
        for stage in stages
    )
    return 2 if new or not usual else 1


def _describe(stage: Stage, shape: Shape) -> dict[str, Any]:
    """A stage that follows values of this shape, without defaults and what the rest implies."""
    values = {f.name: getattr(stage, f.name) for f in fields(stage)}
    kept = {
        k: v
        for k, v in values.items()
        if not isinstance(v, np.ndarray)
        and k not in _IMPLIED
        and (k not in DEFAULTS or v != DEFAULTS[k])
    }
    if isinstance(stage, (*_KEEPS_SHAPE, ConcatStage)):  # whose parts say it
        del kept["out_shape"]
    if isinstance(stage, LevelStage):
        kept["levels"] = stage.thresholds.shape[1]
    if stage.in_shape == shape:
        del kept["in_shape"]
    return {"kind": stage.kind, **kept}


def named_arrays(stages: tuple[Stage, ...]) -> dict[str, HostArray]:
    """The arrays of a program, in as few bytes as hold them; ``2.weights`` is stage 2's.

    All have one axis. Rows of bits have no padding, integers have 16, 32 or 64 bits. Weights of 0
    and of more than a bit are as `weight_form` says.
    """
    arrays: dict[str, HostArray] = {}
    for i, stage in enumerate(stages):
        for name, array in stage.arrays().items():
            if isinstance(stage, IntegerProduct):
                arrays |= {f"{i}.{k}": a for k, a in _weight_arrays(array).items()}
                continue
            if isinstance(stage, Product):
                array = flat_bits(array, stage.width)
            elif name == "falling":
                if not array.any():
                    continue  # most thresholds rise
                array = np.packbits(array, bitorder="little")
            elif isinstance(stage, CodeStage) and name != "feature":
                end = interval_end(array.dtype, name)
                if (array == end).all():
                    continue  # a thermometer's bits have no upper end
            elif array.dtype.kind == "i":
                array = narrowest(array.reshape(-1))
            arrays[f"{i}.{name}"] = array
    return arrays


def _weight_arrays(weights: HostArray) -> dict[str, HostArray]:
    form = weight_form(weights)
    if form == "bytes":
        return {"weights": weights.reshape(-1)}
    arrays = {"weights": np.packbits(weights.reshape(-1) > 0, bitorder="little")}
    if form == "ternary":
        arrays["mask"] = np.packbits(weights.reshape(-1) != 0, bitorder="little")
    return arrays


def interval_end(dtype: np.dtype[Any], name: str) -> Any:
    """The end that an interval has without a ``low`` or a ``high``."""
    if dtype.kind == "f":
        return dtype.type(-np.inf if name == "low" else np.inf)
    return np.iinfo(dtype).min if name == "low" else np.iinfo(dtype).max


def to_json(value: Any) -> str:
    """JSON in one canonical form, without spaces; NumPy integers become Python's.

    Raises:
        TypeError: for a value that JSON cannot hold.
        ValueError: for nan, infinity, and a value that contains itself.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def _plain(value: Any) -> int:
    if isinstance(value, np.integer):
        return int(value)
    hint = "; float(...) makes a number that it can" if isinstance(value, np.floating) else ""
    raise TypeError(f"got {value!r} of type {type(value).__name__}{hint}")
