"""Comparisons that are killed at random moments and resumed, compared with a serial one.

    python tests/fuzz/fuzz_kills.py --kills 3 --runs 24
    python tests/fuzz/fuzz_kills.py --kills 3 --runs 24 --mpirun -n 2

`tests/comparison/test_command.py` and `test_mpi.py` kill a few. It needs /proc, as Linux has it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pandas as pd

QUANTIZERS = ("SignSTE(clip=1.0)", "ApproxSign", "SwishSign", "SignSTE")
WORKER = b"multiprocessing.spawn"  # in a worker's command line


def words(out, *more, runs=8, epochs=1, recipe="seed"):
    """The arguments of a comparison of so many runs, a multiple of four."""
    return [
        "compare", "--dataset", "sample", "--recipe", recipe, "--epochs", str(epochs),
        "--quantizers", *QUANTIZERS, "--seeds", str(runs // len(QUANTIZERS)), "--out", str(out), *more,
    ]  # fmt: skip


def start(arguments, launcher=(), **options):
    """Start the command."""
    return subprocess.Popen(
        [*launcher, sys.executable, "-m", "minibnn", *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options,
    )  # fmt: skip


def rows(out):
    """The table of runs without the seconds, as text."""
    found = [Path(out) / "unfinished" / "runs.csv", Path(out) / "runs.csv"]
    path = next(path for path in found if path.exists())
    return pd.read_csv(path).drop(columns="seconds").to_csv(index=False)


def read(process, name):
    """A file of a process in /proc; empty if it has ended."""
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except OSError:
        return b""


def alive(process):
    """Whether it runs; a zombie does not."""
    stat = read(process, "stat").rpartition(b")")[2].split()
    return bool(stat) and stat[0] not in (b"Z", b"X")


def descendants(process):
    """The numbers of all processes that it has started, and that these have started."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        stat = read(folder.name, "stat").rpartition(b")")[2].split()
        if stat:
            parents.setdefault(int(stat[1]), []).append(int(folder.name))
    found, left = [], [process]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def workers(process):
    """The processes that train, of a comparison or of mpirun."""
    return [n for n in descendants(process) if WORKER in read(n, "cmdline") and alive(n)]


def master(process):
    """The process that gives out runs: the command itself, or rank 0 of mpirun."""
    for number in descendants(process):
        environment = read(number, "environ").split(b"\0")
        first = {b"PMI_RANK=0", b"OMPI_COMM_WORLD_RANK=0"} & {*environment}
        if first and b"-m\0minibnn\0compare" in read(number, "cmdline"):
            return number
    return process


def gone(processes, seconds=5.0):
    """Wait until all of them have ended; those that have not."""
    end = time.monotonic() + seconds
    while (left := [n for n in processes if alive(n)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left


def finished(out):
    """How many runs the checkpoint has."""
    try:
        return (Path(out) / "checkpoint.json").read_text().count('"number"')
    except FileNotFoundError:
        return 0


def kill_and_resume(out, arguments, plan, *, launcher=(), wait=lambda: 0.0):
    """Run a comparison with kills by SIGKILL, again and again until it ends with exit code 0.

    Args:
        out: its folder.
        arguments: of the command.
        plan: of each kill: after how many finished runs, and whom, "worker" or "master".
        launcher: ``["mpirun", ...]``.
        wait: seconds to wait before each kill.

    Returns:
        The exit codes, and the processes that have not ended with their comparison.
    """
    plan, codes, left, everything = list(plan), [], [], set()
    while not codes or codes[-1]:
        process = start([*arguments, "--resume"], launcher)
        while plan and process.poll() is None:
            time.sleep(0.01)
            after, whom = plan[0]
            victims = workers(process.pid) if whom == "worker" else [master(process.pid)]
            if finished(out) >= after and victims:
                time.sleep(wait())
                everything |= {process.pid, *descendants(process.pid)}
                os.kill(victims[-1], signal.SIGKILL)
                if plan.pop(0)[1] == "master":
                    break
        said = process.communicate(timeout=100)[1]
        codes.append(process.returncode)
        print(f"  {' / '.join(said.splitlines()[-3:])[-400:]}; exit code {codes[-1]}")
        left += gone(everything)
    return codes, left


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--kills", type=int, default=3, help="of a worker, and as many of the master")
    add("--runs", type=int, default=24)
    add("--epochs", type=int, default=3)
    add("--jobs", type=int, default=2)
    add("--rounds", type=int, default=1)
    add("--seed", type=int, default=0)
    add("--mpirun", nargs=argparse.REMAINDER, help="with the options of mpirun")
    given = parser.parse_args(argv)
    launcher = () if given.mpirun is None else ("mpirun", *given.mpirun)
    more = ("--jobs", str(given.jobs)) if given.mpirun is None else ("--distributed",)
    rng = random.Random(given.seed)

    def arguments(out, *more):
        return words(out, *more, runs=given.runs, epochs=given.epochs)

    with tempfile.TemporaryDirectory() as folder:
        begun = time.monotonic()
        code = start(arguments(f"{folder}/serial")).wait()
        serial = time.monotonic() - begun
        expected = rows(f"{folder}/serial")
        begun = time.monotonic()
        code = code or start(arguments(f"{folder}/parallel", *more), launcher).wait()
        took = time.monotonic() - begun
        if code or rows(f"{folder}/parallel") != expected:
            raise SystemExit(f"undisturbed: exit code {code}, or other rows")
        print(f"undisturbed: serial {serial:.1f} s, {' '.join([*launcher, *more])} {took:.1f} s")
        for number in range(given.rounds):
            out = f"{folder}/{number}"
            counts = sorted(rng.randrange(given.runs - 2) for _ in range(2 * given.kills))
            plan = list(zip(counts, ["worker", "master"] * given.kills, strict=True))
            codes, left = kill_and_resume(
                out, arguments(out, *more), plan, launcher=launcher,
                wait=lambda: rng.uniform(0, 2 * took / given.runs),
            )  # fmt: skip
            if left or rows(out) != expected:
                raise SystemExit(f"processes left: {left}, or other rows:\n{rows(out)}\n{expected}")
            print(f"killed after {plan}: exit codes {codes}, same rows, no process left")
    return 0


if __name__ == "__main__":
    sys.exit(main())
