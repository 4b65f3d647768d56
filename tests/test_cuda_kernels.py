"""The CUDA kernels: on the host against their plain twins, and through NVIDIA's compiler.

Where a test says that floats are equal, to the bit, they are because nothing is fused: the host's
compiler and NVIDIA's are both told so (`-ffp-contract=off`, `-fmad=false`).
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from functools import partial
from itertools import product

import numpy as np
import nvrtc
import pytest
from cuda_on_host import HOST_CUDA, kernel_names, launched

from minibnn.backend import CPU, AdamStep, Backend
from minibnn.backend.cuda import kernels as cuda_kernels
from minibnn.backend.cuda.kernels import FILES, source
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.norm import normalize
from minibnn.layers.reshape import rescale
from minibnn.random_stream import stream_keys, uniform

FLOATS = [np.float32, np.float64]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("bound", [None, 0.5])
def test_adam(bound, dtype, rng):
    """200 steps beside the plain body in float64; step 3 is refused."""
    expected = [rng.standard_normal(300).astype(np.float32).astype(np.float64) for _ in range(2)]
    expected[1][:50] *= np.float32(1e-8)  # so small that epsilon matters
    expected += [np.zeros(300), np.zeros(300)]
    got = [a.astype(dtype) for a in expected]
    for step in range(1, 201):
        numbers = AdamStep.of(0.01, 0.9, 0.999, 1e-8, step, bound)
        alive = np.array(step != 3)
        Backend.adam_step(CPU, *expected, numbers, alive)
        HOST_CUDA.adam_step(*got, numbers, None if alive and step % 2 else alive)
    launched(*["adam"] * 200)
    # Each of 200 steps rounds v, by at most 2^-24 (2^-53) of it.
    tolerance = 1.2e-5 if dtype == np.float32 else 1e-13
    for a, b in zip(expected, got, strict=True):
        np.testing.assert_allclose(b, a, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_adam_reads_its_numbers_where_a_replay_puts_them(dtype, rng):
    w, g, m, v = rng.uniform(0.1, 1, (4, 50)).astype(dtype)
    numbers = AdamStep.of(0.01, 0.9, 0.999, 1e-8, 7)
    there = numbers._replace(
        rate=np.array(numbers.rate, dtype), epsilon=np.array(numbers.epsilon, dtype)
    )
    one, other = [w, g, m, v], [a.copy() for a in (w, g, m, v)]
    HOST_CUDA.adam_step(*one, numbers)
    HOST_CUDA.adam_step(*other, there)
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("cuts", [[100], [30, 31], [1, 40, 99]])
@pytest.mark.parametrize("alive", [None, True, False])
def test_adam_on_parts(alive, cuts, dtype, rng):
    """In one launch where the numbers lie in a row on the device, else part by part."""
    edges = [0, *cuts, 100] if cuts != [100] else [0, 100]
    steps = [
        AdamStep.of(0.1 / (i + 1), 0.9, 0.999, 1e-8, 3 + i, (None, 0.5)[i % 2])
        for i in range(len(edges) - 1)
    ]
    row = np.array([n for step in steps for n in (step.rate, step.epsilon)], dtype)
    there = [s._replace(rate=row[2 * i : 2 * i + 1].reshape(()),
                        epsilon=row[2 * i + 1 : 2 * i + 2].reshape(()))
             for i, s in enumerate(steps)]  # fmt: skip
    apart = [
        s._replace(rate=np.array(s.rate, dtype), epsilon=np.array(s.epsilon, dtype)) for s in steps
    ]
    start = [*rng.standard_normal((3, 100)).astype(dtype), rng.random(100).astype(dtype)]
    only_if = None if alive is None else np.array(alive)
    results = []
    for numbers in (there, apart, steps):
        arrays = [a.copy() for a in start]
        parts = [(slice(a, b), n) for a, b, n in zip(edges[:-1], edges[1:], numbers, strict=True)]
        HOST_CUDA.kernels.launches.clear()
        HOST_CUDA.adam_steps(*arrays, parts, only_if)
        one = numbers is there and len(parts) > 1
        launched(*(["adam_parts"] if one else ["adam"] * len(parts)))
        results.append(arrays)
    for arrays in results[1:]:
        for a, b in zip(results[0], arrays, strict=True):
            np.testing.assert_array_equal(a, b)
    assert (results[0][0] == start[0]).all() == (alive is False)


def test_only_a_truth_refuses_an_update(rng):
    arrays = rng.random((4, 10))
    numbers = AdamStep.of(0.1, 0.9, 0.999, 1e-8, 1)
    before = arrays.copy()
    HOST_CUDA.adam_step(*arrays, numbers, False)
    np.testing.assert_array_equal(arrays, before)
    for wrong in (np.array(1.0), np.array([True])):
        with pytest.raises(TypeError, match="expected only_if to be a 0-d boolean"):
            HOST_CUDA.adam_step(*arrays, numbers, wrong)


def in_a_row(parts, dtype):
    """Parts whose rates and epsilons lie in a row, as in a captured step."""
    row = np.array([n for _, s in parts for n in (s.rate, s.epsilon)], dtype)
    places = [row[i : i + 1].reshape(()) for i in range(row.size)]
    pairs = zip(places[::2], places[1::2], strict=True)
    return [
        (part, s._replace(rate=rate, epsilon=epsilon))
        for (part, s), (rate, epsilon) in zip(parts, pairs, strict=True)
    ]


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
    for backend in (HOST_CUDA, Backend):
        call = HOST_CUDA.note_finite if backend is HOST_CUDA else partial(Backend.note_finite, CPU)
        for place in (None, 0, n // 2, n - 1):
            a = np.full(n, np.finfo(dtype).max, dtype)  # a sum of these is not finite
            if place is not None:
                a[place] = value
            for before in (True, False):
                all_finite = np.array(before)
                call(all_finite, a)
                assert all_finite == (before and place is None)
    launched(*["note_finite"] * 8)


@pytest.mark.parametrize("dtype", FLOATS)
def test_few_blocks_share_many_elements(dtype, monkeypatch, rng):
    """Two blocks have 512 threads: there are twice as many elements, and some."""
    monkeypatch.setattr(cuda_kernels, "MOST_BLOCKS", 2)
    n = 1100
    a, b, m = rng.uniform(-1, 1, (3, n)).astype(dtype)
    shift, scale = rng.standard_normal((2, 10)).astype(dtype)
    table, order = rng.integers(0, 256, (50, n), np.uint8), rng.permutation(48)
    numbers = AdamStep.of(0.01, 0.9, 0.999, 1e-8, 1)
    calls = {
        "binary_sign": lambda on: on(binary_sign, a),
        "straight_through_gradient": lambda on: on(straight_through_gradient, a, b, 0.5),
        "rescale": lambda on: on(rescale, table[0], 2 / 255, -1.0, dtype),
        "uniform": lambda on: on(uniform, np, (n,), np.uint32(1), np.uint32(2), 0, dtype),
        "normalize": lambda on: on(normalize, a.reshape(-1, 10), shift, scale, shift),
        "gather": lambda on: on("gather_batch", (table, a[:50]), order, np.array(1), 3),
    }
    for name, call in calls.items():
        got = call(on_host_cuda)
        plain = call(reference)
        for one, other in zip(got, plain, strict=True):
            np.testing.assert_array_equal(one, other, name)
    parts = in_a_row([(slice(0, 700), numbers), (slice(700, n), numbers)], dtype)
    for name, given in (("adam_step", numbers), ("adam_steps", parts)):
        got, plain = ([x.copy() for x in (a, b, m, abs(b))] for _ in range(2))
        getattr(HOST_CUDA, name)(*got, given)
        getattr(Backend, name)(CPU, *plain, given)
        for one, other in zip(got, plain, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)  # a few roundings
    launched(*calls, "adam", "adam_parts")
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
    assert ("dp4a" in ptx) == (file == "bits" and capability > 60)


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
