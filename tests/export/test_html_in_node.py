"""The scripts of the web page in node: the network's scores, its self-test, and the picture."""

from __future__ import annotations

import base64
import dataclasses
import itertools
import json
import math
import zlib

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)
from coded_models import CODED, any_code, coded, extreme
from html_pages import (
    ONE,
    SEVEN,
    ZERO,
    dense,
    element,
    exported,
    models,
    needs_node,
    node,
    noise,
    packed_of,
    with_wide_scores,
)

from minibnn import Rescale, Reshape, Sequential, pack
from minibnn.export.html import _packbits
from minibnn.export.page_parts import base91
from minibnn.packed.stages import CodeStage, PoolStage

SELF_TEST = """
const test = selfTest(network, JSON.parse(given.vectors), given.model);
delete test.images;
"""


def node_answers(page, images):
    """The labels and scores of images, and the page's self-test."""
    run = f"""
    const network = loadNetwork(JSON.parse(given.model));
    const kind = {{ b: Int8Array, B: Uint8Array, h: Int16Array, f: Float32Array }}[given.kind];
    const images = given.images.map((text) => new kind(Uint8Array.from(Buffer.from(text, "base64")).buffer));
    const answers = images.map((image) => runNetwork(network, image));
    {SELF_TEST}
    console.log(JSON.stringify([answers.map((a) => [a.label, a.scores.map(String)]), test]));
    """
    texts = [base64.b64encode(image.tobytes()).decode() for image in images]
    given = {"images": texts, "kind": images.dtype.char, **model_of(page)}
    answers, test = node(element(page, "network"), run, given=given)
    labels, scores = zip(*answers, strict=True)
    return list(labels), [[int(score) for score in row] for row in scores], test


def node_test(page):
    run = f"""
    const network = loadNetwork(JSON.parse(given.model));
    {SELF_TEST}
    console.log(JSON.stringify(test));
    """
    return node(element(page, "network"), run, given=model_of(page))


def model_of(page):
    return {name: element(page, name) for name in ("model", "vectors")}


# --- the network ---------------------------------------------------------------------------------


@needs_node
@pytest.mark.parametrize("name", models())
def test_scores_are_the_packed_models(name, tmp_path, rng):
    packed = packed_of(name, rng)
    images, page = noise(rng), exported(packed, tmp_path)
    labels, scores, test = node_answers(page, images)
    assert scores == packed.predict_scores(images).tolist()
    assert labels == packed.predict(images).tolist()
    assert len(np.unique(scores, axis=0)) > 5
    assert test["passed"]


def damaged(model):
    """The page's model with one number changed, many times: the kind of change and the text."""
    for i, stage in enumerate(json.loads(model)["stages"]):
        for name in ("weights", "thresholds", "A", "B", "falling", "threshold", "low", "high"):
            value = stage.get(name)
            places = ("first", 0), ("last", -1)
            if not isinstance(value, str | list):
                places = [("all", None)] if name in stage else []
            for what, k in places if value != [] else ():
                changed = json.loads(model)
                if name in ("weights", "low", "high"):  # a digit of base 91
                    letters = list(value)
                    letters[k] = "#" if letters[k] == "!" else "!"
                    changed["stages"][i][name] = "".join(letters)
                elif k is None:
                    changed["stages"][i][name] = not value if value in (True, False) else value + 1
                else:
                    value = list(value)
                    value[k] = type(value[k])(int(value[k]) + 1)
                    changed["stages"][i][name] = value
                yield f"{i}, {name}, {what}", json.dumps(changed, separators=(",", ":"))


@needs_node
@pytest.mark.parametrize("name", ["modern", "finn-sfc", "larq-cnn"])
def test_the_self_test_finds_every_kind_of_damage(name, tmp_path, rng):
    """The checksum finds damage that changes no score of the test images."""
    page = exported(packed_of(name, rng), tmp_path)
    run = """
    const [models, vectors] = given;
    const failed = models.map((text) => {
      try {
        return !selfTest(loadNetwork(JSON.parse(text)), JSON.parse(vectors), text).passed;
      } catch (error) {
        return true; // the page then says that the model cannot be run
      }
    });
    console.log(JSON.stringify(failed));
    """
    whole = element(page, "model")
    names, texts = zip(("nothing", whole), *damaged(whole), strict=True)
    given = [texts, element(page, "vectors")]
    failed = dict(zip(names, node(element(page, "network"), run, given=given), strict=True))
    assert not failed.pop("nothing")
    assert len(failed) >= 10
    assert all(failed.values()), failed


def test_the_models_have_every_kind_of_stage(rng):
    kinds, pooled = set(), set()
    for name in models():
        stages = packed_of(name, rng).stages
        kinds |= {stage.kind for stage in stages}
        for before, stage in itertools.pairwise(stages):
            if isinstance(stage, PoolStage):
                pooled.add(before.kind)
    assert kinds == {"binarize", "dense", "conv", "pool", "threshold", "scores"}
    assert pooled == {"conv", "threshold"}


def without_names(packed):
    return dataclasses.replace(packed, class_names=None, feature_names=None)


@needs_node
@pytest.mark.parametrize("name", CODED)
def test_coded_inputs(name, tmp_path, rng):
    packed, x = coded(name, rng)
    samples = extreme(x, packed, rng)
    for model in (packed, without_names(packed)):
        page = exported(model, tmp_path)
        labels, scores, test = node_answers(page, samples)
        assert scores == packed.predict_scores(samples).tolist()
        assert labels == packed.predict(samples).tolist()
        assert len(np.unique(scores, axis=0)) > 5
        assert test["passed"]
        assert test["of"] >= 12
        assert len(page.encode()) < 100_000


@needs_node
def test_intervals_that_no_code_has(tmp_path, rng):
    """Features in any order, empty intervals, all numbers but nan, both ends in one stage."""
    packed, x = coded("thermometer", rng)
    code, samples = packed.stages[0], extreme(x, packed, rng)
    for low, high in [
        (np.full(32, -np.inf), np.full(32, np.inf)),
        (np.full(32, np.inf), np.full(32, -np.inf)),
        (rng.choice([-np.inf, np.inf, -1, 0], 32), rng.choice([-np.inf, np.inf, 0, 1], 32)),
    ]:
        feature = rng.integers(0, 4, 32).astype(np.int32)
        ends = low.astype(np.float32), high.astype(np.float32)
        changed = CodeStage(code.in_shape, code.out_shape, code.dtype, feature, *ends)
        other = dataclasses.replace(packed, stages=(changed, *packed.stages[1:]))
        page = exported(other, tmp_path)
        _, scores, test = node_answers(page, samples)
        assert scores == other.predict_scores(samples).tolist()
        assert test["passed"]


@needs_node
@pytest.mark.parametrize("seed", range(12))
def test_any_comparisons(seed, tmp_path):
    packed, samples = any_code(np.random.default_rng(seed))
    page = exported(packed, tmp_path)
    _, scores, test = node_answers(page, samples)
    assert scores == packed.predict_scores(samples).tolist()
    assert test["passed"]


@needs_node
@pytest.mark.parametrize("shape", [(30,), (5, 6), (5, 6, 1), (5, 2, 3), (3, 5, 2)])
def test_bytes_of_other_shapes(shape, tmp_path, rng):
    layers = [Reshape((30,)), Rescale(1 / 255), dense(30, 4)]
    packed = pack(Sequential(*layers).initialize(rng), shape)
    samples = rng.integers(0, 256, (20, *shape), np.uint8)
    page = exported(packed, tmp_path)
    labels, scores, test = node_answers(page, samples)
    assert scores == packed.predict_scores(samples).tolist()
    assert labels == packed.predict(samples).tolist()
    assert test == {"same": 12, "of": 12, "intact": True, "passed": True}


@needs_node
@pytest.mark.parametrize("name", ["int16 one-hot", "float channels"])
def test_the_self_test_finds_damage_to_a_code(name, tmp_path, rng):
    page = exported(coded(name, rng)[0], tmp_path)
    whole, vectors = element(page, "model"), element(page, "vectors")
    run = """
    const [models, vectors] = given;
    const tests = models.map((text) => selfTest(loadNetwork(JSON.parse(text)), JSON.parse(vectors), text));
    console.log(JSON.stringify(tests.map((test) => test.passed)));
    """
    names, texts = zip(*damaged(whole), strict=True)
    assert any("low" in text for text in names)
    passed = node(element(page, "network"), run, given=[[whole, *texts], vectors])
    assert passed == [True, *[False] * len(texts)]


@needs_node
def test_a_shorter_code_cannot_be_run(tmp_path, rng):
    page = exported(coded("thermometer", rng)[0], tmp_path)
    model = json.loads(element(page, "model"))
    model["stages"][0]["low"] = model["stages"][0]["low"][:-8]
    run = """
    try { loadNetwork(given); } catch (error) { console.log(JSON.stringify(error.message)); }
    """
    assert node(element(page, "network"), run, given=model) == "numbers are missing"


@needs_node
def test_scores_beyond_32_bits(tmp_path, rng):
    packed = with_wide_scores(packed_of("modern", rng))
    images = noise(rng)
    page = exported(packed, tmp_path, images=images)
    labels, scores, test = node_answers(page, images)
    assert scores == packed.predict_scores(images).tolist()
    assert max(map(max, scores)) > 2**54
    assert any(int(float(score)) != score for row in scores for score in row)
    assert labels == packed.predict(images).tolist()
    assert test == {"same": 20, "of": 20, "intact": True, "passed": True}


@needs_node
def test_the_label_is_the_first_greatest(tmp_path, rng):
    packed = packed_of("modern", rng)
    for A, B, label in ((0, [1, 5, 5, 2, 0, 0, 0, 0, 0, 5], 1), (0, [0] * 10, 0)):
        scores = dataclasses.replace(
            packed.scores, A=np.full(10, A), B=np.array(B), fits_int32=True
        )
        tied = dataclasses.replace(packed, stages=(*packed.stages[:-1], scores))
        assert node_answers(exported(tied, tmp_path), noise(rng, 1))[0] == [label]


@needs_node
@pytest.mark.parametrize("place", [0, 777, -3])
def test_a_changed_weight_is_found(place, tmp_path, rng):
    packed = packed_of("modern", rng)
    page = exported(packed, tmp_path)
    weights = json.loads(element(page, "model"))["stages"][0]["weights"]
    place %= len(weights)
    other = "2" if weights[place] == "1" else "1"
    changed = page.replace(weights, weights[:place] + other + weights[place + 1 :])
    test = node_test(changed)
    assert not test["intact"]
    assert not test["passed"]


@needs_node
def test_a_changed_model_with_its_checksum_is_found(tmp_path, rng):
    packed = packed_of("modern", rng)
    page = exported(packed, tmp_path)
    text = element(page, "model")
    model = json.loads(text)
    weights = model["stages"][2]["weights"]
    # Of the last layer: its scores are sums of all its weights.
    model["stages"][2]["weights"] = ("!!" if weights[:2] != "!!" else "##") + weights[2:]
    changed = json.dumps(model, separators=(",", ":"))
    crcs = [str(zlib.crc32(t.encode())) for t in (text, changed)]
    test = node_test(page.replace(text, changed).replace(*crcs))
    assert test["intact"]
    assert test["same"] < test["of"] == 12
    assert not test["passed"]


@needs_node
def test_a_changed_label_is_found(tmp_path, rng):
    page = exported(packed_of("modern", rng), tmp_path)
    labels = json.loads(element(page, "vectors"))["labels"]
    old, new = (json.dumps(x).replace(" ", "") for x in (labels, [labels[0] ^ 1, *labels[1:]]))
    test = node_test(page.replace(f'"labels":{old}', f'"labels":{new}'))
    assert test == {"same": 11, "of": 12, "intact": True, "passed": False}


@needs_node
def test_bytes_as_text(tmp_path, rng):
    """The page's script unpacks what Python packs: every length, and runs of every length."""
    data = [rng.integers(0, 256, n, np.uint8).tobytes() for n in (*range(40), 1000)]
    data += [bytes([0]), bytes([255] * 7), bytes(range(256))]
    runs = [n for n in range(1, 400) if n < 10 or n % 128 < 4 or n % 128 > 125]
    images = [*data, *(b"a" + bytes([v]) * n + b"bb" for n in runs for v in (0, 255))]
    images.append(b"".join(bytes([k % 7]) * (k % 5) for k in range(2000)))
    texts = [base91(d) for d in data]
    assert set("".join(texts)) == set(map(chr, range(33, 127))) - set('"\\<')
    assert all(json.dumps(text) == f'"{text}"' for text in texts)
    assert all(
        len(text) == 2 * math.ceil(8 * len(d) / 13) for text, d in zip(texts, data, strict=True)
    )
    run = """
    const bytes = given[0].map((text) => [...bytesOf(text)]);
    const images = given[1].map((text) => [...unpacked(bytesOf(text))]);
    console.log(JSON.stringify([bytes, images]));
    """
    script = element(exported(packed_of("modern", rng), tmp_path), "network")
    packed = [base91(_packbits(image)) for image in images]
    unpacked = node(script, run, given=[texts, packed])
    for given, got in zip(data, unpacked[0], strict=True):
        assert got[: len(given)] == list(given)
        assert got[len(given) :] in ([], [0])
    assert unpacked[1] == [list(image) for image in images]


def test_packbits():
    assert _packbits(b"") == b""
    assert _packbits(b"abbccc" + b"d" * 129) == b"\x02abb\xfec\x81d\x00d"
    assert _packbits(bytes(range(130))) == bytes([127, *range(128), 1, 128, 129])


@needs_node
def test_popcount_and_checksum(tmp_path, rng):
    words = [0, 1, 2**31, 2**32 - 1, 0x55555555, *map(int, rng.integers(0, 2**32, 50))]
    run = "console.log(JSON.stringify([given.map(popcount), checksum('minibnn')]));"
    script = element(exported(packed_of("modern", rng), tmp_path), "network")
    counts, crc = node(script, run, given=words)
    assert counts == [word.bit_count() for word in words]
    assert crc == zlib.crc32(b"minibnn")


# --- the picture ---------------------------------------------------------------------------------


def pictures(folder, rng, *drawings):
    run = "console.log(JSON.stringify(given.map((strokes) => [...pictureOf(strokes)])));"
    script = element(exported(packed_of("modern", rng), folder), "picture")
    answers = node(script, run, given=drawings)
    return [np.array(answer, np.uint8).reshape(28, 28) for answer in answers]


@needs_node
def test_a_drawing_is_fitted_and_centred(tmp_path, rng):
    moved = [[[0.1 + 0.4 * x, 0.5 + 0.4 * y] for x, y in SEVEN[0]]]
    seven, small, wide, zero = pictures(
        tmp_path, rng, SEVEN, moved, [[[0.1, 0.5], [0.9, 0.5]]], ZERO
    )
    # Where and how large it was drawn does not matter, but for rounding on the way.
    assert np.abs(seven.astype(int) - small).max() <= 1
    for image in (seven, wide, zero):
        rows, columns = np.nonzero(image > 127)
        extents = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert 19 <= max(extents) <= 21
        weights = image / image.sum()
        centre = [(weights.sum(axis) * np.arange(28)).sum() for axis in (1, 0)]
        np.testing.assert_allclose(centre, 14, atol=0.1)  # as on the average of MNIST
        assert ((image > 0) & (image < 255)).mean() > 0.04  # edges are soft
        assert image.max() == 255
    assert np.ptp(np.nonzero(wide)[0]) < 6
    # In proportion: the line's middle 2 to 3, and the thickness of 2.7 around it.
    extents = [zero.max(axis).sum() / 255 for axis in (0, 1)]
    np.testing.assert_allclose(extents, [17.3 * 2 / 3 + 2.7, 20], atol=0.5)
    assert zero[14, 14] == 0


@needs_node
def test_little_drawings(tmp_path, rng):
    nothing, empty, dot, dash = pictures(
        tmp_path, rng, [], [[]], [[[0.9, 0.9]]], [[[0.9, 0.9], [0.91, 0.9]]]
    )
    assert not nothing.any()
    assert not empty.any()
    assert 4 <= (dot > 127).sum() <= 9
    assert dot[14, 14] == 255
    assert (dash > 127).sum() < 14


@needs_node
def test_ink_is_about_that_of_mnist(tmp_path, rng):
    """Test images of ones have 60 full pixels on average, of zeros 135."""
    one, zero = pictures(tmp_path, rng, ONE, ZERO)
    assert 45 < one.sum() / 255 < 75
    assert 105 < zero.sum() / 255 < 165


# --- numbers that people set ---------------------------------------------------------------------


@pytest.fixture
def numbers(tmp_path, rng):
    """The scripts of a page with sliders."""
    page = exported(coded("thermometer", rng)[0], tmp_path)
    return element(page, "network"), element(page, "numbers")


@needs_node
@pytest.mark.parametrize(
    ("dtype", "texts", "expected"),
    [
        ("float32", ["1", " -2.5e3 ", "\u22121", "+.5", "5.", "0x10", "1,5", "1 2", "abc", "1e"],
         ["1", "-2500", "-1", "0.5", "5", None, None, None, None, None]),
        ("float32", ["", " ", "nan", "NaN", "inf", "-Infinity", "1e39", "0.1", "16777217", "-nan"],
         ["NaN", "NaN", "NaN", "NaN", "Infinity", "-Infinity", "Infinity", "0.10000000149011612",
          "16777216", None]),
        ("int16", ["32767", "32768", "-32768", "-32769", "1.5", "3.0", "1e3", "", "nan", "inf"],
         ["32767", None, "-32768", None, None, "3", "1000", None, None, None]),
        ("uint8", ["0", "255", "256", "-1"], ["0", "255", None, None]),
        ("int8", ["127", "128", "-128", "-129"], ["127", None, "-128", None]),
    ],
)  # fmt: skip
def test_what_people_type(dtype, texts, expected, numbers):
    run = """
    const [texts, dtype] = given;
    const found = texts.map((text) => numberOf(text, dtype));
    console.log(JSON.stringify(found.map((n) => n === undefined ? null : String(n))));
    """
    assert node(*numbers, run, given=[texts, dtype]) == expected


@needs_node
def test_numbers_as_text(numbers, rng):
    """The shortest text that means the same float32, as NumPy writes it."""
    values = rng.integers(0, 2**32, 3000, np.uint32).view(np.float32)
    near = np.array([0.1, 1e-45, 3.4028235e38, 16777216, 1e10, -0.3, 1.17549435e-38], np.float32)
    values = np.concatenate([values[np.isfinite(values)], near, -near])
    run = """
    const numbers = new Float32Array(Uint8Array.from(Buffer.from(given, "base64")).buffer);
    console.log(JSON.stringify(Array.from(numbers, (v) => textOf(v, "float32"))));
    """
    texts = node(*numbers, run, given=base64.b64encode(values.tobytes()).decode())
    np.testing.assert_array_equal(np.array(texts).astype(np.float64).astype(np.float32), values)

    def digits(text):
        return len(text.lower().split("e")[0].replace(".", "").replace("-", "").strip("0"))

    assert [digits(t) for t in texts] == [
        digits(np.format_float_scientific(v, trim="-")) for v in values
    ]
    special = node(*numbers, """
    const all = [NaN, Infinity, -Infinity, -0, 5];
    console.log(JSON.stringify(all.map((v) => textOf(v, "float32"))));
    """)  # fmt: skip
    assert special == ["nan", "inf", "-inf", "0", "5"]


@needs_node
def test_a_line_of_numbers(numbers):
    run = """
    const lines = ["1, 2,nan", "1;2;", "1\\t2\\tinf", "  1 2   3 ", "1, two", "4"];
    const found = lines.map((line) => lineOf(line, "float32"));
    console.log(JSON.stringify(found.map(({ numbers, wrong }) => wrong ?? numbers.map(String))));
    """.replace("\\\\", "\\")
    assert node(*numbers, run) == [
        ["1", "2", "NaN"], ["1", "2", "NaN"], ["1", "2", "Infinity"], ["1", "2", "3"], "two", ["4"]
    ]  # fmt: skip


RANGES = """
const network = loadNetwork(JSON.parse(given));
console.log(JSON.stringify(rangesOf(network)));
"""


@needs_node
@pytest.mark.parametrize("name", [name for name in CODED if name != "channels"])  # a picture
def test_sliders_reach_beyond_all_thresholds(name, tmp_path, rng):
    packed, _ = coded(name, rng)
    page = exported(packed, tmp_path)
    code = packed.stages[0]
    ranges = node(
        element(page, "network"), element(page, "numbers"), RANGES, given=element(page, "model")
    )
    assert len(ranges) == code.in_shape[-1]
    ends = np.iinfo(code.dtype) if code.low.dtype.kind != "f" else np.finfo(np.float32)
    for f, (low, high) in enumerate(ranges):
        some = (code.feature == f) & (code.low <= code.high)
        starts, stops = code.low[some].astype(float), code.high[some].astype(float)
        inside = [starts[starts > ends.min], stops[stops < ends.max]]
        thresholds = np.concatenate([t[np.isfinite(t)] for t in inside])
        least, most = thresholds.min(), thresholds.max()
        assert low < least or low == ends.min
        assert high > most or high == ends.max
        beyond = max((most - least) / 8, max(abs(least), 8) / 8) + 1
        assert low >= least - beyond
        assert high <= most + beyond


@needs_node
def test_ranges_of_unusual_thresholds(numbers):
    cases = [
        ("float32", []), ("float32", [0]), ("float32", [-8]), ("float32", [-3e38, 3.4e38]),
        ("int8", []), ("int8", [127]), ("int16", [-32767, 5]), ("uint8", [3, 4]),
    ]  # fmt: skip
    run = """
    console.log(JSON.stringify(given.map(([dtype, thresholds]) => rangeOf(thresholds, dtype))));
    """
    greatest = float(np.finfo(np.float32).max)
    assert node(*numbers, run, given=cases) == [
        [-1, 1], [-1, 1], [-9, -7], [-greatest, greatest], [-128, 127], [111, 127], [-32768, 4102],
        [2, 5],
    ]  # fmt: skip


@needs_node
def test_a_slider_says_numbers_of_the_type(numbers):
    cases = [
        ("float32", [-1.5, 2.25]), ("float32", [1e6, 1e6 + 1]), ("float32", [-3.4e38, 3.4e38]),
        ("float32", [1e-44, 2e-44]), ("int16", [-32768, 32767]), ("int8", [3, 7]),
    ]  # fmt: skip
    run = """
    console.log(JSON.stringify(given.map(([dtype, range]) =>
      Array.from({ length: stepsOf(range, dtype) + 1 }, (_, place) => {
        const number = sliderNumber(place, range, dtype);
        return [number, sliderPlace(number, range, dtype)];
      }))));
    """
    for (dtype, (low, high)), answers in zip(cases, node(*numbers, run, given=cases), strict=True):
        found = np.array(answers)
        values, places = found.T
        assert (values == values.astype(dtype)).all()
        assert (np.diff(values) >= 0).all()
        assert values[0] == pytest.approx(np.float32(low))
        assert values[-1] == pytest.approx(np.float32(high))
        if dtype == "int8":
            assert values.tolist() == [3, 4, 5, 6, 7]
        if (high - low) / abs(high) > 1e-2 and high > 1e-30:
            np.testing.assert_allclose(places, np.arange(len(found)), atol=1)
            assert len(set(values)) > 0.99 * len(found) > 4
    run = """
    console.log(JSON.stringify([NaN, -Infinity, -9, 1, 9, Infinity].map((v) => sliderPlace(v, [0, 4], "float32"))));
    """
    assert node(*numbers, run) == [0, 0, 0, 250, 1000, 1000]
