"""The part `device` of `confirm_gpu.py`: what the GPU is, and whether steps are captured."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import sys
from pathlib import Path
from typing import Any

import minibnn
from confirm.setting import Outcome, Setting, verdict
from minibnn.backend import Backend
from minibnn.backend.cuda import cublas


def device(setting: Setting) -> Outcome:
    """Print names and versions; fail if steps are not captured."""
    backend = setting.backend
    found = facts(backend)
    for name, value in found.items():
        print(f"  {name}: {value}")
    problems = [] if backend.graphs else [f"steps are not captured: {backend.no_graphs}"]
    return verdict(
        problems,
        f"{found['gpu']}, driver {found.get('driver', 'unknown')}, steps are captured",
        {},
    )


def facts(backend: Backend) -> dict[str, Any]:
    """The device and the versions, for the report."""
    runtime = getattr(getattr(backend.xp, "cuda", None), "runtime", None)
    if not hasattr(runtime, "getDeviceCount"):  # a stand-in, in tests
        return versions() | {"gpu": backend.name}
    graphs: dict[str, Any] = {"graphs": backend.graphs is not None}
    if not backend.graphs:
        graphs["no_graphs"] = backend.no_graphs
    return versions() | graphics(backend) | graphs


def versions() -> dict[str, Any]:
    """The versions of Python, minibnn, NumPy and CuPy."""
    found = {"python": sys.version.split()[0], "minibnn": minibnn.__version__}
    names = {
        d.name for d in importlib.metadata.distributions() if d.name
    }  # a broken one has no name
    wanted = [n for n in sorted(names) if n == "numpy" or n.startswith(("cupy", "nvidia-cublas"))]
    return found | {name: importlib.metadata.version(name) for name in wanted}


def graphics(backend: Backend) -> dict[str, Any]:
    """The GPU, its driver, and the versions of CUDA's libraries."""
    runtime = backend.xp.cuda.runtime
    properties = runtime.getDeviceProperties(runtime.getDevice())
    return {
        "gpu": properties["name"].decode(),
        "gpus": runtime.getDeviceCount(),
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
        return "unknown"
    found = re.search(r"\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else text.splitlines()[0]


def _cublas_version() -> str:
    """The version of the cuBLAS that computes products; CuPy may have loaded another one."""
    try:
        library, number, parts = cublas._load(), ctypes.c_int(), []
        for kind in range(3):  # MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL of library_types.h
            library.cublasGetProperty(kind, ctypes.byref(number))
            parts.append(str(number.value))
        return ".".join(parts)
    except (RuntimeError, AttributeError) as error:
        return f"unknown: {error}"
