"""What the tests of commands share."""

from __future__ import annotations

import pytest
from few_images import few_images
from own_tables import table, train

from minibnn import load_sample
from minibnn.commands import shared


@pytest.fixture(scope="module")
def sample():
    return load_sample()


@pytest.fixture
def few(monkeypatch):
    """A few digits of the sample, which commands take for all of it."""
    data = few_images(400, 100)
    monkeypatch.setattr(shared, "load_data", lambda given: data)
    return data


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A table, and a model that was trained on it. Tests only read them."""
    folder = tmp_path_factory.mktemp("own")
    data = table(folder / "sensor.csv")
    return data, train(data, folder / "sensor.safetensors")
