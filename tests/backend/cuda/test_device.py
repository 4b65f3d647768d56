"""Old GPUs: the build of CuPy that they need, and the features that they lack."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, HostCudaBackend, HostKernels
from devices import open_backend
from fake_cupy import failing, fake_cuda, fake_cupy

from minibnn import DeviceError, get_backend
from minibnn.backend.cuda import CupyBackend
from minibnn.backend.cuda.device import Device, gpu_of, kind_of_gpu
from minibnn.packed.bits import pack_rows, xnor_products
from minibnn.packed.inference import BitMatrix, DenseLayers, dense_layers, pixel_products

MODULE = "minibnn.backend.cuda.open"


@pytest.fixture(autouse=True)
def new_driver(monkeypatch):
    monkeypatch.setattr(f"{MODULE}._driver_cuda_version", lambda: (13, 0))


def refused():
    with pytest.raises(DeviceError) as caught:
        get_backend("gpu")
    return caught.value


# --- Compute capability -------------------------------------------------------------------------


@pytest.mark.parametrize("capability", [(5, 2), (6, 1), (7, 2)])
@pytest.mark.parametrize("installed", [None, "cuda12", "cuda13"])
def test_cuda_13_does_not_compile_for_old_gpus(capability, installed, install, monkeypatch):
    monkeypatch.setattr(f"{MODULE}._is_installed", lambda extra: extra == installed)
    install(fake_cupy(cuda=fake_cuda(capability=capability)))
    message = str(refused())
    major, minor = capability
    assert (
        "failed to compile and run a kernel: RuntimeError: CUDA 13.2 compiles for GPUs from "
        f"compute capability 7.5 on, and this one has {major}.{minor}\n"
    ) in message
    assert f", a GPU of compute capability {major}.{minor}\n" in message
    first = "pip uninstall cupy-cuda13x, then " if installed == "cuda13" else ""
    assert f'  hint:  in the checkout: {first}pip install -e ".[cuda12]"; or' in message


@pytest.mark.parametrize(
    ("capability", "nvrtc"), [((6, 1), (12, 9)), ((7, 5), (13, 0)), ((10, 0), (13, 2))]
)
def test_where_the_compiler_knows_the_gpu_it_opens(capability, nvrtc, install):
    install(fake_cupy(cuda=fake_cuda(capability=capability, nvrtc=nvrtc)))
    assert get_backend("gpu").device.capability == capability


def test_the_build_for_cuda_12_is_also_the_advice_for_other_errors_of_old_gpus(install):
    cuda = fake_cuda(capability=(6, 1), nvrtc=(12, 9))
    install(fake_cupy(cuda=cuda, ones=failing(RuntimeError("libnvrtc.so not found"))))
    assert 'pip install -e ".[cuda12]"' in str(refused())


@pytest.fixture
def products(monkeypatch):
    """Records which products may round to TF32."""
    noted = []
    stand_in = SimpleNamespace(multiply=lambda a, b, out, *, tf32: noted.append(tf32))
    monkeypatch.setattr(HOST_CUDA, "_cublas", stand_in)
    monkeypatch.setattr(HOST_CUDA, "matmul", CupyBackend.matmul.__get__(HOST_CUDA))
    return noted


@pytest.mark.parametrize("capability", [(7, 5), (8, 0), (12, 0)])
def test_tf32_begins_with_8_0(capability, products, monkeypatch, rng):
    device = Device(fake_cupy(cuda=fake_cuda(capability=capability)))
    monkeypatch.setattr(HOST_CUDA, "device", device)
    has = capability >= (8, 0)
    x = rng.standard_normal((4, 4)).astype(np.float32)
    HOST_CUDA.matmul(x, x)
    assert products.pop() is False
    if has:
        HOST_CUDA.tf32 = True
    else:
        with pytest.warns(
            UserWarning,
            match=r"^tf32: ignored, float32 stays exact: this GPU has compute capability 7\.5, and "
            r"TF32 came with 8\.0$",
        ):
            HOST_CUDA.tf32 = True
    assert HOST_CUDA.tf32 is has
    HOST_CUDA.matmul(x, x)
    assert products.pop() is has
    HOST_CUDA.tf32 = False  # says nothing


def test_tf32_is_for_products_of_our_own(monkeypatch):
    """CuPy's products, which are used if cuBLAS cannot be loaded, ignore `tf32`."""
    backend = HostCudaBackend(HOST_CUDA.kernels)
    backend.no_graphs = "OSError: no libcublas"
    with pytest.warns(UserWarning, match=r"exact: CuPy multiplies \(OSError: no libcublas\)$"):
        backend.tf32 = True
    assert backend.tf32 is False


@pytest.fixture(scope="module")
def pascal():
    """The kernels as compiled for an old GPU."""
    return HostCudaBackend(HostKernels("-D__CUDA_ARCH__=600"))


def test_byte_products_without_their_instruction(pascal, rng):
    bits, weights = (rng.integers(0, 2, (n, 77), dtype=np.uint8) for n in (9, 13))
    pixels = rng.integers(0, 256, (9, 77), dtype=np.uint8)
    pixels[0], weights[0] = 255, 0
    W = BitMatrix(pack_rows(weights), 77)
    network = DenseLayers(True, (W,), ())
    for backend in (pascal, HOST_CUDA):
        backend.kernels.launches.clear()
        got = backend.run(pixel_products, pixels, W), backend.run(dense_layers, pixels, network)
        assert backend.kernels.launches == ["pixel_few", "dense_layers"]
        for acc in got:
            np.testing.assert_array_equal(acc, pixel_products(pixels, W))
        np.testing.assert_array_equal(
            backend.run(xnor_products, backend.run(pack_rows, bits), W.words, 77),
            xnor_products(pack_rows(bits), W.words, 77),
        )


# --- One GPU of several --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("visible", "count", "processes", "numbers"),
    [
        (None, 4, 4, [0, 1, 2, 3]),
        (None, 4, 2, [0, 1]),
        (None, 1, 1, [0]),
        ("2,3", 2, 2, [0, 1]),  # CUDA counts anew what the list leaves
        ("5,6,7", 3, 2, [0, 1]),
        ("3", 1, 4, [0, 0, 0, 0]),  # the launcher gave each process its own, or they share it
        ("GPU-8f3c", 1, 2, [0, 0]),
    ],
)
def test_each_process_of_a_machine_has_its_own_gpu(visible, count, processes, numbers, monkeypatch):
    set_visible(monkeypatch, visible)
    cupy = fake_cupy(cuda=fake_cuda(count=lambda: count))
    assert [gpu_of(cupy, i, processes) for i in range(processes)] == numbers


@pytest.mark.parametrize(
    ("visible", "count", "seen"),
    [(None, 2, "2"), ("0,1", 2, r"2 \(CUDA_VISIBLE_DEVICES=0,1\)"), (None, 1, "1")],
)
def test_with_too_few_gpus_all_processes_say_so(visible, count, seen, monkeypatch):
    set_visible(monkeypatch, visible)
    cupy = fake_cupy(cuda=fake_cuda(count=lambda: count))
    for number in range(3):
        with pytest.raises(
            DeviceError,
            match=f"expected a GPU for each of 3 processes on this machine, got {seen}\n"
            f"  hint:  start at most {count} on a machine, or set CUDA_VISIBLE_DEVICES to one GPU",
        ) as caught:
            gpu_of(cupy, number, 3)
        assert not caught.value.passing


def test_what_decides_the_last_bits_of_a_gpu():
    assert kind_of_gpu(fake_cupy()) == {
        "the kind of GPU": "Imagined GPU",
        "the version of CuPy": "14.2.0",
        "the version of CUDA": "13020",
    }


def set_visible(monkeypatch, visible):
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)


@pytest.mark.gpu
def test_a_gpu_knows_what_it_is_and_its_own_arrays():
    gpu = open_backend("gpu")
    assert gpu.device.number == gpu.xp.cuda.Device().id
    major, minor = gpu.device.capability
    assert gpu.xp.cuda.Device().compute_capability == f"{major}{minor}"
    gpu.device.require_current()
    gpu.device.require_own(gpu.asarray(np.zeros(3))[1:])
    gpu.device.require_own(gpu.xp.empty(0))
