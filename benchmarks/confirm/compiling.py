"""How many kernels are compiled meanwhile, and how long that takes: on a fresh machine, most of it.

CuPy compiles a kernel when it is first needed, and keeps what it made on the disk.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def watch_compiler() -> dict[str, float]:
    """Count CuPy's calls of its compiler from now on, in what is returned; empty without CuPy."""
    found: dict[str, float] = {"compiled": 0, "compile_seconds": 0.0}
    try:
        from cupy.cuda import compiler

        program: Any = compiler._NVRTCProgram  # of CuPy 14; it is no public name
        compile_it = program.compile
    except (ImportError, AttributeError):
        return {}

    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return compile_it(*args, **kwargs)
        finally:
            found["compiled"] += 1
            found["compile_seconds"] = round(
                found["compile_seconds"] + time.perf_counter() - start, 3
            )

    program.compile = timed
    return found


def kept_kernels() -> int:
    """How many compiled kernels CuPy has on the disk."""
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    return sum(1 for _ in Path(folder).glob("*.cubin"))
