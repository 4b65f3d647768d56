"""What a measurement ran on, and how its results are kept."""

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
from rivals import NAMES, versions

import minibnn
from minibnn import get_backend
from minibnn.atomic_file import whole_file

# What hinders one contestant and no other: most of them force kernels upon one library, where the
# others choose for the processor they meet, or set TF32 for one; the last one makes Python compile
# minibnn at each start, and not what pip has compiled.
HINDERING = (
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
# What can change how a BLAS or a thread pool runs.
VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "KMP_", "GOMP_", "XLA_", "TF_NUM_", "TF_ENABLE_")
# What can change how a training rounds.
ROUNDING = ("OPENBLAS_", "OMP_", "MKL_", "BLIS_", "NPY_", "MINIBNN_COMPILED")
RESULTS = Path(__file__).parent / "results"


def start_even() -> None:
    """Start again without the variables that hinder one contestant, if there are any.

    A race in which one library may not use the processor's vectors says nothing. Call it first.
    """
    found = {name: os.environ.pop(name) for name in HINDERING if name in os.environ}
    if found:
        names = ", ".join(f"{name}={value}" for name, value in found.items())
        print(f"started again without what hinders one contestant: {names}", file=sys.stderr)
        sys.stderr.flush()
        os.execv(sys.executable, [sys.executable, *sys.argv])


def environment(*packages: str) -> dict[str, Any]:
    """Processor, cores, versions of Python, NumPy, its BLAS, minibnn and of other packages."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "blas": f"{blas['name']} {blas['version']}",
        "minibnn": minibnn.__version__,  # in a checkout it may not be installed
        **{name: importlib.metadata.version(name) for name in ("numpy", *packages)},
    }


def machine() -> dict[str, Any]:
    """What decides how a training rounds, and with it which course it takes: see README.md.

    The processor with its instructions, NumPy, the BLAS with the kernels that it chose and its
    threads, whether minibnn's C is there, variables that steer these, and the commit; ``+`` behind
    it says that files were changed since.
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
    """Write a result in one step: a kill leaves the one from before."""
    with whole_file(path) as file:
        file.write(text.encode())


def save(name: str, table: pd.DataFrame, *packages: str) -> None:
    """Write every single figure, with what it was measured on, to ``results/name.json``."""
    RESULTS.mkdir(exist_ok=True)
    rows = [  # without what is not there, since JSON knows no nan
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
    """Write a race's turns to ``name.csv`` and what they ran on, and `more`, to ``name.json``."""
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
    """Which of its kernels OpenBLAS chose for this processor, and how many threads it uses.

    It knows only when it runs. Empty, and None, for another BLAS.
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
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "../minibnn")
        return git("rev-parse", "--short=12", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.CalledProcessError):
        return ""  # no checkout


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    flags = next((line.split() for line in lines if line.startswith("flags")), [])
    best = next((f for f in ("avx512f", "avx2", "avx") if f in flags), "")
    return f"{names[0] if names else platform.processor()} {best}".strip()
