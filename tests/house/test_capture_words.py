"""Capture is invisible to whoever writes layers, functions, losses, optimisers or draws numbers.

Neither the code nor the comments nor the docstrings of these rooms have its words.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minibnn

PACKAGE = Path(minibnn.__file__).parent
ROOMS = ("layers", "functions", "losses", "optimizers", "feedback.py", "random_stream.py")
WORDS = re.compile(
    r"""aside | \.join\(\) | mark(ed)?_signs | known_signs | kept?_signs | kept\ssigns | questions
    | only_if | _numbers\b | next_keys\s*= | captur | record(s|ed|ing|ings)?\b | \bgraphs?\b
    | side\W?streams? | \blanes?\b | replay | rehears | warm\W?up\sstep | \btapes?\b | cuda\.stream
    | stream_capture | invalidat""",
    re.IGNORECASE | re.VERBOSE,
)


def files(room: str) -> list[Path]:
    path = PACKAGE / room
    return sorted(path.rglob("*.py")) if path.is_dir() else [path]


def found(text: str) -> list[tuple[int, str]]:
    """Numbers and texts of the lines that have one of the words."""
    lines = enumerate(text.splitlines(), 1)
    return [(number, line.strip()) for number, line in lines if WORDS.search(line)]


@pytest.mark.parametrize("room", ROOMS)
def test_no_word_of_capture(room):
    assert files(room), room
    lines = [
        f"{path.relative_to(PACKAGE)}:{number}: {line}"
        for path in files(room)
        for number, line in found(path.read_text(encoding="utf-8"))
    ]
    assert not lines, "\n".join(
        ["words of capture, which only backend/ and training/ have:", *lines]
    )


@pytest.mark.parametrize(
    "line",
    [
        "with self.backend.aside(x, dz):",
        "self.backend.join()",
        "self.backend.mark_signs(Wq)",
        "asked = questions()",
        "def step(self, *, only_if=None):",
        "def _numbers(self, segment, rate, step):",
        "# in a captured step these are 0-d arrays",
        "setting `count` back replays a draw",
        '"its count was read while a step is recorded"',
        "what goes into a CUDA graph",
        "may run on a side stream",
    ],
)
def test_the_words_are_found(line):
    assert found(f"x = 1\n    {line}\n") == [(2, line)]


@pytest.mark.parametrize(
    "line",
    [
        '", ".join(names)',
        "a RandomStream draws",
        "the numbers of a stream",
        "Recorder",
        "a paragraph",
    ],
)
def test_other_words_are_not(line):
    assert found(line) == []
