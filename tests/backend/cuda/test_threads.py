"""A thread that works in the place of another one: its GPU, its stream, its handles."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import strictcuda
import strictdev
from cublas_stand_in import Library, OnDevice
from fake_cupy import fake_cuda

from minibnn.backend.cuda import cublas
from minibnn.backend.cuda.device import Device
from minibnn.backend.cuda.threads import here, thread_number, use


def in_a_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


def test_a_new_thread_has_another_gpu_and_stream():
    """What `here` is for: as in CuPy."""
    with strictcuda.use_device(1), strictdev.cuda.Stream():
        assert in_a_thread(strictdev.cuda.runtime.getDevice) == 0
        assert in_a_thread(strictdev.cuda.get_current_stream) is strictcuda.default_stream
        with pytest.raises(strictcuda.WrongDevice, match="device 0 is current here"):
            in_a_thread(lambda: strictdev.zeros(3))


def test_inside_here_a_thread_works_where_the_other_one_does():
    with strictcuda.use_device(1), strictdev.cuda.Stream() as stream:
        context, number = here(strictdev), thread_number()

        def work():
            with context:
                assert strictdev.cuda.runtime.getDevice() == 1
                assert strictdev.cuda.get_current_stream() is stream
                assert thread_number() == number
                strictdev.zeros(3)
            assert thread_number() == threading.get_ident() != number
            assert strictdev.cuda.get_current_stream() is strictcuda.default_stream
            return strictdev.cuda.runtime.getDevice()

        assert in_a_thread(work) == 1  # setting back the first one would start CUDA on it


def test_after_an_error_a_thread_works_for_itself():
    context = here(strictdev)

    def work():
        with pytest.raises(ZeroDivisionError), context:
            raise ZeroDivisionError
        return thread_number() == threading.get_ident()

    assert in_a_thread(work)


def test_a_thread_in_the_place_of_one_that_is_itself_in_the_place_of_another():
    outer, number = here(strictdev), thread_number()

    def work():
        with outer:
            inner = here(strictdev)

            def innermost():
                with inner:
                    return thread_number()

            return in_a_thread(innermost)

    assert in_a_thread(work) == number


def test_the_other_threads_cublas_handle_is_used(monkeypatch):
    """A handle takes 32 MiB of the GPU, and is never given back."""
    library = Library()
    monkeypatch.setattr(cublas, "_load", lambda: library)
    cuda = fake_cuda()
    cuda.alloc = lambda size: SimpleNamespace(ptr=4096, size=size)
    cuda.get_current_stream = lambda: strictcuda.default_stream
    products = cublas.Cublas(SimpleNamespace(cuda=cuda), Device(SimpleNamespace(cuda=cuda)))
    one = OnDevice(np.ones((2, 2), np.float32))

    def handles_after(context):
        with context:
            products.multiply(one, one, OnDevice(np.empty((2, 2), np.float32)), tf32=False)
        return [call[0] for call in library.calls].count("Create_v2")

    assert handles_after(nullcontext()) == 1
    for _ in range(3):
        assert in_a_thread(partial(handles_after, here(strictdev))) == 1
    assert in_a_thread(partial(handles_after, nullcontext())) == 2  # it works for itself


def test_a_gpu_that_is_current_is_not_made_current_again():
    used = []
    device = SimpleNamespace(use=lambda: used.append(1))
    cuda = SimpleNamespace(
        runtime=SimpleNamespace(getDevice=lambda: 1), Device=lambda number: device
    )
    use(SimpleNamespace(cuda=cuda), 1)
    assert not used
    use(SimpleNamespace(cuda=cuda), 0)
    assert used


def test_a_default_stream_for_each_thread_is_refused():
    """CuPy with CUPY_CUDA_PER_THREAD_DEFAULT_STREAM=1: nothing orders two of them."""
    stream = SimpleNamespace(ptr=2)
    cupy = SimpleNamespace(cuda=SimpleNamespace(get_current_stream=lambda: stream))
    with pytest.raises(RuntimeError, match=r"; unset CUPY_CUDA_PER_THREAD_DEFAULT_STREAM$"):
        here(cupy)
