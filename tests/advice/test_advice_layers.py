"""Hints of backend, functions, layers, losses and optimisers, followed to the letter.

Each test makes an ordinary mistake, follows the hint, and checks the result.
"""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from advice import advised
from devices import STRICT

from minibnn import (
    SGD,
    Activation,
    Adam,
    AveragePool2D,
    BatchNorm,
    BinaryCrossEntropy,
    Bop,
    Concatenate,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    Fill,
    Flatten,
    Function,
    Hinge,
    Layer,
    LogitCrossEntropy,
    Loss,
    MagnitudeAwareSign,
    MaxPool2D,
    MeanSquaredError,
    OptimizerGroup,
    Parameter,
    Radial,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    StochasticSign,
    Uniform,
    evaluate,
    fit,
    one_hot,
    split_parameters,
)
from minibnn.backend import CPU, backend_of
from minibnn.checks import require
from minibnn.functions import sign


def ones(*shape, dtype=np.float32):
    return np.ones(shape, dtype)


# --- arrays and devices ---------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", [[[1.0, 2.0]], ((3.0, 4.0),), range(2)])
def test_what_is_no_array_is_converted(wrong):
    with advised("backend", "convert it with numpy.asarray"):
        Flatten().forward(wrong)
    x = np.asarray(wrong)
    assert backend_of(x) is CPU
    assert np.array_equal(Reshape((x.size // len(x),)).forward(x).ravel(), x.ravel())


class Sparse:
    """As SciPy's sparse matrices, which NumPy would put into an array of one object."""

    def toarray(self):
        return np.eye(2, dtype=np.float32)


def test_sparse_matrices_are_made_dense():
    with advised("backend", "convert it with toarray()"):
        DataLoader((Sparse(), np.arange(2)), 1)
    assert DataLoader((Sparse().toarray(), np.arange(2)), 1).samples == 2


@pytest.mark.filterwarnings("ignore:the matrix subclass")
def test_arrays_that_compute_otherwise_are_made_plain():
    x = np.ma.masked_array(np.ones((2, 3), np.float32), mask=[[1, 0, 0], [0, 0, 0]])
    model = Dense(3, 2).initialize(0)
    value = 0
    with advised("backend", "replace the masked values: a.filled(value)"):
        model.forward(x)
    right = model.forward(np.array([[0, 1, 1], [1, 1, 1]], np.float32))
    assert np.array_equal(model.forward(x.filled(value)), right)
    with advised("backend", "convert it with numpy.asarray"):
        model.forward(np.matrix(x.filled(value)))
    assert np.array_equal(model.forward(np.asarray(np.matrix(x.filled(value)))), right)


def test_an_array_of_a_device_is_transferred_on_purpose():
    there = STRICT.asarray(ones(2))
    STRICT.xp.cuda.get_current_stream().synchronize()
    with advised("backend", "transfer it on purpose with backend_of(a).to_host(a)"):
        CPU.asarray(there)
    assert CPU.asarray(backend_of(there).to_host(there)).tolist() == [1, 1]


def test_what_lies_on_two_devices_is_moved_to_one():
    model, x = Dense(3, 2).initialize(0), ones(4, 3)
    right = model.forward(x)
    with advised("layers", "move one of them: model.to({}) or the loader's to()") as caught:
        model.forward(STRICT.asarray(x))
    assert "model.to('strict')" in caught.text
    loader = DataLoader((STRICT.asarray(x), STRICT.asarray(np.zeros(4, int))), 4)
    (x_there, _), *_ = loader
    assert np.array_equal(STRICT.to_host(model.to(STRICT).forward(x_there)), right)
    (x_here, _), *_ = loader.to("cpu")
    assert np.array_equal(model.to("cpu").forward(x_here), right)


# --- dtypes and shapes of x -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4", ">f8", "U3", "O"])
def test_x_of_a_dtype_that_no_model_has_is_converted(dtype):
    x = np.array([[1, 0, 2], [0, 1, 0.5]]).astype(dtype)
    model = Dense(3, 2).initialize(0)
    with advised("layers", "use x.astype({})") as caught:
        model.forward(x)
    assert "use x.astype('float32')" in caught.text
    assert "model.to" not in caught.text
    right = model.forward(np.array([[1, 0, 2], [0, 1, 0.5]], np.float32))
    assert np.array_equal(model.forward(x.astype("float32")), right)


@pytest.mark.parametrize(("ours", "theirs"), [("float32", "float64"), ("float64", "float32")])
def test_x_of_the_other_float_is_converted_or_the_model_is(ours, theirs):
    model = Dense(3, 2).initialize(0, ours)
    x = ones(4, 3, dtype=theirs)
    with advised("layers", "use x.astype({}) or model.to(dtype={})") as caught:
        model.forward(x)
    assert f"x.astype('{ours}') or model.to(dtype='{theirs}')" in caught.text
    y = model.forward(x.astype(ours))
    assert np.allclose(model.to(dtype=theirs).forward(x), y)
    assert model.forward(x).dtype == theirs


def test_pixels_are_rescaled():
    images = np.array([[0, 51, 255]], np.uint8)
    dense = Dense(3, 2)
    with advised(
        "layers",
        "put Rescale(1 / 255) first if these are pixels, else use x.astype({})",
    ):
        dense.initialize(0).forward(images)
    y = Sequential(Rescale(1 / 255), dense).initialize(0).forward(images)
    assert np.allclose(y, np.array([[0, 0.2, 1]]) @ dense.weight.data)


@pytest.mark.parametrize("dtype", ["int64", "int8", "bool"])
def test_whole_numbers_of_a_table_are_converted(dtype):
    x = np.array([[0, 1, 1]], dtype)
    model = Dense(3, 2).initialize(0)
    with advised(
        "layers",
        "put Rescale(1 / 255) first if these are pixels, else use x.astype({})",
    ) as caught:
        model.forward(x)
    assert "x.astype('float32')" in caught.text
    assert np.allclose(model.forward(x.astype("float32")), x @ model.weight.data)


def test_complex_numbers_get_no_advice_that_drops_half_of_them():
    with pytest.raises(TypeError, match=r"got complex64$"):
        Dense(3, 2).initialize(0).forward(ones(1, 3, dtype=np.complex64))


def test_images_are_flattened_where_that_helps():
    images = ones(5, 4, 4)
    dense = Dense(16, 2)
    with advised("layers", "put Flatten() first"):
        dense.initialize(0).forward(images)
    y = Sequential(Flatten(), dense).initialize(0).forward(images)
    assert np.allclose(y, images.reshape(5, 16) @ dense.weight.data)
    with pytest.raises(ValueError, match=r"got \(5, 4, 4\)$"):  # 16 values do not fit 10
        Dense(10, 2).initialize(0).forward(images)


def test_a_table_has_two_axes():
    images = ones(5, 6, 6, 3)
    with advised("layers", "put Flatten() first, and give the layer {} inputs") as caught:
        Dense(3, 2).initialize(0).forward(images)
    assert "give the layer 108 inputs" in caught.text
    assert Sequential(Flatten(), Dense(108, 2)).initialize(0).forward(images).shape == (5, 2)
    with advised("layers", "for a single sample use x[None]"):
        Dense(3, 2).initialize(0).forward(ones(3))
    assert Dense(3, 2).initialize(0).forward(ones(3)[None]).shape == (1, 2)
    with advised("layers", "for one number a sample use x[:, None]"):
        Dense(1, 2).initialize(0).forward(ones(5))
    assert Dense(1, 2).initialize(0).forward(ones(5)[:, None]).shape == (5, 2)


def test_images_get_a_channel_axis():
    images = ones(2, 5, 6)
    conv = Conv2D(1, 4, 3)
    with advised("layers", "images need a channel axis: put Reshape({}) first") as caught:
        conv.initialize(0).forward(images)
    assert "Reshape((5, 6, 1))" in caught.text
    model = Sequential(Reshape((5, 6, 1)), conv).initialize(0)
    assert np.array_equal(model.forward(images), conv.forward(images[..., None]))
    with advised("layers", ", and make the layer's {} channels one") as caught:
        Conv2D(3, 4, 3).initialize(0).forward(images)
    assert "put Reshape((5, 6, 1)) first, and make the layer's 3 channels one" in caught.text


def test_a_single_image_is_made_a_batch():
    conv = Conv2D(3, 4, 3).initialize(0)
    image = ones(5, 6, 3)
    with advised("layers", "for a single image, give a batch of one: x[None]"):
        conv.forward(image)
    assert conv.forward(image[None]).shape == (1, 3, 4, 4)


def test_rows_of_pixels_are_reshaped_to_images():
    rows = ones(2, 5 * 6 * 3)
    with advised(
        "layers",
        "images have rows, columns and channels: put Reshape((height, width, channels)) first",
    ):
        Conv2D(3, 4, 3).initialize(0).forward(rows)
    model = Sequential(Reshape((5, 6, 3)), Conv2D(3, 4, 3)).initialize(0)
    assert model.forward(rows).shape == (2, 3, 4, 4)


def test_channels_are_moved_to_the_last_axis():
    rng = np.random.default_rng(0)
    images = rng.random((2, 5, 6, 3), dtype=np.float32)
    x = np.ascontiguousarray(images.transpose(0, 3, 1, 2))  # as PyTorch has them
    conv = Conv2D(3, 4, 3).initialize(0)
    with advised("layers", "channels are the last axis: x.transpose(0, 2, 3, 1)"):
        conv.forward(x)
    assert np.array_equal(conv.forward(x.transpose(0, 2, 3, 1)), conv.forward(images))


def test_windows_that_reach_too_far_are_made_smaller_or_padded():
    images = ones(2, 3, 3, 1)
    with advised("layers", "use smaller windows or padding"):
        Conv2D(1, 2, 5).initialize(0).forward(images)
    assert Conv2D(1, 2, 3).initialize(0).forward(images).shape == (2, 1, 1, 2)
    assert Conv2D(1, 2, 5, padding=1).initialize(0).forward(images).shape == (2, 1, 1, 2)


@pytest.mark.parametrize("pool", [MaxPool2D, AveragePool2D])
def test_windows_of_a_pool_are_made_smaller_for_it_has_no_padding(pool):
    with advised("layers", "use smaller windows") as caught:
        pool(5).forward(ones(2, 3, 3, 1))
    assert "padding" not in caught.text
    assert pool(3).forward(ones(2, 3, 3, 1)).tolist() == ones(2, 1, 1, 1).tolist()


# --- signals --------------------------------------------------------------------------------------


def test_signals_get_their_three_axes():
    conv = Conv1D(3, 4, 3).initialize(0)
    signal = ones(8, 3)
    with advised(
        "layers",
        "for a single signal, give a batch of one: x[None]; for a batch of signals, put "
        "Reshape({}) first, and make the layer's channels one",
    ) as caught:
        conv.forward(signal)
    assert "put Reshape((3, 1)) first" in caught.text
    flat = Sequential(Reshape((3, 1)), Conv1D(1, 4, 3)).initialize(0)
    assert flat.forward(signal).shape == (8, 1, 4)
    right = conv.forward(signal[None])
    with advised("layers", "put Reshape(({}, {})) first") as caught:
        conv.forward(ones(1, 24))
    assert "put Reshape((8, 3)) first" in caught.text
    model = Sequential(Reshape((8, 3)), conv).initialize(0)
    assert np.array_equal(model.forward(ones(1, 24)), right)
    with advised("layers", "channels are the last axis: x.transpose(0, 2, 1)"):
        conv.forward(ones(1, 3, 8))
    np.testing.assert_allclose(conv.forward(ones(1, 3, 8).transpose(0, 2, 1)), right, rtol=1e-5)


def test_windows_on_signals():
    with advised("layers", "use smaller windows or padding"):
        Conv1D(1, 2, 5).initialize(0).forward(ones(2, 3, 1))
    assert Conv1D(1, 2, 3).initialize(0).forward(ones(2, 3, 1)).shape == (2, 1, 2)
    assert Conv1D(1, 2, 5, padding=1).initialize(0).forward(ones(2, 3, 1)).shape == (2, 1, 2)
    with advised("layers", "give the padding as a number"):
        Conv1D(1, 2, 3, stride=2, padding="same")
    conv = Conv1D(1, 2, 3, stride=2, padding=1).initialize(0)
    assert conv.forward(ones(1, 6, 1)).shape == (1, 3, 2)
    with advised("layers", "for a padding of -1 write padding=1, padding_value=-1"):
        Conv1D(1, 1, 3, padding=-1)
    conv = Conv1D(1, 1, 3, padding=1, padding_value=-1, bias=False).initialize(0)
    W = conv.weight.data[:, 0, 0]
    assert np.allclose(conv.forward(ones(1, 1, 1)), 2 * W[1] - W.sum(), atol=1e-6)


# --- branches -------------------------------------------------------------------------------------


def test_features_that_change_get_a_dense_shortcut():
    with advised("layers", "pass shortcut=Dense({}, {})") as caught:
        Residual(Dense(4, 3)).initialize(0).forward(ones(2, 4))
    assert "shortcut=Dense(4, 3)" in caught.text
    assert Residual(Dense(4, 3), Dense(4, 3)).initialize(0).forward(ones(2, 4)).shape == (2, 3)


@pytest.mark.parametrize(
    ("block", "shape"),
    [
        (Conv2D(2, 3, 3, padding=1), (5, 6, 2)),
        (Conv2D(2, 3, 4, stride=3, padding=2), (7, 8, 2)),
        (Conv2D(2, 2, 3, stride=(1, 2), padding=1), (5, 6, 2)),
        (Conv2D(2, 2, 5), (5, 5, 2)),  # to one pixel
        (Conv1D(2, 3, 3, stride=2, padding=1), (9, 2)),
    ],
)
def test_channels_and_strides_get_a_shortcut_of_one_pixel(block, shape):
    x = ones(2, *shape)
    with advised("layers", "pass shortcut={}({}, {}, 1{})") as caught:
        Residual(block).initialize(0).forward(x)
    shortcut = eval(caught.text.partition("shortcut=")[2])
    layer = Residual(block, shortcut=shortcut).initialize(0)
    assert np.array_equal(layer.forward(x), block.forward(x) + shortcut.forward(x))


def test_a_block_that_crops_its_input_is_padded_or_pooled():
    x = ones(2, 6, 7, 1)
    with advised("layers", 'use padding="same" in the block, or an AveragePool2D as the shortcut'):
        Residual(Conv2D(1, 1, 3)).initialize(0).forward(x)
    assert Residual(Conv2D(1, 1, 3, padding="same")).initialize(0).forward(x).shape == x.shape
    with advised("layers", 'use padding="same" in the block'):
        Residual(Conv1D(1, 1, 3)).initialize(0).forward(ones(2, 6, 1))
    layer = Residual(Conv1D(1, 1, 3, padding="same")).initialize(0)
    assert layer.forward(ones(2, 6, 1)).shape == (2, 6, 1)
    pool = AveragePool2D(3, stride=1)
    assert Residual(Conv2D(1, 1, 3), pool).initialize(0).forward(x).shape == (2, 4, 5, 1)


def test_a_block_keeps_the_number_of_axes():
    block = Sequential(Flatten(), Dense(12, 12))
    with advised("layers", "end the block with a layer that keeps the number of axes"):
        Residual(block).initialize(0).forward(ones(2, 3, 4))
    layer = Residual(Sequential(block, Reshape((3, 4)))).initialize(0)
    assert layer.forward(ones(2, 3, 4)).shape == (2, 3, 4)


def test_branches_have_one_size_or_are_flattened():
    x = ones(2, 6, 6, 1)
    with advised("layers", "give them the same strides and padding, or end each with Flatten()"):
        Concatenate(Conv2D(1, 2, 3), Conv2D(1, 2, 5)).initialize(0).forward(x)
    same = Concatenate(Conv2D(1, 2, 3, padding=1), Conv2D(1, 2, 5, padding=2)).initialize(0)
    assert same.forward(x).shape == (2, 6, 6, 4)
    flat = [Sequential(Conv2D(1, 2, n), Flatten()) for n in (3, 5)]
    assert Concatenate(*flat).initialize(0).forward(x).shape == (2, 32 + 8)


def test_branches_are_given_one_by_one():
    branches = [Dense(3, 2), Flatten()]
    with advised("layers", "write Concatenate(*branches)"):
        Concatenate(branches)
    assert Concatenate(*branches).branches == tuple(branches)
    with advised("layers", "write Sequential(*layers)"):
        Residual(branches)
    with advised("layers", "write Activation({})"):
        Residual(SignSTE())
    with advised("layers", "make a new object for each place"):
        Residual(branches[0], branches[0])
    assert Residual(Dense(3, 2), Dense(3, 2)).shortcut is not None


# --- making layers --------------------------------------------------------------------------------


def test_a_padding_of_minus_one():
    with advised("layers", "for a padding of -1 write padding=1, padding_value=-1"):
        Conv2D(1, 1, 3, padding=-1)
    conv = Conv2D(1, 1, 3, padding=1, padding_value=-1, bias=False).initialize(0)
    W = conv.weight.data[..., 0, 0]
    assert np.allclose(conv.forward(ones(1, 1, 1, 1)), 2 * W[1, 1] - W.sum(), atol=1e-6)


def test_same_padding_of_a_stride_is_a_number():
    with advised("layers", "give the padding as a number"):
        Conv2D(1, 2, 3, stride=2, padding="same")
    conv = Conv2D(1, 2, 3, stride=2, padding=1).initialize(0)
    assert conv.forward(ones(1, 6, 6, 1)).shape == (1, 3, 3, 2)


@pytest.mark.parametrize(
    ("build", "right"),
    [
        (lambda f: Dense(3, 2, weight_quantizer=f), SignSTE()),
        (lambda f: Activation(f), SignSTE()),
        (lambda f: Conv2D(1, 2, 3, weight_quantizer=f), SignSTE()),
    ],
)
def test_a_class_is_made_an_object(build, right):
    with advised("checks", "write {}()") as caught:
        build(SignSTE)
    assert "write SignSTE()" in caught.text
    assert repr(right) in repr(build(SignSTE()))
    with advised("checks", "write an object such as SignSTE(), or a Function of your own"):
        build("ste_sign")
    assert repr(right) in repr(build(SignSTE()))
    with advised("checks", "write an object such as SignSTE(), or a Function of your own"):
        build(np.tanh)

    class MyTanh(Function):
        def forward(self, x):
            return np.tanh(x)

        def backward(self, dy, x):
            return dy * (1 - np.tanh(x) ** 2)

    assert "MyTanh()" in repr(build(MyTanh()))


def test_a_class_of_another_kind_gets_no_advice():
    with pytest.raises(TypeError, match=r"got the class Dropout$"):
        Activation(Dropout)
    with pytest.raises(TypeError, match=r"got the class Dense$"):
        Dense(3, 2, weight_quantizer=Dense)


def test_a_class_with_arguments_is_made_with_them():
    model = Dense(3, 2).initialize(0)
    data = DataLoader((ones(4, 3), np.array([0, 1, 0, 1])), 2)
    with advised("checks", "write {}({})") as caught:
        fit(model, data, data, loss=LogitCrossEntropy(), optimizer=Adam, epochs=1)
    assert "write Adam(parameters)" in caught.text
    optimizer = Adam(parameters=model.parameters())
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    with advised("checks", "write {}({})") as caught:
        require("x", "model", Dense, Layer)
    assert "write Dense(in_features, out_features)" in caught.text
    assert require("x", "model", Dense(in_features=3, out_features=2), Layer)
    with advised("checks", "write {}()"):
        evaluate(model, data, LogitCrossEntropy)
    assert 0 <= evaluate(model, data, LogitCrossEntropy()).accuracy <= 1


def test_nobody_is_told_to_make_an_object_of_an_abstract_class():
    model = Dense(3, 2).initialize(0)
    data = DataLoader((ones(4, 3), np.array([0, 1, 0, 1])), 2)
    with pytest.raises(TypeError, match=r"got the class Loss$"):
        evaluate(model, data, Loss)
    with pytest.raises(TypeError, match=r"at position 0$"):
        Sequential(Layer)


def test_what_is_no_layer_is_made_one():
    dense = Dense(3, 2)
    with advised("layers", "write Activation({})") as caught:
        Sequential(dense, SignSTE(clip=1.0))
    assert "write Activation(SignSTE(clip=1.0))" in caught.text
    assert Sequential(dense, Activation(SignSTE(clip=1.0))).initialize(0).forward(ones(1, 3)).size
    with advised("layers", "write Sequential(*layers)"):
        Sequential([dense])
    assert Sequential(*[dense])[0] is dense
    with advised("layers", "write {}()") as caught:
        Sequential(Flatten, dense)
    assert "write Flatten()" in caught.text
    assert len(Sequential(Flatten(), dense)) == 2
    with advised("layers", "write {}({})") as caught:
        Sequential(Flatten(), Dense)
    assert "write Dense(in_features, out_features)" in caught.text
    assert Sequential(Flatten(), Dense(in_features=3, out_features=2))
    with advised("layers", "write Activation({}())") as caught:
        Sequential(dense, SignSTE)
    assert "write Activation(SignSTE())" in caught.text
    assert Sequential(dense, Activation(SignSTE()))


def test_each_place_gets_an_object_of_its_own():
    sign = Activation(SignSTE())
    with advised("layers", "make a new object for each place"):
        Sequential(Dense(3, 3), sign, Dense(3, 2), sign)
    model = Sequential(Dense(3, 3), sign, Dense(3, 2), Activation(SignSTE())).initialize(0)
    assert set(model.forward(ones(4, 3)).ravel()) <= {-1, 1}


class Branches(Layer):
    """The sum of two layers' outputs."""

    def __init__(self, inside):
        self.__dict__.update(inside)

    def forward(self, x, *, train=False):
        return sum(layer.forward(x, train=train) for layer in self.layers())

    def backward(self, dy, *, need_dx=True):
        return sum(layer.backward(dy) for layer in self.layers())

    def layers(self):
        return self.children()


class Named(Branches):
    def named_children(self):
        return ((str(i), layer) for i, layer in enumerate(self.all))


def test_layers_in_a_list_are_named():
    def two():
        return Dense(3, 2), Dense(3, 2)

    with advised(
        "layers",
        "use an attribute for each, a Sequential, or override named_children",
    ):
        Branches({"all": list(two())}).initialize(0).to("cpu")
    one, other = two()
    ways = [Branches({"one": one, "other": other}), Named({"all": list(two())})]
    ways.append(Branches({"all": Sequential(*two())}))
    for model in ways:
        assert sum(p.size for p in model.initialize(0).parameters()) == 16


def test_values_are_drawn_first():
    for model, x in [
        (Dense(3, 2), ones(2, 3)),
        (Sequential(Flatten(), BatchNorm(3)), ones(2, 3)),
        (Radial(3, 2), ones(2, 3)),
    ]:
        with advised("layers", "call model.initialize(rng) first"):
            model.forward(x)
        rng = np.random.default_rng(0)
        assert np.isfinite(model.initialize(rng).forward(x)).all()
    with advised("random_stream", "call model.initialize(rng) first"):
        Dropout(0.5).forward(ones(2, 3), train=True)
    y = Dropout(0.5).initialize(np.random.default_rng(0)).forward(ones(20, 30), train=True)
    assert 0.4 < (y == 0).mean() < 0.6
    blocks = DirectFeedback(Activation(SignSTE()), Activation(SignSTE()))
    with advised("layers", "call model.initialize(rng) first"):
        blocks.forward(ones(2, 3), train=True)
    blocks.initialize(np.random.default_rng(0)).forward(ones(2, 3), train=True)
    assert blocks.backward(ones(2, 3)).shape == (2, 3)


def test_a_stochastic_sign_is_given_a_seed():
    with advised(
        "functions",
        "call model.initialize(rng), or outside a layer the function's own initialize(rng)",
    ):
        Activation(StochasticSign()).forward(ones(2, 3), train=True)
    y = Activation(StochasticSign()).initialize(np.random.default_rng(0))
    assert set(y.forward(0 * ones(9, 9), train=True).ravel()) == {-1, 1}
    f = StochasticSign()
    f.initialize(np.random.default_rng(0))
    assert set(f.train_forward(0 * ones(9, 9)).ravel()) == {-1, 1}


def test_a_mean_over_channels_wants_channels():
    with advised("functions", "one channel is x[:, None]"):
        MagnitudeAwareSign().forward(np.array(2.0, np.float32))
    x = np.array([1.0, -3.0], np.float32)
    with advised("functions", "one channel is x[:, None]"):
        MagnitudeAwareSign().forward(x)
    assert MagnitudeAwareSign().forward(x[:, None]).tolist() == [[2], [-2]]


def test_feedback_fits_samples_of_one_size():
    model = DirectFeedback(
        Sequential(Conv2D(1, 2, 3)), Sequential(Activation(SignSTE()))
    ).initialize(0)
    model.forward(ones(2, 5, 5, 1), train=True)
    model.forget()
    with advised("layers", "feed samples of one size, or call initialize(rng) again"):
        model.forward(ones(2, 6, 6, 1), train=True)
    model.forward(ones(2, 5, 5, 1), train=True)
    assert model.backward(ones(2, 3, 3, 2)).shape == (2, 5, 5, 1)
    model.initialize(np.random.default_rng(0)).forward(ones(2, 6, 6, 1), train=True)
    assert model.backward(ones(2, 4, 4, 2)).shape == (2, 6, 6, 1)


class Wide(Function):
    def __init__(self, way):
        self.way = way

    def forward(self, x):
        if self.way == "astype":
            return (np.where(x < 0, -1.0, 1.0)).astype(x.dtype)
        if self.way == "sign":
            return sign(x)
        return np.where(x < 0, -1.0, 1.0)  # float64

    def backward(self, dy, x):
        return dy


def test_a_function_keeps_the_dtype():
    x = np.array([[1, -2]], np.float32)
    with advised(
        "layers",
        "end its forward with .astype(x.dtype), or use minibnn.functions.sign",
    ):
        Activation(Wide("")).forward(x)
    with advised(
        "layers",
        "end its forward with .astype(x.dtype), or use minibnn.functions.sign",
    ):
        Dense(2, 1, weight_quantizer=Wide("")).initialize(0).forward(x)
    for way in ("astype", "sign"):
        assert Activation(Wide(way)).forward(x).tolist() == [[1, -1]]
        assert Dense(2, 1, weight_quantizer=Wide(way)).initialize(0).forward(x).item() in (
            -3,
            -1,
            1,
            3,
        )


def test_batch_norm_gets_two_values():
    advice = "use another batch size, or drop_last=True"
    model = BatchNorm(3).initialize(0)
    x = np.random.default_rng(0).random((65, 3), dtype=np.float32)

    def train(loader):
        for (batch,) in loader:
            model.forward(batch, train=True)
        return len(loader)

    with advised("layers", "use another batch size, or drop_last=True"):
        train(DataLoader((x,), 64))
    assert train(DataLoader((x,), 63)) == 2, advice
    assert train(DataLoader((x,), 64, drop_last=True)) == 1


def test_a_forward_before_each_backward():
    model = Dense(3, 2).initialize(0)
    model.forward(ones(4, 3))
    with advised("layers", "{}: backward needs a forward(x, train=True) before it, one for each"):
        model.backward(ones(4, 2))
    for _ in range(2):
        model.forward(ones(4, 3), train=True)
        model.backward(ones(4, 2))
    assert (model.weight.grad == 4).all()
    loss = LogitCrossEntropy()
    with advised("losses", "{}: backward needs a forward before it"):
        loss.backward()
    loss.forward(ones(1, 2), np.array([0]))
    assert loss.backward().tolist() == [[-0.5, 0.5]]


class Keeps(Layer):
    """y = 2 x; it saves what backward needs, or something else."""

    def __init__(self, wrong):
        self.wrong = wrong

    def forward(self, x, *, train=False):
        y = 2 * x
        if train:
            self.saved = self.wrong(x) if self.wrong else (y.shape, x)
        return y

    def backward(self, dy, *, need_dx=True):
        (_x,) = self.take_saved(dy)
        return 2 * dy


@pytest.mark.parametrize("wrong", [lambda x: x, lambda x: (x,), lambda x: [x, x], lambda x: 3])
def test_what_backward_needs_stands_behind_the_shape(wrong):
    model = Keeps(wrong)
    model.forward(ones(2, 3), train=True)
    with advised("layers", "write self.saved = (y.shape, x)"):
        model.backward(ones(2, 3))
    model = Keeps(None)
    model.forward(ones(2, 3), train=True)
    assert (model.backward(ones(2, 3)) == 2).all()


def test_the_summary_needs_a_shape():
    model = Sequential(Flatten(), Activation(SignSTE()))
    with advised("inspection", "pass one sample's, such as model.summary((28, 28))"):
        model.summary()
    assert "(784,)" in str(model.summary((28, 28)))
    with advised(
        "inspection",
        "pass one sample's, such as model.summary((28, 28)); its layers suggest {}, which does not "
        "fit",
    ):
        Sequential(Conv2D(1, 2, 3), Flatten(), Dense(2, 2)).summary()
    odd = Sequential(Conv2D(1, 2, 3), Flatten(), Dense(2, 2))
    assert odd.summary((3, 3, 1)).macs["float"] == 22
    with advised(
        "inspection",
        "summary: expected input_shape to be one sample's shape, such as (28, 28), got {}",
    ):
        model.summary(784)
    assert "(784,)" in str(model.summary((28, 28)))


# --- losses and labels ----------------------------------------------------------------------------

LOSSES = [LogitCrossEntropy(), Hinge()]
LOGITS = np.array([[2, 1, 0], [0, 2, 1], [0, 0, 3], [1, 0, 0]], np.float32)
CLASSES = np.array([0, 1, 2, 0])


def value(loss, labels):
    return float(loss.forward(LOGITS, labels))


@pytest.mark.parametrize("loss", LOSSES, ids=repr)
class TestLabels:
    def test_two_classes_have_two_outputs(self, loss):
        labels, one = CLASSES % 2, Dense(3, 1).initialize(0)
        with advised(
            "losses",
            "for two classes end the model in a layer with 2 outputs, or use BinaryCrossEntropy() "
            "with one; to predict numbers use MeanSquaredError()",
        ):
            loss.forward(one.forward(LOGITS), labels)
        model = Dense(3, 2).initialize(0)
        assert np.isfinite(loss.forward(model.forward(LOGITS), labels))
        for other in (BinaryCrossEntropy(), MeanSquaredError()):
            assert np.isfinite(other.forward(one.forward(LOGITS), labels))

    def test_a_column_is_made_a_vector(self, loss):
        with advised("losses", "use labels.ravel()"):
            value(loss, CLASSES[:, None])
        assert value(loss, CLASSES[:, None].ravel()) == value(loss, CLASSES)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
    def test_whole_floats_are_converted(self, loss, dtype):
        labels = CLASSES.astype(dtype)
        with advised("losses", "use labels.astype('int64')"):
            value(loss, labels)
        assert value(loss, labels.astype("int64")) == value(loss, CLASSES)

    def test_booleans_are_converted(self, loss):
        labels = CLASSES > 0
        with advised("losses", "use labels.astype('int64')"):
            value(loss, labels)
        assert value(loss, labels.astype("int64")) == value(loss, np.array([0, 1, 1, 0]))

    @pytest.mark.parametrize(
        "labels",
        [
            np.array(["ant", "bee", "cow", "ant"]),
            np.array(["ant", "bee", "cow", "ant"], object),
            np.array([b"1", b"2", b"3", b"1"]),
            np.array([0.5, 1.5, 2.5, 0.5]),
            np.array(["2020-01", "2020-02", "2020-03", "2020-01"], "datetime64[M]"),
        ],
        ids=lambda a: str(a.dtype),
    )
    def test_names_are_numbered(self, loss, labels):
        advice = "names, labels = numpy.unique(labels, return_inverse=True) numbers them"
        with advised(
            "losses",
            "names, labels = numpy.unique(labels, return_inverse=True) numbers them",
        ):
            value(loss, labels)
        names, labels = np.unique(labels, return_inverse=True)
        assert value(loss, labels) == value(loss, CLASSES), advice
        assert len(names) == 3

    def test_classes_are_counted_from_zero(self, loss):
        advice = "classes are counted from 0, and the last layer has one output for each"
        with advised(
            "losses",
            "classes are counted from 0, and the last layer has one output for each",
        ):
            value(loss, CLASSES + 1)
        assert value(loss, CLASSES + 1 - 1) == value(loss, CLASSES), advice
        wide = Dense(3, 4).initialize(0)  # one more class, one more output
        assert np.isfinite(loss.forward(wide.forward(LOGITS), CLASSES + 1))

    def test_rows_are_divided_by_their_sum(self, loss):
        rows = np.array([[2, 1, 1]] * 4, np.float32)
        with advised(
            "losses", "divide each row by its sum; to predict numbers use MeanSquaredError()"
        ):
            value(loss, rows)
        assert np.isfinite(value(MeanSquaredError(), rows))
        right = value(loss, np.array([[0.5, 0.25, 0.25]] * 4, np.float32))
        assert value(loss, rows / rows.sum(axis=1, keepdims=True)) == right

    def test_rows_of_signs_become_classes(self, loss):
        rows = 2 * one_hot(CLASSES, 3) - 1  # as BinaryNet's code has them
        with advised(
            "losses",
            "for one class a row use labels.argmax(axis=1); to predict numbers use "
            "MeanSquaredError()",
        ):
            value(loss, rows)
        assert value(loss, rows.argmax(axis=1)) == value(loss, CLASSES)
        assert np.isfinite(value(MeanSquaredError(), rows))

    def test_several_labels_a_row_have_a_loss_of_their_own(self, loss):
        rows = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 0], [1, 1, 1]])
        with advised("losses", "for several labels a row use BinaryCrossEntropy()"):
            value(loss, rows)
        assert np.isfinite(value(BinaryCrossEntropy(), rows))

    def test_numbers_have_a_loss_of_their_own(self, loss):
        numbers = np.array([0.25, 1.5, -3.0, 2.0])
        with advised("losses", "to predict numbers use MeanSquaredError() and one output"):
            value(loss, numbers)
        outputs = Dense(3, 1).initialize(0).forward(LOGITS)
        assert np.isfinite(MeanSquaredError().forward(outputs, numbers))

    def test_rows_of_zeros_are_left_out(self, loss):
        rows = one_hot(CLASSES, 3)
        rows[1] = 0
        with advised("losses", "leave out the rows that sum to 0"):
            value(loss, rows)
        kept = rows.sum(axis=1) != 0
        assert float(loss.forward(LOGITS[kept], rows[kept])) == float(
            loss.forward(LOGITS[kept], CLASSES[kept])
        )

    def test_the_loader_is_moved(self, loss):
        data = DataLoader((LOGITS, CLASSES), 4)
        with advised("losses", "move the loader with to()"):
            loss.forward(STRICT.asarray(LOGITS), CLASSES)
        ((x, labels),) = data.to(STRICT)
        assert float(STRICT.to_host(loss.forward(x, labels))) == pytest.approx(value(loss, CLASSES))


# --- parameters and optimisers --------------------------------------------------------------------


def test_an_initialiser_is_an_object():
    with advised(
        "parameter",
        "Parameter {}: expected an initialiser such as Uniform(-1, 1) or Fill(0.5), got {}",
    ):
        Dense(3, 2, weight_init="uniform")
    W = Dense(300, 20, weight_init=Uniform(-1, 1)).initialize(0).weight.data
    assert 0.9 < abs(W).max() <= 1


@pytest.mark.parametrize("wrong", [lambda m: m, lambda m: m.parameters, lambda m: list(m)])
@pytest.mark.parametrize("make", [Adam, lambda p: SGD(p, 0.1), Bop])
def test_an_optimiser_gets_the_parameters(wrong, make):
    model = Sequential(Dense(3, 2, bias=False, weight_quantizer=SignSTE())).initialize(0)
    with advised("parameter", "pass model.parameters()"):
        make(wrong(model))
    assert make(model.parameters()).parameters == [model[0].weight]


def test_values_are_drawn_before_the_optimiser():
    model = Dense(3, 2)
    with advised("parameter", "call model.initialize(rng) before making the optimiser"):
        Adam(model.parameters())
    model.initialize(np.random.default_rng(0))
    assert Adam(model.parameters()).store.data.size == 8


@pytest.mark.parametrize(
    "spoil",
    [
        lambda m: m.to(dtype="float64"),
        lambda m: m.initialize(1),
        lambda m: Adam(m.parameters()),
        lambda m: setattr(m.weight, "grad", np.ones((3, 2), np.float32)),
        lambda m: setattr(m.weight, "data", np.ones((3, 2), np.float32)),
    ],
)
def test_the_optimiser_is_made_last(spoil):
    model = Dense(3, 2).initialize(0)
    optimizer = SGD(model.parameters(), 1.0)
    spoil(model)
    with advised(
        "parameter",
        "make the optimiser last, and write into the arrays: parameter.grad[...] = values",
    ):
        optimizer.step()
    optimizer = SGD(model.parameters(), 1.0)
    before = model.weight.data.copy()
    model.weight.grad[...] = 0.5
    optimizer.step()
    assert np.allclose(model.weight.data, before - 0.5)


def test_a_model_and_its_optimiser_are_copied_together():
    def train(model, optimizer):
        loss = LogitCrossEntropy()
        loss.forward(model.forward(ones(4, 3), train=True), np.array([0, 1, 1, 1]))
        model.backward(loss.backward())
        before = model.weight.data.copy()
        optimizer.step()
        assert not np.array_equal(model.weight.data, before)

    model = Dense(3, 2).initialize(0)
    optimizer = Adam(model.parameters())
    ghost = copy.deepcopy(model)
    with advised(
        "parameter",
        "write model.backward(loss.backward()) before each step; for a copy of the model, copy, "
        "pickle or load both as one object, (model, optimizer), or make a new optimiser of "
        "that model's parameters",
    ):
        train(ghost, optimizer)
    train(*copy.deepcopy((model, optimizer)))
    train(*pickle.loads(pickle.dumps((model, optimizer))))
    train(ghost, Adam(ghost.parameters()))


def test_bop_gets_binary_weights_only():
    model = Sequential(Dense(3, 2, weight_quantizer=SignSTE()), BatchNorm(2)).initialize(0)
    with advised(
        "optimizers",
        "write binary, rest = split_parameters(model), then OptimizerGroup(Bop(binary), Adam(rest))",
    ):
        Bop(model.parameters())
    binary, rest = split_parameters(model)
    optimizer = OptimizerGroup(Bop(binary), Adam(rest))
    assert len(optimizer.parameters) == 4
    assert set(np.unique(model[0].weight.data)) <= {-1, 1}


def test_a_group_is_made_after_the_move():
    model = Sequential(Dense(3, 2, weight_quantizer=SignSTE()), BatchNorm(2)).initialize(0)
    binary, rest = split_parameters(model)
    bop = Bop(binary)
    model.to(STRICT)
    with advised("optimizers", "make them after model.to(device)"):
        OptimizerGroup(bop, Adam(rest))
    assert OptimizerGroup(Bop(binary), Adam(rest)).backend is STRICT


def test_each_optimiser_of_a_group_has_its_own_rate():
    model = Sequential(Dense(3, 2, weight_quantizer=SignSTE()), BatchNorm(2)).initialize(0)
    binary, rest = split_parameters(model)
    group = OptimizerGroup(Bop(binary), Adam(rest))
    for name, value in (("learning_rate", 0.5), ("steps", 3), ("schedule", 0.5)):
        with advised("optimizers", "write group.optimizers[0].{} = ..."):
            setattr(group, name, value)
        setattr(group.optimizers[1], name, value)
        assert getattr(group.optimizers[1], name) == value


@pytest.mark.parametrize("wrong", [0.1, (None,), ("fast",), (1j,)])
def test_scalars_are_a_tuple_of_numbers(wrong):
    class Mine(SGD):
        def scalars(self, learning_rate, step):
            return wrong if step == 0 else (learning_rate,)

    w = Parameter("w", (2,), Fill(1.0))
    w.initialize(np.random.default_rng(0), np.float32)
    optimizer = Mine([w], 0.5)
    w.grad[...] = 1
    with advised("optimizers", "return (learning_rate,), say, with the comma"):
        optimizer.step()
    assert (optimizer.steps, w.data.tolist()) == (0, [1, 1])
    optimizer.steps = 1
    optimizer.step()
    assert w.data.tolist() == [0.5, 0.5]


def test_attributes_leave_the_names_of_methods_alone():
    class Named(Layer):
        def __init__(self, name):
            setattr(self, name, [1.0])

        def forward(self, x, *, train=False):
            return x

        def backward(self, dy, *, need_dx=True):
            return dy

    with advised("checks", "give it another name"):
        Sequential(Named("parameters"), Dense(3, 2)).initialize(0)
    model = Sequential(Named("values"), Dense(3, 2)).initialize(0)
    assert len(list(model.parameters())) == 2


@pytest.mark.parametrize("bounds", [(1.0,), (2.0, -2.0)])  # 1.0 was meant as a bound, perhaps
def test_a_range_has_two_ends(bounds):
    with advised(
        "initializers",
        "the same value everywhere is Fill(value), a symmetric range Uniform(-bound, bound)",
    ):
        Uniform(*bounds)
    assert Fill(1.0)((2,), None).tolist() == [1, 1]
    assert abs(Uniform(-2.0, 2.0)((100,), np.random.default_rng(0))).max() > 1.5
