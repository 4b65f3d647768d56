"""Confirm on an NVIDIA GPU what was built without one: run it once, and read the last lines.

    MINIBNN_DATA=... python benchmarks/confirm_gpu.py             # all parts, within nine minutes
    MINIBNN_DATA=... python benchmarks/confirm_gpu.py --quick     # the same on less work
    python benchmarks/confirm_gpu.py --parts device suite kernels
    python benchmarks/confirm_gpu.py --sanitizer /usr/local/cuda/bin/compute-sanitizer --race

Parts, in this order:

    device      names and versions; whether steps are recorded
    suite       the tests that need a GPU
    sanitizer   memcheck and racecheck of every hand-written kernel, if compute-sanitizer is there
    kernels     every kernel's result against the CPU's
    repeat      two trainings from one seed: the same bits
    recorded    recorded steps against plain steps: the same bits
    accuracy    recipes over seeds, beside the CPU's stored runs
    speed       steps, epochs, the whole job, each kernel by itself
    race        with --race: `gpu.py`, beside PyTorch and JAX

Each ends in a line "ok", "FAILED" or "not run", with the reason. All figures go to
`benchmarks/results/gpu_confirm.json`, after each part. The exit status is 1 if something failed, 4
without a usable GPU, 2 if a package is missing. It needs no installed minibnn, only NumPy, CuPy,
pandas, tqdm, pooch and safetensors; the tests also pytest and hypothesis.
"""

from __future__ import annotations

import argparse
import datetime
import importlib.util
import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from confirm.setting import Outcome, Setting

BENCHMARKS = Path(__file__).parent
NEEDED = ("numpy", "pandas", "tqdm", "pooch", "safetensors")
NEEDED_BY_TESTS = ("pytest", "hypothesis")
PARTS = ("device", "suite", "sanitizer", "kernels", "repeat", "recorded", "accuracy", "speed",
         "race")  # fmt: skip
QUICK: Mapping[str, Any] = {
    "images": 6_000, "accuracy_seeds": 2, "epochs": 3, "steps": 60, "job_epochs": 2,
}  # fmt: skip
NO_GPU = 4


def main() -> None:
    """Run the parts."""
    args = arguments()
    lacking = missing(NEEDED)
    if lacking:
        print(f"confirm_gpu.py: not installed: {mend(lacking)}", file=sys.stderr)
        sys.exit(2)
    sys.path.insert(0, str(BENCHMARKS.parent))  # where minibnn is not installed
    from confirm.setting import Setting

    from minibnn import DeviceError, get_backend

    try:
        backend = get_backend("gpu")
    except DeviceError as error:
        print(f"confirm_gpu.py: {error}", file=sys.stderr)
        sys.exit(NO_GPU)
    setting = Setting(backend, sanitizer=args.sanitizer, **(QUICK if args.quick else {}))
    wanted = [name for name in PARTS if name in args.parts]
    rows = run_parts(wanted, parts(), setting, args.out, quick=args.quick, minutes=args.minutes)
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
    parser.add_argument("--minutes", type=float, metavar="N", help="begin no part after that")
    parser.add_argument("--out", type=Path, metavar="FILE",
                        default=BENCHMARKS / "results" / "gpu_confirm.json",
                        help="for all figures; default: %(default)s")  # fmt: skip
    args = parser.parse_args(argv)
    args.parts = set(args.parts or PARTS[:-1]) | ({"race"} if args.race else set())
    return args


def parts() -> dict[str, Callable[[Setting], Outcome]]:
    """What runs each part."""
    from confirm.machine import device, race, sanitizer, suite
    from confirm.speed import speed
    from confirm.training import accuracy, kernels, recorded, repeat

    functions: list[Callable[[Setting], Outcome]] = [
        device, suite, sanitizer, kernels, repeat, recorded, accuracy, speed, race
    ]  # fmt: skip
    found = {function.__name__: function for function in functions}
    lacking = missing(NEEDED_BY_TESTS)
    if lacking:
        found["suite"] = without_tests(lacking)
    return found


def run_parts(
    wanted: Sequence[str],
    functions: Mapping[str, Callable[[Setting], Outcome]],
    setting: Setting,
    out: Path,
    *,
    quick: bool = False,
    minutes: float | None = None,
) -> list[dict[str, Any]]:
    """Run the parts one after the other, and write what is known after each.

    An earlier run's file stays until all parts have run.
    """
    from confirm.machine import facts
    from confirm.setting import FAILED, NOT_RUN, Outcome

    from minibnn.result_folder import ResultFolder

    head = {"date": datetime.date.today().isoformat(), "quick": quick, "on": facts(setting.backend)}
    rows: list[dict[str, Any]] = []
    results = ResultFolder(out.parent, [out.name])
    begun = time.monotonic()
    for name in wanted:
        print(f"\n{name}", flush=True)
        start = time.monotonic()
        if minutes is not None and start - begun > 60 * minutes:
            outcome = Outcome(NOT_RUN, f"{minutes:g} minutes were over", {})
        else:
            try:
                outcome = functions[name](setting)
            except Exception as error:  # the other parts are wanted all the same
                trace = traceback.format_exc()
                print(trace, file=sys.stderr)
                what = str(error).splitlines() or [""]
                line = f"{type(error).__name__}: {what[0]}"
                outcome = Outcome(FAILED, line, {"traceback": trace})
        seconds = round(time.monotonic() - start, 2)
        rows.append({"part": name, "status": outcome.status, "seconds": seconds,
                     "line": outcome.line, **outcome.details})  # fmt: skip
        print(last_line(rows[-1]), flush=True)
        text = json.dumps(head | {"parts": rows}, indent=1, default=str) + "\n"
        results.write(out.name, text)
    results.finish()
    return rows


def last_line(row: Mapping[str, Any]) -> str:
    """How a part ended."""
    if row["status"] == "not run":
        return f"{row['part']}: not run: {row['line']}"
    return f"{row['part']}: {row['status']}, {row['seconds']:.1f} s: {row['line']}"


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """The last lines of all parts once more, and one about all of them."""
    counts = {s: sum(r["status"] == s for r in rows) for s in ("ok", "FAILED", "not run")}
    seconds = sum(row["seconds"] for row in rows)
    total = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    return "\n".join([*map(last_line, rows), f"in all: {total}, {seconds:.0f} s"])


def exit_status(rows: Sequence[Mapping[str, Any]]) -> int:
    """1 if something failed."""
    return int(any(row["status"] == "FAILED" for row in rows))


def missing(names: Sequence[str]) -> list[str]:
    """Which of these packages are not there."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def mend(lacking: Sequence[str]) -> str:
    """The packages, and the command that installs them."""
    command = f"{sys.executable} -m pip install {' '.join(lacking)}"
    return f"{', '.join(lacking)}; install with: {command}"


def without_tests(lacking: Sequence[str]) -> Callable[[Setting], Outcome]:
    """Stands in for the part `suite`."""
    from confirm.setting import NOT_RUN, Outcome

    return lambda setting: Outcome(NOT_RUN, f"not installed: {mend(lacking)}", {})


if __name__ == "__main__":
    main()
