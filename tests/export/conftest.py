"""A network that several tests of the web page use."""

from __future__ import annotations

import pytest

from minibnn import load_sample, pack
from minibnn.recipes import RECIPES


@pytest.fixture(scope="session")
def modern():
    """A network trained on the bundled digits."""
    return pack(RECIPES["modern"]().train(load_sample(), epochs=12, progress=False)[0], (28, 28))
