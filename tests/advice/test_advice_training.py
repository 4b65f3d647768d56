"""The advice of metrics, labels, updates that overflow, and padding of zeros: followed."""

from __future__ import annotations

import numpy as np
import pytest
from advice import advised, shows

from minibnn import (
    SGD,
    Activation,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    Flatten,
    LogitCrossEntropy,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    confusion_matrix,
    diagnose,
    evaluate,
    one_cold,
    one_hot,
)

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LABELS = np.array([0, 1, 1, 0, 1, 0])
LOSS = LogitCrossEntropy()


def test_nan_is_looked_for_by_diagnose():
    model = Dense(4, 2).initialize(0)
    model.weight.data[1, 1] = np.nan
    data = DataLoader((X, LABELS), 3)
    with advised("data/labels.py", "diagnose(model, data) says where a model's come from"):
        one_cold(model.forward(X))
    with advised("training/confusion.py", "diagnose(model, data) says where it comes from"):
        confusion_matrix(model, data)
    assert [f.where for f in diagnose(model, data).findings] == ["weight"]


def test_columns_of_labels_are_ravelled():
    column = LABELS[:, None]
    with advised("data/labels.py", "if these are class numbers already, use labels.ravel()"):
        one_cold(column)
    with advised("data/labels.py", "use labels.ravel()"):
        one_hot(column, 2)
    assert one_cold(one_hot(column.ravel(), 2)).tolist() == LABELS.tolist()


def test_two_classes_are_two_outputs():
    data = DataLoader((X, LABELS), 3)
    with advised("losses/base.py", "for two classes end the model in a layer with 2 outputs"):
        evaluate(Dense(4, 1).initialize(0), data, LOSS)
    assert 0 <= evaluate(Dense(4, 2).initialize(0), data, LOSS).accuracy <= 1


def test_images_of_outputs_are_flattened():
    data = DataLoader((X, LABELS), 3)
    start = Reshape((2, 2, 1)), Conv2D(1, 3, 2, padding=1)
    with advised(
        "training/evaluate.py",
        "end it with Flatten() and a layer that has an output for each class",
    ):
        evaluate(Sequential(*start).initialize(0), data, LOSS)
    model = Sequential(*start, Flatten(), Dense(27, 2)).initialize(0)
    assert 0 <= evaluate(model, data, LOSS).accuracy <= 1


@pytest.mark.parametrize(("rate", "scale"), [(1e39, 1.0), (1e30, 1e10)])
def test_step_sizes_that_overflow_are_made_smaller(rate, scale):
    def step(rate, scale):
        layer = Dense(4, 2, lr_scale=scale).initialize(0)
        SGD(layer.parameters(), rate).step()
        return layer.weight.data

    with advised("optimizers/base.py", "use a smaller learning rate, or a smaller lr_scale"):
        step(rate, scale)
    assert np.isfinite(step(0.1, scale)).all()
    assert np.isfinite(step(min(rate, 1e30), 1.0)).all()


def looked_at(first, second):
    pixels = np.random.default_rng(1).integers(0, 256, (60, 6, 6)).astype(np.uint8)

    def conv(n, m, **padding):
        return Conv2D(n, m, 3, bias=False, weight_quantizer=SignSTE(), **padding)

    layers = [Reshape((6, 6, 1)), Rescale(2 / 255, -1), conv(1, 9, **first), BatchNorm(9),
              Activation(SignSTE(clip=1.0)), conv(9, 5, **second), Flatten()]  # fmt: skip
    n = Sequential(*layers).initialize(0).forward(pixels[:1]).shape[1]
    model = Sequential(*layers, Dense(n, 3)).initialize(0)
    report = diagnose(model, DataLoader((pixels, np.arange(60) % 3), 20))
    return str(report), [f.where for f in report.findings if f.kind == "zero-padding"]


def test_borders_of_zeros_get_another_value():
    text, where = looked_at({}, {"padding": 1})
    shows("diagnosis/activations.py", "use padding_value=-1 or padding_value=1, or padding=0", text)
    assert where == ["5"]
    for padding in ({"padding": 1, "padding_value": -1}, {"padding": 1, "padding_value": 1}, {}):
        assert looked_at({}, padding)[1] == []
    text, where = looked_at({"padding": 1}, {})
    shows(
        "diagnosis/activations.py",
        "use padding_value=-1 behind Rescale(2 / 255, -1), or padding=0",
        text,
    )
    assert where == ["2"]
    assert looked_at({"padding": 1, "padding_value": -1}, {})[1] == []
