"""States as arrays and JSON: everything comes back, and what cannot is named."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minibnn.state_file import flatten, from_json, to_json, unflatten

keys = st.text(st.sampled_from("$~/01ax\u00e4"), max_size=4)
leaves = (
    st.none() | st.booleans() | st.integers(-(2**200), 2**200) | st.floats() | st.text(max_size=4)
    | st.builds(lambda n: np.arange(n, dtype=np.uint16), st.integers(0, 3))
)  # fmt: skip
states = st.dictionaries(
    keys, st.recursive(leaves, lambda s: st.lists(s, max_size=3) | st.dictionaries(keys, s, max_size=3)),
    max_size=4,
)  # fmt: skip


def same(a, b):
    """Equal in types, order of keys, and all bits but a nan's."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.ndarray):
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return repr(a) == repr(b)


@settings(deadline=None)
@given(states)
def test_a_round_trip(state):
    arrays, rest = flatten(state)
    text = to_json(rest)
    assert same(unflatten(arrays, from_json(text)), state)
    assert text.isascii()
    assert to_json(from_json(text)) == text


def test_names_are_paths():
    arrays, rest = flatten({"model": {"2": {"weight": np.zeros(1)}}, "a/b": {"~": [np.ones(1)]}})
    assert list(arrays) == ["model/2/weight", "a~1b/~0/0"]
    assert to_json(rest) == ('{"model":{"2":{"weight":{"$":"array"}}},"a/b":{"~":[{"$":"array"}]}}')


def test_numbers_of_numpy_become_pythons_and_tuples_lists():
    given_ = {"a": np.int64(3), "b": np.float32(0.1), "c": (np.bool_(True), np.uint64(2**64 - 1))}
    arrays, rest = flatten(given_)
    assert (arrays, rest) == ({}, {"a": 3, "b": float(np.float32(0.1)), "c": [True, 2**64 - 1]})
    assert all(type(v) in (int, float, list) for v in rest.values())


class Seed(int):
    """A number of a user's own class."""


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (np.zeros(2, np.float16), "bool.* got float16; convert it with astype"),
        (np.array([None]), "got object; convert it with astype"),
        (np.zeros([1] * 9), "at most 8 axes, got 9; reshape it"),
        (np.longdouble(1), r"type longdouble; convert it with float\(...\)"),
        (Seed(3), r"type Seed; convert it with float\(...\), int"),
        ({1: 2}, r"texts as keys, got 1; convert the key with str"),
        ({2}, r"type set; convert it with dict\(...\) or list"),
        (2**256, "of at most 256 bits, got a larger one; keep it as text"),
        (object(), "type object; keep what it is made of"),
        (1j, "type complex; keep what it is made of"),
        (print, "type builtin_function_or_method; keep"),
    ],
)
def test_what_cannot_be_kept_is_named(value, says):
    with pytest.raises(TypeError, match="^state 'model/layers/1': .*" + says):
        flatten({"model": {"layers": [0, value]}})


def test_an_array_on_a_device_is_named(device):
    with pytest.raises(TypeError, match=r"state 'a': .*bring it to the host"):
        flatten({"a": device.asarray(np.zeros(2, np.float32))})


def test_a_state_in_itself_is_refused():
    state: dict = {}
    state["again"] = state
    with pytest.raises(TypeError, match=r"at most 100 levels.*contain itself"):
        flatten(state)


@pytest.mark.parametrize(
    ("arrays", "text", "says"),
    [
        (["a"], "{}", "no array but the state's, got 'a'"),
        ([], '{"a":{"$":"array"}}', "an array 'a', got none"),
        (["b"], '{"a":{"$":"array"}}', "an array 'a', got none"),
        (["a"], '{"a":{"$":"array","b":1}}', "an array 'a', got none"),
        (["a"], '{"a":{"$":["array"]}}', "an array 'a', got none"),
        ([], '{"a":{"$":"Infinity"}}', "an array 'a', got none"),
        ([], '{"$a":1}', r"without or with two \$, got '\$a'"),
        ([], "[" * 200 + "]" * 200, "at most 100 levels"),
        ([], "[" * 100_000, "fewer levels|Expecting value"),
        ([], "{", "Expecting"),
        ([], '{"a": 1}', "another form"),
        ([], '{"a":1,"a":1}', "another form"),
        ([], '{"a":1.00}', "another form"),
        ([], '{"a":NaN}', "not JSON compliant|Out of range"),
        ([], '{"a":1e999}', "not JSON compliant|Out of range"),
        ([], "9" * 10_000, "digits"),
    ],
)
def test_what_flatten_does_not_give_is_refused(arrays, text, says):
    with pytest.raises(ValueError, match=says):
        unflatten({name: np.zeros(1) for name in arrays}, from_json(text))
