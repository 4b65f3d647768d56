"""Files that several tests read or damage."""

from __future__ import annotations

import pytest
from coded_tables import FRONTS, coded, named
from integer_files import every_kind
from packed_files import bytes_of, on_images, small

from minibnn import pack


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A file's bytes, without and with latent weights; and of a coded input, with names."""
    folder = tmp_path_factory.mktemp("saved")
    model = small()
    packed = pack(model, (10,))
    files = [bytes_of(packed, folder, training={"a": 1}, model=m) for m in (None, model)]
    return [*files, bytes_of(named(), folder, model=coded())]


@pytest.fixture(scope="session")
def programs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("programs")
    models = [(small(), (10,))]
    models += [
        (on_images(n), (8, 9)) for n in ("two", "padding +1", "pixel padding 0", "pooled signs")
    ]
    packed = [*(pack(*model) for model in models), *map(named, FRONTS)]
    return [bytes_of(each, folder) for each in packed]


@pytest.fixture(scope="session")
def integers(tmp_path_factory):
    """A file with each kind of stage on integers."""
    return bytes_of(every_kind(), tmp_path_factory.mktemp("integers"))
