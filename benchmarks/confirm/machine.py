"""Parts of `confirm_gpu.py`: the device, the tests that need it, the sanitizer."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import minibnn
from confirm.setting import BENCHMARKS, NOT_RUN, Outcome, Setting, run, verdict
from minibnn.backend import Backend
from minibnn.backend.cuda import cublas

USUAL = "/usr/local/cuda/bin/compute-sanitizer"
SCRIPT = BENCHMARKS / "every_kernel.py"


def device(setting: Setting) -> Outcome:
    """Names and versions, and whether steps are recorded."""
    backend = setting.backend
    found = facts(backend)
    for name, value in found.items():
        print(f"  {name}: {value}")
    complaints = [] if backend.records else [f"steps are not recorded: {backend.records_not}"]
    return verdict(complaints, f"{found['gpu']}, driver {found['driver']}, steps are recorded",
                   found)  # fmt: skip


def facts(backend: Backend) -> dict[str, Any]:
    """What the parts ran on."""
    if backend.host or not hasattr(backend.xp.cuda, "runtime"):  # a stand-in, in the tests
        return versions() | {"gpu": backend.name}
    recording: dict[str, Any] = {"records": backend.records}
    if not backend.records:
        recording["records_not"] = backend.records_not
    return versions() | graphics(backend) | recording


def versions() -> dict[str, Any]:
    """Of Python and what minibnn stands on."""
    found = {"python": sys.version.split()[0], "minibnn": minibnn.__version__}
    names = {d.name for d in importlib.metadata.distributions()}
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


def suite(setting: Setting) -> Outcome:
    """The tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    code, output = run(command, 360)
    return read_suite(code, output)


def read_suite(code: int | None, output: str) -> Outcome:
    """What pytest says at its end."""
    lines = output.splitlines()
    tail = next((line for line in reversed(lines) if re.search(r" in [\d.]+s", line)), "")
    counts = {kind.rstrip("s"): int(n) for n, kind in
              re.findall(r"(\d+) (passed|failed|skipped|errors?|xfailed)", tail)}  # fmt: skip
    failed = [line for line in lines if line.startswith(("FAILED ", "ERROR "))]
    line = ", ".join(f"{counts.get(kind, 0)} {kind}" for kind in ("passed", "failed", "skipped"))
    complaints = []
    if code is None:
        complaints = ["it took too long", *failed]
    elif code != 0:
        complaints = [f"{line}; {failed[0] if failed else lines[-1] if lines else code}"]
    elif not counts.get("passed"):
        complaints = [f"no test ran: {line}"]
    for text in failed[:20]:
        print(f"  {text}")
    return verdict(complaints, line, counts | {"failures": failed, "tail": lines[-15:]})


def sanitizer(setting: Setting) -> Outcome:
    """Every kernel under compute-sanitizer: accesses beside arrays, races in shared memory."""
    program = setting.sanitizer or shutil.which("compute-sanitizer")
    program = program or (USUAL if Path(USUAL).exists() else None)
    if program is None:
        return Outcome(NOT_RUN, "compute-sanitizer is not on the PATH; --sanitizer says where", {})
    complaints, found = [], {}
    for tool in ("memcheck", "racecheck"):
        # Errors that the API returns are CuPy's own affair: it asks whether something works so.
        options = ["--error-exitcode", "9"]
        options += ["--report-api-errors", "no"] if tool == "memcheck" else []
        command = [program, "--tool", tool, *options, sys.executable, str(SCRIPT)]
        code, output = run(command, 240)
        summary = re.findall(r"=+ (.*SUMMARY: .*)", output)
        found[tool] = summary[-1] if summary else "no summary"
        print(f"  {tool}: {found[tool]}")
        if code != 0 or not summary or "every kernel was launched" not in output:
            print(output[-4000:])
            status = "took too long" if code is None else f"ended with {code}"
            complaints.append(f"{tool} {status}: {found[tool]}")
    return verdict(complaints, "; ".join(f"{k}: {v}" for k, v in found.items()), found)


def race(setting: Setting) -> Outcome:
    """`gpu.py`: the same work beside PyTorch and JAX, turn by turn."""
    script = BENCHMARKS / "gpu.py"
    if not script.exists():
        return Outcome(NOT_RUN, "benchmarks/gpu.py is not here", {})
    options = ["--repeats", "3", "--minutes", "4"]
    code, output = run([sys.executable, str(script), *options], 480)
    print(output)
    status = "it took too long" if code is None else f"gpu.py ended with {code}"
    lines = output.splitlines()
    return verdict([] if code == 0 else [status], "see its table", {"output": lines})
