"""Check a learner's file in a process of its own, which may loop, crash or end as it likes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import minibnn
from minibnn.learn.exercise import Exercise
from minibnn.learn.result import Line, Result, from_json
from minibnn.regular_file import SpecialFileError, open_regular

ROOT = Path(minibnn.__file__).parents[1]
START_UP = 60  # seconds, beyond what the checks may take, on a busy machine
PRINTED = 10  # lines of output that are shown
COLUMNS = 72  # of each
SPOILT = (
    "Your code has changed or deleted the report of the check, so that there are no points. Does "
    "it write or delete files outside the folder that it runs in?"
)


def check_file(exercise: Exercise, path: str | os.PathLike[str]) -> Result:
    """Check a file in a new process with limits of time and memory.

    A file that cannot be read, or spoils the report, has a result, too: why, and no points.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    real = os.path.realpath(path)
    if why := unreadable(real):
        return _result(exercise, real, [{"trouble": why}, {"end": []}], "", "", None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        report, stack, printed = (Path(folder, name) for name in ("report", "stack", "printed"))
        report.touch()
        Path(folder, "work").mkdir()
        code = _run(exercise, real, Path(folder))
        records = _records(report)
        output = _read(printed)
        trace = _read(stack)
    return _result(exercise, real, records, output, trace, code)


def unreadable(path: str) -> str:
    """Why a file cannot be read, as a sentence, or ``""``.

    Raises:
        FileNotFoundError: if there is no such file.
    """
    try:
        file, _ = open_regular(path)
        file.close()
    except FileNotFoundError:
        raise
    except IsADirectoryError:
        return "Your file cannot be read: it is a folder."
    except SpecialFileError:
        return "Your file cannot be read: it is no ordinary file."
    except OSError as error:
        return f"Your file cannot be read: {error.strerror}."
    return ""


def _run(exercise: Exercise, path: str, folder: Path) -> int | None:
    """Run the worker to its end, or end it; its exit code, or None if it had to be ended."""
    start = (
        f"import sys\nsys.path.insert(0, {str(ROOT)!r})\n"
        "from minibnn.learn.worker import main, leave\nmain(sys.argv[1:])\nleave()"
    )
    files = [str(folder / name) for name in ("report", "stack")]
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    with open(folder / "printed", "wb") as printed:
        process = subprocess.Popen(
            [sys.executable, "-c", start, exercise.id, path, str(exercise.seconds), *files],
            stdin=subprocess.DEVNULL,
            stdout=printed,
            stderr=printed,
            cwd=folder / "work",  # so that it meets none of the files above
            env={**os.environ, **threads, "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"},
            start_new_session=True,  # so that what it starts can be ended with it
        )
        try:
            return process.wait(exercise.seconds + START_UP)
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process, and all that it has started."""
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):  # all have ended
            os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()


def _records(report: Path) -> list[dict[str, Any]]:
    """What the worker has reported; if something else is there, that it is spoilt."""
    try:
        lines = report.read_text(encoding="utf-8").splitlines(keepends=True)
        records = [json.loads(line) for line in lines if line.endswith("\n")]
        if all(isinstance(record, dict) for record in records):
            return records
    except (OSError, ValueError):
        pass
    return [{"trouble": SPOILT}, {"end": []}]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the learner's code has deleted it
        return ""


def _result(
    exercise: Exercise,
    path: str,
    records: list[dict[str, Any]],
    output: str,
    trace: str,
    code: int | None,
) -> Result:
    lines = [from_json(r["line"]) for r in records if "line" in r]
    trouble = next((r["trouble"] for r in records if "trouble" in r), "")
    ended = next((r["end"] for r in records if "end" in r), None)
    notes = list(ended or [])
    begun = any("begun" in r for r in records)
    if ended is None and begun:
        trouble = how_it_ended(exercise, path, trace, code)
    elif ended is None:
        trouble = why_not_begun(output, code)
    for check in exercise.checks[len(lines) :]:
        lines.append(Line(check.title, 0, check.points, done=False))
    if output.strip() and begun:
        notes.append(_printed(output))
    return Result(exercise.id, exercise.title, tuple(lines), trouble, tuple(notes))


def how_it_ended(exercise: Exercise, path: str, trace: str, code: int | None) -> str:
    """Why there is no complete report."""
    if trace or code is None:
        seconds = exercise.seconds + (START_UP if code is None else 0)
        rows = re.findall(rf'File "{re.escape(path)}", line (\d+) in (\S+)', trace)
        where = f" It was in line {rows[0][0]}, in {rows[0][1]}." if rows else ""
        return (
            f"Your code had not ended after {seconds:g} seconds.{where} "
            "Is there a loop that never ends?"
        )
    if code < 0:
        return (
            f"Your code ended the process: {_name(-code)}. "
            "Does it take very much memory, or call something outside Python?"
        )
    return f"Your code ended the process with exit code {code}, before the checks were done."


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # of the signals for real time the first and the last alone have names
        return f"signal {number}"


def why_not_begun(output: str, code: int | None) -> str:
    """Why the learner's file was never run: whatever it was, the file is not to blame."""
    if code is None:
        how = f"was not ready to check it after {START_UP} seconds. Is this machine very busy?"
    elif code < 0:
        how = f"was ended by the system: {_name(-code)}."
    else:
        how = f"failed by itself, with exit code {code}. Is it installed completely?"
    lines = output.rstrip().splitlines()
    return "\n".join(
        [
            f"Your file has not been run, and is not to blame: minibnn {how}",
            *(f"  {line}" for line in _shortened(lines[:-1])),
            *lines[-1:],  # of a traceback this is the cause: whole, and wrapped
        ]
    )


def _printed(output: str) -> str:
    lines = [f"  {line[:COLUMNS]}" for line in output.rstrip().splitlines()]
    return "\n".join(["Your code printed:", *_shortened(lines)])


def _shortened(lines: list[str]) -> list[str]:
    """The first and the last lines, of many: a traceback has its cause at the end."""
    if len(lines) <= PRINTED:
        return lines
    half = PRINTED // 2
    return [*lines[:half], f"  ({len(lines) - PRINTED} more lines)", *lines[-half:]]
