"""The shape of the images that a model was trained on; `test_input_contract.py` trains and packs."""

from __future__ import annotations

import pytest
from packed_models import dense

from minibnn import Flatten, InputContract, PackError, Rescale, Sequential
from minibnn.packed.compile.trained_input import trained_shape


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
