"""The equations of docstrings as mathematics."""

from __future__ import annotations

import inspect
import re
import xml.etree.ElementTree as ET

import pytest

pytest.importorskip("docutils.utils.math.latex2mathml")

import minibnn
from website.equations import Cell, Row, rows, table

NAMESPACE = "{http://www.w3.org/1998/Math/MathML}"


# Letters and signs of mathematics, by those of a keyboard.
PLAIN = {
    "\N{MINUS SIGN}": "-",
    "\N{MATHEMATICAL SANS-SERIF CAPITAL T}": "T",
    "\N{MATHEMATICAL BOLD DIGIT ONE}": "1",
    "\N{MODIFIER LETTER CIRCUMFLEX ACCENT}": "^",
    "\N{PRIME}": "'",
    "\N{LEFTWARDS ARROW}": "<-",
    "\N{LESS-THAN OR EQUAL TO}": "<=",
    "\N{GREATER-THAN OR EQUAL TO}": ">=",
    "\N{DOT OPERATOR}": "*",
    "\N{HORIZONTAL ELLIPSIS}": "..",
    "\N{N-ARY SUMMATION}": "sum",
    "\N{GREEK SMALL LETTER ALPHA}": "alpha",
    "\N{GREEK SMALL LETTER BETA}": "beta",
    "\N{GREEK SMALL LETTER GAMMA}": "gamma",
    "\N{GREEK SMALL LETTER DELTA}": "delta",
    "\N{GREEK LUNATE EPSILON SYMBOL}": "epsilon",
    "\N{GREEK CAPITAL LETTER DELTA}": "Delta",
}


def tree(html):
    html = html.replace("&ApplyFunction;", "")
    for sign, plain in PLAIN.items():
        html = html.replace(sign, plain if plain[0] != "<" else f"&lt;{plain[1:]}")
    return ET.fromstring(f"<div>{html}</div>")


def shape(html):
    """The elements of the only equation in a cell, as nested lists of their texts."""

    def of(element):
        kind = element.tag.removeprefix(NAMESPACE)
        inner = [of(child) for child in element if len(child) or child.text]
        if kind in ("math", "mrow"):
            return inner[0] if len(inner) == 1 else inner
        return {kind: inner} if inner else element.text

    (math,) = tree(html)
    return of(math)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dx", ["d", "x"]),
        ("beta1 m", [{"msub": ["beta", "1"]}, "m"]),
        ("x.T dz", [{"msup": ["x", "T"]}, "d", "z"]),
        ("B[i].T", ["B", "[", "i", {"msup": ["]", "T"]}]),
        ("x_hat", {"mover": ["x", "^"]}),
        ("m^ + v", [{"mover": ["m", "^"]}, "+", "v"]),
        ("dWq", ["d", {"msub": ["W", "q"]}]),
        ("h_(i-1)", {"msub": ["h", ["i", "-", "1"]]}),
        ("a (b + c) / (2 m) d", ["a", {"mfrac": [["b", "+", "c"], ["2", "m"]]}, "d"]),
        ("-1/(N K)", ["-", {"mfrac": ["1", ["N", "K"]]}]),
        ("tanh(x) / m", {"mfrac": [["tanh", "(", "x", ")"], "m"]}),
        ("sqrt(v^) + g^2", [{"msqrt": [{"mover": ["v", "^"]}]}, "+", {"msup": ["g", "2"]}]),
        ("2^round(log2 |x|)", {"msup": ["2", ["round", "(", {"msub": ["log", "2"]}, "|", "x", "|", ")"]]}),
        ("sum_n sum_k l", [{"munder": ["sum", "n"]}, {"munder": ["sum", "k"]}, "l"]),
        ("w <- w - padding_value", ["w", "<-", "w", "-", "padding_value"]),
        ("l'(y)", [{"msup": ["l", "'"]}, "(", "y", ")"]),
    ],
)  # fmt: skip
def test_the_notation(text, expected):
    assert shape(Cell(text).html) == expected


def test_a_sign_in_front_of_a_number_takes_no_room():
    """Alone with the number in a row it is a prefix."""
    (row,) = tree(Cell("y where x > 0, else -1").html)[2]
    assert row.tag == f"{NAMESPACE}mrow"
    assert [child.text for child in row] == ["-", "1"]


def test_words_are_text_and_lines_may_end_there():
    html = Cell("as if y were clip(x, -c, c), with m held fixed").html
    words = [tree(html).text, *(element.tail for element in tree(html))]
    assert [word.strip() for word in words] == ["as if", "were", "with", "held fixed"]


def test_names_beside_an_operator_are_no_words():
    assert len(tree(Cell("momentum u + g").html)) == 1
    assert tree(Cell("mean of x").html).text == "mean of "


BLOCK = """\
forward    y  = f(x),  z = 2 y           a note
             = g(x)
backward   dx = dy   where x >= 0
                                         goes on
           the same otherwise
"""


def test_lines_are_rows():
    assert rows(BLOCK) == [
        Row("forward", "y", "= f(x), z = 2 y", "a note"),
        Row("", "", "= g(x)", ""),
        Row("backward", "dx", "= dy", "where x >= 0"),
        Row("", "", "", "goes on"),
        Row("", "", "the same otherwise", ""),
    ]


@pytest.mark.parametrize(
    "text", ["a = (b", "a = b)", "a = |b", "a = b +", "a = (b +)", 'a = "b"', "a = b / "]
)
def test_what_is_no_equation_is_an_error(text):
    with pytest.raises(ValueError, match="equations: "):
        table(text)


def documented():
    """The docstrings of the reference, by name."""
    for name in minibnn.__all__:
        value = getattr(minibnn, name)
        yield name, inspect.getdoc(value) or ""
        for method in vars(value).values() if inspect.isclass(value) else ():
            if callable(method):
                yield f"{name}.{getattr(method, '__name__', '?')}", inspect.getdoc(method) or ""


def blocks():
    for name, text in documented():
        for match in re.finditer(r"^\.\. equations::\n\n((?: {4}.*\n?|\n)+)", text, re.M):
            yield pytest.param(inspect.cleandoc(match[1]), id=name)


@pytest.mark.parametrize("text", list(blocks()))
def test_nothing_of_an_equation_is_lost_or_moved(text):
    """All letters, digits and signs come in their order; brackets and bars may be drawn."""
    drawn = r"_hat\b|[\s()/_^]|sqrt"
    shown = re.sub(drawn, "", "".join(tree(table(text)).itertext()))
    assert shown == re.sub(drawn, "", re.sub(r"\.T\b", "T", text.replace("...", "..")))


def test_there_are_equations():
    assert len(list(blocks())) > 50
