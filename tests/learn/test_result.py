"""Results as text and as HTML."""

from __future__ import annotations

import json

from minibnn.learn.result import Line, Result, from_json, indented, unwrapped

WRONG = Line(
    "the sum", 0, 2, (("a sum without b", "The bias is missing in it."),), "f(x)\n  got  1"
)
RESULT = Result(
    "1.1",
    "Sums",
    (
        Line("the shape", 1, 1),
        WRONG,
        Line("the sum again", 0, 1, WRONG.mistakes, "g(x)\n  got  2"),
        Line("something else", 1, 3, details="Half."),
        Line("not begun", 0, 1, details="`...` is left in line 3.", done=False),
    ),
    notes=("Line 3 warns: overflow",),
)


def test_text():
    assert str(RESULT) == repr(RESULT) == RESULT.text()
    assert (
        RESULT.text()
        == """\
1.1  Sums

  right  1/1  the shape
  wrong  0/2  the sum
              This is a sum without b.
              The bias is missing in it.
              f(x)
                got  1

  wrong  0/1  the sum again
              As above: a sum without b.

  partly 1/3  something else
              Half.

  to do  0/1  not begun
              `...` is left in line 3.

  Line 3 warns: overflow

2 of 8 points."""
    )


def test_sums():
    assert (RESULT.points, RESULT.of, RESULT.ok, bool(RESULT)) == (2, 8, False, False)
    assert RESULT.mistakes == ["a sum without b"]
    right = Result("1.1", "Sums", (Line("the shape", 1, 1),))
    assert right
    assert right.text().endswith("1 of 1 points: all of them.")


def test_trouble_stands_first():
    text = Result("1.1", "Sums", (Line("a", 0, 1, done=False),), "It loops.").text()
    assert text == "1.1  Sums\n\n  It loops.\n\n  to do  0/1  a\n\n0 of 1 points."


def test_equal_details_are_told_once():
    lines = tuple(Line(title, 0, 1, details="NameError: x") for title in "ab")
    assert Result("1.1", "Sums", lines).text().count("NameError") == 1


def test_colours_are_asked_for():
    text = RESULT.text(lambda text, style: f"<{style}>{text}</>")
    assert "<green>right  </>" in text
    assert "<red>wrong  </>" in text
    assert "<bold>1.1  Sums</>" in text


def test_html():
    html = Result("1.1", "a < b", RESULT.lines, "x < y")._repr_html_()
    assert "a &lt; b" in html
    assert "x &lt; y" in html
    assert "a < b" not in html
    assert html.count("<tr>") == len(RESULT.lines)
    assert html.count("The bias is missing in it.") == 1
    assert html.count("<div") == html.count("</div>")


def test_lines_survive_json():
    line = json.loads(json.dumps(WRONG.__dict__))
    assert from_json(line) == WRONG


def test_long_lines_are_wrapped_and_shapes_and_code_are_not():
    text = indented(f"{'word ' * 14}(100, 100) end\n  {'code ' * 20}", "    ")
    assert text.splitlines()[0].endswith("word")
    assert text.splitlines()[1] == "    (100, 100) end"
    assert len(text.splitlines()[2]) > 80


def test_paragraphs_are_joined_and_code_and_lists_are_not():
    assert unwrapped("a\nb\n\nc\n    x = 1\n    y = 2\nd") == "a b\n\nc\n    x = 1\n    y = 2\nd"
    text = "two:\n1. one\n   or more\n2. two\n- and"
    assert unwrapped(text) == "two:\n1. one or more\n2. two\n- and"
    assert indented("1. " + "word " * 20, "  ").splitlines()[1].startswith("     word")
