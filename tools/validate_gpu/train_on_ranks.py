"""Train on the ranks of mpirun by each transport that works here, and print what came out.

    mpirun -n 2 python tools/validate_gpu/train_on_ranks.py

Each rank takes a GPU of its own; with CUDA_VISIBLE_DEVICES=0 all share the first one. Rank 0 prints
a line of JSON: for each mode and transport a digest of all parameters, buffers and losses, and the
time of a step; and why other transports were not used. `confirm_gpu.py` runs it on one rank and on
two.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
# minibnn may not be installed; `confirm.training` reads results of the benchmarks
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from confirm.training import state, training  # noqa: E402
from minibnn import DeviceError, ImageDataset, Ranks, get_backend, load_mnist_or_sample  # noqa: E402
from minibnn.backend import Backend  # noqa: E402
from minibnn.distributed.choice import KINDS, MESSAGES, SUMS, VARIABLE, choose  # noqa: E402
from minibnn.recipes import RECIPES  # noqa: E402
from minibnn.training.data_parallel import DataParallel  # noqa: E402

RECIPE = "modern"  # it has batch norm, whose sums are small, in the middle of a step
IMAGES = 4_000
TIMEOUT = 60.0  # seconds


def main() -> None:
    """Train, and print the findings."""
    ranks = Ranks("sum", timeout=TIMEOUT)  # before the GPU is opened
    try:
        backend = get_backend("gpu")
    except DeviceError as error:
        sys.exit(f"train_on_ranks.py: {error}")
    with ranks.ending_together():
        found = findings(ranks, backend, load_mnist_or_sample())
    if ranks.first:
        print(json.dumps(found), flush=True)


def findings(
    ranks: Ranks, backend: Backend, data: ImageDataset, images: int = IMAGES
) -> dict[str, Any]:
    """What all ranks have found; every rank calls it.

    Args:
        ranks: all of them.
        backend: of the GPU.
        data: to train on.
        images: how many of them.
    """
    runs, refused = [], {}
    for mode, kinds in (("exact", MESSAGES), ("sum", SUMS)):
        for kind in kinds if ranks.size > 1 else kinds[-1:]:
            os.environ[VARIABLE] = kind
            reason = why_not(ranks, backend, kind, kinds)
            if reason:
                refused[kind] = reason
            else:
                runs.append({"mode": mode, "by": kind, **train(mode, backend, data, images)})
    del os.environ[VARIABLE]
    # `fit` also compares the ranks' values, and divides the evaluation.
    recipe = RECIPES[RECIPE]()
    _, history = recipe.train(
        data, seed=1, device=backend, epochs=1, progress=False, comm=Ranks("sum", timeout=TIMEOUT)
    )
    runtime = backend.xp.cuda.runtime
    gpu = runtime.deviceGetPCIBusId(runtime.getDevice())
    return {
        "ranks": ranks.size,
        "gpus": ranks.of_all(gpu, "naming the GPUs"),
        "runs": runs,
        "refused": refused,
        "accuracy": float(history.acc_test.iloc[-1]),
    }


def why_not(ranks: Ranks, backend: Backend, kind: str, kinds: tuple[str, ...]) -> str:
    """Why a transport is not tried, or does not work; empty if it does."""
    for reason in ranks.of_all(KINDS[kind].why_not(ranks.comm, backend), "choosing"):
        if reason:
            return str(reason)
    try:
        choose(ranks.comm, backend, kinds)
    except RuntimeError as error:
        return str(error)
    return ""


def train(mode: Any, backend: Backend, data: ImageDataset, images: int) -> dict[str, Any]:
    """Two epochs of steps: a digest of everything, and the milliseconds of a step in the second."""
    part = slice(images)
    few = replace(data, train_images=data.train_images[part], train_labels=data.train_labels[part])
    kind: Any = partial(DataParallel, ranks=Ranks(mode, timeout=TIMEOUT))
    steps, loader = training(kind, RECIPES[RECIPE](), backend, few, rest=True)
    digest = hashlib.sha256()
    seconds = 0.0
    for _ in range(2):  # the first one compiles
        begun = time.perf_counter()
        digest.update(backend.to_host(steps.epoch(loader)).tobytes())
        seconds = time.perf_counter() - begun
    for a in state(steps.model).values():
        digest.update(a.tobytes())
    return {"digest": digest.hexdigest()[:16], "ms": round(1000 * seconds / len(loader), 3)}


if __name__ == "__main__":
    main()
