"""Descriptions: from the attributes of today, and nothing but what was given is called."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from dataclasses import dataclass

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

import minibnn
from minibnn import (
    SGD,
    Activation,
    Adam,
    AdaMax,
    Bop,
    Conv2D,
    Cosine,
    Dense,
    DirectFeedback,
    Dropout,
    Fill,
    FixedFeedback,
    Hinge,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    OptimizerGroup,
    Parameter,
    PerEpoch,
    ReLU,
    Sequential,
    ShiftAdaMax,
    SignSTE,
    StochasticSign,
    Tanh,
    Uniform,
)
from minibnn.description import build, describe, describe_loosely, require_known
from minibnn.state_file import from_json, to_json


def again(thing, **options):
    """Through JSON."""
    found = describe(thing, "it", **options)
    return build(from_json(to_json(found.description)), "it", found.classes)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_layer(case):
    layer = case.make()
    made = again(layer)
    assert type(made) is type(layer)
    assert repr(made) == repr(layer)
    assert describe(made, "it") == describe(layer, "it")
    shapes = [[(n, p.shape, p.bound, p.lr_scale) for n, p in m.named_parameters()]
              for m in (layer, made)]  # fmt: skip
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    "thing",
    [
        Cosine(0.1, 0.0, length=7), PerEpoch(Cosine(0.1, 0.001, length=7), 3), Uniform(-2, 3),
        LogitCrossEntropy(label_smoothing=0.1), Hinge(), Fill(math.inf), FixedFeedback(Fill(2.0)),
    ],
    ids=repr,
)  # fmt: skip
def test_other_parts(thing):
    made = again(thing)
    assert type(made) is type(thing)
    assert describe(made, "it") == describe(thing, "it")


def test_every_argument_is_there_by_its_name():
    """Omitting one would give another model, silently."""
    for case in CASES:
        layer = case.make()
        described = describe(layer, "it").description
        assert list(described["arguments"]) == list(inspect.signature(type(layer)).parameters)


def test_the_attributes_of_today_count():
    layer = Dense(3, 2, weight_quantizer=SignSTE(), bias=False, weight_bound=2, lr_scale=3)
    layer.weight_quantizer, layer.feedback = SignSTE(clip=0.5), FixedFeedback(Fill(2.0))
    layer.weight.initializer = Uniform(-3, 3)
    made = again(layer)
    assert made.weight_quantizer == layer.weight.quantizer == SignSTE(clip=0.5)
    assert (made.feedback.initializer, made.weight.initializer) == (Fill(2.0), Uniform(-3, 3))
    assert (made.bias, made.weight.bound, made.weight.lr_scale) == (None, 2, 3)
    layer.bias = Parameter("bias", (2,), Fill(0.0))
    assert again(layer).bias is not None


@pytest.mark.parametrize("padding", [0, 2, (1, 0), "same"])
def test_a_convolutions_windows(padding):
    for size in (2, (3, 2), (1, 5)):
        layer = Conv2D(2, 4, size, padding=padding, padding_value=-1, dilation=(2, 1), groups=2)
        made = again(layer)
        assert (made.windows, made.padding) == (layer.windows, layer.padding)
        assert made.padding_value == -1
    assert again(MaxPool2D((3, 2), stride=1)).windows == MaxPool2D((3, 2), stride=1).windows


def parameters():
    model = Dense(2, 2, weight_quantizer=SignSTE()).initialize(0)
    return {f"model.{k}": p for k, p in model.named_parameters()}


@pytest.mark.parametrize(
    "make",
    [
        lambda w, b: SGD([w, b], Cosine(0.1, 0.0, length=9), momentum=0.5),
        lambda w, b: Adam([b, w], 0.01, beta2=0.9),
        lambda w, b: AdaMax([b], PerEpoch(Cosine(0.1, 0.0, length=9), 4)),
        lambda w, b: ShiftAdaMax([w], epsilon=1e-3),
        lambda w, b: Bop([w], threshold=1e-3, gamma=Cosine(0.1, 0.001, length=9)),
        lambda w, b: OptimizerGroup(Bop([w], gamma=0.5), Adam([b], 0.25)),
    ],
)
def test_every_optimizer(make):
    held = parameters()
    optimizer = make(*held.values())
    paths = {id(p): path for path, p in held.items()}
    found = describe(optimizer, "optimizer", parameters=paths)
    fresh = parameters()
    made = build(found.description, "optimizer", found.classes, parameters=fresh)
    assert repr(made) == repr(optimizer)
    paths = {id(p): path for path, p in fresh.items()}
    assert describe(made, "optimizer", parameters=paths) == found
    with pytest.raises(
        TypeError, match=r"\.parameters\[0\]: expected arguments that are no arrays"
    ):
        describe(optimizer, "optimizer")


def test_the_rate_of_today_counts():
    held = parameters()
    optimizer = Adam(held.values(), 0.5)
    optimizer.learning_rate = Cosine(0.25, 0.0, length=3)
    optimizer.beta1 = 0.75
    paths = {id(p): path for path, p in held.items()}
    arguments = describe(optimizer, "it", parameters=paths).description["arguments"]
    assert arguments["learning_rate"]["class"] == "Cosine"
    assert arguments["beta1"] == 0.75
    assert arguments["parameters"] == [{"parameter": path} for path in held]


def rate(t):
    """A schedule by its name."""
    return 0.1


@dataclass
class Halving:
    """A schedule of a user's own."""

    start: float

    def __call__(self, t):
        return self.start / 2**t


class Scaled(Layer):
    """A layer of a user's own."""

    def __init__(self, size, *rates, factor=2.0, **more):
        self.size, self.rates, self.factor, self.more = size, rates, factor, more

    def forward(self, x, *, train=False):
        return x

    def backward(self, dy, *, need_dx=True):
        return dy


def test_classes_and_functions_of_ones_own():
    layer = Scaled(
        np.int64(3),
        0.5,
        Halving(np.float32(2)),
        factor=math.nan,
        a={"b": (1, None)},
        f=rate,
        c=ReLU,
    )
    found = describe(layer, "it")
    assert found.classes == {"Scaled": Scaled, "Halving": Halving, "rate": rate, "ReLU": ReLU}
    made = again(layer)
    assert (made.size, made.rates, math.isnan(made.factor)) == (3, (0.5, Halving(2.0)), True)
    assert made.more == {"a": {"b": [1, None]}, "f": rate, "c": ReLU}
    assert type(made.size) is int


class Keeping(Layer):
    """It keeps its argument under another name."""

    def __init__(self, value):
        self.kept = value

    forward = backward = Scaled.forward


def closure():
    n = 3
    return lambda t: n


def named_closure():
    n = 3

    def schedule(t):
        return n

    return schedule


Twice = type("Halving", (), {"__init__": lambda self: None})


@pytest.mark.parametrize(
    ("value", "name", "says"),
    [
        (Sequential(Dense(2, 3, weight_init=lambda s, r: 0)), r"it\.layers\[0\]\.weight_init",
         r"a file can name, got <function <lambda>>; write a class whose arguments"),
        (closure(), "it", "a file can name, got <function closure.<locals>.<lambda>>; write"),
        (Sequential(Keeping(3)), r"it\.layers\[0\]",
         r"an attribute 'value' of Keeping, .* got none; write self.value = value there, or give"),
        (Scaled(np.zeros(2)), r"it\.size", "an object of a class of Python, got array"),
        (Scaled(np.dtype("f4")), r"it\.size", "an object of a class of Python, got dtype"),
        (Scaled(print), r"it\.size", "an object of a class of Python, got <built"),
        (Scaled(Parameter("w", (2,), Fill(0.0))), r"it\.size", r"got Parameter\('w'.*make its own"),
        (Scaled(Halving(1), Twice()), r"it\.rates\[0\]", "got a second Halving; rename one"),
        (Scaled(SHARED := StochasticSign(), SHARED), r"it\.rates\[0\]",
         r"of its own, got the one that is also it\.size; make a new object for each"),
        (Scaled({1: 2}), r"it\.size", "a class of Python, got {1: 2}"),
        (named_closure(), "it", "a file can name, got <function named_closure.<locals>.schedule>; write"),
    ],
    ids=range(11),
)  # fmt: skip
def test_what_cannot_be_described_is_named(value, name, says):
    for stochastic in getattr(value, "rates", ()):
        if isinstance(stochastic, StochasticSign):
            stochastic.initialize(np.random.default_rng(0))
    with pytest.raises(TypeError, match=f"^{name}: expected .*{says}"):
        describe(value, "it")


def test_what_has_no_state_may_be_shared():
    sign = SignSTE()
    made = again(Sequential(Activation(sign), Activation(sign)))
    assert made[0].function == made[1].function == sign


def test_an_object_inside_itself_is_refused():
    rates: list = [Halving(1.0)]
    layer = Scaled(rates)
    rates[0].start = rates
    with pytest.raises(TypeError, match="inside each other, got more; does one contain itself"):
        describe(layer, "it")


def test_loosely_everything_is_described():
    layer = Scaled(
        lambda: 0, object(), functools.partial(print, 1), f=rate, c=np.zeros(2), k=Keeping(1)
    )
    loose = describe_loosely(layer)
    assert loose == describe_loosely(Scaled(*[layer.size, *layer.rates], **layer.more))
    text = to_json(loose)
    assert "0x" not in text
    assert "test_description.test_loosely_everything_is_described.<locals>.<lambda>" in text
    assert "test_description.rate" in text
    assert "Keeping()" in text
    model = Sequential(Dense(3, 2, weight_init=Uniform()), Dropout(0.5))
    assert describe_loosely(model) == describe(model, "model").description


def test_loosely_an_array_of_objects_is_its_content():
    one, same, other = (np.array([text, None], object) for text in ("ab", "".join("ab"), "c"))
    assert describe_loosely(one) == describe_loosely(np.array(["".join(["a", "b"]), None], object))
    assert describe_loosely(one) == describe_loosely(same) != describe_loosely(other)


FOUND = describe(Sequential(Dense(2, 3, weight_quantizer=SignSTE()), Activation(Tanh())), "it")
CLASSES = {**FOUND.classes, "rate": rate, "Scaled": Scaled}


@pytest.mark.parametrize(
    ("description", "says"),
    [
        ({"class": "Nobody", "arguments": {}}, r"those given, got Nobody; .* load_model\(path, classes=\[Nobody\]\)"),
        ([{"function": "b"}, {"class": "a", "arguments": {}}], "got a, b; import them"),
        ({"class": "os.system", "arguments": {}}, "the name of a class, got 'os.system'"),
        ({"class": ["Dense"], "arguments": {}}, "the name of a class"),
        ({"class": "x" * 300, "arguments": {}}, "the name of a class"),
        ({"class": "Dense"}, "it: expected a description"),
        ({"class": "Dense", "arguments": []}, "it: expected a description"),
        ({"class": "Dense", "arguments": {}, "x": 1}, "it: expected a description"),
        ({"class": "Dense", "arguments": {}}, "arguments that Dense accepts, got TypeError"),
        ({"class": "Dense", "arguments": {"x": 1}}, "it: expected arguments of Dense, got 'x'"),
        ({"class": "Dense", "arguments": {"in_features": -1, "out_features": 2}}, "got ValueError"),
        ({"class": "Sequential", "arguments": {"layers": 3}}, r"it\.layers: expected a list"),
        ({"class": "Scaled", "arguments": {"size": 1, "more": []}}, r"it\.more: expected a mapping"),
        ({"class": "Sequential", "arguments": {"layers": [3]}}, "Sequential accepts, got TypeError"),
        ({"class": "rate", "arguments": {}}, "expected rate to be a class"),
        ({"class": "Sequential", "arguments": {"layers": [{"class": "Tanh", "arguments": {"x": 1}}]}},
         r"it\.layers\[0\]: expected arguments of Tanh"),
        ({"float": "1"}, "it: expected a description"), ({"float": []}, "expected a description"),
        ({"parameter": "x"}, "expected a description"), ({"parameter": {}}, "expected a description"),
        ({"mapping": 3}, "expected a description"), ({}, "expected a description"),
    ],
)  # fmt: skip
def test_other_descriptions_are_refused(description, says):
    with pytest.raises(ValueError, match=says):
        build(description, "it", CLASSES)


def test_depth_and_number_are_limited():
    deep: object = 1
    for _ in range(150):
        deep = {"class": "Sequential", "arguments": {"layers": [deep]}}
    with pytest.raises(ValueError, match="inside each other"):
        build(deep, "it", CLASSES)
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(ValueError, match="inside each other"):
        build(deep, "it", CLASSES)
    with pytest.raises(ValueError, match="at most 10,000 objects, got 10,001"):
        build([{"class": "Tanh", "arguments": {}}] * 10_001, "it", CLASSES)


values = st.recursive(
    st.none() | st.integers(-5, 5) | st.floats() | st.text(max_size=3),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(
        st.sampled_from(["class", "arguments", "function", "mapping", "float", "layers", "x"]),
        v | st.sampled_from(["Dense", "Tanh", "rate", "Sequential", "nan"]), max_size=3),
)  # fmt: skip


@settings(deadline=None)
@given(values)
def test_any_json_is_built_or_refused(value):
    with contextlib.suppress(ValueError):
        build(value, "it", CLASSES)


def test_nothing_is_called_but_what_was_given():
    """A name of Python or of minibnn is no more known than any other."""
    for name in ("exec", "open", "object", "Dense", "minibnn"):
        with pytest.raises(ValueError, match=f"got {name}; import"):
            require_known({"class": name, "arguments": {}}, {})
    assert hasattr(minibnn, "Dense")


def test_an_argument_that_a_file_does_not_have_has_its_default():
    """Files of an older version, before a class got a new argument."""
    made = build(
        {"class": "Dense", "arguments": {"in_features": 2, "out_features": 3}}, "it", CLASSES
    )
    assert made.bias is not None
    made = build({"class": "DirectFeedback", "arguments": {"blocks": [FOUND.description]}}, "it",
                 {**CLASSES, "DirectFeedback": DirectFeedback})  # fmt: skip
    assert len(made) == 1


class Defaulted:
    """Its first argument may be left out, before any number of others."""

    def __init__(self, size=3, *rates):
        self.size, self.rates = size, rates


def test_defaults_come_before_the_others():
    description = {"class": "Defaulted", "arguments": {"rates": [0.5]}}
    made = build(description, "it", {"Defaulted": Defaulted})
    assert (made.size, made.rates) == (3, (0.5,))
