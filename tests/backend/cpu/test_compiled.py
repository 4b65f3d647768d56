"""The backend with C kernels: what it does besides its operations and products."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
from devices import built
from sanitized import run_hostile

from minibnn.backend import CPU
from minibnn.backend.cpu.compiled import CompiledBackend

pytestmark = built


def test_it_names_its_instruction_set():
    assert isinstance(CPU, CompiledBackend)
    assert repr(CPU) == f"CompiledBackend('cpu', products={CPU.c.instruction_set!r})"


@pytest.mark.parametrize("n", [1, 7, 2**15 - 1, 2**15, 2**15 + 1, 100_003])
def test_a_single_value_that_is_not_finite_is_noticed(n):
    x = np.full(n, np.finfo(np.float32).max)
    x[::2] *= -1
    assert CPU.all_finite(x) is True
    for place in {0, n // 2, n - 1}:
        for value in (np.nan, -np.nan, np.inf, -np.inf):
            one = x.copy()
            one[place] = value
            assert CPU.all_finite(one) is False
            assert CPU.all_finite(one.astype(np.float64)) is False
            assert CPU.all_finite(np.repeat(one, 2)[::2]) is False


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_the_sanitizers_find_nothing(sanitizers):
    """Of addresses, undefined behaviour and threads, on arrays with every kind of tail."""
    assert run_hostile("hostile_kernels.c", sanitizers, 1) == ("all as expected\n", "")
