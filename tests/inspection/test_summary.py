"""The summary: sizes, shapes, costs and kinds, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn import (
    Activation,
    AveragePool2D,
    BatchNorm,
    Buffer,
    Conv2D,
    Dense,
    DirectFeedback,
    Dropout,
    Fill,
    FixedFeedback,
    Flatten,
    Function,
    Identity,
    Layer,
    MagnitudeAwareSign,
    MaxPool2D,
    Parameter,
    Radial,
    RandomStream,
    ReLU,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
)
from minibnn.inspection.recorder import Recorder


class Levels(Function):
    """So many levels that one takes `n` bits, and a scale for each output."""

    def __init__(self, n, scaled=False):
        self.n = n
        self.scaled = scaled

    def forward(self, x):
        return (x.clip(0, 1) * (2**self.n - 1)).round()

    def backward(self, dy, x):
        return dy

    def shipped_floats(self, shape):
        return shape[-1] if self.scaled else 0


class HandsOn(Layer):
    """The input itself comes out, as from dropout in evaluation."""

    def forward(self, x, *, train=False):
        return x

    def backward(self, dy, *, need_dx=True):
        return dy


def net():
    """Binary, mixed and float products, a bias, batch norm, feedback weights."""
    return Sequential(
        Flatten(),
        Rescale(0.5),
        Dense(15, 7, weight_quantizer=SignSTE(), bias=False),
        BatchNorm(7),
        Activation(SignSTE(clip=1.0)),
        Dense(7, 5, weight_quantizer=SignSTE(), feedback=FixedFeedback()),
        Activation(ReLU()),
        Dense(5, 3),
    )


def columns(summary, *names):
    return [tuple(row) for row in summary.table[list(names)].itertuples(index=False)]


def test_each_row_by_hand(backend):
    summary = net().initialize(0).to(backend).summary((3, 5))
    table = summary.table
    assert table.index.tolist() == ["0", "1", "2", "3", "4", "5", "6", "7"]
    assert table.index.name == "path"
    assert list(table.columns) == ["layer", "output", "1-bit", "32-bit", "bytes", "macs", "kind"]
    assert columns(summary, "layer", "output") == [
        ("Flatten()", (15,)),
        ("Rescale(0.5)", (15,)),
        ("Dense(15 -> 7)", (7,)),
        ("BatchNorm(7)", (7,)),
        ("Activation(SignSTE(clip=1.0))", (7,)),
        ("Dense(7 -> 5)", (5,)),
        ("Activation(ReLU())", (5,)),
        ("Dense(5 -> 3)", (3,)),
    ]
    assert columns(summary, "1-bit", "32-bit", "bytes", "macs", "kind") == [
        (0, 0, 0, 0, ""),
        (0, 0, 0, 0, ""),
        (105, 0, 14, 105, "mixed"),  # 105 bits in 14 bytes
        (0, 14, 56, 0, ""),  # a scale and a shift for each channel
        (0, 0, 0, 0, ""),
        (35, 5, 5 + 20, 35, "binary"),  # the feedback weights stay at home
        (0, 0, 0, 0, ""),
        (0, 18, 72, 15, "float"),
    ]
    assert summary.values == {1: 140, 32: 37}
    assert summary.bytes == 14 + 56 + 25 + 72
    assert summary.float_bytes == 4 * 177
    assert summary.macs == {"binary": 35, "mixed": 105, "float": 15}
    assert summary.input_shape == (3, 5)


def test_print():
    lines = str(net().summary((3, 5))).splitlines()
    assert lines[0] == "Sequential(8 layers), one sample (3, 5)"
    assert lines[1].split() == ["layer", "output", "1-bit", "32-bit", "bytes", "MACs", "kind"]
    assert lines[5].split() == [
        "2",
        "Dense(15",
        "->",
        "7)",
        "(7,)",
        "105",
        "-",
        "14",
        "105",
        "mixed",
    ]
    assert lines[-3].split() == ["total", "140", "37", "167", "155"]
    assert lines[-2] == (
        "as shipped 167 bytes = 0.16 KiB; in float32 708 bytes = 0.69 KiB, 4.2 times as much"
    )
    assert lines[-1] == "multiply-accumulates a sample: 35 binary, 105 mixed, 15 float"
    assert len({line.index("mixed") for line in lines if line.endswith("mixed")}) == 1


def test_the_published_sizes_of_a_dense_stack_with_batch_norm():
    """Two float numbers for each channel of batch norm, as other summaries count it fused.

    The dense part of a published 13.19 KiB binary CNN: 36,864 and 640 bits, 64 and 10 channels.
    """
    model = Sequential(
        Dense(576, 64, bias=False, weight_quantizer=SignSTE()),
        BatchNorm(64),
        Activation(SignSTE()),
        Dense(64, 10, bias=False, weight_quantizer=SignSTE()),
        BatchNorm(10),
    )
    assert [row.bytes for row in model.summary().rows] == [4608, 512, 0, 80, 80]


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
    """Zeros come out of the sample of zeros, and would look binary after a Rescale(2.0, -1)."""
    layer = Dense(4, 3, weight_quantizer=weights)
    assert Sequential(*before, layer).summary((4,)).rows[-1].kind == kind


def test_other_widths_have_a_column_and_scales_ship():
    model = Sequential(
        Dense(5, 3, bias=False, weight_quantizer=Levels(2)),
        Dense(3, 7, weight_quantizer=Levels(1, scaled=True)),
    )
    summary = model.summary()
    assert list(summary.table.columns)[2:5] == ["1-bit", "2-bit", "32-bit"]
    assert columns(summary, "1-bit", "2-bit", "32-bit", "bytes") == [
        (0, 15, 0, 4),  # 30 bits
        (21, 0, 14, 3 + 56),
    ]


def test_a_model_that_is_one_layer():
    summary = Dense(3, 2).summary()
    assert [(row.path, row.output, row.bytes) for row in summary.rows] == [("", (2,), 32)]


class Scaled(Layer):
    """A container with a number of its own, a buffer that ships, one that does not, and a twin."""

    def __init__(self):
        self.scale = Parameter("scale", (1,), Fill(2.0))
        self.shift = Buffer("shift")
        self.feedback = Buffer("feedback", ships=False)
        self.inner = Sequential(Dense(3, 3, bias=False), Activation(Identity()))
        self.unused = Dense(9, 9, bias=False)

    def _initialize(self, rng, dtype):
        super()._initialize(rng, dtype)
        self.shift.data = np.zeros(3, dtype)
        self.feedback.data = np.zeros((50, 50), dtype)

    def forward(self, x, *, train=False):
        return self.inner.forward(self.inner.forward(x)) * self.scale.data + self.shift.data

    def backward(self, dy, *, need_dx=True):
        raise NotImplementedError


def test_containers_shared_layers_and_layers_out_of_use():
    summary = Scaled().summary()
    rows = {row.path: (row.output, row.values, row.macs) for row in summary.rows}
    assert rows == {
        "inner.0": ((3,), {32: 9}, 18),  # runs twice, ships once
        "inner.1": ((3,), {}, 0),
        "": ((3,), {32: 4}, 0),
        "unused": (None, {32: 81}, 0),
    }
    assert "not run" in str(summary)


def test_a_layer_that_meets_bits_and_then_numbers_is_mixed():
    """Its second run takes the sums of its first."""

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


def test_what_a_container_adds_is_its_own_only():
    """Its children's binary weights are in their rows."""

    class Gated(Sequential):
        def __init__(self, *layers):
            self.gate = Parameter("gate", (3,), Fill(1.0))
            super().__init__(*layers)

        def forward(self, x, *, train=False):
            return super().forward(x, train=train) * self.gate.data

    model = Gated(Dense(4, 3, bias=False, weight_quantizer=SignSTE()))
    assert [(row.path, row.values) for row in model.summary().rows] == [
        ("0", {1: 12}),
        ("", {32: 3}),
    ]


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


def test_no_numbers_at_all():
    summary = Sequential(Flatten()).summary((2, 2))
    assert (summary.bytes, summary.float_bytes, summary.values) == (0, 0, {})
    assert "in float32 0 bytes = 0.00 KiB\n" in str(summary)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (Dense(4, 3), (4,)),
        (Sequential(Flatten(), Rescale(1.0), Dense(4, 3), Dense(3, 2)), (4,)),
        (Sequential(Sequential(BatchNorm(4)), Sequential(Dense(4, 3))), (4,)),
    ],
)
def test_the_first_width_gives_the_shape(model, shape):
    assert model.summary().input_shape == shape


class Twice(Layer):
    """Twice the features come out."""

    def forward(self, x, *, train=False):
        return self.backend.xp.concatenate([x, x], axis=1)

    def backward(self, dy, *, need_dx=True):
        raise NotImplementedError


@pytest.mark.parametrize(
    ("model", "shape", "error", "message"),
    [
        (
            Sequential(Flatten(), BatchNorm(3)),
            None,
            ValueError,
            r"pass one sample's, such as model",
        ),
        (Sequential(Twice(), Dense(6, 2)), None, ValueError, r"suggest \(6,\), which does not fit"),
        (Dense(3, 2), (4,), ValueError, r"Dense\(3 -> 2\): expected x of shape \(batch, 3\)"),
        (Dense(3, 2), 3, TypeError, r"expected input_shape to be one sample's shape"),
        (Dense(3, 2), [3], TypeError, r"such as \(28, 28\), got \[3\]"),
    ],
)
def test_it_says_what_it_needs(model, shape, error, message):
    with pytest.raises(error, match=message):
        model.summary(shape)


class Restless(Layer):
    """Draws and counts in evaluation too, which no layer should."""

    def __init__(self):
        self.stream = RandomStream()
        self.seen = Buffer("seen")

    def _initialize(self, rng, dtype):
        super()._initialize(rng, dtype)
        self.seen.data = np.zeros(1, dtype)

    def forward(self, x, *, train=False):
        self.seen.data += 1
        self.saved = (x.shape,)
        return x + self.stream.uniform(self.backend, x.shape, x.dtype)

    def backward(self, dy, *, need_dx=True):
        return dy


def test_the_model_is_left_alone(backend):
    model = Sequential(Restless(), *net()).initialize(0).to(backend)
    x = backend.asarray(np.ones((4, 15), np.float32))
    model.forward(x, train=True)
    saved = [layer.saved for layer in model]
    names = [set(vars(layer)) for layer in model]
    held = [p.data for p in model.parameters()] + [b.data for b in model.buffers()]
    before = [backend.to_host(a).copy() for a in held]
    model.summary((15,))
    assert model[0].stream.count == 1
    assert all(now.saved is then for now, then in zip(model, saved, strict=True))
    assert [set(vars(layer)) for layer in model] == names
    for array, value in zip(held, before, strict=True):
        np.testing.assert_array_equal(backend.to_host(array), value)


def test_a_model_without_values_has_a_summary_and_still_no_values():
    model = net()
    assert model.summary((15,)).bytes == net().initialize(0).summary((15,)).bytes
    assert all(p.data is None for p in model.parameters())


def test_float64_models_ship_as_float32():
    assert net().initialize(0, np.float64).summary((15,)).bytes == net().summary((15,)).bytes


def test_the_recorder_notes_both_ways(backend):
    model = net().initialize(0).to(backend)
    recorder = Recorder(model)
    rng = np.random.default_rng(0)
    x = backend.asarray(rng.standard_normal((4, 15)).astype(np.float32))
    y = recorder.model.forward(x, train=True)
    dy = backend.asarray(rng.standard_normal(y.shape).astype(np.float32))
    recorder.model.backward(dy, need_dx=False)
    steps = recorder.steps
    assert [step.path for step in steps] == [str(i) for i in range(8)]
    assert steps[0].x is x
    assert steps[-1].y is y
    assert steps[-1].dy is dy
    assert all(a.y is b.x for a, b in zip(steps, steps[1:], strict=False))  # noqa: RUF007
    assert all(a.dy is b.dx for a, b in zip(steps[2:], steps[3:], strict=False))  # noqa: RUF007
    assert [step.dy is None for step in steps] == [True] * 2 + [False] * 6
    assert steps[2].dx is None, "nobody needs the first layer's"
    assert all(layer.saved is None for layer in model)
    recorder.clear()
    assert recorder.steps == []


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (Conv2D(3, 4, 3, weight_quantizer=SignSTE()), "binary"),
        (Conv2D(3, 4, 3, padding=1, padding_value=-1, weight_quantizer=SignSTE()), "binary"),
        (Conv2D(3, 4, 3, padding=1, weight_quantizer=SignSTE()), "mixed"),
    ],
)
def test_a_border_of_zeros_is_not_binary(layer, kind):
    summary = Sequential(Activation(SignSTE()), layer).summary((6, 5, 3))
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


def test_what_other_layers_ship_and_cost():
    def of(layer):
        (row,) = layer.initialize(0).summary((4,)).rows
        return row.bytes, row.macs

    assert of(Radial(4, 3)) == (4 * 15, 12)
    assert of(Dense(4, 3, bias=False, weight_quantizer=MagnitudeAwareSign())) == (2 + 4 * 3, 12)
    model = DirectFeedback(Dense(4, 3, bias=False), Dense(3, 2, bias=False)).initialize(0)
    model.forward(np.zeros((1, 4), np.float32), train=True)  # which draws the feedback weights
    assert model.summary((4,)).bytes == 4 * (12 + 6)
