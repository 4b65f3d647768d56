"""Residual blocks and concatenation: values and gradients by hand, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
import strictdev
from cases import residual_net
from devices import STRICT

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Concatenate,
    Conv1D,
    Conv2D,
    DataLoader,
    Dense,
    DirectFeedback,
    FixedFeedback,
    Flatten,
    InputContract,
    Layer,
    LogitCrossEntropy,
    Rescale,
    Residual,
    Sequential,
    SignSTE,
    Tanh,
    diagnose,
    evaluate,
    fit,
    load_model,
    save_model,
)


def passes(layer, x, dy):
    y = layer.forward(x, train=True)
    return y, layer.backward(dy)


@pytest.fixture
def x(rng):
    return rng.standard_normal((5, 4))


@pytest.fixture
def dy(rng):
    return rng.standard_normal((5, 4))


# --- Values and gradients ---------------------------------------------------------------------


def test_a_block_and_its_input_are_added(x, dy, backend):
    block = Dense(4, 4).initialize(1, np.float64)
    layer = Residual(Dense(4, 4)).initialize(1, np.float64).to(backend)
    y, dx = passes(layer, backend.asarray(x), backend.asarray(dy))
    block_y, block_dx = passes(block, x, dy)
    np.testing.assert_allclose(backend.to_host(y), block_y + x, rtol=1e-12)
    np.testing.assert_allclose(backend.to_host(dx), block_dx + dy, rtol=1e-12)
    gradient = backend.to_host(layer.block.weight.grad)
    np.testing.assert_allclose(gradient, block.weight.grad, rtol=1e-12)


def test_a_shortcut_has_its_own_weights(x, rng):
    dy = rng.standard_normal((5, 3))
    layer = Residual(Dense(4, 3), Dense(4, 3, bias=False)).initialize(2, np.float64)
    y, dx = passes(layer, x, dy)
    W, V = layer.block.weight.data, layer.shortcut.weight.data
    np.testing.assert_allclose(y, x @ (W + V), rtol=1e-12)
    np.testing.assert_allclose(dx, dy @ (W + V).T, rtol=1e-12)
    np.testing.assert_allclose(layer.shortcut.weight.grad, x.T @ dy, rtol=1e-12)
    assert [name for name, _ in layer.named_parameters()] == [
        "block.weight", "block.bias", "shortcut.weight",
    ]  # fmt: skip


def test_branches_lie_side_by_side(x, rng, backend):
    layer = Concatenate(Dense(4, 3), Sequential(), Dense(4, 2)).initialize(3, np.float64)
    layer.to(backend)
    dy = rng.standard_normal((5, 9))
    y, dx = map(backend.to_host, passes(layer, backend.asarray(x), backend.asarray(dy)))
    W, _, V = (getattr(b, "weight", None) for b in layer.branches)
    W, V = backend.to_host(W.data), backend.to_host(V.data)
    np.testing.assert_allclose(y, np.concatenate([x @ W, x, x @ V], axis=1), rtol=1e-12)
    expected = dy[:, :3] @ W.T + dy[:, 3:7] + dy[:, 7:] @ V.T
    np.testing.assert_allclose(dx, expected, rtol=1e-12)
    gradient = backend.to_host(layer.branches[2].weight.grad)
    np.testing.assert_allclose(gradient, x.T @ dy[:, 7:], rtol=1e-12)


class Given(Layer):
    """Returns its input itself, and its dy itself."""

    def forward(self, x, *, train=False):
        self.saved = (x.shape,) if train else None
        return x

    def backward(self, dy, *, need_dx=True):
        self.take_saved(dy)
        return dy


@pytest.mark.parametrize(
    ("make", "factor"),
    [
        (lambda: Residual(Given()), 2),
        (lambda: Residual(Given(), Given()), 2),
        (lambda: Concatenate(Given()), 1),
        (lambda: Residual(Concatenate(Given()), Residual(Given())), 3),
    ],
)
def test_branches_that_return_what_they_are_given(make, factor, x, dy):
    """No sum is taken in place: x and dy belong to others."""
    layer = make().initialize(0, np.float64)
    before = x.copy(), dy.copy()
    y, dx = passes(layer, x, dy)
    np.testing.assert_array_equal(y, factor * before[0])
    np.testing.assert_array_equal(dx, factor * before[1])
    np.testing.assert_array_equal(x, before[0])
    np.testing.assert_array_equal(dy, before[1])


def test_a_feedback_in_the_block_leaves_the_shortcut_alone(x, dy):
    layer = Residual(Dense(4, 4, feedback=FixedFeedback())).initialize(0, np.float64)
    _, dx = passes(layer, x, dy)
    B = layer.block.feedback.weights.data
    np.testing.assert_allclose(dx, dy @ B.T + dy, rtol=1e-12)


def test_direct_feedback_reaches_into_both_branches(x, rng):
    first = Residual(Sequential(Dense(4, 4), Activation(Tanh())), Dense(4, 4))
    model = DirectFeedback(first, Dense(4, 3)).initialize(0, np.float64)
    dy = rng.standard_normal((5, 3))
    passes(model, x, dy)
    (B,) = (b.data for b in model.feedback_weights)
    np.testing.assert_allclose(first.shortcut.weight.grad, x.T @ (dy @ B.T), rtol=1e-12)


def test_an_empty_batch_passes():
    for layer in (Residual(Dense(4, 4)), Concatenate(Dense(4, 3), Dense(4, 1))):
        layer.initialize(0)
        y = layer.forward(np.zeros((0, 4), np.float32), train=True)
        assert (y.shape, layer.backward(y).shape) == ((0, 4), (0, 4))


def test_a_step_reads_nothing_back(rng):
    model = residual_net().initialize(0).to(STRICT)
    x = STRICT.asarray(rng.standard_normal((3, 6, 6, 1)).astype(np.float32))
    with strictdev.no_sync():
        model.backward(model.forward(x, train=True) * 2)


def test_copies_in_float64_and_float32_agree(rng):
    model = residual_net().initialize(0)
    x = rng.standard_normal((4, 6, 6, 1))
    y = model.forward(x.astype(np.float32))
    np.testing.assert_allclose(model.to(dtype="float64").forward(x), y, rtol=1e-4, atol=1e-4)


# --- What they are made of ----------------------------------------------------------------------


def test_they_read_like_their_code():
    layer = Residual(Sequential(Dense(4, 4)), Dense(4, 4, bias=False))
    assert repr(layer) == (
        "Residual(Sequential(\n    Dense(4 -> 4),\n), Dense(4 -> 4, bias=False))"
    )
    assert str(layer) == "Residual(Sequential(1 layers), Dense(4 -> 4))"
    assert str(Residual(Dense(4, 4))) == repr(Residual(Dense(4, 4))) == "Residual(Dense(4 -> 4))"
    layer = Concatenate(Dense(4, 3), Flatten())
    assert repr(layer) == "Concatenate(\n    Dense(4 -> 3),\n    Flatten(),\n)"
    assert str(layer) == "Concatenate(2 branches)"
    assert [name for name, _ in layer.named_parameters()] == ["0.weight", "0.bias"]
    with pytest.raises(AttributeError):
        layer.branches = ()


def test_a_seed_draws_the_block_first():
    one = Residual(Dense(4, 4), Dense(4, 4)).initialize(7)
    two = Sequential(Dense(4, 4), Dense(4, 4)).initialize(7)
    for p, q in zip(one.parameters(), two.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


@pytest.mark.parametrize("make", [Residual, Concatenate])
def test_each_object_once(make):
    layer, function = Dense(4, 4), Activation(Tanh())
    for branches in ((layer, layer), (Sequential(layer), layer), (function, function)):
        with pytest.raises(ValueError, match=f"{make.__name__}: expected each layer, parameter"):
            make(*branches)
    feedback = FixedFeedback()
    with pytest.raises(ValueError, match="feedback object once"):
        make(Dense(4, 4, feedback=feedback), Dense(4, 4, feedback=feedback))


def test_wrong_branches():
    for wrong in (None, 3, Tanh(), Dense):
        with pytest.raises(TypeError, match="Residual: expected block to be a layer, got"):
            Residual(wrong)
    with pytest.raises(TypeError, match="Residual: expected shortcut to be a layer, got True"):
        Residual(Dense(4, 4), True)
    with pytest.raises(TypeError, match="Concatenate: expected layers, got None at position 1"):
        Concatenate(Dense(4, 4), None)
    with pytest.raises(ValueError, match="at least one branch, got none"):
        Concatenate()


class First(Given):
    """The first of an axis, such as that of time in a film."""

    def forward(self, x, *, train=False):
        return super().forward(x[:, :1], train=train)


# --- What their branches return -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "shape", "message"),
    [
        (Dense(4, 1), (5, 4), r"got \(5, 1\) and \(5, 4\); pass shortcut=Dense\(4, 1\)$"),
        (Conv2D(2, 3, 3, padding=1), (5, 6, 7, 2), r"shortcut=Conv2D\(2, 3, 1\)$"),
        (Conv2D(2, 2, 3, stride=(2, 3), padding=1), (5, 6, 7, 2), r"2, 1, stride=\(2, 3\)\)$"),
        (Conv1D(2, 3, 3, stride=3, padding=1), (5, 9, 2), r"shortcut=Conv1D\(2, 3, 1, stride=3\)$"),
        (Conv2D(2, 2, 3), (5, 6, 7, 2), r'use padding="same" in the block, or an AveragePool2D'),
        (Conv1D(2, 2, 3), (5, 9, 2), r'use padding="same" in the block$'),
        (First(), (5, 2, 3, 4, 2), r"got \(5, 1, 3, 4, 2\) and \(5, 2, 3, 4, 2\)$"),
        (Flatten(), (5, 6, 7, 2), r"got \(5, 84\) and \(5, 6, 7, 2\); end the block with a layer"),
    ],
)
def test_other_shapes_are_not_broadcast(block, shape, message):
    layer = Residual(block).initialize(0)
    with pytest.raises(ValueError, match=message):
        layer.forward(np.zeros(shape, np.float32))
    assert layer.saved is None


def test_other_shapes_of_a_shortcut():
    layer = Residual(Dense(4, 3), Dense(4, 2)).initialize(0)
    with pytest.raises(ValueError, match=r"one shape, got \(5, 3\) and \(5, 2\)"):
        layer.forward(np.zeros((5, 4), np.float32))


def test_outputs_that_differ_in_another_axis():
    layer = Concatenate(Conv2D(1, 2, 3), Conv2D(1, 2, 2)).initialize(0)
    with pytest.raises(ValueError, match=r"got \(5, 4, 4, 2\), \(5, 5, 5, 2\); give them the same"):
        layer.forward(np.zeros((5, 6, 6, 1), np.float32))
    layer = Concatenate(Sequential(), Flatten())
    with pytest.raises(ValueError, match=r"got \(5, 2, 2\), \(5, 4\)"):
        layer.forward(np.zeros((5, 2, 2), np.float32))


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_other_dtypes_are_not_promoted(dtype):
    x = np.zeros((5, 4), dtype)
    with pytest.raises(TypeError, match=f"expected x of dtype float32, got {x.dtype}"):
        Residual(Sequential(Rescale(1.0))).forward(x)  # the shortcut is x itself
    with pytest.raises(TypeError, match=f"output of dtype float32, got {x.dtype}") as caught:
        Concatenate(Flatten()).forward(x)
    assert caught.value.__notes__ == ["in branch 0 of Concatenate: Flatten()"]


def test_bytes_that_each_branch_scales(rng):
    x = rng.integers(0, 256, (5, 4), np.uint8)
    layer = Concatenate(Rescale(1 / 255), Rescale(2 / 255, -1))
    y = layer.forward(x, train=True)
    np.testing.assert_allclose(y[:, 4:], 2 * y[:, :4] - 1, atol=1e-6)
    assert layer.backward(np.ones_like(y), need_dx=False) is None


@pytest.mark.parametrize("layer", [Residual(Flatten()), Concatenate(Flatten(), Flatten())])
def test_an_array_of_another_device(layer):
    with pytest.raises(
        TypeError, match="expected x on its own device, cpu, got an array on strict"
    ):
        layer.forward(STRICT.asarray(np.zeros((5, 4), np.float32)))


def test_an_error_names_the_branch():
    model = Sequential(Residual(Sequential(Dense(4, 3)), Dense(5, 3))).initialize(0)
    with pytest.raises(ValueError, match=r"Dense\(5 -> 3\): expected x") as caught:
        model.forward(np.zeros((2, 4), np.float32))
    assert caught.value.__notes__[0] == "in branch shortcut of Residual: Dense(5 -> 3)"
    assert caught.value.__notes__[1].startswith("in layer 0 of Sequential: Residual(")

    class Forgetful(Given):
        def backward(self, dy, *, need_dx=True):
            self.take_saved(dy)

    layer = Concatenate(Forgetful())
    y = layer.forward(np.zeros((2, 4), np.float32), train=True)
    with pytest.raises(TypeError, match=r"Forgetful\(\): expected backward to return dx, got None"):
        layer.backward(y)


# --- Their place in the house -------------------------------------------------------------------


def test_every_branch_knows_the_input(rng):
    layer = Concatenate(Residual(Dense(4, 4), Dense(4, 4)), Sequential(Dense(4, 2))).initialize(0)
    layer.forward(rng.standard_normal((3, 4)).astype(np.float32), train=True)
    dense = layer.branches[0].shortcut
    assert dense.input_contract.shape == layer.input_contract.shape == (4,)
    contract = InputContract("float32", (4,), 0, 1)
    layer.set_input_contract(contract)
    inner = layer.branches[0]
    for part in (inner, inner.block, inner.shortcut, layer.branches[1], layer.branches[1][0]):
        assert part.input_contract is contract


def test_a_model_with_branches_is_fitted_saved_and_diagnosed(rng, tmp_path):
    labels = rng.integers(0, 3, 120)
    x = (rng.standard_normal((120, 6, 6, 1)) + labels[:, None, None, None]).astype(np.float32)
    model = residual_net().initialize(0)
    loader, loss = DataLoader((x, labels), 20), LogitCrossEntropy()
    optimizer = Adam(model.parameters(), 0.02)
    history = fit(model, loader, loader, loss=loss, optimizer=optimizer, epochs=12, progress=False)
    assert history.acc_test.iloc[-1] > 0.6 > history.acc_test.iloc[0] - 0.2
    flips = [c for c in history.columns if c.startswith("flips_")]
    assert flips == ["flips_0.weight", "flips_1.block.1.weight",
                     *(f"flips_3.{i}.block.1.weight" for i in (0, 1))]  # fmt: skip
    save_model(model, tmp_path / "m.safetensors")
    again = load_model(tmp_path / "m.safetensors")
    assert repr(again) == repr(model)
    assert evaluate(again, loader, loss) == evaluate(model, loader, loss)
    other = residual_net().initialize(5)
    other.restore(model.state())
    np.testing.assert_array_equal(other.forward(x), model.forward(x))
    report = diagnose(model, loader)
    assert not [f for f in report.findings if f.kind in ("non-finite", "real-input")], str(report)


def test_a_diagnosis_names_layers_in_branches(rng):
    """A binary convolution that meets the block's sum instead of its signs."""
    block = Sequential(Conv2D(2, 2, 3, padding=1, weight_quantizer=SignSTE()), BatchNorm(2))
    model = Sequential(
        Conv2D(1, 2, 1), Activation(SignSTE()), Residual(block), Conv2D(2, 2, 1), Flatten()
    ).initialize(0)
    x = rng.standard_normal((40, 4, 4, 1)).astype(np.float32)
    report = diagnose(model, DataLoader((x, np.arange(40) % 3), 20))
    assert ("zero-padding", "2.block.0") in {(f.kind, f.where) for f in report.findings}
