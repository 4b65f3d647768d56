"""HTML for notebooks: content as text, alignment, rules, and no colour."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from minibnn.html_tables import html_line, html_report, html_table


class Reader(HTMLParser):
    """Reads HTML as a browser does: the cells of each row, each with its tag and its style."""

    def __init__(self, text):
        super().__init__()
        self.open, self.rows, self.words = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        style = dict(attributes).get("style", "")
        if tag == "tr":
            self.rows.append((style, []))
        elif tag in ("td", "th"):
            self.rows[-1][1].append([tag, style, ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)
        if self.open[-1] in ("td", "th"):
            self.rows[-1][1][-1][2] += data


TOTALS = ("total", 30, "")
ROWS = [("a", 10, "x"), ("b", 20, "y")]


def test_a_table_of_texts_and_numbers():
    rows = Reader(html_table(["name", "n", "kind"], ROWS, names=(0, 2))).rows
    assert [[cell for _, _, cell in cells] for _, cells in rows] == [
        ["name", "n", "kind"], ["a", "10", "x"], ["b", "20", "y"],
    ]  # fmt: skip
    assert [{tag for tag, _, _ in cells} for _, cells in rows] == [{"th"}, {"td"}, {"td"}]
    for _, cells in rows:
        aligned = [re.search(r"text-align: (\w+)", style)[1] for _, style, _ in cells]
        assert aligned == ["left", "right", "left"]
    assert ["border-bottom" in style for style, _ in rows] == [True, False, False]


def test_totals_stand_below_a_rule():
    rows = Reader(html_table(["name", "n", "kind"], iter(ROWS), total=TOTALS)).rows
    assert [cell for _, _, cell in rows[-1][1]] == ["total", "30", ""]
    assert {tag for tag, _, _ in rows[-1][1]} == {"th"}
    assert ["border-bottom" in style for style, _ in rows] == [True, False, True, False]


def test_content_is_text():
    hostile = "<script>alert(1)</script> & </td> \ud800"
    text = html_report(html_line(hostile), html_line(hostile, strong=True),
                       html_table([hostile], [[hostile]], total=[hostile]))  # fmt: skip
    assert "<script" not in text
    assert text.encode("utf-8")
    shown = hostile.replace("\ud800", "?")
    assert "".join(Reader(text).words) == 5 * shown


def test_a_strong_line_is_strong():
    assert "strong" in Reader(html_line("x", strong=True)).get_starttag_text()
    assert "strong" not in html_line("x")


def test_the_theme_keeps_its_colours():
    text = html_report(html_line("a"), html_table(["b"], [["c"]], total=["d"]))
    assert not re.search(r"colou?r|background|#[0-9a-f]{3}|rgb", text)


def test_on_a_narrow_screen_sentences_keep_a_width_and_the_table_scrolls():
    table = html_table(["name", "meaning"], [("a", "24 characters, not more."), ("b", "x" * 25)])
    _, short, long = Reader(table).rows
    assert "min-width" not in short[1][1][1]
    assert "min-width: 10em" in long[1][1][1]
    assert table.startswith('<div style="overflow-x: auto"><table')
