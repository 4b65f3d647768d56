"""What exported pages are made of: templates, shortened lines, JSON, bytes as text."""

from __future__ import annotations

import json

import numpy as np
import pytest
from html_pages import needs_node, node

from minibnn.export.page_parts import base91, filled, script_json, shortened, template_of

BYTES = template_of("bytes.js")


def test_files_are_included_where_the_template_says():
    page = template_of("page.html")
    assert page.count(BYTES) == 1
    assert "// include" not in page


def test_content_is_not_searched_for_places():
    page = filled("<p>{{a}} {{b}} {{a}}</p>", {"a": "{{b}}", "b": "\\1 \ud800 é"})
    assert page.decode() == "<p>{{b}} \\1 ? é {{b}}</p>"
    with pytest.raises(KeyError, match="c"):
        filled("{{c}}", {"a": ""})


STYLE = "<style>\n  a { b: c, d; }\n</style>\n"
SCRIPT = "    // one\n  two: three\n"


def test_shortened():
    assert shortened(STYLE + "  a: b\n// c\n\n/* d */\n<!-- e -->\n") == (
        "<style>\na{b:c,d;}\n</style>\na: b\n"
    )


def test_scripts_to_read_keep_their_comments():
    there = f'<script id="x">\n{SCRIPT}</script>\n<script id="y">\n{SCRIPT}</script>\n'
    assert shortened(there, ["x", "z"]) == (
        '<script id="x">\n  // one\n two: three\n</script>\n<script id="y">\ntwo: three\n</script>\n'
    )
    assert "one" not in shortened(there)


def test_nothing_ends_a_script():
    assert "<" not in script_json({"a": "</script><!--"})
    assert json.loads(script_json({"a": "</script>"})) == {"a": "</script>"}


@needs_node
@pytest.mark.parametrize("size", [0, 1, 12, 13, 14, 13 * 2**12 - 1, 13 * 2**12 + 1, 200_000])
def test_bytes_come_back(size, rng):
    data = rng.integers(0, 256, size, np.uint8)
    run = "console.log(JSON.stringify(Array.from(bytesOf(given))));"
    back = node(BYTES, run, given=base91(data.tobytes()))
    assert back[:size] == data.tolist()
    assert back[size:] in ([], [0])


@needs_node
def test_a_checksum_is_that_of_zlib():
    run = "console.log(JSON.stringify(checksum(given)));"
    assert node(BYTES, run, given="123456789") == 0xCBF43926
