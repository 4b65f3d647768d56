"""Pages of networks on integers: all kinds of stages in node, single scores, what a page contains."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import json

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)
from html_pages import branched, element, exported, needs_node, node, packed_of, program
from integer_programs import NO_BORDER, random_program
from wide_models import packed_networks

from minibnn import Dense, Flatten, Rescale, Sequential, SignSTE, pack
from minibnn.export.html import BINARY, NUMBERS, _properties
from minibnn.packed.bits import pack_rows
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.stages import DenseStage, PoolStage, ThresholdStage, run_stages

ONE, NONE = (1, 1), NO_BORDER

RUN = """
const { createHash } = require("node:crypto");
const digest = (x) => createHash("sha256").update(x.join()).digest("hex");
console.log(JSON.stringify(given.map(([script, model, vectors, images, whole]) => {
  const page = new Function(`${script}; return { loadNetwork, runNetwork, selfTest };`)();
  const network = page.loadNetwork(JSON.parse(model));
  const pixels = Uint8Array.from(Buffer.from(images[0], "base64"));
  const size = pixels.length / images[1];
  const answers = Array.from({ length: images[1] }, (_, k) => {
    const { scores, label, outputs } = page.runNetwork(network, pixels.slice(k * size, (k + 1) * size));
    const values = outputs.map((x) => whole ? Array.from(x, String) : digest(x));
    return [label, values, scores.map(String)];
  });
  return [page.selfTest(network, JSON.parse(vectors), model).passed, answers];
})));
"""


def in_node(cases, folder, whole=False):
    """For each (packed, images), in one process: the self-test, and each image's answers."""
    given = []
    for packed, images in cases:
        page = exported(packed, folder)
        parts = [element(page, name) for name in ("network", "model", "vectors")]
        pixels = [base64.b64encode(images.tobytes()).decode(), len(images)]
        given.append([*parts, pixels, whole])
    return node(RUN, given=given)


def outputs(packed, images):
    """What each stage gives, (images, values)."""
    stages = packed.stages
    return [run_stages(stages, images, k + 1).reshape(len(images), -1) for k in range(len(stages))]


def digest(values):
    return hashlib.sha256(",".join(map(str, values.tolist())).encode()).hexdigest()


def inputs(shape, rng, n=12):
    x = rng.integers(0, 256, (n, *shape), np.uint8)
    x[3::2] *= rng.random(x[3::2].shape) < 0.3
    x[0], x[1] = 0, 255
    return x


@needs_node
def test_random_programs(tmp_path):
    """Every stage gives the reference implementation's integers, in 100 programs."""
    cases, kinds = [], set()
    for seed in range(100):
        rng = np.random.default_rng(seed)
        packed = random_program(rng)
        cases.append((packed, inputs(packed.input_shape, rng)))
        kinds |= {(stage.kind, getattr(stage, "takes", None)) for stage in packed.stages}
    assert len(kinds) > 17
    answers = in_node(cases, tmp_path)
    for seed, ((packed, x), (passed, found)) in enumerate(zip(cases, answers, strict=True)):
        labels, values, scores = zip(*found, strict=True)
        expected = [[digest(row) for row in stage] for stage in outputs(packed, x)]
        for k, stage in enumerate(packed.stages):
            assert [row[k] for row in values] == expected[k], (seed, k, stage.kind)
        assert [[int(s) for s in row] for row in scores] == packed.predict_scores(x).tolist(), seed
        assert list(labels) == packed.predict(x).tolist(), seed
        assert passed, seed


@needs_node
def test_random_networks(tmp_path):
    """From layers to a page: fifty networks."""
    cases = []
    for seed, packed in enumerate(packed_networks(50)):
        cases.append((packed, inputs(packed.input_shape, np.random.default_rng(seed))))
    for (packed, x), (passed, found) in zip(cases, in_node(cases, tmp_path), strict=True):
        labels, _, scores = zip(*found, strict=True)
        assert [[int(s) for s in row] for row in scores] == packed.predict_scores(x).tolist()
        assert list(labels) == packed.predict(x).tolist()
        assert passed


# --- edges ---------------------------------------------------------------------------------------


def ramp(n, A=257, B=-(2**15), shift=0):
    """Pixels 0 and 255 as the least and the greatest number."""
    ends = (np.full(1, value, np.int64) for value in (A, B))
    return ScaleStage((n, 1), (n, 1), "pixels", *ends, shift)


def bit_stage(n, t=128):
    return [
        IntegerDense((n,), (n,), np.eye(n, dtype=np.int8), "pixels"),
        ThresholdStage((n,), (n,), np.full(n, t, np.int32), np.zeros(n, bool)),
    ]


def identity(shape, sort):
    n = int(np.prod(shape))
    return IntegerDense((n,), (n,), np.eye(n, dtype=np.int8), sort)


def wide_sums():
    """Sums just below 2^31: 516 numbers of -2^15 times 127."""
    x = np.stack([np.zeros(516, np.uint8), np.full(516, 255, np.uint8)])
    W = np.full((2, 516), 127, np.int8)
    W[1] = -127
    return program((516,), ramp(516), IntegerDense((516,), (2,), W, "numbers")), x


def weight_forms(sort):
    """Rows of 13 weights, which end within bytes and words."""
    rng = np.random.default_rng(3)
    W = rng.choice([-1, 1] if sort == "bits" else [-1, 0, 1], (5, 13)).astype(np.int8)
    if sort == "bytes":
        W[0], W[1] = -127, 127
    stages = [*bit_stage(13), IntegerDense((13,), (5,), W, "bits")]
    return program((13,), *stages), inputs((13,), rng)


def borders(value, takes, most=127):
    """Windows that lie wholly in the padding, dilated, strided, in groups."""
    rng = np.random.default_rng(4)
    W = rng.integers(-most, most + 1, (4, 2 * 3)).astype(np.int8)
    shape = (3, 4, 2)
    first = ScaleStage(shape, shape, "pixels", np.array([100, -100]), np.array([0, 9]), 3)
    stages = {
        "pixels": [],
        "numbers": [first],
        "bits": [first, ThresholdStage(shape, shape, np.array([1500, -1500], np.int32),
                                       np.array([False, True]))],
    }[takes]  # fmt: skip
    border = ((4, 0), (1, 5))
    conv = IntegerConv(shape, (3, 2, 4), W, takes, (2, 3), (2, 3), (2, 2), border, value, 2)
    return program(shape, *stages, conv), inputs(shape, rng)


def large_factors():
    """Products just below 2^52, below 0 too, and shifts of 0 and 48."""
    W = np.full((4, 65), 127, np.int8)
    W[1::2] = -127
    sums = IntegerDense((65,), (4,), W, "pixels")  # 2,105,025 at most
    A = np.array([2**31 - 1, 2**31 - 1, -(2**31) + 1, 2**30])
    scaled = ScaleStage((4,), (4,), "acc", A // 2, np.array([2**50, -(2**50), 1, -1]), 38)
    last = ScaleStage((4,), (4,), "numbers", A // 2**16, np.array([3, 5, 7, -9]), 16)
    whole = ScaleStage((4,), (4,), "numbers", np.array([1, -1, 1, 0]), np.array([0, 0, -1, 7]), 0)
    far = ScaleStage((4,), (4,), "numbers", A, np.array([2**51, -(2**51), 2**48, 0]), 48)
    return program((65,), sums, scaled, last, whole, far), inputs((65,), np.random.default_rng(5))


def slopes():
    """All signs, halves that are rounded up, the least number."""
    n = 256
    A = np.array([2**29, -(2**29), 2**30 - 1, 1, 0, -(2**30) + 1, 3 * 2**28])
    numbers = [IntegerDense((1,), (7,), np.ones((7, 1), np.int8), "pixels")]
    to = ScaleStage((7,), (7,), "acc", np.full(7, 257), np.full(7, -(2**15)), 0)
    near = ScaleStage((7,), (7,), "acc", np.full(7, 1), np.full(7, -128), 0)
    x = np.arange(n, dtype=np.uint8)[:, None]
    return [
        (program((1,), *numbers, scale, SlopeStage((7,), (7,), A, 30)), x) for scale in (to, near)
    ]


def levels():
    """A single threshold, equal ones, rising and falling, beyond all sums."""
    most = np.iinfo(np.int32)
    cases = []
    for t in ([[5], [5], [0]], [[3, 3, 9], [9, 3, 3], [most.min, 0, most.max]]):
        falling = np.array([False, True, False])
        stages = (
            IntegerDense((1,), (3,), np.ones((3, 1), np.int8), "pixels"),
            LevelStage((3,), (3,), np.array(t, np.int32), falling),
        )
        cases.append((program((1,), *stages), np.arange(12, dtype=np.uint8)[:, None]))
    return cases


def sums_of_branches():
    """Up to the greatest and the least number, one source twice, another shape on the way."""
    half = ScaleStage((3, 2), (3, 2), "pixels", np.array([64, 42]), np.array([63, -(2**14)]), 0)
    A, B = np.resize([1, -1], 6), np.resize([1, 0], 6)  # gives 1 for 255 only, or 0 for 0 only
    other = ScaleStage((6,), (6,), "pixels", A, B, 8, sources=(-1,))
    added = AddStage((6,), (6,), sources=(0, 0, 1))
    return program((3, 2), half, other, added), inputs((3, 2), np.random.default_rng(6))


def joins():
    """Numbers, and bits; one source twice."""
    rng = np.random.default_rng(7)
    shape = (2, 3, 2)
    first = ScaleStage(shape, shape, "pixels", np.array([9, -5]), np.array([1, 2]), 0)
    bits = ThresholdStage(shape, shape, np.array([700, -700], np.int32), np.zeros(2, bool))
    more = ThresholdStage(
        shape, shape, np.array([90, -90], np.int32), np.ones(2, bool), sources=(0,)
    )
    joined = ConcatStage(shape, (2, 3, 6), (2, 2, 2), sources=(2, 1, 2))
    again = ScaleStage(shape, shape, "pixels", np.array([3, 4]), np.array([0, 0]), 1, sources=(-1,))
    both = ConcatStage(shape, (2, 3, 4), (2, 2), sources=(1, 0))
    x = inputs(shape, rng)
    return [
        (program(shape, first, bits, more, joined, identity((36,), "bits")), x),
        (program(shape, first, again, both, identity((24,), "numbers")), x),
    ]


def windows(takes):
    """Sums and maxima of overlapping windows, of numbers below 0 and of bits."""
    shape = (5, 6, 2)
    first = ScaleStage(shape, shape, "pixels", np.array([257, -257]), np.array([-(2**15), 0]), 0)
    if takes == "numbers":
        first = dataclasses.replace(first, B=np.array([-(2**15), -(2**15) + 65535]))
    stages = [first]
    if takes == "bits":
        falling = np.array([False, True])
        stages.append(ThresholdStage(shape, shape, np.array([9, -9], np.int32), falling))
    pooled = PoolStage(shape, (4, 4, 2), (2, 3), (1, 1))
    summed = SumPoolStage((4, 4, 2), (2, 2, 2), takes, (3, 1), (1, 2))
    return program(shape, *stages, pooled, summed), inputs(shape, np.random.default_rng(8))


def bits_as_numbers():
    """Bits count as +1 and -1; thresholds of numbers, rising and falling."""
    scaled = ScaleStage((9,), (9,), "bits", np.full(9, 5), np.full(9, 2), 1)
    t = np.array([-2, -1, 3, 4, 3, 3, -2, -2, 0], np.int32)
    again = ThresholdStage((9,), (9,), t, np.arange(9) % 2 == 1)
    rows = pack_rows(np.random.default_rng(9).integers(0, 2, (3, 9), np.uint8))
    last = DenseStage((9,), (3,), rows, 9, False)
    stages = [*bit_stage(9), scaled, again, last]
    return program((9,), *stages), inputs((9,), np.random.default_rng(9))


CASES = {
    "sums near 2^31": [wide_sums],
    "bits": [weight_forms, "bits"],
    "ternary": [weight_forms, "ternary"],
    "bytes": [weight_forms, "bytes"],
    **{f"border {v} of bits": [borders, v, "bits"] for v in (-1, 0, 1)},
    **{f"border {v} of bits, ternary": [borders, v, "bits", 1] for v in (-1, 0, 1)},
    "border 255 of pixels": [borders, 255, "pixels"],
    "border -2^15 of numbers": [borders, -(2**15), "numbers"],
    "large factors": [large_factors],
    "slopes": [slopes],
    "levels": [levels],
    "sums of branches": [sums_of_branches],
    "joins": [joins],
    "windows of numbers": [windows, "numbers"],
    "windows of bits": [windows, "bits"],
    "bits as numbers": [bits_as_numbers],
}


@needs_node
@pytest.mark.parametrize("name", CASES)
def test_edges(name, tmp_path):
    make, *options = CASES[name]
    cases = make(*options)
    cases = cases if isinstance(cases, list) else [cases]
    for (packed, x), (passed, found) in zip(
        cases, in_node(cases, tmp_path, whole=True), strict=True
    ):
        assert passed
        for k, values in enumerate(outputs(packed, x)):
            got = [[int(v) for v in row[1][k]] for row in found]
            assert got == values.tolist(), (k, packed.stages[k].kind)
        assert len({tuple(row[2]) for row in found}) > 1


def test_edges_reach_them():
    """Else the cases above prove less than they say."""
    packed, x = wide_sums()
    assert abs(outputs(packed, x)[1].astype(np.int64)).max() == 516 * 127 * 2**15 > 2**31 - 2**20
    packed, x = large_factors()
    sums = outputs(packed, x)[0].astype(np.int64)
    assert 2**51 < abs(sums * packed.stages[1].A + packed.stages[1].B).max() < 2**52
    for packed, x in slopes():
        assert outputs(packed, x)[1].min() in (-(2**15), -128)
    packed, x = sums_of_branches()
    assert (outputs(packed, x)[2].min(), outputs(packed, x)[2].max()) == (-(2**15), 2**15 - 1)


# --- single scores -------------------------------------------------------------------------------


@needs_node
@pytest.mark.parametrize("wide", [False, True])
def test_a_single_score_says_its_sign(wide, tmp_path):
    """From 0 on it says 1; above 2^53 too, where JavaScript's numbers would round."""
    A, B = (2**55 + 1, -7 * (2**55 + 1)) if wide else (1, -7)
    stage = IntegerDense((1,), (1,), np.full((1, 1), 1, np.int8), "pixels")
    x = np.array([[0], [6], [7], [8], [255]], np.uint8)
    for names in (None, ("cat", "dog"), ("0", "1")):
        packed = program((1,), stage, A=A, B=B, wide=wide, class_names=names)
        ((passed, found),) = in_node([(packed, x)], tmp_path)
        assert passed
        assert [label for label, *_ in found] == [0, 0, 1, 1, 1] == packed.predict(x).tolist()
        assert [int(row[2][0]) for row in found] == packed.predict_scores(x)[:, 0].tolist()
        page = exported(packed, tmp_path)
        assert json.loads(element(page, "vectors"))["labels"] == (
            packed.predict(np.array(json_images(page), np.uint8)).tolist()
        )


def json_images(page):
    run = """
    console.log(JSON.stringify([...unpacked(bytesOf(given))].map((v) => [v])));
    """
    vectors = json.loads(element(page, "vectors"))
    images = node(element(page, "network"), run, given=vectors["images"])
    return images[: len(vectors["labels"])]


@needs_node
def test_a_single_score_of_a_binary_network(tmp_path, rng):
    model = Sequential(Flatten(), Rescale(1), Dense(784, 1, weight_quantizer=SignSTE()))
    packed = pack(model.initialize(rng), (28, 28))
    x = inputs((28, 28), rng)
    ((passed, found),) = in_node([(packed, x)], tmp_path)
    assert passed
    assert [label for label, *_ in found] == packed.predict(x).tolist()
    assert {label for label, *_ in found} == {0, 1}


# --- what a page contains ------------------------------------------------------------------------


def functions(page):
    """The kinds of stages that a page can run."""
    kinds = (BINARY | NUMBERS | {"integer_dense", "integer_conv", "sum_pool", "concat"}) - {
        "scores"
    }
    return {kind for kind in kinds if f"\n {kind}(stage, " in element(page, "network")}


def test_a_page_has_only_what_its_network_needs(tmp_path, rng):
    found = set()
    for seed in range(40):
        packed = random_program(np.random.default_rng(seed))
        page = exported(packed, tmp_path)
        kinds = {stage.kind for stage in packed.stages} - {"scores"}
        found |= kinds
        if "binary" in _properties(packed):
            continue
        assert functions(page) == kinds
        script = element(page, "network")
        products = not kinds.isdisjoint({"dense", "conv"})
        assert ("function addSums" in script) == products
        counted = "planes" in _properties(packed)
        assert ("function popcount" in script) == (products or counted)
        assert ("function planesOf" in script) == counted
        assert ("function loadIntegers" in script) == (
            not kinds.isdisjoint({"integer_dense", "integer_conv"})
        )
        numbers = not kinds.isdisjoint(NUMBERS)
        assert ("paintNumbers" in page) == ("a number is yellow" in page) == numbers
        assert len(page.encode()) < 60_000 + 2 * packed.nbytes
    assert {"integer_dense", "integer_conv", "sum_pool", "levels", "scale", "slope", "add",
            "concat", "pool", "threshold", "dense", "conv"} <= found  # fmt: skip
    page = exported(packed_of("modern", rng), tmp_path)
    assert functions(page) == {"binarize", "dense", "conv", "pool", "threshold"}
    for name in ("loadIntegers", "paintNumbers", "workOf", "--below", "sources"):
        assert name not in page


@pytest.mark.parametrize(("classes", "lead"), [(10, "Draw a digit."), (1, "Draw something.")])
def test_the_words_of_a_network_on_integers(classes, lead, tmp_path, rng):
    page = exported(branched(rng, classes), tmp_path)
    assert f"{lead} A network of small whole numbers reads it" in page
    assert "<h1>A network of small integers</h1>" in page
    assert "made of single bits" not in page
    assert ("The sign decides" in page) == (classes == 1)
    assert ("The greatest score wins" in page) == (classes > 1)
    with pytest.raises(ValueError, match="None gives 'A network of small integers'"):
        exported(branched(rng), tmp_path, title=" ")


def test_weights_take_as_few_bits_as_hold_them(tmp_path, rng):
    """65 weights of a bit, two bits or a byte each; two characters hold 13 bits."""
    for sort, length in (("bits", 12), ("ternary", 24), ("bytes", 80)):
        packed, _ = weight_forms(sort)
        stage = json.loads(element(exported(packed, tmp_path), "model"))["stages"][2]
        assert sum(len(stage.get(name, "")) for name in ("weights", "mask")) == length
        assert stage["form"] == sort


@needs_node
@pytest.mark.parametrize(
    ("sort", "name"), [("bits", "weights"), ("ternary", "mask"), ("bytes", "weights")]
)
def test_fewer_weights_cannot_be_run(sort, name, tmp_path):
    page = exported(weight_forms(sort)[0], tmp_path)
    model = json.loads(element(page, "model"))
    model["stages"][2][name] = model["stages"][2][name][:-4]
    run = """
    try { loadNetwork(given); } catch (error) { console.log(JSON.stringify(error.message)); }
    """
    message = "numbers are missing" if sort == "bytes" else "weights are missing"
    assert node(element(page, "network"), run, given=model) == message
