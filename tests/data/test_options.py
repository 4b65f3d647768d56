"""The options to read data of one's own, and its parts."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from own_tables import table

from minibnn import DataError
from minibnn.data import options


def parsed(*words):
    parser = argparse.ArgumentParser()
    options.add_data(parser, "the data")
    options.add_reading(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "reading"),
    [
        ([], {}),
        (["--target", "a", "--group", "b"], {"target": "a", "group": "b"}),
        (["--no-header", "--missing", "keep"], {"header": False, "missing": "keep"}),
        (["--header"], {"header": True}),
        (["--classes"], {"classes": True}),
        (["--numbers"], {"classes": False}),
        (["--size", "12X9", "--colour", "rgb"], {"size": (12, 9), "colour": "rgb"}),
    ],
)
def test_what_the_options_say(words, reading):
    assert options.reading_of(parsed(*words)) == reading


def test_the_data_is_named_once():
    assert options.data_of(parsed()) is None
    assert options.data_of(parsed("a.csv")) == options.data_of(parsed("--data", "a.csv")) == "a.csv"
    with pytest.raises(ValueError, match="leave out one of the two"):
        options.data_of(parsed("a.csv", "--data", "b.csv"))


def test_a_fifth_is_held_out_the_same_each_time(tmp_path):
    path = str(table(tmp_path / "t.csv"))
    one, two = options.read_parts_of(path, {}), options.read_parts_of(path, {})
    assert (len(one.train), len(one.test)) == (160, 40)
    assert one.sha256 == two.sha256
    assert one.test.x.tolist() == two.test.x.tolist()
    shares = [np.bincount(part.y) / len(part) for part in (one.train, one.test)]
    np.testing.assert_allclose(*shares, atol=0.02)


def test_another_value_is_another_digest(tmp_path):
    path = table(tmp_path / "t.csv")
    before = options.read_parts_of(str(path), {}).sha256
    lines = path.read_text().splitlines()
    lines[7] = lines[7].replace(lines[7].split(",")[0], "999.5")
    path.write_text("\n".join(lines))
    assert options.read_parts_of(str(path), {}).sha256 != before


def test_a_test_file_gets_the_numbers_of_the_training(tmp_path):
    train = table(tmp_path / "train.csv", "place temperature state")
    test = tmp_path / "test.csv"
    test.write_text("state,temperature,place\nwarm,30,roof\n")
    parts = options.read_parts_of(str(train), {"target": "state"}, str(test))
    assert parts.chosen == str(test)
    assert parts.test.x.tolist() == [[2.0, 30.0]]
    assert parts.test.y.tolist() == [2]
    assert parts.test.class_names == parts.train.class_names == ("damp", "dry", "warm")


def test_parts_are_known_by_their_names(tmp_path):
    x, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    both, whole, damaged = (tmp_path / f"{n}.npz" for n in ("both", "whole", "damaged"))
    np.savez(both, x_train=x, y_train=y, x_test=x[:2], y_test=y[:2])
    np.savez(whole, x=x, y=y)
    damaged.write_bytes(b"PK no")
    parts = options.read_parts_of(str(both), {})
    assert (len(parts.train), len(parts.test), parts.chosen) == (4, 2, "its own test part")
    assert options.read_parts_of(str(whole), {}).chosen.startswith("a fifth")
    with pytest.raises(DataError, match=r"damaged\.npz"):
        options.read_parts_of(str(damaged), {})


def test_a_folder_with_two_tables(tmp_path):
    table(tmp_path / "train.csv", n=50)
    table(tmp_path / "test.csv", n=20, seed=1)
    parts = options.read_parts_of(str(tmp_path), {})
    assert (len(parts.train), len(parts.test)) == (50, 20)


def test_too_few_samples_are_said(tmp_path):
    path = table(tmp_path / "t.csv", n=1)
    with pytest.raises(DataError, match="at least two samples to split"):
        options.read_parts_of(str(path), {})
