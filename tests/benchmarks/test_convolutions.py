"""benchmarks/convolutions.py: its table."""

from __future__ import annotations

import json

import pandas as pd
from devices import built

import convolutions


@built
def test_each_convolution_is_measured_on_each_instruction_set(run, tmp_path):
    shapes = "3,5,2,4,1,1", "2,9,3,32,3,1", "1,4,129,3,1,1"
    done = run("convolutions.py", "--shapes", *shapes, "--seconds", "0", "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "convolutions.csv")
    counts = table[table.instructions == "portable"].groupby("what").size().to_dict()
    small = {"z of small windows": 2, "dW of small windows": 2}  # 129 values are not small
    assert counts == {"z": 3, "z of a real kernel": 3, "dW": 3, "dx": 3, **small}
    assert table.chosen.tolist() == (table.kernel == 3).tolist()
    assert (table.ratio > 0).all()
    assert json.loads((tmp_path / "convolutions.json").read_text())["threads"] == 1
    assert "portable, dx: 1 of 3 in C" in done.stdout


def test_shapes_have_all_kinds_and_none_is_too_large():
    assert {shape[4:] for shape in convolutions.SHAPES} == {(1, 1), (2, 1), (3, 1), (3, 2), (5, 1)}
    assert {shape[0] for shape in convolutions.SHAPES} == {1, 100}
    for batch, size, channels, outputs, kernel, stride in convolutions.SHAPES:
        assert batch * (size / stride) ** 2 * channels * outputs * kernel**2 < convolutions.LARGEST
