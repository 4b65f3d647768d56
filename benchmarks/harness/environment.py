"""The environment of a measurement, and how results are stored."""

from __future__ import annotations

import ctypes
import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import minibnn
from harness.rivals import NAMES, versions
from minibnn import get_backend
from minibnn.atomic_file import whole_file

# Variables that slow down one contestant only. Most force one library to use certain kernels, while
# the others choose kernels for the processor, or set TF32 for one library. With the last one,
# Python compiles minibnn at each start, but not what pip has compiled.
UNFAIR = (
    "OPENBLAS_CORETYPE",
    "OPENBLAS_L2_SIZE",
    "NPY_DISABLE_CPU_FEATURES",
    "MKL_DEBUG_CPU_TYPE",
    "MKL_ENABLE_INSTRUCTIONS",
    "ONEDNN_MAX_CPU_ISA",
    "ATEN_CPU_CAPABILITY",
    "XLA_FLAGS",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
    "CUPY_TF32",
    "CUPY_ACCELERATORS",
    "CUDA_LAUNCH_BLOCKING",
    "PYTHONDONTWRITEBYTECODE",
)
# What limits each contestant to an instruction set. minibnn's kernels.c has no switch: its passes
# over memory, which are not products, still use AVX-512.
INSTRUCTIONS = {
    "avx2": {
        "MINIBNN_CPU": "avx2",
        "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "ATEN_CPU_CAPABILITY": "avx2",
        "XLA_FLAGS": "--xla_cpu_max_isa=AVX2",
    }
}
# Prefixes of variables that can change how a BLAS or a thread pool runs.
VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "XLA_", "TF_NUM_", "TF_ENABLE_")
# Prefixes of variables that can change how a training run rounds.
ROUNDING = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_", "NPY_", "MINIBNN_COMPILED", "MINIBNN_CPU")
RESULTS = Path(__file__).parents[1] / "results"


def restart_without_unfair_variables() -> None:
    """Restart this program without the variables that slow down one contestant, if any are set.

    A race is meaningless if one library may not use the processor's vector instructions. Call this
    first.
    """
    found = {name: os.environ.pop(name) for name in UNFAIR if name in os.environ}
    if found:
        names = ", ".join(f"{name}={value}" for name, value in found.items())
        print(
            f"restarted without variables that slow down one contestant: {names}", file=sys.stderr
        )
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv])


def environment(*packages: str) -> dict[str, Any]:
    """Processor, cores, and versions of Python, NumPy, its BLAS, minibnn and other packages."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "minibnn": minibnn.__version__,  # a checkout may not be installed
        **{name: importlib.metadata.version(name) for name in ("numpy", *packages)},
    }


def machine() -> dict[str, Any]:
    """Everything that affects rounding, and so the course of a training run: see README.md.

    The processor with its instruction set, NumPy, the BLAS with its kernels and threads, whether
    minibnn's C kernels are in use, variables that affect these, and the commit, followed by ``+``
    if files have been changed since.
    """
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    kernel, threads = _blas_state()
    return {
        "processor": _processor(),
        "numpy": np.__version__,
        "blas": f"{blas['name']} {blas['version']} {kernel}".strip(),
        "blas_threads": threads,
        "backend": type(get_backend("cpu")).__name__,
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(ROUNDING)},
        "commit": _commit(),
    }


def write_whole(path: Path, text: str) -> None:
    """Replace a result file atomically: if the program is killed, the old file stays."""
    with whole_file(path) as file:
        file.write(text.encode())


def save(name: str, table: pd.DataFrame, *packages: str) -> None:
    """Write every measurement and its environment to ``results/name.json``."""
    RESULTS.mkdir(exist_ok=True)
    rows = [  # leave out missing values: JSON has no nan
        json.dumps({k: v for k, v in row.items() if not pd.isna(v)})
        for row in table.to_dict(orient="records")
    ]
    text = json.dumps({"environment": environment(*packages)}, indent=2)
    text = text.removesuffix("\n}") + ',\n  "rows": [\n    ' + ",\n    ".join(rows) + "\n  ]\n}\n"
    write_whole(RESULTS / f"{name}.json", text)


def save_run(
    folder: Path,
    name: str,
    table: pd.DataFrame,
    homes: Iterable[str],
    threads: int | Sequence[int],
    left_out: Sequence[str],
    **more: object,
) -> None:
    """Write the measurements to ``name.csv``; their environment and `more` to ``name.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / f"{name}.csv", table.to_csv(index=False, float_format="%.6g"))
    found = environment() | {
        "blas_kernel": _blas_state()[0],
        "variables": {k: v for k, v in os.environ.items() if k.startswith(VARIABLES)},
        "release": _release(),
        "threads": threads,
        "minibnn_backend": type(get_backend("cpu")).__name__,
        "left_out": list(left_out),
        "date": datetime.date.today().isoformat(),
        "rivals": {home: versions(home) for home in sorted(homes) if home in NAMES},
        **more,
    }
    write_whole(folder / f"{name}.json", json.dumps(found, indent=2) + "\n")


def _release() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.release()


def _blas_state() -> tuple[str, int | None]:
    """The kernels that OpenBLAS chose for this processor at run time, and its number of threads.

    An empty string and None for any other BLAS.
    """
    try:
        maps = Path("/proc/self/maps").read_text().split()
    except OSError:
        return "", None
    for file in dict.fromkeys(part for part in maps if "openblas" in part):
        library = ctypes.CDLL(file)
        for prefix, suffix in (("scipy_", "64_"), ("", "")):
            name = f"{prefix}openblas_get_corename{suffix}"
            if hasattr(library, name):
                corename = getattr(library, name)
                corename.restype = ctypes.c_char_p
                threads = getattr(library, f"{prefix}openblas_get_num_threads{suffix}")
                return str(corename().decode()), int(threads())
    return "", None


def _commit() -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-C", str(Path(__file__).parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../../minibnn")
        return git("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return ""  # not a git checkout


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    best = next((f for f in ("avx512f", "avx2", "avx") if f in flags), "")
    return f"{names[0] if names else platform.processor()} {best}".strip()
