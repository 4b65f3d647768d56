"""What layers compute, and what they say when they cannot."""

from __future__ import annotations

import numpy as np
import pytest

import minibnn
from minibnn import (
    Activation,
    BatchNorm,
    Blocked,
    Bop,
    Conv2D,
    Dense,
    Feedback,
    Fill,
    FixedFeedback,
    Flatten,
    Function,
    GlorotUniform,
    Layer,
    Parameter,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    Uniform,
    glorot_lr_scale,
)


def test_dense_by_hand():
    layer = Dense(2, 2, weight_quantizer=SignSTE()).initialize(0)
    layer.weight.data[...] = [[0.3, -0.2], [-0.0, 5.0]]
    layer.bias.data[...] = [10.0, 20.0]
    x = np.array([[1, 2], [3, -1]], np.float32)
    np.testing.assert_array_equal(layer.forward(x, train=True), [[13, 21], [12, 16]])
    dx = layer.backward(np.array([[1, 2], [0, -1]], np.float32))
    np.testing.assert_array_equal(dx, [[-1, 3], [1, -1]])
    np.testing.assert_array_equal(layer.weight.grad, [[1, -1], [2, 5]])
    np.testing.assert_array_equal(layer.bias.grad, [1, 1])


def test_batchnorm_by_hand():
    layer = BatchNorm(1, momentum=0.75, epsilon=1e-12).initialize(0, np.float64)
    layer.gamma.data[...], layer.beta.data[...] = 2.0, 5.0
    y = layer.forward(np.array([[1.0], [3.0]]), train=True)
    np.testing.assert_allclose(y, [[3.0], [7.0]])
    assert layer.running_mean.data[0] == pytest.approx(0.25 * 2)
    assert layer.running_var.data[0] == pytest.approx(0.75 * 1 + 0.25 * 2)  # unbiased: 2, not 1
    evaluated = layer.forward(np.array([[0.5]]))
    np.testing.assert_allclose(evaluated, [[5.0]])


def test_batchnorm_adds_epsilon_to_the_variance():
    layer = BatchNorm(1, epsilon=3.0).initialize(0, np.float64)
    x = np.array([[-1.0], [1.0]])  # variance 1
    np.testing.assert_allclose(layer.forward(x, train=True), [[-0.5], [0.5]])
    layer.running_mean.data[...], layer.running_var.data[...] = 0.0, 1.0
    np.testing.assert_allclose(layer.forward(x), [[-0.5], [0.5]])


def test_batchnorm_evaluation_keeps_small_differences_at_a_large_mean():
    layer = BatchNorm(1, epsilon=1e-12).initialize(0)
    layer.running_mean.data[...], layer.running_var.data[...] = 1000.0, 1e-4
    x = np.array([[1000.0], [1000.015625]], np.float32)  # both exact in float32
    np.testing.assert_allclose(layer.forward(x), [[0.0], [1.5625]], rtol=1e-6)


def test_batchnorm_does_not_hide_an_overflow():
    layer = BatchNorm(1).initialize(0)
    with np.errstate(over="ignore", invalid="ignore"):
        y = layer.forward(np.array([[1e25], [-1e25], [0]], np.float32), train=True)
    assert np.isnan(y).all()
    np.testing.assert_array_equal(layer.running_mean.data, [0])
    np.testing.assert_array_equal(layer.running_var.data, [1])


def test_batchnorm_evaluation_does_not_depend_on_the_batch(rng):
    layer = BatchNorm(3).initialize(0)
    for _ in range(5):
        layer.forward(rng.standard_normal((10, 3)).astype(np.float32) * 3 + 1, train=True)
    x = rng.standard_normal((6, 3)).astype(np.float32)
    whole = layer.forward(x)
    parts = np.concatenate([layer.forward(x[:1]), layer.forward(x[1:])])
    np.testing.assert_allclose(whole, parts, rtol=1e-6)


def test_a_bad_batch_does_not_spoil_running_statistics(backend):
    layer = BatchNorm(2).initialize(0).to(backend)
    for bad in (np.nan, np.inf):
        x = np.array([[1, 2], [bad, 3]], np.float32)
        with np.errstate(invalid="ignore"):
            layer.forward(backend.asarray(x), train=True)
    np.testing.assert_array_equal(backend.to_host(layer.running_mean.data), [0, 0])
    np.testing.assert_array_equal(backend.to_host(layer.running_var.data), [1, 1])


@pytest.mark.parametrize(
    ("scale", "offset", "low", "high"), [(1 / 255, 0, 0, 1), (2 / 255, -1, -1, 1)]
)
def test_rescale_reaches_the_ends_exactly(scale, offset, low, high):
    y = Rescale(scale, offset).forward(np.arange(256, dtype=np.uint8)[None])
    assert y.dtype == np.float32
    assert y[0, 0] == low
    assert y[0, -1] == high
    assert np.all(np.diff(y) > 0)


def test_glorot_uniform_fills_its_range(rng):
    W = GlorotUniform()((300, 100), rng)
    a = np.sqrt(6 / 400)
    assert -a <= W.min() < -0.99 * a
    assert 0.99 * a < W.max() <= a
    assert GlorotUniform()((3, 3, 8, 16), rng).max() <= np.sqrt(6 / (9 * 24))


def test_uniform_fills_its_range(rng):
    W = Uniform()((300, 100), rng)
    assert -1 <= W.min() < -0.99
    assert 0.99 < W.max() < 1


def test_lr_scales_of_the_published_network():
    scales = [glorot_lr_scale(*s) for s in ((784, 4096), (4096, 4096), (4096, 10))]
    assert [round(s, 1) for s in scales] == [57.0, 73.9, 52.3]


X = np.zeros((64, 28, 28), np.float32)
FLAT = X.reshape(64, -1)


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (Dense(784, 128), X, ValueError, r"^Dense\(784 -> 128\): expected x of shape \(batch, 784\), got \(64, 28, 28\); put Flatten\(\) first$"),
        (Dense(784, 128), FLAT[:, :5], ValueError, r"expected x of shape \(batch, 784\), got \(64, 5\)$"),
        (Dense(784, 128), FLAT[0], ValueError, r"expected x of shape \(batch, 784\), got \(784,\)$"),
        (Dense(784, 128), FLAT.astype(np.uint8), TypeError, r"expected x of dtype float32, got uint8; put Rescale\(1 / 255\) first"),
        (Dense(784, 128), FLAT.astype(np.float64), TypeError, r"got float64; use x.astype\('float32'\) or model.to\(dtype='float64'\)"),
        (Dense(784, 128), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (BatchNorm(784), FLAT[:1], ValueError, r"BatchNorm\(784\): expected at least 2 values a channel"),
        (BatchNorm(10), FLAT, ValueError, r"BatchNorm\(10\): expected x of shape \(batch, \.\.\., 10\)"),
        (Flatten(), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (Rescale(2.0), FLAT.tolist(), TypeError, "expected a NumPy or CuPy array, got list"),
        (Rescale(2.0), FLAT.astype(np.float64), TypeError, "expected x of dtype float32, got float64"),
        (Dense(28, 10), X, ValueError, r"expected x of shape \(batch, 28\), got \(64, 28, 28\)"),
        (Flatten(), FLAT[0], ValueError, r"Flatten\(\): expected x of shape \(batch, ...\), got \(784,\)"),
        (Activation(ReLU()), FLAT.astype(np.int64), TypeError, r"Activation\(ReLU\(\)\): expected x of dtype float32, got int64"),
    ],
)  # fmt: skip
def test_bad_input(layer, x, error, message):
    with pytest.raises(error, match=message):
        layer.initialize(0).forward(x, train=True)


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


def test_an_error_in_a_network_says_which_layer():
    model = Sequential(Flatten(), Dense(784, 8), Dense(9, 2)).initialize(0)
    with pytest.raises(ValueError, match="expected x of shape") as caught:
        model.forward(X)
    assert caught.value.__notes__ == ["in layer 2 of Sequential: Dense(9 -> 2)"]


def test_host_array_meets_device_model(device):
    model = Dense(784, 8).initialize(0).to(device)
    with pytest.raises(TypeError, match=f"expected x on its own device, {device.name}, got .* cpu"):
        model.forward(FLAT)


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


def test_sequential_reads_like_its_code():
    model = Sequential(Flatten(), Rescale(0.5), Dense(4, 3), BatchNorm(3), Activation(SignSTE(1.0)))
    assert repr(model) == (
        "Sequential(\n    Flatten(),\n    Rescale(0.5),\n    Dense(4 -> 3),\n"
        "    BatchNorm(3),\n    Activation(SignSTE(clip=1.0)),\n)"
    )
    assert len(model) == 5
    assert [name for name, _ in model.named_parameters()] == [
        "2.weight", "2.bias", "3.gamma", "3.beta",
    ]  # fmt: skip


def test_a_binary_layer_reads_as_one():
    layer = Dense(
        3, 2, weight_quantizer=SignSTE(), feedback=Blocked(), bias=False, weight_bound=1.0
    )
    assert str(layer) == "Dense(3 -> 2)"
    assert repr(layer) == (
        "Dense(3 -> 2, weight_quantizer=SignSTE(clip=None), feedback=Blocked(), bias=False, "
        "weight_bound=1.0)"
    )


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


def test_a_layer_that_forgets_to_return_dx_is_named():
    class Forgetful(Layer):
        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            pass

    model = Sequential(Dense(3, 3), Forgetful()).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    with pytest.raises(TypeError, match=r"Forgetful\(\): expected backward to return dx, got None"):
        model.backward(np.ones((1, 3), np.float32))


def test_feedback_of_the_wrong_shape_is_named():
    class Turned(Feedback):
        def backward_weights(self, W):
            return W.T

    model = Dense(3, 2, feedback=Turned()).initialize(0)
    model.forward(np.ones((1, 3), np.float32), train=True)
    with pytest.raises(
        ValueError, match=r"expected Turned\(\) to give weights of shape \(3, 2\), got"
    ):
        model.backward(np.ones((1, 2), np.float32))


def test_rescale_keeps_float32_with_a_numpy_scale():
    assert Rescale(np.float64(2)).forward(np.ones((1, 2), np.float32)).dtype == np.float32


def test_initialisers_are_copied():
    mine = np.zeros((2, 2), np.float32)
    layer = Dense(2, 2, weight_init=lambda shape, rng: mine).initialize(0)
    layer.weight.data[...] = 1
    assert not mine.any()


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


def test_a_dense_of_ones_own_keeps_its_buffers():
    class Counting(Dense):
        def __init__(self):
            super().__init__(3, 2, feedback=FixedFeedback())
            self.norm = BatchNorm(2)

    names = [b.name for b in Counting().buffers()]
    assert names == ["running_mean", "running_var", "feedback"]


def test_the_layers_of_a_sequential_are_fixed():
    model = Sequential(Dense(3, 2))
    with pytest.raises(AttributeError):
        model.layers = (Flatten(), *model.layers)


class Float64Sign(Function):
    """What everyone writes first: NumPy makes float64 of two Python numbers."""

    def forward(self, x):
        return np.where(x >= 0, 1.0, -1.0)

    def backward(self, dy, x):
        return dy


@pytest.mark.parametrize(
    "layer", [Activation(Float64Sign()), Dense(3, 2, weight_quantizer=Float64Sign())]
)
@pytest.mark.parametrize("train", [False, True])
def test_a_function_that_changes_the_dtype_is_named(layer, train):
    with pytest.raises(
        TypeError,
        match=r"Float64Sign\(\).*float32, got float64; end its forward"
        if isinstance(layer, Dense)
        else r"Float64Sign.*got float64; end its forward",
    ):
        layer.initialize(0).forward(np.ones((2, 3), np.float32), train=train)


@pytest.mark.parametrize(
    ("make", "mend"),
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
def test_what_newcomers_write_gets_a_mend(make, mend):
    with pytest.raises((TypeError, ValueError), match=mend):
        make()


@pytest.mark.parametrize(
    ("saved", "got"),
    [
        (lambda x: x, "ndarray"),
        (lambda x: x.shape, "tuple of int, int"),
        (lambda x: (x,), "tuple of ndarray"),
        (lambda x: (x, x.shape), "tuple of ndarray, tuple"),
        (lambda x: [x], "list of ndarray"),
        (lambda x: {"x": x}, "dict"),
        (lambda x: (), "tuple of nothing"),
        (lambda x: True, "bool"),
    ],
)
def test_another_saved_than_a_shape_and_what_backward_needs(saved, got):
    class Own(Layer):
        def forward(self, x, *, train=False):
            self.saved = saved(x)
            return x

        def backward(self, dy, *, need_dx=True):
            self.take_saved(dy)
            return dy

    layer, x = Own().initialize(0), np.ones((2, 3), np.float32)
    layer.forward(x, train=True)
    expected = (
        rf"Own\(\): expected forward to leave a tuple in self.saved, .*, got {got}; "
        r"write self.saved = \(y.shape, x\)"
    )
    with pytest.raises(TypeError, match=expected):
        layer.backward(x)
