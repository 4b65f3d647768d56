"""Each implementation beside its reference, on the cases of `cases_of_operations`."""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from cases_of_operations import CASES, EITHER_ZERO, LAYOUTS, SIZES, Make
from cuda_on_host import CUDA_ARRAYS

import minibnn
from minibnn.backend import CPU, Backend, NumpyBackend, select
from minibnn.backend.cpu import convolution as cpu_convolution
from minibnn.backend.cuda import convolution as cuda_convolution
from minibnn.backend.implementations import COMPILED, CUDA, NUMPY

PACKAGE = Path(minibnn.__file__).parent


TABLES = {"NUMPY": NUMPY, "COMPILED": COMPILED, "CUDA": CUDA}


BACKENDS: dict[str, Backend] = {"NUMPY": NumpyBackend(), "COMPILED": CPU, "CUDA": CUDA_ARRAYS}


IMPLEMENTATIONS = [(t, name) for t, table in TABLES.items() for name in sorted(table.names())]


class References(NumpyBackend):
    """The CPU without implementations."""

    tables = ()


REFERENCES = References()


@contextmanager
def plain_arrays():
    """While entered, NumPy's arrays belong to a backend that has no implementations."""
    before = select._by_array_type[np.ndarray]
    select._by_array_type[np.ndarray] = REFERENCES
    try:
        yield
    finally:
        select._by_array_type[np.ndarray] = before


def references_in(tree: ast.AST, names: dict[str, Any]) -> tuple[set[str], list[str]]:
    """What is passed first to a `run`: the functions' names, and calls that no name is found in.

    Args:
        tree: of a module.
        names: of the module's globals.
    """
    found, unknown = set(), []
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = ast.unparse(node.func)
        if called != "run" and not called.endswith(".run"):
            continue
        first = node.args[0]
        choices = [first.body, first.orelse] if isinstance(first, ast.IfExp) else [first]
        if all(isinstance(c, ast.Name) and inspect.isfunction(names.get(c.id)) for c in choices):
            found |= {c.id for c in choices}
        elif "backend" in called:
            unknown.append(ast.unparse(node))
    return found, unknown


def all_references() -> dict[str, Callable[..., Any]]:
    """Every reference that is run, by its name."""
    found: dict[str, Callable[..., Any]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if path.name == "__main__.py" or "run(" not in text:
            continue
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = importlib.import_module(".".join(parts).removesuffix(".__init__"))
        names, unknown = references_in(ast.parse(text), vars(module))
        assert unknown == [], f"{path}: name the reference where it is run: {unknown}"
        for name in names:
            function = vars(module)[name]
            assert function.__name__ == name, f"{path}: {name} is {function.__name__}"
            assert found.setdefault(name, function) is function, f"two references named {name}"
    return found


REFERENCE = all_references()


# Floats, layout, and whether there are infinities, nan and the like.
STYLES = [
    *((dtype, "contiguous", special) for dtype in ("f4", "f8") for special in (False, True)),
    *(("f4", layout, False) for layout in LAYOUTS if layout != "contiguous"),
]


ids = {"ids": lambda v: v if isinstance(v, str) else "special" if v else "ordinary"}


def arrays_of(value: Any) -> list[Any]:
    """The arrays in a result or in arguments."""
    if isinstance(value, tuple | list) and not hasattr(value, "_fields"):
        return [a for part in value for a in arrays_of(part)]
    return [value] if isinstance(value, np.ndarray | np.generic) else []


def outcome(call: Callable[..., Any], arguments: tuple[Any, ...]) -> list[Any]:
    """The arrays that a call returned, then all its arguments; or the type of what it raised."""
    with np.errstate(all="ignore"):
        try:
            result = call(*arguments)
        except (ValueError, IndexError, TypeError, ArithmeticError) as error:
            return [type(error)]
    return [np.asarray(a) for a in arrays_of(result) + arrays_of(arguments)]


def equal(got: Any, expected: Any, either_zero: bool = False) -> bool:
    """Of one type, shape and value, any nan for a nan; and zeros of one sign, or of either."""
    if isinstance(expected, type) or isinstance(got, type):
        return got is expected
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return False
    if got.dtype.kind != "f":
        return bool((got == expected).all())
    signs = either_zero | (np.signbit(got) == np.signbit(expected))
    return bool((((got == expected) & signs) | (np.isnan(got) & np.isnan(expected))).all())


def close(got: Any, expected: Any, wide: Any, size: Any, roundings: int) -> float:
    """By how many times too far `got` is from `wide`; at most 1 is near enough."""
    if isinstance(expected, type) or isinstance(got, type):
        return 0.0 if got is expected else np.inf
    if got.dtype != expected.dtype or got.shape != expected.shape:
        return np.inf
    if got.dtype.kind != "f" or not got.size:
        return 0.0 if (got == expected).all() else np.inf
    finite = np.isfinite(wide) & (abs(wide) < np.finfo(got.dtype).max)
    with np.errstate(all="ignore"):
        others = np.where(finite, 0, wide).astype(got.dtype)
        if not equal(np.where(finite, 0, got).astype(got.dtype), others, True):
            return np.inf
        allowed = roundings * np.finfo(got.dtype).eps * np.asarray(size) + np.finfo(got.dtype).tiny
        error = np.where(finite, abs(got - wide) / allowed, 0)
    return float(np.where(np.isnan(error), np.inf, error).max())


def absolute(a: Any) -> Any:
    return abs(a) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


def cases_of(name: str, *made: Any, **options: Any):
    return CASES[name](Make(*made, **options))


@contextmanager
def image_by_image():
    """While entered, convolutions need a block of their own for each image, as for large ones."""
    before = cpu_convolution.BLOCK, cuda_convolution.SCRATCH
    cpu_convolution.BLOCK = cuda_convolution.SCRATCH = 1
    try:
        yield
    finally:
        cpu_convolution.BLOCK, cuda_convolution.SCRATCH = before


def compare(table: str, name: str, dtype: str, layout: str, special: bool) -> tuple[int, int]:
    """An implementation with its reference, in all cases: how many it took, and how many not.

    Convolutions of float64 or of arrays of another layout run in many blocks, the others in one.
    """
    with image_by_image() if dtype == "f8" or layout != "contiguous" else nullcontext():
        return compare_cases(table, name, (dtype, layout, special))


def compare_cases(table: str, name: str, style: tuple[str, str, bool]) -> tuple[int, int]:
    """See `compare`."""
    backend = BACKENDS[table]
    body, reference = TABLES[table][name], REFERENCE[name]
    most = max(t.roundings(name) for t in backend.tables if name in t.names())
    taken = declined = 0
    every = zip(
        cases_of(name, backend, *style),
        cases_of(name, backend, *style),
        cases_of(name, REFERENCES, *style),
        cases_of(name, REFERENCES, *style, wide=True),
        cases_of(name, REFERENCES, *style, wide=True),
        strict=True,
    )
    for number, (ours, again, theirs, wide, terms) in enumerate(every):
        before = [a.tobytes() for a in arrays_of(ours)]
        with plain_arrays():
            expected = outcome(reference, theirs)
        got = body_outcome(body, backend, ours)
        roundings = TABLES[table].roundings(name)
        if got is NotImplemented:
            declined += 1
            assert [a.tobytes() for a in arrays_of(ours)] == before, (
                f"case {number}: it has written"
            )
            got, roundings = outcome(lambda *a: backend.run(reference, *a), again), most
        else:
            taken += 1
        assert len(got) == len(expected), f"case {number}: {got} for {expected}"
        either = name in EITHER_ZERO
        differs = [i for i in range(len(got)) if not equal(got[i], expected[i], either)]
        if not differs:
            continue
        assert roundings, f"case {number}: {got[differs[0]]} is not {expected[differs[0]]}"
        with plain_arrays():
            exact = outcome(reference, wide)
            if name in SIZES:
                size = outcome(SIZES[name], terms)
            else:
                size = outcome(reference, tuple(map(absolute, terms)))
        for i, parts in enumerate(zip(got, expected, exact, size, strict=True)):
            off = close(*parts, roundings)
            assert off <= 1, f"case {number}, array {i}: {off:.3g} times too far"
    return taken, declined


def body_outcome(body: Callable[..., Any], backend: Backend, arguments: tuple[Any, ...]) -> Any:
    """As `outcome`; NotImplemented if the implementation declines."""
    declined = []

    def call(*arguments: Any) -> Any:
        result = body(backend, *arguments)
        declined.append(result is NotImplemented)
        return result

    result = outcome(call, arguments)
    return NotImplemented if declined == [True] else result
