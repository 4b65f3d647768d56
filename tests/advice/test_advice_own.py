"""What is said about data of one's own, done: the command then works."""

from __future__ import annotations

import re

import numpy as np
import pytest
from advice import advised, shows
from own_tables import CPU, QUICK, table, train

from minibnn import load_packed, write_idx
from minibnn.__main__ import main
from minibnn.data.aligned import aligned
from minibnn.data.options import read_parts_of
from minibnn.data.samples import Samples
from minibnn.default_network import default_network
from minibnn.recipes import recipe_named

COMPARE = ("--seeds", "1", "--epochs", "1")


@pytest.fixture
def run(capsys):
    """Run a command; its exit code and what a person sees of it."""

    def command(*words):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # of argparse
            code = stop.code
        seen = capsys.readouterr()
        return code, seen.out + seen.err

    return command


def refused(run, code, *words):
    got, text = run(*words)
    assert got == code, text
    return text


def done(run, *words):
    return refused(run, 0, *words)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return table(tmp_path_factory.mktemp("own") / "sensor.csv")


@pytest.fixture(scope="module")
def model(data):
    return train(data, data.parent / "sensor.safetensors")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out.safetensors"


def test_data_is_named_once(run, data, out):
    text = refused(run, 2, "train", data, "--data", data, "-o", out)
    shows("data", "leave out one of the two", text)
    done(run, "train", data, "-o", out, *QUICK)


def test_options_of_mnist_are_left_out(run, data, out):
    text = refused(run, 2, "train", data, "--no-verify", "-o", out)
    shows("data", "leave out {}", text)
    assert "leave out --no-verify" in text
    done(run, "train", data, "-o", out, *QUICK)


def test_options_of_ones_own_data_get_data(run, data, out):
    text = refused(run, 2, "train", "--hidden", "4", "-o", out)
    shows("data", "name the data: FILE.csv, or a folder", text)
    done(run, "train", data, "-o", out, *QUICK, "--hidden", "4")


def test_a_size_is_written_as_said(run, data, out):
    text = refused(run, 2, "train", data, "--size", "32", "-o", out)
    shows("data", "expected HEIGHTxWIDTH such as 32x32, got {}", text)
    image = pytest.importorskip("PIL.Image", reason="no Pillow")
    for name in ("a", "b"):
        folder = out.parent / "images" / name
        folder.mkdir(parents=True)
        for i in range(4):
            pixels = np.full((9, 9), 60 * i, np.uint8)
            image.fromarray(pixels).save(folder / f"{i}.png")
    words = ("--size", "32x32", "--epochs", "1", *CPU)
    done(run, "train", out.parent / "images", "-o", out, *words)
    assert load_packed(out).input_shape == (32, 32)


def test_numbers_beyond_the_training_are_corrected():
    samples = Samples.of(np.array([[300], [7]]), None, name="new")
    with advised("data", "correct the number, or train with such numbers too"):
        aligned(samples, shape=(1,), dtype="uint8", labelled=False)
    samples = Samples.of(np.array([[30], [7]]), None, name="new")
    assert aligned(samples, shape=(1,), dtype="uint8", labelled=False).x.tolist() == [[30], [7]]


def test_data_of_another_kind(run, model, data, tmp_path):
    np.savez(tmp_path / "x.npz", x=np.zeros((4, 5), np.float32))
    np.savez(tmp_path / "y.npz", x=np.zeros((4, 3), np.float32))
    text = refused(run, 3, "predict", model, tmp_path / "x.npz", *CPU)
    shows(
        "data",
        "give data of the same kind; images get their size from --size and --colour",
        text,
    )
    done(run, "predict", model, tmp_path / "y.npz", *CPU)


def test_targets_are_named(run, tmp_path, out):
    numbers = table(tmp_path / "level.csv", "temperature humidity level")
    train(numbers, out)
    both = table(tmp_path / "both.csv", "temperature humidity state level")
    text = refused(run, 3, "evaluate", out, both, "--target", "state", "--classes", *CPU)
    shows("data", "name their column: --target COLUMN", text)
    assert "R2" in done(run, "evaluate", out, both, "--target", "level", *CPU)
    samples = Samples.of(np.zeros((2, 1), np.float32), None)
    with advised("data", "name its column: --target COLUMN"):
        aligned(samples, shape=(1,), dtype="float32", classes=("a",))
    samples = Samples.of(np.zeros((2, 1), np.float32), ["a", "a"])
    aligned(samples, shape=(1,), dtype="float32", classes=("a",))


def test_another_column_has_the_classes(run, tmp_path, out):
    path = table(tmp_path / "t.csv", "temperature state", place=["here"] * 200)
    text = refused(run, 3, "train", path, "-o", out)
    shows("data", "name another column: --target COLUMN", text)
    done(run, "train", path, "-o", out, *QUICK, "--target", "state")
    text = refused(run, 3, "compare", path, "--out", tmp_path / "out", *COMPARE)
    shows("data", "name another column: --target COLUMN", text)
    done(run, "compare", path, "--target", "state", "--out", tmp_path / "out", *COMPARE)


def test_options_that_do_not_fit_are_left_out(run, data, out, tmp_path):
    bits = ("train", data, "-o", out, *QUICK, "--encoding", "one-hot")
    shows("commands", "leave out --bits", refused(run, 2, *bits, "--bits", "3"))
    numbers = table(tmp_path / "t.csv", "temperature humidity level")
    text = refused(run, 2, "train", numbers, "-o", out, *QUICK, "--class-weight", "balanced")
    shows("commands", "leave out --class-weight", text)
    done(run, "train", numbers, "-o", out, *QUICK)
    text = refused(run, 2, "train", data, "-o", out, "--recipe", "modern", "--hidden", "4")
    shows("commands", "leave out --{}", text)
    text = refused(run, 2, "train", data, "-o", out, *CPU, "--recipe", "modern")
    shows(
        "commands",
        "leave out --recipe, which trains a default network, or change the recipe",
        text,
    )
    done(run, "train", data, "-o", out, *QUICK)


def test_training_anew_in_the_place_of_going_on(run, data, model, out):
    text = refused(run, 2, "train", data, "--from", model, "-o", out)
    shows("commands", "train anew with more --epochs", text)
    done(run, "train", data, "-o", out, *CPU, "--hidden", "16", "--epochs", "40")
    assert load_packed(out).training["epochs"] == 40


def test_numbers_get_a_thermometer(run, data, out):
    text = refused(run, 2, "train", data, "-o", out, "--encoding", "bytes")
    shows("commands", "use --encoding thermometer", text)
    done(run, "train", data, "-o", out, *QUICK, "--encoding", "thermometer")


def test_the_classes_that_can_have_weights(run, data, out):
    text = refused(run, 2, "train", data, "-o", out, *QUICK, "--class-weight", "wet=2")
    shows("commands", "use one of {}", text)
    name = re.search(r"use one of (\w+)", text)[1]
    done(run, "train", data, "-o", out, *QUICK, "--class-weight", f"{name}=2")


def test_data_comes_before_a_list_of_widths(run, data, out):
    text = refused(run, 2, "train", "-o", out, "--hidden", "16", data)
    shows("commands", "write DATA before --hidden", text)
    done(run, "train", data, "-o", out, *CPU, "--epochs", "2", "--hidden", "16")


def test_parts_are_chosen(run, tmp_path, out, trained):
    x, y = np.arange(40.0).reshape(20, 2), np.arange(20) % 2
    path = tmp_path / "parts.npz"
    np.savez(path, x_train=x, y_train=y, x_test=x, y_test=y)
    train(path, out)
    text = refused(run, 2, "evaluate", out, path, "--split", "all", *CPU)
    shows("commands", "choose one", text)
    done(run, "evaluate", out, path, "--split", "train", *CPU)


def test_the_data_is_named_behind_the_model(run, data, model):
    text = refused(run, 2, "predict", model)
    shows("commands", "name it behind the model: FILE DATA", text)
    done(run, "predict", model, data, *CPU)
    text = refused(run, 2, "evaluate", model)
    shows("commands", "name it: {} {} DATA", text)
    words = re.search(r"name it: (.*)", text)[1].split()
    done(run, *(data if word == "DATA" else word for word in words), *CPU)


def test_numbers_are_predicted_in_python(run, tmp_path, out):
    numbers = table(tmp_path / "level.csv", "temperature humidity level")
    train(numbers, out)
    text = refused(run, 2, "export", "c", out, "-o", tmp_path / "level.h")
    shows("commands", "use it in Python: load_packed(FILE).logits(x)", text)
    code = re.search(r"in Python: (.*)", text)[1]
    x = read_parts_of(str(numbers), {}).test.x
    found = eval(code, {"load_packed": load_packed, "FILE": out, "x": x})
    assert found.shape == (40, 1)


def test_another_idx_set_is_named_as_data(run, tmp_path, out):
    y = (np.arange(40) % 2).astype(np.uint8)
    for name in ("train", "t10k"):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", np.zeros((40, 5, 5), np.uint8) + y[0])
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", y)
    out = tmp_path.parent / f"{tmp_path.name}.safetensors"
    text = refused(run, 3, "train", "--data-dir", tmp_path, "-o", out)
    shows("commands", "name the folder of another set as DATA: train FOLDER -o FILE", text)
    done(run, "train", tmp_path, "-o", out, *QUICK)


def test_comparisons(run, data, tmp_path):
    to = ("--out", tmp_path / "out", *COMPARE)
    text = refused(run, 2, "compare", data, "--held-out", "500", *to)
    shows("comparison", "leave it out for a fifth", text)
    done(run, "compare", data, *to)
    numbers = table(tmp_path / "t.csv", "temperature state level")
    text = refused(run, 3, "compare", numbers, *to)
    shows(
        "comparison",
        "name another column: --target COLUMN, or take its numbers as classes: --classes",
        text,
    )
    done(run, "compare", numbers, "--target", "state", *to)


def test_samples_of_many_axes_become_rows():
    x = np.zeros((5, 2, 3, 4, 6), np.float32)
    with advised("default_network", "use x.reshape(len(x), -1)"):
        default_network(x.shape[1:], 3)
    x = x.reshape(len(x), -1)
    assert default_network(x.shape[1:], 3)[0].features == 144


def test_functions_that_return_a_network(tmp_path):
    path = tmp_path / "mine.py"
    with advised("recipes", "name one that is there"):
        recipe_named(f"{path}:build")
    path.write_text("import nowhere_to_be_found\n")
    with advised("recipes", "correct it until this runs: python {}"):
        recipe_named(f"{path}:build")
    path.write_text("def build(x):\n    return x\n")
    with advised("recipes", "call it in Python first, without arguments"):
        recipe_named(f"{path}:build")
    path.write_text("def build():\n    return 3\n")
    with advised("recipes", "return one"):
        recipe_named(f"{path}:build")
    path.write_text("from minibnn import Dense\ndef build():\n    return Dense(3, 2)\n")
    with advised("recipes", "name one of its own: {}") as caught:
        recipe_named(f"{path}:bild")
    name = re.search(r"of its own: (\w+)", caught.text)[1]
    assert len(recipe_named(f"{path}:{name}").build()) == 1
