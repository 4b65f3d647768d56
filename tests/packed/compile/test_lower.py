"""From layers to stages: what becomes of each layer, and which layers are refused."""

from __future__ import annotations

import numpy as np
import pytest
from packed_checks import sign_bits
from packed_models import SIGN, dense
from wide_models import calm, in_float64

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DirectFeedback,
    DoReFaActivations,
    Dropout,
    Flatten,
    InputContract,
    MagnitudeAwareSign,
    MaxPool2D,
    PackError,
    PReLU,
    Radial,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
    Tanh,
    Thermometer,
    disagreements,
    pack,
)
from minibnn.packed.compile.lower import lower
from minibnn.packed.ranges import ranges
from minibnn.packed.stages import Stage


@pytest.mark.parametrize(
    ("rescale", "padding"),
    [((1 / 255, 0), 0), ((2 / 255, -1), -1), ((-2 / 255, 1), 1), ((1, -100), 0), ((-1, 255), 0)],
)
def test_paddings_that_are_pixels(rescale, padding, rng):
    """The sums are those of an image that is padded with the pixel."""
    conv = Conv2D(1, 4, 3, padding=1, padding_value=padding, weight_quantizer=SIGN)
    inside = Sequential(
        Reshape((4, 4, 1)), Rescale(*rescale), conv, Activation(SIGN), Flatten(), dense(64, 2)
    ).initialize(rng)
    inside[2].bias.data[...] = [0, padding, 1, 0.1]
    plain = Conv2D(1, 4, 3, weight_quantizer=SIGN).initialize(0)
    plain.weight.data[...], plain.bias.data[...] = conv.weight.data, conv.bias.data
    outside = Sequential(Reshape((6, 6, 1)), Rescale(*rescale), plain, *list(inside)[3:])
    images = rng.integers(0, 256, (40, 4, 4), np.uint8)
    pixel = {-100: 100, 255: 255}.get(rescale[1], 0)
    framed = np.pad(images, [(0, 0), (1, 1), (1, 1)], constant_values=pixel)
    ours, exact = pack(inside, (4, 4)), pack(outside, (6, 6))
    np.testing.assert_array_equal(ours.after(images, 2), exact.after(framed, 2))


def test_two_rescales_are_one(rng):
    """2 (x / 2 - 3) + 1 = x - 5: the sums are integers, so floats are exact."""
    both = Rescale(0.5, -3), Rescale(2.0, 1)
    model = Sequential(*both, dense(9, 8), Activation(SIGN), dense(8, 3)).initialize(rng)
    model[2].bias.data[...] = rng.integers(-300, 300, 8)
    packed = pack(model, (9,))
    images = rng.integers(0, 256, (500, 9), np.uint8)
    ((ours, theirs),) = sign_bits(model, packed, images)
    np.testing.assert_array_equal(ours, theirs)
    one = Sequential(Rescale(1, -5), *list(model)[2:])
    assert pack(one, (9,)).sha256 == packed.sha256


def test_one_bit_inputs_by_all_256_pixels():
    images = np.arange(256, dtype=np.uint8)[:, None]
    for rescale, expected in {
        (1, -64): images >= 64,
        (1 / 255, -0.5): images >= 128,
        (-1, 64): images <= 64,
        (1, 0): images >= 0,
        (1, -300): images > 255,
        (0.1, -0.7): images >= 7,
    }.items():
        model = Sequential(Rescale(*rescale), Activation(SIGN), dense(1, 2)).initialize(0)
        packed = pack(model, (1,))
        np.testing.assert_array_equal(packed.after(images, 1) > 0, expected)
        np.testing.assert_array_equal(model[1].forward(model[0].forward(images)) > 0, expected)
        assert packed.stages[0].kind == "binarize"


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_weights_without_a_size_are_refused(wrong):
    last = Dense(3, 4, weight_quantizer=MagnitudeAwareSign())
    model = Sequential(Rescale(1), last).initialize(0)
    last.weight.data[1, 2] = wrong
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\): expected finite weights"):
        pack(model, (3,))
    model = Sequential(Rescale(1), dense(3, 4)).initialize(0)
    model[1].weight.data[1, 2] = np.nan
    with pytest.raises(PackError, match=r"Dense\(3 -> 4\): expected finite weights"):
        pack(model, (3,))


def test_nested_containers_and_float64(rng):
    inner = Sequential(dense(9, 8), Sequential(BatchNorm(8), Activation(SIGN)))
    model = DirectFeedback(Sequential(Rescale(1 / 255), inner), Sequential(dense(8, 3)))
    model.initialize(rng, np.float64)
    images = rng.integers(0, 256, (50, 9), np.uint8)
    packed = pack(model, (9,))
    assert disagreements(model, packed, images).unexplained == 0
    np.testing.assert_allclose(packed.logits(images), model.forward(images), rtol=1e-6)
    inner[1][1].function = Tanh()
    with pytest.raises(PackError, match=r"layer 0.1.1.1, Activation"):
        pack(model, (9,))


def test_a_pool_after_the_norm_follows_the_threshold(rng):
    conv = Conv2D(1, 5, 3, weight_quantizer=SIGN)
    model = Sequential(
        Reshape((8, 9, 1)), Rescale(1), conv, BatchNorm(5), MaxPool2D(2), Activation(SIGN),
        Flatten(), dense(45, 4),
    ).initialize(rng)  # fmt: skip
    plan = lower(model, (8, 9))
    kinds = [step.kind if isinstance(step, Stage) else "fold" for step in plan.steps]
    assert kinds == ["conv", "fold", "pool", "dense", "fold"]
    (sign,) = plan.signs
    assert (sign.layers, sign.steps, sign.fold) == (6, 3, 1)


def test_a_signal_is_an_image_of_one_row(rng):
    """The same program as with `Conv2D`, whose images have another axis."""
    conv1 = Conv1D(3, 6, 4, stride=2, padding=1, padding_value=-1, weight_quantizer=SIGN)
    conv2 = Conv1D(6, 5, 3, dilation=2, padding=2, padding_value=1, weight_quantizer=SIGN)
    rest = [BatchNorm(6), Activation(SIGN), conv2, Activation(SIGN), Flatten(), dense(40, 4)]
    scale = Rescale(2 / 255, -1)
    model = Sequential(Reshape((16, 3)), scale, conv1, *rest).initialize(rng)
    options = {"padding_value": -1, "weight_quantizer": SIGN}
    image1 = Conv2D(3, 6, (1, 4), stride=(1, 2), padding=(0, 1), **options).initialize(0)
    options["padding_value"] = 1
    image2 = Conv2D(6, 5, (1, 3), dilation=(1, 2), padding=(0, 2), **options).initialize(0)
    for image, signal in ((image1, conv1), (image2, conv2)):
        image.weight.data[...] = signal.weight.data
        image.bias.data[...] = signal.bias.data
    images = Sequential(Reshape((1, 16, 3)), scale, image1, *rest[:2], image2, *rest[3:])
    ours, theirs = pack(model, (48,)), pack(images, (48,))
    assert [s.kind for s in ours.stages] == [s.kind for s in theirs.stages]
    x = rng.integers(0, 256, (60, 48), np.uint8)
    np.testing.assert_array_equal(ours.logits(x), theirs.logits(x))
    found = disagreements(model, ours, x)
    assert found.packed_is_right, found


class MyDense(Dense):
    pass


def infinite_rescale():
    layer = Rescale(1)
    layer.scale = np.inf  # its constructor would refuse it
    return layer


def refusals():
    hidden = [Rescale(1 / 255), dense(4, 4)]
    conv = Conv2D(1, 2, 2, weight_quantizer=SIGN)
    image = [Reshape((2, 2, 1)), Rescale(1 / 255)]
    end = dense(4, 2)
    return {
        r"layer 0, Dense\(4 -> 2\): expected a Rescale": [end],
        r"Radial": [Rescale(1), Radial(4, 2)],
        r"got MyDense": [Rescale(1), MyDense(4, 2)],
        r"layer 2, Activation\(Tanh\(\)\): its values are no signs": [*hidden, Activation(Tanh()), end],
        r"layer 2.block.1, Activation\(Tanh\(\)\): its values": [*hidden, Residual(Sequential(dense(4, 4), Activation(Tanh()))), end],
        r"AveragePool2D.*before any product": [*image, AveragePool2D(2), Flatten(), dense(1, 2)],
        r"DoReFaActivations.*before any product": [Rescale(1), Activation(DoReFaActivations(2)), end],
        r"padding of 1 is not exactly one of the numbers": [Reshape((2, 2, 1)), Rescale(1 / 255), Conv2D(1, 2, 1), Conv2D(2, 2, 2, padding=1, padding_value=1), Flatten()],
        r"expected block and shortcut of one shape, got \(3,\) and \(4,\)": [*hidden, Activation(SIGN), Residual(dense(4, 3)), dense(3, 2)],
        r"differ in the last axis only": [*image, Conv2D(1, 2, 1), Concatenate(Conv2D(2, 2, 1), Conv2D(2, 2, 2)), Flatten(), dense(8, 2)],
        r"expected signals with 2 channels, got \(4,\)": [Rescale(1), Conv1D(2, 2, 2, weight_quantizer=SIGN), Flatten()],
        r"expected signals that windows fit on, got \(2, 2\)": [Reshape((2, 2)), Rescale(1), Conv1D(2, 2, 3, weight_quantizer=SIGN), Flatten()],
        r"before any product": [*image, MaxPool2D(2), Flatten(), dense(1, 2)],
        r"only pixels": [*hidden, Rescale(2.0), Activation(SIGN), end],
        r"BatchNorm\(4\): expected it between": [Rescale(1), BatchNorm(4), end],
        r"Dropout\(0.5, rescale=False\): scales": [*hidden, Activation(SIGN), Dropout(0.5, rescale=False), end],
        r"padding of -1 is not exactly a pixel.*Rescale\(2 / 255, -1\) with -1": [*image, Conv2D(1, 2, 2, padding=1, padding_value=-1, weight_quantizer=SIGN), Flatten()],
        r"padding of 1 is not exactly a pixel": [*image, Conv2D(1, 2, 2, padding=1, padding_value=1, weight_quantizer=SIGN), Flatten()],
        r"the model's end: expected one value for each class": [*image, conv],
        r"the model's end.*bits": [*hidden, Activation(SIGN)],
        r"expected 4 channels": [*hidden, BatchNorm(3), Activation(SIGN), end],
        r"expected samples of shape \(5,\), got \(4,\)": [Rescale(1), dense(5, 2)],
        r"changes more than once|finite": [infinite_rescale(), Activation(SIGN), end],
    }  # fmt: skip


@pytest.mark.parametrize("message", refusals())
def test_refusals(message):
    model = Sequential(*refusals()[message]).initialize(0)
    with pytest.raises(PackError, match=message):
        pack(model, (4,))


def test_all_obstacles_are_told_at_once():
    """The same texts as when each is the only one; a layer that is only out of place comes once."""
    block = [Dense(16, 16), Activation(Tanh())]
    layers = [
        Reshape((8, 9, 1)),
        Rescale(1 / 255),
        Conv2D(1, 4, 3),
        BatchNorm(4),
        Activation(Tanh()),
        AveragePool2D(2),
        Conv2D(4, 4, 2),
        Dropout(0.5, rescale=False),
        Activation(SignSTE()),
        Flatten(),
        Residual(Sequential(*block)),
        Concatenate(Radial(16, 3), Dense(16, 3)),
        Dense(6, 3),
    ]
    with pytest.raises(PackError) as caught:
        pack(Sequential(*layers).initialize(0), (8, 9))
    first, *lines = str(caught.value).splitlines()
    assert first == "pack: 4 obstacles:"
    paths = [line.split(",")[0].strip() for line in lines]
    assert paths == [f"layer {i}" for i in ("4", "7", "10.block.1", "11.0")]
    layers[4], layers[7], layers[11] = Activation(ReLU()), Dropout(0.5), Dense(16, 6)
    layers[6] = Conv2D(4, 5, 2)
    block[1] = Activation(ReLU())
    layers[10] = Residual(Sequential(*block))
    with pytest.raises(PackError, match=r"^pack: layer 10.block.0, Dense.*got \(20,\)") as caught:
        pack(Sequential(*layers).initialize(0), (8, 9))
    layers[6] = Conv2D(4, 4, 2)
    pack(Sequential(*layers).initialize(0), (8, 9))


# --- values that are rounded ----------------------------------------------------------------------


def real(*layers, shape, change=None):
    """A model with real weights somewhere, packed; its float64 copy, and images."""
    model = Sequential(*layers).initialize(0)
    if change is not None:
        change(model)
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (500, *shape), np.uint8)
    images[:250] = rng.choice([0, 255], (250, *shape))
    return model, pack(model, shape), images


def off(model, packed, images):
    return abs(packed.logits(images) - model.forward(images)).max()


@pytest.mark.parametrize("branches", [False, True])
def test_what_rescale_layers_round_is_in_the_bound(branches):
    """They may cancel: float32 has few bits of a pixel left beside a million."""
    both = [Concatenate(Sequential(), Sequential()), Dense(12, 3)] if branches else [Dense(6, 3)]
    model, packed, images = real(Rescale(1 / 255, 1e6), Rescale(1, -1e6), *both, shape=(6,))
    away = off(model, packed, images)
    assert packed.bound / 10 < away <= packed.bound
    _, direct, _ = real(Rescale(1 / 255), Dense(6, 3), shape=(6,))
    assert direct.bound < packed.bound / 5


@pytest.mark.parametrize("slope", [-1.00004, 5, -4, -3.3, 30, -1000])
def test_steep_slopes_stay_within_16_bits_and_the_bound(slope):
    """The largest number is just too large for its slope once it is rounded up."""

    def change(model):
        model[1].weight.data[...] = [[-1, -1], [0.5, 0.25]]
        model[1].bias.data[...] = 1e-4, 2e-4
        largest = 32766 / abs(slope)
        model[1].weight.data *= (np.floor(largest) + 0.6) / (255 * 2**8)
        model[2].slope.data[...] = slope

    layers = Rescale(1), Dense(2, 2), PReLU(2), Dense(2, 2)
    model, packed, images = real(*layers, shape=(2,), change=change)
    images[0] = 255, 0
    for stage, within in zip(packed.stages, ranges((2,), packed.stages), strict=True):
        if stage.kind in ("scale", "slope"):
            assert within.within(-(2**15), 2**15 - 1)
    assert off(in_float64(model), packed, images) <= packed.bound
    assert off(in_float64(model), packed, images) > packed.bound / 100


def test_what_a_steep_slope_does_to_errors_is_in_the_bound():
    def change(model):
        calm(model, np.random.default_rng(3))
        model[3].slope.data[...] = 50

    layers = Rescale(2 / 255, -1), dense(16, 2), BatchNorm(2), PReLU(2), dense(2, 2)
    model, packed, images = real(*layers, shape=(16,), change=change)
    away = off(in_float64(model), packed, images)
    assert packed.bound / 3 < away <= packed.bound


def test_numbers_are_made_coarser_for_sums_of_32_bits():
    """Halved, the largest would be rounded up, and the largest sum would be 2^31 and more."""

    def change(model):
        model[1].weight.data[...], model[1].bias.data[...] = 1, 127
        model[2].weight.data[...] = 127
        model[2].weight.data[0] = 10

    layers = Rescale(1), Dense(128, 1033), Dense(1033, 2, bias=False)
    model, packed, images = real(*layers, shape=(128,), change=change)
    images[0] = 255
    kinds = [stage.kind for stage in packed.stages]
    assert kinds == ["dense", "scale", "scale", "integer_dense", "scores"]
    assert ranges((128,), packed.stages)[3].within(-(2**31) + 1, 2**31 - 1)
    assert off(in_float64(model), packed, images) <= packed.bound


def test_a_border_beyond_the_numbers_is_in_the_bound():
    """Numbers of 1/4 and -1/4 in a frame of ones, which meet most of the rounded weights."""
    quarter = Conv2D(1, 1, 1, bias=False, weight_quantizer=MagnitudeAwareSign())
    framed = Conv2D(1, 3, 3, padding=1, padding_value=1)

    def change(model):
        model[2].weight.data[...] = 0.25

    layers = Rescale(2 / 255, -1), Activation(SIGN), quarter, framed, Flatten()
    model, packed, images = real(*layers, shape=(1, 1, 1), change=change)
    assert packed.bound / 2.5 < off(in_float64(model), packed, images) <= packed.bound


def test_a_slope_that_a_sign_follows_has_as_many_channels():
    model = Sequential(Rescale(1), dense(6, 5), PReLU(4), Activation(SignSTE()), dense(5, 2))
    with pytest.raises(PackError, match="expected 5 channels"):
        pack(model.initialize(0), (6,))


def test_a_branch_alone_is_compared_as_a_whole():
    """Its signs are not among the layers of the model."""
    branch = Sequential(dense(6, 5), Activation(SignSTE()))
    model = Sequential(Rescale(1 / 255), Concatenate(branch), dense(5, 4), Activation(SignSTE()),
                       dense(4, 3)).initialize(0)  # fmt: skip
    assert not lower(model, (6,)).line
    assert lower(Sequential(model[0], *branch, *model[2:]), (6,)).line


def test_slopes_of_exact_numbers_give_what_lies_between_them():
    """Signs and their sums are whole numbers; a quarter of one is none."""
    for inside in ([], [dense(12, 12, bias=False)]):
        layers = Rescale(2 / 255, -1), Activation(SIGN), *inside, PReLU(12), dense(12, 3)
        model, packed, images = real(*layers, shape=(12,))
        assert off(in_float64(model), packed, images) <= packed.bound < 0.02


def test_whole_slopes_need_no_finer_numbers():
    layers = Rescale(2 / 255, -1), dense(12, 5), Activation(SIGN), dense(5, 5, bias=False)
    model = Sequential(*layers, Activation(ReLU()), dense(5, 3)).initialize(0)
    assert pack(model, (12,)).bound is None


def test_slopes_need_a_channel_each_as_the_model_does():
    model = Sequential(Rescale(1), dense(6, 5), PReLU(1), dense(5, 2)).initialize(0)
    with pytest.raises(PackError, match="expected 5 channels"):
        pack(model, (6,))


def test_more_levels_than_files_hold_are_refused():
    layers = Rescale(1), dense(6, 5), Activation(DoReFaActivations(9)), dense(5, 2)
    model = Sequential(*layers).initialize(0)
    with pytest.raises(PackError, match="expected up to 8 bits, got 9; write DoReFaActivations"):
        pack(model, (6,))
    model[2].function = DoReFaActivations(8)
    assert [stage.kind for stage in pack(model, (6,)).stages][1] == "levels"


def test_each_branch_rescales_for_itself():
    def away_from_ties(model):
        calm(model, np.random.default_rng(0))

    branches = [
        Sequential(Rescale(2 / 255, -1), Activation(SIGN)),
        Sequential(Rescale(1 / 255, -0.25), Activation(SIGN)),
        Sequential(Rescale(1 / 255), dense(12, 8), Activation(SIGN)),
        Sequential(Rescale(1 / 255, -1), Dense(12, 3)),
    ]
    for parts in (branches[:3], branches):
        n = 32 + 3 * (len(parts) == 4)
        layers = Concatenate(*parts), dense(n, 4)
        model, packed, images = real(*layers, shape=(12,), change=away_from_ties)
        assert off(in_float64(model), packed, images) <= (packed.bound or 1e-5)


def test_a_code_beside_a_branch_that_rescales():
    code = Thermometer(12, 3).fit(np.random.default_rng(1).integers(0, 256, (90, 12), np.uint8))
    first = Sequential(Rescale(-1 / 255), dense(12, 8), Activation(SIGN))
    model = Sequential(Concatenate(first, code), dense(44, 3)).initialize(0)
    first[1].bias.data[...] = 0.01
    model.input_contract = InputContract("uint8", (12,))
    images = np.random.default_rng(0).integers(0, 256, (200, 12), np.uint8)
    assert off(model, pack(model, (12,)), images) <= 1e-5


@pytest.mark.parametrize("around", [Residual, Concatenate])
def test_what_a_branch_rescales_is_not_rescaled_beside_it(around):
    inside = Sequential(Rescale(2, -1), dense(12, 12))
    layers = Rescale(1 / 255), around(inside, Sequential())
    model, packed, images = real(*layers, dense(12 if around is Residual else 24, 4), shape=(12,))
    assert off(in_float64(model), packed, images) <= packed.bound < 0.1
