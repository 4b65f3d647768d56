"""The fake MNIST and a cache folder of its own, for the tests that load them."""

import gzip
import hashlib

import pytest
from fake_mnist import NAMES, write_fake

from minibnn.data import download, mnist


@pytest.fixture(scope="module")
def fake_files(tmp_path_factory):
    return write_fake(tmp_path_factory.mktemp("fake"))


@pytest.fixture(scope="module")
def fake_hashes(fake_files):
    contents = {name: gzip.decompress((fake_files / f"{name}.gz").read_bytes()) for name in NAMES}
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}


@pytest.fixture
def isolated(monkeypatch, tmp_path, fake_hashes):
    """Keep the user's environment, cache and network out of a test."""
    for name in ("MINIBNN_DATA", "MINIBNN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(download, "cache_folder", lambda: tmp_path / "cache" / "mnist")
    monkeypatch.setattr(download, "MIRRORS", ("http://127.0.0.1:9/a/", "http://127.0.0.1:9/b/"))
    monkeypatch.setattr(mnist, "_SHA256", fake_hashes)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache" / "mnist"


@pytest.fixture
def no_network(monkeypatch):
    def refuse(url, path):
        pytest.fail(f"{url} was asked for")

    monkeypatch.setattr(download, "_download", refuse)
