"""The threads of the C kernels: the same results with any number of them, and no traces."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from devices import built
from instruction_sets import reals

from minibnn.backend import CPU, NumpyBackend
from minibnn.backend.operations import two_stage_sum
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.conv import convolve, convolve_dW, convolve_dx
from minibnn.layers.norm import batch_norm, batch_norm_gradient
from minibnn.layers.pooling import max_pool, max_pool_gradient
from minibnn.layers.reshape import rescale
from minibnn.optimizers.adam import adam
from minibnn.windows import Windows

threadpoolctl = pytest.importorskip("threadpoolctl")
threadpool_info, threadpool_limits = threadpoolctl.threadpool_info, threadpoolctl.threadpool_limits
OPENBLAS = any(found["internal_api"] == "openblas" for found in threadpool_info())
pytestmark = [built, pytest.mark.skipif(not OPENBLAS, reason="OpenBLAS sets their number")]
NUMPY = NumpyBackend()


def blas_threads():
    return {found["num_threads"] for found in threadpool_info() if found["user_api"] == "blas"}


def results(seed=0):
    """The results of every kernel that uses threads, on arrays of many tasks."""
    rng = np.random.default_rng(seed)
    x, w = (
        np.where(rng.random(s) < 0.5, -1, 1).astype(np.float32) for s in ((300, 700), (700, 600))
    )
    dz, g = (rng.standard_normal(s).astype(np.float32) for s in ((300, 600), (300, 700)))
    v, small = np.ones(700, np.float32), np.empty((2, 700), np.float32)
    p, m, u = (abs(rng.standard_normal(200_001)).astype(np.float32) for _ in range(3))
    CPU.run(adam, p, m * 2, m, u, 0.01, 1e-8, 0.9, 0.999, 1.0)
    images, kernel = x[:, :400].reshape(300, 5, 5, 16), w[:144, :48].reshape(3, 3, 16, 48)
    digits, first = g[:, :289].reshape(300, 17, 17, 1).copy(), g[:9, :32].reshape(3, 3, 1, 32)
    images, kernel, first = images.copy(), kernel.copy(), first.copy()
    dy, large = reals(rng, 300, 3, 3, 48), reals(rng, 300, 15, 15, 32)
    windows, pools = Windows((3, 3)), Windows((3, 3), (2, 2))
    pooled, position = CPU.run(max_pool, large, pools, True)
    return [
        CPU.run(convolve, images, kernel, windows), CPU.run(convolve_dW, images, dy, windows),
        CPU.run(convolve, images, kernel * 2, windows),
        CPU.run(convolve_dx, dy, kernel, windows, images.shape),
        CPU.run(convolve, digits, first, windows), CPU.run(convolve_dW, digits, large, windows),
        pooled, CPU.run(max_pool_gradient, pooled, position, pools, large.shape),
        CPU.matmul(x, w), CPU.matmul(dz, w.T), CPU.matmul(x.T, dz),
        CPU.run(binary_sign, g), CPU.run(straight_through_gradient, g, g, 1.0),
        CPU.run(two_stage_sum, g, None), *CPU.run(batch_norm, g, v, v, 1e-5),
        CPU.run(batch_norm_gradient, g, g, v, v, *small, True), small, p, m, u,
    ]  # fmt: skip


def test_the_results_do_not_depend_on_the_number_of_threads():
    with threadpool_limits(1, "blas"):
        expected = results()
    for threads in (2, 3, 7):
        with threadpool_limits(threads, "blas"):
            for got, one in zip(results(), expected, strict=True):
                np.testing.assert_array_equal(got.view(np.uint32), one.view(np.uint32))


@pytest.mark.parametrize("n", [1, 2**15 - 1, 2**15, 2**15 + 1, 100_003])
def test_every_piece_of_a_long_array(n, rng):
    x, dy = (rng.standard_normal(n).astype(np.float32) for _ in range(2))
    octets = rng.integers(0, 256, n, dtype=np.uint8)
    mine, theirs = ([a.copy() for a in (x, dy, abs(x), abs(dy))] for _ in range(2))
    with threadpool_limits(2, "blas"):
        for reference, *arguments in (
            (binary_sign, x),
            (straight_through_gradient, dy, x, 1.0),
            (rescale, octets, 0.5, -1.0, np.dtype(np.float32)),
        ):
            np.testing.assert_array_equal(
                CPU.run(reference, *arguments), NUMPY.run(reference, *arguments)
            )
        CPU.run(adam, *mine, 0.01, 1e-8, 0.9, 0.999, 0.5)
        NUMPY.run(adam, *theirs, 0.01, 1e-8, 0.9, 0.999, 0.5)
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("offset", [0, 1, 3])
def test_signs_of_large_weights_are_written_past_the_caches(offset, rng):
    """Four at a time, at any address; with every kind of number, also in the tail."""
    x = np.resize(rng.standard_normal(1009).astype(np.float32), 2**22 + 7 + offset)[offset:]
    for value in (np.nan, -np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-45, -1e-45):
        x[rng.integers(len(x), size=50)] = value
    x[-3:] = np.nan, -0.0, -1
    np.testing.assert_array_equal(CPU.run(binary_sign, x), NUMPY.run(binary_sign, x))


@pytest.mark.parametrize("order", ["rows", "columns"])
@pytest.mark.parametrize("shape", [(40, 300, 700), (700, 300, 40), (64, 100, 64), (33, 500, 31)])
def test_the_blas_computes_products_of_floats_on_these_threads(shape, order, rng, monkeypatch):
    n, k, m = shape
    a, b = rng.standard_normal((n, k)), rng.standard_normal((k, m))
    small = a.astype(np.float32), b.astype(np.float32)
    if order == "columns":
        small = tuple(map(np.asfortranarray, small))
    call, done = CPU.c.blas_product, []
    monkeypatch.setattr(CPU.c, "blas_product", lambda *args: done.append(call(*args)) or done[-1])
    for threads in (1, 2, 3):
        done.clear()
        with threadpool_limits(threads, "blas"):
            z = CPU.matmul(*small)
            assert blas_threads() == {threads}
        assert done == [1] * (threads > 1)  # np.matmul computes on one
        np.testing.assert_allclose(z, small[0] @ small[1], rtol=1e-4, atol=1e-4)


def test_several_callers_at_the_same_time():
    with threadpool_limits(2, "blas"):
        expected = [results(seed) for seed in range(4)]
        with ThreadPoolExecutor(4) as callers:
            for _ in range(5):
                for got, one in zip(callers.map(results, range(4)), expected, strict=True):
                    for a, b in zip(got, one, strict=True):
                        np.testing.assert_array_equal(a, b)
        rng = np.random.default_rng(0)
        a, b = (rng.standard_normal((200, 200)).astype(np.float32) for _ in range(2))
        with ThreadPoolExecutor(4) as callers:
            for z in callers.map(lambda _: CPU.matmul(a, b), range(200)):
                np.testing.assert_allclose(z, a @ b, rtol=1e-4, atol=1e-4)
        assert blas_threads() == {2}


FORKED = """
import os, sys, warnings
warnings.simplefilter("error")
sys.path.insert(0, {folder!r})
from test_threads import results
from threadpoolctl import threadpool_limits
threadpool_limits(3, "blas")
before = results()
for _ in range(20):
    child = os.fork()
    same = all((a == b).all() for a, b in zip(results(), before))
    if child == 0:
        os._exit(0 if same else 1)
    assert same and os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
print("the same")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_after_a_fork_both_processes_have_threads():
    """The warning that Python gives to a process of several threads would be an error here."""
    folders = [os.path.dirname(__file__), os.path.join(os.path.dirname(__file__), "../../support")]
    code = FORKED.format(folder=folders[0])
    environment = os.environ | {"PYTHONPATH": folders[1]}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, env=environment
    )
    assert (done.stdout, done.stderr) == ("the same\n", "")
