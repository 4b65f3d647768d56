"""How much of minibnn a reader goes through to understand one training step, and where it starts.

The step is that of Dense + BatchNorm + SignSTE + cross-entropy + Adam, traced while it runs on the
references: what it enters is what there is to read.
"""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import CodeType

import numpy as np
import pytest

import minibnn
from minibnn import Activation, Adam, BatchNorm, Dense, LogitCrossEntropy, SignSTE
from minibnn.backend import NumpyBackend, select
from minibnn.functions import Function
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.losses.elementwise import ElementwiseLoss
from minibnn.optimizers import Optimizer

PACKAGE = Path(minibnn.__file__).parent
MOST_FILES, MOST_FUNCTIONS, MOST_LINES = 16, 46, 1510


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


def test_one_training_step_is_read_in_one_sitting(references):
    counts, listed = reading_path(entered(training_step(references)))
    most = MOST_FILES, MOST_FUNCTIONS, MOST_LINES
    text = "{} files, {} functions, {} lines".format(*counts)
    assert all(n <= m for n, m in zip(counts, most, strict=True)), f"{text}:\n{listed}"


# --- Where the mathematics is -----------------------------------------------------------------

# What stands in a class's own file: functions, beside or instead of its methods.
EQUATIONS = {
    "BatchNorm": "batch_norm batch_norm_gradient normalize update_running",
    "TensorNorm": "batch_norm batch_norm_gradient normalize update_running",
    "Conv2D": "convolve convolve_dW convolve_dx",
    "MaxPool2D": "max_pool max_pool_gradient",
    "AveragePool2D": "average_pool average_pool_gradient",
    "Rescale": "rescale",
    "Dropout": "drop",
    "SignSTE": "binary_sign straight_through_gradient",
    "LogitCrossEntropy": "log_softmax cross_entropy cross_entropy_gradient",
    "Adam": "adam",
    "AdaMax": "adamax",
    "ShiftAdaMax": "shift_adamax nearest_exponent",
    "SGD": "sgd",
    "Bop": "bop",
}
# What a class has from another file, with its equation: a straight-through backward, the product
# of `Dense` whose factors `Radial` normalises.
ELSEWHERE = {
    ("Heaviside", "backward"), ("Ternary", "backward"), ("TernaryWeights", "backward"),
    ("Radial", "forward"), ("StochasticSign", "backward"),
    ("Conv1D", "forward"), ("Conv1D", "backward"),
}  # fmt: skip
ABSTRACT = {"Layer", "Loss", "Function", "Optimizer", "StraightThrough"}


def classes() -> list[type]:
    """The public layers, functions, losses and optimisers."""
    kinds = (Layer, Loss, Function, Optimizer)
    public = (getattr(minibnn, name) for name in minibnn.__all__)
    found = [c for c in public if inspect.isclass(c) and issubclass(c, kinds)]
    return [c for c in found if c.__name__ not in ABSTRACT]


def misplaced(kind: type) -> list[str]:
    """What of a class's mathematics does not stand in its own file."""
    module = sys.modules[kind.__module__]
    names = EQUATIONS.get(kind.__name__, "").split()
    functions = [(name, getattr(module, name, None)) for name in names]
    methods = ("forward", "backward")
    if issubclass(kind, Optimizer):
        methods = ("update",) if hasattr(kind, "update") else ("step",)
    if issubclass(kind, ElementwiseLoss):
        methods = ("each",)
    functions += [(m, getattr(kind, m)) for m in methods if (kind.__name__, m) not in ELSEWHERE]
    return [name for name, f in functions if getattr(f, "__module__", None) != module.__name__]


@pytest.mark.parametrize("kind", classes(), ids=lambda kind: kind.__name__)
def test_the_mathematics_stands_in_the_first_file_that_is_opened(kind):
    """Forward and gradient, in the file of the layer, the function, the loss, the optimiser."""
    assert misplaced(kind) == []
    imported = {name for name, other in vars(sys.modules[kind.__module__]).items()
                if inspect.isfunction(other) and other.__module__ != kind.__module__}  # fmt: skip
    text = inspect.getsource(kind)
    run = {
        name
        for name in imported
        if f".run({name}," in text or f".run(\n            {name}," in text
    }
    # Shift norm is batch norm in evaluation, and has its running statistics; the gradient of
    # HardTanh is a straight-through one; AdamW is a step of Adam behind the decay.
    assert run <= {"normalize", "update_running", "straight_through_gradient", "adam"}


def test_equations_elsewhere_are_found(monkeypatch):
    monkeypatch.setitem(EQUATIONS, "Dense", "matmul")
    assert misplaced(Dense) == ["matmul"]
    monkeypatch.setattr(BatchNorm, "backward", Dense.backward)
    assert misplaced(BatchNorm) == ["backward"]
    assert set(EQUATIONS) <= {kind.__name__ for kind in classes()}


def test_a_longer_path_is_found(references, monkeypatch):
    step = training_step(references)
    before, _ = reading_path(entered(step))
    monkeypatch.setattr(Dense, "product", lambda self, x, W: minibnn.ReLU().forward(x) @ W)
    after, listed = reading_path(entered(step))
    assert after[0] == before[0] + 1, listed
    assert "functions/activations.py: forward" in listed
