"""Models with coded inputs of every dtype, packed, and inputs that go to the ends of each code."""

from __future__ import annotations

import numpy as np

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    InputContract,
    OneHotCode,
    Rescale,
    Sequential,
    SignSTE,
    Standardize,
    Thermometer,
    fit_codes,
    pack,
)

FEATURES = 5
NAMES = {"class_names": ["low", 'caf\u00e9 "\\?', "*/ high"], "feature_names": list("vwxyz")}
# The dtype of the input, and the layers in front of the first product.
FRONTS = {
    "floats": ("float32", lambda: [Thermometer(FEATURES, 4)]),
    "standardized": ("float32", lambda: [Standardize(FEATURES), Thermometer(FEATURES, 3, "uniform")]),
    "signs": ("float32", lambda: [Standardize(FEATURES), Activation(SignSTE())]),
    "int16": ("int16", lambda: [Thermometer(FEATURES, 4)]),
    "falling": ("int16", lambda: [Standardize(FEATURES), Rescale(-3.0, 1.0), Thermometer(FEATURES, 4)]),
    "bytes": ("uint8", lambda: [Thermometer(FEATURES, 7)]),
    "categories": ("int8", lambda: [OneHotCode(FEATURES, 6)]),
    "float categories": ("float32", lambda: [OneHotCode(FEATURES, 6)]),
}  # fmt: skip


def samples(dtype, categories, rng, n=60):
    """Numbers of very different sizes, or categories from -2 to 3."""
    if categories:
        return rng.integers(-2, 4, (n, FEATURES)).astype(dtype)
    x = rng.standard_normal((n, FEATURES)) * [1, 300, 1e-4, 20, 1]
    x[:, 4] = 7  # a constant feature
    if dtype == "float32":
        return x.astype(dtype)
    info = np.iinfo(dtype)
    return (40 * x).clip(info.min, info.max).astype(dtype)


def coded(name, rng, outputs=3):
    """The model, its packed form, and inputs for it."""
    dtype, front = FRONTS[name]
    x = samples(dtype, "categories" in name, rng)
    model = Sequential(*front()).initialize(0)
    fit_codes(model, x)
    width = model.forward(x).shape[1]
    model = Sequential(
        *model,
        Dense(width, 20, weight_quantizer=SignSTE()),
        BatchNorm(20),
        Activation(SignSTE()),
        Dense(20, outputs, weight_quantizer=SignSTE()),
        *[BatchNorm(1)] * (outputs == 1),
    ).initialize(rng)
    if outputs == 1:  # so that both labels occur
        model[-1].running_mean.data[...] = -1.3
        model[-1].gamma.data[...] = -0.5
        model[-1].beta.data[...] = 0.1
    model.input_contract = InputContract(dtype, (FEATURES,))
    names = {**NAMES, "class_names": NAMES["class_names"][: max(outputs, 2)]}
    packed = pack(model, **names)
    return model, packed, np.concatenate([x, extremes(packed, rng)])


def extremes(packed, rng, n=2000):
    """Inputs at the ends of the intervals and beside them, and at the ends of the dtype."""
    code, dtype = packed.stages[0], np.dtype(packed.input_dtype)
    if dtype.kind == "f":
        special = [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45, 3.4e38, -3.4e38]
        ends = np.concatenate([code.low, code.high, np.array(special, dtype)])
        beside = [np.nextafter(ends, dtype.type(end)) for end in (-np.inf, np.inf)]
        values = np.concatenate([ends, *beside])
    else:
        info = np.iinfo(dtype)
        ends = np.concatenate([code.low, code.high]).astype(np.int64)
        values = np.concatenate([ends - 1, ends, ends + 1, [info.min, info.max]])
        values = values.clip(info.min, info.max)
    return rng.choice(values, (n, *packed.input_shape)).astype(dtype)
