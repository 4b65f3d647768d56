"""The state of objects: names, forms, copies."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import Activation, Function, RandomStream, ReLU, StochasticSign
from minibnn.state import Stateful, form_difference, form_of, has_state, parts_of, require_form


class Pair(Stateful):
    """Two random streams and a number, which is no part."""

    def __init__(self):
        self._one, self.other, self.number = RandomStream(), RandomStream(), 3


def seeded(seed):
    pair = Pair()
    for stream in (pair._one, pair.other):
        stream.initialize(np.random.default_rng([seed, stream is pair.other]))
    return pair


def test_parts_are_found_by_name_and_restored():
    one, two = seeded(0), seeded(1)
    one.other.next_keys()
    assert list(one.state()) == ["one", "other"]
    assert one.state() != two.state()
    two.restore(one.state())
    assert one.state() == two.state()
    assert two.other.next_keys() == one.other.next_keys()


def test_parts_without_a_state_are_left_out():
    class Nothing(Stateful):
        def __init__(self):
            self.inside = Pair()
            self.empty = Empty()

    class Empty(Stateful):
        pass

    assert list(Nothing().state()) == ["inside"]


def test_a_state_of_another_form_changes_nothing_and_is_named():
    pair = seeded(0)
    before = pair.state()
    wrong = {**seeded(1).state()}
    wrong["other"] = {"seed": 3}
    with pytest.raises(ValueError, match=r"a state with other\.count as a number, got nothing"):
        pair.restore(wrong)
    assert pair.state() == before


def test_two_parts_of_one_name_are_refused():
    pair = seeded(0)
    pair.one = RandomStream()
    with pytest.raises(TypeError, match=r"Pair: expected a name of its own .* two named 'one'"):
        pair.state()
    pair.one = pair._one  # the same one twice is one
    assert list(dict(parts_of(pair, Stateful))) == ["one", "other"]


@pytest.mark.parametrize(
    ("own", "given", "difference"),
    [
        ({"a": 1}, {"a": 2.5}, None),
        ({"a": np.int64(1)}, {"a": 1}, None),  # as a file gives it back
        ({"a": np.float32(1)}, {"a": 1.0}, None),
        ({"a": np.bool_(True)}, {"a": True}, None),
        ({"a": (1, 2)}, {"a": [1, 2, 3]}, None),
        ({"a": None}, {"a": np.zeros(3)}, None),
        ({"a": np.zeros(3)}, {"a": None}, None),
        ({"a": "x"}, {"a": "y"}, None),
        ({}, {}, None),
        ({"a": np.zeros(3, ">f4")}, {"a": np.zeros(3, "<f4")}, None),
        ({"a": 1}, {"a": "1"}, ("a", "a number", "a text")),
        ({"a": 1}, {"a": [1]}, ("a", "a number", "a list")),
        ({"a": 1}, {"a": {}}, ("a", "a number", "named parts")),
        ({"a": 1}, {}, ("a", "a number", "nothing")),
        ({}, {"a": np.zeros(2)}, ("a", "nothing", "float64 (2,)")),
        ({"a": {"b": np.zeros(2, "f4")}}, {"a": {"b": np.zeros(2)}},
         ("a.b", "float32 (2,)", "float64 (2,)")),
        ({"a": 1, "b": np.zeros(2)}, {"a": 1, "b": np.zeros((2, 1))},
         ("b", "float64 (2,)", "float64 (2, 1)")),
        ({"a": 1}, None, ("names", "named parts", "a text")),
    ],
)  # fmt: skip
def test_the_first_difference_in_form(own, given, difference):
    assert form_difference(own, given) == difference
    if difference is None:
        require_form("Thing", own, given)
    else:
        with pytest.raises(ValueError, match=r"Thing: expected a state with .* made in the same"):
            require_form("Thing", own, given)


def test_the_form_of_a_state_takes_no_memory():
    state = {"a": np.ones((1000, 3), np.int8), "b": {"c": None, "d": [1]}, "e": np.float32(2)}
    form = form_of(state)
    assert form_difference(form, state) is None
    assert form_difference(form, {**state, "a": np.ones((1000, 4), np.int8)}) is not None
    assert form["a"].base.nbytes <= 8


def test_what_has_both_methods_has_a_state():
    class Half:
        def state(self):
            return {}

    assert has_state(RandomStream())
    assert has_state(Activation(StochasticSign()))
    assert not has_state(Half())
    assert not has_state(lambda t: 0.1)
    assert not has_state(None)


def test_a_state_without_a_restore_is_refused():
    with pytest.raises(TypeError, match=r"Counting: expected restore\(state\) beside state\(\)"):

        class Counting(Function):
            forward = backward = None

            def state(self):
                return {"calls": 0}


def test_a_restore_alone_may_rebuild_something():
    class Rebuilding(ReLU):
        def restore(self, state):
            super().restore(state)

    assert Rebuilding().state() == {}
