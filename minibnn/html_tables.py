"""HTML for notebooks: tables and sentences, which take the colours of the notebook's theme.

No colour is set, neither of text nor of a background, so that they can be read in light and in
dark. All content is escaped.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence

__all__ = ["html_line", "html_report", "html_table"]

_RULE = "border-bottom: 1px solid"  # in the colour of the text
_CELL = "vertical-align: top; padding: 0.2em 0.5em"
_SENTENCE = 24  # characters; a longer cell is prose


def html_report(*parts: str) -> str:
    """The HTML of a report: its lines and tables, one below the other.

    >>> html_report(html_line("2 < 3"))
    '<div><p style="margin: 0.3em 0">2 &lt; 3</p></div>'
    """
    return f"<div>{''.join(parts)}</div>"


def html_line(text: str, *, strong: bool = False) -> str:
    """A line of text, such as a title."""
    content = f"<strong>{_text(text)}</strong>" if strong else _text(text)
    return f'<p style="margin: 0.3em 0">{content}</p>'


def html_table(
    head: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    total: Sequence[object] | None = None,
    names: Iterable[int] = (0,),
) -> str:
    """A table with a head and, in bold, a row of totals.

    Args:
        head: the names of the columns.
        rows: of cells; each becomes text.
        total: the last row, below a rule.
        names: positions of the columns that hold texts, which are aligned to the left. The others
            hold numbers, aligned to the right.
    """
    left = set(names)
    rows = list(rows)
    parts = [_row("th", head, left, _RULE)]
    for i, row in enumerate(rows, start=1):
        parts.append(_row("td", row, left, _RULE if total and i == len(rows) else ""))
    body = "".join(parts[1:])
    foot = _row("th", total, left, "") if total else ""
    # The frame scrolls where the table is too wide for the screen.
    return (
        '<div style="overflow-x: auto"><table style="border-collapse: collapse">'
        f"<thead>{parts[0]}</thead><tbody>{body}{foot}</tbody></table></div>"
    )


def _row(tag: str, cells: Sequence[object], left: set[int], rule: str) -> str:
    styled = []
    for i, cell in enumerate(cells):
        text = _text(str(cell))
        style = f"text-align: {'left' if i in left else 'right'}; {_CELL}"
        if len(text) > _SENTENCE:
            style += "; min-width: 10em"  # or a narrow screen gives each word a line
        styled.append(f'<{tag} style="{style}">{text}</{tag}>')
    return f'<tr style="{rule}">{"".join(styled)}</tr>' if rule else f"<tr>{''.join(styled)}</tr>"


def _text(text: str) -> str:
    # A lone surrogate, from a file's name, say, cannot be encoded in a saved notebook.
    return html.escape(text.encode("utf-8", "replace").decode("utf-8"), quote=False)
