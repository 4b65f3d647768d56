"""What was trained and could not be saved."""

from __future__ import annotations

import numpy as np

from minibnn import BatchNorm, Dense, Sequential
from minibnn.commands.rescue import rescue


def test_the_note_says_how_to_get_the_model_back(tmp_path, capsys):
    model = Sequential(Dense(3, 2), BatchNorm(2)).initialize(0)
    rescue(model, str(tmp_path / "m"), "build()")
    path = tmp_path / "m.rescued.npz"
    said = capsys.readouterr().err
    assert f"  {path}\n" in said
    assert "model = build().initialize(0), and\n" in said
    again = Sequential(Dense(3, 2), BatchNorm(2)).initialize(1)
    with np.load(path) as arrays:
        parts = [*again.parameters(), *again.buffers()]
        for part, array in zip(parts, arrays.values(), strict=True):
            part.data = array
    x = np.ones((4, 3), np.float32)
    np.testing.assert_array_equal(again.forward(x), model.forward(x))
