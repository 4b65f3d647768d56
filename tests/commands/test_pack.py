"""``python -m minibnn pack``."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from minibnn import load_packed, save_packed
from minibnn.__main__ import main
from minibnn.commands.pack import run


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


def test_bits_alone_may_be_packed_in_place(trained, tmp_path):
    path = tmp_path / "small.safetensors"
    save_packed(load_packed(trained), path)
    before = path.read_bytes()
    assert run(Namespace(file=str(path), output=str(path))) == 0
    assert path.read_bytes() == before
