"""The default network: its layers for each kind of sample, that it trains and packs, its plan."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Adam,
    BatchNorm,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    Dropout,
    Identity,
    LogitCrossEntropy,
    MeanSquaredError,
    OneHotCode,
    Rescale,
    Thermometer,
    disagreements,
    fit,
    pack,
)
from minibnn.default_network import (
    ENCODINGS,
    MOST_EPOCHS,
    STEPS,
    default_encoding,
    default_network,
    default_plan,
)

RNG = np.random.default_rng(0)
CASES = [
    # shape, dtype, encoding, the first layers
    ((5,), "float32", "thermometer", [Thermometer, Dense]),
    ((5,), "int16", "uniform", [Thermometer, Dense]),
    ((5,), "int8", "one-hot", [OneHotCode, Dense]),
    ((20,), "uint8", "bytes", [Rescale, Dense]),
    ((40, 3), "float32", "thermometer", [Thermometer, Conv1D]),
    ((15, 3), "int16", "thermometer", [Thermometer, Dense]),
    ((8, 8), "uint8", "bytes", [Rescale, Dense]),
    ((16, 17), "uint8", "bytes", [Rescale, Conv2D]),
    ((18, 16, 3), "uint8", "bytes", [Rescale, Conv2D]),
    ((4, 4, 2), "float32", "thermometer", [Thermometer, Dense]),
]


def samples(shape, dtype, n=60):
    """Samples of three classes; class k has larger numbers than class k - 1."""
    labels = np.arange(n) % 3
    x = RNG.integers(0, 8, (n, *shape)) + 10 * labels.reshape(-1, *[1] * len(shape))
    return x.astype(dtype), labels


def trained(network, x, y, loss, epochs=40):
    model = network.initialize(0)
    data = DataLoader((x, y), 20, shuffle=True, rng=0)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, data, loss=loss, optimizer=optimizer, epochs=epochs, progress=False)
    return model


@pytest.mark.parametrize(("shape", "dtype", "encoding", "first"), CASES)
def test_it_trains_and_packs(shape, dtype, encoding, first):
    x, labels = samples(shape, dtype)
    network = default_network(shape, 3, encoding=encoding, bits=4, categories=28, hidden=(24,))
    kinds = [type(layer) for layer in network]
    assert [kind for kind in kinds if kind in {*first, Conv1D, Conv2D}][: len(first)] == first
    model = trained(network, x, labels, LogitCrossEntropy())
    packed = pack(model)
    assert packed.input_dtype == dtype
    found = disagreements(model, packed, x)
    assert (found.labels, found.unexplained) == (0, 0)
    assert (packed.predict(x) == labels).mean() > 0.6


def test_hidden_layers_and_dropout():
    network = default_network((4,), 2, hidden=(8, 6), dropout=0.5)
    dense = [layer for layer in network if isinstance(layer, Dense)]
    sizes = [(layer.in_features, layer.out_features) for layer in dense]
    assert sizes == [(32, 8), (8, 6), (6, 2)]
    assert sum(isinstance(layer, Dropout) for layer in network) == 2
    assert isinstance(network[-1], BatchNorm)
    without = default_network((4,), 2, dropout=0.0)
    assert not any(isinstance(layer, Dropout) for layer in without)


def test_numbers_have_real_weights():
    x, labels = samples((5,), "float32")
    network = default_network((5,), 1, hidden=(24,), real_outputs=True)
    assert isinstance(network[-1].weight_quantizer, Identity)
    model = trained(network, x, labels.astype(np.float32), MeanSquaredError(), epochs=60)
    predicted = pack(model, numbers=True).predict(x)
    assert np.corrcoef(predicted, labels)[0, 1] > 0.9


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((30,), "float32", "thermometer"),
        ((30,), "uint8", "thermometer"),
        ((28, 28), "uint8", "bytes"),
        ((32, 32, 3), "uint8", "bytes"),
        ((32, 32, 2), "uint8", "thermometer"),
        ((128, 3), "uint8", "thermometer"),
        ((28, 28), "float32", "thermometer"),
    ],
)
def test_the_encoding_follows_shape_and_dtype(shape, dtype, expected):
    assert default_encoding(shape, np.dtype(dtype)) == expected
    assert expected in ENCODINGS


def test_another_encoding_or_shape_is_an_error():
    with pytest.raises(ValueError, match="expected an encoding, thermometer, uniform, one-hot"):
        default_network((4,), 2, encoding="binary")
    for shape in ((), (2, 2, 2, 2)):
        with pytest.raises(ValueError, match="expected samples of one to three axes"):
            default_network(shape, 2)
    with pytest.raises(ValueError, match="hidden"):
        default_network((4,), 2, hidden=(0,))


@pytest.mark.parametrize("n", [1, 2, 50, 500, 9_999, 10_000, 60_000])
def test_the_plan_has_about_as_many_steps_for_all(n):
    plan = default_plan(n)
    assert 1 <= plan.batch_size <= max(1, n // 2)
    steps = plan.epochs * n / plan.batch_size
    assert plan.epochs == MOST_EPOCHS or plan.epochs == 5 or STEPS <= steps < STEPS * 1.5
    assert 5 <= plan.epochs <= MOST_EPOCHS
