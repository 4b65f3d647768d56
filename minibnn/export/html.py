"""Export a packed model as a web page: people draw digits or move sliders, and it answers."""

from __future__ import annotations

import html
import itertools
import os
import re
import zlib
from typing import Any

import numpy as np

from minibnn.atomic_file import whole_file
from minibnn.export.page_parts import base91, filled, script_json, shortened, template_of
from minibnn.export.vectors import DIGITS as DRAWN
from minibnn.export.vectors import TestVectors, vectors_of
from minibnn.packed.bits import flat_bits
from minibnn.packed.description import interval_end
from minibnn.packed.errors import PackError
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    IntegerProduct,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
    weight_form,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import (
    Binarize,
    CodeStage,
    ConvStage,
    DenseStage,
    HostArray,
    PoolStage,
    Product,
    ScoreStage,
    Stage,
    ThresholdStage,
)

__all__ = ["export_html"]

TITLES = {"binary": "A network of single bits", "wide": "A network of small integers"}
# In the template, lines between `// only a b` and `// end`, or such comments of HTML and CSS, are
# for pages with the property a or b; see `_properties`.
ONLY = re.compile(r"\s*(?://|/\*|<!--) (?:only ([a-z_ ]+?)|end)(?: \*/| -->)?")

TO_READ = ("network", "picture", "numbers")  # scripts that people may want to read

# The kinds of stages whose programs on bits, without branches, the page knows as "binary".
BINARY = {"binarize", "code", "dense", "conv", "pool", "threshold", "scores"}
NUMBERS = {"levels", "scale", "slope", "add"}  # kinds that give numbers


def export_html(
    packed: PackedModel,
    path: str | os.PathLike[str],
    *,
    title: str | None = None,
    images: HostArray | None = None,
) -> None:
    """Write a web page on which people try a packed model out.

    The page is one file of HTML, CSS and JavaScript that loads nothing from a network. The model's
    integer program runs on the page, and the page shows every bit, numbers of several bits as
    colours, the scores and the label, by its name if the model has ``class_names``. A single score
    is a bar between two classes. What goes in depends on the model:

    .. code-block:: text

        uint8 (28, 28), (784,), (28, 28, 1)     people draw, with a mouse, a finger, a pen or keys
        other uint8 (h, w), (h, w, 1), (h, w, 3)     a picture from a file, in the model's size
        anything else, or (h, w) with names     a slider and a field for each number

    Like the digits of MNIST, a drawing is fitted into 20 by 20 pixels and centred by its mass in 28
    by 28. A slider goes from a feature's least threshold to its greatest, and a bit beyond both;
    its field takes any number of the model's dtype.

    When it opens, the page compares the scores of `images` with ``packed.predict_scores``, and the
    model with its checksum; any difference is shown in red. The same model and images give the
    same bytes.

    Args:
        packed: the model.
        path: of the file, which appears whole or not at all.
        title: the page's heading.
        images: samples of the model's shape and dtype, for the self-test and as examples to click;
            None gives one of each digit, all pixels 0, and all 255, or for other models those of
            `minibnn.export.vectors`.

    Raises:
        PackError: for a stage that the page cannot run, and for a model of numbers.
        TypeError: for images of another dtype, or a title that is not a string.
        ValueError: for images of another shape, for no images, and for a blank title.
        OSError: if the file cannot be written.

    >>> import pathlib, tempfile
    >>> from minibnn import Dense, Flatten, Rescale, Sequential, SignSTE, pack
    >>> model = Sequential(Flatten(), Rescale(1), Dense(784, 10, weight_quantizer=SignSTE()))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = pathlib.Path(folder) / "digits.html"
    ...     export_html(pack(model.initialize(0), (28, 28)), page, title="Templates of digits")
    ...     page.read_text(encoding="utf-8").count("Templates of digits")
    2
    """
    if not isinstance(title, str | None):
        raise TypeError(f"export_html: expected title as text, got {type(title).__name__}")
    if packed.numbers:
        raise PackError(
            "export_html: expected a model of classes, got one of numbers; use export_c"
        )
    properties = _properties(packed)
    usual = TITLES["binary" if "binary" in properties else "wide"]
    if title is not None and not title.strip():
        raise ValueError(
            f"export_html: expected a title that can be read, got {title!r}; None gives {usual!r}"
        )
    vectors = vectors_of(packed, images)
    if len(vectors.images) == 0:
        raise ValueError("export_html: expected at least one image for the self-test, got none")
    model = script_json(_describe(packed, "typed" in properties))
    heading = html.escape(usual if title is None else title)
    content = {
        "title": heading,
        "heading": heading,
        "sha256": packed.sha256,
        "model": model,
        "vectors": script_json(_describe_vectors(packed, vectors, model)),
    }
    template = _chosen(template_of("page.html"), properties)
    data = filled(shortened(template, TO_READ), content)
    with whole_file(path) as file:
        file.write(data)


def _properties(packed: PackedModel) -> set[str]:
    """What the page is like, as the template's blocks name it."""
    shape, code = packed.input_shape, isinstance(packed.stages[0], CodeStage)
    image = shape[2] in (1, 3) if len(shape) == 3 else len(shape) == 2 and not packed.feature_names
    kind = "table"
    if packed.input_dtype == "uint8":
        kind = "draw" if shape in DRAWN else "picture" if image else kind
    named = packed.class_names not in (None, tuple(map(str, range(max(packed.classes, 2)))))
    found = {kind, "names" if named else "plain", "code" if code else "uncoded"}
    found.add("numbers" if code or kind == "table" else "pixels")
    found.add("single" if packed.classes == 1 else "several")
    kinds = {stage.kind for stage in packed.stages}
    branches = any(stage.sources for stage in packed.stages)
    if kinds <= BINARY and not branches:
        found |= {"binary", *BINARY - {"code", "scores"}}
    else:
        found |= {"planes"} if any(map(_has_planes, packed.stages)) else set()
        found |= {"wide", "shades" if kinds & NUMBERS else "bits", *kinds - {"scores"}}
    typed = code or named or kind != "draw" or not found.isdisjoint({"wide", "single"})
    found.add("typed" if typed else "untyped")
    if kind == "draw":
        found.add("digits" if packed.classes == 10 and not named else "drawing")
    return found


def _chosen(template: str, properties: set[str]) -> str:
    """The template without the lines that are only for pages with other properties."""
    lines: list[str] = []
    blocks: list[bool] = []
    for line in template.splitlines():
        if not (mark := ONLY.fullmatch(line)):
            lines += [line] * all(blocks)
        elif mark[1] is None:
            blocks.pop()
        else:
            blocks.append(not properties.isdisjoint(mark[1].split()))
    return "\n".join(lines) + "\n"


def _describe(packed: PackedModel, typed: bool) -> dict[str, Any]:
    """The model as the page's `loadNetwork` reads it; `typed` says what goes in, and its names."""
    stages = [_describe_stage(i, stage) for i, stage in enumerate(packed.stages)]
    about: dict[str, Any] = {"bytes": packed.nbytes, "stages": stages}
    if typed:
        about["input"] = {"shape": packed.input_shape, "dtype": packed.input_dtype}
        if packed.feature_names is not None:
            about["input"]["features"] = packed.feature_names
        if packed.class_names is not None:
            about["classes"] = packed.class_names
    return about


def _describe_vectors(packed: PackedModel, vectors: TestVectors, model: str) -> dict[str, Any]:
    numbers = _numbers(packed.scores)
    return {
        "images": base91(_packbits(_little(vectors.images))),
        "labels": vectors.labels.tolist(),
        "scores": [numbers(row) for row in vectors.scores],
        "crc32": zlib.crc32(model.encode("ascii")),
    }


def _describe_stage(i: int, stage: Stage) -> dict[str, Any]:
    """A stage as the page's `loadNetwork` reads it."""
    about: dict[str, Any] = {"kind": stage.kind, "out": stage.out_shape}
    if stage.sources:
        about["sources"] = stage.sources
    if isinstance(stage, ConvStage | IntegerConv | PoolStage | SumPoolStage):
        about["in"] = stage.in_shape
    if isinstance(stage, CodeStage):
        about |= _describe_code(stage)
    if isinstance(stage, Product):
        about |= {"channels": stage.channels, "width": stage.width, "pixels": stage.pixels}
        about["weights"] = base91(flat_bits(stage.weights, stage.width).tobytes())
    elif isinstance(stage, IntegerProduct):
        about |= {"channels": stage.channels, "width": stage.width}
        about |= _describe_weights(stage.weights)
    if isinstance(stage, IntegerProduct | SumPoolStage | ScaleStage):
        about["takes"] = stage.takes
    if isinstance(stage, ConvStage | IntegerConv):
        (above, below), (left, right) = stage.border
        about |= {"size": stage.size, "stride": stage.stride, "dilation": stage.dilation}
        about |= {"border": [above, below, left, right], "border_value": stage.border_value}
        if isinstance(stage, IntegerConv):
            about["groups"] = stage.groups
    elif isinstance(stage, PoolStage | SumPoolStage):
        about |= {"size": stage.size, "stride": stage.stride}
    elif isinstance(stage, Binarize):
        about |= {"threshold": stage.threshold, "falling": stage.falling}
    elif isinstance(stage, ThresholdStage | LevelStage):
        about["thresholds"] = stage.thresholds.tolist()
        about["falling"] = np.flatnonzero(stage.falling).tolist()
    elif isinstance(stage, ScoreStage):
        numbers = _numbers(stage)
        about |= {"int32": stage.fits_int32, "A": numbers(stage.A), "B": numbers(stage.B)}
    elif isinstance(stage, ScaleStage | SlopeStage):
        about |= {name: array.tolist() for name, array in stage.arrays().items()}
        about["shift"] = stage.shift
    elif isinstance(stage, ConcatStage):
        about["parts"] = stage.parts
    elif not isinstance(stage, DenseStage | IntegerDense | CodeStage | AddStage):
        raise PackError(
            f"export_html: stage {i}: expected a kind that the page runs, got {stage.kind}"
        )
    return about


def _describe_weights(weights: HostArray) -> dict[str, Any]:
    """What the page's `loadIntegers` reads: planes of bits, or bytes."""
    form = weight_form(weights)
    if form == "bytes":
        return {"form": form, "weights": base91(weights.tobytes())}
    planes = {"weights": weights > 0} | ({"mask": weights != 0} if form == "ternary" else {})
    packed = {name: np.packbits(plane, bitorder="little") for name, plane in planes.items()}
    return {"form": form} | {name: base91(plane.tobytes()) for name, plane in packed.items()}


def _has_planes(stage: Stage) -> bool:
    """Whether the page counts bits that agree, as it does for weights of +1, -1 and 0."""
    return (
        isinstance(stage, IntegerProduct)
        and stage.takes == "bits"
        and weight_form(stage.weights) != "bytes"
    )


def _describe_code(stage: CodeStage) -> dict[str, Any]:
    """What the page's `loadCode` reads."""
    features, bits = stage.in_shape[-1], len(stage.feature)
    about: dict[str, Any] = {"features": features, "bits": bits}
    if not np.array_equal(stage.feature, np.arange(bits) * features // bits):
        about["feature"] = stage.feature.tolist()
    for name in ("low", "high"):
        end = getattr(stage, name)
        if (end != interval_end(end.dtype, name)).any():
            about[name] = base91(_little(end))
    return about


def _little(array: HostArray) -> bytes:
    """The bytes of an array, the lowest of each number first."""
    return array.astype(array.dtype.newbyteorder("<")).tobytes()


def _numbers(scores: ScoreStage) -> Any:
    """A function that turns integers into JSON; text if JavaScript's numbers may be too small."""
    if scores.fits_int32:
        return lambda array: array.tolist()
    return lambda array: [str(n) for n in array.tolist()]


def _packbits(data: bytes) -> bytes:
    """Run-length encoding for the page's `unpacked`.

    This is Apple's PackBits, as in TIFF 6.0, section 9: n < 128 followed by n + 1 plain bytes, or
    n > 128 followed by one byte that is repeated 257 - n times.
    """
    packed, plain = bytearray(), bytearray()

    def flush() -> None:
        for start in range(0, len(plain), 128):
            part = plain[start : start + 128]
            packed.extend([len(part) - 1, *part])
        plain.clear()

    for value, run in itertools.groupby(data):
        length = len(list(run))
        if length < 3:
            plain.extend([value] * length)
            continue
        flush()
        for start in range(0, length, 128):
            n = min(128, length - start)
            packed.extend([257 - n, value] if n > 1 else [0, value])
    flush()
    return bytes(packed)
