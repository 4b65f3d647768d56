"""Opening a GPU: each stage that can fail, and the hint that goes with it."""

from __future__ import annotations

import warnings

import pytest
from fake_cupy import failing, fake_cuda, fake_cupy

from minibnn import DeviceError, get_backend
from minibnn.backend.cuda import CupyBackend, open_gpu
from minibnn.backend.gpus import share


def test_wrong_results_are_a_failed_stage(install):
    install(fake_cupy(matmul=lambda a, b, out=None: a * 0))
    with pytest.raises(DeviceError, match=r"failed to multiply matrices: .* is not 2"):
        get_backend("gpu")


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


def test_a_gpu_of_its_own_is_current_before_anything_is_done_there(install, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    where = []

    def ones(shape, dtype):
        where.append(cupy.cuda.runtime.getDevice())
        return plain(shape, dtype)

    cupy = fake_cupy(cuda=fake_cuda(lambda: 3))
    plain, cupy.ones = cupy.ones, ones
    install(cupy)
    monkeypatch.setattr(share, "place", (2, 3))
    assert open_gpu().device.number == 2
    assert set(where) == {2}


def test_too_few_gpus_are_not_explained_by_the_installation(install, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    install(fake_cupy(cuda=fake_cuda(lambda: 1)))
    monkeypatch.setattr(share, "place", (0, 2))
    with pytest.raises(DeviceError, match="expected a GPU for each of 2 processes") as caught:
        open_gpu()
    assert "pip install" not in str(caught.value)
