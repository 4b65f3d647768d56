"""Files that several tests read or damage."""

from __future__ import annotations

import pytest
from packed_files import bytes_of, on_images, small

from minibnn import pack


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A file's bytes, without and with latent weights."""
    folder = tmp_path_factory.mktemp("saved")
    model = small()
    packed = pack(model, (10,))
    return [bytes_of(packed, folder, training={"a": 1}, model=m) for m in (None, model)]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    models = [(small(), (10,))]
    models += [
        (on_images(n), (8, 9)) for n in ("two", "padding +1", "pixel padding 0", "pooled signs")
    ]
    return [bytes_of(pack(*model), folder) for model in models]
