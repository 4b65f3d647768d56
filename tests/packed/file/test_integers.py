"""Stages on integers in files: each field and each array that is wrong is refused."""

from __future__ import annotations

import numpy as np
import pytest
from integer_files import KINDS, NUMBER
from packed_files import changed, load_bytes

from minibnn import PackedFileError
from minibnn.packed.file import container
from minibnn.packed.file.fields import Fields, StageArrays
from minibnn.packed.file.integers import TAKES, integer_stage
from minibnn.packed.integer_stages import INTEGER_STAGES, IntegerConv, IntegerDense, IntegerProduct


def refuses(data, change, match="expected a packed model"):
    with pytest.raises(PackedFileError, match=match):
        load_bytes(changed(data, change))


def says(kind, **values):
    return lambda architecture, *_: architecture["stages"][NUMBER[kind]].update(values)


def lacks(kind, name):
    return lambda architecture, *_: architecture["stages"][NUMBER[kind]].pop(name)


def has(kind, name, change):
    """An array that is changed; of None, it is gone."""

    def apply(_, arrays, *__):
        key = f"{NUMBER[kind]}.{name}"
        value = change(arrays.pop(key, None))
        if value is not None:
            arrays[key] = value

    return apply


def test_the_file_itself(integers):
    packed = load_bytes(integers)
    assert [stage.kind for stage in packed.stages] == KINDS
    products = {IntegerDense.kind, IntegerConv.kind}
    kinds = {stage.kind for stage in INTEGER_STAGES if stage is not IntegerProduct} | products
    assert kinds == set(TAKES)
    assert kinds < set(KINDS)


WRONG_FIELDS = [
    ("integer_conv", "groups", [0, -1, 3, 4, 1, 2**17, 2.0, True, None]),
    ("integer_conv", "border_value", [-2, 2, 0.5, False]),
    ("integer_conv", "border", [[[1, 0], [0, 0]], [[2, 0], [0, 1]], [[-1, 0], [0, 1]], [1, 1]]),
    ("integer_conv", "size", [[2, 3], [4, 4], [5, 1], [0, 1], [2]]),
    ("integer_conv", "stride", [[2, 1], [0, 1], [1]]),
    ("integer_conv", "dilation", [[2, 1], [0, 1]]),
    ("integer_conv", "out_shape", [[3, 3, 5], [3, 3, 2], [9, 4], [36], [3, 3]]),
    ("integer_conv", "in_shape", [[36], [3, 12], [9, 1, 4], [3, 3, 3]]),
    ("integer_conv", "pixels", [False, True]),
    ("integer_conv", "takes", ["bits"]),
    ("integer_dense", "out_shape", [[1, 3], [2], [4], [0], [], 2**20]),
    ("integer_dense", "pixels", [False]),
    ("integer_dense", "groups", [1, 2]),
    ("integer_dense", "in_shape", [[7], [9], [2, 5]]),
    ("sum_pool", "out_shape", [[1, 1, 4], [2, 1, 8], [8], [1, 8]]),
    ("sum_pool", "size", [[2, 3], [3, 4], [1, 1], [0, 3]]),
    ("sum_pool", "stride", [[0, 1], [1]]),
    ("sum_pool", "in_shape", [[3, 3, 4], [9, 8], [72]]),
    ("levels", "levels", [0, 1, 2, 4, 256, -3, 3.0, None, 2**40]),
    ("levels", "in_shape", [[36], [3, 12], [9, 2, 2]]),
    ("scale", "shift", []),
    ("scale of sums", "shift", [-1, 49, 12.0, None]),
    ("scale of sums", "in_shape", [[4, 2], [1, 1, 4], [72]]),
    ("slope", "shift", [0, 31, -1, 2.0, None]),
    ("add", "out_shape", [[3, 3, 4]]),
    ("add", "in_shape", [[3, 3, 8], [35]]),
    ("add", "parts", [[4, 4]]),
    ("concat", "parts", [[], [4], [8], [5, 3], [4, 4, 4], [0, 8], [4, 4.0], 8, [2, 6], [2**28] * 2]),
    ("concat", "out_shape", [[3, 3, 8]]),
    ("concat", "in_shape", [[3, 3, 8], [36], [3, 3, 3], [9, 2, 4]]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "field", "value"),
    [(kind, field, v) for kind, field, values in WRONG_FIELDS for v in values],
    ids=str,
)
def test_wrong_fields(integers, kind, field, value):
    refuses(integers, says(kind, **{field: value}))


@pytest.mark.parametrize(
    ("kind", "field"),
    [(k, f) for k, fields in {
        "integer_conv": ["size", "out_shape", "groups"], "integer_dense": ["out_shape"],
        "levels": ["levels"], "scale of sums": ["shift"], "slope": ["shift"], "concat": ["parts"],
        "sum_pool": ["size", "out_shape"]}.items() for f in fields],
)  # fmt: skip
def test_missing_fields(integers, kind, field):
    refuses(integers, lacks(kind, field))


def test_concatenations_see_their_sources_in_one_shape(integers):
    """The other axes may be any that fit."""

    def change(architecture, *_):
        concat, pool = (architecture["stages"][NUMBER[k]] for k in ("concat", "sum_pool"))
        concat["in_shape"] = [9, 1, 4]
        pool["in_shape"] = [3, 3, 8]

    packed = load_bytes(changed(integers, change))
    x = np.random.default_rng(0).integers(0, 256, (9, 4, 4, 2), np.uint8)
    expected = load_bytes(integers).predict_scores(x)
    np.testing.assert_array_equal(packed.predict_scores(x), expected)


ARRAYS = {
    "integer_conv": ["weights", "mask"], "integer_dense": ["weights"], "levels": ["thresholds", "falling"],
    "scale of bits": ["A", "B"], "scale of sums": ["A", "B"], "slope": ["A"],
}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k, names in ARRAYS.items() for n in names])
def test_wrong_arrays(integers, kind, name):
    key = f"{NUMBER[kind]}.{name}"
    array = container.read(integers, "").arrays()[key]
    wide = {np.int16: np.int32, np.int32: np.int64, np.uint8: np.int16, np.int8: np.int16}
    wrong = [array[:-1], np.append(array, array[:1]), array[:0], array[:, None], array[0],
             array.astype(np.float32), array.astype(wide[array.dtype.type])]  # fmt: skip
    for value in wrong:
        refuses(integers, has(kind, name, lambda _, v=value: v))
    refuses(integers, lambda _, a, *__: a.update({key + "x": a.pop(key)}))
    if name not in ("falling", "mask"):  # without which it is another program
        refuses(integers, has(kind, name, lambda _: None))


@pytest.mark.parametrize(
    ("kind", "field", "value", "message"),
    [
        ("integer_conv", "out_shape", [3, 3, 3], "groups of one size"),
        ("integer_conv", "groups", 3, "groups of one size"),
        ("integer_conv", "border_value", -2, "border_value between -1 and 1"),
        ("integer_conv", "border_value", 2, "border_value between -1 and 1"),
        ("integer_conv", "out_shape", [3, 3, 2**16 + 2], "at most 65,536 channels"),
        ("integer_dense", "out_shape", [2**16 + 1], "at most 65,536 channels"),
        ("integer_dense", "out_shape", [1, 3], "one axis of sums"),
        ("sum_pool", "out_shape", [1, 1, 4], "as many channels as come in"),
        ("sum_pool", "size", [3, 2], "as many windows as fit"),
        ("levels", "levels", 256, "levels between 1 and 255"),
        ("levels", "levels", 4, "expected 16 thresholds, got 12"),
        ("scale of sums", "shift", 49, "shift between 0 and 48"),
        ("slope", "shift", 31, "shift between 1 and 30"),
        ("slope", "shift", 0, "shift between 1 and 30"),
        ("concat", "parts", [4, 5], "channels of each source as parts"),
    ],
)
def test_messages(integers, kind, field, value, message):
    """Each from its own check, not from a later one."""
    refuses(integers, says(kind, **{field: value}), message)


@pytest.mark.parametrize(
    ("takes", "least", "most"), [("pixels", 0, 255), ("numbers", -(2**15), 2**15 - 1)]
)
def test_padding_is_a_value_of_its_kind(takes, least, most):
    for value, fits in ((least, True), (most, True), (least - 1, False), (most + 1, False)):
        values = {
            "out_shape": [2, 1, 1],
            "size": [1, 1],
            "border": [[1, 0], [0, 0]],
            "border_value": value,
        }
        arrays = StageArrays(0, {"0.weights": np.array([2], np.int8)})
        if fits:
            stage = integer_stage(
                Fields("x", values), "integer_conv", takes, (1, 1, 1), [1], arrays
            )
            assert stage.border_value == value
            continue
        with pytest.raises(ValueError, match="expected border_value between"):
            integer_stage(Fields("x", values), "integer_conv", takes, (1, 1, 1), [1], arrays)


def test_sizes_that_need_no_arrays():
    """Before anything of their size is made."""
    none = StageArrays(0, {})
    for in_shape, message in (((2**23,), "vector weights"), ((2**23 + 32_897,), "fit into int32")):
        with pytest.raises(ValueError, match=message):
            integer_stage(
                Fields("x", {"out_shape": [1]}), "integer_dense", "bits", in_shape, [0], none
            )
    for channels in ((4, 3), (3, 4)):  # of which one is in three groups of one size
        conv = {"out_shape": [1, 1, channels[1]], "size": [1, 1], "groups": 3}
        with pytest.raises(ValueError, match="groups of one size"):
            integer_stage(Fields("x", conv), "integer_conv", "bits", (1, 1, channels[0]), [0], none)
    parts = [2**12, 2**16 - 2**12, 1]
    for n, fits in ((2, True), (3, False)):
        values, sizes = {"parts": parts[:n]}, [2**12 * k for k in parts[:n]]
        concat = "concat", "bits", (2**12, 2**12), sizes, none
        if fits:
            assert integer_stage(Fields("x", values), *concat).out_shape == (2**12, 2**16)
            continue
        with pytest.raises(ValueError, match="at most 268,435,456 values"):
            integer_stage(Fields("x", values), *concat)


def test_ternary_weights(integers):
    """A plane of signs with 0 where the mask is 0."""
    arrays = container.read(integers, "").arrays()
    signs, mask = (arrays[f"{NUMBER['integer_conv']}.{k}"] for k in ("weights", "mask"))
    assert not (signs & ~mask).any()
    zero = np.unpackbits(mask, bitorder="little").argmin()
    sign_of_zero = signs.copy()
    sign_of_zero[zero // 8] |= 1 << zero % 8
    refuses(integers, has("integer_conv", "weights", lambda _: sign_of_zero), "one spelling")
    refuses(integers, has("integer_conv", "mask", lambda a: a | np.uint8(255)), "expected no mask")
    # Bits, as bytes that bits or ternary weights can say.
    for values in ([-1, 1], [-1, 0, 1]):
        plain = np.resize(np.array(values, np.int8), 32)

        def change(_, a, *__, plain=plain):
            a["2.weights"] = plain
            del a["2.mask"]

        refuses(integers, change, "one spelling")
    bits = load_bytes(changed(integers, has("integer_conv", "mask", lambda _: None)))
    plain = np.unpackbits(signs, bitorder="little").astype(int) * 2 - 1
    np.testing.assert_array_equal(bits.stages[2].weights.reshape(-1), plain)


def test_weights_of_a_byte(integers):
    def becomes(value):
        return has(
            "integer_dense", "weights", lambda a: np.where(a == a[0], value, a).astype(np.int8)
        )

    for value in (-127, 127, 0):
        weights = load_bytes(changed(integers, becomes(value))).stages[10].weights
        assert value in weights
    refuses(integers, becomes(-128), "24 weights from -127 to 127")
    refuses(integers, lambda _, a, *__: a.update({"10.mask": np.full(3, 255, np.uint8)}), "10.mask")


def test_levels_rise_or_fall(integers):
    start = {0: [-2, 0, 3], 2: [3, 1, -3]}
    for channel, good in start.items():
        refuses(integers, _levels(channel, good[::-1]), "rising thresholds, or falling")
        refuses(integers, _levels(channel, [good[0], good[2], good[1]]), "rising thresholds")
        refuses(integers, _levels(channel, [good[1]] * 3), "a certificate of these thresholds")
    refuses(integers, has("levels", "falling", lambda a: a * 0), "rising thresholds")
    refuses(integers, has("levels", "falling", lambda a: a | 128), "zeros beyond the last bit")
    level = _levels(2, [0, 0, 0])

    def none_falls(*args):
        level(*args)
        has("levels", "falling", lambda a: a * 0)(*args)

    refuses(integers, none_falls, "expected no falling that says nothing")


def _levels(channel, values):
    def change(array):
        array = array.copy().reshape(4, 3)
        array[channel] = values
        return array.reshape(-1)

    return has("levels", "thresholds", change)
