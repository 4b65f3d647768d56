"""Function: what a user's function inherits."""

from __future__ import annotations

import numpy as np

from minibnn import Function


class Cube(Function):
    def forward(self, x):
        return x**3

    def backward(self, dy, x):
        return dy * 3 * x**2


def test_defaults_are_those_of_an_ordinary_function():
    f, x = Cube(), np.array([[-2.0, 0.5]])
    for inherited in (f.surrogate, f.train_forward, f.surrogate_at(x, x)):
        np.testing.assert_array_equal(inherited(x), x**3)
    assert (repr(f), f.bits, f.shipped_floats((3, 2))) == ("Cube()", 32, 0)
