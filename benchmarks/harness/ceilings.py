"""Measure a device: the rates of a large copy and of large matrix products.

    python benchmarks/harness/ceilings.py gpu|cpu     # prints JSON, with the device and versions

On a GPU it uses CuPy, which reads CUPY_TF32 only once: measuring TF32 takes another process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROUNDS = 5  # the best one counts: a ceiling
SECONDS = 0.1  # per round, approximately


def rate(work: Callable[[], Any], wait: Callable[[], None], amount: float) -> float:
    """The amount that `work` processes per second, in the best round."""

    def seconds(times: int) -> float:
        wait()
        start = time.perf_counter()
        for _ in range(times):
            work()
        wait()
        return time.perf_counter() - start

    seconds(3)  # warm-up: kernels are loaded and the clock rises
    times = max(1, int(SECONDS / max(seconds(1), 1e-6)))
    return amount * times / min(seconds(times) for _ in range(ROUNDS))


def copy_rate(xp: Any, wait: Callable[[], None], values: int) -> float:
    """Bytes per second, read and written together."""
    source, target = xp.ones(values, np.float32), xp.zeros(values, np.float32)
    return rate(lambda: xp.copyto(target, source), wait, 2 * source.nbytes)


def product_rate(xp: Any, wait: Callable[[], None], n: int, dtype: Any) -> float:
    """Multiplications and additions per second, for random n x n matrices."""
    random = np.random.default_rng(0).standard_normal((n, n), np.float32).astype(dtype)
    a, b = xp.asarray(random), xp.asarray(random[::-1].copy())
    c = xp.empty_like(a)
    return rate(lambda: xp.matmul(a, b, out=c), wait, 2.0 * n**3)


def rounds_to_tf32(xp: Any) -> bool:
    """Whether float32 products are rounded to TF32 in this process."""
    a = xp.full((256, 256), 1 + 2**-12, np.float32)
    return not bool((xp.matmul(a, xp.eye(256, dtype=np.float32)) == a).all())


def about(cupy: Any) -> dict[str, Any]:
    """The GPU and the software below CuPy."""
    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(cupy.cuda.Device().id)
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=20)
        driver = done.stdout.strip().partition("\n")[0] if done.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        driver = ""
    return {
        "gpu": properties["name"].decode(),
        "compute_capability": f"{properties['major']}.{properties['minor']}",
        "memory_bytes": properties["totalGlobalMem"],
        "multiprocessors": properties["multiProcessorCount"],
        "driver": driver,
        "driver_cuda": runtime.driverGetVersion(),
        "cuda_runtime": runtime.runtimeGetVersion(),
        "cublas": cupy.cuda.cublas.getVersion(cupy.cuda.Device().cublas_handle),
        "cupy": cupy.__version__,
    }


def main() -> None:
    """Measure, and print."""
    if sys.argv[1] == "cpu":
        found: dict[str, Any] = {
            "rounds_to_tf32": rounds_to_tf32(np),
            "copy": copy_rate(np, lambda: None, 2**23),
            "float32": product_rate(np, lambda: None, 512, np.float32),
        }
    else:
        import cupy

        wait = cupy.cuda.Device().synchronize
        found = about(cupy) | {
            "rounds_to_tf32": rounds_to_tf32(cupy),
            "copy": copy_rate(cupy, wait, 2**28),
            "float32": product_rate(cupy, wait, 8192, np.float32),
            "float16": product_rate(cupy, wait, 8192, np.float16),
        }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
