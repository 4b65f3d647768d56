"""Advice of files and of states, followed: the state comes back."""

from __future__ import annotations

import enum

import numpy as np
from advice import advised

from minibnn import PackedFileError, backend_of
from minibnn.container import Format, read, to_bytes
from minibnn.state_file import flatten, from_json, to_json, unflatten

FORM = Format("odd", 1, "an odd file", "save_odd", PackedFileError, max_bytes=2**20)


def comes_back(value):
    arrays, rest = flatten({"a": value})
    return unflatten(arrays, from_json(to_json(rest)))["a"]


def test_arrays_of_odd_dtypes_are_converted():
    half = np.array([1.5, 2], np.float16)
    with advised("container", "convert it, with astype(np.float32) for instance"):
        to_bytes(FORM, {}, {"a": half})
    data = to_bytes(FORM, {}, {"a": half.astype(np.float32)})
    assert read(data, "path", FORM).arrays()["a"].tolist() == [1.5, 2]
    with advised("state_file", "convert it with astype"):
        comes_back(half)
    assert comes_back(half.astype(np.float32)).tolist() == [1.5, 2]


def test_arrays_on_a_device_are_brought_to_the_host(device):
    array = device.asarray(np.ones(2, np.float32))
    with advised("state_file", "bring it to the host with backend_of(array).to_host(array)"):
        comes_back(array)
    assert comes_back(backend_of(array).to_host(array)).tolist() == [1, 1]


class Colour(enum.IntEnum):
    RED = 3


def test_values_of_odd_classes_are_converted():
    with advised("state_file", "convert it with float(...), int(...) or str(...)"):
        comes_back(Colour.RED)
    assert comes_back(int(Colour.RED)) == 3
    with advised("state_file", "convert it with dict(...) or list(...)"):
        comes_back({3})
    assert comes_back(list({3})) == [3]
    with advised("state_file", "convert the key with str(...)"):
        comes_back({3: "x"})
    assert comes_back({str(3): "x"}) == {"3": "x"}
    with advised("state_file", "keep it as text"):
        comes_back(2**300)
    assert int(comes_back(str(2**300))) == 2**300
    rng = np.random.default_rng(0)
    with advised("state_file", "keep what it is made of: numbers, texts and arrays"):
        comes_back(rng)
    again = np.random.default_rng()
    again.bit_generator.state = comes_back(rng.bit_generator.state)
    assert again.random() == rng.random()


def test_a_state_does_not_contain_itself():
    history: list = [1]
    history.append(history)
    with advised("state_file", "does it contain itself?"):
        comes_back(history)
    history.pop()
    assert comes_back(history) == [1]
