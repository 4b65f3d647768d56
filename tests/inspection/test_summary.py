"""The summary: sizes, shapes, costs and kinds, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from small_networks import Levels, net

from minibnn import (
    Activation,
    BatchNorm,
    Buffer,
    Dense,
    Fill,
    Flatten,
    Identity,
    Layer,
    Parameter,
    RandomStream,
    Rescale,
    Sequential,
    SignSTE,
)
from minibnn.inspection.summary import Summary, SummaryRow


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
        (35, 5, 5 + 20, 35, "binary"),  # the feedback weights do not ship
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
    """Batch norm counts as two floats for each channel, as in other summaries that fuse it.

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
    """A container with a parameter, a shipped buffer, one that does not ship, and a layer that runs twice."""

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
    """The output has twice the features."""

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


def test_totals_of_rows():
    rows = (
        SummaryRow("0", "Dense(3 -> 4)", (4,), {32: 4, 1: 12}, 18, 12, "binary"),
        SummaryRow("1", "Dense(4 -> 2)", (2,), {2: 8, 32: 2}, 10, 8, "mixed"),
        SummaryRow("2", "Dense(2 -> 2)", None, {32: 6}, 24, 0, ""),
    )
    summary = Summary("three", (3,), rows)
    assert (summary.bytes, summary.float_bytes) == (52, 4 * 32)
    assert list(summary.values.items()) == [(1, 12), (2, 8), (32, 12)]
    assert summary.macs == {"binary": 12, "mixed": 8, "float": 0}
    assert str(summary).count("not run") == 1
