"""Advice of packing, of packed files and of exports, followed: the model packs and is right."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
from advice import advised, shows

from minibnn import (
    Activation,
    Adam,
    AdamW,
    AdaSTE,
    ApproxSign,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    DoReFaActivations,
    Dropout,
    Flatten,
    Function,
    GlobalAveragePool2D,
    Heaviside,
    InputContract,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    PReLU,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    ShiftBatchNorm,
    SignSTE,
    SwishSign,
    Tanh,
    TensorNorm,
    disagreements,
    evaluate,
    export_c,
    export_html,
    fit,
    functions,
    load_latents,
    load_packed,
    pack,
    save_packed,
)
from minibnn.export import export_onnx
from minibnn.packed import PackedModel
from minibnn.packed.file import container
from minibnn.packed.integer_stages import IntegerDense
from minibnn.packed.stages import ScoreStage
from minibnn.plots.figure import matplotlib_figure

ROOT = Path(__file__).parents[2]
SIGN = SignSTE()
RNG = np.random.default_rng(0)


def dense(n, m, **options):
    return Dense(n, m, weight_quantizer=SIGN, **options)


def conv(n, m, size, **options):
    return Conv2D(n, m, size, weight_quantizer=SIGN, **options)


def right(model, packed):
    """Whether the packed model is right wherever the two differ."""
    images = RNG.integers(0, 256, (40, *packed.input_shape), np.uint8)
    found = disagreements(model, packed, images)
    return found.packed_is_right and found.labels <= 2


def packs(*layers, shape=(6, 7), change=None):
    model = Sequential(*layers).initialize(0)
    if change is not None:
        change(model)
    assert right(model, pack(model, shape))


def refused(*layers, shape=(6, 7), change=None):
    """Try to pack what cannot be."""
    model = Sequential(*layers).initialize(0)
    if change is not None:
        change(model)
    pack(model, shape)


def start():
    return Flatten(), Rescale(1 / 255)


def images():
    return Reshape((6, 7, 1)), Rescale(2 / 255, -1)


def sign():
    return Activation(SIGN)


# --- layers ---------------------------------------------------------------------------------------


def test_a_layer_without_a_packed_form_is_replaced():
    class Own(Layer):
        def forward(self, x, *, train=False):
            return -x

        def backward(self, dy, *, need_dx=True):
            return -dy

    with advised(
        "packed",
        "packable are Flatten, Reshape, Rescale, Standardize, Thermometer, OneHotCode (these first), "
        "Dropout, Dense, Conv2D, Conv1D, MaxPool2D, AveragePool2D, GlobalAveragePool2D, BatchNorm, "
        "TensorNorm, ShiftBatchNorm, PReLU, Residual, Concatenate, and Activation of a sign, "
        "DoReFaActivations, Heaviside or ReLU",
    ):
        refused(*images(), conv(1, 3, 3), Own(), sign(), Flatten(), dense(60, 4))
    for norm in (BatchNorm(3), TensorNorm(), ShiftBatchNorm(3)):
        packs(*images(), conv(1, 3, 3), MaxPool2D(2), norm, sign(), Dropout(0.5), Reshape((12,)),
              dense(12, 4))  # fmt: skip
    packs(*start(), dense(42, 4))
    packs(Reshape((14, 3)), Rescale(2 / 255, -1), Conv1D(3, 5, 3, weight_quantizer=SIGN), sign(),
          Flatten(), dense(60, 4))  # fmt: skip
    packs(*images(), conv(1, 3, 3), AveragePool2D(2), BatchNorm(3), PReLU(3), Residual(conv(3, 3, 1)),
          Concatenate(Sequential(), conv(3, 2, 1)), GlobalAveragePool2D(), dense(5, 4))  # fmt: skip
    for function in (SIGN, DoReFaActivations(2), Heaviside(), ReLU()):
        packs(*start(), dense(42, 5), Activation(function), Dense(5, 4))


def test_block_and_shortcut_have_one_shape():
    """The layers refuse other shapes too, so nobody has trained such a model."""

    def block():
        return Sequential(sign(), conv(3, 6, 3))

    before, after = (*images(), conv(1, 3, 3), BatchNorm(3)), (sign(), Flatten(), dense(36, 4))
    with advised("packed", "give it a shortcut that changes the shape as the block does"):
        refused(*before, Residual(block()), *after)
    packs(*before, Residual(block(), conv(3, 6, 3)), *after)


def test_branches_have_images_of_one_size():
    def model(*branches, end=()):
        return *images(), conv(1, 3, 3), sign(), Concatenate(*branches), *end

    with advised("packed", "give them the same strides and padding, or end each with Flatten()"):
        refused(*model(conv(3, 3, 3), conv(3, 1, 1), end=(Flatten(), dense(48, 4))))
    packs(*model(conv(3, 3, 3), conv(3, 1, 3), end=(Flatten(), dense(24, 4))))
    flat = [Sequential(conv(3, 3, 3), Flatten()), Sequential(conv(3, 1, 1), Flatten())]
    packs(*model(*flat, end=(dense(38, 4),)))


def test_slopes_are_moderate():
    """Decay makes them so, of any size."""
    model = Sequential(*start(), dense(42, 5), PReLU(5), dense(5, 2)).initialize(0)
    model[3].slope.data[...] = 2000
    with advised("packed", "train it with weight decay"):
        pack(model, (6, 7))
    data = DataLoader((BYTES.reshape(-1, 6, 7), CLASSES), 20)
    optimizer = AdamW(model.parameters(), 0.1, weight_decay=5)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert right(model, pack(model))


def test_signals_have_channels():
    first = Conv1D(3, 5, 3, weight_quantizer=SIGN)
    after = (sign(), Flatten(), dense(60, 4))
    with advised("packed", "put Reshape(({}, {})) before it") as caught:
        refused(Rescale(2 / 255, -1), first, *after, shape=(42,))
    assert "put Reshape((length, 3)) before it" in caught.text
    packs(Reshape((14, 3)), Rescale(2 / 255, -1), first, *after, shape=(42,))
    long = Conv1D(3, 5, 15, weight_quantizer=SIGN)
    with advised("packed", "use smaller windows or padding"):
        refused(Reshape((14, 3)), Rescale(2 / 255, -1), long, *after, shape=(42,))


def test_an_activation_is_a_sign():
    with advised(
        "packed",
        "packable are SignSTE, ApproxSign, SwishSign, AdaSTE and what else has such values, "
        "DoReFaActivations, Heaviside and ReLU",
    ):
        refused(*start(), dense(42, 5), Activation(Tanh()), dense(5, 4))

    with advised("packed", "write DoReFaActivations(8), or ReLU(), and train that"):
        refused(*start(), dense(42, 5), Activation(DoReFaActivations(9)), dense(5, 4))
    packs(*start(), dense(42, 5), Activation(DoReFaActivations(8)), dense(5, 4))

    class Own(Function):
        def forward(self, x):
            return functions.sign(x)

        def backward(self, dy, x):
            return dy

    others = DoReFaActivations(3), Heaviside(), ReLU()
    for function in (SignSTE(), ApproxSign(), SwishSign(), AdaSTE(), Own(), *others):
        packs(*start(), dense(42, 5), Activation(function), dense(5, 4))


def test_a_weight_quantizer_is_one_for_all_weights():
    class Own(Function):
        def __init__(self, scale, noise=None):
            self.scale, self.noise = scale, noise

        def forward(self, x):
            if self.noise is not None:
                x = x + self.noise.standard_normal(x.shape).astype(x.dtype)
            return functions.sign(x) * np.asarray(self.scale, x.dtype)

        def backward(self, dy, x):
            return dy

    def last(function):
        return *start(), Dense(42, 4, weight_quantizer=function)

    with advised("packed", "let its forward draw and count nothing; train_forward may"):
        refused(*last(Own(1, np.random.default_rng(0))))
    packs(*last(Own(np.ones((42, 4)))))


def test_pixels_are_rescaled_first():
    with advised("packed", "put Rescale(1 / 255) first, and train it on bytes"):
        refused(Flatten(), dense(42, 4))
    model = trained(Sequential(Rescale(1 / 255), Flatten(), dense(42, 4)), BYTES)
    assert right(model, pack(model))
    with advised("packed", "leave it out: only pixels are rescaled"):
        refused(*start(), dense(42, 5), sign(), Rescale(0.5), dense(5, 4))
    packs(*start(), dense(42, 5), sign(), dense(5, 4))
    with advised("packed", "write Rescale(1 / 255)"):
        refused(*start(), dense(42, 4), change=lambda m: setattr(m[1], "scale", float("nan")))
    packs(Flatten(), Rescale(1 / 255), dense(42, 4))


def test_dropout_scales_in_training():
    with advised("packed", "Dropout(rate) scales in training instead"):
        refused(*start(), dense(42, 5), sign(), Dropout(0.5, rescale=False), dense(5, 4))
    packs(*start(), dense(42, 5), sign(), Dropout(0.5), dense(5, 4))


def test_levels_come_after_a_product():
    levels = Activation(DoReFaActivations(2))
    with advised("packed", "put it after the first product"):
        refused(*start(), levels, dense(42, 4))
    packs(*start(), dense(42, 5), levels, dense(5, 4))


def test_samples_get_the_shape_that_layers_take():
    with advised("packed", "put Flatten() before it"):
        refused(Rescale(1 / 255), dense(42, 4))
    packs(Rescale(1 / 255), Flatten(), dense(42, 4))
    for layers in ((*start(), dense(42, 4)), (*images(), conv(1, 3, (6, 7)), Flatten())):
        with advised("packed", "give pack the shape of one sample, of {} values") as caught:
            refused(*layers, shape=(28, 28))
        assert "of 42 values" in caught.text
        packs(*layers, shape=(6, 7))
    with advised("packed", "put Reshape((height, width, {})) before it") as caught:
        refused(Rescale(2 / 255, -1), conv(1, 3, (6, 7)), Flatten())
    assert "Reshape((height, width, 1))" in caught.text
    packs(Rescale(2 / 255, -1), Reshape((6, 7, 1)), conv(1, 3, (6, 7)), Flatten())


def test_windows_fit_on_the_images():
    with advised("packed", "use smaller windows or padding"):
        refused(*images(), conv(1, 3, 9), sign(), Flatten(), dense(60, 4))
    packs(*images(), conv(1, 3, 3), sign(), Flatten(), dense(60, 4))
    packs(*images(), conv(1, 3, 9, padding=2, padding_value=-1), sign(), Flatten(), dense(18, 4))
    with advised("packed", "use smaller windows"):
        refused(*images(), conv(1, 3, 3), MaxPool2D(5), sign(), Flatten(), dense(12, 4))
    packs(*images(), conv(1, 3, 3), MaxPool2D(4), sign(), Flatten(), dense(3, 4))


def test_padding_is_a_pixel_or_a_bit():
    advice = [(Rescale(1 / 255), 0), (Rescale(2 / 255, -1), -1), (Rescale(-2 / 255, 1), 1)]

    def model(rescale, value, padding=1):
        return (Reshape((6, 7, 1)), rescale, conv(1, 3, 3, padding=padding, padding_value=value),
                sign(), Flatten(), dense(42 * 3 if padding else 60, 4))  # fmt: skip

    with advised(
        "packed",
        "use Rescale(1 / 255) with a padding of 0, Rescale(2 / 255, -1) with -1, "
        "Rescale(-2 / 255, 1) with +1, or padding=0",
    ):
        refused(*model(Rescale(1 / 100, -0.3), 0))
    for rescale, value in advice:
        packs(*model(rescale, value))
    packs(*model(Rescale(1 / 100, -0.3), 0, padding=0))

    def hidden(value):
        return (*images(), conv(1, 3, 3), BatchNorm(3), PReLU(3),
                conv(3, 2, 3, padding=1, padding_value=value), sign(), Flatten(),
                dense(40, 4))  # fmt: skip

    def small(model):
        model[3].gamma.data[...] = 1e-4

    with advised("packed", "use padding_value=0"):
        refused(*hidden(1), change=small)
    packs(*hidden(0), change=small)


def test_pools_and_norms_stand_where_they_commute():
    with advised("packed", "put it after the first Conv2D"):
        refused(*images(), MaxPool2D(2), conv(1, 3, 3), sign(), Flatten(), dense(3, 4))
    packs(*images(), conv(1, 3, 3), MaxPool2D(2), sign(), Flatten(), dense(12, 4))
    with advised("packed", "move it there"):
        refused(*start(), BatchNorm(42), dense(42, 5), sign(), dense(5, 4))
    packs(*start(), dense(42, 5), BatchNorm(5), sign(), dense(5, 4))
    with advised("packed", "write {}({})") as caught:
        refused(*start(), dense(42, 5), ShiftBatchNorm(4), sign(), dense(5, 4))
    assert "write ShiftBatchNorm(5)" in caught.text
    packs(*start(), dense(42, 5), ShiftBatchNorm(5), sign(), dense(5, 4))


def test_a_model_ends_in_scores():
    with advised("packed", "end it in a Dense, and perhaps a batch norm"):
        refused(*start(), dense(42, 5), sign())
    packs(*start(), dense(42, 5), sign(), dense(5, 4))
    packs(*start(), dense(42, 5), sign(), dense(5, 4), BatchNorm(4))


def test_weights_that_are_not_finite_are_trained_again():
    with advised("packed", "train it again"):
        refused(*start(), dense(42, 4), change=lambda m: m[2].weight.data.fill(np.nan))
    model = trained(Sequential(*start(), dense(42, 4)), BYTES)
    assert right(model, pack(model))


def test_sums_that_do_not_fit_get_fewer_inputs():
    model = Sequential(Rescale(1 / 255), dense(2**23 + 2**16, 2)).initialize(0)
    with advised("packed", "use fewer inputs"):
        pack(model, (2**23 + 2**16,))
    packs(Rescale(1 / 255), dense(100, 2), shape=(100,))


def test_scores_that_cannot_be_compared():
    def last(*norm):
        return Rescale(1, -128), sign(), dense(30, 6, bias=not norm), *norm

    def ties(model):  # 4/3 and 2/3: rounded, one is never twice the other
        roots = np.array([1.5, 3, 6, 7.5, 10.5, 100.5])
        model[3].running_var.data[...] = roots**2 - 0.25
        model[3].gamma.data[...] = roots / 1.5
        model[3].gamma.data[0] = 2

    with advised(
        "packed",
        "packable with any finite parameters is a last Dense with weights of +1 and -1, followed by "
        "TensorNorm or no batch norm",
    ):
        refused(*last(BatchNorm(6, epsilon=0.25)), shape=(30,), change=ties)

    def wild(model):
        if len(model) == 3:
            model[2].bias.data[...] = [0, 1e-20, 1e30, -3, 1, 1]

    packs(*last(), shape=(30,), change=wild)
    packs(*last(TensorNorm()), shape=(30,))
    with advised("packed", "put a layer with a sign before it"):
        refused(Rescale(1 / 255), dense(66_000, 2), shape=(66_000,))
    packs(Rescale(1 / 255), dense(66_000, 3), sign(), dense(3, 2), shape=(66_000,))


def test_outputs_fit_into_scores():
    """Integers of 32 bits, times a power of two that is not beyond all floats."""

    def tiny(model):
        model[2].weight.data[...] = 1e-320 * RNG.normal(size=(42, 4))
        for layer in model[3:]:
            layer.beta.data[...] = 0.1, -0.1, 0, 1

    def pack_it(*layers, change):
        model = Sequential(*layers).initialize(0, np.float64)
        change(model)
        assert right(model, pack(model, (6, 7)))

    with advised("packed", "put a batch norm behind it"):
        pack_it(*start(), Dense(42, 4, bias=False), change=tiny)
    pack_it(*start(), Dense(42, 4, bias=False), BatchNorm(4), change=tiny)


def large(size, *norm):
    """A model whose weights are that large."""
    model = Sequential(Flatten(), Rescale(10), Dense(42, 2), *norm).initialize(0, np.float64)
    model[2].weight.data /= abs(model[2].weight.data).max()
    model[2].weight.data *= size
    return model


def test_outputs_fit_into_float32():
    images = BYTES.reshape(-1, 6, 7)
    model, normed = large(1e39), large(1e39, BatchNorm(2))
    with advised("packed", "train it with weight decay, or put a batch norm behind its last layer"):
        pack(model, (6, 7))
    y = model.forward(images)
    normed[3].running_mean.data[...], normed[3].running_var.data[...] = y.mean(0), y.var(0)
    assert right(normed, pack(normed, (6, 7)))
    data = DataLoader((images, CLASSES), 20)
    optimizer = AdamW(model.parameters(), 0.1, weight_decay=9.99)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert right(model, pack(model, (6, 7)))


def test_values_fit_into_floats():
    model = large(1e308)
    with advised("packed", "train it with weight decay"):
        pack(model, (6, 7))
    model[2].weight.data *= 1e-307  # a few hundred steps of decay
    assert right(model, pack(model, (6, 7)))


def test_what_costs_too_much_is_made_smaller():
    def model(n):
        return Sequential(Rescale(1 / 255), dense(n, 2), sign(), dense(2, 2)).initialize(0)

    with advised("packed", "use smaller images or windows, larger strides, or fewer channels"):
        pack(model(2**22 + 1), (2**22 + 1,))
    assert right(model(1000), pack(model(1000), (1000,)))


# --- what a model was trained on ------------------------------------------------------------------

BYTES = RNG.integers(0, 256, (60, 42), np.uint8)
BYTES[0, :2] = 0, 255
CLASSES = (BYTES[:, 0] > 127).astype(np.int64)


def trained(model, x):
    model.initialize(0)
    data = DataLoader((x, CLASSES), 20)
    optimizer = Adam(model.parameters(), 0.01)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    return model


def labels_of(model, x):
    return model.forward(x).argmax(axis=1)


def stated(text, name, model):
    """Do what a message says: its statement about the input contract."""
    statement = re.search(rf"({name}\.input_contract = InputContract\(.*?\)\));? ?", text)[1]
    names = {name: model, "InputContract": InputContract, "Sequential": Sequential}
    exec(statement, names)


def test_a_model_of_floats_is_trained_on_bytes():
    def layers():
        return [dense(42, 9), BatchNorm(9), sign(), dense(9, 2)]

    floats = (BYTES / 255).astype(np.float32)
    model = trained(Sequential(*layers()), floats)
    with advised(
        "packed",
        "train it on bytes (uint8), with Rescale(1 / 255) as its first layer; or, {}",
    ) as caught:
        pack(model)
    on_bytes = trained(Sequential(Rescale(1 / 255), *layers()), BYTES)
    packed = pack(on_bytes)
    assert np.array_equal(packed.predict(BYTES), labels_of(on_bytes, BYTES))
    shows(
        "packed",
        "if these were bytes that you scaled outside, 0 to 0 and 255 to 1, put that scaling "
        "inside, and say so: whole = Sequential(Rescale(1 / 255), model); whole.{}; pack(whole)",
        caught.text,
    )
    whole = Sequential(Rescale(1 / 255), model)
    stated(caught.text, "whole", whole)
    assert np.array_equal(pack(whole).predict(BYTES), labels_of(model, floats))


@pytest.mark.parametrize(
    ("low", "high", "brightest"), [(-1, 1, 255), (-1, 1, 240), (0, 1, 240), (-0.42, 2.82, 255)]
)
def test_the_advice_has_the_scaling_that_training_met(low, high, brightest):
    """In a usual range no image need be as bright as can be; what was standardised shows its own."""
    x = np.minimum(BYTES, brightest).astype(np.uint8)
    floats = (x * ((high - low) / 255) + low).astype(np.float32)
    model = trained(Sequential(dense(42, 9), BatchNorm(9), sign(), dense(9, 2)), floats)
    with advised(
        "packed",
        "if these were bytes that you scaled outside, {} to {} and {} to {}, put that scaling "
        "inside, and say so: whole = Sequential({}, model); whole.{}; pack(whole)",
    ) as caught:
        pack(model)
    assert f"0 to {low:g} and 255 to {high:g}, put" in caught.text
    written = re.search(r"whole = (Sequential\(.*?\), model\))", caught.text)[1]
    whole = eval(written, {"Sequential": Sequential, "Rescale": Rescale, "model": model})
    stated(caught.text, "whole", whole)
    # Floats that were scaled outside round otherwise, so a sign may differ; another scale shows.
    assert np.mean(pack(whole).predict(x) == labels_of(model, floats)) > 0.95


@pytest.mark.parametrize("dtype", ["float32", "int16"])
def test_bytes_as_other_numbers_in_a_loop_by_hand(dtype):
    """Nobody has seen their range there, so all ways out are named."""
    model = Sequential(Rescale(1 / 255), dense(42, 2)).initialize(0)
    model[1].bias.data[...] = 0, 0.001  # no equal scores
    model.forward(BYTES.astype(dtype), train=True)
    with advised("packed", "if these were bytes as {}, say so: model.{}; pack(model)") as caught:
        pack(model)
    assert ("scaled outside" in caught.text) == (dtype == "float32")
    stated(caught.text, "model", model)
    assert np.array_equal(pack(model).predict(BYTES), labels_of(model, BYTES))


def test_bytes_as_floats_are_stated():
    model = trained(Sequential(Rescale(1 / 255), dense(42, 2)), BYTES.astype(np.float32))
    with advised(
        "packed", "if these were bytes as floats, say so: model.{}; pack(model)"
    ) as caught:
        pack(model)
    stated(caught.text, "model", model)
    assert np.array_equal(pack(model).predict(BYTES), labels_of(model, BYTES))


def test_another_scaling_outside_is_stated():
    floats = (BYTES / 100).astype(np.float32)
    inner = trained(Sequential(dense(42, 2)), floats)
    whole = Sequential(Rescale(1 / 255), inner)
    with advised(
        "packed",
        "train the whole on bytes (uint8); or, if these layers do what was done outside of it, say "
        "so: model.{}; pack(model)",
    ) as caught:
        pack(whole)
    model = trained(Sequential(Rescale(1 / 255), dense(42, 2)), BYTES)
    assert np.array_equal(pack(model).predict(BYTES), labels_of(model, BYTES))
    model = Sequential(Rescale(1 / 100), inner)  # what was done outside, but its range is unknown
    stated(caught.text, "model", model)
    assert np.array_equal(pack(model).predict(BYTES), labels_of(inner, floats))


def test_a_shape_is_given_once():
    model = Sequential(Flatten(), Rescale(1 / 255), dense(30, 2)).initialize(0)
    with advised(
        "packed",
        "write pack(model, (28, 28)) for images, pack(model, (30,)) for rows of 30 bytes",
    ):
        pack(model)
    assert right(model, pack(model, (30,)))
    square = Sequential(Flatten(), Rescale(1 / 255), dense(784, 2)).initialize(0)
    assert right(square, pack(square, (28, 28)))
    model = trained(Sequential(Flatten(), Rescale(1 / 255), dense(42, 2)), BYTES)
    with advised("packed", "leave it out: pack(model)"):
        pack(model, (6, 7))
    assert pack(model).input_shape == (42,)


# --- files ----------------------------------------------------------------------------------------


def build():
    return Sequential(Flatten(), Rescale(1 / 255), dense(42, 9), BatchNorm(9), sign(), dense(9, 2))


@pytest.fixture
def model():
    return trained(build(), BYTES)


@pytest.fixture
def path(model, tmp_path):
    path = tmp_path / "model.safetensors"
    save_packed(pack(model), path, model=model)
    return path


def test_damaged_files_are_had_whole_again(path, model):
    whole = path.read_bytes()
    length = int.from_bytes(whole[:8], "little")
    header = whole[8 : 8 + length]
    gap = header.replace(b'"data_offsets":[0,', b'"data_offsets":[1,')

    def loads(data):
        path.write_bytes(data)
        return load_packed(path)

    with advised("container", "it is cut off, or no safetensors"):
        loads(whole[:20])
    with advised("container", "it is damaged, or no safetensors"):
        loads(whole[:8] + b"x" * length + whole[8 + length :])
    with advised("container", "it is cut off, or something follows it"):
        loads(whole[:-1])
    with advised("container", "it is cut off, or something follows it"):
        loads(whole + b"\n")
    with advised("container", "it is damaged"):
        loads(whole[:8] + gap + whole[8 + length :])
    with advised("container", "it is damaged"):
        loads(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert np.array_equal(loads(whole).predict(BYTES), labels_of(model, BYTES))


def test_files_of_other_programs_are_left(path, model, tmp_path):
    from safetensors.numpy import save_file

    other = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, other)
    with advised("container", "use a file of save_packed"):
        load_packed(other)
    assert np.array_equal(load_packed(path).predict(BYTES), labels_of(model, BYTES))
    with open(other, "wb") as file:
        file.truncate(2**31 + 1)  # a hole
    with advised("container", "is this a file of save_packed?"):
        load_packed(other)
    assert load_packed(path).input_shape == (42,)


def test_figures_that_fill_a_header_are_left_out(path, model):
    with advised("packed", "leave figures out of it"):
        save_packed(pack(model), path, training={"accuracy": 0.9, "log": "x" * 2**24})
    save_packed(pack(model), path, training={"accuracy": 0.9})
    assert load_packed(path).training == {"accuracy": 0.9}


def test_what_is_no_packed_model_is_saved_again(path, model):
    data = container.read(path.read_bytes(), str(path))
    odd = {k: v for k, v in data.metadata.items() if k not in ("format", "format_version")}
    path.write_bytes(container.write({**odd, "training": "[]"}, data.arrays()))
    with advised("packed", "save it again"):
        load_packed(path)
    save_packed(pack(model), path)
    assert np.array_equal(load_packed(path).predict(BYTES), labels_of(model, BYTES))


def test_a_model_is_packed_before_it_is_saved_or_exported(model, tmp_path):
    path = tmp_path / "m"
    with advised("packed", "pack(model) makes one"):
        save_packed(model, path)
    save_packed(pack(model), path)
    assert load_packed(path).input_shape == (42,)
    with advised("export", "pack the model first"):
        export_c(model, tmp_path / "m.h", name="m")
    export_c(pack(model), tmp_path / "m.h", name="m")
    assert "m_predict" in (tmp_path / "m.h").read_text()


def test_latents_are_saved_and_fit(path, model, tmp_path):
    bits = tmp_path / "bits"
    save_packed(pack(model), bits)
    with advised("packed", "save it with save_packed(packed, path, model=model)"):
        load_latents(bits, build())
    packed = pack(model)
    save_packed(packed, bits, model=model)
    assert np.array_equal(labels_of(load_latents(bits, build()), BYTES), labels_of(model, BYTES))
    with advised("packed", "build the model that was saved"):
        load_latents(path, Sequential(*start(), dense(42, 8), BatchNorm(8), sign(), dense(8, 2)))

    def other():
        return Sequential(*start(), dense(42, 9), BatchNorm(9, epsilon=9.0), sign(), dense(9, 2))

    other_model = trained(other(), BYTES)
    other_model[3].running_mean.data[...] = RNG.normal(0, 3, 9)
    save_packed(pack(other_model), path, model=other_model)
    with advised("packed", "save it again, or build the model that was saved"):
        load_latents(
            path, Sequential(*start(), dense(42, 9), ShiftBatchNorm(9), sign(), dense(9, 2))
        )
    assert np.array_equal(
        labels_of(load_latents(path, other()), BYTES), labels_of(other_model, BYTES)
    )
    save_packed(pack(model), path, model=model)
    assert np.array_equal(labels_of(load_latents(path, build()), BYTES), labels_of(model, BYTES))


def test_a_model_that_went_on_training_is_packed_again(model):
    packed = pack(model)
    model[3].running_mean.data[...] += 1
    with advised("packed", "pack the model again"):
        packed.verify(model)
    assert pack(model).verify(model)


# --- exports --------------------------------------------------------------------------------------


def test_weights_of_a_graph_are_small_enough(tmp_path):
    pytest.importorskip("onnx")
    width = 2**23 // 127 + 1

    def program(largest):
        W = np.full((1, width), largest, np.int8)
        one, zero = np.ones(1, np.int64), np.zeros(1, np.int64)
        floats = one.astype(np.float32), zero.astype(np.float32)
        stages = (
            IntegerDense((width,), (1,), W, "pixels"),
            ScoreStage((1,), (1,), one, zero, 0, False, *floats),
        )
        return PackedModel((width,), stages, {"thresholds": []})

    with advised("export", "use smaller ones"):
        export_onnx(program(127), tmp_path / "wide.onnx")
    export_onnx(program(126), tmp_path / "wide.onnx")
    assert (tmp_path / "wide.onnx").stat().st_size > width


def test_a_title_is_none_for_the_default(tmp_path):
    packed = pack(Sequential(*start(), dense(784, 10)).initialize(0), (28, 28))
    with advised("export", "None gives 'A network of single bits'") as caught:
        export_html(packed, tmp_path / "page.html", title="\n")
    export_html(packed, tmp_path / "page.html", title=None)
    title = caught.text.partition("None gives ")[2].strip("'")
    assert f"<title>{title}" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_packages_are_installed_by_their_own_names(monkeypatch, model, tmp_path):
    """No index has this project: what a message installs is what an extra stands for."""
    import sys

    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    monkeypatch.setitem(sys.modules, "onnx", None)
    with advised("export", "export_onnx needs onnx: pip install onnx") as caught:
        export_onnx(pack(model), tmp_path / "m.onnx")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with advised("plots", "plots need matplotlib: pip install matplotlib") as drawn:
        matplotlib_figure()
    for text, extra in ((caught.text, "onnx"), (drawn.text, "plot")):
        packages = text.partition("pip install ")[2].split()
        assert packages == [re.split("[<>=]", name)[0] for name in extras[extra]]
    monkeypatch.undo()
    assert matplotlib_figure()


def test_samples_are_prepared_as_those_for_training():
    model = trained(Sequential(Rescale(1 / 255), dense(42, 2)), BYTES)
    floats = (BYTES / 255).astype(np.float32)
    with advised("training/evaluate.py", "prepare them as those for training"):
        evaluate(model, DataLoader((floats, CLASSES), 20), LogitCrossEntropy())
    right = (labels_of(model, BYTES) == CLASSES).mean()
    found = evaluate(model, DataLoader((BYTES, CLASSES), 20), LogitCrossEntropy())
    assert found.accuracy == right


def test_images_get_the_form_that_a_packed_model_takes():
    packed = pack(Sequential(Flatten(), Rescale(1 / 255), dense(42, 2)).initialize(0), (6, 7))
    images, labels = BYTES.reshape(-1, 6, 7), packed.predict(BYTES.reshape(-1, 6, 7))
    with advised("packed", "of whole numbers from 0 to 255, use images.astype('uint8')"):
        packed.predict(images.astype(np.int64))
    assert np.array_equal(packed.predict(images.astype(np.int64).astype("uint8")), labels)
    for given in (images.reshape(-1, 42), images[..., None], images[0]):
        with advised("packed", "if only the axes differ, use images.reshape(-1, {})") as caught:
            packed.predict(given)
        assert "images.reshape(-1, 6, 7)" in caught.text
        found = packed.predict(given.reshape(-1, 6, 7))
        assert np.array_equal(found, labels[: len(found)])


def test_figures_are_python_floats(tmp_path):
    packed = pack(Sequential(Flatten(), Rescale(1 / 255), dense(42, 2)).initialize(0), (6, 7))
    value = np.float32(0.5)
    with advised("packed", "float(...) makes a number that it can"):
        save_packed(packed, tmp_path / "model", training={"accuracy": value})
    save_packed(packed, tmp_path / "model", training={"accuracy": float(value)})
    assert load_packed(tmp_path / "model").training == {"accuracy": 0.5}
