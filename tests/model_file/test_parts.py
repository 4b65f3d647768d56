"""The classes that a file may name."""

from __future__ import annotations

import inspect

import pytest
from model_files import Scale, named_rate

import minibnn
from minibnn import Dense, Feedback, Function, Layer, Loss, Optimizer, initializers, schedules
from minibnn.model_file.parts import PARTS, known_classes


def test_every_public_part_is_known():
    kinds = (Layer, Function, Feedback, Loss, Optimizer)
    rooms = ["minibnn.initializers", "minibnn.schedules"]
    for name in minibnn.__all__:
        thing = getattr(minibnn, name)
        is_part = inspect.isclass(thing) and (issubclass(thing, kinds) or thing.__module__ in rooms)
        if is_part and not inspect.isabstract(thing):
            assert PARTS.get(name) is thing, name
    assert all(cls.__module__.startswith("minibnn.") for cls in PARTS.values())
    assert not any(inspect.isabstract(cls) for cls in PARTS.values())
    assert {initializers.Fill, schedules.PerEpoch} <= set(PARTS.values())


def test_given_classes_join_them():
    known = known_classes("load_model", iter([Scale, named_rate, Dense]))
    assert known == {**PARTS, "Scale": Scale, "named_rate": named_rate}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (Scale, r"a list of classes, got .*; write classes=\[Scale\]"),
        (named_rate, r"write classes=\[named_rate\]"),
        ("Scale", r"write classes=\[MyLayer\]"),
        (3, r"write classes=\[MyLayer\]"),
        ([Scale(3)], r"got Scale\(\); write the class itself, such as Scale"),
        (["Scale"], "got 'Scale'; write the class itself"),
        ([type("Dense", (), {})], "a Dense besides minibnn's; rename yours"),
        ([Scale, type("Scale", (), {})], "a Scale besides one; rename yours"),
    ],
    ids=range(8),
)
def test_other_things_are_refused(given, says):
    with pytest.raises(TypeError, match=f"^load_model: expected .*{says}"):
        known_classes("load_model", given)
