"""Adam's kernel, run on the host, against the reference."""

from __future__ import annotations

from contextlib import nullcontext

import numpy as np
import pytest
from cases_of_operations import adam_scalars
from cuda_on_host import HOST_CUDA, launched

from minibnn.optimizers.adam import adam

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bound", [None, 0.5])
def test_adam(bound, dtype, rng):
    """200 steps, compared with the reference in float64; step 3 is refused."""
    expected = [rng.standard_normal(300).astype(np.float32).astype(np.float64) for _ in range(2)]
    expected[1][:50] *= np.float32(1e-8)  # small enough for epsilon to matter
    expected += [np.zeros(300), np.zeros(300)]
    got = [a.astype(dtype) for a in expected]
    for step in range(1, 201):
        given = *adam_scalars(0.01, step), 0.9, 0.999, bound
        if step != 3:
            adam(*expected, *given)
        with nullcontext() if step % 2 == 0 else HOST_CUDA.update(np.array(step != 3)):
            HOST_CUDA.run(adam, *got, *given)
    launched(*["adam"] * 200)
    # Each of 200 steps rounds v, by at most 2^-24 (2^-53) of it.
    tolerance = 1.2e-5 if dtype == np.float32 else 1e-13
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_adam_reads_its_scalars_where_a_replay_puts_them(dtype, rng):
    start = rng.uniform(0.1, 1, (4, 50)).astype(dtype)
    scalars = adam_scalars(0.01, 7)
    one, other = start.copy(), start.copy()
    HOST_CUDA.run(adam, *one, *scalars, 0.9, 0.999, None)
    HOST_CUDA.run(adam, *other, *(np.array(s, dtype) for s in scalars), 0.9, 0.999, None)
    launched("adam", "adam")
    np.testing.assert_array_equal(one, other)
    assert (one[0] != start[0]).all()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_refused_step_of_adam_writes_nothing(dtype, rng):
    arrays = rng.uniform(0.1, 1, (4, 60)).astype(dtype)
    before = arrays.copy()
    given = *adam_scalars(0.05, 1), 0.9, 0.999, None
    for allowed in (False, True):
        with HOST_CUDA.update(np.array(allowed)):
            HOST_CUDA.run(adam, *arrays, *given)
        changed = [(a != b).any() for a, b in zip(arrays, before, strict=True)]
        assert changed == [allowed, False, allowed, allowed]
    launched("adam", "adam")


def test_adam_declines_what_its_kernel_does_not_take(rng):
    """Gaps, another dtype, another shape: the reference computes, or raises."""
    given = *adam_scalars(0.05, 1), 0.9, 0.999, None
    whole = rng.uniform(0.1, 1, (4, 60)).astype(np.float32)
    for arrays in (whole[:, ::2], whole.astype(np.float16)):
        plain = arrays.copy()
        HOST_CUDA.run(adam, *arrays, *given)
        adam(*plain, *given)
        np.testing.assert_array_equal(arrays, plain)
    with pytest.raises(ValueError, match="broadcast"):
        HOST_CUDA.run(adam, whole[0], whole[1, :7].copy(), *whole[2:], *given)
    launched()
