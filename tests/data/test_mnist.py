"""MNIST: which folder is read, what is refused, and the bundled sample.

The data set is a fake one of thirty images. test_download_cache.py has the tests of the cache.
"""

import os
from pathlib import Path

import numpy as np
import pytest
from fake_mnist import (
    FAKE,
    NAMES,
    TEST_IMAGES,
    TEST_LABELS,
    TRAIN_IMAGES,
    TRAIN_LABELS,
    assert_is_fake,
    cut,
    run_python,
    snapshot,
    write_fake,
)

from minibnn.data import (
    DatasetMismatchError,
    DatasetNotFoundError,
    IdxFormatError,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
    mnist,
    read_idx,
)

pytestmark = pytest.mark.usefixtures("isolated")


def test_import_is_light():
    heavy = ("pandas", "pooch", "tqdm", "matplotlib", "requests")
    code = f"import sys, minibnn.data; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code).strip() == "[]"


# --- the user's own folder -------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_own_folder(tmp_path, no_network, suffix):
    folder = write_fake(tmp_path / "own", suffix)
    before = snapshot(folder)
    assert_is_fake(load_mnist(folder))
    assert_is_fake(load_mnist(str(folder)))
    assert snapshot(folder) == before


def test_argument_before_variable_before_cache(tmp_path, monkeypatch, no_network, cache):
    counts = {"argument": 3, "variable": 4, "cache": 5}
    for name, count in counts.items():
        folder = cache if name == "cache" else tmp_path / name
        changed = {TRAIN_IMAGES: FAKE[TRAIN_IMAGES][:count], TRAIN_LABELS: np.zeros(count, "u1")}
        write_fake(folder, **changed)
    assert len(load_mnist(verify=False).train_images) == 5
    monkeypatch.setenv("MINIBNN_DATA", "")  # set to nothing is not set
    assert len(load_mnist(verify=False).train_images) == 5
    monkeypatch.setenv("MINIBNN_DATA", str(tmp_path / "variable"))
    assert len(load_mnist(verify=False).train_images) == 4
    assert len(load_mnist(tmp_path / "argument", verify=False).train_images) == 3


@pytest.mark.parametrize("by", ["data_dir", "MINIBNN_DATA"])
def test_own_folder_does_not_fall_through(tmp_path, monkeypatch, no_network, cache, by):
    write_fake(cache)
    folder = write_fake(tmp_path / "own", **{TEST_IMAGES: None})
    before = snapshot(folder)
    if by == "MINIBNN_DATA":
        monkeypatch.setenv("MINIBNN_DATA", str(folder))
    with pytest.raises(DatasetNotFoundError, match=f"not tried: {by} names this folder") as caught:
        load_mnist(folder if by == "data_dir" else None)
    assert f"{TEST_IMAGES}    missing" in str(caught.value)
    assert str(caught.value).count(" found\n") == 3
    assert snapshot(folder) == before
    with pytest.raises(DatasetNotFoundError, match="no such folder"):
        load_mnist(tmp_path / "none")


SPELLINGS = ("-idx", ".idx")


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("inside", ["", "raw", "MNIST/raw"])
@pytest.mark.parametrize("by", ["data_dir", "MINIBNN_DATA"])
def test_what_others_have_unpacked_is_read(
    tmp_path, monkeypatch, no_network, suffix, spelling, inside, by
):
    """Both spellings in use, and torchvision's folders, by their root or from inside."""
    folder = write_fake(tmp_path / "own" / inside, suffix)
    for name in NAMES:
        (folder / f"{name}{suffix}").rename(folder / f"{name.replace('-idx', spelling)}{suffix}")
    named = tmp_path / "own"
    if by == "MINIBNN_DATA":
        monkeypatch.setenv("MINIBNN_DATA", str(named))
    for load in (load_mnist, load_mnist_or_sample) if by == "MINIBNN_DATA" else (load_mnist,):
        assert_is_fake(load(named) if by == "data_dir" else load())
    assert load_mnist(folder, verify=False).name == {"MNIST/raw": "MNIST"}.get(inside, "own")


def test_spellings_may_be_mixed_and_the_complete_folder_counts(tmp_path, no_network):
    folder = write_fake(tmp_path / "own" / "raw")
    (folder / f"{TEST_LABELS}.gz").rename(folder / f"{TEST_LABELS.replace('-idx', '.idx')}.gz")
    write_fake(tmp_path / "own", **{TEST_IMAGES: None})
    assert_is_fake(load_mnist(tmp_path / "own"))


def nowhere(folder):
    return folder / "mistyped"


def empty(folder):
    folder.mkdir()
    return folder


def incomplete(folder):
    return write_fake(folder, **{TEST_LABELS: None})


def a_file(folder):
    folder.write_text("no folder")
    return folder


def too_long(folder):
    return folder / ("x" * 300)


def nobodys_home(folder):
    return Path("~nobody-of-this-name/mnist")


def a_pipe(folder):
    folder = incomplete(folder)
    os.mkfifo(folder / f"{TEST_LABELS}.gz")
    return folder


SOURCES = [nowhere, empty, incomplete, a_file, too_long, nobodys_home]
SOURCES += [a_pipe] * hasattr(os, "mkfifo")


@pytest.mark.parametrize("source", SOURCES)
def test_what_was_named_is_never_replaced_by_the_sample(
    tmp_path, monkeypatch, no_network, cache, source
):
    """Nor by the cache."""
    write_fake(cache)
    named = str(source(tmp_path / "own"))
    with pytest.raises(DatasetNotFoundError, match="data_dir names this folder"):
        load_mnist(named)
    monkeypatch.setenv("MINIBNN_DATA", named)
    for load in (load_mnist, load_mnist_or_sample):
        with pytest.raises(DatasetNotFoundError, match="MINIBNN_DATA names this folder") as caught:
            load()
    first = str(caught.value).splitlines()[0].removeprefix("MNIST is not complete in ")
    said = {a_file: f"{named}, which is a file", empty: named, incomplete: named}
    said |= dict.fromkeys(SOURCES[6:], named)
    assert first.startswith(said.get(source, f"{named} (no such folder)"))


def test_the_sample_stands_in_only_if_nothing_was_named(monkeypatch, no_network, caplog):
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")
    for value in (None, ""):
        if value is not None:
            monkeypatch.setenv("MINIBNN_DATA", value)
        assert load_mnist_or_sample().name.startswith("MNIST sample")
    assert "Going on with the bundled sample" in caplog.text


def test_a_named_file_that_cannot_be_read_is_no_data(tmp_path, monkeypatch, no_network):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    folder = write_fake(tmp_path / "own")
    monkeypatch.setattr(mnist, "read_idx", refused)
    with pytest.raises(DatasetNotFoundError, match="got Permission denied; make it readable"):
        load_mnist(folder)


def test_home_folder_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write_fake(tmp_path / "own")
    assert_is_fake(load_mnist("~/own"))


def test_damaged_own_file_is_an_error_and_stays(tmp_path, no_network):
    folder = write_fake(tmp_path / "own")
    cut(folder / f"{TRAIN_IMAGES}.gz")
    before = snapshot(folder)
    with pytest.raises(IdxFormatError, match="cut short"):
        load_mnist(folder)
    assert snapshot(folder) == before


def test_drop_in_set_needs_verify_off(tmp_path, no_network):
    fashion = {TRAIN_IMAGES: FAKE[TRAIN_IMAGES] // 2}
    folder = write_fake(tmp_path / "fashion", **fashion)
    before = snapshot(folder)
    with pytest.raises(DatasetMismatchError, match=r"Fashion-MNIST.*verify=False"):
        load_mnist(folder)
    data = load_mnist(folder, verify=False)
    assert data.name == "fashion"
    np.testing.assert_array_equal(data.train_images, fashion[TRAIN_IMAGES])
    assert snapshot(folder) == before


def labels_with(value, index):
    labels = FAKE[TRAIN_LABELS].copy()
    labels[index] = value
    return labels


@pytest.mark.parametrize(
    ("name", "array", "words"),
    [
        (TRAIN_IMAGES, FAKE[TRAIN_LABELS], ["byte 3", "3 dimension", "got 1", "labels file given"]),
        (TRAIN_LABELS, FAKE[TRAIN_IMAGES], ["byte 3", "1 dimension", "got 3", "images file given"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES].astype(np.int16), ["byte 2", "uint8", "int16"]),
        (TRAIN_LABELS, FAKE[TRAIN_LABELS].astype(np.float32), ["byte 2", "uint8", "float32"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES][:, :14], ["byte 8", "28x28", "14x28"]),
        (TRAIN_IMAGES, FAKE[TRAIN_IMAGES][:, :, :14], ["byte 8", "28x28", "28x14"]),
        (TRAIN_LABELS, labels_with(10, 7), ["byte 15", "0 to 9", "label 10 at index 7"]),
        (TEST_LABELS, labels_with(26, 0), ["byte 8", "label 26 at index 0"]),
    ],
)
def test_wrong_kind_of_file(tmp_path, name, array, words):
    folder = write_fake(tmp_path / "own", **{name: array})
    for verify in (True, False):
        with pytest.raises(IdxFormatError) as caught:
            load_mnist(folder, verify=verify)
        for word in (str(folder / name), *words):
            assert word in str(caught.value)


@pytest.mark.parametrize(
    ("name", "part", "counts"),
    [
        (TRAIN_LABELS, "training", "20 images and 19 labels"),
        (TEST_LABELS, "test", "10 images and 9 labels"),
    ],
)
def test_counts_must_agree(tmp_path, name, part, counts):
    folder = write_fake(tmp_path / "own", **{name: FAKE[name][:-1]})
    with pytest.raises(DatasetMismatchError, match=f"{part} files in .*own.*{counts}"):
        load_mnist(folder, verify=False)


def test_no_images_at_all_load(tmp_path):
    folder = write_fake(tmp_path / "own", **{name: array[:0] for name, array in FAKE.items()})
    assert load_mnist(folder, verify=False).train_images.shape == (0, 28, 28)


# --- the bundled sample and the real files ---------------------------------------------------


def test_sample(no_network):
    data = load_sample()
    assert data.name == "MNIST sample (4,000 + 1,000 images)"
    assert data.train_images.shape == (4000, 28, 28)
    assert data.test_images.shape == (1000, 28, 28)
    assert data.train_images.dtype == data.train_labels.dtype == np.uint8
    assert np.bincount(data.train_labels).tolist() == [400] * 10
    assert np.bincount(data.test_labels).tolist() == [100] * 10
    train = {image.tobytes() for image in data.train_images}
    test = {image.tobytes() for image in data.test_images}
    assert len(train | test) == 5000
    # Shuffled: any hundred in a row hold every digit.
    for labels in (data.train_labels, data.test_labels):
        assert all(len(set(part)) == 10 for part in labels.reshape(-1, 100).tolist())
    # The right labels on the right images: nearest class mean finds most of them.
    flat = data.train_images.reshape(4000, -1).astype(np.float32)
    means = np.stack([flat[data.train_labels == digit].mean(0) for digit in range(10)])
    distances = ((data.test_images.reshape(1000, 1, -1) - means) ** 2).sum(2)
    assert (distances.argmin(1) == data.test_labels).mean() > 0.75


def test_sample_folder_holds_nothing_else():
    folder = Path(mnist.__file__).parent / "sample"
    names = {path.name for path in folder.iterdir()}
    assert names == {f"{name}.gz" for name in NAMES} | {"LICENSE-DATA.md"}
    assert sum(path.stat().st_size for path in folder.iterdir()) < 1_200_000
    assert read_idx(folder / f"{TEST_LABELS}.gz").shape == (1000,)


@pytest.fixture(scope="module")  # and so made before `isolated` hides the environment
def official():
    if not os.environ.get("MINIBNN_DATA"):
        pytest.skip("MINIBNN_DATA does not name a folder with the MNIST files")
    return load_mnist()


def test_real_files(official):
    assert repr(official) == "ImageDataset('MNIST', 60000 training and 10000 test images of 28x28)"
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(official.train_labels).tolist() == train
    assert np.bincount(official.test_labels).tolist() == test
    assert official.train_labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]


def test_real_training_set_contains_the_sample(official):
    pairs = zip(official.train_images, official.train_labels, strict=True)
    known = {image.tobytes(): label for image, label in pairs}
    unseen = {image.tobytes() for image in official.test_images}
    sample = load_sample()
    for images, labels in (
        (sample.train_images, sample.train_labels),
        (sample.test_images, sample.test_labels),
    ):
        assert [known[image.tobytes()] for image in images] == labels.tolist()
        assert not any(image.tobytes() in unseen for image in images)
