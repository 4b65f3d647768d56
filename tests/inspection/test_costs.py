"""Costs of layers: products, bits, shipped numbers; and how a user's layer states its own."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import Levels

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Buffer,
    Concatenate,
    Conv1D,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Fill,
    Flatten,
    GlobalAveragePool2D,
    Layer,
    MagnitudeAwareSign,
    MaxPool2D,
    PReLU,
    Radial,
    ReLU,
    Rescale,
    Reshape,
    Residual,
    Sequential,
    SignSTE,
)
from minibnn.inspection.costs import macs, output_bits, product_bits, shipped_floats


class HandsOn(Layer):
    """Returns its input itself, as dropout does in evaluation."""

    def forward(self, x, *, train=False):
        return x

    def backward(self, dy, *, need_dx=True):
        return dy


@pytest.mark.parametrize(
    ("before", "weights", "kind"),
    [
        ([], SignSTE(), "mixed"),
        ([], None, "float"),
        ([Activation(SignSTE())], SignSTE(), "binary"),
        ([Activation(SignSTE())], None, "mixed"),
        ([Activation(SignSTE()), Flatten()], SignSTE(), "binary"),
        ([Activation(SignSTE()), HandsOn()], SignSTE(), "binary"),
        ([Activation(ReLU()), HandsOn()], SignSTE(), "mixed"),
        ([Activation(SignSTE()), BatchNorm(4)], SignSTE(), "mixed"),
        ([Activation(SignSTE()), Rescale(2.0)], SignSTE(), "mixed"),
        ([Activation(ReLU()), Flatten()], SignSTE(), "mixed"),
        ([Activation(Levels(2))], SignSTE(), "mixed"),
        ([Activation(SignSTE())], Levels(2), "mixed"),
        ([Activation(Levels(2))], Levels(2), "mixed"),
    ],
)
def test_a_product_is_binary_if_both_sides_are_by_construction(before, weights, kind):
    """The values of the sample do not matter: all zeros would look binary after a Rescale(2.0, -1)."""
    layer = Dense(4, 3, weight_quantizer=weights)
    assert Sequential(*before, layer).summary((4,)).rows[-1].kind == kind


def test_a_layer_that_meets_bits_and_then_numbers_is_mixed():
    """The layer runs twice; the second time on its own sums."""

    class Twice(Sequential):
        def forward(self, x, *, train=False):
            return self[1].forward(self[1].forward(self[0].forward(x)))

        def backward(self, dy, *, need_dx=True):
            raise NotImplementedError

    shared = Dense(3, 3, weight_quantizer=SignSTE())
    rows = Twice(Activation(SignSTE()), shared).initialize(0).summary((3,)).rows
    assert [(row.macs, row.kind) for row in rows if row.macs] == [(18, "mixed")]
    once = Sequential(Activation(SignSTE()), shared).initialize(0).summary((3,)).rows
    assert [(row.macs, row.kind) for row in once if row.macs] == [(9, "binary")]


def test_a_layer_that_runs_on_signs_and_on_reals_is_mixed():
    class Twofold(Layer):
        def __init__(self):
            self.sign = Activation(SignSTE())
            self.dense = Dense(3, 3, weight_quantizer=SignSTE())

        def forward(self, x, *, train=False):
            return self.dense.forward(x) + self.dense.forward(self.sign.forward(x))

        def backward(self, dy, *, need_dx=True):
            raise NotImplementedError

    rows = {row.path: (row.macs, row.kind) for row in Twofold().summary((3,)).rows}
    assert rows == {"sign": (0, ""), "dense": (18, "mixed")}


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (Conv2D(3, 4, 3, weight_quantizer=SignSTE()), "binary"),
        (Conv2D(3, 4, 3, padding=1, padding_value=-1, weight_quantizer=SignSTE()), "binary"),
        (Conv2D(3, 4, 3, padding=1, weight_quantizer=SignSTE()), "mixed"),
        (Conv1D(3, 4, 3, weight_quantizer=SignSTE()), "binary"),
        (Conv1D(3, 4, 3, padding=1, padding_value=1, weight_quantizer=SignSTE()), "binary"),
        (Conv1D(3, 4, 3, padding=1, weight_quantizer=SignSTE()), "mixed"),
    ],
)
def test_a_padding_of_zeros_is_not_binary(layer, kind):
    shape = (6, 3) if isinstance(layer, Conv1D) else (6, 5, 3)
    summary = Sequential(Activation(SignSTE()), layer).summary(shape)
    assert summary.rows[1].kind == kind


@pytest.mark.parametrize(
    "between", [Flatten(), Reshape((8, 1, 3)), MaxPool2D(2), Dropout(0.5), AveragePool2D(2)]
)
def test_layers_that_pick_values_keep_them_binary(between):
    model = Sequential(Activation(SignSTE()), between, Flatten())
    features = model.initialize(0).forward(np.zeros((1, 4, 2, 3), np.float32)).shape[1]
    model = Sequential(*model, Dense(features, 2, weight_quantizer=SignSTE()))
    kind = "mixed" if isinstance(between, AveragePool2D) else "binary"
    assert model.summary((4, 2, 3)).rows[-1].kind == kind


SIGN, REAL = Activation(SignSTE()), BatchNorm(4)


@pytest.mark.parametrize(
    ("between", "kind"),
    [
        (Residual(Sequential(Activation(SignSTE()))), "mixed"),  # sums of two signs: -2, 0, 2
        (Concatenate(Sequential(), Activation(SignSTE())), "binary"),
        (Concatenate(Sequential(Dropout(0.5)), Sequential(BatchNorm(4), SIGN)), "binary"),
        (Concatenate(Sequential(), BatchNorm(4)), "mixed"),
        (Concatenate(Sequential(), Sequential(BatchNorm(4))), "mixed"),
        (Concatenate(Sequential(), Residual(Activation(SignSTE()))), "mixed"),
        (Concatenate(DirectFeedback(Sequential(REAL, Activation(SignSTE())))), "binary"),
        (PReLU(4), "mixed"),
    ],
)
def test_branches_keep_values_binary_if_each_does(between, kind):
    """By what the branches are made of, not by the values of a sample."""
    model = Sequential(Activation(SignSTE()), between)
    width = model.initialize(0).forward(np.zeros((1, 4), np.float32)).shape[1]
    last = Dense(width, 2, weight_quantizer=SignSTE())
    assert Sequential(*model, last).summary((4,)).rows[-1].kind == kind


def test_bits_through_branches():
    both = Concatenate(Activation(Levels(2)), Sequential())
    assert [output_bits(both, bits) for bits in (1, 2, 8)] == [2, 2, 8]
    assert output_bits(Residual(Activation(SignSTE())), 1) == 32
    through = Sequential(BatchNorm(4), Activation(SignSTE()), Dropout(0.5))
    assert [output_bits(through, bits) for bits in (1, 32)] == [1, 1]
    assert output_bits(DirectFeedback(Activation(SignSTE()), BatchNorm(4)), 1) == 32


def test_what_other_layers_ship_and_cost():
    def of(layer):
        (row,) = layer.initialize(0).summary((4,)).rows
        return row.bytes, row.macs

    assert of(Radial(4, 3)) == (4 * 15, 12)
    assert of(Dense(4, 3, bias=False, weight_quantizer=MagnitudeAwareSign())) == (2 + 4 * 3, 12)
    model = DirectFeedback(Dense(4, 3, bias=False), Dense(3, 2, bias=False)).initialize(0)
    model.forward(np.zeros((1, 4), np.float32), train=True)  # which draws the feedback weights
    assert model.summary((4,)).bytes == 4 * (12 + 6)


def test_macs():
    layer = Conv2D(32, 64, 3)
    assert macs(layer, (11, 11, 64)) == macs(layer, (5, 11, 11, 64)) == 11 * 11 * 9 * 32 * 64
    assert macs(Conv2D(4, 4, 3, groups=4), (2, 3, 4)) == 6 * 9 * 4
    layer = Conv1D(8, 6, 5, groups=2)
    assert macs(layer, (11, 6)) == macs(layer, (3, 11, 6)) == 11 * 5 * 4 * 6
    assert macs(GlobalAveragePool2D(), (4,)) == macs(PReLU(4), (4,)) == 0
    assert shipped_floats(PReLU(4)) == 4


def test_macs_count_the_forward_pass(rng):
    """Each multiplication adds 1 when images and weights are ones."""
    layer = Conv2D(4, 6, (2, 3), stride=2, groups=2, weight_init=Fill(1.0)).initialize(0)
    z = layer.forward(np.ones((1, 5, 7, 4), np.float32))
    assert macs(layer, z.shape) == z.sum()


# --- A layer of a user's own ------------------------------------------------------------------


class Similarity(Layer):
    """The dot product with each of a few fixed prototypes, as a sign."""

    def __init__(self, features, prototypes):
        self.prototypes = Buffer("prototypes")
        self.prototypes.data = np.ones((features, prototypes), np.float32)

    def forward(self, x, *, train=False):
        return np.where(x @ self.prototypes.data >= 0, 1, -1).astype(x.dtype)

    def backward(self, dy, *, need_dx=True):
        raise NotImplementedError

    def macs(self, y_shape):
        return self.prototypes.data.size

    def product_bits(self, x_bits):
        return 8

    def output_bits(self, x_bits):
        return 1

    def shipped_floats(self):
        return 3


def test_a_layer_states_its_costs():
    layer = Similarity(4, 6)
    assert macs(layer, (6,)) == 24
    assert (product_bits(layer, 1), output_bits(layer, 32), shipped_floats(layer)) == (8, 1, 3)
    model = Sequential(layer, Dense(6, 2, bias=False, weight_quantizer=SignSTE()))
    first, second = model.summary((4,)).rows
    assert (first.macs, first.kind, first.values) == (24, "mixed", {32: 3})
    assert (second.macs, second.kind) == (12, "binary")


def test_the_old_methods_answer_with_a_warning():
    """Also through ``super()``, in a subclass that adds to a cost."""

    class WithTemperature(Conv2D):
        def shipped_floats(self):
            return super().shipped_floats() + 1

        def macs(self, y_shape):
            return super().macs(y_shape) + 1

    layer = WithTemperature(3, 4, 3, padding=1)
    with pytest.warns(DeprecationWarning, match=r"shipped_floats\(layer, ...\), and the old name"):
        assert shipped_floats(layer) == 4 * 27 + 4 + 1
    with pytest.warns(DeprecationWarning, match="WithTemperature.macs is now"):
        assert macs(layer, (5, 5, 4)) == 25 * 4 * 27 + 1
    with pytest.warns(DeprecationWarning, match="WithTemperature.product_bits is now"):
        assert layer.product_bits(1) == product_bits(layer, 1) == 2
    with pytest.warns(DeprecationWarning, match="Flatten.output_bits is now"):
        assert Flatten().output_bits(5) == 5
