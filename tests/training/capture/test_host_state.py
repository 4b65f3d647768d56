"""What a snapshot of the host's state sees, one kind of place at a time."""

from __future__ import annotations

import array
import functools

import numpy as np
import pytest

from minibnn.training.capture.host_state import HostState


class Nothing:
    """Of whose class no array is: everything lies on the host."""


def changed(root, change) -> list[str]:
    before = HostState(Nothing, root=root)
    change(root)
    return before.changed(HostState(Nothing, root=root))


def work(*_, **__):
    """Something to call."""


def counting():
    """A function that keeps a count where its definition has put one."""

    def count(calls=[0], *, key=[]):  # noqa: B006 (that is the point)
        calls[0] += 1

    count.calls = 0
    return count


class Box:
    """Attributes."""

    def __init__(self, **attributes):
        vars(self).update(attributes)


class Other(Box):
    """The same attributes, other methods."""


OTHER_CLASS = ["root (its class)", "root (its class).__doc__"]
PARTIAL = functools.partial(work, [1, 2], scale={"by": 1.0})


@pytest.mark.parametrize(
    ("root", "change", "paths"),
    [
        (PARTIAL, lambda p: p.keywords.update(scale={"by": 1.0}), ["root.keywords['scale']"]),
        (PARTIAL, lambda p: p.keywords["scale"].update(by=2.0), ["root.keywords['scale']['by']"]),
        (PARTIAL, lambda p: p.args[0].append(3), ["root.args[0][2]"]),
        (Box(a=1), lambda o: setattr(o, "__class__", Other), OTHER_CLASS),
        (Box(a=1), lambda o: setattr(o, "a", 1.0), ["root.a"]),
        (Box(a=1), lambda o: setattr(o, "a", True), ["root.a"]),
        (Box(a=1), lambda o: setattr(o, "b", None), ["root.b"]),
        (Box(a=1), lambda o: delattr(o, "a"), ["root.a"]),
        ({"a": np.zeros(2)}, lambda d: d["a"].fill(1), ["root['a']"]),
        ({"a": bytearray(2)}, lambda d: d["a"].extend(b"x"), ["root['a']"]),
        (memoryview(bytearray(2)), lambda m: m.__setitem__(0, 1), ["root"]),
        (array.array("d", [0.0]), lambda a: a.__setitem__(0, 1.0), ["root"]),
        (counting(), lambda f: f(), ["root.__defaults__[0][0]"]),
        (counting(), lambda f: f(key=[2]), ["root.__defaults__[0][0]"]),
        (
            counting(),
            lambda f: f.__kwdefaults__["key"].append(1),
            ["root.__kwdefaults__['key'][0]"],
        ),
        (counting(), lambda f: setattr(f, "calls", 1), ["root.calls"]),
    ],
)
def test_a_change_is_seen_and_named(root, change, paths):
    assert changed(root, change) == paths


@pytest.mark.parametrize(
    ("root", "change"),
    [
        (Box(a=float("nan")), lambda o: None),
        (Box(a=float("nan")), lambda o: setattr(o, "a", float("nan"))),
        (Box(a=1.5), lambda o: setattr(o, "a", 3 / 2)),
        (Box(a=(1, 2)), lambda o: None),
        ({"a": np.float32("nan")}, lambda d: d.update(a=np.float32("nan"))),
        ({"a": np.full(2, np.nan)}, lambda d: d["a"].fill(np.nan)),
    ],
)
def test_what_is_as_it_was_has_not_changed(root, change):
    """nan is not equal to itself, and yet it is the same state."""
    assert changed(root, change) == []
