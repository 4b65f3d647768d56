"""Every piece of advice that the package gives, found in its source, and how a test follows one.

Advice is found without looking at its meaning. A text is a string or f-string of the package that
is no docstring, with `{}` in the place of each value. It gives advice

- as a whole, if it is a hint by name: an argument `hint` or `cause`, a variable of such a
  name, or what a function of such a name returns;
- behind its first ``;``, as all error messages do (but ``; default: ...``, in an option's help);
- as a whole, if it has one of the `PHRASES`.

C and HTML have few texts that ask for something: `#error` lines and what `OTHERS` names. What
matches and asks for nothing is listed in `test_advice.INFORMATION`.
"""

from __future__ import annotations

import ast
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

PACKAGE = Path(__file__).parents[2] / "minibnn"
HINT = re.compile(r"hint|cause|advice", re.IGNORECASE)
PHRASES = re.compile(r" needs? |pip install|such as|did you mean|please")
OTHERS = {
    "export/c_parts.h": r'#error "(.*)"',
    "export/page.html": r'role="alert">([^<]*)</p>|([^"]*; get the file anew\.)',
    "export/training_page.html": r'role="alert">([^<]*)</p>|([^"]*; get the file anew\.)',
}

Advice = tuple[str, str]  # room, text


def find_advice() -> set[Advice]:
    """All that the package gives, by room: what moves within its room is the same advice."""
    trees = {
        path: ast.parse(path.read_text(encoding="utf-8"))
        for path in sorted(PACKAGE.rglob("*.py"))
        if path.parent.name != "exercises"  # hints for learners, who are free to take them
    }
    everywhere = _hint_places(*trees.values())
    found = set()
    for path, tree in trees.items():
        reader = _Reader(tree, {**everywhere, **_hint_places(tree)})
        found |= {(room_of(path), text) for text in reader.read()}
    for file, pattern in OTHERS.items():
        for match in re.finditer(pattern, (PACKAGE / file).read_text(encoding="utf-8")):
            text = " ".join(match[match.lastindex or 0].split())
            found.add((room_of(PACKAGE / file), text))
    return found


def room_of(path: Path) -> str:
    """The folder or the file right in the package."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _hint_places(*trees: ast.Module) -> dict[str, int]:
    """Which argument is the hint, by the name of the function or class."""
    places: dict[str, int] = {}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                names = [n.target.id for n in node.body if isinstance(n, ast.AnnAssign)]
                init = [f for f in node.body if getattr(f, "name", "") == "__init__"]
                names = [a.arg for a in init[0].args.args[1:]] if init else names
            elif isinstance(node, ast.FunctionDef):
                names = [a.arg for a in node.args.args if a.arg != "self"]
            else:
                continue
            hints = [i for i, name in enumerate(names) if HINT.search(name)]
            if hints:
                places[node.name] = hints[0]
    return places


class _Reader:
    """Takes the advice out of one file."""

    def __init__(self, tree: ast.Module, places: dict[str, int]) -> None:
        self.tree = tree
        self.places = places
        self.constants = {
            target.id: node.value
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        self.functions = {n.name: n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}

    def read(self) -> set[str]:
        hints = {id(text): text for node in ast.walk(self.tree) for text in self.hints(node)}
        found = {self.template(text) for text in hints.values()}
        ignored = {id(part) for node in ast.walk(self.tree) for part in _no_texts(node)}
        for node in ast.walk(self.tree):
            if id(node) in ignored or id(node) in hints or not _is_text(node):
                continue
            text = self.template(node)
            behind = text.partition(";")[2]
            if behind.strip() and not behind.startswith(" default: "):
                found.add(behind)
            elif PHRASES.search(text):
                found.add(text)
        plain = {" ".join(text.removeprefix(";").split()) for text in found}
        return {text for text in plain if re.search(r"[a-z]{2}", text)}

    def hints(self, node: ast.AST) -> Iterator[ast.expr]:
        """The texts that `node` makes a hint."""
        if isinstance(node, ast.Call):
            yield from (
                t for k in node.keywords if HINT.search(k.arg or "") for t in self.texts(k.value)
            )
            name = getattr(node.func, "id", getattr(node.func, "attr", ""))
            at = self.places.get(name)
            if at is not None and at < len(node.args):
                yield from self.texts(node.args[at])
        elif isinstance(node, ast.FunctionDef):
            pairs = zip(reversed(node.args.args), reversed(node.args.defaults), strict=False)
            yield from (
                t for a, default in pairs if HINT.search(a.arg) for t in self.texts(default)
            )
            if HINT.search(node.name):
                yield from (t for value in _returned(node) for t in self.texts(value))
        elif isinstance(node, ast.Assign | ast.For | ast.AugAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            value = node.iter if isinstance(node, ast.For) else node.value
            if isinstance(target, ast.Name) and HINT.search(target.id):
                yield from self.texts(value)
            if isinstance(target, ast.Tuple):
                for i, part in enumerate(target.elts):
                    if isinstance(part, ast.Name) and HINT.search(part.id):
                        yield from (t for item in self.items(value, i) for t in self.texts(item))

    def items(self, value: ast.expr, i: int) -> Iterator[ast.expr]:
        """Number `i` of each tuple that `value` can be, or that a loop over it gives."""
        if isinstance(value, ast.Name):
            value = self.constants.get(value.id, value)
        if isinstance(value, ast.Tuple):
            rows = [e for e in value.elts if isinstance(e, ast.Tuple)]
            yield from (row.elts[i] for row in rows) if rows else [value.elts[i]]
        if isinstance(value, ast.Call) and getattr(value.func, "id", "") in self.functions:
            returned = _returned(self.functions[value.func.id])
            yield from (r.elts[i] for r in returned if isinstance(r, ast.Tuple))

    def texts(self, value: ast.expr) -> Iterator[ast.expr]:
        """The texts that an expression can be."""
        if _is_text(value):
            yield value
        elif isinstance(value, ast.IfExp):
            yield from (t for part in (value.body, value.orelse) for t in self.texts(part))
        elif isinstance(value, ast.Dict):
            yield from (t for part in value.values for t in self.texts(part))
        elif isinstance(value, ast.BinOp):
            yield from (t for part in (value.left, value.right) for t in self.texts(part))
        elif isinstance(value, ast.Name) and value.id in self.constants:
            yield from self.texts(self.constants[value.id])

    def template(self, text: ast.expr) -> str:
        """A text with `{}` in the place of values, but for the file's own constants."""
        if isinstance(text, ast.Constant):
            return str(text.value)
        return "".join(map(self.part, text.values))

    def part(self, part: ast.expr) -> str:
        if isinstance(part, ast.Constant):
            return str(part.value)
        known = self.constants.get(getattr(part.value, "id", ""))
        if known is None or not _is_text(known):
            return "{}"
        return repr(self.template(known)) if part.conversion == ord("r") else self.template(known)


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )


def _returned(function: ast.FunctionDef) -> list[ast.expr]:
    return [n.value for n in ast.walk(function) if isinstance(n, ast.Return) and n.value]


def _no_texts(node: ast.AST) -> Iterator[ast.AST]:
    """Docstrings and other strings that stand alone; parts of f-strings."""
    if isinstance(node, ast.Expr):
        yield node.value
    if isinstance(node, ast.JoinedStr):
        yield from (v for v in node.values if isinstance(v, ast.Constant))
    if isinstance(node, ast.FormattedValue) and node.format_spec is not None:
        yield node.format_spec


# --- following it ---------------------------------------------------------------------------------


def said(advice: str, text: str) -> bool:
    """Whether a text that a person saw has this advice in it."""
    parts = (re.escape(part) for part in " ".join(advice.split()).split("{}"))
    return re.search(".*".join(parts), " ".join(text.split()), re.DOTALL) is not None


@contextmanager
def advised(room: str, advice: str) -> Iterator[Any]:
    """Expect an error with this advice, from this room of the package, or a file in it.

    What is yielded has the error's whole text as `text`, so that its values can be used.
    """
    caught = SimpleNamespace(text="")
    try:
        yield caught
    except Exception as error:
        caught.text = str(error)
        assert said(advice, caught.text), f"expected {advice!r} in {caught.text!r}"
        rooms = {room_of(path) for path in _through(error) if path.is_relative_to(PACKAGE)}
        assert room_of(PACKAGE / room) in rooms, f"{room} is not among {sorted(rooms)}"
    else:
        raise AssertionError(f"expected an error with the advice {advice!r}, got none")


def _through(error: BaseException | None) -> Iterator[Path]:
    """The files that an error has come through, and those before it."""
    while error is not None:
        yield from (Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__))
        error = error.__cause__ or error.__context__


def shows(room: str, advice: str, text: str) -> None:
    """Expect this advice of this room in a text: a report, a warning, a command's output."""
    assert room_of(PACKAGE / room)
    assert said(advice, text), f"expected {advice!r} in {text!r}"


def followed(tests: Path, found: set[Advice]) -> set[Advice]:
    """What of the advice found stands in the texts that tests give to `advised` and `shows`."""
    named = set()
    for path in sorted(tests.glob("test_advice*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "id", "")
            if name in ("advised", "shows"):
                room, advice = node.args[:2]
                named.add((room_of(PACKAGE / room.value), advice.value))
    return {
        (room, text)
        for room, text in found
        if any(room == there and said(text, advice) for there, advice in named)
    }
