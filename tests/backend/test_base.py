"""What every backend does: transfers, products, and operations by name."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from minibnn import backend_of
from minibnn.backend import CPU, Backend
from minibnn.random_stream import uniform


def test_basics(backend, rng):
    a, b = rng.standard_normal((5, 4)), rng.standard_normal((4, 3))
    on = backend.asarray
    np.testing.assert_allclose(backend.to_host(backend.matmul(on(a), on(b))), a @ b, rtol=1e-12)
    out = on(np.empty((5, 3)))
    assert backend.matmul(on(a), on(b), out=out) is out
    np.testing.assert_allclose(backend.to_host(out), a @ b, rtol=1e-12)
    rows = np.array([3, 0, 3])
    np.testing.assert_array_equal(backend.to_host(backend.gather(on(a), on(rows))), a[rows])
    assert backend.asarray(a, np.float32).dtype == np.float32
    assert backend_of(on(a)) is backend


def test_only_a_gpu_has_tf32():
    assert CPU.tf32 is False
    CPU.tf32 = False
    with pytest.raises(ValueError, match="tf32: expected a GPU, got cpu"):
        CPU.tf32 = True


# --- Operations by name --------------------------------------------------------------------------


def unlike_ours(name, compute):
    """A user's function, with the name of one of minibnn's references."""
    compute.__name__ = name
    return compute


@pytest.mark.parametrize("name", ["batch_norm", "adam", "binary_sign", "two_stage_sum"])
def test_a_users_reference_is_computed_whatever_its_name(name, backend):
    """If users copy an equation into their own file and change it, the changed one is computed."""
    x = backend.asarray(np.ones((4, 3), np.float32))
    for _ in range(2):
        assert backend.run(unlike_ours(name, lambda *args: len(args)), x, x) == 2


def test_a_function_of_ones_own_is_not_replaced_by_an_implementation_of_its_name():
    """Somebody copies a reference into a file of their own, changes it, and runs it."""

    def two_stage_sum(x, out):
        return "mine"

    assert CPU.run(two_stage_sum, np.ones((3, 2), np.float32), None) == "mine"


def test_a_backend_without_tables_computes_the_references():
    class Plain(Backend):
        name, xp, array_type, host = "plain", np, np.ndarray, True

    plain = Plain()
    assert repr(plain) == "Plain('plain')"
    assert copy.deepcopy(plain) is plain
    stream = (np, (5,), 1, 2, 0, np.float32)
    np.testing.assert_array_equal(plain.run(uniform, *stream), uniform(*stream))
    x = np.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(plain.matmul(x, x.T), x @ x.T)
    with pytest.raises(NotImplementedError):
        plain.asarray(x)
