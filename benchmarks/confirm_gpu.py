"""Confirm on an NVIDIA GPU what was built without one: run it once, and read the last lines.

    MINIBNN_DATA=... python benchmarks/confirm_gpu.py              # within nine minutes
    MINIBNN_DATA=... python benchmarks/confirm_gpu.py --minutes 5 --quick
    python benchmarks/confirm_gpu.py --parts device suite kernels
    python benchmarks/confirm_gpu.py --sanitizer /usr/local/cuda/bin/compute-sanitizer --race

Parts, in this order, the most telling first:

    device      names and versions; whether steps are captured
    kernels     every kernel's result against the CPU's
    captured    captured steps against plain steps: the same bits
    repeat      two trainings from one seed: the same bits
    speed       steps, epochs, the whole job, each kernel by itself
    suite       the tests that need a GPU, in parallel if pytest-xdist is there
    accuracy    recipes over seeds, beside the CPU's stored runs
    race        with --race: `gpu.py`, beside PyTorch and JAX
    sanitizer   memcheck and racecheck of every hand-written kernel, if compute-sanitizer is there

Each part is a process of its own, gets its share of the minutes that are left, and ends in a line
"ok", "FAILED", "cut off" (its share was over) or "not run", with the reason. All findings go to
`benchmarks/results/gpu_confirm.json` as they come; while an earlier run's file is there, to
`benchmarks/results/unfinished/gpu_confirm.json` until the end.

What takes long on a fresh machine is compiling, which CuPy does once and keeps in `~/.cupy`. So
each line says how much of it there was. `device` compiles the first of our files, `kernels` all of
them and what makes its inputs; `captured` adds the kernels of CuPy that training uses, `repeat`
those of evaluation; `speed` and `accuracy` should find nearly all of theirs there. `suite` compiles
by far the most: a small kernel of CuPy's for each function and dtype that a test touches.

The exit status is 1 if something failed, 4 without a usable GPU, 2 if a package is missing. It
needs no installed minibnn, only NumPy, CuPy, pandas, tqdm and safetensors; the tests also pytest
and hypothesis. Without MNIST it takes the sample that comes with minibnn.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confirm.report import Report
    from confirm.setting import Outcome, Setting

BENCHMARKS = Path(__file__).parent
NEEDED = ("numpy", "pandas", "tqdm", "safetensors")
NEEDED_BY_TESTS = ("pytest", "hypothesis")
# In this order. A part's share of the minutes is its number, of those of all that are left. The
# first ones may have to compile much of what they need; what they leave over the others get.
PARTS: Mapping[str, int] = {
    "device": 6, "kernels": 8, "captured": 6, "repeat": 5, "speed": 7, "suite": 10, "accuracy": 4,
    "race": 9, "sanitizer": 5,
}  # fmt: skip
# Where the parts are that this script runs itself; the others are programs.
ROOMS = {
    "device": "machine", "kernels": "training", "captured": "training", "repeat": "training",
    "speed": "speed", "accuracy": "training",
}  # fmt: skip
QUICK: Mapping[str, Any] = {
    "images": 6_000, "accuracy_seeds": 2, "epochs": 3, "steps": 60, "job_epochs": 2,
}  # fmt: skip
MINUTES = 9.0
LEAST = 5.0  # seconds: no part begins with less
NO_GPU = 4

Starter = Callable[[str, float, "Report"], "Outcome"]


class NoGpuError(Exception):
    """The first part found none, and has said so."""


def main() -> None:
    """Run the parts."""
    args = arguments()
    lacking = missing(NEEDED)
    if lacking:
        print(f"confirm_gpu.py: not installed: {hint(lacking)}", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(BENCHMARKS.parent))  # where minibnn is not installed
    from confirm.report import Report

    from minibnn.result_folder import ResultFolder

    if args.inside:
        sys.exit(inside(args.inside, Report(args.out), quick=args.quick))
    folder = ResultFolder(args.out.parent, [args.out.name])
    report = Report(folder.file(args.out.name))
    wanted = [name for name in PARTS if name in args.parts]
    try:
        rows = run_parts(wanted, starter(args), report, args.minutes)
    except NoGpuError:
        if folder.current != folder.path:
            folder.current.rmdir()
        sys.exit(NO_GPU)
    folder.finish()
    print("\n" + summary(rows))
    print(f"written to {args.out}")
    sys.exit(exit_status(rows))


def arguments(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Confirm the GPU path, on a GPU.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART",
                        help=f"any of {', '.join(PARTS)}; default: all but race")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="less work for each part")
    parser.add_argument("--sanitizer", metavar="PATH",
                        help="compute-sanitizer, where it is not on the PATH")  # fmt: skip
    parser.add_argument("--race", action="store_true",
                        help="race against PyTorch and JAX, too (gpu.py)")  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="N", default=MINUTES,
                        help="for all parts together; default: %(default)g")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        default=BENCHMARKS / "results" / "gpu_confirm.json",
                        help="for all figures; default: %(default)s")  # fmt: skip
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the part that this process is
    args = parser.parse_args(argv)
    args.out = args.out.absolute()  # parts run in the checkout's folder
    args.parts = set(args.parts or set(PARTS) - {"race"}) | ({"race"} if args.race else set())
    return args


def part(name: str) -> Callable[[Setting], Outcome]:
    """A part that this script runs itself; only its own room is imported, for what it may break."""
    found: Callable[[Setting], Outcome] = getattr(import_module(f"confirm.{ROOMS[name]}"), name)
    return found


def starter(args: argparse.Namespace) -> Starter:
    """What starts each part, and waits for its outcome."""
    from confirm import machine
    from confirm.setting import NOT_RUN, Outcome

    def start(name: str, seconds: float, report: Report) -> Outcome:
        if name == "suite":
            lacking = missing(NEEDED_BY_TESTS)
            if lacking:
                return Outcome(NOT_RUN, f"not installed: {hint(lacking)}", {})
            return machine.suite(seconds, machine.suite_workers(report.read().get("on", {})))
        if name == "sanitizer":
            return machine.sanitizer(seconds, args.sanitizer)
        if name == "race":
            return machine.race(seconds)
        command = [sys.executable, str(BENCHMARKS / "confirm_gpu.py"), "--inside", name, "--out",
                   str(report.file), *(["--quick"] if args.quick else [])]  # fmt: skip
        return in_a_process(name, command, seconds, report)

    return start


def in_a_process(name: str, command: list[str], seconds: float, report: Report) -> Outcome:
    """A part that this script runs itself. What a kill leaves of it stands in the report.

    Raises:
        NoGpuError: if it found none, and no part before it did anything.
    """
    from confirm.setting import CUT_OFF, FAILED, Outcome, run

    code, _ = run(command, seconds, show=True)
    row = report.row(name)
    if code == NO_GPU and not report.read()["parts"]:
        raise NoGpuError
    if code == 0:
        return Outcome(row["status"], row["line"], {})
    said = f"cut off after {seconds:.0f} s" if code is None else f"its process ended with {code}"
    complaints = row.get("complaints", [])
    if code is None and not complaints:
        return Outcome(CUT_OFF, "its share of the minutes was over", {})
    return Outcome(FAILED, "; ".join([*complaints[:1], said]), {})


def inside(name: str, report: Report, *, quick: bool) -> int:
    """Be the process of a part: what it finds goes into the report at once."""
    from confirm.compiling import watch_compiler
    from confirm.machine import facts
    from confirm.setting import FAILED, Setting

    from minibnn import DeviceError, get_backend

    compiled = watch_compiler()
    try:
        backend = get_backend("gpu")
    except DeviceError as error:
        print(f"confirm_gpu.py: {error}", file=sys.stderr)
        return NO_GPU
    print(f"\n{name}", flush=True)

    def keep(**found: Any) -> None:
        report.keep(name, **found, **compiled)

    keep()
    setting = Setting(backend, **(QUICK if quick else {}), keep=keep)
    try:
        report.keep_head(quick=quick, on=facts(backend))
        outcome = part(name)(setting)
    except Exception as error:  # the other parts are wanted all the same
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        what = str(error).splitlines() or [""]
        line = f"{type(error).__name__}: {what[0]}"
        keep(status=FAILED, line=line, traceback=trace)
    else:
        keep(**outcome.details, status=outcome.status, line=outcome.line)
    return 0


def run_parts(
    wanted: Sequence[str], start: Starter, report: Report, minutes: float = MINUTES
) -> list[dict[str, Any]]:
    """Run the parts one after the other; what is known stands in the report at any time."""
    from confirm.compiling import kept_kernels
    from confirm.setting import NOT_RUN, Outcome

    end = time.monotonic() + 60 * minutes
    rows = []
    for i, name in enumerate(wanted):
        begun, kernels = time.monotonic(), kept_kernels()
        seconds = (end - begun) * PARTS[name] / sum(PARTS[later] for later in wanted[i:])
        if seconds < LEAST:
            outcome = Outcome(NOT_RUN, "no time", {})
        else:
            outcome = start(name, seconds, report)
        known = {"compiled": kept_kernels() - kernels} | report.row(name) | outcome.details
        known |= {"status": outcome.status, "line": outcome.line}
        known |= {"seconds": round(time.monotonic() - begun, 2), "share": round(seconds, 1)}
        report.keep(**known | {"part": name})
        rows.append(known)
        print(last_line(known), flush=True)
    return rows


def last_line(row: Mapping[str, Any]) -> str:
    """How a part ended."""
    if row["status"] == "not run":
        return f"{row['part']}: not run: {row['line']}"
    compiled = ""
    if row.get("compiled"):
        compiled = f" ({row['compiled']} compiled"
        compiled += f" in {row['compile_seconds']:.1f} s)" if "compile_seconds" in row else ")"
    return f"{row['part']}: {row['status']}, {row['seconds']:.1f} s{compiled}: {row['line']}"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The last lines of all parts once more, and one about all of them."""
    statuses = ("ok", "FAILED", "cut off", "not run")
    counts = {s: sum(r["status"] == s for r in rows) for s in statuses}
    seconds = sum(row["seconds"] for row in rows)
    total = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return "\n".join([*map(last_line, rows), f"in all: {total}, {seconds:.0f} s"])


def exit_status(rows: Sequence[Mapping[str, Any]]) -> int:
    """1 if something failed."""
    return int(any(row["status"] == "FAILED" for row in rows))


def missing(names: Sequence[str]) -> list[str]:
    """Which of these packages are not there."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def hint(lacking: Sequence[str]) -> str:
    """The packages, and the command that installs them."""
    command = f"{sys.executable} -m pip install {' '.join(lacking)}"
    return f"{', '.join(lacking)}; install with: {command}"


if __name__ == "__main__":
    main()
