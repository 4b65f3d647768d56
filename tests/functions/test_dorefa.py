"""DoReFa's quantizers: their levels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minibnn import (
    DoReFaActivations,
    DoReFaWeights,
)


@pytest.mark.parametrize("bits", [1, 2, 3, 8, 16])
def test_dorefa_weights_have_2_to_the_bits_levels_and_none_at_0(bits):
    x = np.linspace(-3, 3, 200001)
    y = DoReFaWeights(bits).forward(x)
    levels = np.unique(np.round((y + 1) / 2 * (2**bits - 1), 6))
    np.testing.assert_array_equal(levels, np.arange(2**bits))
    assert y[100000] == pytest.approx(1 / (2**bits - 1)), "0 goes to the level above"
    assert DoReFaWeights(bits).forward(np.zeros(3))[0] == pytest.approx(1 / (2**bits - 1))


@given(st.lists(st.floats(-0.5, 1.5), min_size=1), st.integers(1, 12))
def test_dorefa_takes_the_nearest_level(values, bits):
    x = np.array(values)
    y = DoReFaActivations(bits).forward(x)
    n = 2**bits - 1
    assert (abs(y - np.clip(x, 0, 1)) <= 0.5 / n + 1e-12).all()
