"""What exported web pages are made of: templates, JSON and bytes as text."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np

__all__ = ["base91", "filled", "script_json", "shortened", "template_of"]

_PLACE = re.compile(r"\{\{(\w+)\}\}")
_INCLUDE = re.compile(r"\s*// include (\w+\.js)")

# The digits of base 91: printable characters that have no special meaning in JSON and scripts.
_DIGITS = np.array([c for c in range(33, 127) if chr(c) not in '"\\<'], np.uint8)


def template_of(name: str) -> str:
    """A template of this folder; lines ``// include FILE`` are replaced by that file."""
    folder = resources.files(__package__)
    lines = []
    for line in folder.joinpath(name).read_text(encoding="utf-8").splitlines():
        found = _INCLUDE.fullmatch(line)
        lines.append(template_of(found[1]).rstrip("\n") if found else line)
    return "\n".join(lines) + "\n"


def filled(template: str, content: Mapping[str, str]) -> bytes:
    """The page: each ``{{name}}`` of the template is replaced by the content of that name."""
    # All at once, so that inserted text is not searched for further places.
    page = _PLACE.sub(lambda place: content[place[1]], template)
    return page.encode("utf-8", errors="replace")  # a title may have lone surrogates


def shortened(template: str, to_read: Sequence[str] = ()) -> str:
    """The template with fewer blanks, and without most comments on lines of their own.

    Args:
        template: its lines.
        to_read: the ids of scripts that people may want to read. They keep their comments and half
            of their indentation.
    """
    kept = {f'<script id="{name}">' for name in to_read}
    lines, part = [], ""
    for line in template.splitlines():
        if line == "<style>" or line in kept:
            part = line
        elif line.startswith("</"):
            part = ""
        bare = line.lstrip()
        if part in kept:
            lines.append(line[(len(line) - len(bare)) // 2 :])
        elif bare and not bare.startswith(("//", "/*", "<!--")):
            for blanks in (": ", "; ", ", ", " {", "{ ") if part == "<style>" else ():
                bare = bare.replace(blanks, blanks.strip())
            lines.append(bare)
    return "\n".join(lines) + "\n"


def base91(data: bytes) -> str:
    """Bytes as text for the page's `bytesOf`: 13 bits are two digits of base 91 (91^2 > 2^13)."""
    parts = []
    for start in range(0, len(data), 13 * 2**12):  # whole groups, a few at a time
        part = np.frombuffer(data[start : start + 13 * 2**12], np.uint8)
        bits = np.unpackbits(part, bitorder="little")
        groups = np.pad(bits, (0, -len(bits) % 13)).reshape(-1, 13) @ (1 << np.arange(13))
        digits: Any = _DIGITS[np.stack(np.divmod(groups, 91), 1)]
        parts.append(bytes(digits).decode("ascii"))
    return "".join(parts)


def script_json(value: Any) -> str:
    """JSON on one line, without anything that ends a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
