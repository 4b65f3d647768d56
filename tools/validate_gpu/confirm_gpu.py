"""Validate minibnn on an NVIDIA GPU: run this once, and read the last lines.

    MINIBNN_DATA=... python tools/validate_gpu/confirm_gpu.py     # takes at most nine minutes
    MINIBNN_DATA=... python tools/validate_gpu/confirm_gpu.py --minutes 5 --quick
    python tools/validate_gpu/confirm_gpu.py --parts device suite kernels
    python tools/validate_gpu/confirm_gpu.py --race \
        --sanitizer /usr/local/cuda/bin/compute-sanitizer

It runs these parts in this order, the most important ones first:

    device      names and versions; whether steps are captured
    kernels     the result of every kernel, compared with the CPU's
    captured    captured steps give the same bits as plain steps
    repeat      two training runs from one seed give the same bits
    speed       times of steps, epochs, the whole seed job, and each kernel
    ranks       two ranks of MPI, on two GPUs or on one, if mpi4py is installed
    suite       the tests that need a GPU, in parallel if pytest-xdist is installed
    accuracy    recipes over several seeds, compared with the CPU's stored runs
    race        with --race: `gpu.py`, against PyTorch and JAX
    sanitizer   memcheck and racecheck of every hand-written kernel, if there is a compute-sanitizer

Each part is a separate process with a share of the remaining minutes. Its last line says "ok",
"FAILED", "cut off" (its time was over) or "not run", with the reason. All findings are written to
`benchmarks/results/gpu_confirm.json` as they arrive. If there is a file of an earlier run, they are
in `benchmarks/results/unfinished/gpu_confirm.json` until the end of this run.

On a new machine most of the time goes into compilation, which CuPy does once and stores in
`~/.cupy`. So each line says how much was compiled. `device` compiles the first of our files;
`kernels` all of them, and CuPy's kernels that make their inputs; `captured` adds CuPy's kernels for
training, and `repeat` those for evaluation; `speed` and `accuracy` need few others. `suite`
compiles by far the most: a small kernel of CuPy for each function and dtype in a test.

The exit status is 1 if a part failed, 2 if a package is missing, 4 without a usable GPU. minibnn
need not be installed: this needs only NumPy, CuPy, pandas, tqdm and safetensors; the tests also
need pytest and hypothesis. Without MNIST it uses minibnn's bundled sample.
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

ROOT = Path(__file__).parents[2]
NEEDED = ("numpy", "pandas", "tqdm", "safetensors")
NEEDED_BY_TESTS = ("pytest", "hypothesis")
NEEDED_BY_RANKS = ("mpi4py", "threadpoolctl")
# The parts in their order, with weights: a part gets its weight's share of the remaining minutes.
# The first ones may have to compile a lot; time that they do not need goes to the others.
PARTS: Mapping[str, int] = {
    "device": 6, "kernels": 8, "captured": 6, "repeat": 5, "speed": 7, "ranks": 5, "suite": 10,
    "accuracy": 4, "race": 9, "sanitizer": 5,
}  # fmt: skip
# The parts that this script runs itself, with their modules; the others are programs.
MODULES = {
    "device": "device", "kernels": "kernels", "captured": "training", "repeat": "training",
    "speed": "speed", "accuracy": "training",
}  # fmt: skip
QUICK: Mapping[str, Any] = {
    "images": 6_000, "accuracy_seeds": 2, "epochs": 3, "steps": 60, "job_epochs": 2,
}  # fmt: skip
MINUTES = 9.0
LEAST = 5.0  # seconds: no part starts with less
NO_GPU = 4

Starter = Callable[[str, float, "Report"], "Outcome"]


class NoGpuError(Exception):
    """The first part found no GPU, and has printed why."""


def main() -> None:
    """Run the parts."""
    args = arguments()
    absent = missing(NEEDED)
    if absent:
        print(f"confirm_gpu.py: not installed: {hint(absent)}", file=sys.stderr)
        sys.exit(2)
    add_paths()
    from confirm.report import Report
    from minibnn.result_folder import ResultFolder

    if args.inside:
        sys.exit(run_part(args.inside, Report(args.out), quick=args.quick))
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
    """Parse the command line."""
    parser = argparse.ArgumentParser(description="Validate minibnn on an NVIDIA GPU.")
    parser.add_argument("--parts", nargs="+", choices=PARTS, metavar="PART",
                        help=f"any of {', '.join(PARTS)}; default: all except race")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="less work in each part")
    parser.add_argument("--sanitizer", metavar="PATH",
                        help="the program compute-sanitizer, if it is not on the PATH")  # fmt: skip
    parser.add_argument("--race", action="store_true",
                        help="also race against PyTorch and JAX (gpu.py)")  # fmt: skip
    parser.add_argument("--minutes", type=float, metavar="N", default=MINUTES,
                        help="the limit for all parts together; default: %(default)g")  # fmt: skip
    parser.add_argument("--out", type=Path, metavar="FILE",
                        default=ROOT / "benchmarks" / "results" / "gpu_confirm.json",
                        help="write all findings there; default: "
                        "benchmarks/results/gpu_confirm.json")  # fmt: skip
    parser.add_argument("--inside", help=argparse.SUPPRESS)  # the part that this process runs
    args = parser.parse_args(argv)
    args.out = args.out.absolute()  # parts run in another folder, the checkout
    args.parts = set(args.parts or set(PARTS) - {"race"}) | ({"race"} if args.race else set())
    return args


def add_paths() -> None:
    """Make the checkout's minibnn importable, which may not be installed, and its benchmarks."""
    sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]


def part(name: str) -> Callable[[Setting], Outcome]:
    """A part that this script runs itself; imports only its module, since others may be broken."""
    found: Callable[[Setting], Outcome] = getattr(import_module(f"confirm.{MODULES[name]}"), name)
    return found


def starter(args: argparse.Namespace) -> Starter:
    """Return a function that runs a part and returns its outcome."""
    from confirm import programs, ranks
    from confirm.setting import NOT_RUN, Outcome

    needed = {"suite": NEEDED_BY_TESTS, "ranks": NEEDED_BY_RANKS}

    def start(name: str, seconds: float, report: Report) -> Outcome:
        absent = missing(needed.get(name, ()))
        if absent:
            return Outcome(NOT_RUN, f"not installed: {hint(absent)}", {})
        on = report.read().get("on", {})
        if name == "suite":
            return programs.suite(seconds, programs.suite_workers(on))
        if name == "ranks":
            return ranks.ranks(seconds, on)
        if name == "sanitizer":
            return programs.sanitizer(seconds, args.sanitizer)
        if name == "race":
            return programs.race(seconds)
        command = [sys.executable, str(Path(__file__).absolute()), "--inside", name, "--out",
                   str(report.file), *(["--quick"] if args.quick else [])]  # fmt: skip
        return in_a_process(name, command, seconds, report)

    return start


def in_a_process(name: str, command: list[str], seconds: float, report: Report) -> Outcome:
    """Run a part in a process. If it is killed, its findings so far are in the report.

    Raises:
        NoGpuError: if there is no GPU, and no part has run before.
    """
    from confirm.setting import CUT_OFF, FAILED, Outcome, run

    code, _ = run(command, seconds, show=True)
    row = report.row(name)
    if code == NO_GPU and not report.read()["parts"]:
        raise NoGpuError
    if code == 0:
        return Outcome(row["status"], row["line"], {})
    reason = f"cut off after {seconds:.0f} s" if code is None else f"its process ended with {code}"
    problems = row.get("problems", [])
    if code is None and not problems:
        return Outcome(CUT_OFF, "its share of the minutes was over", {})
    return Outcome(FAILED, "; ".join([*problems[:1], reason]), {})


def run_part(name: str, report: Report, *, quick: bool) -> int:
    """Run a part in this process; write its findings to the report at once."""
    from confirm.compiling import watch_compiler
    from confirm.device import facts
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
    except Exception as error:  # the other parts still run
        trace = traceback.format_exc()
        print(trace, file=sys.stderr)
        message = str(error).splitlines() or [""]
        line = f"{type(error).__name__}: {message[0]}"
        keep(status=FAILED, line=line, traceback=trace)
    else:
        keep(**outcome.details, status=outcome.status, line=outcome.line)
    return 0


def run_parts(
    wanted: Sequence[str], start: Starter, report: Report, minutes: float = MINUTES
) -> list[dict[str, Any]]:
    """Run the parts one after another; the report has all findings at any time."""
    from confirm.compiling import stored_kernels
    from confirm.setting import NOT_RUN, Outcome

    end = time.monotonic() + 60 * minutes
    rows = []
    for i, name in enumerate(wanted):
        begun, kernels = time.monotonic(), stored_kernels()
        seconds = (end - begun) * PARTS[name] / sum(PARTS[later] for later in wanted[i:])
        if seconds < LEAST:
            outcome = Outcome(NOT_RUN, "no time left", {})
        else:
            outcome = start(name, seconds, report)
        known = {"compiled": stored_kernels() - kernels} | report.row(name) | outcome.details
        known |= {"status": outcome.status, "line": outcome.line}
        known |= {"seconds": round(time.monotonic() - begun, 2), "share": round(seconds, 1)}
        report.keep(**known | {"part": name})
        rows.append(known)
        print(last_line(known), flush=True)
    return rows


def last_line(row: Mapping[str, Any]) -> str:
    """The last line of a part."""
    if row["status"] == "not run":
        return f"{row['part']}: not run: {row['line']}"
    compiled = ""
    if row.get("compiled"):
        compiled = f" ({row['compiled']} compiled"
        compiled += f" in {row['compile_seconds']:.1f} s)" if "compile_seconds" in row else ")"
    return f"{row['part']}: {row['status']}, {row['seconds']:.1f} s{compiled}: {row['line']}"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The last lines of all parts again, and a total."""
    statuses = ("ok", "FAILED", "cut off", "not run")
    counts = {s: sum(r["status"] == s for r in rows) for s in statuses}
    seconds = sum(row["seconds"] for row in rows)
    total = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return "\n".join([*map(last_line, rows), f"total: {total}, {seconds:.0f} s"])


def exit_status(rows: Sequence[Mapping[str, Any]]) -> int:
    """1 if something failed."""
    return int(any(row["status"] == "FAILED" for row in rows))


def missing(names: Sequence[str]) -> list[str]:
    """Those of these packages that are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def hint(absent: Sequence[str]) -> str:
    """The packages, and the command that installs them."""
    command = f"{sys.executable} -m pip install {' '.join(absent)}"
    return f"{', '.join(absent)}; install with: {command}"


if __name__ == "__main__":
    main()
