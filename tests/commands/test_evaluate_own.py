"""``python -m minibnn evaluate FILE DATA``."""

from __future__ import annotations

import re

import pytest
from command_line import refuses
from own_tables import CPU, run, table, train

from minibnn import load_packed
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
