"""``python -m minibnn train DATA``, and the way from a table to a compiled header."""

from __future__ import annotations

import csv
import shutil
import subprocess

import numpy as np
import pytest
from command_line import refuses
from own_tables import CPU, QUICK, rows, run, table, train

from minibnn import load_packed
from minibnn.commands import train_own
from minibnn.data.options import read_parts_of
from minibnn.recipes import RECIPES

PROGRAM = """#include <stdio.h>
#include "sensor.h"
int main(void) {
    float sample[SENSOR_INPUTS];
    while (fread(sample, sizeof sample, 1, stdin) == 1)
        printf("%s\\n", sensor_class_name(sensor_predict(sample)));
    return 0;
}
"""


def test_what_it_prints_and_keeps(own, tmp_path, capsys):
    data, _ = own
    path = train(data, tmp_path / "my model.safetensors", "--seed", "4")
    printed = capsys.readouterr().out
    for said in (
        f"{data}: a table of 200 rows, 3 columns, target 'state' (3 classes): damp, dry, warm\n",
        "default network, encoding thermometer, hidden 16, 30 epochs, seed 4, cpu\n",
        "test part: a fifth, held out, each class by its share (40 samples)\n",
    ):
        assert said in printed
    assert printed.endswith(f"\nnext: python -m minibnn evaluate '{path}' {data}\n")
    packed = load_packed(path)
    assert packed.class_names == ("damp", "dry", "warm")
    assert packed.feature_names == (
        "temperature", "humidity", "place: 0 cellar, 1 garden, 2 roof",
    )  # fmt: skip
    parts = read_parts_of(str(data), {})
    right = (packed.predict(parts.test.x) == parts.test.y).mean()
    assert right > 0.6
    assert f"on 40 test samples: accuracy {right:.4f}\n" in printed
    assert packed.training == {
        "source": "sensor.csv", "kind": parts.train.kind, "recipe": "default",
        "encoding": "thermometer", "hidden": [16], "bits": 8, "epochs": 30, "lr": 0.01, "seed": 4,
        "test_part": "a fifth, held out, each class by its share", "accuracy": right,
        "test_samples": 40, "labels_differ": 0, "data_sha256": parts.sha256,
    }  # fmt: skip


def test_a_seed_gives_the_same_model(own, tmp_path):
    data, model = own
    again = train(data, tmp_path / "again")
    assert again.read_bytes() == model.read_bytes()
    other = train(data, tmp_path / "other", "--seed", "1")
    assert load_packed(other).sha256 != load_packed(model).sha256


@pytest.mark.parametrize("compiler", ["gcc"])
def test_from_a_table_to_a_compiled_header(compiler, tmp_path, capsys, monkeypatch):
    """Every line is the one that the command before it says comes next."""
    if shutil.which(compiler) is None:
        pytest.skip(f"no {compiler}")
    monkeypatch.chdir(tmp_path)
    data = table(tmp_path / "sensor.csv", n=300)
    test = table(tmp_path / "test.csv", n=400, seed=1)
    train("sensor.csv", "sensor.safetensors", "--test", "test.csv")
    assert "test part: test.csv (400 samples)" in capsys.readouterr().out
    followed = []
    words = ["evaluate", "sensor.safetensors", "test.csv", *CPU]
    while words:
        followed.append(words[0])
        assert run(*words) == 0
        *_, last = capsys.readouterr().out.strip().splitlines()
        at = last.startswith("next: python -m minibnn ")
        words = last.removeprefix("next: python -m minibnn ").split() if at else []
    assert followed == ["evaluate", "predict", "export"]
    assert data.exists()
    assert test.exists()

    (tmp_path / "main.c").write_text(PROGRAM)
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror"]
    subprocess.run([compiler, *flags, "main.c", "-o", "run"], check=True)
    samples = read_parts_of("sensor.csv", {}, "test.csv").test
    done = subprocess.run(["./run"], input=samples.x.tobytes(), capture_output=True, check=True)
    with open("predictions.csv", newline="", encoding="utf-8") as file:
        predicted = [row["prediction"] for row in csv.DictReader(file)]
    assert len(set(predicted)) == 3
    assert done.stdout.decode().split() == predicted
    packed = load_packed("sensor.safetensors")
    assert packed.predict(samples.x, names=True).tolist() == predicted
    right = np.mean(np.array(predicted) == rows(400, 1)["state"])
    assert packed.training["accuracy"] == right > 0.8


@pytest.mark.parametrize("encoding", ["thermometer", "uniform", "one-hot"])
def test_encodings(encoding, tmp_path):
    data = table(tmp_path / "t.csv", "place state", kind=np.arange(200) % 7)
    words = ("--encoding", encoding, "--target", "state")
    packed = load_packed(train(data, tmp_path / "m", *words))
    assert packed.training["encoding"] == encoding
    assert ("bits" in packed.training) == (encoding != "one-hot")
    assert packed.stages[0].out_shape == ((14 if encoding == "one-hot" else 16),)


def test_images_of_bytes_from_an_npz(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 2
    x = (rng.integers(0, 100, (120, 8, 8, 3)) + 100 * y[:, None, None, None]).astype(np.uint8)
    np.savez(tmp_path / "rgb.npz", x=x, y=y)
    packed = load_packed(train(tmp_path / "rgb.npz", tmp_path / "m"))
    assert "encoding bytes" in capsys.readouterr().out
    assert (packed.input_dtype, packed.input_shape) == ("uint8", (8, 8, 3))
    assert packed.training["accuracy"] == 1


def test_a_source_with_its_own_test_part(tmp_path, capsys):
    x = np.arange(60, dtype=np.int16).reshape(30, 2)
    y = (np.arange(30) > 14).astype(np.int64)
    path = tmp_path / "parts.npz"
    np.savez(path, x_train=x[::2], y_train=y[::2], x_test=x[1::2], y_test=y[1::2])
    packed = load_packed(train(path, tmp_path / "m"))
    assert "test part: its own test part (15 samples)\n" in capsys.readouterr().out
    assert packed.training["test_samples"] == 15


def test_groups_stay_together(tmp_path, capsys):
    data = table(tmp_path / "t.csv", "person temperature humidity state")
    train(data, tmp_path / "m", "--group", "person")
    assert "a fifth, held out, no person in both" in capsys.readouterr().out
    assert load_packed(tmp_path / "m").training["group"] == "person"
    parts = read_parts_of(str(data), {"group": "person"})
    assert not set(parts.train.groups) & set(parts.test.groups)


def test_numbers_are_learnt_in_their_own_units(tmp_path, capsys):
    data = table(tmp_path / "level.csv", "temperature humidity place level", n=300)
    path = tmp_path / "level.safetensors"
    assert run("train", data, "-o", path, *CPU, "--hidden", "64", "--epochs", "60") == 0
    packed = load_packed(path)
    parts = read_parts_of(str(data), {})
    error = packed.logits(parts.test.x)[:, 0] - parts.test.y
    figures = packed.training
    assert figures["r2"] == pytest.approx(1 - np.square(error).sum() / (parts.test.y.var() * 60))
    assert figures["r2"] > 0.8
    assert figures["mae"] == pytest.approx(abs(error).mean(), rel=1e-5)
    printed = capsys.readouterr().out
    assert f"on 60 test samples: R2 {figures['r2']:.4f}, MAE {figures['mae']:.4g}" in printed
    assert "mae_train" in printed


def test_validation_keeps_the_best_epoch(own, tmp_path, capsys):
    data, _ = own
    path = train(data, tmp_path / "m", "--validation", "0.25")
    printed = capsys.readouterr().out
    assert "loss_validation" in printed
    assert "the values are those of epoch " in printed
    assert load_packed(path).training["validation"] == 0.25


def test_class_weights(own, tmp_path):
    data, model = own
    packed = load_packed(model)
    parts = read_parts_of(str(data), {})
    counts = {}
    for words in (["balanced"], ["damp=30", "dry=0.1"]):
        path = train(data, tmp_path / words[0], "--class-weight", *words)
        other = load_packed(path)
        assert other.training["class_weight"] == " ".join(words)
        assert other.sha256 != packed.sha256
        counts[words[0]] = (other.predict(parts.test.x) == 0).sum()
    assert counts["damp=30"] > counts["balanced"]


MINE = """
from minibnn import BatchNorm, Dense, Sequential, SignSTE, Thermometer
from minibnn.training.recipe import Recipe

def build():
    code = Thermometer(3, 4)
    return Sequential(code, Dense(12, 3, bias=False, weight_quantizer=SignSTE()), BatchNorm(3))

def recipe():
    return Recipe("my own", build, 7, 20, 0.02)
"""


@pytest.mark.parametrize(
    ("function", "name", "epochs"), [("build", None, 5), ("recipe", "my own", 7)]
)
def test_a_recipe_of_ones_own(function, name, epochs, own, tmp_path):
    script = tmp_path / "mine.py"
    script.write_text(MINE)
    words = ["--recipe", f"{script}:{function}", *(["--epochs", "5"] if name is None else [])]
    assert run("train", own[0], "-o", tmp_path / "m", *CPU, *words) == 0
    figures = load_packed(tmp_path / "m").training
    assert figures["recipe"] == (name or f"{script}:build")
    assert (figures["epochs"], figures["lr"]) == (epochs, 0.01 if name is None else 0.02)
    assert load_packed(tmp_path / "m").stages[0].out_shape == (12,)


def test_checkpoints_go_on(own, tmp_path, monkeypatch):
    data, model = own
    spot = tmp_path / "run.safetensors"
    words = ("--checkpoint", spot, "--resume")
    path = train(data, tmp_path / "m", *words)
    assert load_packed(path).sha256 == load_packed(model).sha256
    monkeypatch.setattr("minibnn.training.step.PlainSteps.epoch", pytest.fail)
    train(data, path, *words)  # nothing is left to do


def test_a_model_that_cannot_be_saved_is_rescued(own, tmp_path, capsys, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(train_own, "save_packed", full)
    assert run("train", own[0], "-o", tmp_path / "m", *QUICK) == 1
    assert (tmp_path / "m.rescued.npz").exists()
    assert "the model is trained, but could not be kept" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--from", "x"], 2, "--from: expected a recipe on MNIST"),
        (["--dataset", "sample"], 2, "--dataset: expected MNIST, or data of your own, got both"),
        (["--data-dir", "x"], 2, "--data-dir: expected MNIST, or data of your own, got both"),
        (["--no-verify"], 2, "--no-verify: expected MNIST, or data of your own, got both"),
        (["--data", "x"], 2, "--data: expected the data once"),
        (["--recipe", "modern", "--hidden", "3"], 2, "--hidden: expected the default network"),
        (["--recipe", "modern"], 2, "the recipe modern cannot be packed with this data"),
        (["--encoding", "bytes"], 2, "--encoding bytes: expected whole numbers from 0 to 255"),
        (["--encoding", "one-hot", "--bits", "2"], 2, "--bits: expected a thermometer"),
        (["--class-weight", "damp"], 2, "--class-weight: expected balanced, or CLASS=WEIGHT"),
        (["--class-weight", "wet=2"], 2, "got 'wet=2'; use one of damp, dry, warm"),
        (["--class-weight", "dry=-1"], 2, "got 'dry=-1'"),
        (["--target", "nothing"], 3, "nothing"),
        (["--test", "nowhere.csv"], 3, "nowhere.csv: expected a file"),
        (["--size", "8x8"], 2, "size says nothing about a table"),
    ],
)  # fmt: skip
def test_what_is_refused_before_any_training(words, code, said, own, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(train_own, "fit", pytest.fail)
    refuses(capsys, ["train", str(own[0]), "-o", str(tmp_path / "m"), *CPU, *words], code, said)
    assert not list(tmp_path.iterdir())


def test_numbers_have_no_class_weights(tmp_path, capsys):
    data = table(tmp_path / "t.csv", "temperature level")
    words = ["train", str(data), "-o", str(tmp_path / "m"), *CPU, "--class-weight", "balanced"]
    refuses(capsys, words, 2, "--class-weight: expected classes, got a target of numbers")


def test_one_class_is_refused(tmp_path, capsys):
    data = table(tmp_path / "t.csv", "temperature", n=20, one=["a"] * 20)
    words = ["train", str(data), "-o", str(tmp_path / "m"), *CPU]
    refuses(capsys, words, 3, "t.csv: expected at least 2 classes, got 1 class, 'a'; name another")


def test_too_many_categories_are_refused(tmp_path, capsys):
    data = table(tmp_path / "t.csv", "temperature", n=600, many=range(600), two=[0, 1] * 300)
    words = ["train", str(data), "-o", str(tmp_path / "m"), *CPU, "--encoding", "one-hot"]
    refuses(capsys, words, 2, "expected at most 256 categories in a column, got 480 in 'many'")


def test_a_recipe_with_other_outputs_is_refused(own, tmp_path, capsys):
    script = tmp_path / "mine.py"
    script.write_text(MINE.replace("Dense(12, 3", "Dense(12, 4").replace("Norm(3)", "Norm(4)"))
    words = ["train", str(own[0]), "-o", str(tmp_path / "m"), "--recipe", f"{script}:build", *CPU]
    refuses(capsys, words, 2, "expected 3 outputs, one for each class, got 4")


def test_no_input_is_overwritten(own, tmp_path, capsys):
    data = tmp_path / "t.csv"
    data.write_bytes(own[0].read_bytes())
    script = tmp_path / "mine.py"
    script.write_text(MINE)
    before = data.read_bytes(), script.read_bytes()
    recipe = ["--recipe", f"{script}:build"]
    said = "expected another file than the one that is read"
    for words in (
        [data, "-o", data],
        [own[0], "--test", data, "-o", data],
        [data, *recipe, "-o", script],
        [data, "-o", tmp_path / "m", "--checkpoint", data],
    ):
        refuses(capsys, ["train", *map(str, words), *CPU], 2, said)
    link = tmp_path / "link.csv"
    link.symlink_to(data)
    refuses(capsys, ["train", str(data), "-o", str(link)], 2, said)
    said = "expected a file outside of the folder that is read"
    refuses(capsys, ["train", str(tmp_path), "-o", str(tmp_path / "m")], 2, said)
    assert (data.read_bytes(), script.read_bytes()) == before
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("words", "option"),
    [(["--hidden", "3"], "--hidden"), (["--target", "x"], "--target"), (["--numbers"], "--numbers"),
     (["--classes"], "--classes"), (["--no-header"], "--no-header"), (["--test", "x"], "--test"),
     (["--class-weight", "balanced"], "--class-weight"), (["--size", "8x8"], "--size")],
)  # fmt: skip
def test_options_of_ones_own_data_need_it(words, option, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    words = ["train", *words, "-o", str(tmp_path / "m")]
    refuses(capsys, words, 2, f"{option}: expected data of your own to use it on, got none")


def test_data_as_an_option(own, tmp_path):
    assert run("train", "--data", own[0], "-o", tmp_path / "m", *QUICK) == 0
    assert (tmp_path / "m").read_bytes() == own[1].read_bytes()


def test_recipes_stay_as_they_are():
    assert "default" not in RECIPES
