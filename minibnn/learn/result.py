"""Results of checks, as text for a terminal and as HTML for a notebook."""

from __future__ import annotations

import html
import itertools
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

WIDTH = 79
_ITEM = re.compile(r"(-|\d+\.) ")
_TUPLE = re.compile(r"\(\d+(, \d+)+\)")


@dataclass(frozen=True)
class Line:
    """The result of one check.

    Attributes:
        title: what was checked.
        points: the points for it.
        of: the points that there are.
        mistakes: names and messages of the typical wrong answers that this one is equal to.
        details: what is wrong, in words; lines that begin with a space are not wrapped.
        done: False if the check could not run, since a hole is left, or the function is missing.
    """

    title: str
    points: int
    of: int
    mistakes: tuple[tuple[str, str], ...] = ()
    details: str = ""
    done: bool = True

    @property
    def ok(self) -> bool:
        """Whether it has all points."""
        return self.points == self.of


@dataclass(frozen=True, repr=False)
class Result:
    """The result of an exercise: true if it has all points, and prints as a table.

    Attributes:
        id: the exercise's number.
        title: its title.
        lines: the results of its checks.
        trouble: why the file as a whole cannot be checked, or was not checked to its end.
        notes: what the learner's code printed, and its warnings.
    """

    id: str
    title: str
    lines: tuple[Line, ...]
    trouble: str = ""
    notes: tuple[str, ...] = ()

    @property
    def points(self) -> int:
        """The points of all checks."""
        return sum(line.points for line in self.lines)

    @property
    def of(self) -> int:
        """The points that there are."""
        return sum(line.of for line in self.lines)

    @property
    def ok(self) -> bool:
        """Whether all checks have all points."""
        return self.points == self.of

    @property
    def short_trouble(self) -> str:
        """The trouble in a line: its first, and the next behind a colon."""
        first, *others = self.trouble.splitlines() or [""]
        return f"{first} {others[0].strip()}" if first.endswith(":") and others else first

    @property
    def mistakes(self) -> list[str]:
        """The names of the mistakes that were recognised, each once."""
        return list(dict.fromkeys(name for line in self.lines for name, _ in line.mistakes))

    def __bool__(self) -> bool:
        return self.ok

    def __repr__(self) -> str:
        return self.text()

    def text(self, paint: Callable[[str, str], str] = lambda text, style: text) -> str:
        """The result for a terminal of 80 columns.

        Args:
            paint: puts a colour, ``"green"``, ``"red"``, ``"yellow"`` or ``"bold"``, on a text.
        """
        heading = paint(f"{self.id}  {self.title}", "bold")
        blocks = [heading]
        if self.trouble:
            blocks.append(paint(indented(self.trouble, "  "), "red"))
        told: set[str] = set()
        rows = []
        for line in self.lines:
            word, colour = _word(line)
            rows.append(f"  {paint(f'{word:<7}', colour)}{line.points}/{line.of}  {line.title}")
            says = [paint(indented(text, " " * 14), style) for text, style in _says(line, told)]
            rows += [*says, ""] if says and line is not self.lines[-1] else says
        blocks.append("\n".join(rows))
        blocks += [indented(note, "  ") for note in self.notes]
        blocks.append(self.total(paint))
        return "\n\n".join(block for block in blocks if block)

    def total(self, paint: Callable[[str, str], str] = lambda text, style: text) -> str:
        """The last line: the points."""
        points = f"{self.points} of {self.of} points"
        return paint(f"{points}: all of them.", "green") if self.ok else f"{points}."

    def _repr_html_(self) -> str:
        rows = []
        told: set[str] = set()
        for line in self.lines:
            word, colour = _word(line)
            says = "".join(_block(text, *_HTML_STYLE[style]) for text, style in _says(line, told))
            cells = (
                (f"<b>{word}</b>", f"color:{_HTML[colour]}"),
                (f"{line.points}/{line.of}", ""),
                (html.escape(line.title) + says, ""),
            )
            rows.append("".join(_element("td", text, *_CELL, *style) for text, *style in cells))
        table = "".join(_element("tr", row) for row in rows)
        parts = [
            f"<b>{self.id}&ensp;{html.escape(self.title)}</b>",
            _block(self.trouble) if self.trouble else "",
            _element("table", table, *_TABLE),
            *map(_block, self.notes),
            html.escape(self.total()),
        ]
        return _element("div", "".join(parts))


_HTML = {"green": "#2e8540", "red": "#c5422f", "yellow": "#a07400"}  # on white and on black
_HTML_STYLE = {"bold": ("font-weight:600",), "": ()}
_TABLE = ("border:0", "margin:.4em 0", "color:inherit", "font-size:inherit")
_CELL = ("vertical-align:top", "text-align:left", "padding:.15em .8em .15em 0")


def _word(line: Line) -> tuple[str, str]:
    if line.ok:
        return "right", "green"
    if not line.done:
        return "to do", "yellow"
    return ("partly", "yellow") if line.points else ("wrong", "red")


def _says(line: Line, told: set[str]) -> list[tuple[str, str]]:
    """What is said below a line, and in which style. What has been said is not said again."""
    names = [name for name, _ in line.mistakes]
    if names and told.issuperset(names):
        return [(f"As above: {name}.", "") for name in names]
    said = []
    for name, message in line.mistakes:
        said.append((f"This is {name}.", "bold"))
        if name not in told:
            said.append((message, ""))
    if line.details:
        said.append(("As above." if line.details in told and line.done else line.details, ""))
    told.update(names, [line.details])
    return said


def _element(name: str, content: str, *style: str) -> str:
    shown = f' style="{";".join(filter(None, style))}"' if any(style) else ""
    return f"<{name}{shown}>{content}</{name}>"


def _block(text: str, *style: str) -> str:
    """A text; its lines that begin with a space, code or numbers, in letters of one width."""
    parts = []
    prose = ("white-space:pre-line", *style)
    for code, lines in itertools.groupby(text.splitlines(), lambda line: line.startswith(" ")):
        content = html.escape("\n".join(lines))
        font = ("white-space:pre", "font-family:monospace", "overflow-x:auto") if code else prose
        parts.append(_element("div", content, "margin:.2em 0", *font))
    return "".join(parts)


def unwrapped(text: str) -> str:
    r"""The text with each paragraph, and each item of a list, on one line; indented lines stay.

    >>> unwrapped("one\ntwo\n\n    x = 1\nthree")
    'one two\n\n    x = 1\nthree'
    """
    lines: list[str] = []
    for line in text.splitlines():
        before = lines[-1] if lines else ""
        item = _ITEM.match(before)
        own = line.removeprefix(" " * item.end()) if item else line  # what hangs under an item
        prose = bool(own) and not own.startswith(" ") and not _ITEM.match(own)
        if prose and before and not before.startswith(" "):
            lines[-1] += f" {own}"
        else:
            lines.append(line)
    return "\n".join(lines)


def indented(text: str, margin: str) -> str:
    """The text behind a margin; lines that do not begin with a space are wrapped.

    >>> print(indented("one two", "> "))
    > one two
    """
    lines = []
    for line in text.splitlines():
        if line.startswith(" ") or not line:
            lines.append((margin + line).rstrip())
            continue
        whole = _TUPLE.sub(lambda found: found[0].replace(" ", "\0"), line)  # stay on one line
        item = _ITEM.match(line)
        hanging = margin + " " * (item.end() if item else 0)
        wrapped = textwrap.wrap(
            whole, WIDTH, initial_indent=margin, subsequent_indent=hanging,
            break_long_words=False, break_on_hyphens=False,
        )  # fmt: skip
        lines += [w.replace("\0", " ") for w in wrapped]
    return "\n".join(lines)


def from_json(value: dict[str, Any]) -> Line:
    """A line from plain values."""
    return Line(**{**value, "mistakes": tuple(tuple(m) for m in value["mistakes"])})
