"""What the tests of commands share."""

from __future__ import annotations

import pytest

from minibnn import load_sample


@pytest.fixture(scope="module")
def sample():
    return load_sample()
