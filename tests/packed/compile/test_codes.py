"""Codes as comparisons of raw inputs: each bit is the float model's, for every input there is.

Oracle: the layers themselves. 8 and 16 bits are tried completely. Of float32 these are tried: both
ends of each interval, their neighbours, special numbers and random bit patterns.
"""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    ApproxSign,
    Layer,
    OneHotCode,
    PackError,
    Rescale,
    SignSTE,
    Standardize,
    Thermometer,
)
from minibnn.encoding import base
from minibnn.packed.compile.codes import code_stage
from minibnn.packed.stages import DTYPES

SIGN = Activation(SignSTE())
MOST, TINY = np.finfo(np.float32).max, np.float32(1e-45)
SPECIAL = np.array(
    [0, -0.0, TINY, -TINY, 1e-40, 1, -1, 0.5, 127, -128, 255, 256, 32767, -32768, 32768,
     2**24 + 1, 1e30, MOST, -MOST, np.inf, -np.inf, np.nan], np.float32,
)  # fmt: skip
SCALES = [1, -1, 2, -0.5, 1 / 255, -1e-3, 3e38, -1e30, 1e-30, 1e-46, 0.0, -7]


def outputs(front, code, x):
    """The model's bits (rows, features B)."""
    with np.errstate(all="ignore"):
        for layer in front:
            x = layer.forward(x)
        return code.forward(x).reshape(len(x), -1) > 0


def next_to(x, towards):
    """The next float32 of each."""
    with np.errstate(all="ignore"):
        return np.nextafter(x, np.float32(towards))


def samples(stage, features, rng):
    """Numbers (rows, features) to try: each of them in each feature."""
    dtype = np.dtype(stage.dtype)
    if dtype.kind != "f":
        ends = np.iinfo(dtype)
        numbers = np.arange(ends.min, ends.max + 1).astype(dtype)
    else:
        near = [*stage.low, *stage.high]
        for towards in (-np.inf, np.inf):
            step = np.array(near, np.float32)
            for _ in range(3):
                step = next_to(step, towards)
                near.extend(step)
        patterns = rng.integers(0, 2**32, 300, np.uint32).view(np.float32)
        normal = rng.standard_normal(100).astype(np.float32) * 10
        numbers = np.concatenate([np.array(near, np.float32), SPECIAL, patterns, normal])
    return np.repeat(numbers[:, None], features, axis=1)


def numbers_like(rng, dtype, shape):
    """Data of a dtype, in several orders of magnitude, with special numbers and constant columns."""
    kind = np.dtype(dtype)
    if kind.kind == "f":
        x = rng.standard_normal(shape) * 10.0 ** rng.integers(-3, 4)
        x = np.where(rng.random(shape) < 0.1, rng.choice(SPECIAL, shape), x).astype(np.float32)
    else:
        x = rng.integers(np.iinfo(kind).min, np.iinfo(kind).max + 1, shape).astype(kind)
        if rng.random() < 0.5:
            x //= kind.type(rng.integers(2, 60))
    if rng.random() < 0.3:
        x[:, 0] = x[0, 0] if x[0, 0] == x[0, 0] else 3
    return x


def fitted(layer, x):
    """The layer, or None if it refuses to be fitted to such data."""
    try:
        return layer.fit(x)
    except ValueError:
        return None


def random_front(rng, features, data):
    front = []
    for _ in range(rng.integers(0, 3)):
        if rng.random() < 0.5 and (layer := fitted(Standardize(features), data)):
            if rng.random() < 0.3:
                layer.mean.data[...] = rng.choice(SPECIAL[:18], features)
                layer.std.data[...] = rng.choice([TINY, 1e-30, 1, 3, 1e30, MOST], features)
        else:
            # 0 times an overflow would be nan, which has no order; see the test of refusals.
            scale = float(rng.choice([s for s in SCALES if abs(s) > 1e-40 or not front]))
            layer = Rescale(scale, float(rng.choice([0, 0.5, -3, 1e20])))
        front.append(layer)
    return front


def random_code(rng, features, data):
    """A code of one of the kinds, with fitted, random, equal, infinite or missing numbers."""
    if rng.random() < 0.15:
        return Activation(rng.choice([SignSTE(), ApproxSign()]))
    bits = int(rng.integers(1, 7))
    spacing = ("quantile", "uniform")[int(rng.integers(2))]
    one_hot = rng.random() < 0.4
    code = OneHotCode(features, bits) if one_hot else Thermometer(features, bits, spacing)
    if rng.random() < 0.4 and fitted(code, data[:bits] if one_hot else data):
        return code
    numbers = np.where(
        rng.random((features, bits)) < 0.4,
        rng.choice(SPECIAL, (features, bits)),
        rng.standard_normal((features, bits)) * 10.0 ** rng.integers(-3, 5),
    ).astype(np.float32)
    numbers = np.where(rng.random(numbers.shape) < 0.3, numbers[:, :1], numbers)  # equal ones
    if rng.random() < 0.5:
        numbers = numbers.round()
    (buffer,) = code.buffers()
    if np.isnan(numbers).all():
        numbers[0, 0] = 0
    buffer.data[...] = numbers if one_hot else np.sort(numbers, axis=1)
    return code


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("part", range(5))
def test_every_bit_is_the_models(dtype, part):
    """600 codes: 30 for each of these 20 tests."""
    kinds = set()
    for i in range(30):
        rng = np.random.default_rng([part, i, DTYPES.index(dtype)])
        features = int(rng.integers(1, 4))
        data = numbers_like(rng, dtype, (int(rng.integers(2, 40)), features))
        front = random_front(rng, features, data)
        with np.errstate(all="ignore"):
            inside = data
            for layer in front:
                inside = layer.forward(inside)
        if np.isnan(inside).all(axis=0).any():
            inside = np.zeros_like(inside)
        code = random_code(rng, features, inside)
        if isinstance(code, Activation):  # of floats
            front.append(Rescale(1))
        stage = code_stage("here", (features,), dtype, front, code)
        kinds |= {type(layer) for layer in (*front, code)}
        x = samples(stage, features, rng)
        np.testing.assert_array_equal(
            stage.run(x) > 0, outputs(front, code, x), err_msg=f"{part, i}: {front}, {code}"
        )
        assert stage.low.dtype == stage.high.dtype == np.dtype(dtype)
        assert not np.isnan([stage.low, stage.high]).any()
        ends = np.array([stage.low, stage.high])
        assert not np.signbit(ends[ends == 0]).any()  # one form of zero
    assert kinds == {Standardize, Rescale, Thermometer, OneHotCode, Activation}


def test_the_interval_of_a_thermometer():
    code = Thermometer(2, 2)
    code.thresholds.data[...] = [[-1.5, 3], [-np.inf, np.inf]]
    stage = code_stage("here", (2,), "float32", [], code)
    assert stage.feature.tolist() == [0, 0, 1, 1]
    assert stage.low.tolist() == [-1.5, 3, -np.inf, np.inf]
    assert stage.high.tolist() == [np.inf] * 4
    whole = code_stage("here", (2,), "int8", [], code)
    assert whole.low.tolist() == [-1, 3, -128, 127]
    assert whole.high.tolist() == [127, 127, 127, -128]  # no int8 is infinite: nothing is inside


def test_the_interval_of_a_category():
    code = OneHotCode(1, 3).fit(np.array([[2.0], [4.5]]))
    stage = code_stage("here", (1,), "uint8", [], code)
    assert stage.low.tolist() == [2, 255, 255]
    assert stage.high.tolist() == [2, 0, 0]
    behind = code_stage("here", (1,), "int16", [Rescale(0.5)], code)
    assert behind.low.tolist() == [4, 9, 32767]
    assert behind.high.tolist() == [4, 9, -32768]


def test_a_negative_scale_turns_the_interval():
    code = Thermometer(1, 1)
    code.thresholds.data[...] = 3
    stage = code_stage("here", (1,), "int16", [Rescale(-2.0, 1)], code)
    assert (stage.low.tolist(), stage.high.tolist()) == ([-32768], [-1])
    x = np.array([[-32768], [-2], [-1], [0], [32767]], np.int16)
    assert stage.run(x).ravel().tolist() == [1, 1, 1, 0, 0]


def test_a_sign_is_one_at_zero():
    layer = Standardize(1).fit(np.array([[1], [3]]))
    stage = code_stage("here", (1,), "uint8", [layer], SIGN)
    assert (stage.low.tolist(), stage.high.tolist()) == ([2], [255])


def test_positions_share_the_comparisons(rng):
    x = rng.integers(-128, 128, (5, 2, 4, 3), np.int8)
    code = Thermometer(3, 2).fit(x)
    stage = code_stage("here", (2, 4, 3), "int8", [], code)
    assert stage.out_shape == (2, 4, 6)
    assert len(stage.low) == 6
    np.testing.assert_array_equal(stage.run(x) > 0, code.forward(x) > 0)


class Wave(Layer):
    """No order is kept here."""

    def forward(self, x, *, train=False):
        return np.sin(x.astype(np.float32))

    def backward(self, dy, *, need_dx=True): ...


def test_layers_that_lose_the_order_are_refused():
    code = Thermometer(2, 1)
    code.thresholds.data[...] = [[2], [0]]
    with pytest.raises(PackError, match=r"here: expected layers in front that keep the order of .* feature 1"):  # fmt: skip
        code_stage("here", (2,), "uint8", [Wave()], code)


def test_an_overflow_that_becomes_nan_is_refused():
    code = Thermometer(1, 1)
    code.thresholds.data[...] = -3
    with pytest.raises(PackError, match="that keep the order"):
        code_stage("here", (1,), "uint8", [Rescale(3e38), Rescale(0, -3)], code)


def test_a_code_that_differs_from_its_intervals_is_refused():
    """The layer's own signs are the measure."""

    class Off(Thermometer):
        def intervals(self):
            low, high = super().intervals()
            return low + 1, high

    code = Off(1, 2)
    code.thresholds.data[...] = [[5, 9]]
    assert isinstance(code, base.InputCode)
    with pytest.raises(PackError, match="in feature 0"):
        code_stage("here", (1,), "int16", [], code)


def test_a_thousand_categories(rng):
    x = rng.integers(-500, 500, (20_000, 2)).astype(np.int16)
    code = OneHotCode(2, 1000).fit(x)
    stage = code_stage("here", (2,), "int16", [], code)
    y = rng.integers(-600, 600, (300, 2)).astype(np.int16)
    np.testing.assert_array_equal(stage.run(y) > 0, code.forward(y) > 0)

    class Off(OneHotCode):
        def intervals(self):
            low, high = super().intervals()
            return low + 1, high

    off = Off(2, 1000).fit(x)
    with pytest.raises(PackError, match="in feature 0"):
        code_stage("here", (2,), "int16", [], off)
