"""``python -m minibnn compare DATA``."""

from __future__ import annotations

import json

import numpy as np
import pytest
from command_line import refuses
from own_tables import run, table

from minibnn import Entry, Optimizer, parse_piece
from minibnn.comparison.grid import Run
from minibnn.comparison.own import own_comparison
from minibnn.data.options import read_parts_of


def test_the_test_part_is_left_alone(tmp_path):
    path = str(table(tmp_path / "t.csv", level=np.arange(200)))
    parts = read_parts_of(path, {"target": "state"})
    call, data = own_comparison(path, {"target": "state"}, None, None)
    assert (call().name, len(data.train_images), len(data.test_images)) == ("default", 128, 32)
    seen = {*data.train_images[:, -1], *data.test_images[:, -1]}
    assert seen == set(parts.train.x[:, -1])
    assert len(own_comparison(path, {"target": "state"}, None, 10)[1].test_images) == 10


@pytest.mark.parametrize("jobs", [1, 2])
def test_command(tmp_path, capsys, jobs):
    path, out = table(tmp_path / "t.csv"), tmp_path / "out"
    words = ["--seeds", "2", "--epochs", "3", "--optimizers", "Adam", "SGD(1e-9)", "--out", out]
    words += ["--jobs", jobs]
    assert run("compare", path, *words) == 0
    printed = capsys.readouterr().out
    title = f"default on {path}, 3 epochs, 2 seeds; accuracy on 32 training samples held out"
    assert printed.startswith(f"{title}\n")
    assert printed.endswith(f"\nnext: python -m minibnn train {path} -o model.safetensors\n")
    assert json.loads((out / "config.json").read_text())["recipe"] == "default"
    rows = [line.rpartition(",")[0] for line in (out / "runs.csv").read_text().splitlines()]
    call, data = own_comparison(str(path), {}, None, None, epochs=3)
    expected = Run(0, Entry(None, None, parse_piece("Adam", Optimizer)), 0).train(
        call(), data, "cpu"
    )
    assert rows[1] == ",".join(str(value) for value in [*expected.values()][:-1])


def test_a_recipe_of_ones_own(tmp_path):
    script, path = tmp_path / "mine.py", table(tmp_path / "t.csv")
    script.write_text(
        "from minibnn import Dense, Sequential, Thermometer\n"
        "def build():\n    return Sequential(Thermometer(3, 2), Dense(6, 3))\n"
    )
    call, _ = own_comparison(str(path), {}, f"{script}:build", None)
    recipe = call()
    assert (recipe.name, recipe.batch_size, len(recipe.build())) == (f"{script}:build", 32, 2)


@pytest.mark.parametrize(
    ("columns", "words", "code", "said"),
    [
        ("place level", [], 3, "expected classes to compare accuracies of, got 1 number"),
        ("level state", ["--held-out", "0"], 2, "--held-out: expected 1 to 159 of 160"),
        ("level state", ["--held-out", "160"], 2, "--held-out: expected 1 to 159 of 160"),
        ("level state", ["--dataset", "sample"], 2, "--dataset: expected MNIST, or data of"),
        ("level state", ["--recipe", "mine.py:x"], 2, "mine.py:x: expected a file of Python"),
    ],
)
def test_what_is_refused(columns, words, code, said, tmp_path, capsys):
    path = table(tmp_path / "t.csv", columns)
    refuses(capsys, ["compare", str(path), *words, "--out", str(tmp_path / "o")], code, said)
    assert not (tmp_path / "o").exists()
