"""Figures within a page: colours of the page, names of their own, a description."""

from __future__ import annotations

import io
import re
import xml.etree.ElementTree as ET

import pytest

from website.figures import VARIABLES, figure

matplotlib = pytest.importorskip("matplotlib")


def drawn(colour="#2368d9"):
    """A figure of matplotlib as SVG, with a clip and a marker, which have names."""
    from matplotlib.figure import Figure

    made = Figure(figsize=(4, 3))
    axis = made.subplots()
    axis.plot([0, 1, 2], [0, 1, 0.5], "o-", color=colour)
    axis.set_title("a title", color="#1b2027")
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        made.savefig(text, format="svg")
    return text.getvalue()


def test_a_figure_takes_the_colours_of_the_page():
    element = figure(drawn(), "alt", "", "a")
    assert "var(--plot-0)" in element
    assert "var(--plot-ink)" in element
    assert not any(colour in element for colour in VARIABLES)
    assert "#123456" in figure(drawn("#123456"), "alt", "", "a")  # other colours stay


def test_two_figures_of_a_page_share_no_name():
    first, second = (figure(drawn(), "alt", "", name) for name in ("a", "b"))
    names = [set(re.findall(r'\bid="([^"]+)"', text)) for text in (first, second)]
    assert names[0]
    assert not names[0] & names[1]
    for text, own in zip((first, second), names, strict=True):
        used = set(re.findall(r'url\(#([^)]+)\)|xlink:href="#([^"]+)"', text))
        assert used
        assert {a or b for a, b in used} <= own


def test_a_figure_is_whole_and_says_what_it_shows():
    element = figure(drawn(), 'a "curve" & a line', "below < it", "a")
    root = ET.fromstring(element)
    svg, caption = root
    assert svg.attrib["aria-label"] == 'a "curve" & a line'
    assert svg.attrib["role"] == "img"
    assert caption.text == "below < it"
    assert root.attrib["style"] == "max-width: 384px"  # 4 inches of 72 points
    assert "metadata" not in element
    assert len(ET.fromstring(figure(drawn(), "alt", "", "a"))) == 1
