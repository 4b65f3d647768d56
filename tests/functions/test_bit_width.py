"""The number of values of a function is found from the function itself, for all who use it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import minibnn
from minibnn import (
    Activation,
    Adam,
    ApproxSign,
    Bop,
    Conv2D,
    DataLoader,
    Dense,
    DoReFaActivations,
    DoReFaWeights,
    Fill,
    Flatten,
    Function,
    Heaviside,
    Identity,
    Layer,
    LogitCrossEntropy,
    MagnitudeAwareSign,
    OptimizerGroup,
    PackError,
    Parameter,
    PowerOfTwo,
    ReLU,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    Tanh,
    Ternary,
    TernaryWeights,
    Uniform,
    fit,
    functions,
    pack,
    split_parameters,
)
from minibnn.comparison import Entry, parse_piece
from minibnn.comparison.grid import _replaceable
from minibnn.functions import activation_bits, bit_width, weight_bits, weight_levels
from minibnn.functions.bit_width import MAX_BITS

# Their values are only +1 and -1, in training and in evaluation.
SIGNS = (
    minibnn.AdaSTE,
    minibnn.ApproxSign,
    minibnn.SignSTE,
    minibnn.StochasticSign,
    minibnn.SwishSign,
)

X = np.random.default_rng(1).integers(0, 256, (40, 6)).astype(np.uint8)
LABELS = np.arange(40) % 3


class Own(Function):
    """A user's function, which declares nothing."""

    def __init__(self, f, name=""):
        self.f, self.name = f, name

    def __repr__(self):
        return self.name

    def forward(self, x):
        return self.f(x).astype(x.dtype)

    def backward(self, dy, x):
        return dy


def sign(x):
    return np.where(x >= 0, 1.0, -1.0)


def over_the_channels(x):
    return abs(x).mean(axis=tuple(range(x.ndim - 1)))


def two_scales(x):
    edge = 0.05 * abs(x).max()
    return np.where(x > edge, abs(x).mean(), np.where(x < -edge, -0.3, 0))


# Bits of a weight's value, and of an activation's if these differ.
OWN = [
    (Own(sign, "sign"), 1),
    (Own(lambda x: np.where(x > 0, 1, 0), "step"), 1),
    (Own(lambda x: np.where(x > 100, 3, 1), "step far away"), 1),
    (Own(lambda x: sign(x) * abs(x).mean(), "scaled by all"), 1),
    (Own(lambda x: sign(x) * x.std(), "scaled by the deviation"), 1),
    (Own(lambda x: sign(x) * over_the_channels(x), "scaled by channel"), 1, 32),
    (Own(lambda x: sign(x) * abs(x).mean(axis=-1, keepdims=True), "scaled by input"), 32),
    (Own(np.sign, "three values"), 2),
    (Own(lambda x: np.where(abs(x) < 0.3, 0, sign(x)), "ternary"), 2),
    (Own(two_scales, "trained ternary"), 2),
    (Own(lambda x: np.rint(7 * x.clip(0, 1)) / 7, "k = 3"), 3),
    (Own(lambda x: np.rint(3.5 * x.clip(-1, 1) - 0.5), "k = 3, signed"), 3),
    (Own(lambda x: np.rint(x.clip(-128, 127)), "int8"), 8),
    (Own(lambda x: np.rint((x / 0.01).clip(-8, 7)) * 0.01, "learned step size"), 4),
    (Own(lambda x: np.rint(x / abs(x).max() * 7) / 7 * abs(x).max(), "k = 4, scaled"), 4),
    (Own(lambda x: np.rint(65535 * x.clip(0, 1)) / 65535, "k = 16"), 16),
    (Own(lambda x: 0 * x, "a constant"), 1),
    (Own(lambda x: (4 * x).round() / 4, "rounded without end"), 32),
    (Own(lambda x: x.astype(np.float16), "half precision"), 32),
    (Own(lambda x: (100 * x).clip(-1, 1), "steep"), 32),
    (Own(lambda x: np.tanh(1e12 * x), "very steep"), 32),
    (Own(lambda x: x / abs(x), "nan at zero"), 32),
    (Own(lambda x: x[:1], "another shape"), 32),
    (Own(lambda x: x.reshape(784, 128), "one shape only"), 32),
    (Own(lambda x: np.exp(x) * 1e300, "infinite"), 32),
]
OURS = [
    *((f, 32) for f in (Identity(), ReLU(), Tanh(), PowerOfTwo())),
    *((f(), 1) for f in SIGNS),
    (SignSTE(clip=1.0), 1),
    (MagnitudeAwareSign(), 1, 32),
    (Heaviside(), 1),
    (Ternary(), 2),
    (TernaryWeights(), 2),
    (TernaryWeights(clip=None), 2),
    *((kind(k), k) for kind in (DoReFaActivations, DoReFaWeights) for k in (1, 2, 3, 8, 13)),
]


@pytest.mark.parametrize("case", OWN + OURS, ids=lambda case: repr(case[0]))
def test_bits(case):
    function, bits, *of_activation = case
    assert weight_bits(function) == function.bits == bits
    if repr(function) not in ("scaled by channel", "one shape only"):
        assert weight_bits(function, 4) == bits
    assert activation_bits(function) == (of_activation or [bits])[0]


def test_sixteen_bits_are_the_most():
    assert weight_bits(Own(lambda x: np.rint((2**18 - 1) * x.clip(0, 1)))) == 32
    assert MAX_BITS == 16


def test_what_a_class_says_of_itself_counts_for_nothing():
    class Liar(Tanh):
        bits = 1
        signs = True

    class Modest(SignSTE):
        bits = 32
        signs = False

    class Wide(SignSTE):
        def forward(self, x):
            return 3 * x

    model = Sequential(
        Dense(6, 5, weight_quantizer=Liar()),
        Activation(Liar()),
        Dense(5, 4, weight_quantizer=Modest()),
        Activation(Wide()),
        Dense(4, 3, weight_quantizer=Wide()),
    ).initialize(0)
    assert [row.values.get(1, 0) for row in model.summary().rows] == [0, 0, 20, 0, 0]
    assert split_parameters(model)[0] == [model[2].weight]


def test_what_changes_is_asked_anew():
    class Annealed(SignSTE):  # a field that `==` does not compare
        def __init__(self, soft):
            super().__init__()
            object.__setattr__(self, "soft", soft)

        def forward(self, x):
            return np.tanh(x) if self.soft else super().forward(x)

    function = Annealed(soft=True)
    assert weight_bits(function) == 32
    assert weight_bits(Annealed(soft=False)) == 1
    object.__setattr__(function, "soft", False)
    assert weight_bits(function) == 1

    @dataclass(frozen=True)
    class Thresholds(Function):
        edges: list[float]

        def forward(self, x):
            return np.digitize(x, self.edges).astype(x.dtype)

        def backward(self, dy, x):
            return dy

    assert weight_bits(Thresholds([-0.5, 0.0, 0.5])) == 2
    assert weight_bits(Thresholds([0.0])) == 1


def test_levels():
    assert weight_levels(SignSTE()).tolist() == [-1, 1]
    assert weight_levels(DoReFaActivations(2)).tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])
    assert weight_levels(Tanh()) is None


def test_looking_has_no_side_effects():
    @dataclass
    class Counting(Function):
        calls: int = 0

        def forward(self, x):
            self.calls += 1
            return SignSTE().forward(x)

        def backward(self, dy, x):
            return dy

    function = Counting()
    assert weight_bits(function) == 1
    assert function.calls == 0


class SignTanh(Function):
    """The function of a user's own in README."""

    def forward(self, x):
        return functions.sign(x)

    def surrogate(self, x):
        return np.tanh(x)

    def backward(self, dy, x):
        return dy * (1 - np.tanh(x) ** 2)


def net(weights, activation=None):
    activation = SignTanh() if activation is None else activation
    return Sequential(
        Flatten(),
        Rescale(1 / 255),
        Dense(6, 5, weight_quantizer=weights),
        Activation(activation),
        Dense(5, 3, weight_quantizer=weights),
    ).initialize(0)


def epoch(model, optimizer):
    data = DataLoader((X, LABELS), 10)
    return fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)


@pytest.mark.parametrize(
    "quantizer", [SignTanh(), OWN[3][0], OWN[5][0], SignSTE()], ids=["README", "all", "channel", ""]
)
def test_all_agree_that_a_weight_is_binary(quantizer):
    model = net(quantizer)
    summary = model.summary((6,))
    assert summary.values == {1: 45, 32: 8}
    assert summary.macs == {"binary": 15, "mixed": 30, "float": 0}
    binary, rest = split_parameters(model)
    assert binary == [model[2].weight, model[4].weight]
    history = epoch(model, OptimizerGroup(Bop(binary, gamma=0.1), Adam(rest, 0.01)))
    assert [c for c in history.columns if "flips" in c] == ["flips_2.weight", "flips_4.weight"]
    assert (pack(model, (6,)).after(X, 1) == pack(net_of_signs(model), (6,)).after(X, 1)).all()
    Bop(model[2].weight for _ in "1")
    assert [len(found) for found in _replaceable(model)] == [1, 2]


def net_of_signs(model):
    other = net(SignSTE())
    for mine, theirs in zip(other.parameters(), model.parameters(), strict=True):
        mine.data[...] = theirs.data
    return other


@pytest.mark.parametrize("case", OWN, ids=lambda case: repr(case[0]))
def test_all_agree_on_any_weight(case):
    function, bits, *_ = case
    if function.name in ("another shape", "one shape only", "infinite"):
        return  # a layer cannot use it
    model = Dense(6, 3, weight_quantizer=function, bias=False).initialize(0)
    assert model.summary().values == {bits: 18}
    assert len(split_parameters(model)[0]) == (bits == 1)
    if bits == 1:
        Bop(model.parameters())
    else:
        with pytest.raises(ValueError, match=r"Bop: expected binary weights"):
            Bop(model.parameters())
    assert [p for p, _, _ in model.named_quantized()] == (["weight"] if bits < 32 else [])


def test_activations_of_a_users_own_are_bits():
    assert net(SignSTE(), Tanh()).summary((6,)).macs["binary"] == 0
    assert net(SignSTE(), OWN[0][0]).summary((6,)).macs["binary"] == 15
    assert net(SignSTE(), OWN[8][0]).summary((6,)).macs["binary"] == 0


def test_flips_of_two_values_on_one_side_of_zero():
    """`> 0` does not tell 1 from 3."""
    quantizer = Own(lambda x: np.where(x >= 0, 3, 1))
    model = Dense(6, 3, weight_quantizer=quantizer, bias=False).initialize(0)
    before = model.weight.data >= 0
    data = DataLoader((X / np.float32(255), LABELS), 10)
    optimizer = Adam(model.parameters(), 0.5)
    history = fit(model, data, data, loss=LogitCrossEntropy(), optimizer=optimizer, epochs=1)
    assert history["flips_weight"][1] == ((model.weight.data >= 0) != before).mean() > 0


def test_functions_are_not_asked_in_a_training_step(monkeypatch):
    model = net(SignTanh())
    loss, optimizer = LogitCrossEntropy(), Adam(model.parameters(), 0.01)
    asked = []
    monkeypatch.setattr(bit_width, "_levels", lambda *_: asked.append(1))
    loss.forward(model.forward(X, train=True), LABELS)
    model.backward(loss.backward())
    optimizer.step()
    assert asked == []


def test_compare_replaces_a_users_binary_weights():
    entry = Entry(weight_quantizer=parse_piece("ApproxSign", Function))
    model = entry._replace_quantizers(net(SignTanh()))
    assert model[2].weight_quantizer == ApproxSign()
    assert model[2].weight.quantizer == ApproxSign()


class Gate(Layer):
    """A user's layer with one binary weight, declared as quantized, and one real weight."""

    def __init__(self):
        self.sign = Parameter("sign", (3,), Uniform(-1, 1))
        self.scale = Parameter("scale", (3,), Fill(0.5))

    def named_quantized(self):
        yield "sign", self.sign, SignTanh()
        yield "scale", self.scale, Tanh()  # real, by its values

    def forward(self, x, *, train=False):
        return x * self.scale.data

    def backward(self, dy, *, need_dx=True):
        raise NotImplementedError


def test_bop_changes_no_real_weight():
    """Bop replaces values by their signs, so it accepts binary weights only."""
    for model in (
        Dense(4, 3, bias=False),
        Conv2D(1, 2, 3, bias=False),
        Dense(4, 3, bias=False, weight_quantizer=Tanh()),
        Dense(4, 3, bias=False, weight_quantizer=DoReFaWeights(2)),
        Dense(4, 3, bias=False, weight_quantizer=Ternary()),
        Dense(4, 3, weight_quantizer=SignSTE()),
        Gate(),
    ):
        model.initialize(0)
        before = [p.data.copy() for p in model.parameters()]
        adam = Adam(model.parameters())
        with pytest.raises(ValueError, match=r"Bop: expected binary weights, got .*split_param"):
            Bop(model.parameters())
        assert all((p.data == b).all() for p, b in zip(model.parameters(), before, strict=True))
        adam.step()  # which still holds them


def test_bop_takes_what_the_hint_says():
    model = Sequential(Gate(), Dense(3, 2, weight_quantizer=StochasticSign())).initialize(0)
    binary, rest = split_parameters(model)
    assert binary == [model[0].sign, model[1].weight]
    OptimizerGroup(Bop(binary), Adam(rest))
    assert set(np.unique(model[0].sign.data)) <= {-1, 1}
    assert (model[0].scale.data == 0.5).all()


def test_another_quantizer_later_is_the_one_that_counts():
    model = Dense(4, 3, bias=False).initialize(0)
    model.weight_quantizer = SignSTE()
    Bop(model.parameters())
    model.weight_quantizer = Identity()
    with pytest.raises(ValueError, match=r"seen through Identity\(\)"):
        Bop(model.parameters())


def test_all_of_ours_are_listed_above():
    public = {v for n in minibnn.__all__ if isinstance(v := getattr(minibnn, n), type)}
    signs = {v for v in public if v in SIGNS}
    assert signs == set(SIGNS)


class ScalesOfItsOwn(Own):
    """A function with a stored number for each channel, so it cannot be evaluated on one channel."""

    def __init__(self, f, scales):
        super().__init__(lambda x: f(x / self.scales) * self.scales, f"{len(scales)} scales")
        self.scales = np.asarray(scales, np.float32)


@pytest.mark.parametrize("channels", [3, 1024])
@pytest.mark.parametrize(
    ("f", "bits"),
    [(sign, 1), (np.sign, 2), (lambda x: np.rint(7 * x.clip(-1, 1)), 4), (np.tanh, 32)],
)
def test_a_scale_for_each_channel_that_the_function_holds(f, bits, channels):
    function = ScalesOfItsOwn(f, np.linspace(0.5, 2, channels))
    assert weight_bits(function, 2, channels) == weight_bits(function, 4, channels) == bits
    assert weight_bits(function, 2, channels + 1) == 32


def test_all_agree_on_scales_that_the_function_holds():
    model = net(SignSTE())
    model[4].weight_quantizer = ScalesOfItsOwn(sign, [0.5, 1, 2])
    assert model.summary((6,)).values == {1: 45, 32: 8}
    assert len(split_parameters(model)[0]) == 2
    history = epoch(model, Adam(model.parameters(), 0.01))
    assert "flips_4.weight" in history
    assert pack(model).predict_scores(X).shape == (40, 3)
    Bop([model[4].weight])


class Drawing(Own):
    def __init__(self):
        super().__init__(lambda x: sign(x + self.rng.normal(0, 1, x.shape)), "Drawing()")
        self.rng = np.random.default_rng(0)


def test_weights_pack_as_what_they_are():
    """Those of a function that summary counts as real, but that happen to have two values."""
    mask = np.where(np.arange(15).reshape(5, 3) % 2, 1, -1)
    x = np.random.default_rng(0).integers(0, 256, (50, 6), np.uint8)
    for function in (Own(lambda x: sign(x) * mask, "masked"), Own(lambda x: sign(x) + x, "real")):
        model = net(SignSTE())
        model[4].weight_quantizer = function
        model[4].weight.data[...] = np.sign(model[4].weight.data)
        assert model.summary((6,)).values == {1: 30, 32: 23}
        packed = pack(model, (6,))
        np.testing.assert_allclose(packed.logits(x), model.forward(x), rtol=1e-5, atol=1e-5)


def test_weights_that_are_drawn_anew_do_not_pack():
    with pytest.raises(PackError, match=r"Drawing\(\) gives other weights each time"):
        pack(net(Drawing()), (6,))
