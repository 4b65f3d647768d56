"""How much of minibnn a reader goes through to understand one training step, and where it starts.

The step is that of Dense + BatchNorm + SignSTE + cross-entropy + Adam, traced while it runs on the
references: what it enters is what there is to read.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import CodeType

import numpy as np
import pytest

import minibnn
from minibnn import Activation, Adam, BatchNorm, Dense, LogitCrossEntropy, SignSTE
from minibnn.backend import NumpyBackend, select

PACKAGE = Path(minibnn.__file__).parent
MOST_FILES, MOST_FUNCTIONS, MOST_LINES = 16, 45, 1500


class References(NumpyBackend):
    """The CPU without fast implementations."""

    tables = ()


@pytest.fixture
def references(monkeypatch):
    """NumPy's arrays belong to a backend that has references alone."""
    backend = References()
    monkeypatch.setitem(select._by_array_type, np.ndarray, backend)
    return backend


def training_step(backend: NumpyBackend):
    """One training step, as a function; the first has been made, which looks at shapes."""
    rng = np.random.default_rng(0)
    dense, norm = Dense(8, 3, weight_quantizer=SignSTE()), BatchNorm(3)
    layers = [dense, norm, Activation(SignSTE(clip=1.0))]
    for layer in layers:
        layer.initialize(rng).to(backend)
    loss = LogitCrossEntropy()
    optimizer = Adam([p for layer in layers for p in layer.parameters()], learning_rate=0.01)
    x, labels = rng.standard_normal((5, 8)).astype(np.float32), np.arange(5) % 3

    def step() -> None:
        y = x
        for layer in layers:
            y = layer.forward(y, train=True)
        loss.forward(y, labels)
        dy = loss.backward()
        for layer in reversed(layers):
            dy = layer.backward(dy, need_dx=layer is not dense)
        optimizer.step()

    step()
    return step


def entered(step) -> set[CodeType]:
    """The functions of minibnn that a step enters; a comprehension is a part of its function."""
    codes: set[CodeType] = set()

    def note(frame, event, argument):
        code = frame.f_code
        if Path(code.co_filename).is_relative_to(PACKAGE) and "<" not in code.co_name:
            codes.add(code)

    before = sys.gettrace()
    sys.settrace(note)
    try:
        step()
    finally:
        sys.settrace(before)
    return codes


def lines_without_docstrings(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(
            node
        ):
            lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def reading_path(codes: set[CodeType]) -> tuple[tuple[int, int, int], str]:
    """Files, functions and lines; and a list of them, the longest file first."""
    files: dict[Path, list[str]] = {}
    for code in codes:
        files.setdefault(Path(code.co_filename), []).append(code.co_name)
    lines = {path: lines_without_docstrings(path) for path in files}
    listed = "\n".join(
        f"{lines[path]:5} {path.relative_to(PACKAGE)}: {', '.join(sorted(files[path]))}"
        for path in sorted(files, key=lambda path: -lines[path])
    )
    return (len(files), len(codes), sum(lines.values())), listed


@pytest.mark.xfail(strict=True, reason="work in progress: 22 files, 71 functions, 2,171 lines")
def test_one_training_step_is_read_in_one_sitting(references):
    counts, listed = reading_path(entered(training_step(references)))
    most = MOST_FILES, MOST_FUNCTIONS, MOST_LINES
    text = "{} files, {} functions, {} lines".format(*counts)
    assert all(n <= m for n, m in zip(counts, most, strict=True)), f"{text}:\n{listed}"
