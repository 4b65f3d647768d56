"""Small models that take coded inputs: each code, dtype and shape of a sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from minibnn import (
    Activation,
    BatchNorm,
    Concatenate,
    Conv2D,
    Dense,
    Flatten,
    OneHotCode,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    Standardize,
    Thermometer,
    fit_codes,
    pack,
)
from minibnn.input_contract import InputContract
from minibnn.packed.stages import CodeStage

SIGN = SignSTE()


def table(dtype, rng, features=4, n=200):
    """Numbers of very different sizes, some of them missing or equal."""
    x = rng.standard_normal((n, features)) * np.array([1, 1e3, 1e-4, 20])[np.arange(features) % 4]
    if np.dtype(dtype).kind == "f":
        x[rng.random(x.shape) < 0.05] = np.nan
        return x.astype(dtype)
    ends = np.iinfo(dtype)
    return (x * 10 + (ends.min == 0) * 100).round().clip(ends.min, ends.max).astype(dtype)


def categories(dtype, rng, features=4, n=200):
    return rng.integers(3, 9, (n, features)).astype(dtype)


def images(dtype, rng, shape, n=40):
    if np.dtype(dtype).kind == "f":
        return rng.normal(0, 3, (n, *shape)).astype(dtype)
    ends = np.iinfo(dtype)
    return rng.integers(ends.min, ends.max + 1, (n, *shape)).astype(dtype)


def dense(n_in, n_out):
    return Dense(n_in, n_out, bias=False, weight_quantizer=SIGN)


def net(n, hidden=24):
    return [dense(n, hidden), BatchNorm(hidden), Activation(SIGN), dense(hidden, 3), BatchNorm(3)]


def conv_net(channels):
    """For images of 6 by 5."""
    conv = Conv2D(channels, 5, 3, weight_quantizer=SIGN, bias=False)
    return [conv, BatchNorm(5), Activation(SIGN), Flatten(), *net(4 * 3 * 5)]


def side_by_side(x):
    """Two codes of one input, the second falling."""
    scale = Standardize(4).fit(x)
    sign = Sequential(scale, Rescale(-1.0, 0.5), Activation(SIGN))
    return [Concatenate(Thermometer(4, 8).fit(x), sign), *net(36)], x


# A function of a random generator that gives layers and samples, for each name.
CODED = {
    "thermometer": lambda r: ([Thermometer(4, 8), *net(32)], table("float32", r)),
    "uniform": lambda r: (
        [Standardize(4), Thermometer(4, 5, "uniform"), *net(20)], table("float32", r)),
    "sign": lambda r: ([Standardize(4), Activation(SIGN), *net(4)], table("float32", r)),
    "falling": lambda r: (
        [Standardize(4), Rescale(-2.0, 0.5), Thermometer(4, 6), *net(24)], table("float32", r)),
    "one-hot": lambda r: ([OneHotCode(4, 7), *net(28)], categories("float32", r)),
    "one feature": lambda r: ([Thermometer(1, 9), *net(9)], table("float32", r, 1)),
    "int16": lambda r: ([Thermometer(4, 8), *net(32)], table("int16", r)),
    "int16 falling": lambda r: (
        [Standardize(4), Rescale(-2.0, 0.5), Thermometer(4, 8), *net(32)], table("int16", r)),
    "int16 one-hot": lambda r: ([OneHotCode(4, 6), *net(24)], categories("int16", r)),
    "int8": lambda r: ([Thermometer(4, 8), *net(32)], table("int8", r)),
    "int8 one-hot": lambda r: ([OneHotCode(4, 7), *net(28)], categories("int8", r)),
    "uint8": lambda r: ([Thermometer(4, 8), *net(32)], table("uint8", r)),
    "uint8 one-hot": lambda r: ([OneHotCode(4, 7), *net(28)], categories("uint8", r)),
    "uint8 sign": lambda r: ([Standardize(4), Activation(SIGN), *net(4)], table("uint8", r)),
    "side by side": lambda r: side_by_side(table("float32", r)),
    "int16 side by side": lambda r: side_by_side(table("int16", r)),
    "channels": lambda r: ([Thermometer(3, 4), *conv_net(12)], images("uint8", r, (6, 5, 3))),
    "float channels": lambda r: (
        [Standardize(3), Thermometer(3, 2), *conv_net(6)], images("float32", r, (6, 5, 3))),
    "one channel": lambda r: (
        [Reshape((6, 5, 1)), Thermometer(1, 3), *conv_net(3)], images("int8", r, (6, 5))),
    "columns": lambda r: ([Thermometer(5, 2), Flatten(), *net(60)], images("int16", r, (6, 5))),
}  # fmt: skip


def coded(name, rng):
    """The packed model and its samples; it is not trained, so its statistics are random."""
    layers, x = CODED[name](rng)
    model = Sequential(*layers).initialize(rng)
    fit_codes(model, x)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.normal(0, 2, buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.uniform(1, 50, buffer.data.shape)
    model.input_contract = InputContract(str(x.dtype), x.shape[1:])
    return pack(model, class_names=["low", "middle", "high"],
                feature_names=[f"x{i}" for i in range(x.shape[-1])]), x  # fmt: skip


def extreme(x, packed, rng):
    """Samples as `x`, with each value at chance replaced by one that a code might get wrong."""
    dtype = x.dtype
    ends = np.concatenate([packed.stages[0].low, packed.stages[0].high])
    if dtype.kind == "f":
        near = [np.nextafter(ends, dtype.type(end)) for end in (-np.inf, np.inf)]
        more = np.array([np.nan, np.inf, -np.inf, 0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38], dtype)
    else:
        least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        wide = ends.astype(np.int64)
        near = [(wide + d).clip(least, most).astype(dtype) for d in (-1, 1)]
        more = np.array([least, most, 0], dtype)
    pool = np.concatenate([ends, *near, more])
    samples = np.where(rng.random(x.shape) < 0.5, rng.choice(pool, x.shape), x)
    samples[: len(more)] = more.reshape(-1, *[1] * (x.ndim - 1))
    return samples


def any_code(rng):
    """A model whose comparisons no code would have, and samples around them.

    Ends are equal, infinite, extreme or in the wrong order; features stand in any order.
    """
    dtype = np.dtype(rng.choice(["uint8", "int8", "int16", "float32"]))
    features, bits = (int(n) for n in rng.integers(1, [6, 9]))
    x, k = table(dtype, rng, features, 60), features * bits
    model = Sequential(Thermometer(features, bits), *net(k)).initialize(rng)
    fit_codes(model, x)
    model.input_contract = InputContract(str(dtype), (features,))
    packed = pack(model)
    code = packed.stages[0]
    if dtype.kind == "f":
        pool = [-np.inf, np.inf, 0, -0.0, 1e-45, 3.4e38, 1.5]
    else:
        pool = [np.iinfo(dtype).min, np.iinfo(dtype).max, 0, 1]
    pool = np.concatenate([np.array(pool, dtype), x[x == x]])
    low, high = rng.choice(pool, k), rng.choice(pool, k)
    high = np.where(rng.random(k) < 0.3, low, high)
    shapes = code.in_shape, code.out_shape, code.dtype
    code = CodeStage(*shapes, rng.permutation(code.feature), low, high)
    packed = replace(packed, stages=(code, *packed.stages[1:]))
    return packed, extreme(np.tile(x, (2, 1)), packed, rng)
