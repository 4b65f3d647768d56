"""Fixtures for the tests of tools/validate_gpu, which run without a GPU."""

from __future__ import annotations

import pytest
from cuda_on_host import HOST_CUDA
from few_images import few_images

from confirm import kernels
from confirm.setting import Setting
from launches import recorded_launches


@pytest.fixture(scope="session")
def on_the_host():
    """The outcome of the part `kernels` on the host, and the launches."""
    with recorded_launches(HOST_CUDA) as recording:
        outcome = kernels.kernels(Setting(HOST_CUDA))
    return outcome, recording.launched


@pytest.fixture
def setting_on():
    """Make a setting with few images."""

    def make(backend, images=660):
        return Setting(backend, given=few_images(images, 20), epochs=2, job_epochs=1)

    return make
