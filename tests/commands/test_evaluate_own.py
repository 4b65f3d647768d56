"""``python -m minibnn evaluate FILE DATA``."""

from __future__ import annotations

import re

import numpy as np
import pytest
from command_line import refuses
from own_tables import CPU, run, table, train

from minibnn import load_packed, write_idx
from minibnn.commands.evaluate_own import run as evaluate_own
from minibnn.data.options import read_parts_of


def accuracy(packed, samples):
    return (packed.predict(samples.x) == samples.y).mean()


@pytest.mark.parametrize("split", [None, "test", "train", "all"])
def test_of_the_data_of_the_training_the_part_held_out(split, own, capsys):
    data, model = own
    assert callable(evaluate_own)
    assert run("evaluate", model, data, *CPU, *([] if split is None else ["--split", split])) == 0
    printed = capsys.readouterr().out
    parts = read_parts_of(str(data), {})
    packed = load_packed(model)
    if split == "all":
        right = (accuracy(packed, parts.train) * 160 + accuracy(packed, parts.test) * 40) / 200
        assert f"{model} on all of it, 200 samples\n" in printed
    else:
        part = parts.train if split == "train" else parts.test
        right = accuracy(packed, part)
        assert f"{len(part)} samples\n" in printed
    assert f"accuracy       {right:.4f}, " in printed
    assert re.search(r"taken for      \w+ as \w+ \(\d+ of \d+\)", printed)
    follows = f"next: python -m minibnn predict {model} {data} -o predictions.csv\n"
    assert printed.endswith(follows)


def test_of_other_data_all(own, tmp_path, capsys):
    other = table(tmp_path / "other.csv", "state place humidity temperature", seed=3)
    assert run("evaluate", own[1], other, "--target", "state", *CPU) == 0
    printed = capsys.readouterr().out
    assert f"{own[1]} on all of it, 200 samples\n" in printed
    lines = other.read_text().splitlines()
    lines[1] = lines[1].replace(lines[1].split(",")[0], "frozen")
    other.write_text("\n".join(lines))
    refuses(capsys, ["evaluate", str(own[1]), str(other), *CPU], 3, "'frozen'")


def test_few_samples_are_enough(own, tmp_path, capsys):
    one = tmp_path / "one.csv"
    one.write_text("\n".join(own[0].read_text().splitlines()[:2]))
    assert run("evaluate", own[1], one, *CPU) == 0
    assert "on all of it, 1 sample\n" in capsys.readouterr().out


def test_it_reads_as_in_training(tmp_path, capsys):
    data = table(tmp_path / "t.csv", "person state temperature humidity")
    model = train(data, tmp_path / "m", "--target", "state", "--group", "person")
    capsys.readouterr()
    assert run("evaluate", model, data, *CPU) == 0
    assert "no person in both" in capsys.readouterr().out


def test_numbers(tmp_path, capsys):
    data = table(tmp_path / "level.csv", "temperature humidity level")
    model = train(data, tmp_path / "m")
    capsys.readouterr()
    assert run("evaluate", model, data, *CPU) == 0
    printed = capsys.readouterr().out
    figures = load_packed(model).training
    assert f"R2             {figures['r2']:.4f}" in printed
    assert f"MAE            {figures['mae']:.4g}" in printed
    classes = table(tmp_path / "c.csv", "temperature humidity state")
    refuses(capsys, ["evaluate", str(model), str(classes), *CPU], 3, "numbers")


def test_what_is_refused(own, trained, capsys):
    data, model = map(str, own)
    said = "expected the data to evaluate it on, since it was trained on sensor.csv"
    refuses(capsys, ["evaluate", model], 2, said)
    said = "--dataset: expected MNIST, or data of your own, got both"
    refuses(capsys, ["evaluate", model, data, "--dataset", "sample"], 2, said)
    said = "--target: expected data of your own to use it on, got none"
    refuses(capsys, ["evaluate", str(trained), "--target", "x"], 2, said)
    said = "samples of shape (28, 28), as in training"
    refuses(capsys, ["evaluate", str(trained), data, *CPU], 3, said)
    said = "--split: expected test or train of MNIST, got all"
    refuses(capsys, ["evaluate", str(trained), "--split", "all", *CPU], 2, said)


def test_a_source_with_parts(tmp_path, capsys):
    x, y = np.arange(120, dtype=np.int16).reshape(60, 2), np.repeat([0, 1], 30)
    path = tmp_path / "parts.npz"
    np.savez(path, x_train=x[::2], y_train=y[::2], x_test=x[1::3], y_test=y[1::3])
    model = train(path, tmp_path / "m")
    capsys.readouterr()
    for words, said in (
        ([], "its own test part), 20"),
        (["--split", "train"], "training part, 30"),
    ):
        assert run("evaluate", model, path, *CPU, *words) == 0
        assert f"{said} samples" in capsys.readouterr().out
    words = ["evaluate", str(model), str(path), "--split", "all", *CPU]
    refuses(capsys, words, 2, "which has both parts, got all; choose one")
    assert run("predict", model, path, *CPU) == 0
    assert len(capsys.readouterr().out.splitlines()) == 21


def test_a_folder_of_images(tmp_path, capsys):
    image = pytest.importorskip("PIL.Image", reason="no Pillow")
    rng = np.random.default_rng(0)
    for k, name in enumerate(("cat", "dog")):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        for i in range(20):
            pixels = (rng.integers(0, 100, (9, 10, 3)) + 100 * k).astype(np.uint8)
            image.fromarray(pixels).save(tmp_path / "pictures" / name / f"{i}.png")
    words = ("--size", "8x8", "--colour", "grey")
    model = train(tmp_path / "pictures", tmp_path / "m", *words)
    packed = load_packed(model)
    assert (packed.input_shape, packed.class_names) == ((8, 8), ("cat", "dog"))
    capsys.readouterr()
    assert run("evaluate", model, tmp_path / "pictures", *CPU) == 0  # of the size of the training
    printed = capsys.readouterr().out
    assert "accuracy       1.0000, 0 wrong\n" in printed
    assert "8 samples\n" in printed
    for folder, count in ((tmp_path / "pictures", 40), (tmp_path / "pictures" / "dog", 20)):
        assert run("predict", model, folder, *CPU) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + count
    assert all(line.startswith("dog,") for line in lines[1:])


def test_a_folder_of_an_idx_set(tmp_path, capsys):
    rng = np.random.default_rng(0)
    y = (np.arange(60) % 3).astype(np.uint8)
    x = (rng.integers(0, 80, (60, 6, 7)) + 80 * y[:, None, None]).astype(np.uint8)
    folder = tmp_path / "shapes"
    folder.mkdir()
    for name, part in (("train", slice(0, 40)), ("t10k", slice(40, 60))):
        write_idx(folder / f"{name}-images-idx3-ubyte", x[part])
        write_idx(folder / f"{name}-labels-idx1-ubyte", y[part])
    model = train(folder, tmp_path / "m")
    capsys.readouterr()
    assert run("evaluate", model, folder, *CPU) == 0
    right = (load_packed(model).predict(x[40:]) == y[40:]).mean()
    assert f"accuracy       {right:.4f}, " in capsys.readouterr().out
    for source in (folder, folder / "t10k-images-idx3-ubyte"):
        assert run("predict", model, source, *CPU) == 0
        assert len(capsys.readouterr().out.splitlines()) == 21
    said = "name the folder of another set as DATA: train FOLDER -o FILE"
    words = ["train", "--data-dir", str(folder), "--no-verify", "-o", str(tmp_path / "x")]
    refuses(capsys, words, 3, said)
