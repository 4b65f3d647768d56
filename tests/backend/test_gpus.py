"""Processes of a machine that divide its GPUs; `cuda/test_device.py` has who gets which."""

from __future__ import annotations

import pytest
from fake_cupy import fake_cuda, fake_cupy

from minibnn import DeviceError, get_backend
from minibnn.backend import CPU
from minibnn.backend.gpus import divide_gpus


@pytest.fixture
def two_gpus(install, monkeypatch):
    """A fake CuPy with two GPUs, before anything has asked for one."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    cupy = fake_cupy(cuda=fake_cuda(lambda: 2))
    install(cupy)
    return cupy


@pytest.mark.parametrize("number", [0, 1])
def test_a_process_takes_its_own_gpu(number, two_gpus):
    divide_gpus(number, 2)
    assert two_gpus.cuda.runtime.getDevice() == 0  # nothing has happened on the device
    assert get_backend("gpu").device.number == two_gpus.cuda.runtime.getDevice() == number
    divide_gpus(number, 2)  # again, for another training


def test_alone_a_process_keeps_the_current_gpu(two_gpus):
    two_gpus.cuda.Device(1).use()
    assert get_backend("gpu").device.number == 1


def test_too_few_gpus(two_gpus, caplog):
    divide_gpus(2, 3)
    with pytest.raises(
        DeviceError, match=r"^device \"gpu\" is unavailable: expected a GPU for each"
    ):
        get_backend("gpu")
    assert get_backend("auto") is CPU
    assert "(auto found no usable GPU: expected a GPU for each of 3 processes" in caplog.text


def test_a_gpu_that_was_opened_too_early(two_gpus):
    get_backend("gpu")
    divide_gpus(0, 2)  # it happens to be the right one
    with pytest.raises(
        DeviceError,
        match=r"expected GPU 1 for process 1 of 2 on this machine, got GPU 0, which was opened "
        r"before\n  hint:  make Ranks before",
    ):
        divide_gpus(1, 2)
    with pytest.raises(DeviceError, match="a GPU for each of 3 processes"):
        divide_gpus(0, 3)
