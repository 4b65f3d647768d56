"""Models that a web page can run, exported pages of them, and node, which runs their scripts."""

from __future__ import annotations

import dataclasses
import json
import math
import re
import shutil
import subprocess

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)
from integer_programs import NO_BORDER

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    pack,
)
from minibnn.export.html import export_html
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
)
from minibnn.packed.model import PackedModel
from minibnn.packed.stages import ScoreStage, ThresholdStage
from minibnn.recipes import RECIPES

SIGN = SignSTE()


def dense(n_in, n_out):
    return Dense(n_in, n_out, weight_quantizer=SIGN)


def conv(c_in, c_out, size=3, **options):
    return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)


def sign(n):
    return [BatchNorm(n), Activation(SIGN)]


def ink():
    return [Rescale(1, -128), Activation(SIGN)]


def models():
    """Every kind of stage, and every way to slide a window."""
    pixels = [Reshape((28, 28, 1)), Rescale(1, -100)]
    return {
        **{name: RECIPES[name]().build() for name in ("seed", "modern", "finn-sfc", "larq-cnn")},
        "pixels to scores": [Flatten(), Rescale(1 / 255), dense(784, 3)],
        "odd widths": [Flatten(), Rescale(1 / 255), dense(784, 33), *sign(33), dense(33, 31), *sign(31), dense(31, 3)],
        "falling ink": [Flatten(), Rescale(-1, 64), Activation(SIGN), dense(784, 64), *sign(64), dense(64, 10)],
        "plain": [*pixels, conv(1, 5), *sign(5), Flatten(), dense(26 * 26 * 5, 4)],
        "pooled": [*pixels, conv(1, 5), MaxPool2D(2), *sign(5), Flatten(), dense(13 * 13 * 5, 4)],
        "overlapping pools": [*pixels, conv(1, 5), BatchNorm(5), MaxPool2D(3, 2), Activation(SIGN), Flatten(), dense(12 * 12 * 5, 4)],
        "pooled signs": [*pixels, conv(1, 5), *sign(5), MaxPool2D((3, 2)), Flatten(), dense(8 * 13 * 5, 4)],
        "two": [*pixels, conv(1, 5), *sign(5), conv(5, 3, padding=1, padding_value=-1), MaxPool2D(2), *sign(3), Flatten(), dense(13 * 13 * 3, 4)],
        "padding +1": [*pixels, conv(1, 33), *sign(33), conv(33, 3, (2, 4), padding=(2, 1), padding_value=1, stride=(2, 1), dilation=(1, 2)), *sign(3), Flatten(), dense(15 * 22 * 3, 4)],
        "same": [*pixels, conv(1, 5), *sign(5), conv(5, 3, 2, padding="same", padding_value=-1), *sign(3), Flatten(), dense(26 * 26 * 3, 4)],
        "bits": [Reshape((28, 28, 1)), *ink(), conv(1, 5, padding=1, padding_value=-1, stride=2), *sign(5), Flatten(), dense(14 * 14 * 5, 4)],
        "pixel padding": [Reshape((28, 28, 1)), Rescale(1, -6), conv(1, 5, padding=2, padding_value=-1), *sign(5), Flatten(), dense(30 * 30 * 5, 4)],
        "strided pixels": [*pixels, conv(1, 5, (4, 2), stride=(3, 2), dilation=(2, 3)), *sign(5), Flatten(), dense(8 * 13 * 5, 4)],
        "conv last": [*pixels, conv(1, 5), *sign(5), conv(5, 4, 26), Flatten()],
    }  # fmt: skip


def shake(model, rng):
    """Random values for everything that training changes."""
    for parameter in model.parameters():
        data = parameter.data
        if parameter.name == "bias":
            data[...] = rng.normal(0, 5, data.shape).round()
        elif parameter.name == "gamma":
            data[...] = rng.choice([1, -1, 0.3, -7], data.shape)
            data[4:5] = 0  # a channel that never changes
        elif parameter.name == "beta":
            data[...] = rng.choice([0, 0.5, -0.5], data.shape)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.choice([0, 1, -2, 3.7], buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.choice([1, 17.3], buffer.data.shape)
    return model


def packed_of(name, rng):
    layers = models()[name]
    model = layers if isinstance(layers, Sequential) else Sequential(*layers)
    model = shake(model.initialize(rng), rng)
    list(model)[-1].initialize(0)  # comparable logits
    return pack(model, (28, 28))


def with_wide_scores(packed):
    """The same labels, from scores too large for JavaScript's numbers."""
    scores = packed.scores
    most = max(abs(scores.A) * packed.stages[-2].width + abs(scores.B))
    shift = 61 - int(most).bit_length()
    A, B = scores.A << shift, (scores.B << shift) + 1
    wide = dataclasses.replace(scores, A=A, B=B, fits_int32=False)
    return dataclasses.replace(packed, stages=(*packed.stages[:-1], wide))


def program(input_shape, *stages, A=1, B=0, wide=False, **options):
    """These stages with scores ``A v + B`` at their end; `wide` for scores beyond 32 bits."""
    (n,) = shape = (math.prod(stages[-1].out_shape),)
    A, B = (np.broadcast_to(np.array(v, np.int64), shape).copy() for v in (A, B))
    unit = np.ones(n, np.float32)
    scores = ScoreStage(shape, shape, A, B, 0, not wide, unit, unit)
    return PackedModel(input_shape, (*stages, scores), {"thresholds": []}, **options)


def branched(rng, classes=10, shape=(28, 28), depth=1, **options):
    """A network with every kind of number: bytes, ternary weights and bits, a shortcut, a join."""
    (h, w), n = ((side + 1) // 2 for side in shape[:2]), 4
    maps, half = (h, w, n), ((h + 1) // 2, (w + 1) // 2)
    edge = ((1, 1), (1, 1))

    def weights(most, *size):
        W = rng.integers(-most, most + 1, size).astype(np.int8)
        W[0, 0] = most
        return W

    def scaled(most, reach):
        A = np.full(n, most * 2**16 // reach, np.int64)
        return A, rng.integers(0, 2**17, n), 16

    image, one = (*shape[:2], depth), (1, 1)
    first = IntegerConv(
        image, maps, weights(127, n, 9 * depth), "pixels", (3, 3), (2, 2), one, edge, 0, 1
    )
    stages = [
        first,
        ScaleStage(maps, maps, "acc", *scaled(100, 2**16)),
        SlopeStage(maps, maps, np.full(n, 3, np.int64), 4),
        ThresholdStage(maps, maps, rng.integers(0, 9, n).astype(np.int32), rng.random(n) < 0.3),
        IntegerConv(maps, maps, weights(1, n, 9 * n), "bits", (3, 3), one, one, edge, 0, 1),
        ScaleStage(maps, maps, "acc", *scaled(60, 12)),
        AddStage(maps, maps, sources=(2, 5)),
    ]
    for k in (3, 2):
        out = (*half, k)
        stages.append(
            IntegerConv(maps, out, weights(9, k, n), "numbers", one, (2, 2), one, NO_BORDER, 0, 1,
                        sources=() if k == 3 else (6,))
        )  # fmt: skip
        thresholds = np.sort(rng.integers(-300, 600, (k, 3)).astype(np.int32), axis=1)
        stages.append(LevelStage(out, out, thresholds, np.zeros(k, bool)))
    stages.append(ConcatStage((*half, 3), (*half, 5), (3, 2), sources=(8, 10)))
    n = math.prod(half) * 5
    stages.append(IntegerDense((n,), (classes,), weights(127, classes, n), "numbers"))
    return program(shape, *stages, **options)


def noise(rng, n=20):
    images = rng.integers(0, 256, (n, 28, 28), np.uint8)
    images[1::2] *= rng.random(images[1::2].shape) < 0.2  # mostly black, as digits are
    return images


def element(page, name):
    return re.search(rf'<script[^>]* ?id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def exported(packed, folder, **options):
    path = folder / "page.html"
    export_html(packed, path, **options)
    return path.read_text(encoding="utf-8")


NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node on the PATH")


def node(*parts, given=None):
    """The JSON that a script in strict mode prints; it has a variable `given`."""
    text = "\n".join([*parts[:-1], f"const given = {json.dumps(given)};", parts[-1]])
    done = subprocess.run([NODE, "-"], input=text, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def arc(x, y, rx, ry, start=0.0, stop=2 * math.pi, n=40):
    angles = np.linspace(start, stop, n)
    return [[x + rx * math.cos(a), y + ry * math.sin(a)] for a in angles]


# Strokes of drawn digits.
SEVEN = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.85]]]
ONE = [[[0.52, 0.15], [0.5, 0.85]]]
ZERO = [arc(0.5, 0.5, 0.2, 0.3)]
