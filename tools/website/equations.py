"""The equations of docstrings: plain text in `help`, mathematics in the reference.

.. code-block:: text

    forward    y  = 1/2 + clip(x, -1, 1)
    backward   dx = dy 1[|x| <= 1]         as if y were x

stands below ``.. equations::``. Each line becomes a row: a label (`LABELS`), what is left of the
first ``=``, ``<-`` or ``+=``, the rest, and, after two or more spaces, a note. A line that begins
farther to the right goes on with the line above.

Letters are italic, ``beta1`` is Greek, ``x_hat`` and ``m^`` have a hat, ``Wq`` and ``h_i`` a
subscript, ``x.T`` is a transpose, ``1[...]`` is 1 where the condition holds. Only what stands right
beside a ``/`` is in its fraction: of ``2 a / (1 + b) c``, a and 1 + b.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from typing import Any

from website.mathml import mathml

LABELS = ["forward", "backward", "training", "evaluation"]
GREEK = ["alpha", "beta", "gamma", "delta", "epsilon", "Delta"]
FUNCTIONS = ["cosh", "exp", "log", "max", "min", "tanh"]  # that LaTeX has
SYMBOLS = {"<-": r"\leftarrow", "<=": r"\le", ">=": r"\ge", "*": r"\cdot"}
SYMBOLS |= {"...": r"\ldots", "..": r"\ldots"}
RELATIONS = ["=", "<-", "<=", ">=", "+=", "<", ">"]
TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?)"
    r"|(?P<word>[A-Za-z]+(?:_?\w+)*_?(?:\.[A-Za-z]\w*)*(?:'s?)?)"
    r"|(?P<mark><-|<=|>=|\+=|\.\.\.|\.\.|\.T\b|[-+=<>/*,;:^|()\[\]])"
)


@dataclass(frozen=True)
class Token:
    """A number, a word or a mark, and whether a space stands before it."""

    kind: str
    text: str
    spaced: bool


def tokens(text: str) -> list[Token]:
    """The tokens of a line.

    Raises:
        ValueError: for a character that equations do not have.
    """
    found, at = [], 0
    for match in TOKEN.finditer(text):
        gap = text[at : match.start()]
        if gap.strip():
            break
        found.append(Token(str(match.lastgroup), match[0], bool(gap)))
        at = match.end()
    if text[at:].strip():
        raise ValueError(f"equations: expected words, numbers and signs, got {text[at:]!r}")
    return found


@dataclass
class Atom:
    """LaTeX of a piece, and how it may be joined to others."""

    latex: str
    spaced: bool = False
    kind: str = "term"  # or "prose", "sign", "comma"
    inner: str | None = None  # of parentheses, without them
    plain: str = ""  # prose as it stands
    sign: str = ""  # that stands before it, where it is no operator


def word(text: str) -> str:
    r"""LaTeX of a name.

    >>> word("beta1"), word("x_hat"), word("dWq"), word("h_1"), word("padding_value")
    ('\\beta_{1}', '\\hat{x}', 'dW_{q}', 'h_{1}', '\\text{padding_value}')
    """
    if text.endswith("'"):
        return rf"{word(text[:-1])}^{{\prime}}"
    text, _, method = text.partition(".")
    if method == "T":
        return rf"{word(text)}^{{\mathsf{{T}}}}"
    if method:
        return rf"\text{{{text}.{method}}}"
    name, _, below = text.partition("_")
    if below == "hat":
        return rf"\hat{{{word(name)}}}"
    if len(below) > 2:
        return rf"\text{{{text}}}"
    if digits := re.fullmatch(r"([A-Za-z]|[a-z]+)(\d+)", name):
        name, below = digits[1], digits[2]
    d = "d" if re.match(r"d(?:[A-Za-z]q?|beta|gamma|var|logits)$", name) else ""
    name = name[len(d) :]
    if len(name) == 2 and name[1] == "q":
        name, below = name[0], "q"
    if name in GREEK or name in FUNCTIONS:
        name = rf"\{name}"
    elif len(name) > 1:
        name = rf"\mathrm{{{name}}}"
    return d + name + (f"_{{{below}}}" if below else "")


NAMED = ["clip", "round", "sign", "softmax"]
OPERATORS = [*RELATIONS, "+", "-", "*", "/"]


class Cell:
    """Reads one cell of a row by recursive descent; `html` is the result."""

    def __init__(self, text: str) -> None:
        self.tokens, self.at = tokens(text), 0
        atoms = self.sequence("")
        if self.at < len(self.tokens):
            raise ValueError(f"equations: nothing opens {self.tokens[self.at].text!r} in {text!r}")
        self.html = runs(atoms)

    def peek(self, text: str, *, close: bool = False) -> bool:
        """Whether this token is next; `close`: without a space before it."""
        if self.at == len(self.tokens):
            return False
        token = self.tokens[self.at]
        return token.text == text and not (close and token.spaced)

    def sequence(self, end: str) -> list[Atom]:
        """Atoms up to the token `end`, which is left there."""
        atoms: list[Atom] = []
        while self.at < len(self.tokens) and self.tokens[self.at].text not in (end, ")", "]"):
            token = self.tokens[self.at]
            if token.text == "/" and atoms:
                self.at += 1
                above, below = atoms.pop(), self.atom()
                latex = rf"\frac{{{above.inner or above.latex}}}{{{below.inner or below.latex}}}"
                atoms.append(Atom(latex, above.spaced, sign=above.sign))
            elif token.text in ("+", "-") and (not atoms or atoms[-1].kind != "term"):
                self.at += 1
                signed = self.atom()
                signed.spaced, signed.sign = token.spaced, token.text
                atoms.append(signed)
            else:
                atoms.append(self.atom())
        if atoms and atoms[-1].kind == "sign":
            raise ValueError("equations: nothing stands behind an operator")
        return atoms

    def group(self, end: str) -> str:
        """What stands before a bracket that closes, which is taken."""
        inner = joined(self.sequence(end))
        if not self.peek(end):
            raise ValueError(f"equations: a {end!r} is missing")
        self.at += 1
        return inner

    def atom(self) -> Atom:
        """The next piece, with its brackets, hat and power."""
        if self.at == len(self.tokens):
            raise ValueError("equations: nothing stands behind an operator")
        token = self.tokens[self.at]
        self.at += 1
        atom = self.base(token)
        if atom.kind == "term" and self.peek("^", close=True):
            self.at += 1
            ahead = self.tokens[self.at] if self.at < len(self.tokens) else None
            if ahead is None or ahead.spaced or ahead.text in (")", ",", "]"):
                return Atom(rf"\hat{{{atom.latex}}}", token.spaced)
            power = self.atom()
            return Atom(f"{atom.latex}^{{{power.inner or power.latex}}}", token.spaced)
        return atom

    def base(self, token: Token) -> Atom:
        """A token, and the brackets that belong to it."""
        text, spaced = token.text, token.spaced
        if text == "(":
            inner = self.group(")")
            return Atom(f"({inner})", spaced, inner=inner)
        if text == "[":
            return Atom(f"[{self.group(']')}]", spaced)
        if text == "|":
            return Atom(f"|{self.group('|')}|", spaced)
        if token.kind == "mark":
            kind = "comma" if text in (",", ";", ":", "+=") else "sign"
            kind = "term" if text[:2] == ".." else kind  # dots stand for a number
            return Atom(SYMBOLS.get(text, text), spaced, kind, plain=text)
        if token.kind == "number":
            if text == "1" and self.peek("[", close=True):
                self.at += 1
                return Atom(rf"\mathbf{{1}}[{self.group(']')}]", spaced)
            return Atom(text, spaced)
        if text == "sqrt" and self.peek("(", close=True):
            self.at += 1
            return Atom(rf"\sqrt{{{self.group(')')}}}", spaced)
        if text == "sum" or text.startswith("sum_"):
            return self.sum(text, spaced)
        if text.endswith("_") and self.peek("(", close=True):  # h_(i-1)
            self.at += 1
            return Atom(f"{word(text[:-1])}_{{{self.group(')')}}}", spaced)
        if self.is_prose(text):
            return Atom(rf"\text{{{text}}}", spaced, "prose", plain=text)
        latex = word(text)
        if text in NAMED and self.peek("(", close=True):
            latex = rf"\operatorname{{{text}}}"
        while self.peek("(", close=True) or self.peek("[", close=True):
            opened = self.tokens[self.at].text
            self.at += 1
            close = ")" if opened == "(" else "]"
            latex += f"{opened}{self.group(close)}{close}"
        if self.peek(".T", close=True):
            self.at += 1
            latex += r"^{\mathsf{T}}"
        return Atom(latex, spaced)

    def sum(self, text: str, spaced: bool) -> Atom:
        """The sign of a sum, or the word in front of "of" and "over"."""
        if text == "sum" and any(map(self.peek, ("of", "over", "to"))):
            return Atom(r"\text{sum}", spaced, "prose", plain=text)
        return Atom(r"\sum" + (f"_{{{text[4:]}}}" if text != "sum" else ""), spaced)

    def is_prose(self, text: str) -> bool:
        """Whether a word is English: long, known for nothing, and beside no operator."""
        if "'" in text:  # of a letter, the derivative
            return len(text) > 2
        bare = re.fullmatch(r"[A-Za-z]?[a-z]+", text) is not None
        named = text in GREEK or text in FUNCTIONS or text in NAMED or word(text)[0] == "d"
        if not bare or len(text) == 1 or named or re.fullmatch(r"[A-Z]q", text):
            return False
        after = self.tokens[self.at : self.at + 2]
        if len(after) == 2 and after[0].text in ("+", "-") and after[0].spaced > after[1].spaced:
            return True  # in front of a signed number
        after = after[:1]
        before = self.tokens[max(self.at - 2, 0) : self.at - 1]
        if after and not after[0].spaced and after[0].text in ("(", "[", "^"):
            return False
        return not any(t.text in OPERATORS for t in (*before, *after))


def joined(atoms: list[Atom]) -> str:
    """LaTeX of a sequence."""
    latex, last = "", None
    for atom in atoms:
        if last is not None and atom.spaced:
            if "prose" in (atom.kind, last.kind):
                latex += r"\ "
            elif atom.kind == last.kind == "term" and last.latex[1:] not in FUNCTIONS:
                latex += r"\,"
        # In braces a sign is a prefix, without room around it.
        piece = f"{{{atom.sign}{atom.latex}}}" if atom.sign else atom.latex
        latex += (" " if latex else "") + piece
        last = atom
    return latex


def runs(atoms: list[Atom]) -> str:
    """HTML of a sequence: prose as text, so that lines can end there, the rest as MathML."""
    text, run = "", list[Atom]()

    def add(piece: str, spaced: bool) -> None:
        nonlocal text
        text += " " * (spaced and bool(text)) + piece

    def flush(comma: str = "") -> None:
        if run:
            element = mathml(joined(run), False)
            # No line ends before the comma.
            add(
                f'<span class="nobreak">{element}{comma}</span>' if comma else element,
                run[0].spaced,
            )
            run.clear()

    for atom in atoms:
        if atom.kind == "comma" and run and not atom.spaced:
            flush(atom.plain)
        elif atom.kind in ("prose", "comma"):
            flush()
            add(html.escape(atom.plain), atom.spaced)
        else:
            run.append(atom)
    flush()
    return text


@dataclass
class Row:
    """One line: its label, both sides of its first relation, and a note."""

    label: str = ""
    left: str = ""
    right: str = ""
    note: str = ""


def first_relation(text: str) -> int:
    """Where the first ``=``, ``<-`` or ``+=`` outside of brackets begins, or -1."""
    depth = 0
    for match in re.finditer(r"[(\[]|[)\]]|<-|\+=|[<>]=|=", text):
        if match[0] in "([":
            depth += 1
        elif match[0] in ")]":
            depth -= 1
        elif depth == 0 and match[0] not in ("<=", ">="):
            return match.start()
    return -1


def rows(text: str) -> list[Row]:
    """The lines of a block, as text."""
    lines = [line for line in text.splitlines() if line.strip()]
    labels = [m for line in lines if (m := re.match(rf"(?:{'|'.join(LABELS)})  +", line))]
    start = min((m.end() for m in labels), default=0)  # the column of equations
    found, notes = list[Row](), list[int]()
    for line in lines:
        row = Row()
        if label := re.match(rf"({'|'.join(LABELS)})  +", line):
            row.label, line = label[1], " " * label.end() + line[label.end() :]
        column = len(line) - len(line.lstrip())
        chunks = [(m.start(), m[0]) for m in re.finditer(r"\S+(?: \S+)*", line)]
        main = chunks.pop(0)[1]
        while chunks and (
            re.match(r"=|<-|\+=", chunks[0][1])
            or re.search(r"(^|\s)(=|<-)$", main)
            or (main[-1] == "," and "=" in chunks[0][1])
        ):
            main += " " + chunks.pop(0)[1]
        row.note = " ".join(chunk for _, chunk in chunks)
        if chunks:
            notes.append(chunks[0][0])
        at = first_relation(main)
        if column > start and notes and column >= min(notes):
            row.note = main  # goes on with a note
        elif column > start or at < 0:
            row.right = main
        else:
            row.left, row.right = main[:at].strip(), main[at:]
        found.append(row)
    return found


def table(text: str) -> str:
    """The HTML of a block of equations.

    Raises:
        ValueError: for a line that is no equation.
    """
    found = rows(text)
    columns = [name for name in ("label", "left", "right", "note")
               if any(getattr(row, name) for row in found)]  # fmt: skip
    parts = []
    for row in found:
        cells = [f'<td class="{name}">{Cell(getattr(row, name)).html}</td>' for name in columns]
        parts.append(f"<tr>{''.join(cells)}</tr>")
    return f'<div class="equations"><table>{"".join(parts)}</table></div>\n'


def setup(app: Any) -> dict[str, bool]:
    """Register the directive; Sphinx calls this."""
    from docutils import nodes
    from sphinx.util.docutils import SphinxDirective
    from sphinx.util.logging import getLogger

    class Equations(SphinxDirective):
        has_content = True

        def run(self) -> list[Any]:
            text = "\n".join(self.content)
            try:
                return [nodes.raw("", table(text), format="html")]
            except ValueError as error:
                getLogger(__name__).warning("%s", error, location=self.get_location())
                return [nodes.literal_block(text, text)]

    app.add_directive("equations", Equations)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
