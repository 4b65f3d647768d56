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

from minibnn.backend import CPU, AdamStep, Backend, Questions, StepTables
from minibnn.backend.cuda import kernels as cuda_kernels
from minibnn.backend.cuda.kernels import FILES, source
from minibnn.layers.reshape import rescale

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


@pytest.mark.parametrize("dtype", FLOATS)
def test_adam_keeps_signs_that_layers_then_find_ready(dtype, rng):
    w, g, m, v = rng.uniform(-0.01, 0.01, (4, 60)).astype(dtype)
    v = abs(v)
    weight, other = w[10:40].reshape(5, 6), w[40:]
    questions = Questions()
    questions.signs = HOST_CUDA.keep_signs([w], [weight])
    questions.signs.refresh(HOST_CUDA.binarize)
    launched("binarize")
    with questions.in_charge():
        for part in (slice(0, 25), slice(25, 60)):
            before = w.copy()
            numbers = AdamStep.of(0.05, 0.9, 0.999, 1e-8, 1)
            HOST_CUDA.adam_step(w[part], g[part], m[part], v[part], numbers)
            assert (np.sign(before[part]) != np.sign(w[part])).any(), "signs that never change"
        np.testing.assert_array_equal(HOST_CUDA.binarize(weight), np.where(weight >= 0, 1, -1))
        launched("binarize", "adam", "adam")
        HOST_CUDA.binarize(other)
        HOST_CUDA.binarize(weight + 0)
        HOST_CUDA.adam_step(g.copy(), g, m, v, numbers)  # another store
    HOST_CUDA.binarize(weight)
    launched("binarize", "adam", "adam", "binarize", "binarize", "adam", "binarize")


def in_a_row(parts, dtype):
    """Parts whose rates and epsilons lie in a row, as in a recorded step."""
    row = np.array([n for _, s in parts for n in (s.rate, s.epsilon)], dtype)
    places = [row[i : i + 1].reshape(()) for i in range(row.size)]
    pairs = zip(places[::2], places[1::2], strict=True)
    return [
        (part, s._replace(rate=rate, epsilon=epsilon))
        for (part, s), (rate, epsilon) in zip(parts, pairs, strict=True)
    ]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("kernel", ["adam", "adam_parts"])
def test_a_refused_step_of_adam_writes_neither_numbers_nor_signs(kernel, dtype, rng):
    w, g, m, v = rng.uniform(-0.01, 0.01, (4, 60)).astype(dtype)
    v = abs(v)
    questions = Questions()
    questions.signs = HOST_CUDA.keep_signs([w], [w])
    questions.signs.refresh(HOST_CUDA.binarize)
    before = [a.copy() for a in (w, g, m, v, questions.signs.of(w))]
    numbers = AdamStep.of(0.05, 0.9, 0.999, 1e-8, 1)
    with questions.in_charge():
        for alive in (False, True):
            if kernel == "adam":
                HOST_CUDA.adam_step(w, g, m, v, numbers, np.array(alive))
            else:
                parts = in_a_row([(slice(0, 7), numbers), (slice(7, 60), numbers)], dtype)
                HOST_CUDA.adam_steps(w, g, m, v, parts, np.array(alive))
            after = (w, g, m, v, questions.signs.of(w))
            changed = [(a != b).any() for a, b in zip(after, before, strict=True)]
            assert changed == [alive, False, alive, alive, alive]
    launched("binarize", kernel, kernel)


@pytest.mark.parametrize("dtype", FLOATS)
def test_signs(dtype):
    points = [0.0, -0.0, 1.0, -2.5, 1e-45, -1e-45, 3e38, -3e38, np.inf, -np.inf, np.nan, -np.nan]
    y = HOST_CUDA.binarize(np.array(points, dtype))
    launched("binarize")
    assert y.dtype == dtype
    np.testing.assert_array_equal(y, Backend.binarize(CPU, np.array(points, dtype)))


@pytest.mark.parametrize("dtype", FLOATS)
def test_uniform(dtype):
    for count in range(3):
        u = HOST_CUDA.uniform((7, 143), 2**63 - 1, count, dtype)
        np.testing.assert_array_equal(u, Backend.uniform(CPU, (7, 143), 2**63 - 1, count, dtype))
    launched("uniform", "uniform", "uniform")


@pytest.mark.parametrize("dtype", FLOATS)
def test_gate(dtype, rng):
    x, dy = rng.standard_normal((2, 5, 70)).astype(dtype)
    x[0, :4] = 1, -1, np.nan, np.inf
    dy[1, 0], x[1, 0] = np.nan, 5
    np.testing.assert_array_equal(HOST_CUDA.gate(dy, x, 1.0), Backend.gate(CPU, dy, x, 1.0))
    launched("gate")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [0.0, -1.0])
def test_rescale(offset, dtype, rng):
    x = rng.integers(0, 256, (3, 28, 28), dtype=np.uint8)
    got = HOST_CUDA.run(rescale, x, 2 / 255, offset, dtype)
    launched("rescale")
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, rescale(x, 2 / 255, offset, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("terms", [1, 2])
def test_affine(terms, dtype, rng):
    shift, *scales = rng.standard_normal((3, 33)).astype(dtype)
    pairs = list(zip(scales, rng.standard_normal((2, 20, 33)).astype(dtype), strict=True))[:terms]
    expected = Backend.affine(CPU, shift, *pairs)
    np.testing.assert_array_equal(HOST_CUDA.affine(shift, *pairs), expected)
    launched("affine")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(("n_floats", "n_keys"), [(0, 0), (3, 0), (2, 4)])
def test_a_step_begins(n_floats, n_keys, dtype, rng):
    def tables():
        return StepTables(
            np.array(1), np.array(-7),
            np.zeros(n_floats, dtype), np.arange(5 * n_floats).reshape(5, n_floats).astype(dtype),
            np.zeros(n_keys, np.uint32), np.arange(5 * n_keys, dtype=np.uint32).reshape(5, n_keys),
        )  # fmt: skip

    one, other = tables(), tables()
    for step in (1, 2, 3):
        HOST_CUDA.begin_step(one)
        Backend.begin_step(CPU, other)
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
        assert (one.now, one.counter) == (step, step + 1)
    launched(*["begin_step"] * 3)


@pytest.mark.parametrize("shape", [(50, 28, 28), (50, 3), (50,)])
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32])
@pytest.mark.parametrize("batch", [12, 7])
def test_batches_are_gathered(batch, shape, dtype, rng):
    arrays = rng.integers(0, 256, shape).astype(dtype), rng.standard_normal((50, 5))
    order, now = rng.permutation(50)[: 4 * batch], np.array(2)
    got = HOST_CUDA.gather_batch(arrays, order, now, batch)
    launched("gather")
    plain = Backend.gather_batch(CPU, arrays, order, now, batch)
    for one, other, a in zip(got, plain, arrays, strict=True):
        assert one.dtype == a.dtype
        np.testing.assert_array_equal(one, a[order[2 * batch : 3 * batch]])
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("dtype", FLOATS)
def test_losses_are_noted(dtype):
    for backend in (HOST_CUDA, CPU):
        losses, sound = np.zeros(4), np.ones((), bool)
        for now, value in enumerate([1.5, 2.5, np.nan, 0.5]):
            type(backend).note_loss(backend, losses, sound, np.array(now), np.array(value, dtype))
            assert sound == (now < 2)
        np.testing.assert_array_equal(losses, [1.5, 2.5, np.nan, 0.5])
    launched(*["note_loss"] * 4)


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


def test_refused_steps_are_noted():
    for backend in (HOST_CUDA, CPU):
        losses = np.array([1.5, 2.5, 3.5, np.inf])  # the last one is the epoch's before
        for now in range(3):
            backend.note_refused(losses, np.array(now == 0), np.array(now))
        np.testing.assert_array_equal(losses, [1.5, np.nan, 3.5, np.inf])
    launched(*["note_refused"] * 3)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("places", [1, 9])
def test_normalize(places, dtype, rng):
    rows = rng.standard_normal((7, 5 * places)).astype(dtype)
    mean, scale, shift = rng.standard_normal((3, 5)).astype(dtype)
    got = HOST_CUDA.normalize(rows, mean, scale, shift)
    launched("normalize")
    np.testing.assert_array_equal(got, Backend.normalize(CPU, rows, mean, scale, shift))


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
        "binarize": lambda on: on("binarize", a),
        "gate": lambda on: on("gate", a, b, 0.5),
        "rescale": lambda on: on(rescale, table[0], 2 / 255, -1.0, dtype),
        "uniform": lambda on: on("uniform", (n,), 1, 2, dtype),
        "normalize": lambda on: on("normalize", a.reshape(-1, 10), shift, scale, shift),
        "affine": lambda on: on("affine", shift, (scale, a.reshape(-1, 10))),
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


EVERY_TYPE = [*product(FILES, FLOATS), ("windows", np.uint8), ("windows", np.int32)]


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
    assert ("fma.rn" in ptx) == (file == "classes")
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
