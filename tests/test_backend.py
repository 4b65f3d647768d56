"""Choosing a device: what works, what is said when it does not, and that nothing falls back."""

from __future__ import annotations

import ctypes
import logging
import re
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest

import minibnn.backend.select as select
from minibnn import Dense, DeviceError, backend_of, get_backend
from minibnn.backend import CPU, AdamStep, Backend
from minibnn.backend.cupy_backend import ADAM_BODY, ADAM_PARAMETERS, CupyBackend, open_gpu


class FakeKernel:
    """CuPy's ElementwiseKernel without a compiler: it can only be made."""

    def __init__(self, inputs, outputs, body, name):
        self.text = body


def fake_cupy(**changes):
    """A module that looks like a working CuPy as far as the check goes."""
    cupy = types.ModuleType("cupy")
    cupy.__version__ = "14.2.0"
    cupy.ndarray = type("ndarray", (np.ndarray,), {})
    cupy.ElementwiseKernel = FakeKernel
    cupy.is_available = lambda: True
    cupy.ones = lambda shape, dtype: np.ones(shape, dtype)
    cupy.matmul = np.matmul
    vars(cupy).update(changes)
    return cupy


@pytest.fixture
def install(monkeypatch):
    """Put a fake CuPy in place and forget what was found before."""
    monkeypatch.setattr(select, "_gpu", None)
    monkeypatch.setattr(select, "_by_array_type", dict(select._by_array_type))

    def install(cupy):
        monkeypatch.setitem(sys.modules, "cupy", cupy)

    return install


def failing(error):
    def fail(*args, **kwargs):
        raise error

    return fail


STAGES = {
    "import CuPy": None,
    "find a CUDA device": fake_cupy(is_available=lambda: False),
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
    assert re.search(r'pip install "minibnn\[cuda1[23]\]"', message)
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
    assert f'auto: chose the CPU; device "gpu" is unavailable: failed to {stage}' in caplog.text


def test_auto_takes_a_gpu_that_works(install, caplog):
    install(fake_cupy())
    with caplog.at_level(logging.INFO, logger="minibnn"):
        backend = get_backend("auto")
    assert isinstance(backend, CupyBackend)
    assert "auto: chose the GPU" in caplog.text
    assert get_backend("gpu") is backend


def test_the_answer_is_kept(install):
    calls = []

    def count():
        calls.append(1)
        return False

    install(fake_cupy(is_available=count))
    for _ in range(3):
        with pytest.raises(DeviceError):
            get_backend("gpu")
        get_backend("auto")
    assert calls == [1]


@pytest.mark.parametrize(
    ("driver", "extra", "seen"),
    [
        (None, "cuda13", "no NVIDIA driver found"),
        ((12, 4), "cuda12", "driver supports CUDA 12.4"),
        ((13, 0), "cuda13", "driver supports CUDA 13.0"),
    ],
)
def test_the_mend_fits_the_driver(driver, extra, seen, install, monkeypatch):
    monkeypatch.setattr("minibnn.backend.cupy_backend._driver_cuda_version", lambda: driver)
    install(None)
    with pytest.raises(DeviceError) as caught:
        open_gpu()
    assert seen in str(caught.value)
    assert f'pip install "minibnn[{extra}]"' in str(caught.value)
    assert ("install an NVIDIA driver" in str(caught.value)) == (driver is None)


def test_names():
    assert get_backend("cpu") is CPU
    assert get_backend(CPU) is CPU
    with pytest.raises(ValueError, match='expected "cpu", "gpu" or "auto", got \'cuda\''):
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
    backend.synchronize()


def adam_source(kind: str) -> str:
    """The CUDA kernel's body, as a function of one element in plain C++."""
    inputs, outputs = ADAM_PARAMETERS
    outputs = outputs.replace("T ", "T& ")
    loop = (
        "for (int i = 0; i < n; ++i)"
        " one<T>(g[i], rate, beta1, beta2, epsilon, bound, alive, w[i], m[i], v[i]);"
    )
    if kind == "cuda":
        loop = loop.replace("for (int i = 0; i < n; ++i)", "int i = threadIdx.x; if (i < n)")
    return (
        ("#include <cmath>\nusing std::sqrt;\n" if kind == "c++" else "")
        + f"template <typename T> {'__device__' if kind == 'cuda' else 'static'} void one"
        + f"({inputs}, {outputs}) {{ {ADAM_BODY} }}\n"
        + "typedef float T;\n"
        + f'extern "C" {"__global__ " if kind == "cuda" else ""}void adam(int n, const T* g, T rate,'
        + " T beta1, T beta2, T epsilon, T bound, bool alive, T* w, T* m, T* v) { "
        + loop
        + " }\n"
    )


@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler to run the kernel with")
@pytest.mark.parametrize("bound", [None, 0.5])
def test_the_adam_kernel_computes_what_its_twin_does(bound, rng, tmp_path):
    """Without a GPU: the kernel's body, compiled for the host, against the plain body."""
    source, library = tmp_path / "adam.cpp", tmp_path / "adam.so"
    source.write_text(adam_source("c++"))
    subprocess.run(
        ["g++", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", source, "-o", library],
        check=True,
    )
    adam = ctypes.CDLL(str(library)).adam
    kernel = object.__new__(CupyBackend)

    def run_on_host(g, rate, beta1, beta2, epsilon, bound, alive, w, m, v):
        scalars = [ctypes.c_float(s) for s in (rate, beta1, beta2, epsilon, bound)]
        arrays = [a.ctypes.data_as(ctypes.c_void_p) for a in (g, w, m, v)]
        adam(g.size, arrays[0], *scalars, ctypes.c_bool(alive), *arrays[1:])

    kernel._adam_kernel = run_on_host
    expected = [rng.standard_normal(100).astype(np.float32) for _ in range(2)]
    expected += [np.zeros(100, np.float32), np.zeros(100, np.float32)]
    got = [a.copy() for a in expected]
    for step in range(1, 6):
        numbers = AdamStep(0.01, 0.9, 0.999, 1e-8, step, bound)
        alive = np.bool_(step != 3)
        Backend.adam_step(CPU, *expected, numbers, alive)
        kernel.adam_step(*got, numbers, alive)
        for a, b in zip(expected, got, strict=True):
            np.testing.assert_allclose(b, a, rtol=2e-5, atol=1e-6)


def nvrtc():
    """NVIDIA's run-time compiler, which needs no GPU; None where it is not installed."""
    from importlib.util import find_spec
    from pathlib import Path

    spec = find_spec("nvidia")
    places = [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    names = [str(f) for p in places for f in p.glob("**/libnvrtc.so.*")]
    for name in (*names, "libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12"):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None


@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_the_adam_kernel_compiles_for_the_gpu(architecture):
    library = nvrtc()
    if library is None:
        pytest.skip("NVRTC is not installed")
    program = ctypes.c_void_p()
    source = adam_source("cuda").encode()
    assert library.nvrtcCreateProgram(ctypes.byref(program), source, b"adam.cu", 0, None, None) == 0
    options = (ctypes.c_char_p * 1)(f"--gpu-architecture={architecture}".encode())
    status = library.nvrtcCompileProgram(program, 1, options)
    size = ctypes.c_size_t()
    library.nvrtcGetProgramLogSize(program, ctypes.byref(size))
    log = ctypes.create_string_buffer(size.value)
    library.nvrtcGetProgramLog(program, log)
    assert status == 0, log.value.decode()
    library.nvrtcDestroyProgram(ctypes.byref(program))
