"""Hints about data, pictures and training: each one is followed literally."""

from __future__ import annotations

import ast
import decimal
import gzip
import hashlib
import os
import shutil
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from advice import advised, shows
from devices import STRICT

import minibnn
from minibnn import (
    SGD,
    Adam,
    CapturedSteps,
    Constant,
    Conv2D,
    Cosine,
    DataLoader,
    Dense,
    Flatten,
    ImageDataset,
    Layer,
    LogitCrossEntropy,
    PerEpoch,
    PlainSteps,
    RandomStream,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    confusion_matrix,
    diagnose,
    evaluate,
    fit,
    get_backend,
    load_mnist,
    load_mnist_or_sample,
    load_sample,
    one_cold,
    one_hot,
    plot_function,
    plot_weight_bits,
    read_idx,
    write_idx,
)
from minibnn.backend import CPU, backend_of
from minibnn.comparison.ranking import rank
from minibnn.data import download, mnist
from minibnn.recipes import RECIPES

NAMES = list(mnist._SHA256)
RNG = np.random.default_rng(0)
PARTS = {
    name: RNG.integers(0, 256, (20, 28, 28), np.uint8)
    if "images" in name
    else np.arange(20, dtype=np.uint8) % 10
    for name in NAMES
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the four files of a small MNIST."""
    for name in ("MINIBNN_DATA", "MINIBNN_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "mnist"
    folder.mkdir()
    hashes = {}
    for name, array in PARTS.items():
        write_idx(folder / name, array)
        hashes[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    monkeypatch.setattr(mnist, "_SHA256", hashes)
    return folder


def same(data):
    arrays = (data.train_images, data.train_labels, data.test_images, data.test_labels)
    return all(map(np.array_equal, arrays, PARTS.values()))


# --- MNIST's files --------------------------------------------------------------------------------


def test_missing_files_are_fetched_into_a_folder_that_is_named(folder, tmp_path, monkeypatch):
    new = tmp_path / "FOLDER"
    text = ""
    with advised(
        "data",
        "- fetch the four files (with .gz) from one of these addresses into a folder, and name "
        'it: load_mnist(data_dir="FOLDER"), or set the environment variable MINIBNN_DATA; '
        "- start without them: load_sample() has 5,000 of the digits and needs no download.",
    ) as caught:
        load_mnist(new)
    text = caught.text
    assert "(no such folder)" in text
    new.mkdir()
    for name in NAMES:  # the files of these addresses
        with gzip.open(new / f"{name}.gz", "wb") as file:
            file.write((folder / name).read_bytes())
    monkeypatch.chdir(tmp_path)
    assert same(load_mnist(data_dir="FOLDER"))
    monkeypatch.setenv("MINIBNN_DATA", str(new))
    assert same(load_mnist())
    assert same(load_mnist_or_sample())
    monkeypatch.undo()  # the hashes: the sample has none
    assert len(load_sample().train_images) + len(load_sample().test_images) == 5000


def test_without_pooch_a_folder_is_named(folder, monkeypatch):
    """pooch finds the user's cache; users with their own files do not need it."""
    monkeypatch.setitem(sys.modules, "pooch", None)
    monkeypatch.delenv("MINIBNN_DATA", raising=False)
    with advised(
        "data",
        'install it, or name a folder with the four files: load_mnist(data_dir="FOLDER") or the '
        "environment variable MINIBNN_DATA; or start without them: load_sample()",
    ) as caught:
        load_mnist()
    assert "expected the package pooch" in caught.text
    monkeypatch.chdir(folder.parent)
    assert same(load_mnist(data_dir=folder.name))
    monkeypatch.setenv("MINIBNN_DATA", str(folder))
    assert same(load_mnist())
    monkeypatch.delenv("MINIBNN_DATA")
    assert "sample" in load_mnist_or_sample().name
    monkeypatch.undo()
    import pooch

    assert download.cache_folder() == Path(pooch.os_cache("minibnn")) / "mnist"


@pytest.mark.parametrize("what", ["one of the files", "an archive"])
def test_a_file_in_place_of_the_folder(folder, what):
    path = folder / NAMES[0]
    if what == "an archive":
        path = folder / "mnist.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.write(folder / NAMES[0])
    with advised("data", ", which is a file; the folder that it is in is {}") as caught:
        load_mnist(path)
    assert "no such folder" not in caught.text
    assert caught.text.startswith(f"MNIST is not complete in {path}, which is a file")
    assert f"the folder that it is in is {folder}\n" in caught.text
    assert same(load_mnist(folder))


def test_a_file_that_may_not_be_read_is_made_readable(folder, tmp_path, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("minibnn.data.mnist.read_idx", refused)  # an administrator may read all
    with advised("data/mnist.py", "make it readable, or name another folder") as caught:
        load_mnist(folder)
    assert NAMES[0] in caught.text
    monkeypatch.setattr("minibnn.data.mnist.read_idx", read_idx)
    assert same(load_mnist(folder))
    assert same(load_mnist(shutil.copytree(folder, tmp_path / "another")))


def test_another_file_is_fetched_again_or_not_verified(folder, tmp_path):
    fashion = tmp_path / "fashion"
    shutil.copytree(folder, fashion)
    other = PARTS[NAMES[0]] // 2
    write_idx(fashion / NAMES[0], other)
    with advised(
        "data",
        "fetch the file again, or, for a drop-in set such as Fashion-MNIST, "
        "call load_mnist(data_dir, verify=False)",
    ):
        load_mnist(fashion)
    data = load_mnist(fashion, verify=False)
    assert data.name == "fashion"
    assert np.array_equal(data.train_images, other)
    shutil.copy(folder / NAMES[0], fashion)
    assert same(load_mnist(fashion))


def test_swapped_files_are_given_their_names(folder):
    images, labels = (folder / name for name in NAMES[:2])
    for wrong in (images, labels):
        swapped = folder / "swapped"
        os.replace(images, swapped)
        os.replace(labels, images)
        os.replace(swapped, labels)
        if wrong == labels:
            shutil.copy(labels, images)
        with advised("data", "was the {} file given under this name?"):
            load_mnist(folder)
        for path, name in ((images, NAMES[0]), (labels, NAMES[1])):
            write_idx(path, PARTS[name])
        assert same(load_mnist(folder))


@pytest.mark.parametrize("wrong", [np.zeros((20, 32, 32), np.uint8), np.zeros((20, 28, 28), "f4")])
def test_a_file_that_is_not_mnists_is_replaced(folder, wrong):
    write_idx(folder / NAMES[0], wrong)
    with advised("data", "is this a file of MNIST?"):
        load_mnist(folder, verify=False)
    write_idx(folder / NAMES[0], PARTS[NAMES[0]])
    assert same(load_mnist(folder))


def test_a_file_that_cannot_be_read_is_made_readable(folder, tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(mnist, "read_idx", forbidden)  # no file is unreadable for root
    with advised("data", "make it readable, or name another folder"):
        load_mnist(folder)
    monkeypatch.setattr(mnist, "read_idx", read_idx)
    assert same(load_mnist(folder))
    other = tmp_path / "other"
    shutil.copytree(folder, other)
    assert same(load_mnist(other))


def test_files_that_do_not_belong_together_are_matched(folder):
    write_idx(folder / NAMES[1], PARTS[NAMES[1]][:-1])
    with advised("data", "do the two files belong together?"):
        load_mnist(folder, verify=False)
    write_idx(folder / NAMES[1], PARTS[NAMES[1]])
    assert same(load_mnist(folder))


def test_a_split_gets_a_generator():
    images, labels = PARTS[NAMES[0]], PARTS[NAMES[1]]
    data = ImageDataset("own", images, labels, images[:0], labels[:0])
    seed = 3
    with advised("data", "pass numpy.random.default_rng(seed)"):
        data.validation_split(5, seed)
    assert len(data.validation_split(5, np.random.default_rng(seed)).test_images) == 5


# --- IDX files ------------------------------------------------------------------------------------

ARRAY = np.arange(24, dtype=np.int16).reshape(4, 6)


@pytest.fixture
def idx(tmp_path):
    path = tmp_path / "a.idx"
    write_idx(path, ARRAY)
    return path


def test_a_damaged_file_is_fetched_again(idx):
    whole = idx.read_bytes()
    for part in (2, 9):
        idx.write_bytes(whole[:part])
        with advised("data", "the file is damaged, fetch it again"):
            read_idx(idx)
    idx.write_bytes(whole[:-3])
    with advised("data", "cut off: the file is damaged, fetch it again"):
        read_idx(idx)
    idx.write_bytes(gzip.compress(whole)[:-9])
    with advised("data", "the file is damaged, fetch it again"):
        read_idx(idx)
    idx.write_bytes(whole)
    assert np.array_equal(read_idx(idx), ARRAY)


def test_a_page_or_an_error_of_a_server_is_fetched_again(idx):
    whole = idx.read_bytes()
    for page in (b"<!DOCTYPE html><html>", b"  <html><body>"):
        idx.write_bytes(page)
        with advised("data", "a server sent a web page instead: fetch it again"):
            read_idx(idx)
    idx.write_bytes(b'<?xml version="1.0"?><Error>')
    with advised("data", "a server sent an error instead: fetch it again"):
        read_idx(idx)
    idx.write_bytes(whole)
    assert np.array_equal(read_idx(idx), ARRAY)


def test_wrapped_files_are_unwrapped(idx, tmp_path):
    whole = idx.read_bytes()
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(idx, "a.idx")
    with advised("data", "unpack it first"):
        read_idx(tmp_path / "a.zip")
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        archive.extractall(tmp_path / "out")
    assert np.array_equal(read_idx(tmp_path / "out" / "a.idx"), ARRAY)

    twice = tmp_path / "a.gz"
    twice.write_bytes(gzip.compress(gzip.compress(whole)))
    with advised("data", "decompress it once"):
        read_idx(twice)
    twice.write_bytes(gzip.decompress(twice.read_bytes()))
    assert np.array_equal(read_idx(twice), ARRAY)

    np.save(tmp_path / "a.npy", ARRAY)
    with advised("data", "read it with numpy.load"):
        read_idx(tmp_path / "a.npy")
    assert np.array_equal(np.load(tmp_path / "a.npy"), ARRAY)


def test_a_byte_swapped_file_is_written_with_write_idx(tmp_path):
    path = tmp_path / "swapped.idx"
    path.write_bytes(struct.pack("<BBH2I", 2, 0x0B, 0, 4, 6) + ARRAY.tobytes())
    with advised("data", "IDX is big-endian: write it with write_idx"):
        read_idx(path)
    write_idx(path, ARRAY)
    assert np.array_equal(read_idx(path), ARRAY)


def test_what_is_no_idx_file_is_another(idx, tmp_path):
    wrong = [b"hello, world", b"\0\0\x07\1\0\0\0\1\0", b"\0\0\x08\0\0\0\0\1\0"]
    for content in wrong:
        (tmp_path / "b").write_bytes(content)
        with advised("data", "is this an IDX file?"):
            read_idx(tmp_path / "b")
    assert np.array_equal(read_idx(idx), ARRAY)  # the one that is


def test_joined_files_are_taken_apart(idx):
    whole = idx.read_bytes()
    idx.write_bytes(whole + whole)
    with advised("data", "two files joined, or wrong dimensions in the header?"):
        read_idx(idx)
    idx.write_bytes(whole)
    assert np.array_equal(read_idx(idx), ARRAY)
    header = bytearray(whole)
    header[7] = 3  # rows instead of 4
    idx.write_bytes(header)
    with advised("data", "two files joined, or wrong dimensions in the header?"):
        read_idx(idx)
    header[7] = 4
    idx.write_bytes(header)
    assert np.array_equal(read_idx(idx), ARRAY)


def test_max_bytes_is_raised_for_large_files(idx):
    with advised("data", "raise max_bytes if the file truly is that large"):
        read_idx(idx, max_bytes=47)
    assert np.array_equal(read_idx(idx, max_bytes=48), ARRAY)


@pytest.mark.parametrize("dtype", ["bool", "int64", "uint16", "float16"])
def test_what_idx_cannot_hold_is_converted(tmp_path, dtype):
    array = np.array([0, 1, 1], dtype)
    path = tmp_path / "a.idx"
    if dtype == "bool":
        with advised("data", "convert it with .astype(np.uint8)"):
            write_idx(path, array)
        write_idx(path, array.astype(np.uint8))
    else:
        with advised("data", "convert it with .astype(...) to one of them") as caught:
            write_idx(path, array)
        one = caught.text.partition("can hold (")[2].partition(",")[0]
        write_idx(path, array.astype(one))
    assert read_idx(path).tolist() == [0, 1, 1]


def test_a_number_is_given_a_dimension(tmp_path):
    array = np.array(7, np.uint8)
    with advised("data", "use array.reshape(1)"):
        write_idx(tmp_path / "a.idx", array)
    write_idx(tmp_path / "a.idx", array.reshape(1))
    assert read_idx(tmp_path / "a.idx").tolist() == [7]


def test_an_array_too_long_for_the_format_is_split(tmp_path):
    array = np.empty((2**32, 0), np.uint8)  # of no bytes
    with advised("data", "split the array over several files"):
        write_idx(tmp_path / "a.idx", array)
    halves = [array[: 2**31], array[2**31 :]]
    for i, half in enumerate(halves):
        write_idx(tmp_path / f"{i}.idx", half)
    header = (tmp_path / "0.idx").read_bytes()
    assert struct.unpack(">4xII", header) == (2**31, 0)


def test_a_folder_to_write_into_is_made_first(tmp_path):
    path = tmp_path / "none" / "a.idx"
    with advised("atomic_file", "make it first") as caught:
        write_idx(path, np.zeros(3, np.uint8))
    os.mkdir(caught.text.partition("expected a folder ")[2].partition(",")[0])
    write_idx(path, np.zeros(3, np.uint8))
    assert read_idx(path).tolist() == [0, 0, 0]


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "taken").write_bytes(b"mine")
    with advised("atomic_file", "choose another folder"):
        write_idx(tmp_path / "taken" / "a.idx", np.zeros(3, np.uint8))
    assert (tmp_path / "taken").read_bytes() == b"mine"
    write_idx(tmp_path / "a.idx", np.zeros(3, np.uint8))
    assert read_idx(tmp_path / "a.idx").tolist() == [0, 0, 0]


# --- loaders and training -------------------------------------------------------------------------

X, LABELS = np.ones((10, 3), np.float32), np.arange(10) % 2


def test_a_loader_takes_a_tuple_and_a_size():
    for wrong in [(X, LABELS), (X, 4), ((X, LABELS), LABELS)]:
        with advised(
            "data",
            "DataLoader: expected a tuple of arrays and a batch size, such as ((x, labels), 64), "
            "got {} and {}",
        ):
            DataLoader(*wrong)
    assert len(DataLoader((X, LABELS), 64)) == 1


def test_drop_last_leaves_a_batch():
    with advised("data", "use a smaller batch_size"):
        DataLoader((X, LABELS), 16, drop_last=True)
    assert len(DataLoader((X, LABELS), 8, drop_last=True)) == 1


def model_and_all():
    model = Dense(3, 2).initialize(0)
    return model, LogitCrossEntropy(), Adam(model.parameters())


def test_arrays_are_put_into_a_loader():
    model, loss, optimizer = model_and_all()
    for call in (
        lambda data: evaluate(model, data, loss),
        lambda data: confusion_matrix(model, data),
        lambda data: diagnose(model, data),
        lambda data: fit(model, data, data, loss=loss, optimizer=optimizer, epochs=1),
    ):
        with advised("training", "make one: DataLoader((x, labels), batch_size)"):
            call((X, LABELS))
        call(DataLoader((X, LABELS), 5))
    steps = PlainSteps(model, loss, optimizer)
    with advised("training", "make one: DataLoader((x, labels), batch_size)"):
        steps.epoch([(X, LABELS)])
    assert len(steps.epoch(DataLoader((X, LABELS), 5))) == 2


def test_a_model_gives_a_row_of_classes():
    images = np.ones((10, 4, 4, 1), np.float32)
    data = DataLoader((images, LABELS), 5)
    with advised(
        "training",
        "end it with Flatten() and a layer that has an output for each class",
    ):
        evaluate(Conv2D(1, 2, 3).initialize(0), data, LogitCrossEntropy())
    model = Sequential(Conv2D(1, 2, 3), Flatten(), Dense(8, 2)).initialize(0)
    assert evaluate(model, data, LogitCrossEntropy()).accuracy == 0.5


def test_where_nan_comes_from_is_diagnosed():
    model, _, _ = model_and_all()
    model.weight.data[0, 0] = np.nan
    data = DataLoader((X, LABELS), 5)
    with advised("training", "diagnose(model, data) says where it comes from"):
        confusion_matrix(model, data)
    assert [f.where for f in diagnose(model, data).findings] == ["weight"]
    with advised("data", "diagnose(model, data) says where a model's come from"):
        one_cold(model.forward(X))
    model.initialize(0)
    assert confusion_matrix(model, data).to_numpy().sum() == 10
    assert set(one_cold(model.forward(X))) <= {0, 1}


def test_labels_in_a_column_are_made_a_vector():
    for call, hint in ((lambda a: one_hot(a, 2), "one_hot"), (one_cold, "one_cold")):
        if hint == "one_hot":
            with advised("data", "use labels.ravel()"):
                call(LABELS[:, None])
        else:
            with advised("data", "if these are class numbers already, use labels.ravel()"):
                call(LABELS[:, None])
    labels = LABELS[:, None].ravel()
    assert np.array_equal(one_cold(one_hot(labels, 2)), LABELS)


def test_data_are_moved_to_the_model():
    model, loss, _ = model_and_all()
    data = DataLoader((STRICT.asarray(X), STRICT.asarray(LABELS)), 5)
    with advised("training", "use data.to({})") as caught:
        evaluate(model, data, loss)
    assert "use data.to('cpu')" in caught.text
    right = evaluate(model, DataLoader((X, LABELS), 5), loss)
    assert evaluate(model, data.to("cpu"), loss) == right


def test_an_optimiser_is_made_of_the_models_parameters():
    model, loss, _ = model_and_all()
    stranger = Adam(Dense(3, 2).initialize(0).parameters())
    data = DataLoader((X, LABELS), 5)
    with advised("training", "make it with Adam(model.parameters(), ...)"):
        fit(model, data, data, loss=loss, optimizer=stranger, epochs=1)
    optimizer = Adam(model.parameters(), 0.1)
    history = fit(model, data, data, loss=loss, optimizer=optimizer, epochs=2)
    assert len(history) == 2


def test_capture_is_left_out_on_the_cpu():
    model, loss, optimizer = model_and_all()
    data = DataLoader((X, LABELS), 5)
    with advised("training", "leave capture out"):
        fit(model, data, data, loss=loss, optimizer=optimizer, epochs=1, capture=True)
    fit(model, data, data, loss=loss, optimizer=optimizer, epochs=1)


def test_a_recipe_needs_more_images_than_it_holds_out():
    name = next(n for n, recipe in RECIPES.items() if recipe().held_out)
    small, data = RECIPES["modern"](), load_sample()
    recipe = RECIPES[name]()
    settings = {"epochs": 1, "progress": False, "build": small.build}
    with advised("training", "use more images, or train(..., held_out=0)"):
        recipe.train(data, **settings)
    _, history = recipe.train(data, held_out=0, **settings)
    assert history.acc_test[1] > 0.5
    many = np.concatenate([data.train_images] * 4), np.concatenate([data.train_labels] * 4)
    all_of_mnist = ImageDataset("large enough", *many, data.test_images, data.test_labels)
    assert recipe.held_out < len(all_of_mnist.train_images)
    _, history = recipe.train(all_of_mnist, **settings)
    assert history.acc_test[1] > 0.5


def test_a_change_of_a_recipe_is_one_of_its_attributes():
    recipe, data = RECIPES["modern"](), load_sample()
    with advised("training", "there are {}") as caught:
        recipe.train(data, rate=0.1)
    names = caught.text.partition("there are ")[2].split(", ")
    assert "learning_rate" in names
    _, history = recipe.train(data, learning_rate=0.1, epochs=1, progress=False)
    assert len(history) == 1


def test_a_recipe_has_one_of_the_names_there_are():
    with advised("recipes", "there are {}") as caught:
        RECIPES["moderm"]
    for name in caught.text.strip('"').partition("there are ")[2].split(", "):
        assert RECIPES[name]().name == name


def test_a_name_is_spelt_as_suggested():
    with advised("__init__", "{}; did you mean {}?") as caught:
        minibnn.load_mnst  # noqa: B018
    name = caught.text.partition("did you mean '")[2].partition("'")[0]
    assert getattr(minibnn, name or "load_mnist") is load_mnist


def test_runs_that_failed_count_as_the_worst_score():
    runs = pd.DataFrame({"entry": list("xxyy"), "accuracy": [0.9, 0.91, np.nan, 0.9]})
    with advised("comparison", "count a run that failed as the worst score there is"):
        rank(runs)
    assert rank(runs.fillna(0.0)).index.tolist() == ["x", "y"]


def diverge(factor, rate, keep=slice(None)):
    model = Sequential(Rescale(1.0), Dense(3, 2)).initialize(0)
    x = np.random.default_rng(0).standard_normal((40, 3)).astype(np.float32)
    labels = (x[:, 0] > 0).astype(int)
    x[7, 1] *= factor
    data = DataLoader((x[keep], labels[keep]), 8)
    optimizer = minibnn.SGD(model.parameters(), rate)
    with np.errstate(all="ignore"):
        return fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=3)


def error_of(call, *arguments):
    with pytest.raises(minibnn.DivergedError) as caught:
        call(*arguments)
    return str(caught.value)


def test_training_that_diverges_is_slowed_down():
    def step(rate):
        model = Dense(3, 2).initialize(0)
        model.weight.grad.fill(10)
        with np.errstate(over="ignore"):
            SGD(model.parameters(), rate).step()
        return np.isfinite(model.weight.data).all()

    with advised("optimizers", "use a smaller learning rate"):
        step(1e38)
    assert step(3e36)
    shows("training", "layer {}, {}, made {} of finite inputs", error_of(diverge, 1e6, 3e38))
    assert diverge(1.0, 0.1).acc_test[3] > 0.8


@pytest.mark.parametrize("factor", [np.nan, np.inf])
def test_a_sample_of_nan_is_left_out_or_cleaned(factor):
    text = error_of(diverge, factor, 0.1)
    shows("training", "leave it out, or clean the data", text)
    assert "sample 7 has" in text
    assert diverge(1.0, 0.1).acc_test[3] > 0.8  # cleaned
    assert diverge(factor, 0.1, keep=np.arange(40) != 7).acc_test[3] > 0.8


class Root(Layer):
    """y = sqrt(x), whose slope at 0 is infinite, or a corrected form."""

    def __init__(self, forward=np.sqrt, wrong_slope=False):
        self.f, self.wrong_slope = forward, wrong_slope

    def forward(self, x, *, train=False):
        if train:
            self.saved = (x.shape,)
        return self.f(x)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy / 0 if self.wrong_slope else dy


def train_with(layer, rate=0.1, spoil=False):
    model = Sequential(Dense(3, 4), layer, Dense(4, 2)).initialize(0)
    if spoil:
        model[0].weight.data[0] = np.inf
    data = DataLoader((X, LABELS), 5)
    with np.errstate(all="ignore"):
        optimizer = minibnn.SGD(model.parameters(), rate)
        return fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)


def test_the_layer_that_made_nan_is_named_and_mended():
    text = error_of(train_with, Root())
    shows("training", "layer {}, {}, made {} of finite inputs; {}", text)
    assert "layer 1, Root()" in text
    assert np.isfinite(train_with(Root(abs)).loss_train[1])
    text = error_of(train_with, Root(abs, wrong_slope=True))
    shows("training", "layer {}, {}, sent {} back; {}", text)
    assert "layer 1, Root()" in text
    assert np.isfinite(train_with(Root(abs)).loss_train[1])


def test_a_model_of_inf_is_initialized_anew():
    text = error_of(train_with, Root(abs), 0.1, True)
    shows("training", "{} was {} before this batch already; {}", text)
    shows("training", "initialize the model anew, and use a smaller learning rate", text)
    assert np.isfinite(train_with(Root(abs), 0.01).loss_train[1])


def test_a_custom_loss_that_diverges_is_given_clean_data():
    class Spoilt(DataLoader):
        """Its batches are not rows of its arrays, so the sample cannot be found."""

        factor = np.nan

        def batches(self, epoch):
            for x, labels in super().batches(epoch):
                yield x * np.float32(self.factor), labels

    def train(factor):
        model = Dense(3, 2).initialize(0)
        data, test = Spoilt((X, LABELS), 5), DataLoader((X, LABELS), 5)
        data.factor = factor
        optimizer = minibnn.SGD(model.parameters(), 0.1)
        return fit(model, data, test, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)

    shows(
        "optimizers",
        "try a smaller learning rate, and look for nan or inf in the data",
        error_of(train, np.nan),
    )
    assert np.isfinite(train(1.0).loss_train[1])


def test_targets_that_are_too_large_are_divided():
    targets = np.full((10, 1), 1e25)

    def train(targets):
        model = Dense(3, 1).initialize(0)
        optimizer = minibnn.SGD(model.parameters(), 0.1)
        return fit(model, DataLoader((X, targets), 5), loss=minibnn.MeanSquaredError(),
                   optimizer=optimizer, epochs=1)  # fmt: skip

    with advised("training", "divide them by such a number"):
        train(targets)
    assert np.isfinite(train(targets / 1e25).loss_train[1])


def test_samples_that_are_too_large_are_left_out_or_scaled():
    x = np.random.default_rng(0).standard_normal((10, 3)).astype(np.float32)
    x[4, 1] = 1e37

    def train(x, labels):
        model = Sequential(Dense(3, 4), minibnn.BatchNorm(4), Dense(4, 2)).initialize(0)
        optimizer = minibnn.SGD(model.parameters(), 0.1)
        data = DataLoader((x, labels), 5)
        return fit(model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)

    with advised("training", "leave it out, or scale the data"):
        train(x, LABELS)
    for better in (np.delete(x, 4, 0)[:5], x / np.float32(1e37)):
        assert np.isfinite(train(better, LABELS[: len(better)]).loss_train[1])


def test_a_loss_and_an_optimiser_are_objects():
    model = Dense(3, 2).initialize(0)
    data = DataLoader((X, LABELS), 5)
    with advised("checks", "write an object such as LogitCrossEntropy()"):
        fit(model, data, loss="mse", optimizer="adam", epochs=1)
    with advised("checks", "write an object such as Adam(model.parameters())"):
        fit(model, data, loss=LogitCrossEntropy(), optimizer="adam", epochs=1)
    optimizer = Adam(model.parameters())
    assert len(fit(model, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)) == 1


def test_a_matrix_of_columns_is_transposed():
    columns = LABELS[None]
    with advised("data", "array {} would fit as its transpose, .T") as caught:
        DataLoader((X, columns), 5)
    assert "array 1 would fit" in caught.text
    assert DataLoader((X, columns.T), 5).samples == 10


def test_training_and_test_samples_are_prepared_alike():
    model, loss, optimizer = model_and_all()
    bytes_ = X.astype(np.uint8)
    model = Sequential(Rescale(1.0), model)
    with advised("training", "prepare both in the same way"):
        fit(model, DataLoader((bytes_, LABELS), 5), DataLoader((X, LABELS), 5), loss=loss,
            optimizer=optimizer, epochs=1)  # fmt: skip
    for x in (bytes_, X):
        data = DataLoader((x, LABELS), 5)
        assert len(fit(model, data, data, loss=loss, optimizer=optimizer, epochs=1)) == 1


def test_samples_to_evaluate_are_prepared_as_those_for_training():
    rows = np.random.default_rng(0).integers(0, 256, (40, 3), np.uint8)
    labels = (rows[:, 0] > 127).astype(int)
    model = Sequential(Rescale(1 / 255), Dense(3, 2)).initialize(0)
    data, optimizer = DataLoader((rows, labels), 8), Adam(model.parameters(), 0.1)
    history = fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=9)
    floats = DataLoader(((rows / 255).astype(np.float32), labels), 8)
    for call in (
        lambda d: evaluate(model, d, LogitCrossEntropy()),
        lambda d: confusion_matrix(model, d),
    ):
        with advised("training", "prepare them as those for training"):
            call(floats)
    assert evaluate(model, data, LogitCrossEntropy()).accuracy == history.acc_test[9]
    assert confusion_matrix(model, data).to_numpy().trace() == round(40 * history.acc_test[9])


def test_a_schedule_is_an_object_that_stays_in_its_range():
    model = Dense(3, 2).initialize(0)
    for wrong in (Cosine, "cosine", [0.1, 0.01]):
        with advised(
            "schedules",
            "write an object such as Cosine(0.01, 0.0, length=1000), or Constant(0.01)",
        ):
            PerEpoch(wrong, 10)
    for schedule in (Cosine(0.01, 0.0, length=1000), Constant(0.01)):
        assert PerEpoch(schedule, 10)(0) == pytest.approx(0.01)

    def train(schedule):
        optimizer = Adam(model.parameters(), schedule)
        for _ in range(5):
            optimizer.step()
        return optimizer

    with advised(
        "schedules", "look at how it goes on, and hold it at its last value with min or max"
    ):
        train(lambda t: 0.02 - 0.01 * t)
    assert train(lambda t: max(0.0, 0.02 - 0.01 * t)).steps == 5


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "right", "hint"),
    [(3.0, 3, "int"), (np.float32(3), 3, "int"), ("3", 3, "quotes"), (True, 1, "bool")],
)
def test_whole_numbers_are_written_as_such(wrong, right, hint):
    for make in (lambda n: Dense(n, 2), lambda n: DataLoader((X, LABELS), n)):
        if hint == "int":
            with advised("checks", "int(...) makes one"):
                make(wrong)
            assert repr(make(int(wrong))) == repr(make(right))
        elif hint == "quotes":
            with advised("checks", "write it without quotes"):
                make(wrong)
            assert repr(make(ast.literal_eval(wrong))) == repr(make(right))
        else:
            with advised("checks", "write {}"):
                make(wrong)
            assert make(right)


@pytest.mark.parametrize("wrong", ["three", float("nan"), float("inf")])
def test_what_makes_no_whole_number_gets_no_advice(wrong):
    with pytest.raises(TypeError, match=f"got {wrong!r}$"):
        Dense(wrong, 2)


def test_numbers_are_written_as_such():
    model = Dense(3, 2).initialize(0)
    with advised("checks", "write it without quotes"):
        Adam(model.parameters(), "0.1")
    assert Adam(model.parameters(), ast.literal_eval("0.1"))
    with advised("checks", "write {}"):
        Adam(model.parameters(), True)
    assert Adam(model.parameters(), 1.0)
    rate = decimal.Decimal("0.1")
    with advised("checks", "float(...) makes one"):
        Adam(model.parameters(), rate)
    assert "rate 0.1" in repr(Adam(model.parameters(), float(rate)))
    with pytest.raises(TypeError, match=r"got 'fast'$"):
        Adam(model.parameters(), "fast")


def test_shapes_and_generators_are_written_as_such():
    with advised("checks", "write {} such as {}") as caught:
        Reshape(784)
    assert "write shape such as (28, 28" in caught.text
    assert Reshape((28, 28)).forward(np.zeros((1, 784))).shape == (1, 28, 28)
    for wrong in ("seed", None, 1.5):
        with advised("checks", "pass np.random.default_rng(0), or 0"):
            Dense(3, 2).initialize(wrong)
    one, other = (Dense(3, 2).initialize(rng) for rng in (np.random.default_rng(0), 0))
    assert np.array_equal(one.weight.data, other.weight.data)


# --- training on a device -------------------------------------------------------------------------


class Counting(Dense):
    """A user's layer that keeps a count or an array, or draws random numbers."""

    def __init__(self, way):
        super().__init__(3, 2)
        self.way, self.last = way, STRICT.asarray(np.zeros((5, 3), np.float32))
        self.count = STRICT.asarray(np.zeros((), np.float32)) if way == "counts there" else 0
        self.stream = RandomStream() if way == "draws there" else np.random.default_rng(0)

    def forward(self, x, *, train=False):
        if train and self.way in ("counts", "counts there"):
            self.count += 1
            x = x / self.count
        if train and self.way == "replaces":
            self.last = x + self.last
        if train and self.way == "writes":
            self.last[...] = x + self.last
        if train and self.way in ("replaces", "writes"):
            x = x + self.last
        if train and self.way == "draws":
            x = x * STRICT.asarray(self.stream.random(x.shape, np.float32))
        if train and self.way == "draws there":
            x = x * self.stream.uniform(STRICT, x.shape, x.dtype)
        return super().forward(x, train=train)


@pytest.mark.parametrize(
    ("way", "instead"),
    [("counts", "counts there"), ("replaces", "writes"), ("draws", "draws there")],
)
def test_a_step_that_changes_the_host_keeps_its_state_on_the_device(way, instead):
    data = DataLoader((STRICT.asarray(np.tile(X, (6, 1))), STRICT.asarray(np.tile(LABELS, 6))), 5)

    def epoch(way, kind=CapturedSteps):
        data.epoch = 0
        model = Counting(way).initialize(0).to(STRICT)
        steps = kind(model, LogitCrossEntropy(), Adam(model.parameters()))
        losses = STRICT.to_host(steps.epoch(data))
        return losses, steps.captured

    with pytest.warns(UserWarning, match="training without a captured step") as caught:
        plain, captured = epoch(way)
    shows(
        "training",
        "write into arrays (a[...] = values), keep a count in an array of shape () on the device, "
        "and draw from a RandomStream",
        str(caught[0].message),
    )
    assert not captured
    losses, captured = epoch(instead)
    assert captured
    if way == "draws":  # other numbers
        plain, _ = epoch(instead, PlainSteps)
    assert np.array_equal(losses, plain)


class Peeks(Layer):
    """Multiplies by random numbers: from a count of its draws, or from a random stream."""

    def __init__(self, way):
        self.way, self.stream = way, RandomStream()

    def forward(self, x, *, train=False):
        factor = backend_of(x).xp.ones_like(x)
        if train and self.way == "count":
            factor *= 1 / (1 + self.stream.count)
        elif train:
            factor = self.stream.uniform(self.backend, x.shape, x.dtype)
        if train:
            self.saved = (x.shape, factor)
        return x * factor

    def backward(self, dy, *, need_dx=True):
        (factor,) = self.take_saved(dy)
        return dy * factor


class Halving(SGD):
    """Halves its rate in each step, in a form that can be captured or not."""

    def __init__(self, parameters, way):
        super().__init__(parameters, 0.1)
        self.way = way

    def scalars(self, learning_rate, step):
        return (learning_rate / 2**step if self.way == "scalars" else learning_rate,)

    def update(self, segment, scalars):
        (rate,) = scalars
        if self.way == "steps":
            rate = rate / 2**self.steps
        w, g = self.store.data[segment.where], self.store.grad[segment.where]
        self.backend.masked_write((w, w - rate * g))


def captured(make, steps):
    """An epoch on the strict stand-in: the losses, whether it was captured, and warnings."""
    data = DataLoader((STRICT.asarray(np.tile(X, (6, 1))), STRICT.asarray(np.tile(LABELS, 6))), 5)
    model, optimizer = make()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = steps(model, LogitCrossEntropy(), optimizer)
        losses = STRICT.to_host(run.epoch(data))
    return losses, run.captured, " ".join(str(w.message) for w in caught)


class Falling:
    """A schedule that counts its calls, or uses the number it is given."""

    def __init__(self, by_itself):
        self.by_itself, self.calls = by_itself, 0

    def __call__(self, step):
        if self.by_itself:
            step, self.calls = self.calls, self.calls + 1
        return 0.1 / (step + 1)


def test_a_schedule_goes_by_the_number_of_updates():
    def make(by_itself):
        model = Dense(3, 2).initialize(0).to(STRICT)
        return model, SGD(model.parameters(), Falling(by_itself))

    plain, *_ = captured(lambda: make(True), PlainSteps)
    losses, was_captured, text = captured(lambda: make(True), CapturedSteps)
    shows("training", "compute a rate from the number of updates alone", text)
    assert not was_captured
    assert np.array_equal(losses, plain)
    losses, was_captured, text = captured(lambda: make(False), CapturedSteps)
    assert was_captured
    assert not text
    assert np.array_equal(losses, plain)


def test_a_rate_that_no_float_holds_is_made_smaller():
    def step(rate, lr_scale=1.0):
        model = Dense(3, 2, lr_scale=lr_scale).initialize(0)
        optimizer = SGD(model.parameters(), rate)
        model.weight.grad.fill(1)
        before = model.weight.data.copy()
        optimizer.step()
        return before - model.weight.data

    for wrong in ((1e300, 1.0), (1e30, 1e30)):
        with advised("optimizers", "use a smaller learning rate, or a smaller lr_scale"):
            step(*wrong)
    assert np.allclose(step(0.1), 0.1)
    assert np.allclose(step(0.1, 10.0), 1.0)


def test_a_host_that_says_no_makes_no_update():
    layer = Dense(3, 2).initialize(0)
    optimizer, before = SGD(layer.parameters(), 0.1), layer.weight.data.copy()
    layer.weight.grad[...] = 1

    def step(value):
        if CPU.all_finite(value):
            optimizer.step()
        return optimizer.steps

    with (
        advised("backend", "call all_finite, and skip the update if it returns False"),
        CPU.update(allowed=np.isfinite(np.nan)),
    ):
        optimizer.step()
    assert np.array_equal(layer.weight.data, before)
    assert (step(np.nan), step(1.0)) == (0, 1)
    with CPU.update(allowed=np.isfinite(1.0)):
        optimizer.step()
    assert optimizer.steps == 2


def test_a_count_that_is_read_is_drawn_from_instead():
    def make(way):
        model = Sequential(Peeks(way), Dense(3, 2)).initialize(0).to(STRICT)
        return model, Adam(model.parameters())

    _, was, text = captured(lambda: make("count"), CapturedSteps)
    shows("training", "draw with uniform, which counts on in each replay", text)
    assert not was
    losses, was, text = captured(lambda: make("uniform"), CapturedSteps)
    assert (was, text) == (True, "")
    assert np.array_equal(losses, captured(lambda: make("uniform"), PlainSteps)[0])


def test_what_an_optimiser_changes_comes_from_its_scalars():
    def make(way):
        model = Dense(3, 2).initialize(0).to(STRICT)
        return model, Halving(model.parameters(), way)

    _, was, text = captured(lambda: make("steps"), CapturedSteps)
    shows("training", "take what changes from step to step from scalars(rate, step)", text)
    assert not was
    losses, was, text = captured(lambda: make("scalars"), CapturedSteps)
    assert (was, text) == (True, "")
    assert np.array_equal(losses, captured(lambda: make("steps"), PlainSteps)[0])


def test_a_device_that_is_not_there_is_the_cpu():
    with advised("backend", '{} hint: {}; or use device "cpu"'):
        if isinstance(get_backend("gpu"), minibnn.backend.Backend):
            pytest.skip("there is a GPU")
    assert get_backend("cpu") is CPU


# --- pictures -------------------------------------------------------------------------------------


def test_limits_of_a_picture():
    with advised("plots", "plot_function: expected limits such as (-3, 3), got {}"):
        plot_function(SignSTE(), limits=3)
    assert plot_function(SignSTE(), limits=(-3, 3))


def test_weight_bits_are_drawn_once_there_are_any():
    model = Dense(784, 4, weight_quantizer=SignSTE())
    with advised("plots", "call model.initialize(rng) first"):
        plot_weight_bits(model)
    assert plot_weight_bits(model.initialize(np.random.default_rng(0)))


@pytest.mark.parametrize(("inputs", "shape"), [(30, (5, 6)), (64, (8, 8)), (2352, (28, 84))])
def test_weight_bits_are_drawn_in_the_shape_that_is_passed(inputs, shape):
    model = Sequential(Flatten(), Dense(inputs, 4)).initialize(0)
    with advised("plots", "pass image_shape=(height, width), whose product is its inputs"):
        plot_weight_bits(model)
    figure = plot_weight_bits(model, image_shape=shape)
    rows, columns = figure.axes[0].images[0].get_array().shape
    assert rows >= shape[0]
    assert columns >= 4 * shape[1]


def test_weight_bits_of_windows_have_the_windows_shape():
    with pytest.raises(ValueError, match=r"images of one channel.*\(3, 3, 3, 4\)$"):
        plot_weight_bits(Conv2D(3, 4, 3).initialize(0), image_shape=(3, 9))  # no hint helps
    model = Conv2D(1, 4, 3).initialize(0)
    with advised("plots", "leave image_shape out"):
        plot_weight_bits(model, image_shape=(28, 28))
    assert plot_weight_bits(model)
    assert plot_weight_bits(model, image_shape=(3, 3))


def test_one_hot_is_no_advice_for_floats():
    """`one_hot` refuses them itself, so nothing may send them there."""
    with pytest.raises(TypeError, match="integer labels"):
        one_hot(LABELS.astype(np.float32), 2)
    with pytest.raises(TypeError) as caught:
        LogitCrossEntropy().forward(X[:, :2], LABELS.astype(np.float32))
    assert "one_hot" not in str(caught.value)
    assert CPU.host
