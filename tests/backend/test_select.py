"""Choosing a device: what works, what is said when it does not, and that nothing falls back."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest
from fake_cupy import failing, fake_cuda, fake_cupy

from minibnn import Dense, DeviceError, backend_of, get_backend
from minibnn.backend import CPU, NumpyBackend
from minibnn.backend.cuda import CupyBackend, open_gpu
from minibnn.backend.implementations import Implementations
from minibnn.random_stream import stream_keys, uniform

NO_DEVICE = fake_cuda(count=lambda: 0)
STAGES = {
    "import CuPy": None,
    "find a CUDA device": fake_cupy(cuda=NO_DEVICE),
    "compile and run a kernel": fake_cupy(ones=failing(RuntimeError("libnvrtc.so not found"))),
    "multiply matrices": fake_cupy(matmul=failing(OSError("libcublas.so not found"))),
}


@pytest.mark.parametrize("stage", STAGES)
def test_an_explicit_gpu_says_which_stage_failed_and_never_falls_back(stage, install):
    install(STAGES[stage])
    with pytest.raises(DeviceError) as caught:
        get_backend("gpu")
    message = str(caught.value)
    assert f"failed to {stage}" in message
    assert re.search(r'pip install -e "\.\[cuda1[23]\]"', message)
    assert 'use device "cpu"' in message
    with pytest.raises(DeviceError, match="unavailable"):
        Dense(2, 2).initialize(0).to("gpu")


def test_wrong_results_are_a_failed_stage(install):
    install(fake_cupy(matmul=lambda a, b, out=None: a * 0))
    with pytest.raises(DeviceError, match=r"failed to multiply matrices: .* is not 2"):
        get_backend("gpu")


@pytest.mark.parametrize("stage", STAGES)
def test_auto_takes_the_cpu_and_says_why(stage, install, caplog):
    install(STAGES[stage])
    with caplog.at_level(logging.INFO, logger="minibnn"):
        assert get_backend("auto") is CPU
    assert f"device: cpu (auto found no usable GPU: failed to {stage}" in caplog.text


def test_auto_takes_a_gpu_that_works(install, caplog):
    install(fake_cupy())
    with caplog.at_level(logging.INFO, logger="minibnn"):
        backend = get_backend("auto")
    assert isinstance(backend, CupyBackend)
    assert "device: gpu" in caplog.text
    assert get_backend("gpu") is backend


def test_the_answer_is_kept(install):
    calls = []

    def count():
        calls.append(1)
        return 0

    install(fake_cupy(cuda=fake_cuda(count)))
    for _ in range(3):
        with pytest.raises(DeviceError):
            get_backend("gpu")
        get_backend("auto")
    assert calls == [1]


@pytest.mark.parametrize(
    ("driver", "installed", "hint"),
    [
        (None, None, 'install an NVIDIA driver, then, in the checkout: pip install -e ".[cuda13]"'),
        (None, "cuda12", 'install an NVIDIA driver, then, in the checkout: pip install -e ".[cuda12]"'),
        ((12, 4), None, 'hint:  in the checkout: pip install -e ".[cuda12]"'),
        ((12, 4), "cuda13", 'pip uninstall cupy-cuda13x, then pip install -e ".[cuda12]"'),
        ((13, 0), None, 'hint:  in the checkout: pip install -e ".[cuda13]"'),
        ((13, 0), "cuda12", 'hint:  in the checkout: pip install -e ".[cuda12]"'),
    ],
)  # fmt: skip
def test_the_hint_fits_the_driver_and_what_is_there(driver, installed, hint, install, monkeypatch):
    module = "minibnn.backend.cuda.open"
    monkeypatch.setattr(f"{module}._driver_cuda_version", lambda: driver)
    monkeypatch.setattr(f"{module}._is_installed", lambda extra: extra == installed)
    install(None)
    with pytest.raises(DeviceError) as caught:
        open_gpu()
    assert hint in str(caught.value)
    seen = "no NVIDIA driver" if driver is None else f"a driver for CUDA {driver[0]}.{driver[1]}"
    assert seen in str(caught.value)


def test_the_drivers_own_reason_is_shown(install):
    reason = RuntimeError("cudaErrorInsufficientDriver: driver is too old")
    install(fake_cupy(cuda=fake_cuda(failing(reason))))
    with pytest.raises(DeviceError, match=r"failed to find a CUDA device: .*InsufficientDriver"):
        get_backend("gpu")


def test_a_warning_is_not_a_broken_gpu(install, monkeypatch):
    """The suite makes warnings errors; CuPy warns of things that need not stop it."""
    cupy = fake_cupy()

    def warn(name):
        warnings.warn("several CuPy packages", UserWarning, stacklevel=1)
        return cupy

    install(cupy)
    monkeypatch.setattr("minibnn.backend.cuda.open.importlib.import_module", warn)
    with pytest.warns(UserWarning, match="several CuPy"):
        assert isinstance(get_backend("gpu"), CupyBackend)


def test_auto_is_seen_without_any_setup():
    code = "import minibnn; minibnn.get_backend('auto')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("device: ")
    assert done.stdout == ""


def test_a_pickle_of_a_model_that_computes_without_c():
    """`NumpyBackend()` is another object than the registered backend of NumPy's arrays."""
    model = Dense(3, 2).initialize(0).to(NumpyBackend())
    back = pickle.loads(pickle.dumps(model))
    assert back.backend is CPU
    np.testing.assert_array_equal(back.weight.data, model.weight.data)


def unlike_ours(name, compute):
    """A function of a user's, of the name of one of minibnn's references."""
    compute.__name__ = name
    return compute


@pytest.mark.parametrize("name", ["batch_norm", "adam", "binary_sign", "two_stage_sum"])
def test_a_users_reference_is_computed_whatever_its_name(name, backend):
    """Who copies an equation into a file of their own, to change it, gets the changed one."""
    x = backend.asarray(np.ones((4, 3), np.float32))
    for _ in range(2):
        assert backend.run(unlike_ours(name, lambda *args: len(args)), x, x) == 2


def test_a_users_table_serves_minibnns_references_and_their_own():
    table = Implementations()

    class Slow(NumpyBackend):
        tables = (table,)

    @table.implements("uniform")
    def uniform_of_theirs(backend, xp, shape, k0, k1, first, dtype):
        return "fast"

    def theirs(x):
        return x

    @table.implements("theirs")
    def implementation(backend, x):
        return 2 * x

    backend = Slow()
    assert backend.run(uniform, np, (2,), 1, 2, 0, np.float32) == "fast"
    assert backend.run(theirs, 3) == 6


def test_copies_and_pickles_share_the_backend(backend):
    model = Dense(3, 2).initialize(0).to(backend)
    assert copy.deepcopy(model).backend is backend
    back = pickle.loads(pickle.dumps(model))
    assert back.backend is backend
    np.testing.assert_array_equal(
        backend.to_host(back.weight.data), backend.to_host(model.weight.data)
    )


def test_only_a_gpu_has_tf32():
    assert CPU.tf32 is False
    CPU.tf32 = False
    with pytest.raises(ValueError, match="tf32: expected a GPU, got cpu"):
        CPU.tf32 = True


def test_names():
    assert get_backend("cpu") is CPU
    assert get_backend(CPU) is CPU
    with pytest.raises(ValueError, match=r"expected device .*, got 'cuda'"):
        get_backend("cuda")


def test_backend_of(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros(3))
    for host in (np.zeros(3), np.float32(1), np.load(tmp_path / "a.npy", mmap_mode="r")):
        assert backend_of(host) is CPU
    for other in ([1.0], 1.0, None):
        with pytest.raises(TypeError, match="expected a NumPy or CuPy array"):
            backend_of(other)


def test_the_cpu_does_not_pull_arrays_from_a_gpu():
    class OnGpu:
        __cuda_array_interface__ = {}  # noqa: RUF012 (what CuPy's arrays have)

    with pytest.raises(TypeError, match="expected a host array, got one on the GPU"):
        CPU.asarray(OnGpu())


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


def drawn(backend, shape, *, seed=1, count=0, first=0, dtype=np.float64):
    return backend.run(uniform, backend.xp, shape, *stream_keys(seed, count), first, dtype)


def test_a_function_of_ones_own_is_not_replaced_by_an_implementation_of_its_name():
    """Somebody copies a reference into a file of their own, changes it, and runs it."""

    def two_stage_sum(x, out):
        return "mine"

    assert CPU.run(two_stage_sum, np.ones((3, 2), np.float32), None) == "mine"


def test_uniform_numbers_are_the_same_everywhere(backend):
    keys = stream_keys(12345, 3)
    expected = uniform(np, (50, 7), *keys, 0, np.float32)
    for dtype in (np.float32, np.float64):
        got = backend.run(uniform, backend.xp, (50, 7), *keys, 0, dtype)
        assert got.dtype == dtype
        np.testing.assert_array_equal(backend.to_host(got), expected)
    assert drawn(backend, ()).shape == ()


def test_uniform_numbers_end_where_they_would_begin_anew(backend):
    with pytest.raises(ValueError, match=r"at most 2\^32 numbers, got \(65537, 65536, 4096\)"):
        drawn(backend, (65537, 65536, 4096))
    assert drawn(backend, (3, 0)).shape == (3, 0)
    assert drawn(backend, (2,), first=2**32 - 2).shape == (2,)
    for first in (2**32 - 1, -1):
        with pytest.raises(
            ValueError, match=rf"got \(2,\) from position {first} on; draw it in parts"
        ):
            drawn(backend, (2,), first=first)


def test_uniform_numbers_known_values():
    """From the equations, worked out with Python's integers."""

    def mix(h):
        h = ((h ^ h >> 16) * 0x85EBCA6B) % 2**32
        h = ((h ^ h >> 13) * 0xC2B2AE35) % 2**32
        return h ^ h >> 16

    assert mix(1) == 0x514E28B7  # MurmurHash3's published finaliser of 1
    k0, k1 = (int(k) for k in stream_keys(0, 0))
    assert k1 << 32 | k0 == 0xE220A8397B1DCDAF  # SplitMix64's published first number for seed 0
    expected = [(mix(mix((i + k0) % 2**32) ^ k1) >> 8) / 2**24 for i in range(100)]
    np.testing.assert_array_equal(drawn(CPU, (100,), seed=0), expected)


def test_uniform_numbers_are_uniform_and_independent():
    """Two million numbers against what chance allows (five standard deviations)."""
    u = np.stack([drawn(CPU, (1000, 1000), seed=7, count=count) for count in range(2)])
    n = u.size
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(u.mean() - 0.5) < 5 * np.sqrt(1 / 12 / n)
    counts = np.bincount((u.ravel() * 1000).astype(int), minlength=1000)
    chi2 = ((counts - n / 1000) ** 2 / (n / 1000)).sum()
    assert abs(chi2 - 999) < 5 * np.sqrt(2 * 999)
    c = u - 0.5
    pairs = [
        (c[0, :, :-1], c[0, :, 1:]),  # neighbours
        (c[0, :-1], c[0, 1:]),  # neighbouring rows
        (c[0], c[1]),  # neighbouring arrays of a stream
        (c[0], drawn(CPU, (1000, 1000), seed=8) - 0.5),  # neighbouring streams
    ]
    for a, b in pairs:
        assert abs((a * b).sum()) < 5 * np.sqrt(a.size) / 12
