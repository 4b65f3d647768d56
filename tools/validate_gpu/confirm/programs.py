"""The parts of `confirm_gpu.py` that are programs: the tests, the sanitizer, and `gpu.py`."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from confirm.setting import BENCHMARKS, CUT_OFF, NOT_RUN, ROOT, Outcome, run, verdict

SANITIZER = "/usr/local/cuda/bin/compute-sanitizer"  # its usual path
SCRIPT = ROOT / "tools" / "validate_gpu" / "every_kernel.py"
LAUNCHED = "every kernel was launched"  # the last line of the script
TOOLS = ("memcheck", "racecheck")
MAX_WORKERS = 8  # each takes half a gigabyte of the GPU's memory


def suite(seconds: float, workers: int) -> Outcome:
    """Run the tests that need a GPU; in parallel if there is more than one worker."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider",
               "--continue-on-collection-errors", "tests"]  # fmt: skip
    code, output = run(command + (["-n", str(workers)] if workers > 1 else []), seconds)
    return read_suite(code, output)


def suite_workers(on: Mapping[str, Any]) -> int:
    """The number of test processes, on a machine with these facts."""
    if importlib.util.find_spec("xdist") is None or on.get("compute_mode"):
        return 1  # in other modes than 0, a second process may not use the GPU
    return min(MAX_WORKERS, os.cpu_count() or 1)


def read_suite(code: int | None, output: str) -> Outcome:
    """The outcome, from pytest's exit code and output."""
    lines = output.splitlines()
    tail = next((line for line in reversed(lines) if re.search(r" in [\d.]+s", line)), "")
    counts = {kind.rstrip("s"): int(n) for n, kind in
              re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed)", tail)}  # fmt: skip
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    line = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("passed", "failed", "skipped"))
    details = counts | {"failures": failed, "tail": lines[-15:]}
    for text in failed[:20]:
        print(f"  {text}")
    if code is None and not failed:
        return Outcome(CUT_OFF, f"until then {line}", details)
    problems = []
    if code != 0:
        problems = [f"{line}; {failed[0] if failed else lines[-1] if lines else code}"]
    elif not counts.get("passed"):
        problems = [f"no test ran: {line}"]
    return verdict(problems, line, details)


def sanitizer(seconds: float, program: str | None) -> Outcome:
    """Run every kernel under compute-sanitizer: invalid accesses, races in shared memory."""
    program = program or shutil.which("compute-sanitizer")
    program = program or (SANITIZER if Path(SANITIZER).exists() else None)
    if program is None:
        return Outcome(
            NOT_RUN, "compute-sanitizer is not on the PATH; hint: use --sanitizer PATH", {}
        )
    problems: list[str] = []
    found: dict[str, Any] = {}
    for tool in TOOLS:
        # CuPy handles errors of the API itself: it uses them to detect features.
        options = ["--error-exitcode", "9"]
        options += ["--report-api-errors", "no"] if tool == "memcheck" else []
        command = [program, "--tool", tool, *options, sys.executable, str(SCRIPT)]
        code, output = run(command, seconds / len(TOOLS))
        summary = re.findall(r"=+ (.*SUMMARY: .*)", output)
        found[tool] = summary[-1] if summary else "no summary"
        if code is None and not problems:
            return Outcome(CUT_OFF, f"during {tool}", found)
        if refuses(code, output):
            reason = (output.strip().splitlines() or [f"it ended with {code}"])[-1]
            return Outcome(NOT_RUN, f"{tool} cannot run here: {reason}", {"output": output[-4000:]})
        print(f"  {tool}: {found[tool]}")
        if code != 0 or not summary or LAUNCHED not in output:
            print(output[-4000:])
            problems.append(f"{tool} ended with {code}: {found[tool]}")
    return verdict(problems, "; ".join(f"{k}: {v}" for k, v in found.items()), found)


def refuses(code: int | None, output: str) -> bool:
    """Whether the sanitizer may not run here: no kernel ran, and the script was not at fault.

    Shared machines often forbid it. Then the script does not find the GPU, or does not even start.
    """
    if code in (0, None) or LAUNCHED in output or re.search(r"SUMMARY: [1-9]", output):
        return False
    return "Traceback" not in output and "not launched" not in output


def race(seconds: float) -> Outcome:
    """Run `gpu.py`, the race against PyTorch and JAX."""
    script = BENCHMARKS / "gpu.py"
    if not script.exists():
        return Outcome(NOT_RUN, "there is no benchmarks/gpu.py", {})
    # After these minutes it starts no workload, but finishes the current one.
    options = ["--rounds", "3", "--minutes", f"{seconds / 120:.2f}"]
    code, output = run([sys.executable, str(script), *options], seconds)
    print(output)
    lines = output.splitlines()
    if code is None:
        return Outcome(CUT_OFF, "during gpu.py", {"output": lines})
    return verdict([f"gpu.py ended with {code}"] if code else [], "its table is above",
                   {"output": lines})  # fmt: skip
