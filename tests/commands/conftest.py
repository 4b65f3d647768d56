"""What the tests of commands share."""

from __future__ import annotations

import pytest
from own_tables import table, train

from minibnn import load_sample


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A table, and a model that was trained on it. Tests only read them."""
    folder = tmp_path_factory.mktemp("own")
    data = table(folder / "sensor.csv")
    return data, train(data, folder / "sensor.safetensors")
