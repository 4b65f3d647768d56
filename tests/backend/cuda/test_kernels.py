"""The CUDA kernels: on the host against their references, and through NVIDIA's compiler.

Where a test says that floats are equal, to the bit, they are because nothing is fused: the host's
compiler and NVIDIA's are both told so (`-ffp-contract=off`, `-fmad=false`).
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from contextlib import nullcontext
from functools import partial
from itertools import product

import numpy as np
import nvrtc
import pytest
from cases_of_operations import adam_scalars
from cuda_on_host import HOST_CUDA, kernel_names, launched

from minibnn.backend import CPU, Backend
from minibnn.backend.cuda import kernels as cuda_kernels
from minibnn.backend.cuda.kernels import FILES, source
from minibnn.backend.implementations import CUDA
from minibnn.backend.updates import note_finite
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.norm import normalize
from minibnn.layers.reshape import rescale
from minibnn.optimizers.adam import adam
from minibnn.random_stream import stream_keys, uniform
from minibnn.training.capture.operations import gather_batch

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bound", [None, 0.5])
def test_adam(bound, dtype, rng):
    """200 steps beside the reference in float64; step 3 is refused."""
    expected = [rng.standard_normal(300).astype(np.float32).astype(np.float64) for _ in range(2)]
    expected[1][:50] *= np.float32(1e-8)  # so small that epsilon matters
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


ONES, BYTES = np.ones((4, 3), np.float32), np.arange(3, dtype=np.uint8)
ROW, STEP = np.ones(3, np.float32), np.array(1)
IMAGES = ONES, np.ones(4, np.uint8)
BOOLS = np.ones(3, bool)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("adam", (ROW, ROW, ROW, ROW, np.array(0.1), 1e-8, 0.9, 0.999, None)),
        ("adam", (ROW, ROW, ROW, ROW, 0.1, ROW, 0.9, 0.999, None)),
        ("uniform", (np, (3,), np.array(1), np.uint32(2), 0, np.float32)),
        ("rescale", (BYTES, 0.5, 0, np.float16)),
        ("rescale", (BYTES, 0.5, 0, np.int32)),
        ("batch_norm", (ONES, 2, ROW, 1e-5)),
        ("batch_norm", (ONES, 0.5, ROW, 1e-5)),
        ("batch_norm_gradient", (ONES, ONES, ROW, 2, None, ROW, True)),
        ("normalize", (ONES, ROW, 1, ROW)),
        ("begin_step", (np.array(1, np.int32), STEP, ROW, ONES, *(np.ones(2, np.uint32),) * 2)),
        ("begin_step", (STEP, STEP, ROW, ONES.astype(float), *(np.ones(2, np.uint32),) * 2)),
        ("begin_step", (STEP, STEP, ROW, ONES, *(np.ones(2, np.int64),) * 2)),
        ("gather_batch", (IMAGES, np.arange(4, dtype=np.int32), STEP, 2)),
        ("gather_batch", (IMAGES, np.arange(4), np.array(1, np.int32), 2)),
        ("note_step", (ROW, BOOLS, STEP, ROW[0], np.array(True))),
        ("note_step", (ROW.astype(float), BYTES, STEP, ROW[0], np.array(True))),
        ("note_step", (ROW.astype(float), BOOLS, STEP, ROW[0], np.array(1))),
    ],
)
def test_what_a_kernel_would_read_as_something_else_is_declined(name, arguments):
    """A kernel gets addresses: it would take 8 bytes for 4, or write beside an array."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    assert CUDA[name](HOST_CUDA, *arguments) is NotImplemented
    for a, b in zip(arguments, before, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
    launched()


def test_a_gamma_of_1_is_none():
    expected = CUDA["batch_norm"](HOST_CUDA, ONES, ROW, ROW, 1e-5)
    for gamma in (1, 1.0):
        got = CUDA["batch_norm"](HOST_CUDA, ONES, gamma, ROW, 1e-5)
        for a, b in zip(got, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    launched(*["batch_norm"] * 3)


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


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform(dtype):
    for count, first in product(range(3), (0, 5, 2**32 - 1001)):
        k0, k1 = stream_keys(2**63 - 1, count)
        expected = uniform(np, (7, 143), k0, k1, first, dtype)
        for keys in (
            (k0, k1),
            (np.array(k0), np.array(k1)),
        ):  # as a plain step has them, or a replay
            u = HOST_CUDA.run(uniform, np, (7, 143), *keys, first, dtype)
            assert u.dtype == dtype
            np.testing.assert_array_equal(u, expected)
    launched(*["uniform"] * 18)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [0.0, -1.0])
def test_rescale(offset, dtype, rng):
    x = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    got = HOST_CUDA.run(rescale, x, 2 / 255, offset, dtype)
    launched("rescale")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, rescale(x, 2 / 255, offset, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("n", [1, 255, 1100])
def test_what_is_not_finite_is_noted(n, value, dtype):
    for note in (note_finite, partial(HOST_CUDA.run, note_finite)):
        for place in (None, 0, n // 2, n - 1):
            a = np.full(n, np.finfo(dtype).max, dtype)  # a sum of these is not finite
            if place is not None:
                a[place] = value
            for before in (True, False):
                allowed = np.array(before)
                note(allowed, a)
                assert allowed == (before and place is None)
    launched(*["note_finite"] * 8)


def test_what_the_kernel_cannot_take_is_looked_at_all_the_same():
    a = np.zeros((4, 6), np.float32)
    for view in (a[:, ::2], a.astype(np.float16), np.zeros(3, int)):
        allowed = np.array(True)
        HOST_CUDA.run(note_finite, allowed, view)
        assert allowed
    a[1, 2] = np.nan
    for view in (a[:, ::2], a.astype(np.float16)):
        allowed = np.array(True)
        HOST_CUDA.run(note_finite, allowed, view)
        assert not allowed
    launched()


@pytest.mark.parametrize("dtype", FLOATS)
def test_few_blocks_share_many_elements(dtype, monkeypatch, rng):
    """Two blocks have 512 threads: there are twice as many elements, and some."""
    monkeypatch.setattr(cuda_kernels, "MOST_BLOCKS", 2)
    n = 1100
    a, b, m = rng.uniform(-1, 1, (3, n)).astype(dtype)
    shift, scale = rng.standard_normal((2, 10)).astype(dtype)
    table, order = rng.integers(0, 256, (50, n), np.uint8), rng.permutation(48)
    calls = {
        "binary_sign": lambda on: on(binary_sign, a),
        "straight_through_gradient": lambda on: on(straight_through_gradient, a, b, 0.5),
        "rescale": lambda on: on(rescale, table[0], 2 / 255, -1.0, dtype),
        "uniform": lambda on: on(uniform, np, (n,), np.uint32(1), np.uint32(2), 0, dtype),
        "normalize": lambda on: on(normalize, a.reshape(-1, 10), shift, scale, shift),
        "gather_batch": lambda on: on(gather_batch, (table, a[:50]), order, np.array(1), 3),
    }
    for name, call in calls.items():
        got = call(on_host_cuda)
        plain = call(reference)
        for one, other in zip(got, plain, strict=True):
            np.testing.assert_array_equal(one, other, name)
    got, plain = ([x.copy() for x in (a, b, m, abs(b))] for _ in range(2))
    HOST_CUDA.run(adam, *got, 0.01, 1e-8, 0.9, 0.999, None)
    adam(*plain, 0.01, 1e-8, 0.9, 0.999, None)
    for one, other in zip(got, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)  # a few roundings
    b[-1], allowed = np.inf, np.array(True)
    HOST_CUDA.run(note_finite, allowed, b)
    assert not allowed
    launched(*calls, "adam", "note_finite")
    assert set(HOST_CUDA.kernels.grids[-len(calls) - 2 :]) == {(2, 1, 1)}


def on_host_cuda(operation, *given):
    if callable(operation):
        return HOST_CUDA.run(operation, *given)
    return getattr(HOST_CUDA, operation)(*given)


def reference(operation, *given):
    return operation(*given) if callable(operation) else getattr(Backend, operation)(CPU, *given)


# --- What the host cannot show: that NVIDIA's compiler takes the sources ----------------------


IMAGES = product(("convolution", "pooling"), (np.uint8, np.int32))
EVERY_TYPE = [*product(FILES, FLOATS), *IMAGES]


@pytest.mark.parametrize(
    ("file", "dtype", "capability"),
    [(*each, capability) for capability in (80, 90) for each in EVERY_TYPE]
    + [(*each, capability) for capability in (60, 70) for each in product(FILES, FLOATS[:1])],
)
def test_the_kernels_compile_for_the_gpu(file, dtype, capability):
    ptx, names = nvrtc.compiled(source(file, dtype), capability), kernel_names(source(file, dtype))
    assert names
    for name in names:
        assert f".entry {name}(" in ptx, name
    # Nothing is fused, as on the host, and as OPTIONS says; only exp and log are made of it.
    assert ("fma.rn" in ptx) == (file == "cross_entropy")
    # Four products of bytes in one instruction, where there is one.
    assert ("dp4a" in ptx) == (file == "packed_bits" and capability > 60)


def test_the_compiler_of_cuda_13_finds_its_builtins(tmp_path):
    """In release 13.0 it looks for them where the system's libraries are, and not beside itself."""
    if shutil.which("gcc") is None:
        pytest.skip("no C compiler")
    folder = tmp_path / "cu13" / "lib"
    folder.mkdir(parents=True)
    code = """
        #include <dlfcn.h>
        int compile(void) { return dlopen("libnvrtc-builtins.so.13.test", RTLD_NOW) != 0; }
    """
    for name, text in (("libnvrtc-builtins.so.13.test", ""), ("libnvrtc.so.13", code)):
        command = ["gcc", "-shared", "-fPIC", "-x", "c", "-", f"-Wl,-soname,{name}", "-ldl"]
        subprocess.run([*command, "-o", folder / name], input=text, text=True, check=True)
    assert ctypes.CDLL(str(folder / "libnvrtc.so.13")).compile() == 0
    assert nvrtc.find([tmp_path]).compile() == 1
