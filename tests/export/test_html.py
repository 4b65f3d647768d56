"""The web page as a file: its size, its text, its bytes, and wrong arguments."""

from __future__ import annotations

import dataclasses
import json
import re
from importlib import resources

import numpy as np
import pytest
from few_images import few_images
from html_pages import dense, element, exported

from minibnn import Flatten, PackError, Rescale, Reshape, Sequential, pack
from minibnn.export.html import _json, _shortened, export_html
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
    return resources.files("minibnn.export").joinpath("page.html").read_text(encoding="utf-8")


def test_the_page_can_be_read(modern, tmp_path):
    """The two explanatory scripts keep all lines, with comments and indentation."""
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
    """It treats lines one by one, so no text or comment in the source may span several."""
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
    layers = Sequential(Reshape((784,)), Rescale(1), dense(784, 3)).initialize(0)
    page = exported(pack(layers, shape), tmp_path)
    assert len(json.loads(element(page, "vectors"))["labels"]) == 12
