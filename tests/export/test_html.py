"""The web page: its network in node against the packed model's, and all of it in a browser."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import re
import shutil
import subprocess
import zlib
from importlib import resources

import numpy as np
import pytest
from chromium import chromium  # noqa: F401 (a fixture)

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    Flatten,
    MaxPool2D,
    PackError,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    load_sample,
    pack,
)
from minibnn.export.html import _json, _packbits, _shortened, _text, export_html
from minibnn.packed.stages import PoolStage, Stage
from minibnn.recipes import RECIPES

SIGN = SignSTE()
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="no node on the PATH")


def dense(n_in, n_out):
    return Dense(n_in, n_out, weight_quantizer=SIGN)


def conv(c_in, c_out, size=3, **options):
    return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)


def sign(n):
    return [BatchNorm(n), Activation(SIGN)]


def ink():
    return [Rescale(1, -128), Activation(SIGN)]


def models():
    """Every kind of stage, and every way to slide a window."""
    pixels = [Reshape((28, 28, 1)), Rescale(1, -100)]
    return {
        **{name: RECIPES[name]().build() for name in ("seed", "modern", "finn-sfc", "larq-cnn")},
        "pixels to scores": [Flatten(), Rescale(1 / 255), dense(784, 10)],
        "odd widths": [Flatten(), Rescale(1 / 255), dense(784, 33), *sign(33), dense(33, 31), *sign(31), dense(31, 3)],
        "falling ink": [Flatten(), Rescale(-1, 64), Activation(SIGN), dense(784, 64), *sign(64), dense(64, 10)],
        "plain": [*pixels, conv(1, 5), *sign(5), Flatten(), dense(26 * 26 * 5, 4)],
        "pooled": [*pixels, conv(1, 5), MaxPool2D(2), *sign(5), Flatten(), dense(13 * 13 * 5, 4)],
        "overlapping pools": [*pixels, conv(1, 5), BatchNorm(5), MaxPool2D(3, 2), Activation(SIGN), Flatten(), dense(12 * 12 * 5, 4)],
        "pooled signs": [*pixels, conv(1, 5), *sign(5), MaxPool2D((3, 2)), Flatten(), dense(8 * 13 * 5, 4)],
        "two": [*pixels, conv(1, 5), *sign(5), conv(5, 3, padding=1, padding_value=-1), MaxPool2D(2), *sign(3), Flatten(), dense(13 * 13 * 3, 4)],
        "border +1": [*pixels, conv(1, 33), *sign(33), conv(33, 3, (2, 4), padding=(2, 1), padding_value=1, stride=(2, 1), dilation=(1, 2)), *sign(3), Flatten(), dense(15 * 22 * 3, 4)],
        "same": [*pixels, conv(1, 5), *sign(5), conv(5, 3, 2, padding="same", padding_value=-1), *sign(3), Flatten(), dense(26 * 26 * 3, 4)],
        "bits": [Reshape((28, 28, 1)), *ink(), conv(1, 5, padding=1, padding_value=-1, stride=2), *sign(5), Flatten(), dense(14 * 14 * 5, 4)],
        "pixel border": [Reshape((28, 28, 1)), Rescale(1, -6), conv(1, 5, padding=2, padding_value=-1), *sign(5), Flatten(), dense(30 * 30 * 5, 4)],
        "strided pixels": [*pixels, conv(1, 5, (4, 2), stride=(3, 2), dilation=(2, 3)), *sign(5), Flatten(), dense(8 * 13 * 5, 4)],
        "conv last": [*pixels, conv(1, 5), *sign(5), conv(5, 4, 26), Flatten()],
    }  # fmt: skip


def shake(model, rng):
    """Values for everything that training would move."""
    for parameter in model.parameters():
        data = parameter.data
        if parameter.name == "bias":
            data[...] = rng.normal(0, 5, data.shape).round()
        elif parameter.name == "gamma":
            data[...] = rng.choice([1, -1, 0.3, -7], data.shape)
            data[4:5] = 0  # a channel that never changes
        elif parameter.name == "beta":
            data[...] = rng.choice([0, 0.5, -0.5], data.shape)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.choice([0, 1, -2, 3.7], buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.choice([1, 17.3], buffer.data.shape)
    return model


def packed_of(name, rng):
    layers = models()[name]
    model = layers if isinstance(layers, Sequential) else Sequential(*layers)
    model = shake(model.initialize(rng), rng)
    list(model)[-1].initialize(0)  # logits within reach of each other
    return pack(model, (28, 28))


def with_wide_scores(packed):
    """The same labels from scores that JavaScript's numbers do not hold."""
    scores = packed.scores
    most = max(abs(scores.A) * packed.stages[-2].width + abs(scores.B))
    shift = 61 - int(most).bit_length()
    A, B = scores.A << shift, (scores.B << shift) + 1
    wide = dataclasses.replace(scores, A=A, B=B, fits_int32=False)
    return dataclasses.replace(packed, stages=(*packed.stages[:-1], wide))


@pytest.fixture(scope="module")
def modern():
    """A network that reads digits, though it has seen only the bundled ones."""
    return pack(RECIPES["modern"]().train(load_sample(), epochs=12, progress=False)[0], (28, 28))


def noise(rng, n=20):
    images = rng.integers(0, 256, (n, 28, 28), np.uint8)
    images[1::2] *= rng.random(images[1::2].shape) < 0.2  # mostly black, as digits are
    return images


def element(page, name):
    return re.search(rf'<script[^>]* ?id="{name}">(.*?)</script>', page, re.DOTALL)[1]


def exported(packed, folder, **options):
    path = folder / "page.html"
    export_html(packed, path, **options)
    return path.read_text(encoding="utf-8")


def node(*parts, given=None):
    """What a script in strict mode prints as JSON; `given` is its variable of that name."""
    text = "\n".join([*parts[:-1], f"const given = {json.dumps(given)};", parts[-1]])
    done = subprocess.run([NODE, "-"], input=text, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def node_scores(page, images):
    run = """
    const network = loadNetwork(JSON.parse(given.model));
    const answers = given.images.map((image) => runNetwork(network, Uint8Array.from(image)));
    console.log(JSON.stringify(answers.map((a) => [a.label, a.scores.map(String)])));
    """
    given = {"model": element(page, "model"), "images": images.reshape(len(images), -1).tolist()}
    answers = node(element(page, "network"), run, given=given)
    labels, scores = zip(*answers, strict=True)
    return list(labels), [[int(score) for score in row] for row in scores]


def node_test(page):
    run = """
    const network = loadNetwork(JSON.parse(given[0]));
    const test = selfTest(network, JSON.parse(given[1]), given[0]);
    delete test.images;
    console.log(JSON.stringify(test));
    """
    given = [element(page, "model"), element(page, "vectors")]
    return node(element(page, "network"), run, given=given)


# --- the network ---------------------------------------------------------------------------------


@needs_node
@pytest.mark.parametrize("name", models())
def test_scores_are_the_packed_models(name, tmp_path, rng):
    packed = packed_of(name, rng)
    images = noise(rng)
    labels, scores = node_scores(exported(packed, tmp_path), images)
    assert scores == packed.predict_scores(images).tolist()
    assert labels == packed.predict(images).tolist()
    assert len(np.unique(scores, axis=0)) > 5
    assert node_test(exported(packed, tmp_path))["passed"]


def damaged(model):
    """The page's model with one number changed, again and again: what, and its text."""
    for i, stage in enumerate(json.loads(model)["stages"]):
        for name in ("weights", "thresholds", "A", "B", "falling", "threshold"):
            value = stage.get(name)
            places = ("first", 0), ("last", -1)
            if not isinstance(value, str | list):
                places = [("all", None)] if name in stage else []
            for what, k in places if value != [] else ():
                changed = json.loads(model)
                if name == "weights":  # a digit of base 91, 13 bits or what is left of them
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
    """The checksum does, also where none of the pictures meets what has changed."""
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


@needs_node
def test_scores_beyond_32_bits(tmp_path, rng):
    packed = with_wide_scores(packed_of("modern", rng))
    images = noise(rng)
    page = exported(packed, tmp_path, images=images)
    labels, scores = node_scores(page, images)
    assert scores == packed.predict_scores(images).tolist()
    assert max(map(max, scores)) > 2**54
    assert any(int(float(score)) != score for row in scores for score in row)
    assert labels == packed.predict(images).tolist()
    assert node_test(page) == {"same": 20, "of": 20, "intact": True, "passed": True}


@needs_node
def test_the_label_is_the_first_greatest(tmp_path, rng):
    packed = packed_of("modern", rng)
    for A, B, label in ((0, [1, 5, 5, 2, 0, 0, 0, 0, 0, 5], 1), (0, [0] * 10, 0)):
        scores = dataclasses.replace(
            packed.scores, A=np.full(10, A), B=np.array(B), fits_int32=True
        )
        tied = dataclasses.replace(packed, stages=(*packed.stages[:-1], scores))
        assert node_scores(exported(tied, tmp_path), noise(rng, 1))[0] == [label]


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
    """What Python packs the page's script unpacks: every length, and runs of every length."""
    data = [rng.integers(0, 256, n, np.uint8).tobytes() for n in (*range(40), 1000)]
    data += [bytes([0]), bytes([255] * 7), bytes(range(256))]
    runs = [n for n in range(1, 400) if n < 10 or n % 128 < 4 or n % 128 > 125]
    images = [*data, *(b"a" + bytes([v]) * n + b"bb" for n in runs for v in (0, 255))]
    images.append(b"".join(bytes([k % 7]) * (k % 5) for k in range(2000)))
    texts = [_text(d) for d in data]
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
    packed = [_text(_packbits(image)) for image in images]
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


def arc(x, y, rx, ry, start=0.0, stop=2 * math.pi, n=40):
    angles = np.linspace(start, stop, n)
    return [[x + rx * math.cos(a), y + ry * math.sin(a)] for a in angles]


SEVEN = [[[0.3, 0.2], [0.7, 0.2], [0.45, 0.85]]]
ONE = [[[0.52, 0.15], [0.5, 0.85]]]
ZERO = [arc(0.5, 0.5, 0.2, 0.3)]


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
    """Test images of ones have 60 full pixels on the average, of zeros 135."""
    one, zero = pictures(tmp_path, rng, ONE, ZERO)
    assert 45 < one.sum() / 255 < 75
    assert 105 < zero.sum() / 255 < 165


# --- the file ------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["modern", "larq-cnn", "finn-sfc", "finn-sfc-8bit"])
def test_small_files(name, tmp_path):
    """The finn-* networks are 784-256-256-256-10: 334,336 weights."""
    packed = pack(RECIPES[name]().train(load_sample(), epochs=1, progress=False)[0], (28, 28))
    page = exported(packed, tmp_path)
    assert len(page.encode()) < 100_000
    assert f'"bytes":{packed.nbytes},' in page
    assert f'<meta name="network-sha256" content="{packed.sha256}">' in page


def template():
    return resources.files("minibnn.export").joinpath("page.html").read_text(encoding="utf-8")


def test_the_page_can_be_read(modern, tmp_path):
    """All lines of the two scripts that explain are there, with their comments, and indented."""
    whole, page = template(), exported(modern, tmp_path)
    for name in ("network", "picture"):
        there = element(page, name).splitlines()
        assert [line.strip() for line in there] == [
            line.strip() for line in element(whole, name).splitlines()
        ]
        assert sum(line.startswith("//") for line in there) > 3
        assert [line for line in there if line.startswith("    ")]
    # Elsewhere lines stay lines, only their first blanks and the comments go.
    lines = [line.strip() for line in element(whole, "page").splitlines()]
    there = element(page, "page").splitlines()[1:]
    assert there == [line for line in lines if line and not line.startswith("//")]
    assert len(there) > 500


def test_shortening_breaks_no_text():
    """It looks at lines one by one: no text or comment in the page's source may have several."""
    for line in template().splitlines():
        assert line.count("`") % 2 == 0
        assert line.count("/*") == line.count("*/") == int(line.strip().startswith("/*"))
        assert line.count("<!--") == line.count("-->")
        if line.strip().startswith(("/*", "<!--")):
            assert line.endswith(("*/", "-->"))
    style = re.search("<style>(.*?)</style>", template(), re.DOTALL)[1]
    assert not [text for text in re.findall('"[^"]*"', style) if re.search("[:;,{]", text)]
    assert _shortened("<style>\n  a { b: c, d; }\n</style>\n  a: b\n// c\n") == (
        "<style>\na{b:c,d;}\n</style>\na: b\n"
    )


def test_the_same_model_gives_the_same_bytes(modern, tmp_path):
    assert exported(modern, tmp_path) == exported(modern, tmp_path)
    path = tmp_path / "page.html"
    assert not re.search(rb"20\d\d-\d\d-\d\d|\r", path.read_bytes())
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_it_names_no_address(modern, tmp_path):
    page = exported(modern, tmp_path)
    for data in ("model", "vectors"):  # whose text is random
        page = page.replace(element(page, data), "")
    assert set(re.findall(r"\w+://[^'\" ]*", page)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|<link(?! rel=\"icon\" href=\"data:)|\bsrc=", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize(
    "title",
    ["</title><script>alert(1)</script>", "a & b \"c\" 'd'", "{{model}}", "\\1 \ud800 é"],
)
def test_titles_are_text(title, modern, tmp_path):
    plain, page = exported(modern, tmp_path), exported(modern, tmp_path, title=title)
    assert page.count("<script") == plain.count("<script") == page.count("</script>")
    assert element(page, "model") == element(plain, "model")
    assert "<" not in re.search("<title>(.*?)</title>", page, re.DOTALL)[1]


@dataclasses.dataclass(frozen=True, eq=False)
class Odd(Stage):
    kind = "odd"

    def run(self, x):
        return x


def test_nothing_ends_a_script():
    assert "<" not in _json({"a": "</script><!--"})
    assert json.loads(_json({"a": "</script>"})) == {"a": "</script>"}


def test_what_is_refused(modern, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
    model = Sequential(Rescale(1), dense(30, 4)).initialize(0)
    with pytest.raises(PackError, match=r"expected .*shape \(28, 28\).*got \(5, 6\)"):
        export_html(pack(Sequential(Flatten(), *model).initialize(0), (5, 6)), path)
    with pytest.raises(TypeError, match="title as text, got int"):
        export_html(modern, path, title=3)
    for title in ("", " \n"):
        with pytest.raises(ValueError, match=f"expected a title .*got {re.escape(repr(title))}"):
            export_html(modern, path, title=title)
    with pytest.raises(ValueError, match="at least one image"):
        export_html(modern, path, images=np.zeros((0, 28, 28), np.uint8))
    with pytest.raises(TypeError, match="uint8"):
        export_html(modern, path, images=np.zeros((1, 28, 28)))

    odd = Odd((128,), (128,))  # gives what it takes
    stages = (*modern.stages[:2], odd, *modern.stages[2:])
    with pytest.raises(PackError, match=r"stage 2.*odd"):
        export_html(dataclasses.replace(modern, stages=stages), path)
    assert path.read_text() == "before"


@pytest.mark.parametrize("shape", [(784,), (28, 28, 1)])
def test_other_shapes_of_28_by_28(shape, tmp_path):
    layers = Sequential(Reshape((784,)), Rescale(1), dense(784, 10)).initialize(0)
    page = exported(pack(layers, shape), tmp_path)
    assert len(json.loads(element(page, "vectors"))["labels"]) == 12


# --- the page in a browser -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(modern, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "digits of a day.html"
    export_html(modern, path)
    return path.as_uri()


@pytest.fixture
def page(chromium, address):  # noqa: F811
    page = chromium.page(address)
    yield page
    page.close()


def show(page, image):
    return page.run(f"minibnn.show({image.ravel().tolist()})")


def draw(page, strokes):
    """With the mouse, in steps as a hand moves."""
    box = page.run("(() => { const b = document.getElementById('draw').getBoundingClientRect();"
                   " return [b.left, b.top, b.width]; })()")  # fmt: skip
    for stroke in strokes:
        places = [(box[0] + x * box[2], box[1] + y * box[2]) for x, y in stroke]
        page.mouse("Moved", *places[0], buttons=0)
        page.mouse("Pressed", *places[0])
        for (x0, y0), (x1, y1) in itertools.pairwise(places):
            for t in (0.25, 0.5, 0.75, 1):
                page.mouse("Moved", x0 + t * (x1 - x0), y0 + t * (y1 - y0))
        page.mouse("Released", *places[-1], buttons=0)
    page.settle()


def text(page, name):
    return page.run(f"document.getElementById({name!r}).textContent")


def test_the_page_gives_the_packed_models_labels(page, modern):
    images = load_sample().test_images[:100]
    labels, scores = [], []
    for image in images:
        labels.append(show(page, image))
        scores.append([int(s) for s in page.run("minibnn.result.scores.map(String)")])
    assert labels == modern.predict(images).tolist()
    assert scores == modern.predict_scores(images).tolist()
    assert len(set(labels)) == 10


def test_the_page_says_what_it_is(page, modern, address):
    test = "self-test: 12 of 12 images give the packed model's scores and labels"
    assert text(page, "selftest") == test
    assert page.run("document.querySelector('#selftest').className") == "passed"
    assert text(page, "facts").startswith("28\u00d728 pixels → 128 bits → 64 bits → 10 scores.")
    assert f"{modern.nbytes:,} bytes" in text(page, "facts")
    assert page.requests() == [address]
    assert page.complaints() == []


def test_every_bit_and_every_score_is_shown(page, modern):
    page.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])  # fmt: skip
    image = load_sample().test_images[7]
    label = show(page, image)
    bits = modern.after(image[None], 2)[0]
    assert f"{bits.sum()} of 128 lit" in text(page, "layers")
    # The colours of the middles of the dots, read from the screen.
    places = page.run("""(() => {
        const board = document.querySelector("#layers [tabindex]");
        const pen = board.getContext("2d");
        const columns = 16, pad = Math.min(14, Math.round(board.clientWidth * 0.035));
        const cell = Math.min(26, (board.clientWidth - 2 * pad) / columns);
        const left = (board.clientWidth - columns * cell) / 2;
        return Array.from({ length: 128 }, (_, k) => [...pen.getImageData(
            left + (k % columns + 0.5) * cell, pad + (Math.floor(k / columns) + 0.5) * cell, 1, 1,
        ).data]);
    })()""")
    assert [int(red > 128) for red, *_ in places] == bits.tolist()
    rows = page.run("[...document.querySelectorAll('#scores tr')].map((row) => row.innerText)")
    shown = [int(row.split()[-1].replace("\u2212", "-").replace(",", "")) for row in rows]
    assert shown == modern.predict_scores(image[None])[0].tolist()
    best = page.run("[...document.querySelectorAll('#scores tr')].map((row) => row.className)")
    assert best == ["best" if c == label else "" for c in range(10)]
    assert text(page, "sentence").startswith(f"It says {label}.")
    page.wait(f"document.getElementById('live').textContent.startsWith('It says {label}.')")


def place_of(page, name):
    """Left, top, right, bottom in the window."""
    return page.run(f"(() => {{ const b = document.getElementById({name!r}).getBoundingClientRect();"
                    " return [b.left, b.top, b.right, b.bottom]; })()")  # fmt: skip


@pytest.mark.parametrize("how", ["c", "Delete", "show", "clear"])
@pytest.mark.parametrize("pointer", ["mouse", "finger"])
def test_a_drawing_that_goes_while_it_is_drawn(how, pointer, page):
    if pointer == "finger":
        page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    left, top, right, bottom = place_of(page, "draw")

    def move(kind, x, y):
        at = (left + x * (right - left), top + y * (bottom - top))
        if pointer == "mouse":
            kinds = {"Start": "Pressed", "Move": "Moved", "End": "Released"}
            page.mouse(kinds[kind], *at, buttons=int(kind != "End"))
        else:
            page.touch(kind, *([at] if kind != "End" else []))

    page.run("document.getElementById('draw').focus()")
    move("Start", 0.3, 0.3)
    move("Move", 0.4, 0.4)
    page.settle()
    if how in ("show", "clear"):
        page.run({"show": "document.querySelectorAll('#examples button')[5].click()",
                  "clear": "document.getElementById('clear').click()"}[how])  # fmt: skip
    else:
        page.key(how, text="c" if how == "c" else None)
    page.settle()
    stays = page.run("[...minibnn.pixels]")
    assert any(stays) == (how == "show")
    for x in (0.5, 0.6, 0.7):
        move("Move", x, 0.5)
    page.settle()
    assert page.run("[...minibnn.pixels]") == stays  # that line has ended
    move("End", 0.7, 0.5)
    move("Start", 0.5, 0.2)  # and this is the next one
    move("Move", 0.5, 0.5)
    move("Move", 0.5, 0.8)
    move("End", 0.5, 0.8)
    page.settle()
    pixels = np.array(page.run("[...minibnn.pixels]")).reshape(28, 28)
    assert (np.ptp(np.nonzero(pixels)[1]) < 6, np.ptp(np.nonzero(pixels)[0]) > 18) == (True, True)
    assert page.complaints() == []


def test_the_keys_pen_ends_the_mouses_line(page):
    left, top, right, bottom = place_of(page, "draw")
    page.key("Tab")
    page.mouse("Pressed", left + 20, top + 20)
    page.mouse("Moved", left + 40, top + 20)
    page.key(" ", "Space")
    page.mouse("Moved", right - 20, bottom - 20)
    page.settle()
    before = page.run("[...minibnn.pixels]")
    page.mouse("Moved", left + 20, bottom - 20)
    page.settle()
    assert page.run("[...minibnn.pixels]") == before
    page.key("ArrowRight")
    page.settle()
    assert page.run("[...minibnn.pixels]") != before
    assert page.complaints() == []


def bars(page):
    """Lengths as shares of the greatest there can be."""
    return page.run(
        "[...document.querySelectorAll('.bar')].map((b) => parseFloat(b.style.width) / 50)"
    )


def test_a_digits_bars_do_not_depend_on_extremes(chromium, modern, tmp_path):  # noqa: F811
    # A model with far greater scores for the picture of nothing but ink.
    images = np.concatenate([load_sample().test_images[:6], np.full((1, 28, 28), 255, np.uint8)])
    most = abs(modern.predict_scores(images)).max(1)
    sizes = np.sort(most)
    path = tmp_path / "page.html"
    export_html(modern, path, images=images)
    page = chromium.page(path.as_uri())
    for image, greatest in zip([*images, images[0]], [*most, most[0]], strict=True):
        show(page, image)
        shares = bars(page)
        assert max(shares) == pytest.approx(min(1, greatest / sizes[3]), abs=1e-4)
        expected = abs(modern.predict_scores(image[None])[0]) / max(greatest, sizes[3])
        np.testing.assert_allclose(shares, expected, atol=1e-4)
    assert len(set(most > sizes[3])) == 2
    page.close()


@pytest.mark.parametrize(("strokes", "label"), [(ONE, 1), (ZERO, 0), (SEVEN, 7)])
def test_a_digit_drawn_by_hand(strokes, label, page):
    draw(page, strokes)
    assert text(page, "sentence").startswith(f"It says {label}.")
    pixels = np.array(page.run("[...minibnn.pixels]")).reshape(28, 28)
    assert pixels.sum() > 45 * 255
    page.run("document.getElementById('clear').click()")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    assert text(page, "sentence").startswith("Nothing is drawn yet.")
    assert page.complaints() == []


def test_a_finger_on_a_phone(chromium, address):  # noqa: F811
    page = chromium.page(address, size=(360, 740))
    page.call("Emulation.setTouchEmulationEnabled", enabled=True)
    widths = "[document.documentElement.scrollWidth, innerWidth]"
    assert page.run(widths) == [360, 360]
    page.run("document.getElementById('draw').scrollIntoView()")
    x, y, side = page.run("(() => { const b = document.getElementById('draw')"
                          ".getBoundingClientRect(); return [b.left, b.top, b.width]; })()")  # fmt: skip
    assert side > 300
    before = page.run("scrollY")
    for k, point in enumerate(ZERO[0]):
        page.touch("Move" if k else "Start", (x + side * point[0], y + side * point[1]))
    page.touch("End")
    page.settle()
    assert text(page, "sentence").startswith("It says 0.")
    assert page.run("scrollY") == before  # the finger drew and did not scroll
    assert page.complaints() == []
    page.close()


@pytest.mark.parametrize(
    "size",
    [
        (320, 568),
        (360, 740),
        (390, 664),
        (600, 700),
        (719, 1000),
        (740, 360),
        (844, 390),
        (1000, 519),
    ],
)
@pytest.mark.parametrize("touch", [True, False])
def test_a_small_screen_shows_drawing_and_answer_together(size, touch, chromium, address):  # noqa: F811
    page = chromium.page(address, size=size)
    page.call("Emulation.setTouchEmulationEnabled", enabled=touch)
    draw(page, ONE)
    assert text(page, "sentence").startswith("It says 1.")
    assert page.run("[scrollX, scrollY]") == [0, 0]
    places = {name: place_of(page, name) for name in ("draw", "digit", "scores", "clear")}
    for name, (left, top, right, bottom) in places.items():
        assert 0 <= left < right <= size[0], name
        assert 0 <= top < bottom <= size[1], name
    for one, other in itertools.combinations(places.values(), 2):  # and nothing hides another
        assert one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
    left, top, right, bottom = places["draw"]
    assert right - left == pytest.approx(bottom - top)
    assert right - left >= 0.45 * min(size[1], 1.5 * size[0])
    assert page.run("document.documentElement.scrollWidth") <= size[0]
    keys = "document.getElementById('keys').checkVisibility()"
    assert page.run(keys) == (not touch)
    page.close()


def test_a_failure_on_a_phone(chromium, modern, tmp_path):  # noqa: F811
    whole = exported(modern, tmp_path)
    for old, new in [
        ("const stages = network", "const stages = = network"),
        ('"crc32":', '"crc32":1'),
    ]:
        assert old in whole
        path = tmp_path / "changed.html"
        path.write_text(whole.replace(old, new), encoding="utf-8")
        page = chromium.page(path.as_uri(), size=(360, 740))
        left, top, right, _ = place_of(page, "selftest")
        assert (left < 30, right > 330, 0 <= top < 30) == (True, True, True)
        page.close()


@pytest.mark.parametrize("width", [320, 360, 719, 721, 1060, 1920])
def test_no_width_scrolls_sideways(width, chromium, address):  # noqa: F811
    page = chromium.page(address, size=(width, 740))
    assert page.run("document.documentElement.scrollWidth") <= width
    page.close()


def focused(page):
    return page.run("document.activeElement.id || document.activeElement.tagName")


def test_the_keyboard_alone(page):
    page.key("Tab")
    assert focused(page) == "draw"
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.run(outline) == "solid"
    page.key("Delete")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    for _ in range(9):
        page.key("ArrowUp")
    assert not any(page.run("[...minibnn.pixels]"))  # the pen is up
    page.key(" ", "Space")
    for _ in range(18):
        page.key("ArrowDown")
    page.key("Enter")
    page.key("ArrowRight")
    page.settle()
    assert text(page, "sentence").startswith("It says 1.")
    page.wait("document.getElementById('live').textContent.startsWith('It says 1.')")
    drawn = page.run("[...minibnn.pixels]")
    page.key("ArrowRight")
    page.settle()
    assert page.run("[...minibnn.pixels]") == drawn
    page.key("c", "KeyC", text="c")
    page.settle()
    assert not any(page.run("[...minibnn.pixels]"))
    visited = []
    for _ in range(14):
        page.key("Tab")
        visited.append(focused(page))
        assert page.run(outline) == "solid"
    assert visited == ["clear"] + ["BUTTON"] * 12 + ["CANVAS"]
    for key in ("ArrowRight", "ArrowRight", "ArrowDown"):
        page.key(key)
    assert page.run("document.querySelector('.readout').textContent").startswith("dot 18: sum ")
    page.wait("document.getElementById('note').textContent.startsWith('dot 18: sum ')")


def test_examples(page):
    labels = []
    given = json.loads(page.run("document.getElementById('vectors').textContent"))
    for k, expected in enumerate(given["labels"]):
        page.run(f"document.querySelectorAll('#examples button')[{k}].click()")
        labels.append(page.run("minibnn.result.label"))
        pressed = page.run("[...document.querySelectorAll('#examples button')]"
                           ".map((b) => b.getAttribute('aria-pressed'))")  # fmt: skip
        assert [p == "true" for p in pressed] == [n == k for n in range(12)]
        assert expected == labels[-1]
    assert len(labels) == 12
    draw(page, ONE)  # takes the place of the example
    assert page.run("document.querySelectorAll('#examples [aria-pressed=true]').length") == 0
    assert text(page, "sentence").startswith("It says 1.")


def failing(page):
    state = page.run("""(() => {
        const note = document.getElementById("selftest");
        const box = note.getBoundingClientRect();
        return [note.className, getComputedStyle(note).backgroundColor, box.top, box.width];
    })()""")
    assert state[:2] == ["failed", "rgb(176, 0, 32)"]
    assert 0 <= state[2] < 100
    assert state[3] > 1000
    assert page.run("document.title").startswith("FAILED")
    assert page.run("document.getElementById('selftest').getAttribute('role')") == "alert"
    return text(page, "selftest")


def test_a_failure_cannot_be_missed(chromium, modern, tmp_path):  # noqa: F811
    whole = exported(modern, tmp_path)
    vectors = json.loads(element(whole, "vectors"))
    weights = json.loads(element(whole, "model"))["stages"][0]["weights"]
    row = vectors["scores"][4]
    right, wrong = (json.dumps([n, *row[1:]]).replace(" ", "") for n in (row[0], row[0] + 1))
    for old, new, message in [
        (weights, "zzzz" + weights[4:], r"self-test: \d+ of 12 images .*checksum"),
        (right, wrong, r"self-test: 11 of 12 images"),
        (weights, weights[:-8], "weights are missing"),
        ('"model">{', '"model">', "cannot be run"),
        ("function runNetwork(", "function runNetwork((", "cannot be run"),
        ("const stages = network", "const stages = = network", "has not run"),
        ("return sums;", "return sums.map((s) => s + 1000);", r"self-test: \d of 12 images"),
    ]:
        assert old in whole
        path = tmp_path / "changed.html"
        path.write_text(whole.replace(old, new), encoding="utf-8")
        page = chromium.page(path.as_uri())
        if message == "has not run":
            assert message in text(page, "selftest")
            assert (
                page.run("getComputedStyle(document.getElementById('selftest')).backgroundColor")
                == "rgb(176, 0, 32)"
            )
        else:
            assert re.search(message, failing(page))
        page.close()


@pytest.mark.parametrize(
    "name", ["larq-cnn", "finn-sfc", "two", "pooled signs", "conv last", "wide"]
)
def test_other_networks_in_the_browser(name, chromium, tmp_path, rng):  # noqa: F811
    packed = with_wide_scores(packed_of("modern", rng)) if name == "wide" else packed_of(name, rng)
    images = noise(rng, 5)
    title = "<b>bits</b> & 'bytes'"
    path = tmp_path / "page.html"
    export_html(packed, path, images=images, title=title)
    page = chromium.page(path.as_uri(), size=(360, 740))
    assert (
        text(page, "selftest")
        == "self-test: 5 of 5 images give the packed model's scores and labels"
    )
    assert [show(page, image) for image in images] == packed.predict(images).tolist()
    assert page.run("document.title") == page.run("document.querySelector('h1').innerText") == title
    assert page.run("document.documentElement.scrollWidth") == 360
    page.run("document.querySelectorAll('#layers [tabindex]').forEach((c) => c.focus())")
    page.key("ArrowRight")
    assert page.complaints() == []
    page.close()
