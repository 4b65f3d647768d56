"""What a snapshot of the host's state contains, one kind of container at a time."""

from __future__ import annotations

import array
import functools
import itertools
import math
import random
from collections import deque
from functools import partial

import numpy as np
import pytest
from captured_training import (
    OPTIMIZERS,
    Own,
    assert_equal,
    batches,
    dense,
    run_both,
    training,
    warned,
)

from minibnn import (
    SGD,
)
from minibnn.training import CapturedSteps, PlainSteps
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


# --- States of a user's own, in training ---------------------------------------------------------


class Slotted:
    __slots__ = ("value",)

    def __init__(self):
        self.value = 1.0


def hidden(state, read):
    """A layer's `what` that keeps its state somewhere else than in a plain attribute."""

    def what(layer, x):
        if not hasattr(layer, "hidden"):
            layer.hidden = state()
        return x * read(layer.hidden)

    return what


def next_of_list(numbers):
    numbers.append(numbers[-1] * 0.9)
    return numbers[-1]


def fade_slot(slotted):
    slotted.value *= 0.9
    return slotted.value


def closure():
    value = 1.0

    def fade():
        nonlocal value
        value *= 0.9
        return value

    return fade


class InClass:
    value = 1.0


def fade_class(kind):
    kind.value = kind.value * 0.9 if kind.value > 0.5 else 1.0
    return kind.value


HIDDEN = {
    "list": (lambda: [1.0], next_of_list),
    "deque": (lambda: deque([1.0]), next_of_list),
    "slots": (Slotted, fade_slot),
    "closure": (closure, lambda fade: fade()),
    "partial": (lambda: partial(fade_slot, Slotted()), lambda fade: fade()),
    "bound method": (lambda: np.random.RandomState(1).random, lambda draw: float(draw())),
    "count": (itertools.count, lambda numbers: 1.0 / (1 + next(numbers))),
    "Random": (lambda: random.Random(1), lambda r: r.random()),
    "class": (lambda: InClass, fade_class),
    "random": (lambda: None, lambda _: random.random()),
    "numpy.random": (lambda: None, lambda _: float(np.random.random())),  # noqa: NPY002
}


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_states_are_seen(name, device):
    state, read = HIDDEN[name]
    random.seed(1)
    InClass.value = 1.0
    steps = training(
        CapturedSteps, device, lambda: dense(Own(hidden(state, read))), OPTIMIZERS["adam"]
    )
    warned(steps, batches(device), "changed during a step")


def test_a_state_that_cannot_be_seen(device):
    """Neither in the first epoch nor in a later one."""

    class Shy(dict):
        shy = True

        def items(self):
            if self.shy:
                raise RuntimeError("do not look at me")
            return super().items()

    for epochs in (0, 1):
        layer = Own(lambda layer, x: x)
        layer.notes = Shy()
        Shy.shy = epochs == 0
        steps = training(
            CapturedSteps, device, lambda layer=layer: dense(layer), OPTIMIZERS["adam"]
        )
        loader = batches(device)
        for _ in range(epochs):
            steps.epoch(loader)
            assert steps.captured
        Shy.shy = True
        warned(steps, loader, "the host's state cannot be seen: RuntimeError: do not look at me")


def test_a_layer_may_hold_a_module(device):
    """`self.xp = cupy` is a habit of array code, and modules are no state."""

    class Scaled(Own):
        def __init__(self):
            super().__init__(lambda layer, x: layer.xp.abs(x) * layer.math.pi)
            self.xp, self.math = device.xp, math

    run_both(device, lambda: dense(Scaled()), OPTIMIZERS["adam"])


class Annealing(SGD):
    """Lowers its rate itself, by and by."""

    def update(self, segment, scalars):
        super().update(segment, scalars)
        self.learning_rate = 0.1 / (1 + float(self.count))
        self.count += 1

    count = 0


class Alternating(SGD):
    """Updates in every other step."""

    def step(self):
        self.odd = not self.odd
        if self.odd:
            super().step()

    odd = False


@pytest.mark.parametrize(
    ("kind", "match"),
    [
        (Annealing, r"optimizer\.count changed during a step"),
        (Alternating, r"optimizer\.odd changed during a step"),
    ],
)
def test_an_optimiser_with_a_state_of_its_own_is_named(kind, match, device):
    plain = training(PlainSteps, device, dense, lambda m: kind(m.parameters(), 0.1))
    captured = training(CapturedSteps, device, dense, lambda m: kind(m.parameters(), 0.1))
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)


class Falling:
    """A schedule with a count of its own, which does not look at the one that it is given."""

    def __init__(self):
        self.calls = 0

    def __call__(self, step):
        self.calls += 1
        return 0.1 / self.calls


def falling_from(rates):
    return lambda step: next(rates)


@pytest.mark.parametrize(
    ("schedule", "match"),
    [
        (Falling, r"SGD\[0\]\.schedule\.calls changed during a step"),
        (lambda: Falling().__call__, r"schedule\.__self__\.calls changed during a step"),
        (lambda: falling_from(iter([0.1 / n for n in range(1, 99)])), r"schedule\.rates changed"),
    ],
    ids=["attribute", "method", "iterator"],
)
def test_a_schedule_with_a_state_of_its_own_is_named(schedule, match, device):
    """The rates of a captured step are computed before it, so it would be asked at other times."""
    plain = training(PlainSteps, device, dense, lambda m: SGD(m.parameters(), schedule()))
    captured = training(CapturedSteps, device, dense, lambda m: SGD(m.parameters(), schedule()))
    one, other = batches(device), batches(device)
    for _ in range(2):
        plain.epoch(one)
    warned(captured, other, match)
    assert_equal(plain, captured)
