"""ONNX files: the packed model's scores, to the last bit, in ONNX Runtime."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from coded_models import CODED, any_code, coded, extreme
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_programs import random_program
from onnx_checks import check, images_for, scored, session
from packed_models import SIGN, dense, images_models, ink, shake
from wide_models import packed_networks

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Flatten,
    MaxPool2D,
    PackError,
    Rescale,
    Reshape,
    Sequential,
    pack,
)
from minibnn.export.onnx import export_onnx
from minibnn.export.onnx_graph import MOST_SUM
from minibnn.packed import PackedModel
from minibnn.packed.bits import pack_rows
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    ScaleStage,
)
from minibnn.packed.stages import (
    CodeStage,
    ConvStage,
    DenseStage,
    PoolStage,
    ScoreStage,
    ThresholdStage,
)
from minibnn.recipes import RECIPES

onnx = pytest.importorskip("onnx")


RECIPES_PACKABLE = ["seed", "modern", "finn-sfc", "finn-sfc-8bit", "larq-cnn", "direct-feedback"]


@pytest.mark.parametrize("name", RECIPES_PACKABLE)
def test_recipes(name, rng, runtime, exported):
    model = RECIPES[name]().build().initialize(rng)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.normal(0, 5, buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.uniform(1, 500, buffer.data.shape)
    packed = pack(model, (28, 28))
    check(runtime, packed, exported(packed), images_for(packed, rng, 12))


@pytest.mark.parametrize("name", images_models())
def test_images(name, rng, runtime, exported):
    model = shake(Sequential(*images_models()[name]).initialize(rng), rng)
    if name == "conv last":
        model[-1].initialize(0)  # logits within reach of each other
    packed = pack(model, (8, 9))
    check(runtime, packed, exported(packed), images_for(packed, rng))


def conv(c_in, c_out, size, **options):
    return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)


MORE = {
    "dense as an image": [
        Flatten(), *ink(), dense(72, 24), Activation(SIGN), Reshape((2, 3, 4)), conv(4, 5, 2),
        Activation(SIGN), Flatten(), dense(10, 4),
    ],
    "sums of bits pooled": [
        Flatten(), *ink(), dense(72, 6), Reshape((1, 1, 6)), MaxPool2D(1), BatchNorm(6), Activation(SIGN),
        Flatten(), dense(6, 4),
    ],
    "pooled last": [
        Reshape((8, 9, 1)), *ink(), conv(1, 4, 3), MaxPool2D((6, 7)), Flatten(),
    ],
    "bits pooled after a sign of pixels": [
        Reshape((8, 9, 1)), *ink(), MaxPool2D(2), conv(1, 3, 2), Activation(SIGN), Flatten(),
        dense(27, 4),
    ],
    "pixels into scores": [Flatten(), Rescale(1 / 255), dense(72, 3)],
    "two classes": [Flatten(), *ink(), dense(72, 2)],
    "image kept flat": [Flatten(), *ink(), Reshape((8, 9, 1)), conv(1, 2, 1), Activation(SIGN),
                        Reshape((4, 36)), Flatten(), dense(144, 5)],
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_other_ways_to_go_on(name, rng, runtime, exported):
    packed = pack(shake(Sequential(*MORE[name]).initialize(rng), rng), (8, 9))
    check(runtime, packed, exported(packed), images_for(packed, rng))


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 130), min_size=2, max_size=4), st.booleans())
def test_widths(tmp_path_factory, seed, widths, pixels):
    runtime = pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(seed)
    layers = [Rescale(1 / 255, -0.5)] if pixels else ink()
    for n_in, n_out in pairwise(widths):
        layers += [dense(n_in, n_out), BatchNorm(n_out), Activation(SIGN)]
    model = shake(Sequential(*layers, dense(widths[-1], 3)).initialize(rng), rng)
    packed = pack(model, (widths[0],))
    file = tmp_path_factory.mktemp("widths") / "model.onnx"
    export_onnx(packed, file)
    onnx.checker.check_model(str(file), full_check=True)
    check(runtime, packed, file, images_for(packed, rng, 20))


def test_every_sum_to_its_ends(runtime, exported):
    """All bits equal, or all different: the greatest and the least accumulators."""
    model = Sequential(*ink(), dense(300, 2), Activation(SIGN), dense(2, 2)).initialize(0)
    model[2].weight.data[:, 0], model[2].weight.data[:, 1] = 1, -1
    packed = pack(model, (300,))
    images = np.where(np.arange(300) < np.arange(301)[:, None], 255, 0).astype(np.uint8)
    check(runtime, packed, exported(packed), images)
    # pixels: both kernels of the first layer, at 255 everywhere
    model = Sequential(Rescale(1), dense(3000, 2), Activation(SIGN), dense(2, 2)).initialize(0)
    model[1].weight.data[:, 0], model[1].weight.data[:, 1] = 1, -1
    model[1].bias.data[...] = [-255 * 3000, 255 * 3000]
    packed = pack(model, (3000,))
    images = np.full((3, 3000), 255, np.uint8)
    images[1, 7], images[2] = 254, 0
    assert len(set(map(tuple, packed.after(images, 2).tolist()))) > 1
    check(runtime, packed, exported(packed), images)


def test_scores_beyond_32_bits(rng, runtime, exported):
    """Neighbouring scores beyond 2^53, which float64 and int32 would confuse."""
    packed = pack(Sequential(*ink(), dense(40, 3, bias=False)).initialize(rng), (40,))
    big = replace(
        packed.scores, A=np.full(3, 2**54), B=np.array([0, 1, 2**40]), fits_int32=False
    )  # fmt: skip
    packed = replace(packed, stages=(*packed.stages[:-1], big))
    images = images_for(packed, rng, 300)
    assert len(np.unique(packed.predict(images))) == 3
    check(runtime, packed, exported(packed), images)


def test_the_first_of_equal_scores(runtime, exported):
    model = Sequential(*ink(), dense(5, 4, bias=False)).initialize(0)
    model[2].weight.data[...] = 1
    model[2].weight.data[:, 0] = -1
    packed = pack(model, (5,))
    images = np.full((1, 5), 255, np.uint8)
    (label,) = session(runtime, exported(packed)).run(["label"], {"images": images})
    assert label.tolist() == [1] == packed.predict(images).tolist()


def test_a_single_score(rng, runtime, exported):
    model = Sequential(*ink(), dense(9, 1), BatchNorm(1)).initialize(0)
    model[-1].beta.data[...] = 0.3
    packed = pack(model, (9,))
    images = images_for(packed, rng)
    assert set(packed.predict(images)) == {0, 1}
    file = exported(packed)
    check(runtime, packed, file, images)
    assert "label: 1 if the score is at least 0" in onnx.load(file).doc_string


def test_threads_and_the_reference_agree(rng, runtime, exported):
    """Two threads add in another order; ONNX's own evaluator is not optimised."""
    model = shake(Sequential(*images_models()["two"]).initialize(rng), rng)
    packed = pack(model, (8, 9))
    file, images = exported(packed), images_for(packed, rng, 200)
    expected = packed.predict_scores(images)
    (scores,) = session(runtime, file, threads=2).run(["scores"], {"images": images})
    np.testing.assert_array_equal(scores, expected)
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(str(file))
    np.testing.assert_array_equal(evaluator.run(None, {"images": images[:5]})[0], expected[:5])


def test_what_the_file_says(tmp_path):
    packed = pack(RECIPES["modern"]().build().initialize(0), (28, 28))
    for name in ("one.onnx", "two.onnx"):
        export_onnx(packed, tmp_path / name)
    data = (tmp_path / "one.onnx").read_bytes()
    assert data == (tmp_path / "two.onnx").read_bytes()
    assert 8 * 13_600 < len(data) < 8 * 13_600 + 8_000  # weights in bytes, not in bits
    model = onnx.load_from_string(data)
    assert (model.ir_version, model.opset_import[0].version) == (7, 12)
    assert not any(node.domain for node in model.graph.node)
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert set(properties) == {"format", "minibnn", "architecture", "sha256"}
    assert properties["format"] == "minibnn-onnx"
    stages = json.loads(properties["architecture"])["stages"]
    assert [stage["kind"] for stage in stages] == [stage.kind for stage in packed.stages]
    # another model has another digest, the same one has the same
    other = pack(RECIPES["modern"]().build().initialize(1), (28, 28))
    export_onnx(other, tmp_path / "other.onnx")
    found = {
        entry.key: entry.value
        for entry in onnx.load(str(tmp_path / "other.onnx")).metadata_props
    }  # fmt: skip
    assert found["sha256"] != properties["sha256"]
    assert found["architecture"] == properties["architecture"]


def one_large_window(rows, columns):
    """One window with all pixels, weights of +1 and of -1, and thresholds at the extremes."""
    width = rows * columns
    signs = np.repeat(np.array([[1], [1], [0], [0]], np.uint8), width, axis=1)
    border = ((0, 0), (0, 0))
    shape = (1, 1, 4)
    conv = ConvStage((rows, columns, 1), shape, pack_rows(signs), width, True, (rows, columns),
                     (1, 1), (1, 1), border, 0)  # fmt: skip
    ends = np.array([255 * width, 255 * width, -255 * width, -255 * width + 1], np.int32)
    threshold = ThresholdStage(shape, shape, ends, np.array([False, True, True, False]))
    last = DenseStage((4,), (4,), pack_rows(np.eye(4, dtype=np.uint8)), 4, False)
    one, zero = np.ones(4, np.int64), np.zeros(4, np.int64)
    scores = ScoreStage(
        (4,), (4,), one, zero, 0, True, one.astype(np.float32), zero.astype(np.float32)
    )
    return PackedModel((rows, columns), (conv, threshold, last, scores), {"thresholds": []})


def test_the_largest_sums_that_float32_holds(runtime, exported):
    packed = one_large_window(256, 257)
    assert 255 * 256 * 257 <= MOST_SUM < 255 * (256 * 257 + 1)
    images = np.full((4, 256, 257), 255, np.uint8)
    images[1, 255, 256], images[2, 0, 0], images[3] = 254, 0, 0
    assert packed.after(images, 2).reshape(4, 4)[:2].tolist() == [[1, 1, 1, 0], [0, 1, 0, 1]]
    (scores,) = session(runtime, exported(packed)).run(["scores"], {"images": images})
    np.testing.assert_array_equal(scores, packed.predict_scores(images))


def test_sums_that_float32_cannot_hold(runtime, exported):
    """A digit more: the window of 65,803 pixels takes two."""
    packed = one_large_window(23, 2861)
    images = np.full((4, 23, 2861), 255, np.uint8)
    images[1, 22, 2860], images[2, 0, 0], images[3] = 254, 0, 0
    file = exported(packed)
    check(runtime, packed, file, images)
    assert operators(file)["Conv"] == 2


def operators(file):
    """How often each operator occurs."""
    return Counter(node.op_type for node in onnx.load(str(file)).graph.node)


# --- graphs and integers --------------------------------------------------------------------------


def test_random_programs(tmp_path, runtime):
    """All kinds of stages; every tenth also without the runtime's own changes to the graph."""
    kinds, file = Counter(), tmp_path / "model.onnx"
    for seed in range(200):
        rng = np.random.default_rng(seed)
        packed = random_program(rng)
        kinds.update(stage.kind for stage in packed.stages)
        export_onnx(packed, file)
        onnx.checker.check_model(str(file), full_check=True)
        images = images_for(packed, rng, 12)
        check(runtime, packed, file, images, threads=1 + seed % 2, optimised=seed % 10 > 0)
    assert len(kinds) == 13
    assert min(kinds.values()) >= 10


def test_random_networks(tmp_path, runtime):
    """From layers to a graph: fifty networks."""
    for seed, packed in enumerate(packed_networks(50)):
        export_onnx(packed, tmp_path / "model.onnx")
        images = images_for(packed, np.random.default_rng(seed), 12)
        check(runtime, packed, tmp_path / "model.onnx", images)


def test_random_programs_in_the_reference(tmp_path):
    """ONNX's own evaluator says what the operators mean, whatever one runtime makes of them."""
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator
    for seed in range(1000, 1060):
        rng = np.random.default_rng(seed)
        packed = random_program(rng)
        export_onnx(packed, tmp_path / "model.onnx")
        images = images_for(packed, rng, 4)
        scores, label = evaluator(str(tmp_path / "model.onnx")).run(None, {"images": images})
        np.testing.assert_array_equal(scores, packed.predict_scores(images))
        np.testing.assert_array_equal(label, packed.predict(images))


def weights(rng, channels, width):
    return pack_rows(rng.integers(0, 2, (channels, width), np.uint8))


def bits_for(rng, takers):
    """Bits of an image 4x4 with 2 channels, pooled or not, that these kinds of stages take."""
    t, falling = np.array([100, 150], np.int32), np.array([False, True])
    no_border = ((0, 0), (0, 0))
    stages = [ThresholdStage((4, 4, 2), (4, 4, 2), t, falling)]
    if "pool" in takers:
        stages.append(PoolStage((4, 4, 2), (4, 4, 2), (1, 1), (1, 1)))
    at, ends = len(stages) - 1, []
    for taker in takers:
        if taker == "dense":
            stages.append(DenseStage((32,), (3,), weights(rng, 3, 32), 32, False, sources=(at,)))
        elif taker == "conv":
            stages.append(
                ConvStage((4, 4, 2), (1, 1, 3), weights(rng, 3, 32), 32, False, (4, 4), (1, 1),
                          (1, 1), no_border, 0, sources=(at,))
            )  # fmt: skip
        elif taker == "scale":
            A = np.array([1, -3])
            stages.append(ScaleStage((4, 4, 2), (4, 4, 2), "bits", A, A + 1, 1, sources=(at,)))
            W = rng.integers(-1, 2, (3, 32)).astype(np.int8)
            stages.append(IntegerDense((32,), (3,), W, "numbers"))
        else:
            continue
        zero = np.zeros(3, np.int64)
        stages.append(ScaleStage((3,), (3,), "acc", zero + 1, zero, 0))
        ends.append(len(stages) - 1)
    return scored((4, 4, 2), *stages, ConcatStage((3,), (3 * len(ends),), (3,) * len(ends),
                                                  sources=tuple(ends)))  # fmt: skip


@pytest.mark.parametrize(
    ("takers", "in_bytes"),
    [
        (["dense"], True),
        (["dense", "dense"], True),
        (["pool", "dense"], True),
        (["dense", "conv"], False),
        (["pool", "conv", "dense"], False),
        (["dense", "scale"], False),
        (["scale"], False),
    ],
)
def test_bits_have_one_form_for_all_that_take_them(takers, in_bytes, rng, runtime, exported):
    packed = bits_for(rng, takers)
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    found = operators(file)
    assert found["MatMulInteger"] == (takers.count("dense") if in_bytes else 0)
    expected = {"dense": found["MatMul"] + found["MatMulInteger"] - takers.count("scale"),
                "conv": found["Conv"], "pool": found["MaxPool"]}  # fmt: skip
    assert expected == {kind: takers.count(kind) for kind in expected}


@pytest.mark.parametrize("shapes", ["images", "rows", "image and row"])
def test_branches_meet_in_one_layout(shapes, rng, runtime, exported):
    """One branch has its channels first, the other one last, until they meet."""
    A, zero = np.array([3, -2, 5]), np.zeros(3, np.int64)
    W = rng.integers(-1, 2, (3, 2)).astype(np.int8)
    as_image, as_rows = (2, 4, 3), (8, 3)
    conv = IntegerConv((2, 4, 2), (2, 4, 3), W, "pixels", (1, 1), (1, 1), (1, 1),
                       ((0, 0), (0, 0)), 0, 1)  # fmt: skip
    W = rng.integers(-1, 2, (24, 16)).astype(np.int8)
    dense = IntegerDense((16,), (24,), W, "pixels", sources=(-1,))
    one, other = {
        "images": (as_image, as_image), "rows": (as_rows, as_rows),
        "image and row": (as_image, as_rows),
    }[shapes]  # fmt: skip
    stages = [
        conv,
        ScaleStage(one, one, "acc", A, zero, 2),
        dense,
        ScaleStage(other, other, "acc", A, zero + 7, 3),
    ]
    for last in (
        AddStage(other, other, sources=(1, 3, 3)),
        ConcatStage(other, (*other[:-1], 9), (3, 3, 3), sources=(3, 1, 3)),
    ):
        packed = scored((2, 4, 2), *stages, last)
        check(runtime, packed, exported(packed), images_for(packed, rng))


def test_a_value_that_is_taken_again_later(rng, runtime, exported):
    """The input and the first stage's bits, after other stages have changed the layout."""
    t = np.array([90, 160], np.int32)
    W = rng.integers(-2, 3, (2, 18)).astype(np.int8)
    border = ((1, 1), (1, 1))
    A = np.array([2, 3])
    shape = (3, 5, 2)
    stages = [
        ThresholdStage(shape, shape, t, np.array([False, False])),
        IntegerConv(shape, shape, W, "bits", (3, 3), (1, 1), (1, 1), border, 0, 1),
        ScaleStage(shape, shape, "acc", A, A, 2),
        ScaleStage(shape, shape, "bits", A, A * 0, 0, sources=(0,)),
        ScaleStage(shape, shape, "pixels", A, A, 5, sources=(-1,)),
        AddStage(shape, shape, sources=(2, 3, 4)),
    ]
    packed = scored(shape, *stages)
    check(runtime, packed, exported(packed), images_for(packed, rng))


def test_images_stay_channels_first(rng, runtime, exported):
    """Only the input and the scores are transposed, not what branches join."""
    shape, A = (4, 5, 3), np.array([1, 2, -1])
    W = rng.integers(-2, 3, (3, 27)).astype(np.int8)
    border = ((1, 1), (1, 1))
    first = IntegerConv(shape, shape, W, "pixels", (3, 3), (1, 1), (1, 1), border, 0, 1)
    scale = ScaleStage(shape, shape, "acc", A, A, 6)
    again = IntegerConv(shape, shape, W, "numbers", (3, 3), (1, 1), (1, 1), border, 0, 1)
    packed = scored(
        shape, first, scale, again, scale, AddStage(shape, shape, sources=(1, 3)),
        ConcatStage(shape, (4, 5, 6), (3, 3), sources=(4, 1)),
        PoolStage((4, 5, 6), (2, 2, 6), (2, 2), (2, 2)),
    )  # fmt: skip
    file = exported(packed)
    check(runtime, packed, file, images_for(packed, rng))
    assert operators(file)["Transpose"] == 2


def test_a_stage_of_an_unknown_kind(tmp_path):
    class OtherStage(PoolStage):
        kind = "other"

    packed = scored((2, 2, 1), OtherStage((2, 2, 1), (1, 1, 1), (2, 2), (1, 1)))
    with pytest.raises(PackError, match=r"stage 0.other: expected a stage that has an ONNX form"):
        export_onnx(packed, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_without_onnx(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    packed = pack(RECIPES["seed"]().build().initialize(0), (28, 28))
    with pytest.raises(ImportError, match=r"pip install onnx$"):
        export_onnx(packed, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", CODED)
def test_coded_inputs(name, rng, runtime, exported):
    packed, x = coded(name, rng)
    assert packed.input_dtype == x.dtype
    file = exported(packed)
    samples = np.concatenate([extreme(np.tile(x, (3, *[1] * (x.ndim - 1))), packed, rng), x])
    assert len(np.unique(packed.predict_scores(samples), axis=0)) > 5
    check(runtime, packed, file, samples)
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(str(file))
    scores = evaluator.run(None, {"images": samples[:20]})[0]
    np.testing.assert_array_equal(scores, packed.predict_scores(samples[:20]))


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**32))
def test_any_comparisons(tmp_path_factory, seed):
    runtime = pytest.importorskip("onnxruntime")
    packed, samples = any_code(np.random.default_rng(seed))
    file = tmp_path_factory.mktemp("codes") / "model.onnx"
    export_onnx(packed, file)
    check(runtime, packed, file, samples)


def comparisons(file):
    names = ("GreaterOrEqual", "LessOrEqual", "And")
    nodes = onnx.load(str(file)).graph.node
    code = [node for node in nodes if node.name.startswith("0.code")]
    return [node.op_type for node in code if node.op_type in names]


def test_a_thermometer_takes_one_comparison(rng, exported):
    rising, falling = ["GreaterOrEqual"], ["LessOrEqual"]
    for name, ops in {
        "thermometer": rising, "int16": rising, "falling": falling, "int16 falling": falling,
        "one-hot": [*rising, *falling, "And"],
    }.items():  # fmt: skip
        assert comparisons(exported(coded(name, rng)[0])) == ops, name


def test_integers_are_compared_as_int32(rng, exported):
    """As pixels are: not every runtime has kernels that compare smaller ones."""
    for name, dtype in (("uint8", np.int32), ("int16", np.int32), ("thermometer", np.float32)):
        constants = onnx.load(str(exported(coded(name, rng)[0]))).graph.initializer
        (low,) = [onnx.numpy_helper.to_array(c) for c in constants if c.name == "0.code.low"]
        assert low.dtype == dtype


def test_intervals_that_no_code_has(rng, runtime, exported):
    """A file may have any: empty ones, all numbers but nan, and both ends in one stage."""
    packed, x = coded("thermometer", rng)
    code = packed.stages[0]
    samples = extreme(np.tile(x, (3, 1)), packed, rng)
    for low, high in [
        (np.full(32, -np.inf), np.full(32, np.inf)),
        (np.full(32, np.inf), np.full(32, -np.inf)),
        (rng.choice([-np.inf, np.inf, -1, 0], 32), rng.choice([-np.inf, np.inf, 0, 1], 32)),
    ]:
        low, high = low.astype(np.float32), high.astype(np.float32)
        changed = CodeStage(code.in_shape, code.out_shape, code.dtype, code.feature, low, high)
        other = replace(packed, stages=(changed, *packed.stages[1:]))
        check(runtime, other, exported(other), samples)


def test_names_are_in_the_metadata(rng, exported):
    model = onnx.load(str(exported(coded("int16", rng)[0])))
    properties = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(properties["class_names"]) == ["low", "middle", "high"]
    assert json.loads(properties["feature_names"]) == ["x0", "x1", "x2", "x3"]
    assert "samples of int16" in model.doc_string
    assert (model.ir_version, model.opset_import[0].version) == (7, 12)
