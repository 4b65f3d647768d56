"""``python -m minibnn evaluate``."""

from __future__ import annotations

import re

import numpy as np
import pytest
from coded_models import coded
from command_line import SAMPLE, refuses

from minibnn import (
    Dense,
    Flatten,
    Rescale,
    Sequential,
    SignSTE,
    Thermometer,
    fit_codes,
    load_packed,
    pack,
    save_packed,
)
from minibnn.__main__ import main
from minibnn.commands.evaluate import worst_pairs
from minibnn.input_contract import InputContract


@pytest.mark.parametrize("split", ["test", "train"])
def test_evaluate(trained, capsys, sample, split):
    assert main(["evaluate", str(trained), "--split", split, *SAMPLE]) == 0
    printed = capsys.readouterr().out
    images, labels = getattr(sample, f"{split}_images"), getattr(sample, f"{split}_labels")
    predicted = load_packed(trained).predict(images)
    wrong = int((predicted != labels).sum())
    assert f"on {sample.name}, {len(images):,} {split} images\n" in printed
    assert f"accuracy      {1 - wrong / len(images):.4f}, {wrong:,} wrong\n" in printed
    assert f"taken for     {worst_pairs(labels, predicted)}\n" in printed
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


def test_evaluate_has_images_only(tmp_path, capsys, rng):
    path = str(tmp_path / "table.safetensors")
    save_packed(coded("thermometer", rng)[0], path)
    said = "expected a model of images of (28, 28), got one of (4,) of float32"
    refuses(capsys, ["evaluate", path, *SAMPLE], 2, said)
    model = Sequential(Thermometer(784, 1), Dense(784, 10, weight_quantizer=SignSTE())).initialize(
        0
    )
    fit_codes(model, rng.standard_normal((9, 784)))
    model.input_contract = InputContract("float32", (784,))
    save_packed(pack(model), path)
    refuses(capsys, ["evaluate", path, *SAMPLE], 2, "got one of (784,) of float32")
