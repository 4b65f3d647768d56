"""Choosing a device: the messages if it cannot be used, and no silent fallback."""

from __future__ import annotations

import copy
import logging
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from fake_cupy import FAILING_STAGES, fake_cuda, fake_cupy

from minibnn import Dense, DeviceError, backend_of, get_backend
from minibnn.backend import CPU, NumpyBackend
from minibnn.backend.cuda import CupyBackend


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


# --- A GPU, and its absence ----------------------------------------------------------------------


@pytest.mark.parametrize("stage", FAILING_STAGES)
def test_an_explicit_gpu_says_which_stage_failed_and_never_falls_back(stage, install):
    install(FAILING_STAGES[stage])
    with pytest.raises(DeviceError) as caught:
        get_backend("gpu")
    message = str(caught.value)
    assert f"failed to {stage}" in message
    assert re.search(r'pip install -e "\.\[cuda1[23]\]"', message)
    assert 'use device "cpu"' in message
    with pytest.raises(DeviceError, match="unavailable"):
        Dense(2, 2).initialize(0).to("gpu")


@pytest.mark.parametrize("stage", FAILING_STAGES)
def test_auto_takes_the_cpu_and_says_why(stage, install, caplog):
    install(FAILING_STAGES[stage])
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


def test_auto_is_seen_without_any_setup():
    code = "import minibnn; minibnn.get_backend('auto')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.startswith("device: ")
    assert done.stdout == ""


# --- Pickles and copies --------------------------------------------------------------------------


def test_a_pickle_of_a_model_that_computes_without_c():
    """`NumpyBackend()` is another object than the registered backend of NumPy's arrays."""
    model = Dense(3, 2).initialize(0).to(NumpyBackend())
    back = pickle.loads(pickle.dumps(model))
    assert back.backend is CPU
    np.testing.assert_array_equal(back.weight.data, model.weight.data)


def test_copies_and_pickles_share_the_backend(backend):
    model = Dense(3, 2).initialize(0).to(backend)
    assert copy.deepcopy(model).backend is backend
    back = pickle.loads(pickle.dumps(model))
    assert back.backend is backend
    np.testing.assert_array_equal(
        backend.to_host(back.weight.data), backend.to_host(model.weight.data)
    )
