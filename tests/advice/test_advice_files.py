"""Advice of states and of models' files, followed: the state or the model comes back."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np
import pytest
from advice import advised
from model_files import Scale

from minibnn import (
    SGD,
    Activation,
    Adam,
    BatchNorm,
    Dense,
    Fill,
    Layer,
    PackedFileError,
    Parameter,
    Sequential,
    StochasticSign,
    backend_of,
    load_model,
    save_model,
)
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


# --- Models' files --------------------------------------------------------------------------------


@pytest.fixture
def saves(tmp_path):
    """Save, load, and compare: a function of a model, its optimiser, and classes of a user's own."""

    def save_and_load(model, optimizer=None, classes=()):
        path = tmp_path / "model"
        save_model(model, path, optimizer=optimizer)
        if optimizer is not None:
            again, its = load_model(path, optimizer=True, classes=classes)
            assert repr(its) == repr(optimizer)
        else:
            again = load_model(path, classes=classes)
        assert repr(again) == repr(model)
        for p, q in zip(again.parameters(), model.parameters(), strict=True):
            np.testing.assert_array_equal(p.data, q.data)

    return save_and_load


class Kept(Layer):
    """Its argument has another name as an attribute, until it is renamed."""

    def __init__(self, features):
        self.size = features

    forward = backward = Scale.forward


class Open(Kept):
    """Its argument is an attribute."""

    def __init__(self, features):
        self.features = features


def test_a_constructors_arguments_are_attributes(saves):
    model = Kept(3)
    with advised("description", "write self.features = features there, or give the class a method"):
        saves(model)

    class First(Kept):
        def __init__(self, features):
            super().__init__(features)
            self.features = features

    class Second(Kept):
        def arguments(self):
            return {"features": self.size}

    saves(First(3), classes=[First])
    saves(Second(3), classes=[Second])


def test_arguments_are_of_classes_of_python(saves):
    model = Open(np.zeros(2))
    with advised(
        "description", "use numbers, texts, lists, and objects whose arguments are their attributes"
    ):
        saves(model)
    model.features = [0.0, 0.0]
    saves(model, classes=[Open])


@dataclass(frozen=True)
class Falling:
    """A schedule as a class."""

    start: float

    def __call__(self, t):
        return self.start / math.sqrt(t + 1)


def falling(t):
    """The same as a function."""
    return 0.1 / math.sqrt(t + 1)


def test_a_lambda_becomes_a_class_or_a_function(saves):
    model = Dense(3, 2).initialize(0)
    optimizer = SGD(model.parameters(), lambda t: 0.1 / math.sqrt(t + 1))
    with advised(
        "description",
        "write a class whose arguments are its attributes (a dataclass, with __call__), or a function with a name "
        "that uses no variable of another function",
    ):
        saves(model, optimizer)
    optimizer.learning_rate = Falling(0.1)
    saves(model, optimizer, [Falling])
    optimizer.learning_rate = falling
    saves(model, optimizer, [falling])


def test_objects_with_a_state_are_not_shared(saves):
    function = StochasticSign()
    with advised("description", "make a new object for each place"):
        saves(Sequential(Activation(function), Activation(function)).initialize(0))
    saves(Sequential(Activation(StochasticSign()), Activation(StochasticSign())).initialize(0))


def test_an_argument_does_not_contain_itself(saves):
    model = Open([1])
    model.features.append(model.features)
    with advised("description", "does one contain itself?"):
        saves(model)
    model.features.pop()
    saves(model, classes=[Open])


def test_constructors_make_their_own_parameters(saves):
    class Given(Layer):
        def __init__(self, scale):
            self.scale = scale

        forward = backward = Scale.forward

    with advised("description", "let the constructor make its own"):
        saves(Given(Parameter("scale", (2,), Fill(1.0))).initialize(0))
    saves(Scale(2).initialize(0), classes=[Scale])


def test_two_classes_have_two_names(saves):
    first, second = (type("Same", (Dense,), {}) for _ in range(2))
    with advised("description", "rename one of them"):
        saves(Sequential(first(3, 2), second(2, 2)).initialize(0))
    second.__name__ = "Other"
    model = Sequential(first(3, 2), second(2, 2)).initialize(0)
    saves(model, classes=[first, second])
    with advised("model_file", "rename yours"):
        saves(Sequential(type("Dense", (Dense,), {})(3, 2)))
    with advised("model_file", "write classes=[Other]"):
        saves(model, classes=second)
    with advised("model_file", "write the class itself, such as Other"):
        saves(model, classes=[first, second(3, 2)])
    with advised("description", "import them, and write load_model(path, classes=[Other, Same])"):
        saves(model)
    saves(model, classes=[second, first])


def test_constructors_accept_what_their_attributes_have(saves):
    class Named(Kept):
        def __init__(self, features):
            super().__init__({"three": 3}[features])
            self.features = self.size

    class Doubled(Kept):
        def __init__(self, features):
            super().__init__(2 * features)
            self.features = self.size

    class Accepting(Named):
        def arguments(self):
            return {"features": "three"}

    class Halving(Doubled):
        def arguments(self):
            return {"features": self.size // 2}

    with advised(
        "model_file",
        "let the constructor accept what its attributes have, or write a method arguments() that returns what it "
        "accepts",
    ):
        saves(Named("three"))
    saves(Accepting("three"), classes=[Accepting])
    with advised("model_file", "write a method arguments() that returns the argument"):
        saves(Doubled(3))
    saves(Halving(3), classes=[Halving])


def test_parts_are_made_by_constructors(saves):
    model = BatchNorm(3)
    model.gamma = Parameter("gamma", (3,), Fill(1.0), lr_scale=2.0)
    with advised("model_file", "write a class of your own that makes it in its constructor"):
        saves(model.initialize(0))

    class FastGamma(BatchNorm):
        def __init__(self, channels):
            super().__init__(channels)
            self.gamma = Parameter("gamma", (channels,), Fill(1.0), lr_scale=2.0)

    saves(FastGamma(3).initialize(0), classes=[FastGamma])


def test_a_model_is_whole(saves):
    model = Sequential(Dense(3, 2).initialize(0), Dense(2, 2))
    with advised("model_file", "call model.initialize(rng), and train it again"):
        saves(model)
    saves(model.initialize(0))
    model[1].to(dtype=np.float64)
    with advised("model_file", "choose one with model.to(dtype=...)"):
        saves(model)
    saves(model.to(dtype=np.float64))


def test_an_optimizer_is_of_its_model(saves, tmp_path):
    model, other = Dense(3, 2).initialize(0), Dense(3, 2).initialize(1)
    optimizer = Adam(other.parameters())
    with advised("model_file", "give the model whose parameters it has"):
        saves(model, optimizer)
    saves(other, optimizer)
    save_model(other, tmp_path / "alone")
    with advised("model_file", "save both with save_model(model, path, optimizer=optimizer)"):
        load_model(tmp_path / "alone", optimizer=True)


def test_a_model_that_cannot_be_made_again(saves, tmp_path):
    old = type("Layer1", (Scale,), {})
    new = type("Layer1", (Scale,), {"__init__": lambda self: None})
    save_model(old(2).initialize(0), tmp_path / "model")
    with advised("model_file", "give the classes that it was saved with, or save it again"):
        load_model(tmp_path / "model", classes=[new])
    assert isinstance(load_model(tmp_path / "model", classes=[old]), old)


def test_a_header_has_room_for_few_texts(saves):
    class Diary(Scale):
        log = "x" * 2**23

        def state(self):
            return {**super().state(), "log": self.log}

    model = Diary(2).initialize(0)
    with advised(
        "model_file", "use fewer layers, and keep long texts and lists out of their state"
    ):
        saves(model)
    Diary.log = "short"
    saves(model, classes=[Diary])
