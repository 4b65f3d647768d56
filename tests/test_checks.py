"""Which numbers public callables accept: NumPy's as well as Python's, and nothing else."""

from __future__ import annotations

import inspect
import pickle
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import minibnn
from minibnn import (
    SGD,
    Adam,
    AdaMax,
    AdamW,
    AveragePool2D,
    BatchNorm,
    Bop,
    CapturedSteps,
    Constant,
    Conv1D,
    Conv2D,
    Cosine,
    Cutout,
    DataLoader,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Dropout,
    EarlyStopping,
    Exponential,
    Fill,
    Flatten,
    Heaviside,
    Huber,
    ImageDataset,
    InputContract,
    IterableLoader,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    MaxPool2D,
    OneHotCode,
    Parameter,
    PerEpoch,
    PlainSteps,
    PReLU,
    Radial,
    RandomShift,
    RandomStream,
    Recipe,
    Rescale,
    Reshape,
    Sequential,
    ShiftAdaMax,
    ShiftBatchNorm,
    SignSTE,
    Standardize,
    StochasticSign,
    SwishSign,
    TensorNorm,
    Ternary,
    TernaryWeights,
    Thermometer,
    Uniform,
    WarmUp,
    check_gradients,
    clip_gradients,
    diagnose,
    fit,
    glorot_lr_scale,
    one_hot,
    pack,
    plot_function,
    plot_weight_bits,
    rank,
    read_idx,
    write_idx,
)
from minibnn.backend import CPU
from minibnn.checks import boolean, generator, integer, number, shape
from minibnn.comparison import Entry, compare, sweep
from minibnn.recipes import RECIPES, finn

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LABELS = np.arange(6) % 2


def parts():
    model = Dense(4, 2, weight_quantizer=SignSTE()).initialize(0)
    return model, LogitCrossEntropy(), SGD(model.parameters(), 0.1)


def weights():
    return [Dense(2, 2, weight_quantizer=SignSTE(), bias=False).initialize(0).weight]


def trained(epochs):
    model, loss, optimizer = parts()
    data = DataLoader((X, LABELS), 3)
    return fit(model, data, data, loss=loss, optimizer=optimizer, epochs=epochs).to_csv()


def fitted(**options):
    model, loss, optimizer = parts()
    train = DataLoader((X, LABELS), 3, shuffle=True, rng=0)
    return fit(model, train, loss=loss, optimizer=optimizer, epochs=2, **options).to_csv()


def clipped(norm):
    optimizer = parts()[2]
    optimizer.store.grad[...] = 1.0
    return float(clip_gradients(optimizer, norm)), optimizer.store.grad.tolist()


def steps(n):
    return CapturedSteps(*parts(), steps_at_once=n).steps_at_once


def stepped(n):
    optimizer = parts()[2]
    optimizer.steps = n
    return optimizer


def drawn(n):
    stream = RandomStream()
    stream.count = n
    return stream


def drawn_from(n):
    stream = RandomStream()
    stream.initialize(np.random.default_rng(0))
    stream.first_sample = n
    return stream.uniform(CPU, (2, 3), np.float32).tolist()


def checked(**options):
    return check_gradients(Dense(4, 2), X.astype(np.float64), **options)


def packed(n):
    layers = Flatten(), Rescale(1 / 255), Dense(12, 2, weight_quantizer=SignSTE(), bias=False)
    return pack(Sequential(*layers).initialize(0), (n, 4)).sha256


def bits_drawn(**options):
    pytest.importorskip("matplotlib")
    model = Dense(12, 2, weight_quantizer=SignSTE()).initialize(0)
    return len(plot_weight_bits(model, **options).axes)


def tiny():
    images, labels = np.arange(784 * 100).astype(np.uint8).reshape(-1, 28, 28), np.arange(100) % 10
    return ImageDataset("tiny", images, labels, images[:20], labels[:20])


def compared(n):
    recipe = RECIPES["seed"]()
    with pytest.MonkeyPatch.context() as patch:  # the training itself does not matter here
        patch.setattr(
            type(recipe), "train", lambda *_, seed, **__: ran.append(seed) or no_history()
        )
        ran: list[int] = []
        compare(recipe, [Entry()], tiny(), seeds=n)
    return ran


def no_history():
    raise minibnn.DivergedError(np.inf, 1, 1, None)


def idx(n):
    path = Path("here.idx")
    write_idx(path, np.zeros(3, np.uint8))
    return read_idx(path, max_bytes=n)


# Callables with an integer argument, and a valid value.
INTEGERS = {
    "AveragePool2D.size": (AveragePool2D, 2),
    "AveragePool2D.stride": (lambda n: AveragePool2D((2, n), (n, 1)), 2),
    "BatchNorm.channels": (BatchNorm, 3),
    "Cutout.size": (lambda n: Cutout(n).size, 2),
    "Conv1D.in_channels": (lambda n: Conv1D(n, 2, 3), 4),
    "Conv1D.out_channels": (lambda n: Conv1D(2, n, 3), 4),
    "Conv1D.kernel_size": (lambda n: Conv1D(2, 2, n), 4),
    "Conv1D.stride": (lambda n: Conv1D(2, 2, 3, stride=n), 2),
    "Conv1D.padding": (lambda n: Conv1D(2, 2, 3, padding=n), 2),
    "Conv1D.dilation": (lambda n: Conv1D(2, 2, 3, dilation=n), 2),
    "Conv1D.groups": (lambda n: Conv1D(2, 2, 3, groups=n), 2),
    "Conv2D.in_channels": (lambda n: Conv2D(n, 2, 3), 4),
    "Conv2D.out_channels": (lambda n: Conv2D(2, n, 3), 4),
    "Conv2D.kernel_size": (lambda n: Conv2D(2, 2, (3, n)), 4),
    "Conv2D.stride": (lambda n: Conv2D(2, 2, 3, stride=n), 2),
    "Conv2D.padding": (lambda n: Conv2D(2, 2, 3, padding=n), 2),
    "Conv2D.dilation": (lambda n: Conv2D(2, 2, 3, dilation=(n, n)), 2),
    "Conv2D.groups": (lambda n: Conv2D(2, 2, 3, groups=n), 2),
    "Cosine.length": (lambda n: Cosine(1.0, 0.0, n), 5),
    "DataLoader.batch_size": (lambda n: DataLoader((X, LABELS), n), 2),
    "DataLoader.rng": (lambda n: DataLoader((X,), 2, shuffle=True, rng=n).order(n).tolist(), 3),
    "Dense.in_features": (lambda n: Dense(n, 2), 3),
    "Dense.out_features": (lambda n: Dense(2, n), 3),
    "DoReFaActivations.bits": (DoReFaActivations, 3),
    "DoReFaWeights.bits": (DoReFaWeights, 3),
    "EarlyStopping.patience": (lambda n: EarlyStopping("loss_train", n), 3),
    "IterableLoader.length": (lambda n: len(IterableLoader(lambda epoch: [], n)), 3),
    "Layer.predict": (lambda n: parts()[0].predict(X, batch_size=n).tolist(), 2),
    "OneHotCode.categories": (lambda n: OneHotCode(2, n), 3),
    "OneHotCode.features": (lambda n: OneHotCode(n, 2), 3),
    "RandomShift.pixels": (lambda n: RandomShift(n).pixels, 2),
    "RandomStream.count": (drawn, 3),
    "RandomStream.first_sample": (drawn_from, 3),
    "Exponential.length": (lambda n: Exponential(1.0, 0.1, n), 5),
    "InputContract.shape": (lambda n: InputContract("uint8", (n, 2)), 3),
    "Layer.initialize": (lambda n: Dense(2, 2).initialize(n).weight.data.tobytes(), 3),
    "Layer.summary": (lambda n: BatchNorm(4).summary((n, 4)), 3),
    "MaxPool2D.size": (MaxPool2D, 2),
    "MaxPool2D.stride": (lambda n: MaxPool2D(2, n), 1),
    "Optimizer.steps": (stepped, 3),
    "Parameter.shape": (lambda n: Parameter("weight", (n, 2), Fill(0.0)), 3),
    "PerEpoch.steps_per_epoch": (lambda n: PerEpoch(Constant(0.1), n), 3),
    "Radial.in_features": (lambda n: Radial(n, 2), 3),
    "Radial.out_features": (lambda n: Radial(2, n), 3),
    "CapturedSteps.steps_at_once": (steps, 3),
    "Reshape.shape": (lambda n: Reshape((n, 2)), 3),
    "PReLU.channels": (PReLU, 3),
    "ShiftBatchNorm.channels": (ShiftBatchNorm, 3),
    "WarmUp.length": (lambda n: WarmUp(Constant(0.1), n), 2),
    "check_gradients.rng": (lambda n: checked(rng=n), 3),
    "check_gradients.max_elements": (lambda n: checked(max_elements=n), 3),
    "compare.seeds": (compared, 2),
    "compare.jobs": (lambda n: sweep._pool(n, 9).number, 2),
    "diagnose.samples": (
        lambda n: diagnose(parts()[0], DataLoader((X, LABELS), 3), samples=n),
        3,
    ),
    "finn.width": (lambda n: finn("f", n, input_bits=1, epochs=1, learning_rate=0.1).build(), 8),
    "finn.input_bits": (
        lambda n: finn("f", 8, input_bits=n, epochs=1, learning_rate=0.1).build(),
        8,
    ),
    "finn.threshold": (
        lambda n: finn("f", 8, input_bits=1, epochs=1, learning_rate=0.1, threshold=n).build(),
        8,
    ),
    "fit.epochs": (trained, 2),
    "fit.evaluate_train": (lambda n: fitted(evaluate_train=n), 2),
    "glorot_lr_scale.fan_in": (lambda n: glorot_lr_scale(n, 2), 3),
    "glorot_lr_scale.fan_out": (lambda n: glorot_lr_scale(2, n), 3),
    "one_hot.classes": (lambda n: one_hot(LABELS, n).tolist(), 3),
    "pack.input_shape": (packed, 3),
    "plot_weight_bits.image_shape": (lambda n: bits_drawn(image_shape=(n, 4)), 3),
    "plot_weight_bits.columns": (lambda n: bits_drawn(image_shape=(3, 4), columns=n), 1),
    "read_idx.max_bytes": (idx, 3),
    "Recipe.epochs": (lambda n: finn("f", 8, input_bits=1, epochs=n, learning_rate=0.1).epochs, 3),
    "Recipe.batch_size": (lambda n: Recipe("r", tiny, 1, n, 0.1).batch_size, 3),
    "Recipe.held_out": (lambda n: Recipe("r", tiny, 1, 9, 0.1, held_out=n).held_out, 3),
    "Recipe.seed": (
        lambda n: RECIPES["seed"]().train(tiny(), seed=n, epochs=1, held_out=30)[1].to_csv(),
        3,
    ),
    "validation_split.count": (
        lambda n: tiny().validation_split(n, np.random.default_rng(0)),
        3,
    ),
    "Standardize.features": (Standardize, 3),
    "Thermometer.bits": (lambda n: Thermometer(2, n), 3),
    "Thermometer.features": (lambda n: Thermometer(n, 2), 3),
}

MAY_BE_NONE = ("AveragePool2D.stride", "MaxPool2D.stride", "Layer.predict", "fit.evaluate_train")
SEEDS = ("check_gradients.rng", "Layer.initialize", "Recipe.seed")

RUNS = pd.DataFrame({"entry": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1],
                     "accuracy": [0.1, 0.3, 0.5, 0.6]})  # fmt: skip

# Callables with a number argument, and a valid value; it and 1 may have any numeric type.
NUMBERS = {
    **{
        f"{kind.__name__}.{name}": (
            lambda v, kind=kind, name=name, rate=rate: kind(weights(), **{**rate, name: v}),
            0.5,
        )
        for kind, rate, names in (
            (SGD, {"learning_rate": 0.1}, "learning_rate momentum"),
            (Adam, {}, "learning_rate beta1 beta2 epsilon"),
            (AdamW, {}, "learning_rate beta1 beta2 epsilon weight_decay"),
            (AdaMax, {}, "learning_rate beta1 beta2 epsilon"),
            (ShiftAdaMax, {}, "learning_rate beta1 beta2 epsilon"),
            (Bop, {}, "threshold gamma"),
        )
        for name in names.split()
    },
    **{
        f"{kind.__name__}.clip": (lambda v, kind=kind: kind(clip=v), 0.5)
        for kind in (Heaviside, MagnitudeAwareSign, SignSTE, StochasticSign, Ternary)
    },
    "TernaryWeights.clip": (lambda v: TernaryWeights(clip=v), 0.5),
    "Ternary.threshold": (lambda v: Ternary(threshold=v), 0.5),
    "SwishSign.beta": (SwishSign, 0.5),
    "BatchNorm.momentum": (lambda v: BatchNorm(3, momentum=v), 0.5),
    "BatchNorm.epsilon": (lambda v: BatchNorm(3, epsilon=v), 0.5),
    "ShiftBatchNorm.momentum": (lambda v: ShiftBatchNorm(3, momentum=v), 0.5),
    "ShiftBatchNorm.epsilon": (lambda v: ShiftBatchNorm(3, epsilon=v), 0.5),
    "TensorNorm.momentum": (lambda v: TensorNorm(momentum=v), 0.5),
    "TensorNorm.epsilon": (lambda v: TensorNorm(epsilon=v), 0.5),
    "Constant.value": (Constant, 0.5),
    "Cosine.start": (lambda v: Cosine(v, 0.0, 3), 0.5),
    "Cosine.end": (lambda v: Cosine(1.0, v, 3), 0.5),
    "Exponential.start": (lambda v: Exponential(v, 0.1, 3), 0.5),
    "Exponential.end": (lambda v: Exponential(1.0, v, 3), 0.5),
    "Conv1D.padding_value": (lambda v: Conv1D(1, 1, 3, padding_value=v), -1.0),
    "Conv1D.weight_bound": (lambda v: Conv1D(1, 1, 3, weight_bound=v), 0.5),
    "Conv1D.lr_scale": (lambda v: Conv1D(1, 1, 3, lr_scale=v), 0.5),
    "Conv2D.padding_value": (lambda v: Conv2D(1, 1, 3, padding_value=v), -1.0),
    "Conv2D.weight_bound": (lambda v: Conv2D(1, 1, 3, weight_bound=v), 0.5),
    "Conv2D.lr_scale": (lambda v: Conv2D(1, 1, 3, lr_scale=v), 0.5),
    "Dense.weight_bound": (lambda v: Dense(1, 1, weight_bound=v), 0.5),
    "Dense.lr_scale": (lambda v: Dense(1, 1, lr_scale=v), 0.5),
    "Radial.weight_bound": (lambda v: Radial(1, 1, weight_bound=v), 0.5),
    "Radial.lr_scale": (lambda v: Radial(1, 1, lr_scale=v), 0.5),
    "Parameter.bound": (lambda v: Parameter("w", (1,), Fill(0.0), bound=v), 0.5),
    "Parameter.lr_scale": (lambda v: Parameter("w", (1,), Fill(0.0), lr_scale=v), 0.5),
    "Cutout.fill": (lambda v: Cutout(2, v).fill, 0.5),
    "Dropout.rate": (Dropout, 0.5),
    "Fill.value": (Fill, 0.5),
    "Huber.delta": (Huber, 0.5),
    "InputContract.low": (lambda v: InputContract("float32", (3,), v, 1.0), 0.5),
    "InputContract.high": (lambda v: InputContract("float32", (3,), 0.0, v), 0.5),
    "LogitCrossEntropy.label_smoothing": (LogitCrossEntropy, 0.5),
    "RandomShift.fill": (lambda v: RandomShift(2, v).fill, 0.5),
    "rank.resolution": (lambda v: rank(RUNS, resolution=v).to_csv(), 0.5),
    "Rescale.scale": (Rescale, 0.5),
    "Rescale.offset": (lambda v: Rescale(1.0, v), 0.5),
    "Uniform.low": (Uniform, 0.5),
    "Uniform.high": (lambda v: Uniform(0.0, v), 0.5),
    "check_gradients.tolerance": (lambda v: checked(tolerance=v), 0.5),
    "clip_gradients.norm": (clipped, 0.5),
    "fit.validation": (lambda v: fitted(validation=v), 0.5),
    "PlainSteps.clip_norm": (lambda v: PlainSteps(*parts(), clip_norm=v).clip_norm, 0.5),
    "CapturedSteps.clip_norm": (lambda v: CapturedSteps(*parts(), clip_norm=v).clip_norm, 0.5),
    "fit.clip_norm": (lambda v: fitted(clip_norm=v), 0.5),
    "finn.dropout": (
        lambda v: finn("f", 8, input_bits=1, epochs=1, learning_rate=0.1, dropout=v).build(),
        0.5,
    ),
    "plot_function.limits": (lambda v: limits_drawn(v), 0.5),
    "Recipe.learning_rate": (
        lambda v: finn("f", 8, input_bits=1, epochs=1, learning_rate=v).learning_rate,
        0.5,
    ),
}


def limits_drawn(low):
    pytest.importorskip("matplotlib")
    return plot_function(SignSTE(), limits=(low, 2)).axes[0].get_xlim()


def seen(value):
    """The numbers of an object, with their types."""
    return repr(value), repr(getattr(value, "__dict__", None)) if "object at" not in repr(
        getattr(value, "__dict__", None)
    ) else ""


@pytest.mark.parametrize("name", INTEGERS)
def test_integers_of_numpy_are_integers(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make, n = INTEGERS[name]
    expected = seen(make(n))
    for kind in (np.int64, np.uint8, np.array):
        assert seen(make(kind(n))) == expected
    for wrong in (True, np.True_, np.array(True), float(n), np.float32(n), str(n), [n], None):
        if wrong is None and name in MAY_BE_NONE:
            continue
        if name in SEEDS and isinstance(wrong, list):
            continue  # NumPy's seeds may be lists
        with pytest.raises((TypeError, ValueError), match=r"expected") as caught:
            make(wrong)
        if type(wrong) is bool:
            assert "True" in str(caught.value)


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_of_numpy_are_numbers(name):
    make, value = NUMBERS[name]
    expected = seen(make(value))
    for kind in (np.float64, np.float32, np.array, Fraction):
        assert seen(make(kind(value))) == expected
    for wrong in (True, np.True_, np.array(True), str(value), [value], 1j, b"1"):
        with pytest.raises(TypeError, match=r"expected") as caught:
            make(wrong)
        if wrong is True:
            assert "got True" in str(caught.value)


# Records that minibnn makes itself; users do not call them with numbers.
RECORDS = [
    "Diagnosis",
    "Disagreements",
    "DivergedError",
    "Finding",
    "GradientReport",
    "GradientResult",
    "IdxFormatError",
    "Metrics",
    "PackedModel",
]


# Of pictures, which take a package; tests/data/test_folders.py has them.
SIZES = ("read_parts.size", "read_samples.size")


def test_no_public_callable_is_left_out():
    missing = []
    for name in minibnn.__all__:
        if name in RECORDS:
            continue
        try:
            parameters = inspect.signature(getattr(minibnn, name)).parameters.values()
        except (TypeError, ValueError):
            continue
        for p in parameters:
            kinds = set(re.findall(r"\b(int|float)\b", str(p.annotation)))
            table = {**INTEGERS, **NUMBERS}
            if kinds and f"{name}.{p.name}" not in {**table, **dict.fromkeys(SIZES)}:
                missing.append(f"{name}.{p.name}")
    assert missing == []


def test_what_is_made_of_numpys_numbers_is_pickled_and_written_as_before():
    plain = Conv2D(2, 4, 3, stride=2, groups=2, weight_bound=1.0)
    numpys = Conv2D(
        *np.array([2, 4, 3]), stride=np.int8(2), groups=np.int16(2), weight_bound=np.float32(1)
    )
    assert pickle.dumps(plain) == pickle.dumps(numpys)


@pytest.mark.parametrize("n", [3, np.uint64(2**63), np.array(7), -1])
def test_integer(n):
    got = integer("f", "n", n)
    assert type(got) is int
    assert got == n


def test_number_keeps_what_is_pythons():
    for x in (3, 0.1, float("inf")):
        assert number("f", "x", x) is x
    assert type(number("f", "x", np.float32(0.5))) is float
    with pytest.raises(ValueError, match="f: expected x to be a number that a float can hold, got"):
        number("f", "x", 10**400)


def test_boolean():
    for value in (True, np.True_):
        assert boolean("who", "flag", value) is True
    for wrong in ("no", 1, None, np.ones(1, bool)):
        with pytest.raises(TypeError, match="who: expected flag, True or False, got"):
            boolean("who", "flag", wrong)


def test_shape():
    assert shape("f", "s", [np.int64(3), 2]) == (3, 2)
    with pytest.raises(ValueError, match=r"f: expected sizes of at least 1 in s, got \(3, 0\)"):
        shape("f", "s", (3, 0))


def test_generator():
    rng = np.random.default_rng(3)
    assert generator("f", rng) is rng
    expected = np.random.default_rng(3).random()
    for seed in (3, np.int64(3), np.random.SeedSequence(3), np.random.PCG64(3)):
        assert generator("f", seed).random() == expected
    assert generator("f", [3, 4]).random() == np.random.default_rng([3, 4]).random()
    with pytest.raises(ValueError, match="seed of at least 0, got -1"):
        generator("f", -1)
    with pytest.raises(TypeError, match=r"f: expected a numpy.random.Generator or a seed, got 1.5"):
        generator("f", 1.5)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("0.1", "Adam: expected learning rate to be a number, got '0.1'; write it without quotes"),
        (True, "got True; write 1.0"),
        (Cosine, r"expected learning rate to be a function .* got the class Cosine; write an obj"),
        ([0.1], r"expected learning rate to be a number, got \[0.1\]"),
        (None, "expected learning rate to be a number, got None"),
    ],
)
def test_a_learning_rate_that_is_none(value, hint):
    with pytest.raises(TypeError, match=hint):
        Adam(weights(), value)
    optimizer = Adam(weights())
    with pytest.raises(TypeError, match=hint):
        optimizer.learning_rate = value
