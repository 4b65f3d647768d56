"""Sizes and operations of packed models."""

from __future__ import annotations

import math

import numpy as np
import pytest
from coded_tables import FRONTS, coded
from integer_files import every_kind
from packed_models import SIGN, dense, images_models, ink

from minibnn import Activation, BatchNorm, Conv2D, Flatten, MaxPool2D, Reshape, Sequential, pack
from minibnn.packed.description import named_arrays
from minibnn.packed.integer_stages import IntegerDense
from minibnn.packed.summary import PackedSummary, summarize


@pytest.mark.parametrize("name", images_models())
def test_summary(name, rng):
    model = Sequential(*images_models()[name]).initialize(rng)
    packed = pack(model, (8, 9))
    summary = packed.summary()
    assert isinstance(summary, PackedSummary)
    assert summary.bytes == packed.nbytes == sum(a.nbytes for a in packed.arrays().values())
    for i, (row, stage) in enumerate(zip(summary.rows, packed.stages, strict=True)):
        assert (row.stage, row.kind, row.in_shape) == (i, stage.kind, stage.in_shape)
        assert row.out_shape == stage.out_shape
        arrays = [a for k, a in packed.arrays().items() if k.split(".")[0] == str(i)]
        assert row.bytes == sum(a.nbytes for a in arrays)
        assert row.bytes >= -(-row.bits // 8) + 2 * row.integers + 4 * row.floats
    # The products are those of the float model.
    weights = {k: n for k, n in summary.operations.items() if k in ("xnor", "add")}
    assert sum(weights.values()) == sum(model.summary((8, 9)).macs.values())
    shipped = model.summary((8, 9)).values[1]
    assert sum(row.bits for row in summary.rows if row.kind in ("dense", "conv")) == shipped
    assert summary.table["bytes"].sum() == summary.bytes
    assert list(summary.table.index) == list(range(len(packed.stages)))


def test_a_summary_by_hand():
    model = Sequential(
        Reshape((4, 4, 1)), *ink(), Conv2D(1, 3, 3, weight_quantizer=SIGN), Activation(SIGN),
        MaxPool2D(2), Flatten(), dense(3, 2),
    ).initialize(0)  # fmt: skip
    rows = pack(model, (4, 4)).summary().rows
    assert [
        (r.kind, r.bits, r.integers, r.floats, r.bytes, r.count, r.operation) for r in rows
    ] == [
        ("binarize", 0, 0, 0, 0, 16, "compare"),
        ("conv", 27, 0, 0, 4, 108, "xnor"),
        ("threshold", 0, 3, 0, 6, 12, "compare"),
        ("pool", 0, 0, 0, 0, 9, "compare"),
        ("dense", 6, 0, 0, 1, 6, "xnor"),
        ("scores", 0, 4, 4, 24, 2, "multiply"),
    ]
    text = str(pack(model, (4, 4)).summary())
    assert text.splitlines()[0] == "PackedModel, one image (4, 4)"
    assert text.splitlines()[-1] == "operations an image: 114 xnor, 0 add, 37 compare, 2 multiply"
    assert "total" in text.splitlines()[-2]
    assert all(line == line.rstrip() and len(line) < 100 for line in text.splitlines())


@pytest.mark.parametrize("name", FRONTS)
def test_codes(name):
    packed = pack(coded(name))
    row = packed.summary().rows[0]
    arrays = [a for k, a in packed.arrays().items() if k.startswith("0.")]
    count = math.prod(packed.stages[0].out_shape)
    assert (row.kind, row.count, row.operation, row.bits) == ("code", count, "compare", 0)
    assert row.bytes == sum(a.nbytes for a in arrays)
    assert packed.summary().bytes == packed.nbytes


def test_a_model_that_falls_ships_its_directions():
    model = Sequential(*ink(), dense(5, 9), BatchNorm(9), Activation(SIGN), dense(9, 2)).initialize(
        0
    )
    row = pack(model, (5,)).summary().rows[2]
    assert (row.bits, row.integers, row.bytes) == (0, 9, 18)
    model[3].gamma.data[0] = -1
    row = pack(model, (5,)).summary().rows[2]
    assert (row.bits, row.integers, row.bytes) == (9, 9, 20)


def test_stages_on_integers_by_hand():
    packed = every_kind()
    summary = packed.summary()
    rows = [(r.kind, r.bits, r.integers, r.bytes, r.count, r.operation) for r in summary.rows]
    assert rows[2:11] == [
        ("integer_conv", 64, 0, 8, 36 * 8, "xnor"),  # two planes of bits
        ("levels", 4, 12, 25, 36 * 3, "compare"),
        ("scale", 0, 8, 16, 36, "multiply"),
        ("add", 0, 0, 0, 36, "add"),
        ("slope", 0, 4, 8, 36, "multiply"),
        ("concat", 0, 0, 0, 0, ""),
        ("sum_pool", 0, 0, 0, 8 * 8, "add"),
        ("scale", 0, 16, 48, 8, "multiply"),
        ("integer_dense", 192, 0, 24, 24, "multiply"),  # a byte for each weight
    ]
    assert summary.bytes == packed.nbytes
    assert sum(summary.operations.values()) == sum(r.count for r in summary.rows)
    assert " concat " in str(summary)


@pytest.mark.parametrize(
    ("most", "takes", "operation"),
    [(1, "bits", "xnor"), (1, "pixels", "add"), (1, "numbers", "add"),
     (2, "bits", "add"), (2, "pixels", "multiply"), (2, "numbers", "multiply")],
)  # fmt: skip
def test_operations_of_products_of_integers(most, takes, operation):
    stage = IntegerDense((3,), (2,), np.full((2, 3), most, np.int8), takes)
    (row,) = summarize((3,), (stage,), named_arrays((stage,))).rows
    assert (row.count, row.operation) == (6, operation)
    assert row.bits == (6 if most == 1 else 48)
