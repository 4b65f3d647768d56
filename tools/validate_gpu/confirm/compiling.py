"""Count and time the kernels that CuPy compiles: on a fresh machine this takes most of the time.

CuPy compiles a kernel when it is first needed, and stores it on disk.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any


def watch_compiler() -> dict[str, float]:
    """Return counts that grow with each compilation from now on; empty without CuPy."""
    found: dict[str, float] = {"compiled": 0, "compile_seconds": 0.0}
    try:
        from cupy.cuda import compiler

        program: Any = compiler._NVRTCProgram  # of CuPy 14; not a public name
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


def stored_kernels() -> int:
    """The number of compiled kernels that CuPy has on disk."""
    folder = os.environ.get("CUPY_CACHE_DIR") or Path.home() / ".cupy" / "kernel_cache"
    return sum(1 for _ in Path(folder).glob("*.cubin"))
