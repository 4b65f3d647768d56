"""Fixtures for the tests of CUDA kernels, which run on the host."""

from __future__ import annotations

import pytest
from cuda_on_host import HOST_CUDA


@pytest.fixture
def launches() -> list[str]:
    """The names of the kernels that a test has launched; `forget_launches` clears them."""
    return HOST_CUDA.kernels.launches
