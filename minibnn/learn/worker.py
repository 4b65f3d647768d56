"""The process in which a learner's file runs. `isolate` starts it and reads what it reports.

It writes one JSON object a line: ``{"begun": true}`` before the file is run, ``{"line": ...}`` for
each check, ``{"trouble": ...}`` if the file cannot be run, and ``{"end": ...}`` at last. A missing
end says that the process was ended, by the file if it had begun.
"""

from __future__ import annotations

import ast
import faulthandler
import json
import os
import sys
import tokenize
import types
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn, TextIO

from minibnn.learn.exercise import Exercise, find
from minibnn.learn.grade import DAMAGED, Grader
from minibnn.learn.starter import holes_in
from minibnn.learn.values import LONG, raised, shortened

MEMORY = 1 << 30  # bytes, beyond what the process has before the learner's code runs
WRITTEN = 16 << 20  # bytes, of any file


def main(arguments: list[str]) -> None:
    """Check a file.

    Args:
        arguments: the exercise, the learner's file, the seconds that it may take, and the files to
            write: the report, and where the code was when its time was over.
    """
    wanted, path, seconds, report, stack = arguments
    exercise = find(wanted)
    with open(report, "w", encoding="utf-8") as out, open(stack, "w", encoding="utf-8") as dump:
        grader = Grader(exercise)
        faulthandler.dump_traceback_later(float(seconds), exit=True, file=dump)
        _limit()
        _check(exercise, grader, path, out)
        faulthandler.cancel_dump_traceback_later()


def leave() -> NoReturn:
    """End the process at once: threads and exit handlers of the learner's are not waited for."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # the learner may have closed or replaced it
            stream.flush()
    os._exit(0)


def _check(exercise: Exercise, grader: Grader, path: str, out: TextIO) -> None:
    def tell(**what: Any) -> None:
        out.write(json.dumps(what) + "\n")
        out.flush()

    tell(begun=True)
    try:
        names, holes = run_file(path)
    except UnusableError as error:
        tell(trouble=str(error))
        tell(end=[])
        return
    try:
        for line in grader.grade(names, holes):
            tell(line=line.__dict__)
    except Exception as error:  # what the learner's functions raise has been caught before
        tell(trouble=failed_outside(error))
    tell(end=grader.warnings)


def failed_outside(error: Exception) -> str:
    """What a failure of the check itself is: the learner may have caused it, or not."""
    return (
        f"The check failed outside your functions, with {raised(error, '').error}\n"
        f"This is an error in minibnn, unless the following is true. {DAMAGED}"
    )


class UnusableError(Exception):
    """The learner's file cannot be run; the message says why."""


def run_file(path: str) -> tuple[dict[str, Any], dict[str, list[int]]]:
    """Run a learner's file; the names that it defines, and the holes that are left in it.

    Raises:
        UnusableError: if it is no Python, or ends with an error.
    """
    try:
        with tokenize.open(path) as file:
            source = file.read()
        tree = ast.parse(source, path)
        code = compile(tree, path, "exec")
    except (SyntaxError, UnicodeDecodeError, ValueError) as error:
        raise UnusableError(syntax_text(error)) from error
    except (RecursionError, MemoryError) as error:
        raise UnusableError(
            "Python cannot read the file: something in it is nested too deeply."
        ) from error
    holes = holes_in(source)
    sys.path.append(str(Path(path).parent))  # after all others: random.py there hides nothing
    module = types.ModuleType(Path(path).stem)
    module.__file__ = path
    sys.modules.setdefault(module.__name__, module)  # where inspect looks for the source
    try:
        exec(code, module.__dict__)
    except (Exception, SystemExit) as error:
        problem = raised(error, path)
        raise UnusableError(f"Running the file ends with an error:\n{problem}") from error
    return vars(module), holes


def syntax_text(error: Exception) -> str:
    """Where Python stops to understand a file."""
    if not isinstance(error, SyntaxError) or error.lineno is None:
        return "Python cannot read the file: it is not text in UTF-8, or has null bytes in it."
    lines = [f"Python cannot read line {error.lineno}: {shortened(error.msg)}"]
    if error.text and len(error.text) <= LONG:
        code = error.text.rstrip("\n")
        lines.append(f"    {code.lstrip()}")
        if error.offset:
            before = max(0, error.offset - 1 - (len(code) - len(code.lstrip())))
            lines.append(f"    {' ' * before}^")
    return "\n".join(lines)


def _limit() -> None:
    """Limit memory and files, where the system can."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limits = [(resource.RLIMIT_FSIZE, WRITTEN), (resource.RLIMIT_CORE, 0)]
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limits.append((resource.RLIMIT_AS, pages * resource.getpagesize() + MEMORY))
    except (OSError, ValueError):  # not Linux: what is in use is not known
        pass
    for which, limit in limits:
        _, hard = resource.getrlimit(which)
        if hard == resource.RLIM_INFINITY or limit <= hard:
            resource.setrlimit(which, (limit, hard))
