"""Break one thing at a time in the fast code and in the references; a test has to notice each.

    python tests/support/plant_faults.py                        all, which takes some minutes
    python tests/support/plant_faults.py --kinds NUMPY C --most 1

A fault is another operator or constant in one function. One in an implementation (Python, C or
CUDA, whose kernels run on the host) has to fail the comparison with its reference, that of
`compare_implementations.py`; one in a reference has to fail the tests of its file in `TESTS`,
which check gradients and have other oracles. A fault that nobody notices either changes nothing
(how work is divided into blocks, say), or a case is missing.

Each fault is tried in a process of its own, since one in C may end it.
"""

from __future__ import annotations

import argparse
import ast
import ctypes
import inspect
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import compare_implementations as comparison
import cuda_on_host

from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu import c_kernels as compiled

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("NUMPY", "COMPILED", "CUDA", "C", "cu", "references")
SECONDS = 120  # for one fault; a loop without an end is noticed, too
# What checks the references of a file: gradient checks, and oracles of what is no gradient.
TESTS = {
    "layers/norm": "layers/test_norm",
    "layers/shift_norm": "layers/test_shift_norm",
    "layers/conv": "layers/test_conv layers/test_torch",
    "layers/pooling": "layers/test_pooling layers/test_torch",
    "layers/reshape": "layers/test_reshape functions/test_bit_width",
    "losses/cross_entropy": "losses/test_cross_entropy losses/test_every_loss",
    "functions/signs": "functions/test_signs functions/test_every_quantizer layers/test_dense",
    "random_stream": "layers/test_dropout test_random_stream functions/test_stochastic_sign",
    "optimizers/adam": "optimizers/test_adam optimizers/test_every_optimizer optimizers/test_torch",
    "optimizers/adamax": "optimizers/test_adamax optimizers/test_every_optimizer optimizers/test_torch",
    "optimizers/sgd": "optimizers/test_sgd optimizers/test_every_optimizer optimizers/test_torch",
    "optimizers/bop": "optimizers/test_bop optimizers/test_every_optimizer",
    "training/capture/operations": "training/capture/test_operations training/capture/test_captured_step",
    "losses/accuracy": "losses/test_accuracy training/test_evaluate",
    "packed/bits": "packed/test_bits",
    "packed/stages": "packed/test_stages packed/test_model packed/compile/test_lower",
    "packed/inference": "packed/test_inference packed/test_dense_tail packed/compile/test_fold packed/compile/test_scores packed/test_stages",
    "backend/operations": "backend/test_operations layers/test_norm layers/test_dense losses/test_cross_entropy losses/test_every_loss",
    "backend/updates": "backend/test_updates backend/test_base training/capture/test_captured_step optimizers/test_diverged",
    "windows": "test_windows layers/test_conv layers/test_pooling layers/test_torch",
}
SWAPS = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add, ast.Div: ast.Mult,
         ast.FloorDiv: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd,
         ast.BitXor: ast.BitOr, ast.RShift: ast.LShift, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
         ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.And: ast.Or, ast.Or: ast.And}  # fmt: skip
C_SWAPS = {" + ": " - ", " - ": " + ", " * ": " + ", " / ": " * ", " += ": " -= ", " -= ": " += ",
           " >= ": " > ", " <= ": " < ", " < ": " <= ", " > ": " >= ", " ^ ": " | ", " & ": " | ",
           " *= ": " += ", " == ": " != "}  # fmt: skip
C_FUNCTION = re.compile(r"\b(\w+)\([^(){};]*\)\s*\{\n(.*?)^\}", re.MULTILINE | re.DOTALL)


class Fault(NamedTuple):
    """Something broken.

    Attributes:
        kind: one of `KINDS`.
        file: where.
        function: its name.
        helper: whether others call it, and it is no operation or kernel itself.
        text: the line as it is now.
        tried: makes the fault, in a process of its own, and says whether something noticed.
    """

    kind: str
    file: str
    function: str
    helper: bool
    text: str
    tried: Callable[[], bool]


def spaced(faults: list[Any], most: int) -> list[Any]:
    """So many of them, from the first to the last."""
    if len(faults) <= most:
        return faults
    return [faults[i * len(faults) // most] for i in range(most)]


def broken(source: str) -> Iterator[tuple[str, str]]:
    """Python functions with one operator or constant changed, and the change; conditions last."""
    function: Any = ast.parse(textwrap.dedent(source)).body[0]
    function.decorator_list, function.returns = [], None
    for argument in function.args.args:
        argument.annotation = None
    arithmetic, conditions = [], []
    for node in ast.walk(function):
        for place in ("op", "ops", "value"):
            was: Any = getattr(node, place, None)
            one = was[0] if isinstance(was, list) and was else was
            old = ast.unparse(node)
            if type(one) in SWAPS:
                new: Any = SWAPS[type(one)]()
                setattr(node, place, [new, *was[1:]] if isinstance(was, list) else new)
            elif place == "value" and isinstance(node, ast.Constant) and type(was) in (int, float):
                node.value = was + 1
            else:
                continue
            kind = conditions if isinstance(node, ast.BoolOp | ast.Compare) else arithmetic
            kind.append((ast.unparse(function), f"{old} -> {ast.unparse(node)}"))
            setattr(node, place, was)
    yield from arithmetic + conditions


def functions_of(module: Any) -> list[Callable[..., Any]]:
    return [
        f
        for f in vars(module).values()
        if inspect.isfunction(f) and f.__module__ == module.__name__
    ]


def compared(table: str, names: list[str], styles: list[Any]) -> bool:
    """Whether one of the comparisons fails."""
    for name in names:
        for style in styles:
            if table == "CUDA" and style[1] in ("unaligned", "read-only"):
                continue
            try:
                taken, _ = comparison.compare(table, name, *style)
            except Exception:
                return True
            if style == comparison.STYLES[0] and not taken:  # it declines everything
                return True
    return False


def in_python(table: str, most: int) -> Iterator[Fault]:
    """Faults in the Python of a table's implementations, and of what they call in their file."""
    names: dict[str, list[str]] = {}
    for name in sorted(comparison.TABLES[table].names()):
        names.setdefault(comparison.TABLES[table][name].__module__, []).append(name)
    for module_name, inside in names.items():
        module = sys.modules[module_name]
        entered = {comparison.TABLES[table][name]: name for name in inside}
        others = {f for t in comparison.TABLES.values() for f in map(t.__getitem__, t.names())}
        for function in functions_of(module):
            if function in others and function not in entered:
                continue
            for text, was in spaced(list(broken(inspect.getsource(function))), most):

                def tried(function=function, text=text, module=module, inside=inside,
                          entered=entered) -> bool:  # fmt: skip
                    space: dict[str, Any] = vars(module)
                    exec(
                        compile("from __future__ import annotations\n" + text, "fault", "exec"),
                        space,
                    )
                    new = space[function.__name__]
                    ops = inside
                    if function in entered:
                        comparison.TABLES[table]._functions[entered[function]] = new
                        ops = [entered[function]]
                    return compared(table, ops, comparison.STYLES)

                file = module_name.removeprefix("minibnn.")
                helper = function not in entered
                yield Fault(table, file, function.__name__, helper, was, tried)


def broken_c(text: str, most: int) -> Iterator[tuple[str, str, str]]:
    """Texts with one operator of a function changed; the function, and the line that was."""
    for match in C_FUNCTION.finditer(text):
        body, found = match[2], []
        for was, new in C_SWAPS.items():
            for place in re.finditer(re.escape(was), body):
                line = body[body.rfind("\n", 0, place.start()) + 1 : body.find("\n", place.end())]
                if "//" in line[: line.find(was)] or line.lstrip().startswith(("*", "/*", "#")):
                    continue
                at = match.start(2) + place.start()
                changed = text[:at] + new + text[at + len(was) :]
                # A step too far, beyond an array, may hit what nobody looks at, and a start that
                # is 0 may be added or subtracted: what is written into arrays first.
                place = "for (" in line, "] = " not in line, at
                found.append((*place, changed, f"{line.strip()} ({new.strip()})"))
        first = [fault for fault in sorted(found) if not fault[0]] or sorted(found)
        for *_, changed, line in spaced(first, most):
            yield match[1], changed, line


def in_c(most: int) -> Iterator[Fault]:
    """Faults in the C files of operations; products have tests of their own."""
    with tempfile.TemporaryDirectory() as folder:
        objects = compiled_once(Path(folder))
        for name in ("kernels.c", "accuracy.c", "cross_entropy.c", "running.c"):
            others = [path for source, path in objects.items() if source != name]
            yield from _in_c(Path(compiled.FOLDER, name), others, most)


def compiled_once(folder: Path) -> dict[str, Path]:
    """The object file of each C file: what has no fault is not compiled with each fault."""
    files = sorted(Path(compiled.FOLDER).glob("*.c"))
    options = ["-std=gnu11", "-O1", "-ffp-contract=off", "-fPIC", "-c", "-DMINIBNN_SOURCE=0"]
    subprocess.run(["cc", *options, *map(str, files)], check=True, cwd=folder)
    return {path.name: folder / f"{path.stem}.o" for path in files}


def _in_c(source: Path, others: list[Path], most: int) -> Iterator[Fault]:
    names = sorted(comparison.COMPILED.names())
    for function, text, line in broken_c(source.read_text(encoding="utf-8"), most):

        def tried(text: str = text) -> bool:
            with tempfile.TemporaryDirectory() as folder:
                changed = Path(folder, source.name)
                changed.write_text(text, encoding="utf-8")
                options = ["-std=gnu11", "-O1", "-ffp-contract=off", "-shared", "-fPIC"]
                made = changed.with_suffix(".so")
                command = ["cc", *options, "-pthread", f"-I{source.parent}", "-DMINIBNN_SOURCE=0"]
                command += [str(changed), *map(str, others), "-o", str(made), "-lm"]
                subprocess.run(command, check=True, capture_output=True)
                backend = CompiledBackend(ctypes.CDLL(str(made)))
            comparison.BACKENDS["COMPILED"] = backend
            return compared("COMPILED", names, comparison.STYLES[:2])

        helper = not function.startswith("minibnn_") and not function.endswith(("_piece", "_task"))
        yield Fault("C", source.name, function, helper, line, tried)


def in_cuda(most: int) -> Iterator[Fault]:
    """Faults in the ``.cu`` files."""
    folder = ROOT / "minibnn" / "backend" / "cuda"
    families: dict[str, list[str]] = {}
    for name in sorted(comparison.CUDA.names()):
        families.setdefault(comparison.CUDA[name].__module__.rpartition(".")[2], []).append(name)
    several = {"windows": ["convolution", "pooling"], "labels": ["cross_entropy", "accuracy"]}
    real = cuda_on_host.source
    for path in sorted(folder.glob("*.cu")):
        here = several.get(path.stem, [path.stem])
        names = [name for family in here for name in families.get(family, [])]
        if not names:
            continue
        old = path.read_text(encoding="utf-8")
        for function, text, line in broken_c(old, most):

            def tried(old: str = old, text: str = text, names: Any = names) -> bool:
                cuda_on_host.source = lambda *a: real(*a).replace(old, text)
                for backend in (cuda_on_host.HOST_CUDA, cuda_on_host.CUDA_ARRAYS):
                    backend.kernels = cuda_on_host.HostKernels()
                return compared("CUDA", names, comparison.STYLES[:2])

            helper = function not in cuda_on_host.kernel_names(old)
            yield Fault("cu", path.name, function, helper, line, tried)


def in_references(most: int) -> Iterator[Fault]:
    """Faults in the references, which the tests of their file have to notice."""
    for name, function in sorted(comparison.REFERENCE.items()):
        path = Path(inspect.getfile(function)).relative_to(ROOT)
        file = path.relative_to("minibnn").with_suffix("").as_posix()
        whole = (ROOT / path).read_text(encoding="utf-8")
        source = inspect.getsource(function)
        for text, was in spaced(list(broken(source)), most):
            changed = whole.replace(source, text + "\n\n\n")

            def tried(path: Path = path, changed: str = changed, file: str = file) -> bool:
                with tempfile.TemporaryDirectory() as folder:
                    ignore = shutil.ignore_patterns(".*", "__pycache__", "docs")
                    shutil.copytree(ROOT, folder, ignore=ignore, dirs_exist_ok=True)
                    Path(folder, path).write_text(changed, encoding="utf-8")
                    tests = [Path(folder, "tests", f"{t}.py") for t in TESTS[file].split()]
                    done = subprocess.run(
                        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                         *(t for t in tests if t.exists())],
                        cwd=folder, env=os.environ | {"PYTHONPATH": folder}, capture_output=True,
                    )  # fmt: skip
                return done.returncode == 1

            yield Fault("references", file, name, False, was, tried)


def noticed(fault: Fault) -> str:
    """How it ended: noticed, not noticed, or how the process died."""
    child = os.fork()
    if not child:
        signal.alarm(SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        code = 3
        try:
            code = 0 if fault.tried() else 1
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return f"noticed: {signal.Signals(os.WTERMSIG(status)).name}"
    return {0: "noticed", 1: "NOT NOTICED"}.get(os.WEXITSTATUS(status), "could not be tried")


def faults(kinds: list[str], most: int) -> Iterator[Fault]:
    """All of these kinds, at most so many in a function."""
    for kind in kinds:
        if kind in comparison.TABLES:
            yield from in_python(kind, most)
        else:
            yield from {"C": in_c, "cu": in_cuda, "references": in_references}[kind](most)


def main() -> int:
    """Try the faults; 1 if of a whole function none was noticed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--most", type=int, default=5, help="faults in a function")
    parser.add_argument("--first", action="store_true", help="in a function until one is noticed")
    given = parser.parse_args()
    print("| kind | file | function | changed | |\n|---|---|---|---|---|")
    found: dict[tuple[str, ...], list[bool]] = {}
    for fault in faults(given.kinds, given.most):
        tries = found.setdefault(fault[:4], [])
        if given.first and (fault.helper or any(tries)):
            continue
        outcome = noticed(fault)
        tries.append(outcome.startswith("noticed"))
        row = fault.kind, fault.file, fault.function, f"`{fault.text}`".replace("|", "\\|"), outcome
        print(f"| {' | '.join(row)} |", flush=True)
    count, good = sum(map(len, found.values())), sum(map(sum, found.values()))
    without = [function for (*_, function, helper), t in found.items() if not helper and not any(t)]
    print(
        f"\n{count} faults, {good} noticed; functions without one: {', '.join(without) or 'none'}"
    )
    return int(bool(without))


if __name__ == "__main__":
    sys.exit(main())
