"""The web page as a file: its size, its text, its bytes, and wrong arguments."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import pytest
from coded_models import coded
from few_images import few_images
from html_pages import dense, element, exported

from minibnn import PackError, Rescale, Reshape, Sequential, pack
from minibnn.export.html import (
    BINARY,
    NUMBERS,
    ONLY,
    _chosen,
    _properties,
    export_html,
)
from minibnn.export.page_parts import template_of
from minibnn.packed.stages import Stage
from minibnn.recipes import RECIPES


@pytest.mark.parametrize("name", ["modern", "larq-cnn", "finn-sfc", "finn-sfc-8bit"])
def test_small_files(name, tmp_path):
    """The finn-* networks are 784-256-256-256-10: 334,336 weights."""
    packed = pack(RECIPES[name]().train(few_images(256), epochs=1, progress=False)[0], (28, 28))
    page = exported(packed, tmp_path)
    assert len(page.encode()) < 100_000
    assert f'"bytes":{packed.nbytes},' in page
    assert f'<meta name="network-sha256" content="{packed.sha256}">' in page


def template():
    return template_of("page.html")


def test_the_page_can_be_read(modern, tmp_path):
    """The two explanatory scripts keep all lines, with comments and indentation."""
    whole, page = _chosen(template(), _properties(modern)), exported(modern, tmp_path)
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
    """It treats lines one by one, so no text or comment in the source may span several."""
    for line in template().splitlines():
        assert line.count("`") % 2 == 0
        comments = line.replace("image/*", "")
        assert comments.count("/*") == line.count("*/") == int(line.strip().startswith("/*"))
        assert line.count("<!--") == line.count("-->")
        if line.strip().startswith(("/*", "<!--")):
            assert line.endswith(("*/", "-->"))
    style = re.search("<style>(.*?)</style>", template(), re.DOTALL)[1]
    assert not [text for text in re.findall('"[^"]*"', style) if re.search("[:;,{]", text)]


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


def test_what_is_refused(modern, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("before")
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
    layers = Sequential(Reshape((784,)), Rescale(1), dense(784, 3)).initialize(0)
    page = exported(pack(layers, shape), tmp_path)
    assert len(json.loads(element(page, "vectors"))["labels"]) == 12


def test_blocks_of_the_template_end():
    """And each is for properties that some page has."""
    depth, named = 0, set()
    for line in template().splitlines():
        if mark := ONLY.fullmatch(line):
            depth += 1 if mark[1] else -1
            named |= set((mark[1] or "").split())
        assert 0 <= depth <= 3, line
        assert mark or not re.match(r"\s*(//|/\*|<!--) (only [a-z_ ]*( \*/| -->)?|end)$", line), (
            line
        )
    assert depth == 0
    assert named == {
        "draw", "picture", "table", "digits", "drawing", "names", "plain", "code", "uncoded",
        "pixels", "numbers", "typed", "untyped", "several", "single", "binary", "wide", "bits",
        "shades", "planes", *BINARY - {"scores"}, *NUMBERS, "integer_dense", "integer_conv", "sum_pool", "concat",
    }  # fmt: skip


def test_blocks_within_blocks():
    text = "a\n  // only x y\nb\n/* only z */\nc\n/* end */\nd\n// end\n<!-- only z -->\ne\n<!-- end -->"
    assert _chosen(text, {"x"}) == "a\nb\nd\n"
    assert _chosen(text, {"y", "z"}) == "a\nb\nc\nd\ne\n"
    assert _chosen(text, {"z"}) == "a\ne\n"


DIGITS = tuple(map(str, range(10)))


@pytest.mark.parametrize(
    ("shape", "changes", "kind"),
    [
        ((28, 28), {}, "digits"),
        ((784,), {"class_names": DIGITS}, "digits"),
        ((28, 28, 1), {"class_names": tuple("abcdefghij")}, "drawing"),
        ((28, 28), {"classes": 3}, "drawing"),
        ((28, 29), {}, "picture"),
        ((8, 8, 1), {}, "picture"),
        ((8, 8, 3), {"feature_names": ("red", "green", "blue")}, "picture"),
        ((8, 3), {"feature_names": ("x", "y", "z")}, "table"),
        ((8, 8, 4), {}, "table"),
        ((30,), {}, "table"),
    ],
)
def test_what_people_do_on_it(shape, changes, kind, tmp_path):
    classes = changes.pop("classes", 10)
    n = int(np.prod(shape))
    model = Sequential(Reshape((n,)), Rescale(1), dense(n, classes)).initialize(0)
    packed = dataclasses.replace(pack(model, shape), **changes)
    assert kind in _properties(packed)
    page = exported(packed, tmp_path)
    leads = {
        "digits": "Draw a digit.",
        "drawing": "Draw something.",
        "picture": "Take a picture.",
        "table": "Move the sliders.",
    }
    assert [k for k, text in leads.items() if text in page] == [kind]
    assert " only " not in re.sub("<p.*?</p>", "", page, flags=re.DOTALL).replace("only has", "")
    assert ("typed" in _properties(packed)) == ('"input":{' in element(page, "model"))


def test_no_other_type_is_drawn(rng):
    """Samples of 28 by 28 that are no bytes have sliders, as all numbers that are no bytes."""
    for name in ("float channels", "one channel", "columns"):
        assert "table" in _properties(coded(name, rng)[0])
    assert "picture" in _properties(coded("channels", rng)[0])
    assert "table" in _properties(coded("uint8", rng)[0])


def test_names_end_no_script(rng, tmp_path):
    packed, _ = coded("int16", rng)
    names = "</script><script>alert(1)</script>", "{{model}}", "\u2028 é"
    packed = dataclasses.replace(packed, class_names=names, feature_names=(*names, "x"))
    page = exported(packed, tmp_path)
    assert page.count("<script") == page.count("</script>") == 5
    model = json.loads(element(page, "model"))
    assert (tuple(model["classes"]), tuple(model["input"]["features"])) == (names, (*names, "x"))
    assert element(page, "model").isascii()


def test_a_code_takes_few_bytes(rng, tmp_path):
    """Ends that are open, and features in their usual order, are left out."""
    code = json.loads(element(exported(coded("thermometer", rng)[0], tmp_path), "model"))["stages"][
        0
    ]
    assert set(code) == {"kind", "out", "features", "bits", "low"}
    assert len(code["low"]) == 2 * -(-32 * 32 // 13)  # base 91: two digits for 13 bits
    code = json.loads(element(exported(coded("falling", rng)[0], tmp_path), "model"))["stages"][0]
    assert set(code) == {"kind", "out", "features", "bits", "high"}
