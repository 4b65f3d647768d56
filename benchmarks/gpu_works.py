"""What `gpu.py` measures: contestants, workloads, and how calls of a packed model are timed."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
from cpu import CHANNELS_LAST, COMPILED, EAGER, JAX, SEED, Workload, step_job
from deploy import fold, tidy
from ours import network
from race import Contestant, Row, limits, take_turns
from shipped import Task
from turns import Array, Job

from minibnn import ImageDataset, pack, save_packed
from minibnn.packed import PackedModel

OURS = Contestant("minibnn", "minibnn", "ours.py", "captured")
PLAIN = Contestant("minibnn, plain steps", "minibnn", "ours.py", "plain")
AS_USED = Contestant("minibnn", "minibnn", "ours.py")
GRAPH = Contestant("PyTorch graph", "pytorch", "pytorch_graph.py", "1")
GRAPH_32 = Contestant("PyTorch graph of 32 steps", "pytorch", "pytorch_graph.py", "32")
COMPILED_32 = Contestant(
    "PyTorch compiled, graph of 32", "pytorch", "pytorch_graph.py", "32 compiled"
)
UNROLLED = Contestant("JAX, 8 steps unrolled", "jax", "jax_scan.py", "unrolled")
WINDOWS = Contestant("JAX, windows", "jax", "jax_scan.py", "windows")
CACHED = Contestant("JAX, compiled before", "jax", "jax_scan.py", "cached")
PACKED = Contestant("minibnn", "minibnn", "shipped_numpy.py", "packed")
HALF = Contestant("PyTorch float16", "pytorch", "shipped_pytorch.py", "half")
HALF_GRAPH = Contestant("PyTorch float16, graph", "pytorch", "shipped_pytorch.py", "half graph")
CAPTURING = (OURS, GRAPH, GRAPH_32, COMPILED_32, HALF_GRAPH)  # CUDA graphs, which no CPU has

TRAINING = (OURS, PLAIN, EAGER, COMPILED, GRAPH, COMPILED_32, JAX)
INFERENCE = (PACKED, HALF, HALF_GRAPH)
BASE = (OURS.name, PLAIN.name)  # whom the others are compared with: who is there
AGREEMENT = 0.1  # float16 rounds the first layer's biases; an untrained network shows it
# Of the first loss. Sums of pixels that are 0 get either sign, by the order of summing, and a value
# weighs 1 / batch.
LOSS = 2e-2
FEW = 1000  # images whose labels are compared
RIVALS = ("pytorch", "jax")


def by_epoch(job: Job) -> Job:
    """The same job as a loader's epoch, which is what minibnn's steps on a GPU take."""
    return replace(job, by_epoch=True)


def wide(n: int, steps: int) -> Job:
    """Training steps of three hidden layers with batch norm."""
    return by_epoch(step_job(n, n, n, steps=steps))


def predict(*hidden: int, batch: int, calls: int) -> Job:
    """Labels of packed images."""
    return replace(step_job(*hidden, batch=batch, steps=calls), kind="predict")


WORKLOADS = {
    "seed-epoch": Workload("epoch", by_epoch(SEED), (*TRAINING, GRAPH_32, UNROLLED)),
    "step-3x256": Workload("step", wide(256, 600), TRAINING),
    "step-3x1024": Workload("step", wide(1024, 600), TRAINING),
    "step-3x4096": Workload("step", wide(4096, 100), TRAINING),
    "step-larq-cnn": Workload(
        "step",
        by_epoch(Job("train", (576, 64, 10), convs=(32, 64, 64), pooled=(0, 1), steps=200)),
        (*TRAINING, CHANNELS_LAST, WINDOWS),
    ),
    "evaluate": Workload("10,000 images", by_epoch(replace(SEED, kind="evaluate", steps=50)),
                     (AS_USED, EAGER, COMPILED, GRAPH, JAX)),
    "packed-1": Workload("call", predict(128, 64, batch=1, calls=500), INFERENCE),
    "packed-10000": Workload("call", predict(128, 64, batch=10_000, calls=50), INFERENCE),
    "packed-3x4096-1": Workload("call", predict(4096, 4096, 4096, batch=1, calls=200), INFERENCE),
    "packed-3x4096-10000": Workload(
        "call", predict(4096, 4096, 4096, batch=10_000, calls=5), INFERENCE
    ),
    "seed-job": Workload("job", replace(SEED, kind="whole"),
                         (AS_USED, EAGER, GRAPH_32, JAX, CACHED), whole_mnist=True),
}  # fmt: skip


@cache
def packed_of(sizes: tuple[int, ...]) -> tuple[PackedModel, list[tuple[Array, Array]]]:
    """A packed network, and the same in folded floats; wide ones take their time."""
    packed = pack(network(Job("predict", sizes)), (28, 28))
    return packed, fold(packed)


def measure_packed(
    name: str, work: Workload, repeats: int, steps: int | None, data: ImageDataset
) -> tuple[list[Row], list[str]]:
    """Calls of a packed model and of the same network folded into float16 products.

    Images are on the device before a call, and labels on the host after it. The network is as it
    was initialised, and the images are the same thousand over and over: neither changes a time.
    """
    job = work.job
    calls = steps or job.steps
    packed, layers = packed_of(job.sizes)
    few = data.test_images[:FEW]
    labels = packed.predict(few)
    n = max(job.batch, FEW)
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        np.save(folder / "images.npy", np.resize(few, (n, *few.shape[1:])))
        np.save(folder / "labels.npy", np.resize(labels, n))
        save_packed(packed, folder / "model.safetensors")
        np.savez(folder / "folded.npz", *(array for layer in layers for array in layer))
        Task(name, job.batch, calls, job.threads, job.device).write(folder)
        environment = limits(job.threads, device=job.device)
        found, wrong = take_turns(
            folder, work.contestants, repeats, environment, calls, AGREEMENT, together=True
        )
    return [{"work": name, "unit": f"s/{work.unit}", **tidy(row)} for row in found], wrong
