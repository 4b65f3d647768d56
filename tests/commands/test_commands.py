"""``python -m minibnn``: train, evaluate, inspect, pack, export."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from fuzz_writer import KilledError, failing, snapshot

from minibnn import (
    Adam,
    Dense,
    Flatten,
    PackedModel,
    PackError,
    Rescale,
    Sequential,
    SignSTE,
    load_latents,
    load_packed,
    load_sample,
    pack,
    save_packed,
)
from minibnn.__main__ import COMMANDS, main
from minibnn.commands import train
from minibnn.recipes import RECIPES

SAMPLE = ("--dataset", "sample", "--device", "cpu")
COLUMNS = ["epoch", "loss_train", "loss_test", "acc_train", "acc_test"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A file of one epoch with latent weights."""
    path = tmp_path_factory.mktemp("trained") / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--seed", "3", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def sample():
    return load_sample()


def tables(printed):
    return [line.split() for line in printed.splitlines() if re.match(r"epoch |\d+ ", line)]


# --- train ----------------------------------------------------------------------------------------


def test_train_prints_each_epoch_and_saves_what_it_measured(tmp_path, capsys, sample):
    path = tmp_path / "seed.safetensors"
    options = ("--recipe", "seed", "--epochs", "2", "--lr", "1e-3", "--seed", "5")
    assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("MNIST sample (4,000 + 1,000 images), seed recipe, seed 5, cpu\n")

    model, history = RECIPES["seed"]().train(sample, epochs=2, lr=1e-3, seed=5)
    head, *rows = tables(printed)
    assert head == COLUMNS
    expected = [
        [str(epoch), *(f"{v:.3f}" for v in row[:4])] for epoch, *row in history.itertuples()
    ]
    assert rows == expected

    packed, same = load_packed(path), pack(model, (28, 28))
    for name, array in same.arrays().items():
        np.testing.assert_array_equal(packed.arrays()[name], array)
    right = (same.predict(sample.test_images) == sample.test_labels).mean()
    floats = model.forward(sample.test_images).argmax(axis=1)
    differ = int((floats != same.predict(sample.test_images)).sum())
    assert packed.training == {
        "recipe": "seed",
        "seed": 5,
        "epochs": 2,
        "lr": 1e-3,
        "dataset": sample.name,
        "accuracy": right,
        "float_accuracy": history.acc_test[2],
        "float_loss": pytest.approx(history.loss_test[2], abs=1e-6),
        "labels_differ": differ,
        "test_images": 1000,
    }
    for said in (
        f"float {history.acc_test[2]:.4f} (loss {history.loss_test[2]:.4f}), packed {right:.4f}",
        f"another label {differ}\n",
        f"{path}: {path.stat().st_size:,} bytes, with latent weights",
        f"takes {packed.nbytes:,}\n",
    ):
        assert said in printed
    again = load_latents(path, RECIPES["seed"]().build())
    for a, b in zip(again.parameters(), model.parameters(), strict=True):
        np.testing.assert_array_equal(a.data, b.data)


def test_going_on_starts_where_the_file_stands(trained, tmp_path, capsys):
    # Steps of nothing: the weights must still be the file's.
    path = tmp_path / "on.safetensors"
    options = ("--from", str(trained), "--epochs", "2", "--lr", "1e-30")
    assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
    assert "modern recipe, seed 3, cpu" in capsys.readouterr().out
    before, after = load_packed(trained), load_packed(path)
    for i in (0, 2, 4):
        np.testing.assert_array_equal(before.stages[i].weights, after.stages[i].weights)
    assert (before.training["epochs"], after.training["epochs"]) == (1, 3)
    assert after.training["seed"] == 3
    fresh = tmp_path / "fresh.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--lr", "1e-30", "-o", str(fresh)]) == 0
    assert (load_packed(fresh).stages[0].weights != before.stages[0].weights).any()


def test_going_on_into_the_same_file(trained, tmp_path, capsys):
    path = tmp_path / "digits.safetensors"
    path.write_bytes(trained.read_bytes())
    accuracies = [load_packed(path).training["float_accuracy"]]
    for seed in ("4", "5"):
        options = ("--from", str(path), "--epochs", "2", "--seed", seed)
        assert main(["train", *options, *SAMPLE, "-o", str(path)]) == 0
        accuracies.append(load_packed(path).training["float_accuracy"])
    assert f"{path} is there and will be replaced" in capsys.readouterr().err
    assert load_packed(path).training["epochs"] == 5
    assert accuracies[2] > accuracies[0] + 0.01


def test_without_latents(tmp_path, capsys):
    path = tmp_path / "bits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "--no-latents", "-o", str(path)]) == 0
    assert "the bits only" in capsys.readouterr().out
    assert path.stat().st_size < 16_000
    assert main(["train", *SAMPLE, "--from", str(path), "-o", str(tmp_path / "on")]) == 3
    said = capsys.readouterr()
    assert "expected latent weights to go on from, got the bits only" in said.err
    assert said.out == ""


def test_a_recipe_without_a_packed_form_is_refused_before_training(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    path = tmp_path / "relu.safetensors"
    assert main(["train", "--recipe", "binaryconnect", *SAMPLE, "-o", str(path)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "the recipe binaryconnect cannot be packed, so it is not trained here" in said.err
    assert "Activation(ReLU())" in said.err
    assert not path.exists()


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in ("binaryconnect", "binarynet")])
def test_every_other_recipe_can_be_packed(name):
    assert isinstance(pack(RECIPES[name]().build().initialize(0), (28, 28)), PackedModel)


def test_another_network_cannot_go_on(trained, tmp_path, capsys):
    options = ("--from", str(trained), "--recipe", "seed")
    assert main(["train", *options, *SAMPLE, "-o", str(tmp_path / "x")]) == 3
    said = capsys.readouterr().err
    assert "expected the latent weights of the recipe seed, got those of another network" in said
    assert said.endswith("; leave out --recipe\n")


def with_figures(path, **training):
    """A file of a modern network, with latent weights and anybody's figures."""
    model = RECIPES["modern"]().build().initialize(0)
    save_packed(pack(model, (28, 28)), path, training=training, model=model)
    return str(path)


def test_another_network_cannot_go_on_under_the_files_own_name(tmp_path, capsys):
    source = with_figures(tmp_path / "own", recipe="seed")
    assert main(["train", "--from", source, *SAMPLE, "-o", str(tmp_path / "x")]) == 3
    assert "name the recipe it was trained by: --recipe" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("figures", "said"),
    [
        ({"epochs": "10"}, "as epochs in its figures, got '10'; train from"),
        ({"epochs": -1}, "as epochs in its figures, got -1; train from"),
        ({"epochs": None}, "as epochs in its figures, got None; train from"),
        ({"epochs": True}, "as epochs in its figures, got True; train from"),
        ({"seed": None}, "as seed in its figures, got None; name one with --seed"),
        ({"seed": -1}, "as seed in its figures, got -1; name one with --seed"),
        ({"seed": 1.0}, "as seed in its figures, got 1.0; name one with --seed"),
        ({"recipe": ["modern"]}, "got ['modern']; name it with --recipe"),
    ],
)
def test_figures_of_anybody_are_checked_before_training(
    figures, said, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    source = with_figures(tmp_path / "own", **{"recipe": "modern", **figures})
    out = tmp_path / "out"
    words = ["train", "--from", source, *SAMPLE, "-o", str(out)]
    refuses(capsys, words, 3, f"{source}: expected ")
    main(words)
    assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_named_seed_does_for_one_that_is_none(tmp_path):
    path = with_figures(tmp_path / "own", recipe="modern", seed=None)
    words = ["train", "--from", path, "--seed", "2", "--epochs", "1", *SAMPLE, "-o", path]
    assert main(words) == 0
    assert load_packed(path).training["seed"] == 2


@pytest.mark.parametrize("what", ["pack", "disagreements", "save_packed"])
@pytest.mark.parametrize("error", [PackError("no"), OSError("no"), KeyboardInterrupt()])
def test_what_was_trained_outlives_a_failure(tmp_path, capsys, monkeypatch, what, error, sample):
    """Its arrays are enough to have the same model again, as the message says."""
    real, calls = getattr(train, what), []

    def fails(*args, **options):
        calls.append(args)
        if what == "pack" and len(calls) == 1:  # before training
            return real(*args, **options)
        raise error

    monkeypatch.setattr(train, what, fails)
    path = tmp_path / "digits.safetensors"
    code = {PackError: 2, OSError: 1, KeyboardInterrupt: 130}[type(error)]
    assert main(["train", *SAMPLE, "--epochs", "1", "--seed", "3", "-o", str(path)]) == code
    said = capsys.readouterr().err
    rescued = tmp_path / "digits.safetensors.rescued.npz"
    assert f"could not be kept as {path}; its arrays are in\n  {rescued}\n" in said
    assert [p.name for p in tmp_path.iterdir()] == [rescued.name]

    model = RECIPES["modern"]().build().initialize(0)
    with np.load(rescued) as arrays:
        values = list(arrays.values())
    for part, array in zip([*model.parameters(), *model.buffers()], values, strict=True):
        part.data = array
    expected, _ = RECIPES["modern"]().train(sample, epochs=1, seed=3)
    images = sample.test_images
    np.testing.assert_array_equal(model.forward(images), expected.forward(images))


def test_what_was_trained_outlives_a_full_disk(tmp_path, capsys, monkeypatch):
    spare = tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    real = train.whole_file

    def full(path):
        if os.path.dirname(path) != str(spare):
            raise OSError(28, "No space left on device")
        return real(path)

    monkeypatch.setattr(train, "whole_file", full)
    monkeypatch.setattr("minibnn.packed.file.save.whole_file", full)
    path = tmp_path / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "1", "-o", str(path)]) == 1
    said = capsys.readouterr().err
    assert f"{path}.rescued.npz: [Errno 28] No space left on device\n" in said
    assert f"  {spare / path.name}.rescued.npz\n" in said
    assert said.endswith("error: [Errno 28] No space left on device\n")
    assert [p.name for p in spare.iterdir()] == [f"{path.name}.rescued.npz"]


def test_what_was_rescued_earlier_stays(tmp_path, capsys, monkeypatch):
    def fails(*arguments, **options):
        raise OSError("no")

    monkeypatch.setattr(train, "save_packed", fails)
    for name in ("digits", "ü" * 120):
        for _ in range(3):
            assert main(["train", *SAMPLE, "--epochs", "1", "-o", str(tmp_path / name)]) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(
        f"{name}.rescued{number}.npz"
        for name in ("digits", "ü" * 100)
        for number in ("", "-2", "-3")
    )


def test_a_wrong_packed_model_is_called_wrong(tmp_path, capsys, monkeypatch):
    def wrong(model, shape=None):
        packed = pack(model, (28, 28))
        packed.stages[1].thresholds.flags.writeable = True
        packed.stages[1].thresholds[3] += 10_000
        return packed

    monkeypatch.setattr(train, "pack", wrong)
    path = tmp_path / "digits.safetensors"
    words = ["train", *SAMPLE, "--epochs", "1", "--no-latents", "-o", str(path)]
    monkeypatch.setattr(train, "save_packed", lambda packed, path, **_: open(path, "w").close())
    assert main(words) == 1
    assert "*** The packed model is wrong" in capsys.readouterr().err


def test_a_file_that_names_no_recipe(tmp_path, capsys):
    model = RECIPES["modern"]().build().initialize(0)
    path = tmp_path / "own.safetensors"
    save_packed(pack(model, (28, 28)), path, model=model)
    out = str(tmp_path / "on.safetensors")
    assert main(["train", "--from", str(path), *SAMPLE, "-o", out]) == 3
    assert "name it with --recipe" in capsys.readouterr().err
    options = ("--from", str(path), "--recipe", "modern", "--epochs", "1")
    assert main(["train", *options, *SAMPLE, "-o", out]) == 0
    assert load_packed(out).training["epochs"] == 1


def test_images_held_out_stay_held_out(tmp_path, capsys, monkeypatch):
    recipe = RECIPES["modern"]()
    object.__setattr__(recipe, "held_out", 500)
    monkeypatch.setitem(RECIPES, "modern", lambda: recipe)
    path = str(tmp_path / "digits.safetensors")
    assert main(["train", *SAMPLE, "--epochs", "1", "-o", path]) == 0
    capsys.readouterr()
    assert load_packed(path).training["test_images"] == 1000, "not the images held out"
    assert main(["train", *SAMPLE, "--from", path, "--seed", "1", "-o", path]) == 2
    assert "--seed: expected the file's own (0), got 1" in capsys.readouterr().err
    assert main(["train", *SAMPLE, "--from", path, "--epochs", "1", "-o", path]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("steps", [5, 50])
def test_ctrl_c_saves_complete_epochs(tmp_path, capsys, monkeypatch, steps):
    step, done = Adam.step, []

    def interrupted(self, **options):
        done.append(self)
        if len(done) == steps:  # an epoch has 40
            signal.raise_signal(signal.SIGINT)
        step(self, **options)

    monkeypatch.setattr(Adam, "step", interrupted)
    path = tmp_path / "digits.safetensors"
    assert main(["train", *SAMPLE, "--epochs", "9", "-o", str(path)]) == 130
    assert f"interrupted after {steps // 40} of 9 epochs" in capsys.readouterr().err
    assert path.exists() == (steps == 50)
    if path.exists():
        assert load_packed(path).training["epochs"] == 1


def test_commands_on_a_device(tmp_path, capsys, monkeypatch, device, sample):
    for command in ("train", "evaluate"):
        monkeypatch.setattr(f"minibnn.commands.{command}.get_backend", lambda name: device)
    path = str(tmp_path / "digits.safetensors")
    for options in ((), ("--from", path)):
        assert main(["train", *SAMPLE, *options, "--epochs", "1", "-o", path]) == 0
    packed = load_packed(path)
    right = (packed.predict(sample.test_images) == sample.test_labels).mean()
    assert packed.training["accuracy"] == right
    capsys.readouterr()
    assert main(["evaluate", path, *SAMPLE]) == 0
    printed = capsys.readouterr().out
    assert f"accuracy      {right:.4f}, " in printed
    assert f"({device.name}, once" in printed


def test_a_diverged_training_leaves_no_file(tmp_path, capsys):
    path = tmp_path / "digits.safetensors"
    assert main(["train", "--recipe", "seed", "--lr", "1e38", *SAMPLE, "-o", str(path)]) == 5
    assert "the loss became" in capsys.readouterr().err
    assert not path.exists()


# --- evaluate -------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", ["test", "train"])
def test_evaluate(trained, capsys, sample, split):
    assert main(["evaluate", str(trained), "--split", split, *SAMPLE]) == 0
    printed = capsys.readouterr().out
    images, labels = getattr(sample, f"{split}_images"), getattr(sample, f"{split}_labels")
    predicted = load_packed(trained).predict(images)
    wrong = int((predicted != labels).sum())
    assert f"on {sample.name}, {len(images):,} {split} images\n" in printed
    assert f"accuracy      {1 - wrong / len(images):.4f}, {wrong:,} wrong\n" in printed
    first = re.search(r"taken for     (\d) as (\d) \((\d+) of (\d+)\)", printed)
    true, taken, count, of = map(int, first.groups())
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (labels, predicted), 1)
    np.fill_diagonal(counts, 0)
    assert counts[true, taken] == counts.max() == count
    assert of == (labels == true).sum()
    assert float(re.search(r"images/second ([\d,]+)", printed)[1].replace(",", "")) > 100


def test_evaluate_takes_images_in_the_models_shape(tmp_path, capsys, rng):
    def file(width, *layers):
        dense = Dense(width, 10, weight_quantizer=SignSTE())
        model = Sequential(*layers, Rescale(1 / 255), dense).initialize(rng)
        path = str(tmp_path / f"{width}.safetensors")
        save_packed(pack(model, (width,)), path)
        return path

    assert main(["evaluate", file(784, Flatten()), *SAMPLE]) == 0
    assert main(["evaluate", file(100), *SAMPLE]) == 2
    assert "got one of (100,)" in capsys.readouterr().err


# --- inspect --------------------------------------------------------------------------------------


def test_inspect_adds_up(trained, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    save_packed(load_packed(trained), small)
    for path in (trained, small):
        assert main(["inspect", str(path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        sizes = found["bytes"]
        assert sizes["file"] == path.stat().st_size
        assert sizes["file"] == sizes["header"] + sizes["packed"] + sizes["latents"]
        assert sizes["packed"] == sum(row["bytes"] for row in found["stages"])
        assert (sizes["latents"] > 0) == (path == trained)
        assert sizes["float32"] == 4 * (784 * 128 + 128 * 64 + 640 + 128 + 64 + 2 * 10)
        assert [row["kind"] for row in found["stages"]] == [
            "dense", "threshold", "dense", "threshold", "dense", "scores",
        ]  # fmt: skip
        assert found["training"]["recipe"] == "modern"
        assert found["network_sha256"] == load_packed(path).sha256

        assert main(["inspect", str(path)]) == 0
        printed = capsys.readouterr().out
        assert str(load_packed(path).summary()) in printed
        for said in (
            f"{sizes['file']:,} bytes = {sizes['header']:,} header + {sizes['packed']:,} packed",
            f"same numbers: {sizes['float32'] / sizes['packed']:.1f} times the packed model",
            found["sha256"],
            found["network_sha256"],
            "stage 3: 64 channels, 8,256 accumulators compared with the float layers",
            "recipe modern, ",
        ):
            assert said in printed
        of_file = f", {sizes['float32'] / sizes['file']:.1f} times the file\n"
        assert (of_file in printed) == (path == small)


def test_inspect_without_figures(tmp_path, capsys):
    path = tmp_path / "plain.safetensors"
    save_packed(pack(RECIPES["seed"]().build().initialize(0), (28, 28)), path)
    assert main(["inspect", str(path)]) == 0
    assert "training     no figures\n" in capsys.readouterr().out


def test_figures_forge_no_lines(tmp_path, capsys):
    path = tmp_path / "own.safetensors"
    training = {"a\nsha256       of a key": "b\r\x1b[2Jthresholds", "list": ["c\nd"], "ü": "é"}
    save_packed(pack(RECIPES["seed"]().build().initialize(0), (28, 28)), path, training=training)
    assert main(["inspect", str(path)]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        r"training     a\nsha256       of a key b\r\x1b[2Jthresholds, list ['c\nd'], ü é"
    )
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["training"] == training


# --- pack -----------------------------------------------------------------------------------------


def test_pack_strips_and_says_how_much(trained, tmp_path, capsys):
    small = tmp_path / "small.safetensors"
    assert main(["pack", str(trained), "-o", str(small)]) == 0
    before, after = trained.stat().st_size, small.stat().st_size
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [row[:2] for row in rows] == [
        ["before", f"{before:,}"],
        ["after", f"{after:,}"],
        ["float32", "437,584"],
    ]
    assert f"{437_584 / after:.1f}" in rows[2]
    assert after < 16_000 < before
    old, new = load_packed(trained), load_packed(small)
    assert new.training == old.training
    assert new.certificate == old.certificate
    for name, array in old.arrays().items():
        np.testing.assert_array_equal(array, new.arrays()[name])


# --- export ---------------------------------------------------------------------------------------


def test_export_c(trained, tmp_path, capsys):
    path = tmp_path / "thumb.h"
    assert main(["export", "c", str(trained), "-o", str(path), "--name", "thumb"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: {path.stat().st_size:,} bytes, ")
    assert "thumb_predict" in path.read_text()
    assert main(["export", "c", str(trained), "-o", str(path), "--name", "2 thumbs"]) == 2
    assert "2 thumbs" in capsys.readouterr().err
    assert "thumb_predict" in path.read_text(), "what was there stays"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_printed_line_compiles_and_tests_the_header(trained, tmp_path, capsys):
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = folder / "digits.h"
    assert main(["export", "c", str(trained), "-o", str(path)]) == 0
    *_, line = capsys.readouterr().out.splitlines()

    def passes():
        done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
        return done.stdout == "passed\n" and done.returncode == 0

    assert passes()
    weights = re.search(r"0x[0-9a-f]{8}", path.read_text())[0]
    path.write_text(path.read_text().replace(weights, "0x00000000", 1))
    assert not passes()


def test_export_html(trained, tmp_path, capsys):
    path = tmp_path / "digits.html"
    title = "Digits & co"
    assert main(["export", "html", str(trained), "-o", str(path), "--name", title]) == 0
    assert f"{path.stat().st_size:,} bytes, a web page" in capsys.readouterr().out
    assert "<title>Digits &amp; co</title>" in path.read_text()


def test_export_onnx(trained, tmp_path, capsys):
    pytest.importorskip("onnx", reason="no onnx")
    path = tmp_path / "digits.onnx"
    assert main(["export", "onnx", str(trained), "-o", str(path)]) == 0
    assert f"{path.stat().st_size:,} bytes, ONNX" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["export", "onnx", str(trained), "-o", str(path), "--name", "x"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --name x" in capsys.readouterr().err


def test_export_onnx_without_onnx(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = tmp_path / "digits.onnx"
    assert main(["export", "onnx", str(trained), "-o", str(path)]) == 1
    assert "pip install" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("title", ["", " "])
def test_a_page_has_a_title(trained, tmp_path, capsys, title):
    out = tmp_path / "digits.html"
    words = ["export", "html", str(trained), "-o", str(out), "--name", title]
    refuses(capsys, words, 2, f"--name: expected a title, got {title!r}; leave it out")
    assert not out.exists()


@pytest.mark.parametrize(
    ("form", "said", "others"),
    [("c", "default: digits", ["onnx", "html"]), ("onnx", "graph", ["--name", "html", "export c"]),
     ("html", "the page's title", ["onnx", "export c"])],
)  # fmt: skip
def test_every_form_explains_itself(form, said, others, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", form, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert f"python -m minibnn export {form} digits.safetensors -o " in printed
    assert said in printed
    assert not [word for word in others if word in printed]


# --- what is refused, and how ---------------------------------------------------------------------

READERS = {
    "evaluate": ["evaluate", "FILE", *SAMPLE],
    "inspect": ["inspect", "FILE"],
    "pack": ["pack", "FILE", "-o", "OUT"],
    "export": ["export", "c", "FILE", "-o", "OUT"],
    "train": ["train", "--from", "FILE", *SAMPLE, "-o", "OUT"],
}


def with_paths(words, file, out):
    return [{"FILE": str(file), "OUT": str(out)}.get(word, word) for word in words]


def refuses(capsys, words, code, said):
    assert main(words) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    *_, last = printed.err.splitlines()
    assert last.startswith("error: ")
    assert said in last


@pytest.mark.parametrize("command", READERS)
def test_files_that_are_no_packed_models(trained, tmp_path, capsys, command):
    out = tmp_path / "out"
    foreign, damaged = tmp_path / "foreign.safetensors", tmp_path / "damaged.safetensors"
    foreign.write_text("no model\n")
    data = bytearray(trained.read_bytes())
    data[-1] ^= 1
    damaged.write_bytes(data)
    for file, said in (
        (tmp_path / "nowhere", "no such file; python -m minibnn train -o FILE makes one"),
        (tmp_path, "got a folder; name a file in it"),
        (foreign, "no safetensors"),
        (damaged, "damaged"),
    ):
        refuses(capsys, with_paths(READERS[command], file, out), 3, f"{file}: expected ")
        main(with_paths(READERS[command], file, out))
        assert said in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_may_not_be_read(trained, capsys, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("minibnn.commands.shared.load_packed", refused)
    refuses(capsys, ["inspect", str(trained)], 3, "got Permission denied; make the file readable")


@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_places_that_cannot_be_written(trained, tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)  # no hour of it first
    inside = tmp_path / "none" / "out"
    for out, said in ((tmp_path, "got a folder; add a name"), (inside, "got none; make it first")):
        refuses(capsys, with_paths(READERS[command], trained, out), 1, said)
    monkeypatch.setattr("os.access", lambda path, mode: False)
    out = tmp_path / "out"
    refuses(capsys, with_paths(READERS[command], trained, out), 1, "a folder to write in")
    assert not out.exists()


LONG = "n" * 255


@pytest.mark.skipif(os.name != "posix", reason="names and modes are POSIX's")
@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_the_exact_write_is_tried_before(trained, tmp_path, capsys, monkeypatch, command):
    """The name, the mode and the folder; without leaving or hurting anything."""
    for name, mode, said in (
        (LONG + "n", None, "File name too long"),
        ("old", 0o444, "read-only; make it writable (chmod u+w), or choose another name"),
    ):
        out = tmp_path / name
        if mode:
            out.write_bytes(b"old")
            out.chmod(mode)
        before = snapshot(tmp_path)
        with monkeypatch.context() as patch:
            patch.setattr("minibnn.training.recipe.fit", pytest.fail)
            refuses(capsys, with_paths(READERS[command], trained, out), 1, said)
        assert snapshot(tmp_path) == before
    out = tmp_path / LONG
    words = with_paths(READERS[command], trained, out)
    assert main(words + ["--epochs", "1"] * (command == "train")) == 0
    assert out.stat().st_size > 1000
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([LONG, "old"])


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
@pytest.mark.parametrize("command", ["pack", "export", "train"])
@pytest.mark.parametrize("step", ["open", "flock", "fsync", "replace"])
def test_a_kill_leaves_the_old_output(trained, tmp_path, capsys, monkeypatch, command, step):
    out = tmp_path / "out"
    out.write_bytes(b"old")
    out.chmod(0o640)
    words = with_paths(READERS[command], trained, out) + ["--epochs", "1"] * (command == "train")
    number = 2 if step in ("open", "flock") else 1  # the first is of the trial
    number += step == "open"  # and one opens the model
    with failing(step, number, KilledError(), dead=True), pytest.raises(KilledError):
        main(words)
    assert out.read_bytes() == b"old"
    assert main(words) == 0
    assert out.stat().st_size > 1000
    assert out.stat().st_mode & 0o777 == 0o640
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def link(path, to):
    """Another way to a file; only where links can be made."""
    try:
        path.symlink_to(to)
    except OSError:
        pytest.skip("no links here")
    return path


@pytest.mark.parametrize("command", ["pack", "export"])
@pytest.mark.parametrize("by", ["name", "link", "hard link"])
def test_the_model_is_not_written_over(trained, tmp_path, capsys, command, by):
    file = tmp_path / "digits.safetensors"
    file.write_bytes(trained.read_bytes())
    out = {"name": lambda: file, "link": lambda: link(tmp_path / "other", file)}.get(by)
    if out is None:
        (tmp_path / "other").hardlink_to(file)
    out = out() if out else tmp_path / "other"
    said = "got the same; choose another name after -o"
    refuses(capsys, with_paths(READERS[command], file, out), 2, said)
    assert file.read_bytes() == out.read_bytes() == trained.read_bytes()


def test_bits_alone_may_be_packed_in_place(trained, tmp_path):
    path = tmp_path / "small.safetensors"
    save_packed(load_packed(trained), path)
    before = path.read_bytes()
    assert main(["pack", str(path), "-o", str(path)]) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize("command", ["pack", "export", "train"])
def test_only_files_are_replaced(trained, tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr("minibnn.training.recipe.fit", pytest.fail)
    loop = tmp_path / "loop"
    link(loop, loop)
    places = [loop]  # and no real device: where this fails, it would be gone
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "fifo")
        places += [tmp_path / "fifo", link(tmp_path / "to it", tmp_path / "fifo")]
    for out in places:
        words = with_paths(READERS[command], trained, out)
        refuses(capsys, words, 1, f"{out}: expected a file to write, got a device, a pipe or")


@pytest.mark.parametrize("command", ["pack", "export", "train"])
@pytest.mark.parametrize("there", [True, False])
def test_links_are_followed(trained, tmp_path, capsys, command, there):
    real = tmp_path / "folder" / "real"
    real.parent.mkdir()
    if there:
        real.write_text("old")
    out = link(tmp_path / "out", real)
    words = with_paths(READERS[command], trained, out)
    assert main(words + ["--epochs", "1"] * (command == "train")) == 0
    assert out.is_symlink()
    assert real.stat().st_size > 1000
    assert f"{out}" in capsys.readouterr().out


@pytest.mark.parametrize("by", ["--data-dir", "MINIBNN_DATA"])
@pytest.mark.parametrize("command", ["train", "evaluate", "compare"])
def test_missing_data_is_answered_with_options(trained, tmp_path, capsys, monkeypatch, by, command):
    """And never with the sample."""
    words = {
        "train": ["train", "-o", str(tmp_path / "x")],
        "evaluate": ["evaluate", str(trained)],
        "compare": ["compare", "--out", str(tmp_path / "x")],
    }[command]
    if by == "MINIBNN_DATA":
        monkeypatch.setenv(by, str(tmp_path))
    else:
        words += [by, str(tmp_path)]
    assert main(words) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "it: --data-dir FOLDER, or" in printed.err
    assert "--dataset sample has 5,000" in printed.err
    assert "load_" not in printed.err
    assert "bundled" not in printed.err
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="pipes work otherwise there")
@pytest.mark.parametrize("words", [["inspect", "FILE"], ["inspect", "FILE", "--json"]])
def test_an_end_of_reading_is_quiet(trained, words):
    """As behind `| head -1`, but always before the first line."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "minibnn", *with_paths(words, trained, "")],
        stdout=writing, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(writing)
    assert (done.stderr, done.returncode) == ("", 141)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_behind_the_output_is_an_error(trained):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "minibnn", "inspect", str(trained)],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr == "error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "--data-dir", "x", "--dataset", "sample", "-o", "y"], 2, "leave out one of the two"),
        (["train", "--data-dir", "nowhere", "-o", "y"], 3, "MNIST is not complete in nowhere"),
        (["train", "--recipe", "binarynet", *SAMPLE, "-o", "y"], 2, "training images that it holds out"),
    ],
)  # fmt: skip
def test_other_errors(words, code, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "minibnn.commands.train.pack", lambda model, shape: None
    )  # binarynet takes seconds
    assert main(words) == code
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["pact"], "invalid choice: 'pact'"),
        (["train"], "required: -o/--output"),
        (["train", "-o", "x", "--epochs", "0"], "--epochs: expected at least 1, got 0"),
        (["train", "-o", "x", "--epochs", "few"], "--epochs: expected a whole number, got 'few'"),
        (["train", "-o", "x", "--seed", "-1"], "--seed: expected at least 0, got -1"),
        (["train", "-o", "x", "--lr", "nan"], "--lr: expected a positive number, got 'nan'"),
        (["train", "-o", "x", "--lr", "inf"], "--lr: expected a positive number, got 'inf'"),
        (["train", "-o", "x", "--lr", "0"], "--lr: expected a positive number, got '0'"),
        (["train", "-o", "x", "--recipe", "mordern"], "invalid choice: 'mordern'"),
        (["export", "c++", "x", "-o", "y"], "invalid choice: 'c++'"),
        (["evaluate"], "required: FILE"),
    ],
)
def test_wrong_usage(words, said, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert said in capsys.readouterr().err


def test_too_little_memory_is_said_in_one_line(monkeypatch, capsys):
    def run(given):
        raise MemoryError

    monkeypatch.setattr("minibnn.commands.inspect.run", run)
    assert main(["inspect", "any"]) == 1
    assert capsys.readouterr().err.startswith("error: expected more memory than there is; use a")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([command, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert re.search(r"^examples?:\n  python -m minibnn " + command, printed, re.MULTILINE)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_a_name_that_cannot_be_printed_is_written(trained, tmp_path, encoding):
    name = os.fsdecode("é".encode() + b"\xff") if os.name == "posix" else "é"
    done = subprocess.run(
        [sys.executable, "-m", "minibnn", "pack", trained, "-o", name],
        cwd=tmp_path,
        env=os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"},
        capture_output=True,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"after" in done.stdout
    assert load_packed(tmp_path / name)


def test_ctrl_c_while_a_command_is_imported(monkeypatch, capsys):
    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr("minibnn.__main__.import_module", interrupted)
    assert main(["inspect", "any"]) == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_help_is_there_at_once():
    """The list of commands imports none of them, nor NumPy."""
    code = (
        "import sys\n"
        "from minibnn.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n"
        "    print(*sorted(m for m in sys.modules if m.partition('.')[0] in ('minibnn', 'numpy')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.stderr == ""
    *_, loaded = done.stdout.splitlines()
    assert loaded == "minibnn minibnn.__main__ minibnn.version"
    for command in COMMANDS:
        assert f"\n    {command} " in done.stdout
