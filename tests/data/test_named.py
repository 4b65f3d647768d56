"""Data sets by name, from small files of the same formats; no published file was at hand."""

from __future__ import annotations

import dataclasses
import gzip
import re
import tarfile

import numpy as np
import pytest
from fake_mnist import assert_is_fake, snapshot, write_fake
from fake_named import CATS, COLOURS, IMAGES, LABELS, digests, files_of, tar
from fuzz_mirrors import Server, whole

from minibnn.data import (
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
    ImageDataset,
    SamplesError,
    load_named,
    named,
)
from minibnn.data.named import NAMED

pytestmark = pytest.mark.usefixtures("isolated")
OTHERS = [name for name in NAMED if name != "mnist"]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("http_proxy", raising=False)
    monkeypatch.delenv("HTTP_PROXY", raising=False)


@pytest.fixture
def world(monkeypatch):
    """A server with two mirrors of small files, whose digests take the place of the published."""
    server = Server()
    server.answers = {"bad": lambda name: [whole(b"", "503 Busy")]}
    for name, known in named._SETS.items():
        files = files_of(name)
        server.answers[name] = lambda asked, files=files: [whole(files[asked])]
        mirrors = (server.mirror("bad"), server.mirror(name))
        changed = dataclasses.replace(known, files=digests(files), mirrors=mirrors)
        monkeypatch.setitem(named._SETS, name, changed)
    with server.running():
        yield server


def put(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def assert_right(name, parts):
    expected = (COLOURS, CATS) if name == "cifar-10" else (IMAGES, LABELS)
    for samples, x, y in zip(parts, *expected, strict=True):
        x = x.transpose(0, 2, 3, 1) if name == "cifar-10" else x
        np.testing.assert_array_equal(samples.x, x)
        assert samples.x.dtype == np.uint8
        assert samples.y.tolist() == y.tolist()
        assert samples.class_names == named._SETS[name].classes


@pytest.mark.parametrize("name", OTHERS)
def test_it_is_downloaded_once_from_the_mirror_that_answers(world, name, cache):
    train, test = load_named(name)
    assert_right(name, (train, test))
    assert train.name == f"{named._SETS[name].title}, training part"
    asked = list(world.asked)
    assert {"bad", name} == set(asked)
    assert_right(name, load_named(name))
    assert world.asked == asked, "the second time it is in the cache"
    folder = cache.parent / named._SETS[name].cache
    assert {path.name for path in folder.iterdir()} == set(named._SETS[name].files)


@pytest.mark.parametrize("name", OTHERS)
def test_a_folder_of_ones_own_is_read_and_not_changed(world, name, tmp_path, no_network):
    inside = tmp_path / "own" / named._SETS[name].inside / "raw"
    for folder in (tmp_path / "here", inside):
        put(folder, files_of(name))
    for folder in (tmp_path / "here", tmp_path / "own"):
        before = snapshot(folder)
        assert_right(name, load_named(name, folder))
        assert snapshot(folder) == before


@pytest.mark.parametrize("name", OTHERS)
def test_other_content_is_no_published_file(world, name, tmp_path, no_network):
    files = files_of(name)
    last = list(files)[-1]
    folder = put(tmp_path / "own", files)
    other = (
        gzip.compress(gzip.decompress(files[last]), 1)
        if last.endswith(".gz")
        else files[last] + b"\0"
    )
    (folder / last).write_bytes(other)
    with pytest.raises(DatasetMismatchError, match=f"own/{last}: expected .* own file"):
        load_named(name, folder)
    if not name.startswith("emnist"):
        assert_right(name, load_named(name, folder, verify=False))


def test_a_mirror_that_sends_something_else(world, monkeypatch):
    world.answers["bad"] = lambda name: [whole(gzip.compress(b"something else"))]
    assert_right("kmnist", load_named("kmnist"))
    known = named._SETS["kmnist"]
    only_bad = dataclasses.replace(known, mirrors=known.mirrors[:1])
    monkeypatch.setitem(named._SETS, "kmnist", only_bad)
    assert_right("kmnist", load_named("kmnist"))  # from the cache
    monkeypatch.setitem(named._SETS, "fashion-mnist", dataclasses.replace(
        named._SETS["fashion-mnist"], mirrors=known.mirrors[:1]))  # fmt: skip
    with pytest.raises(DatasetNotFoundError, match=r"sha256 differs"):
        load_named("fashion-mnist")


def test_a_damaged_file_in_the_cache_is_downloaded_again(world, cache):
    load_named("kmnist")
    path = cache.parent / "kmnist" / "train-images-idx3-ubyte.gz"
    good = path.read_bytes()
    path.write_bytes(good[:-3])
    with pytest.warns(UserWarning, match="will be downloaded again"):
        assert_right("kmnist", load_named("kmnist"))
    assert path.read_bytes() == good


def test_offline_it_says_what_is_missing(world, monkeypatch, tmp_path):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    with pytest.raises(DatasetNotFoundError) as caught:
        load_named("emnist-letters")
    text = str(caught.value)
    for words in ("EMNIST letters is not complete in", "gzip.zip is missing", "MINIBNN_OFFLINE is set",
                  "data_dir=FOLDER"):  # fmt: skip
        assert words in text
    with pytest.raises(DatasetNotFoundError, match="data_dir names this folder"):
        load_named("cifar-10", tmp_path / "none")
    assert not world.asked


def test_unpacked_files_are_read_without_verification(world, tmp_path, no_network):
    files = {n.removesuffix(".gz"): gzip.decompress(c) for n, c in files_of("qmnist").items()}
    folder = put(tmp_path / "own", files)
    with pytest.raises(
        DatasetMismatchError, match=r'load_named\("qmnist", data_dir, verify=False\)'
    ):
        load_named("qmnist", folder)
    assert_right("qmnist", load_named("qmnist", folder, verify=False))


def bomb():
    """A member that is longer than the whole data set, in a file of one megabyte."""
    info = tarfile.TarInfo("cifar-10-batches-bin/readme.html")
    info.size = 2**28
    return gzip.compress(info.tobuf() + bytes(2**28 + 1024), 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: tar(leave_out="data_batch_3.bin"), "a file data_batch_3.bin in it"),
        (lambda: tar(cut=1), "records of 3073 bytes in data_batch_1.bin"),
        (lambda: tar()[:-200], "binary archive"),
        (lambda: b"no archive", "binary archive"),
        (bomb, "binary archive"),
        (lambda: gzip.compress(b"x" * 10_000), "binary archive"),
    ],
    ids=["no third batch", "cut records", "cut file", "no archive", "bomb", "another kind"],
)
def test_archives_that_are_damaged(tmp_path, no_network, content, words):
    put(tmp_path / "own", {"cifar-10-binary.tar.gz": content()})
    with pytest.raises(SamplesError, match=words):
        load_named("cifar-10", tmp_path / "own", verify=False)


def test_archives_and_files_of_another_kind(tmp_path, no_network):
    for name in ("gzip.zip", "train-images-idx3-ubyte.gz"):
        put(tmp_path / "own", {name: b"nothing of that kind"})
    with pytest.raises(SamplesError, match="EMNIST's archive"):
        load_named("emnist-digits", tmp_path / "own", verify=False)
    with pytest.raises(IdxFormatError):
        load_named("kmnist", tmp_path / "own", verify=False)
    files = files_of("kmnist")
    images, labels, *_ = files
    put(tmp_path / "own", files | {images: files[labels]})
    with pytest.raises(SamplesError, match="expected 3 dimensions, got 1"):
        load_named("kmnist", tmp_path / "own", verify=False)
    put(tmp_path / "zip", {"gzip.zip": files_of("emnist-letters")["gzip.zip"]})
    with pytest.raises(SamplesError, match="emnist-digits-train-images"):
        load_named("emnist-digits", tmp_path / "zip", verify=False)


def test_mnist_has_a_name_too(tmp_path, no_network):
    train, test = load_named("mnist", write_fake(tmp_path / "own"))
    assert_is_fake(
        ImageDataset("fake", train.x, train.y.astype(np.uint8), test.x, test.y.astype(np.uint8))
    )
    assert train.class_names == tuple("0123456789")


def test_other_names_are_refused():
    with pytest.raises(ValueError, match="did you mean 'fashion-mnist'"):
        load_named("fashionmnist")
    with pytest.raises(ValueError, match="name a file or a folder"):
        load_named("sensor.csv")


def test_each_published_digest_is_one_and_is_in_the_table_once():
    digests = {d for known in named._SETS.values() for d in known.files.values()}
    assert all(re.fullmatch("[0-9a-f]{64}", d) for d in digests)
    assert len(digests) == 3 * 4 + 2
    counts = {name: len(known.classes) for name, known in named._SETS.items()}
    assert counts == {
        "fashion-mnist": 10, "kmnist": 10, "qmnist": 10, "cifar-10": 10, "emnist-letters": 26,
        "emnist-balanced": 47, "emnist-bymerge": 47, "emnist-byclass": 62, "emnist-digits": 10,
        "emnist-mnist": 10,
    }  # fmt: skip


def test_it_says_that_no_file_was_seen():
    assert "None of these files was at hand" in named.__doc__
