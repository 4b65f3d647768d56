"""The part `kernels`."""

from __future__ import annotations

import numpy as np
import pytest
from devices import STRICT

from confirm import kernels
from confirm.setting import FAILED, Setting
from minibnn.functions.signs import straight_through_gradient


@pytest.mark.parametrize(
    "spoil", [lambda a: a * np.float32(1.0001), lambda a: a * np.nan, lambda a: a[1:]]
)
def test_a_wrong_kernel_fails(spoil, monkeypatch):
    wrong = [lambda backend, *a: spoil(straight_through_gradient(*a))]
    monkeypatch.setitem(STRICT._known, straight_through_gradient, wrong)
    outcome = kernels.kernels(Setting(STRICT))
    assert outcome.status == FAILED
    assert outcome.line.startswith("float32 straight_through_gradient: ")
    assert outcome.line.endswith(" away from the CPU's result (and 1 more)")


def test_errors_of_floats_and_of_integers():
    a = np.array([1.0, -4.0, 2.0])
    assert kernels.error_of(a, a) == 0
    assert kernels.error_of(a + np.array([0, 0, 0.5]), a) == 0.125
    assert kernels.error_of(a / 100, a / 100 + 0.001) == pytest.approx(0.001)
    assert kernels.error_of(a.astype(np.float32), a) == np.inf
    words = np.array([2**63], np.uint64)
    assert kernels.error_of(words, words) == 0
    assert kernels.error_of(words, words + np.uint64(1)) == np.inf
    assert kernels.error_of(a * np.nan, a) == np.inf
