"""Activation: the function has to keep the dtype."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    Dense,
    Function,
)


class Float64Sign(Function):
    """The obvious first attempt: from two Python numbers, NumPy makes float64."""

    def forward(self, x):
        return np.where(x >= 0, 1.0, -1.0)

    def backward(self, dy, x):
        return dy


@pytest.mark.parametrize(
    "layer", [Activation(Float64Sign()), Dense(3, 2, weight_quantizer=Float64Sign())]
)
@pytest.mark.parametrize("train", [False, True])
def test_a_function_that_changes_the_dtype_is_named(layer, train):
    with pytest.raises(
        TypeError,
        match=r"Float64Sign\(\).*float32, got float64; end its forward"
        if isinstance(layer, Dense)
        else r"Float64Sign.*got float64; end its forward",
    ):
        layer.initialize(0).forward(np.ones((2, 3), np.float32), train=train)
