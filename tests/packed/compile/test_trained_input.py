"""The shape of the images that a model was trained on; `test_input_contract.py` trains and packs."""

from __future__ import annotations

import numpy as np
import pytest
from coded_tables import FRONTS, coded, table, tail
from packed_models import dense

from minibnn import (
    Activation,
    Adam,
    Concatenate,
    DataLoader,
    DirectFeedback,
    Dropout,
    Flatten,
    InputContract,
    LogitCrossEntropy,
    PackError,
    Rescale,
    Residual,
    Sequential,
    SignSTE,
    Thermometer,
    fit,
    pack,
)
from minibnn.packed.compile.trained_input import trained_input, trained_shape


def model_of(*contracts):
    """A model whose container, Rescale and Dense have these contracts, or None."""
    model = Sequential(Rescale(1 / 255), dense(4, 2)).initialize(0)
    for layer, contract in zip((model, *model), contracts, strict=True):
        layer.input_contract = contract
    return model


BYTES = InputContract("uint8", (4,))
UNIT = InputContract("float32", (4,), 0.0, 1.0)
TEN = InputContract("float32", (4,), 0.0, 10.0)


def test_the_shape_is_that_of_the_first_contract():
    assert trained_shape(model_of(BYTES, None, None), None) == (4,)
    assert trained_shape(model_of(None, BYTES, None), None) == (4,)
    assert trained_shape(model_of(None, None, UNIT), (4,)) == (4,)
    assert trained_shape(model_of(None, None, None), (2, 2)) == (2, 2)
    assert trained_shape(Sequential(Flatten(), *model_of(None, None, UNIT)), (2, 2)) == (2, 2)


@pytest.mark.parametrize(
    ("contracts", "given", "message"),
    [
        ((None, None, None), None, "the shape of one sample"),
        ((BYTES, None, None), (2, 2), r"input_shape \(4,\), which the model was trained on"),
        ((UNIT, None, None), None, r"trained on bytes.*Rescale\(1 / 255\)"),
        ((None, None, TEN), None, "what the layers before it make of bytes, 0 to 1"),
        ((InputContract("float32", (4,), 0.0, 255.0), None, None), None, "as floats, say so"),
    ],
)
def test_other_training_is_refused(contracts, given, message):
    with pytest.raises(PackError, match=message):
        trained_shape(model_of(*contracts), given)


# --- Coded inputs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FRONTS)
def test_a_coded_model_takes_what_it_was_trained_on(name):
    _, dtype, shape, _ = FRONTS[name]
    model = coded(name)
    assert trained_input(model, None) == trained_input(model, shape) == (shape, dtype)
    with pytest.raises(PackError, match="which the model was trained on, got"):
        trained_input(model, (*shape, 1))
    assert trained_input(Sequential(Dropout(0.1), model), None) == (shape, dtype)


def test_direct_feedback_may_begin_with_a_code():
    x, labels = table()
    model = DirectFeedback(
        Sequential(Thermometer(3, 4), *tail(12)[:3]), Sequential(*tail(12)[3:])
    ).initialize(0)
    data = DataLoader((x, labels), 16, shuffle=True, rng=0)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1, progress=False)
    assert trained_input(model, None) == ((3,), "float32")
    np.testing.assert_array_equal(pack(model).predict(x), model.forward(x).argmax(1))


def test_only_a_code_in_front_takes_other_numbers():
    """Behind a sign or a product it does not: the model takes bytes."""
    late = Sequential(Rescale(1, -100), Activation(SignSTE()), Thermometer(3, 1).fit(np.eye(3)))
    late.input_contract = InputContract("float32", (3,))
    with pytest.raises(PackError, match="expected a model that was trained on bytes"):
        trained_input(late, None)
    assert trained_input(Sequential(*late), (3,)) == ((3,), "uint8")


@pytest.mark.parametrize("container", [Sequential, Residual, Concatenate])
def test_codes_may_stand_in_branches(container):
    """Where nothing is known, a code says how many features there are."""
    code = Thermometer(3, 1).fit(np.eye(3, dtype=np.float32))
    model = Sequential(Rescale(2.0), container(Sequential(code), Sequential()), dense(6, 2))
    with pytest.raises(PackError, match=r"InputContract\('float32', \(3,\)\)"):
        trained_input(model, None)
    model.input_contract = InputContract("float32", (3,))
    assert trained_input(model, None) == ((3,), "float32")
    plain = Sequential(container(Sequential(dense(3, 3)), Sequential(dense(3, 3))), code)
    assert trained_input(plain, (3,)) == ((3,), "uint8")
