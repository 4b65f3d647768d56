"""Parts of `confirm_gpu.py`: the device, and programs: the tests, the sanitizer, `gpu.py`."""

from __future__ import annotations

import ctypes
import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import minibnn
from confirm.setting import BENCHMARKS, CUT_OFF, NOT_RUN, Outcome, Setting, run, verdict
from minibnn.backend import Backend
from minibnn.backend.cuda import cublas

USUAL = "/usr/local/cuda/bin/compute-sanitizer"
SCRIPT = BENCHMARKS / "every_kernel.py"
LAUNCHED = "every kernel was launched"  # its last line
TOOLS = ("memcheck", "racecheck")
MOST_WORKERS = 8  # each has its own half a gigabyte of the GPU's memory


def device(setting: Setting) -> Outcome:
    """Names and versions, and whether steps are captured."""
    backend = setting.backend
    found = facts(backend)
    for name, value in found.items():
        print(f"  {name}: {value}")
    complaints = [] if backend.graphs else [f"steps are not captured: {backend.no_graphs}"]
    return verdict(
        complaints,
        f"{found['gpu']}, driver {found.get('driver', 'unknown')}, steps are captured",
        {},
    )


def facts(backend: Backend) -> dict[str, Any]:
    """What the parts ran on."""
    runtime = getattr(getattr(backend.xp, "cuda", None), "runtime", None)
    if not hasattr(runtime, "getDeviceProperties"):  # a stand-in, in the tests
        return versions() | {"gpu": backend.name}
    graphs: dict[str, Any] = {"graphs": backend.graphs is not None}
    if not backend.graphs:
        graphs["no_graphs"] = backend.no_graphs
    return versions() | graphics(backend) | graphs


def versions() -> dict[str, Any]:
    """Of Python and what minibnn stands on."""
    found = {"python": sys.version.split()[0], "minibnn": minibnn.__version__}
    names = {d.name for d in importlib.metadata.distributions() if d.name}  # none, if damaged
    wanted = [n for n in sorted(names) if n == "numpy" or n.startswith(("cupy", "nvidia-cublas"))]
    return found | {name: importlib.metadata.version(name) for name in wanted}


def graphics(backend: Backend) -> dict[str, Any]:
    """The GPU, its driver, and the versions of CUDA's parts."""
    runtime = backend.xp.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    return {
        "gpu": properties["name"].decode(),
        "capability": f"{properties['major']}.{properties['minor']}",
        "multiprocessors": properties["multiProcessorCount"],
        "memory_gib": round(properties["totalGlobalMem"] / 2**30, 1),
        "compute_mode": properties["computeMode"],
        "driver": _driver(),
        "driver_cuda": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "nvrtc": ".".join(map(str, backend.xp.cuda.nvrtc.getVersion())),
        "cublas": _cublas_version(),
    }


def _driver() -> str:
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return "of unknown version"
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else text.splitlines()[0]


def _cublas_version() -> str:
    """Of the library that products go to; CuPy may have loaded another one."""
    try:
        library, number, parts = cublas._load(), ctypes.c_int(), []
        for kind in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of library_types.h
            library.cublasGetProperty(kind, ctypes.byref(number))
            parts.append(str(number.value))
        return ".".join(parts)
    except (RuntimeError, AttributeError) as error:
        return f"unknown: {error}"


def suite(seconds: float, workers: int) -> Outcome:
    """The tests that need a GPU; in parallel, with more than one worker."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider",
               "--continue-on-collection-errors", "tests"]  # fmt: skip
    code, output = run(command + (["-n", str(workers)] if workers > 1 else []), seconds)
    return read_suite(code, output)


def suite_workers(on: Mapping[str, Any]) -> int:
    """How many processes may test at once, on a machine with these facts."""
    if importlib.util.find_spec("xdist") is None or on.get("compute_mode"):
        return 1  # other modes than 0 let no second process in
    return min(MOST_WORKERS, os.cpu_count() or 1)


def read_suite(code: int | None, output: str) -> Outcome:
    """What pytest says at its end."""
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
    complaints = []
    if code != 0:
        complaints = [f"{line}; {failed[0] if failed else lines[-1] if lines else code}"]
    elif not counts.get("passed"):
        complaints = [f"no test ran: {line}"]
    return verdict(complaints, line, details)


def sanitizer(seconds: float, program: str | None) -> Outcome:
    """Every kernel under compute-sanitizer: accesses beside arrays, races in shared memory."""
    program = program or shutil.which("compute-sanitizer")
    program = program or (USUAL if Path(USUAL).exists() else None)
    if program is None:
        return Outcome(NOT_RUN, "compute-sanitizer is not on the PATH; --sanitizer says where", {})
    complaints: list[str] = []
    found: dict[str, Any] = {}
    for tool in TOOLS:
        # Errors that the API returns are CuPy's own affair: it asks whether something works so.
        options = ["--error-exitcode", "9"]
        options += ["--report-api-errors", "no"] if tool == "memcheck" else []
        command = [program, "--tool", tool, *options, sys.executable, str(SCRIPT)]
        code, output = run(command, seconds / len(TOOLS))
        summary = re.findall(r"=+ (.*SUMMARY: .*)", output)
        found[tool] = summary[-1] if summary else "no summary"
        if code is None and not complaints:
            return Outcome(CUT_OFF, f"during {tool}", found)
        if refuses(code, output):
            reason = (output.strip().splitlines() or [f"it ended with {code}"])[-1]
            return Outcome(NOT_RUN, f"{tool} is refused here: {reason}", {"output": output[-4000:]})
        print(f"  {tool}: {found[tool]}")
        if code != 0 or not summary or LAUNCHED not in output:
            print(output[-4000:])
            complaints.append(f"{tool} ended with {code}: {found[tool]}")
    return verdict(complaints, "; ".join(f"{k}: {v}" for k, v in found.items()), found)


def refuses(code: int | None, output: str) -> bool:
    """Whether the sanitizer could not watch here: no kernel ran, and that was not the script's.

    Machines that are shared often forbid it. The script finds no GPU then, though there is one, or
    does not even begin.
    """
    if code in (0, None) or LAUNCHED in output or re.search(r"SUMMARY: [1-9]", output):
        return False
    return "Traceback" not in output and "not launched" not in output


def race(seconds: float) -> Outcome:
    """`gpu.py`: the same work beside PyTorch and JAX, round by round."""
    script = BENCHMARKS / "gpu.py"
    if not script.exists():
        return Outcome(NOT_RUN, "benchmarks/gpu.py is not here", {})
    # It begins no workload after its minutes, and ends the one that it is at.
    options = ["--repeats", "3", "--minutes", f"{seconds / 120:.2f}"]
    code, output = run([sys.executable, str(script), *options], seconds)
    print(output)
    lines = output.splitlines()
    if code is None:
        return Outcome(CUT_OFF, "during gpu.py", {"output": lines})
    return verdict([f"gpu.py ended with {code}"] if code else [], "see its table",
                   {"output": lines})  # fmt: skip
