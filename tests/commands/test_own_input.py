"""Data for a model that is there."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from own_tables import table

from minibnn import DataError, load_packed
from minibnn.commands import own_input


def given(**options):
    names = ("target", "header", "missing", "size", "colour", "group", "classes", "split")
    return SimpleNamespace(**{**dict.fromkeys(names), **options})


def test_options_come_before_the_figures_of_the_file(own):
    packed = load_packed(own[1])
    figures = {"target": "state", "missing": "keep", "size": [8, 9]}
    packed = replace(packed, training=figures)
    found = own_input.reading_for(packed, "t.csv", given(missing="drop"))
    assert found == {"target": "state", "missing": "drop", "size": (8, 9), "classes": True}


def test_figures_of_another_type_are_left_out(own):
    packed = load_packed(own[1])
    figures = {"target": 3, "header": "no", "missing": None, "size": "8x9", "classes": 1}
    packed = replace(packed, training=figures)
    assert own_input.reading_for(packed, "t.csv", given()) == {"classes": True}


def test_a_digest_of_another_type_is_none(own):
    packed = load_packed(own[1])
    packed = replace(packed, training={"data_sha256": 3})
    samples, part = own_input.labelled(packed, str(own[0]), given())
    assert (len(samples), part) == (200, "all of it")


def test_the_data_is_known_again_by_its_content(own, tmp_path):
    packed = load_packed(own[1])
    copy = tmp_path / "another name.csv"
    copy.write_bytes(own[0].read_bytes())
    samples, part = own_input.labelled(packed, str(copy), given())
    assert (len(samples), part[:13]) == (40, "the test part")
    copy.write_text(copy.read_text() + "20.0,50.0,roof,dry\n")
    assert own_input.labelled(packed, str(copy), given())[1] == "all of it"


def test_numbers_that_only_look_like_classes(own, tmp_path):
    packed = load_packed(own[1])
    numbers = replace(packed, class_names=None, training={"r2": 0.5})
    assert own_input.is_of_numbers(numbers)
    assert not own_input.is_of_numbers(packed)
    assert own_input.reading_for(numbers, "t.csv", given()) == {"classes": False}


def test_a_damaged_table_is_said(own, tmp_path):
    packed = load_packed(own[1])
    path = table(tmp_path / "t.csv")
    path.write_text(path.read_text().replace("\n", ",1\n", 3).replace(",1\n", "\n", 1))
    with pytest.raises(DataError, match="cells"):
        own_input.labelled(packed, str(path), given())


def test_names_in_c():
    names = ["sensor.h", "a/b-c d.h", "é.h", "2.h", "a__b.h", "x" * 40 + ".h"]
    found = [own_input.c_name(name) for name in names]
    assert found == ["sensor", "b_c_d", "net", "net_2", "a_b", "x" * 24]


def test_samples_get_the_models_shape(own):
    packed = load_packed(own[1])
    samples = SimpleNamespace(x=np.zeros((4, 3), np.float32)[::2])
    found = own_input.at_once(packed, samples)
    assert found.shape == (2, 3)
    assert found.flags.c_contiguous
