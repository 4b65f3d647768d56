"""Launching the CUDA kernels: declined arguments, few blocks, and NVIDIA's compiler.

Floats are equal to the bit where the tests say so, since nothing is fused: the options of the host's
compiler and of NVIDIA's forbid it (`-ffp-contract=off`, `-fmad=false`).
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from itertools import product

import numpy as np
import nvrtc
import pytest
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
from minibnn.random_stream import uniform
from minibnn.training.capture.operations import gather_batch

FLOATS = [np.float32, np.float64]


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
    """A kernel gets addresses: it would read 8 bytes for 4, or write outside an array."""
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in arguments]
    assert CUDA[name](HOST_CUDA, *arguments) is NotImplemented
    for a, b in zip(arguments, before, strict=True):
        if isinstance(a, np.ndarray):
            np.testing.assert_array_equal(a, b)
    launched()


@pytest.mark.parametrize("dtype", FLOATS)
def test_few_blocks_share_many_elements(dtype, monkeypatch, rng):
    """Two blocks have 512 threads, for more than twice as many elements."""
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


# --- NVIDIA's compiler takes the sources ---------------------------------------------------------


IMAGES = product(("convolution", "pooling"), (np.uint8, np.int32))


EVERY_TYPE = [*product(FILES, FLOATS), *IMAGES]


@pytest.mark.parametrize(
    ("file", "dtype", "capability"),
    [(*each, 90) for each in EVERY_TYPE]
    + [(*each, capability) for capability in (60, 70, 80) for each in product(FILES, FLOATS[:1])],
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
    """Release 13.0 looks for them among the system's libraries only, not in its own folder."""
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
