"""``python -m minibnn predict``."""

from __future__ import annotations

import io

import numpy as np
import pandas as pd
import pytest
from command_line import refuses
from own_tables import CPU, rows, run, table, train

from minibnn import load_packed
from minibnn.commands.own_input import is_of_numbers
from minibnn.commands.predict import run as predict
from minibnn.data.options import read_parts_of


def predicted(capsys, *words):
    assert run("predict", *words, *CPU) == 0
    return pd.read_csv(io.StringIO(capsys.readouterr().out))


def test_a_prediction_and_scores_for_each_row(own, tmp_path, capsys):
    data, model = own
    out = tmp_path / "out.csv"
    assert run("predict", model, data, "-o", out, *CPU) == 0
    said = capsys.readouterr()
    header = str(model).removesuffix(".safetensors") + ".h"
    follows = f"next: python -m minibnn export c {model} -o {header}\n"
    assert said.out == f"{out}: 200 predictions\n{follows}"
    assert f"{data}: a table of 200 rows, 3 columns, no target\n" in said.err
    found = pd.read_csv(out)
    assert found.columns.tolist() == ["prediction", "score damp", "score dry", "score warm"]
    packed = load_packed(model)
    parts = read_parts_of(str(data), {})
    scores = packed.predict_scores(np.r_[parts.train.x, parts.test.x])
    assert sorted(found.iloc[:, 1:].values.tolist()) == sorted(scores.tolist())
    best = found.iloc[:, 1:].to_numpy().argmax(axis=1)
    assert found.prediction.tolist() == [packed.class_names[k] for k in best]
    assert (found.prediction == rows()["state"]).mean() > 0.6


def test_without_a_target_and_with_columns_in_another_order(own, tmp_path, capsys):
    data, model = own
    expected = predicted(capsys, model, data)
    other = table(tmp_path / "new.csv", "place level humidity temperature")
    assert predicted(capsys, model, other).equals(expected)


def test_a_target_that_is_not_known_yet_is_no_error(own, tmp_path, capsys):
    expected = predicted(capsys, own[1], own[0])
    other = table(tmp_path / "new.csv", "temperature humidity place", state=[""] * 200)
    assert predicted(capsys, own[1], other).equals(expected)


def test_categories_keep_their_numbers(own, tmp_path, capsys):
    data, model = own
    whole = predicted(capsys, model, data)
    lines = data.read_text().splitlines()
    few = tmp_path / "few.csv"
    kept = [i for i, place in enumerate(rows()["place"]) if place != "cellar"]
    few.write_text("\n".join([lines[0], *(lines[1 + i] for i in kept)]) + "\n")
    found = predicted(capsys, model, few)
    assert found.equals(whole.iloc[kept].reset_index(drop=True))


def test_numbers(tmp_path, capsys):
    data = table(tmp_path / "level.csv", "temperature humidity level")
    model = train(data, tmp_path / "level.safetensors")
    packed = load_packed(model)
    assert is_of_numbers(packed)
    capsys.readouterr()
    found = predicted(capsys, model, data)
    assert found.columns.tolist() == ["prediction"]
    x = np.stack([rows()["temperature"], rows()["humidity"]], axis=1).astype(np.float32)
    np.testing.assert_allclose(found.prediction, packed.logits(x)[:, 0], rtol=1e-6)


def test_digits_have_the_names_of_their_numbers(trained, sample, tmp_path, capsys):
    np.savez(tmp_path / "digits.npz", x=sample.test_images[:20], y=sample.test_labels[:20])
    found = predicted(capsys, trained, tmp_path / "digits.npz")
    labels = load_packed(trained).predict(sample.test_images[:20])
    assert found.prediction.tolist() == labels.tolist()
    assert found.columns.tolist() == ["prediction", *(f"score {k}" for k in range(10))]


def test_what_is_refused(own, tmp_path, capsys):
    data, model = map(str, own)
    assert callable(predict)
    refuses(capsys, ["predict", model], 2, "predict: expected data to predict from, got none")
    refuses(capsys, ["predict", data, data], 3, data)
    for taken in (data, model):
        words = ["predict", model, data, "-o", taken, *CPU]
        refuses(capsys, words, 2, "expected another file than the one that is read")
    header = tmp_path / "sensor.h"
    header.write_text("mine")
    words = ["predict", model, data, "-o", str(header), *CPU]
    refuses(capsys, words, 2, "one that ends in .csv and may be replaced, got one that ends in .h")
    assert header.read_text() == "mine"
    other = table(tmp_path / "new.csv", "temperature place")
    refuses(capsys, ["predict", model, str(other), *CPU], 3, "'humidity'")
    unknown = table(tmp_path / "unknown.csv", "temperature humidity", place=["moon"] * 200)
    refuses(capsys, ["predict", model, str(unknown), *CPU], 3, "'moon'")
    refuses(
        capsys, ["predict", model, str(tmp_path / "no.csv"), *CPU], 3, "no.csv: expected a file"
    )


@pytest.mark.parametrize("size", ["8", "8x", "0x8", "axb"])
def test_a_size_has_two_numbers(size, capsys):
    with pytest.raises(SystemExit) as stop:
        run("predict", "x", "y", "--size", size)
    assert stop.value.code == 2
    assert f"expected HEIGHTxWIDTH such as 32x32, got '{size}'" in capsys.readouterr().err
