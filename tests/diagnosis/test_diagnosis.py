"""The diagnosis: each check fires on the fault planted for it, and is silent on a sound model."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass

import numpy as np
import pytest
import strictdev
from devices import STRICT

from minibnn import (
    Activation,
    Adam,
    AveragePool2D,
    BatchNorm,
    Blocked,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    Dropout,
    Finding,
    Flatten,
    Function,
    Hinge,
    Layer,
    LogitCrossEntropy,
    MaxPool2D,
    PackError,
    RandomStream,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    SquaredHinge,
    Uniform,
    diagnose,
    fit,
    load_sample,
    pack,
)
from minibnn.recipes import RECIPES

LABELS = np.arange(300) % 3
X = np.random.default_rng(5).standard_normal((3, 12))[LABELS]
X = (X + np.random.default_rng(6).standard_normal((300, 12))).astype(np.float32)


def loader(x=X, labels=LABELS):
    return DataLoader((x, labels), 50, shuffle=True, rng=1)


def dense(n, m, **options):
    settings = {"weight_init": Uniform(-1, 1), "weight_bound": 1.0} | options
    return Dense(n, m, bias=False, weight_quantizer=SignSTE(), **settings)


def sound() -> list[Layer]:
    return [
        dense(12, 21),
        BatchNorm(21),
        Activation(SignSTE(clip=1.0)),
        dense(21, 15),
        BatchNorm(15),
        Activation(SignSTE(clip=1.0)),
        dense(15, 3),
        BatchNorm(3),
    ]


def build(layers, backend="cpu") -> Sequential:
    return Sequential(*layers).initialize(3).to(backend)


def kinds(report, *severities):
    return [(f.kind, f.where) for f in report.findings if f.severity in severities]


def diagnosed(model, data=None):
    return diagnose(model, (data or loader()).to(model.backend))


# --- Sound models ---------------------------------------------------------------------------


def test_a_sound_model_fresh_and_trained(backend):
    model = build(sound(), backend)
    data = loader().to(backend)
    assert diagnose(model, data).findings == ()
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), 1e-2), epochs=2)  # fmt: skip
    report = diagnose(model, data)
    assert report.findings == (), str(report)
    assert report
    assert report.ok
    assert str(report) == "diagnosis of Sequential(8 layers) on 300 samples: healthy"


@pytest.mark.parametrize("recipe", ["seed", "modern"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_examples_are_sound_fresh_and_after_an_epoch(recipe, seed):
    """The seed recipe leaves dark pixels at zero, which deserves a note and no more."""
    digits = load_sample()
    data = DataLoader(
        (digits.train_images, digits.train_labels), 100, shuffle=True, drop_last=True, rng=seed
    )
    settings = RECIPES[recipe]()
    model = settings.build().initialize(seed)
    noted = [("zero-input", "2.weight")] if recipe == "seed" else []
    report = diagnose(model, data)
    assert kinds(report, "error", "warning", "note") == noted, str(report)
    optimizer = Adam(model.parameters(), settings.learning_rate)
    fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    report = diagnose(model, data)
    assert report.ok, str(report)
    assert kinds(report, "note") == noted, str(report)


# --- Planted faults -------------------------------------------------------------------------


def blocked():
    layers = sound()
    layers[3] = dense(21, 15, feedback=Blocked())
    return build(layers), None


def shifted_away():
    """One unit's threshold lies outside of all values: no gradient passes its clip."""
    model = build(sound())
    model[1].beta.data[4] = 40.0
    return model, None


def beyond_the_clip():
    layers = sound()
    layers[3] = Dense(
        21, 15, bias=False, weight_quantizer=SignSTE(clip=1.0), weight_init=Uniform(-2, 2)
    )
    return build(layers), None


def dark_pixels():
    x = X.copy()
    x[:, [2, 5, 7]] = 0
    return build(sound()), loader(x)


def no_batch_norm():
    layers = sound()
    layers[0:2] = [Rescale(5.0), dense(12, 21)]
    return build(layers), None


def thrown_about():
    model = build(sound())
    model[3].weight.data[...] = SignSTE().forward(model[3].weight.data)
    return model, None


def off_centre():
    layers = sound()
    layers[0:3] = [dense(12, 21), Rescale(1.0, 50.0), Activation(SignSTE())]
    return build(layers), None


def small(c, value):
    def plant():
        model = build(sound())
        model[4].gamma.data[c] = value
        return model, None

    return plant


def small_beside_its_shift():
    model = build(sound())
    model[4].gamma.data[2], model[4].beta.data[2] = 0.05, -6.0
    return model, None


def relu_before_sign():
    layers = sound()
    layers[2:3] = [Activation(ReLU()), Activation(SignSTE(clip=1.0))]
    return build(layers), None


def norm_after_sign():
    layers = sound()
    layers[1], layers[2] = layers[2], layers[1]
    return build(layers), None


def real_activations():
    layers = [dense(12, 21), BatchNorm(21), Activation(ReLU()), dense(21, 3), BatchNorm(3)]
    return build(layers), None


def nan_in_the_data():
    x = X.copy()
    x[7, 3] = np.nan
    return build(sound()), loader(x)


def nan_in_a_weight():
    model = build(sound())
    model[3].weight.data[1, 2] = np.inf
    return model, None


class Root(Layer):
    """Its forward gives nan for negative inputs."""

    def forward(self, x, *, train=False):
        self.saved = (x.shape,) if train else None
        return self.backend.xp.sqrt(x)

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


class Broken(Function):
    """Its backward divides by zero."""

    def forward(self, x):
        return x + 0

    def backward(self, dy, x):
        return dy / (x * 0)


def nan_from_a_layer():
    layers = sound()
    layers.insert(2, Root())
    return build(layers), None


def nan_from_a_backward():
    layers = sound()
    layers.insert(2, Activation(Broken()))
    return build(layers), None


FAULTS = [
    # What is planted, and each finding with its figure: the fault's, then its consequences'.
    (blocked, {("starved", "0.weight"): 1.0}),
    (shifted_away, {("starved", "0.weight"): 1 / 21, ("constant", "2"): 1 / 21}),
    (beyond_the_clip, {("clipped", "3.weight"): 0.5}),
    (dark_pixels, {("zero-input", "0.weight"): 3 / 12}),
    (no_batch_norm, {("saturated", "2"): 0.96}),
    (off_centre, {("constant", "2"): 1.0, ("constant", "5"): 1.0}),
    (thrown_about, {("at-bound", "3.weight"): 1.0}),
    (
        small(2, 0.0),
        {
            ("small-scale", "4.gamma"): 1 / 15,
            ("starved", "3.weight"): 1 / 15,
            ("constant", "5"): 1 / 15,
        },
    ),
    (small(2, -0.001), {("small-scale", "4.gamma"): 1 / 15}),
    (small(slice(None), 1e-4), {("small-scale", "4.gamma"): 1.0}),
    (
        small_beside_its_shift,
        {
            ("small-scale", "4.gamma"): 1 / 15,
            ("starved", "3.weight"): 1 / 15,
            ("constant", "5"): 1 / 15,
        },
    ),
    (
        relu_before_sign,
        {("zero-at-sign", "3"): 0.5, ("constant", "3"): 1.0, ("constant", "6"): 1.0},
    ),
    (norm_after_sign, {("real-input", "3"): 1.0, ("saturated", "1"): 0.8}),
    (real_activations, {("real-input", "3"): 1.0}),
    (nan_in_the_data, {("non-finite", ""): 1 / 3600}),
    (nan_in_a_weight, {("non-finite", "3.weight"): 1 / 315}),
    (nan_from_a_layer, {("non-finite", "2"): 0.5}),
    (nan_from_a_backward, {("non-finite", "0.weight"): 1.0}),
]
NOTED = {"dark_pixels", "real_activations"}


@pytest.mark.parametrize(("plant", "expected"), FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_a_planted_fault_is_found_with_its_consequences_and_nothing_else(plant, expected, backend):
    model, data = plant()
    report = diagnosed(model.to(backend), data)
    assert {(f.kind, f.where): f.figure for f in report.findings} == pytest.approx(
        expected, rel=0.1
    ), str(report)
    assert bool(report) == report.ok == (plant.__name__ in NOTED)
    errors = {f.kind for f in report.findings if f.severity == "error"}
    assert errors <= {"non-finite"}


# --- What is none ---------------------------------------------------------------------------


class Step(Function):
    """1 for positive values, else 0: zero goes with the negative ones."""

    bits = 1

    def forward(self, x):
        return (x > 0).astype(x.dtype)

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


def test_a_relu_before_a_step_loses_nothing(backend):
    layers = sound()
    layers[2:3] = [Activation(ReLU()), Activation(Step())]
    assert diagnosed(build(layers, backend)).findings == ()


class Halves(Function):
    """Some values of two bits."""

    bits = 2

    def forward(self, x):
        return x.clip(-1, 1).round()

    def backward(self, dy, x):
        return dy * (abs(x) <= 1)


def test_activations_of_few_bits_are_no_leak(backend):
    layers = sound()
    layers[2] = Activation(Halves())
    assert diagnosed(build(layers, backend)).findings == ()


class Noise(Layer):
    """Draws in training; zeros half of its input, as dropout does."""

    def __init__(self):
        self.stream = RandomStream()

    def forward(self, x, *, train=False):
        if not train:
            return x
        keep = self.stream.uniform(self.backend, x.shape, x.dtype) < 0.5
        self.saved = (x.shape, keep)
        return x * keep

    def backward(self, dy, *, need_dx=True):
        (keep,) = self.take_saved(dy)
        return dy * keep


def test_what_dropout_does_in_training_is_no_fault(backend):
    layers = sound()
    layers[3:3] = [Noise()]  # between a sign and a binary layer
    layers[2:2] = [Noise()]  # before a sign
    assert diagnosed(build(layers, backend)).findings == ()


def test_binarised_pixels_may_be_constant(backend):
    """A pixel that is dark in every image is no dead unit."""
    x = X.copy()
    x[:, :4] = -1.0
    layers = [Activation(SignSTE()), *sound()]
    assert diagnosed(build(layers, backend), loader(x)).findings == ()


def test_images_of_channels(backend):
    """Units are channels, wherever in the image."""

    class Channelwise(Dense):
        def forward(self, x, *, train=False):
            y = super().forward(x.reshape(-1, x.shape[-1]), train=train)
            return y.reshape(*x.shape[:-1], -1)

        def backward(self, dy, *, need_dx=True):
            dx = super().backward(dy.reshape(-1, dy.shape[-1]), need_dx=need_dx)
            return None if dx is None else dx.reshape(*dy.shape[:-1], -1)

    def make():
        return build(
            [
                Channelwise(3, 7, bias=False, weight_quantizer=SignSTE()),
                BatchNorm(7),
                Activation(SignSTE(clip=1.0)),
                Flatten(),
                dense(28, 3),
                BatchNorm(3),
            ],
            backend,
        )

    images = loader(X.reshape(300, 2, 2, 3))
    assert diagnosed(make(), images).findings == ()
    model = make()
    model[1].beta.data[2] = 30.0
    found = {(f.kind, f.where): f.figure for f in diagnosed(model, images).findings}
    assert found == pytest.approx({("starved", "0.weight"): 1 / 7, ("constant", "2"): 1 / 7})


@dataclass
class OneWay(Function):
    """A sign that stops the gradients which would carry a value further outside."""

    bits = 1

    def forward(self, x):
        return SignSTE().forward(x)

    def backward(self, dy, x):
        return dy * ~((x >= 1) & (dy < 0) | (x <= -1) & (dy > 0))


def test_weights_at_an_edge_that_lets_them_back_are_not_starved(backend):
    layers = sound()
    layers[3] = Dense(
        21, 15, bias=False, weight_quantizer=OneWay(), weight_init=Uniform(-2, 2), weight_bound=1.0
    )
    model = build(layers, backend)
    model[3].weight.data[...] = model[3].weight.data.clip(-1, 1)  # half of them at the edge
    assert diagnosed(model).findings == ()


def test_a_sparse_relu_is_not_saturated(backend):
    layers = [Dense(12, 21), BatchNorm(21), Activation(ReLU()), Dense(21, 3), BatchNorm(3)]
    model = build(layers, backend)
    model[1].beta.data[...] = -1.2
    assert diagnosed(model).findings == ()


def test_a_starved_unit_counts_with_the_weights_of_constant_inputs(backend):
    x = X.copy()
    x[:, :4] = -1.0
    model, _ = shifted_away()
    found = {f.kind: f.figure for f in diagnosed(model.to(backend), loader(x)).findings}
    assert found["starved"] == pytest.approx(1 / 21)


def test_what_a_container_does_is_not_blamed_on_the_next_layer(backend):
    class Spoiling(Sequential):
        def forward(self, x, *, train=False):
            return super().forward(x * np.float32("inf"), train=train)

    report = diagnosed(Spoiling(*sound()).initialize(3).to(backend))
    (finding,) = report.findings
    assert (finding.kind, finding.where) == ("non-finite", "")
    assert "100% of the losses are nan or inf" in str(report)


def test_a_model_that_leaves_its_loss_nothing_to_ask_is_not_starved(backend):
    """Beyond a hinge's margin, and where a softmax underflows, gradients are exactly zero."""
    model = build([*sound(), Rescale(1e6)], backend)
    y = copy.deepcopy(model).forward(backend.asarray(X), train=True)
    labels = backend.to_host(y).argmax(axis=1)
    assert float(LogitCrossEntropy().forward(y, backend.asarray(labels))) == 0
    for wrong in (0, 1):  # samples that still have a loss
        labels[:wrong] = (labels[:wrong] + 1) % 3
        for loss in (LogitCrossEntropy(), Hinge(), SquaredHinge()):
            report = diagnose(model, loader(labels=labels).to(backend), loss)
            assert report.findings == (), str(report)


def test_a_loss_without_a_gradient_is_found(backend):
    class Flat(LogitCrossEntropy):
        def backward(self):
            return super().backward() * 0

    report = diagnose(build(sound(), backend), loader().to(backend), Flat())
    assert [f.figure for f in report.findings if f.kind == "starved"] == [1, 1, 1]


# --- The report and the rules ---------------------------------------------------------------


def test_the_report_prints_what_it_found():
    model, _ = relu_before_sign()
    model[1].gamma.data[0] = np.nan
    lines = str(diagnosed(model)).splitlines()
    assert lines[0].startswith("diagnosis of Sequential(9 layers) on 300 samples: 1 error, ")
    assert lines[1].startswith("  error    1.gamma, non-finite: 4.76% of the parameter's values")
    assert lines[3].startswith("           hint: initialize the model anew")
    assert "  warning  3, constant: " in str(diagnosed(relu_before_sign()[0]))
    model, data = dark_pixels()
    assert str(diagnosed(model, data)).splitlines()[0].endswith("samples: healthy, 1 note")


def test_the_model_and_the_loader_are_left_alone(backend):
    model = build([*sound()[:3], Noise(), *sound()[3:]], backend)
    data = loader().to(backend)
    x, labels = next(iter(data))
    loss = LogitCrossEntropy()
    loss.forward(model.forward(x, train=True), labels)
    held = [*(p.data for p in model.parameters()), *(p.grad for p in model.parameters())]
    held += [b.data for b in model.buffers()]
    before = [backend.to_host(a).copy() for a in held]
    names = [set(vars(layer)) for layer in model]
    saved = [layer.saved for layer in model]
    diagnose(model, data, loss)
    assert [set(vars(layer)) for layer in model] == names
    assert all(now.saved is then for now, then in zip(model, saved, strict=True))
    assert (data.epoch, model[3].stream.count) == (1, 1)
    for array, value in zip(held, before, strict=True):
        np.testing.assert_array_equal(backend.to_host(array), value)
    model.backward(loss.backward())  # the pass that was under way goes on


def test_one_read_back():
    model, data = build(sound(), STRICT), loader().to(STRICT)
    with strictdev.count_readbacks() as loading:
        diagnose(model, data)
    from minibnn.training.evaluate import check_data

    with strictdev.count_readbacks() as checking:
        check_data(model, data, "")
    assert loading.count == checking.count + 1


def test_it_looks_at_samples_from_the_whole_data_set():
    x = X.copy()
    x[299] = np.nan
    assert not diagnose(build(sound()), loader(x), samples=10)
    assert "on 10 samples" in str(diagnose(build(sound()), loader(), samples=10))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, d: diagnose(d, m), "expected the model, a Layer, first"),
        (lambda m, d: diagnose(m, X), "diagnose: data: expected a DataLoader, got ndarray"),
        (lambda m, d: diagnose(m, d, LogitCrossEntropy), "got the class LogitCrossEntropy"),
        (lambda m, d: diagnose(m, d, samples=1), "at least 2 samples to compare, got 1"),
        (lambda m, d: diagnose(m, loader(labels=LABELS + 1)), "expected labels in 0..2, got 3"),
    ],
)
def test_it_refuses(call, message):
    with pytest.raises((TypeError, ValueError), match=message):
        call(build(sound()), loader())


# --- Where the line is ----------------------------------------------------------------------


def few(report, kind):
    return [(f.severity, f.where) for f in report.findings if f.kind == kind]


@pytest.mark.parametrize(("units", "severity"), [(1, "note"), (2, "warning")])  # of 21: 4.8%, 9.5%
def test_a_constant_unit_or_two(units, severity):
    model = build(sound())
    model[1].beta.data[:units] = 40.0
    assert few(diagnosed(model), "constant") == [(severity, "2")]


@pytest.mark.parametrize(("width", "found"), [(51, True), (101, False)])  # 2.0%, 0.99%
def test_one_starved_unit(width, found):
    layers = [dense(12, width), BatchNorm(width), Activation(SignSTE(clip=1.0)), dense(width, 3)]
    model = build(layers)
    model[1].beta.data[0] = 40.0
    assert few(diagnosed(model), "starved") == [("warning", "0.weight")] * found


@pytest.mark.parametrize(("outside", "found"), [(14, False), (18, True)])  # of 315: 4.4%, 5.7%
def test_a_few_weights_outside_their_clip(outside, found):
    layers = sound()
    layers[3] = Dense(21, 15, bias=False, weight_quantizer=SignSTE(clip=1.0))
    model = build(layers)
    model[3].weight.data.ravel()[:outside] = 1.5
    assert few(diagnosed(model), "clipped") == [("warning", "3.weight")] * found


def test_weights_of_inputs_that_never_change_are_not_called_clipped():
    x = X.copy()
    x[:, :4] = -1.0
    layers = sound()
    layers[0] = Dense(12, 21, bias=False, weight_quantizer=SignSTE(clip=1.0))
    model = build(layers)
    model[0].weight.data[:4] = 1.5
    assert diagnosed(model, loader(x)).findings == ()


# --- Borders, and what else stands between a sign and binary weights -------------------------

PIXELS = np.random.default_rng(8).integers(0, 256, (60, 6, 6)).astype(np.uint8)


def windows(n, m, padding=1, padding_value=0, weights=None, **options):
    weights = SignSTE() if weights is None else weights
    border = {"padding": padding, "padding_value": padding_value}
    return Conv2D(n, m, 3, bias=False, weight_quantizer=weights, **border, **options)


def sign_layer():
    return Activation(SignSTE(clip=1.0))


def picture(second, *between, first=None, start=None):
    """A convolution on pixels, a sign, what is given, and the second convolution."""
    first = windows(1, 9, padding=0) if first is None else first
    start = [Rescale(2 / 255, -1)] if start is None else start
    return [Reshape((6, 6, 1)), *start, first, BatchNorm(9), sign_layer(), *between, second,
            BatchNorm(15), sign_layer(), Flatten()]  # fmt: skip


def found_in(layers, backend="cpu"):
    """What is found between the layers: no unit's own affair."""
    body = Sequential(*layers).initialize(0)
    inputs = body.forward(PIXELS[:1]).shape[1]
    model = Sequential(*layers, dense(inputs, 3)).initialize(3).to(backend)
    report = diagnose(model, DataLoader((PIXELS, LABELS[:60]), 20).to(backend))
    named = ("zero-padding", "real-input")
    return (
        [(f.severity, f.kind, f.where) for f in report.findings if f.kind in named],
        model,
        report,
    )


@pytest.mark.parametrize(
    "between",
    [
        (),
        (Reshape((4, 4, 9)),),
        (Sequential(Sequential(Reshape((4, 4, 9)))),),
        (Dropout(0.5),),
        (MaxPool2D(2, stride=1),),
    ],
    ids=lambda v: str(v),
)
def test_a_border_of_zeros_around_signs(between, backend):
    where = str(5 + len(between))
    wrong, model, report = found_in(picture(windows(9, 15), *between), backend)
    assert wrong == [("warning", "zero-padding", where)], str(report)
    assert not report
    (finding,) = (f for f in report.findings if f.kind == "zero-padding")
    side = 3 if any(isinstance(layer, MaxPool2D) for layer in between) else 4
    assert finding.figure == pytest.approx(1 - side**2 / (side + 2) ** 2)
    with pytest.raises(PackError):
        pack(model.to("cpu"), (6, 6))
    # What it says to try works.
    for options in ({"padding_value": -1}, {"padding_value": 1}, {"padding": 0}):
        clean, model, report = found_in(picture(windows(9, 15, **options), *between), backend)
        assert clean == [], str(report)
        pack(model.to("cpu"), (6, 6))


def test_borders_of_zeros_wherever_they_are():
    same = windows(9, 15, padding="same")
    assert found_in(picture(same))[0] == [("warning", "zero-padding", "5")]
    below = windows(9, 15, padding=(0, 1))  # at the sides alone
    assert found_in(picture(below))[0] == [("warning", "zero-padding", "5")]
    block = Sequential(windows(9, 15), BatchNorm(15), sign_layer())
    inside = Sequential(DirectFeedback(block, Sequential(Flatten())))
    layers = [*picture(windows(9, 15))[:5], inside]
    assert found_in(layers)[0] == [("warning", "zero-padding", "5.0.0.0")]
    signs_first = picture(windows(9, 15, padding=0), first=windows(1, 9),
                          start=(Rescale(2 / 255, -1), sign_layer()))  # fmt: skip
    assert found_in(signs_first)[0] == [("warning", "zero-padding", "3")]


def test_borders_of_zeros_that_are_as_they_should_be():
    # Around pixels among which zeros are.
    dark = picture(windows(9, 15, padding=0), first=windows(1, 9), start=(Rescale(1 / 255),))
    found, model, _ = found_in(dark)
    assert found == []
    pack(model, (6, 6))
    # Real weights are not binary, whatever the border.
    real = Conv2D(9, 15, 3, padding=1, bias=False)
    assert found_in(picture(real))[0] == []


def test_a_border_that_is_no_pixel_is_worth_a_note():
    """Zero lies between two pixels of Rescale(2 / 255, -1): such a model trains, and does not pack."""
    layers = picture(windows(9, 15, padding=0), first=windows(1, 9))
    found, model, report = found_in(layers)
    assert found == [("note", "zero-padding", "2")]
    assert report.ok == all(f.severity == "note" for f in report.findings)
    with pytest.raises(PackError):
        pack(model, (6, 6))
    for options in ({"padding_value": -1}, {"padding": 0}):
        layers = picture(windows(9, 15, padding=0), first=windows(1, 9, **options))
        found, model, _ = found_in(layers)
        assert found == []
        pack(model, (6, 6))


@pytest.mark.parametrize(
    "between",
    [AveragePool2D(2, stride=1), Dropout(0.5, rescale=False), Rescale(0.5), BatchNorm(9),
     Sequential(AveragePool2D(2))],
    ids=lambda v: str(v),
)  # fmt: skip
def test_real_numbers_behind_a_sign(between, backend):
    wrong, _, report = found_in(picture(windows(9, 15, padding_value=-1), between), backend)
    assert wrong == [("warning", "real-input", "6")], str(report)
    # What it says to try works: a sign last.
    again = Sequential(copy.deepcopy(between), sign_layer())
    wrong, _, report = found_in(picture(windows(9, 15, padding_value=-1), again), backend)
    assert wrong == [], str(report)


def test_the_hint_still_has_its_old_name():
    finding = Finding("note", "zero-input", "0.weight", 0.5, "50%", "harmless", "use Rescale")
    with pytest.warns(DeprecationWarning, match="Finding.mend is now Finding.hint"):
        assert finding.mend == "use Rescale"
    assert pickle.loads(pickle.dumps(finding)) == finding
