"""Each module has a test file of its own: the same folder, the same name."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "minibnn"
TESTS = ROOT / "tests"
MODULES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__init__.py"  # a package's imports need no test of their own
    and path.parent.name != "exercises"  # tests/learn/test_exercises.py runs all of them
}

# Modules without a test file of their own, and why.
EXCEPTIONS: dict[str, str] = {
    "minibnn.version": "a constant, which pyproject.toml reads",
}
# Implementations of operations: tests/backend/test_implementations.py compares all of them with
# their references. Some have a file for what that does not show, which calls `backend.run`.
COMPARED_IN = TESTS / "backend" / "test_implementations.py"
IMPLEMENTATIONS = [
    "minibnn.backend.cpu.adam",
    "minibnn.backend.cpu.batch_norm",
    "minibnn.backend.cpu.cross_entropy",
    "minibnn.backend.cpu.packed_bits",
    "minibnn.backend.cpu.rescale",
    "minibnn.backend.cpu.signs",
    "minibnn.backend.cuda.accuracy",
    "minibnn.backend.cuda.adam",
    "minibnn.backend.cuda.captured_step",
    "minibnn.backend.cuda.cross_entropy",
    "minibnn.backend.cuda.finite",
    "minibnn.backend.cuda.labels",
    "minibnn.backend.cuda.pooling",
    "minibnn.backend.cuda.random_stream",
    "minibnn.backend.cuda.rescale",
    "minibnn.backend.cuda.signs",
    "minibnn.backend.cuda.windows",
]


def own_test(module: str) -> Path:
    """Where the tests of a module belong: tests/layers/test_norm.py for minibnn.layers.norm."""
    *folders, name = module.split(".")[1:]
    return TESTS.joinpath(*folders, f"test_{name.strip('_')}.py")


def imported(path: Path) -> set[str]:
    """The modules and names that a test file imports, by full name."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def defined_in(module: str) -> set[str]:
    """The names that other modules can import from this one."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    names = {getattr(node, "name", "") for node in tree.body}
    for node in tree.body:
        if isinstance(node, ast.Assign):
            names |= {t.id for t in node.targets if isinstance(t, ast.Name)}
    return names - {""}


def reaches(path: Path, module: str) -> bool:
    """Whether a test file imports a module: by its name, or what it defines by a shorter path.

    ``from minibnn import Dense`` reaches minibnn.layers.dense.
    """
    names = imported(path)
    if module in names:
        return True
    above = [module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)]
    return any(f"{package}.{name}" in names for package in above for name in defined_in(module))


def without_a_test() -> dict[str, str]:
    """Each module that has no test file of its own, with what is missing."""
    missing = {}
    for module in MODULES:
        path = own_test(module)
        if not path.exists():
            missing[module] = f"expected {path.relative_to(ROOT)}, got no such file"
        elif not reaches(path, module):
            missing[module] = f"expected {path.relative_to(ROOT)} to import it"
    return missing


def test_every_module_has_a_test_file_of_its_own():
    missing = {
        module: why
        for module, why in without_a_test().items()
        if module not in (*EXCEPTIONS, *IMPLEMENTATIONS)
    }
    lines = [f"{module}: {why}; see the tests that import it" for module, why in missing.items()]
    assert not missing, "\n".join(lines)


def test_no_exception_is_superfluous():
    missing = without_a_test()
    for module in [*EXCEPTIONS, *IMPLEMENTATIONS]:
        assert module in MODULES, f"{module} is not a module of minibnn"
        assert module in missing, f"{module} has a test file of its own; remove the exception"
    assert COMPARED_IN.exists()
