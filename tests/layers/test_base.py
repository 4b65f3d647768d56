"""Layer: how it finds its parts, moves them, and refuses wrong use."""

from __future__ import annotations

import numpy as np
import pytest

import minibnn
from minibnn import (
    Activation,
    BatchNorm,
    Bop,
    Conv2D,
    Dense,
    Fill,
    FixedFeedback,
    Flatten,
    Layer,
    Parameter,
    ReLU,
    Sequential,
    SignSTE,
)

X = np.zeros((64, 28, 28), np.float32)

FLAT = X.reshape(64, -1)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Dense(0, 3), ValueError, "expected sizes of at least 1"),
        (lambda: Dense(3.0, 3), TypeError, "expected in_features of type int, got 3.0"),
        (lambda: Dense(3, 3, weight_quantizer=SignSTE), TypeError, r"of type Function, got the class SignSTE; write SignSTE\(\)"),
        (lambda: Dense(3, 3, feedback="random"), TypeError, "expected feedback of type Feedback, got 'random'"),
        (lambda: Activation(ReLU), TypeError, r"got the class ReLU; write ReLU\(\)"),
        (lambda: Parameter("s", 3, Fill(1.0)), TypeError, "expected a tuple of integers, got 3"),
        (lambda: Parameter("s", (3,), 1.0), TypeError, "expected an initialiser such as .*, got 1.0"),
        (lambda: Dense(3, 2, weight_init=lambda shape, rng: np.arange(2)).initialize(0), ValueError, r"an array of shape \(3, 2\), got \(2,\)"),
        (lambda: Dense(3, 3, weight_bound=-1), ValueError, "expected bound to be a positive number"),
        (lambda: Dense(3, 3, lr_scale=0), ValueError, "expected lr_scale to be a positive number"),
        (lambda: BatchNorm(3, momentum=1.0), ValueError, r"expected momentum in \[0, 1\), got 1.0"),
        (lambda: BatchNorm(3, epsilon=0), ValueError, "expected a positive epsilon"),
        (lambda: Sequential(Flatten(), "dense"), TypeError, "got 'dense' at position 1"),
        (lambda: Sequential(*[Dense(3, 3)] * 2), ValueError, "got one of them twice"),
        (lambda: Dense(3, 3).initialize(None), TypeError, "Generator or a seed, got None"),
        (lambda: Dense(3, 3).initialize(0, np.float16), TypeError, "float32 or float64, got float16"),
        (lambda: Dense(3, 3).forward(FLAT), RuntimeError, r"call model.initialize\(rng\) first"),
    ],
)  # fmt: skip
def test_bad_construction(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_moving_there_and_back_changes_nothing(device):
    model = Sequential(Dense(4, 3), BatchNorm(3)).initialize(0)
    before = [p.data.copy() for p in model.parameters()]
    model.to(device)
    assert all(isinstance(p.data, device.array_type) for p in model.parameters())
    assert all(isinstance(b.data, device.array_type) for b in model.buffers())
    model.to("cpu")
    for p, value in zip(model.parameters(), before, strict=True):
        np.testing.assert_array_equal(p.data, value)


def test_initialising_again_stays_on_the_device(device):
    model = Dense(4, 3).initialize(0).to(device).initialize(1)
    assert isinstance(model.weight.data, device.array_type)
    assert model.backend is device


def test_scalar_parameters_and_nested_layers_are_found():
    class Nested(Layer):
        def __init__(self):
            self.gain = Parameter("gain", (), Fill(2.0))
            self.inner = Dense(3, 2, bias=False, feedback=FixedFeedback())

        def forward(self, x, *, train=False):
            return self.inner.forward(x, train=train) * self.gain.data

        def backward(self, dy, *, need_dx=True):
            raise NotImplementedError

    model = Sequential(Nested()).initialize(0)
    assert [n for n, _ in model.named_parameters()] == ["0.gain", "0.inner.weight"]
    assert [b.name for b in model.buffers()] == ["feedback"]
    x = np.ones((1, 3), np.float32)
    np.testing.assert_allclose(model.forward(x), 2 * x @ model[0].inner.weight.data)
    model.to(dtype=np.float64)
    assert model[0].inner.weight.data.dtype == model[0].gain.data.dtype == np.float64


@pytest.mark.parametrize("change", [lambda m: m.initialize(1), lambda m: m.to("cpu")])
def test_what_was_saved_does_not_survive_a_change(change):
    model = Dense(3, 2).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    change(model)
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        model.backward(np.ones((1, 2), np.float32))


def test_backward_refuses_another_dtype_and_lists():
    model = Dense(3, 2).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    with pytest.raises(TypeError, match="expected dy of dtype float32, got float64"):
        model.backward(np.ones((1, 2)))
    with pytest.raises(TypeError, match="expected a NumPy or CuPy array, got list"):
        model.backward([[1.0, 1.0]])


@pytest.mark.parametrize("name", ["parameters", "buffers", "forward"])
def test_an_attribute_does_not_hide_a_method(name):
    class Hiding(Layer):
        def __init__(self):
            setattr(self, name, [1.0])

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    message = f"Hiding: expected {name} to be a method, got an attribute of type list; give"
    with pytest.raises(TypeError, match=message):
        Sequential(Hiding(), Dense(3, 2)).initialize(0)
    with pytest.raises(TypeError, match=message):
        minibnn.check_gradients(Hiding(), np.ones((2, 3)))


@pytest.mark.parametrize("parts", [list, tuple, lambda parts: {"a": parts[0]}])
def test_parts_in_collections_are_refused_not_forgotten(parts):
    class Hidden(Layer):
        def __init__(self):
            self.parts = parts([Dense(3, 3)])

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    with pytest.raises(TypeError, match="'parts'; use an attribute for each"):
        list(Hidden().parameters())


def test_parameters_are_named_by_attribute_and_a_shared_layer_counts_once():
    class Pair(Layer):
        def __init__(self):
            self.a = Parameter("weight", (2,), Fill(1.0))
            self.b = Parameter("weight", (2,), Fill(1.0))
            self.one = self.other = Dense(2, 2, bias=False)

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    assert [n for n, _ in Pair().named_parameters()] == ["a", "b", "one.weight"]


@pytest.mark.parametrize(
    ("make", "hint"),
    [
        (lambda: Sequential(Flatten, Dense(3, 2)), r"write Flatten\(\)"),
        (lambda: Sequential([Flatten(), Dense(3, 2)]), r"write Sequential\(\*layers\)"),
        (lambda: Sequential(Dense(3, 2), SignSTE()), r"write Activation\(SignSTE\(clip=None\)\)"),
        (lambda: Dense(3, 2, weight_quantizer="ste_sign"), r"write an object such as SignSTE\(\)"),
        (lambda: Activation(np.sign), r"write an object such as SignSTE\(\)"),
        (lambda: Conv2D(1, 2, 3, padding=-1), "write padding=1, padding_value=-1"),
        (
            lambda: Conv2D(1, 2, 3).initialize(0).forward(np.ones((9, 9, 1), np.float32)),
            r"x\[None\]",
        ),
        (lambda: Bop(BatchNorm(3).initialize(0).parameters()), r"split_parameters\(model\)"),
        (lambda: minibnn.check_gradients(SignSTE, np.ones((2, 3))), r"write SignSTE\(\)"),
    ],
)
def test_what_newcomers_write_gets_a_hint(make, hint):
    with pytest.raises((TypeError, ValueError), match=hint):
        make()
