"""Equations as MathML."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from website.mathml import keep_together, mathml, write_font

pytest.importorskip("docutils.utils.math.latex2mathml")

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


def minus(text):
    return (text or "").replace("\N{MINUS SIGN}", "-")


def symbols(latex, display=False):
    """The elements of one line: their texts, with _ for a space."""
    root = ET.fromstring(mathml(latex, display).replace("&ApplyFunction;", ""))
    assert root.tag == f"{NAMESPACE}math"
    assert root.attrib.get("display", "inline") == ("block" if display else "inline")
    body = root[0] if len(root) == 1 and root[0].tag.endswith("mrow") else root
    return [minus(child.text) or "_" * child.tag.endswith("mspace") for child in body]


@pytest.mark.parametrize(
    ("latex", "expected"),
    [
        ("z = x w + b", "z = x w + b"),
        (r"-t \log p", "- t _ log  _ p"),
        (r"\log(1 - p)", "log  ( 1 - p )"),
        (r"(1 - t) \log(p)", "( 1 - t ) _ log  ( p )"),
        (r"\max(z, 0)", "max  ( z , 0 )"),
    ],
)
def test_names_of_functions_stand_apart(latex, expected):
    assert symbols(latex) == expected.split(" ")


def test_absolute_values_are_close():
    assert mathml("|z|", False).count('lspace="0" rspace="0">|') == 2


@pytest.mark.parametrize(
    "latex",
    [
        r"\begin{cases} 1 & \text{if } x \ge 0 \\ -1 & \text{otherwise} \end{cases}",
        r"\begin{aligned} a &= b \\ &= c \end{aligned}",
        r"\hat{x} = \frac{x - \mu}{\sqrt{\sigma^2 + \epsilon}}",
        r"\operatorname{sign}(x) \in \{-1, +1\}",
        r"x^\mathsf{T} \mathbb{E}[x] \mathcal{L} \mathbf{1}[|x| \le 1]",
        r"n - 2 \operatorname{popcount}(w \oplus x)",
    ],
)
def test_what_chapters_need_is_valid(latex):
    ET.fromstring(mathml(latex, True).replace("&ApplyFunction;", ""))


def test_an_unknown_command_is_an_error():
    with pytest.raises(ValueError, match="nonsense"):
        mathml(r"\nonsense", False)


def test_punctuation_stays_with_its_equation():
    from docutils import nodes

    text = nodes.paragraph("", "", nodes.Text("if "), nodes.math("", "p"), nodes.Text("; then"))
    text += [nodes.math("", "q"), nodes.Text(" and (")]
    keep_together(text)
    assert [child.astext() for child in text] == ["if ", "p;", " then", "q", " and ("]
    assert text[1]["classes"] == ["nobreak"]
    assert isinstance(text[3], nodes.math)


def test_the_font_has_a_table_for_equations(tmp_path):
    pytest.importorskip("ziamath")
    from fontTools.ttLib import TTFont

    write_font(tmp_path / "_static" / "math.woff")
    font = TTFont(tmp_path / "_static" / "math.woff")
    assert "MATH" in font
    assert {0x78, 0x3C3, 0x2202, 0x2211, 0x2295, 0x1D465, 0x1D53C} <= set(font.getBestCmap())
    assert (tmp_path / "_static" / "math.woff").stat().st_size < 400_000
