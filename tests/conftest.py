"""Fixtures for the whole suite."""

from __future__ import annotations

import numpy as np
import pytest
from devices import ALL, DEVICES, STRICT, open_backend

from minibnn.backend import Backend, register_backend

register_backend(STRICT)


@pytest.fixture(params=ALL)
def backend(request: pytest.FixtureRequest) -> Backend:
    """Each backend in turn."""
    return open_backend(request.param)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Backend:
    """Each backend that is not the host."""
    return open_backend(request.param)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
