"""tools/validate_gpu/every_kernel.py: it launches every kernel, on any backend."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_on_host import HOST_CUDA, HostKernels
from devices import STRICT, open_backend

from confirm import kernels
from confirm.setting import OK, Setting
from every_kernel import ODD, results
from launches import FLOATS, missing, recorded_launches
from minibnn.backend import CPU


def test_every_kernel_is_launched_and_right(on_the_host):
    outcome, launched = on_the_host
    assert missing(launched) == []
    assert (outcome.status, outcome.line) == (OK, "all results agree with the CPU")
    assert type(HOST_CUDA.kernels) is HostKernels, "the backend has its own kernels again"


@pytest.mark.gpu
def test_every_kernel_is_launched_and_right_on_a_gpu():
    gpu = open_backend("gpu")
    with recorded_launches(gpu) as recording:
        outcome = kernels.kernels(Setting(gpu))
    assert missing(recording.launched) == []
    assert (outcome.status, outcome.line) == (OK, "all results agree with the CPU")


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_results_are_the_same_on_any_backend(dtype):
    pairs = zip(results(STRICT, dtype, ODD), results(CPU, dtype, ODD), strict=True)
    for (name, a), (same, b) in pairs:
        assert name == same
        assert kernels.error_of(STRICT.to_host(a), np.asarray(b)) <= kernels.TOLERANCES[dtype]
