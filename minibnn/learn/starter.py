"""The starter file of an exercise: the reference solution with its holes cut out.

In the solution a statement whose line ends with ``# hole: what to do`` loses its right-hand side,
and the lines from ``# hole: what to do`` to ``# end of hole`` become one. Both turn into ``...``,
which the check finds again, with its line.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize

from minibnn.learn.exercise import Exercise

HOLE = re.compile(r"#\s*hole\b:?\s*(.*)")
END = re.compile(r"#\s*end of hole\b")


def starter(exercise: Exercise) -> str:
    """The text of the starter file."""
    title, text = f"{exercise.id}  {exercise.title}", exercise.text
    checked = f"Check it with:  python -m minibnn learn check {exercise.id}"
    source = exercise.solution
    docstring = ast.parse(source).body[0]
    rest = source.splitlines()[docstring.end_lineno :]
    raw = "r" if "\\" in text else ""
    head = f'{raw}"""{title}\n\n{text}\n\n{checked}\n"""\n'
    return f"{head}\n{cut_holes(chr(10).join(rest))}\n"


def cut_holes(source: str) -> str:
    r"""The source with ``...`` in each marked hole.

    >>> print(cut_holes("def f(x):\n    return x + 1  # hole: the next number"))
    def f(x):
        return ...  # TODO: the next number
    """
    lines = source.splitlines()
    statements = [n for n in ast.walk(ast.parse(source)) if isinstance(n, ast.stmt)]
    first_of_block = None
    for token in reversed(_comments(source)):
        row = token.start[0] - 1
        if END.match(token.string):
            first_of_block = row
            continue
        hole = HOLE.match(token.string)
        if not hole:
            continue
        before = lines[row][: token.start[1]]
        comment = "TODO" + (f": {hole[1]}" if hole[1] else "")
        if before.strip():
            ending = [s for s in statements if s.end_lineno == row + 1]
            statement = max(ending, key=lambda s: (s.lineno, s.col_offset))
            lines[statement.lineno - 1 : row + 1] = [f"{_head(lines, statement)}...  # {comment}"]
        elif first_of_block is None:
            raise ValueError(f"line {row + 1}: expected # end of hole after {token.string!r}")
        else:
            lines[row : first_of_block + 1] = [f"{before}...  # {comment}"]
            first_of_block = None
    return "\n".join(lines).strip("\n")


def without_marks(source: str) -> str:
    r"""The solution as people read it, without the marks of its holes.

    >>> without_marks("y = 1  # hole: the number")
    'y = 1\n'
    """
    lines = source.splitlines(keepends=True)
    for token in reversed(_comments(source)):
        if HOLE.match(token.string) or END.match(token.string):
            row, column = token.start
            before = lines[row - 1][:column].rstrip()
            lines[row - 1 : row] = [f"{before}\n"] if before else []
    return "".join(lines)


def _comments(source: str) -> list[tokenize.TokenInfo]:
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return [token for token in tokens if token.type == tokenize.COMMENT]


def _head(lines: list[str], statement: ast.stmt) -> str:
    """What stands before the statement's value: ``z = `` or ``return ``."""
    value = getattr(statement, "value", None)
    if not isinstance(value, ast.expr):
        raise ValueError(f"line {statement.lineno}: expected `name = value` or `return value`")
    before = lines[statement.lineno - 1 : value.lineno]
    before[-1] = before[-1].encode()[: value.col_offset].decode()  # offsets count bytes
    return "\n".join(before).rstrip("( \n") + " "


def holes_in(source: str) -> dict[str, list[int]]:
    r"""The lines with holes that are left, by the function or class at the top that has them.

    >>> holes_in("def f(x):\n    return ...\ndef g(x):\n    return x[..., 0]")
    {'f': [2], 'g': []}
    """
    found = {}
    for top in ast.parse(source).body:
        if isinstance(top, ast.FunctionDef | ast.ClassDef):
            statements = [n for n in ast.walk(top) if isinstance(n, ast.stmt)]
            lines = {s.lineno for s in statements if _is_hole(s)}
            found[top.name] = sorted(lines)
    return found


def _is_hole(node: ast.stmt) -> bool:
    """Whether it is ``...``, ``return ...`` or ``name = ...``; an index ``x[..., 0]`` is none."""
    kinds = ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Return | ast.Expr
    value = node.value if isinstance(node, kinds) else None
    return isinstance(value, ast.Constant) and value.value is Ellipsis
