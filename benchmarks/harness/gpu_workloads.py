"""The workloads of `gpu.py` and their contestants, and the timing of packed models."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from deployment.form import Task
from deployment.write_forms import fold, tidy
from frameworks.ours import network
from harness.contestant import Array, Job
from harness.race import Contestant, Row, limits, run_rounds
from harness.workloads import CHANNELS_LAST, COMPILED, EAGER, JAX, SEED, Workload, step_job
from minibnn import ImageDataset, pack, save_packed
from minibnn.packed import PackedModel

OURS = Contestant("minibnn", "minibnn", "frameworks.ours", "captured")
PLAIN = Contestant("minibnn, plain steps", "minibnn", "frameworks.ours", "plain")
AS_USED = Contestant("minibnn", "minibnn", "frameworks.ours")
GRAPH = Contestant("PyTorch graph", "pytorch", "frameworks.pytorch_graph", "1")
GRAPH_32 = Contestant("PyTorch graph of 32 steps", "pytorch", "frameworks.pytorch_graph", "32")
COMPILED_32 = Contestant(
    "PyTorch compiled, graph of 32", "pytorch", "frameworks.pytorch_graph", "32 compiled"
)
UNROLLED = Contestant("JAX, 8 steps unrolled", "jax", "frameworks.jax_scan", "unrolled")
IM2COL = Contestant("JAX, im2col", "jax", "frameworks.jax_scan", "im2col")
CACHED = Contestant("JAX, compiled before", "jax", "frameworks.jax_scan", "cached")
PACKED = Contestant("minibnn", "minibnn", "deployment.shipped_numpy", "packed")
HALF = Contestant("PyTorch float16", "pytorch", "deployment.shipped_pytorch", "half")
HALF_GRAPH = Contestant(
    "PyTorch float16, graph", "pytorch", "deployment.shipped_pytorch", "half graph"
)
CAPTURING = (OURS, GRAPH, GRAPH_32, COMPILED_32, HALF_GRAPH)  # they need CUDA graphs

TRAINING = (OURS, PLAIN, EAGER, COMPILED, GRAPH, COMPILED_32, JAX)
INFERENCE = (PACKED, HALF, HALF_GRAPH)
BASE = (OURS.name, PLAIN.name)  # the others are compared with the first that took part
LABEL_TOLERANCE = 0.1  # float16 rounds the first layer's biases, to which untrained networks react
# Of the first loss. Where a sum of pixels is about 0, its sign depends on the order of summation,
# and each sample has the weight 1 / batch.
LOSS_TOLERANCE = 2e-2
COMPARED = 1000  # images whose labels are compared
RIVALS = ("pytorch", "jax")


def by_epoch(job: Job) -> Job:
    """The same job with an epoch per round: minibnn captures and replays whole epochs."""
    return replace(job, by_epoch=True)


def wide(n: int, steps: int) -> Job:
    """Training steps of three hidden layers with batch norm."""
    return by_epoch(step_job(n, n, n, steps=steps))


def predict(*hidden: int, batch: int, calls: int) -> Job:
    """Labels from a packed model."""
    return replace(step_job(*hidden, batch=batch, steps=calls), kind="predict")


WORKLOADS = {
    "seed-epoch": Workload("epoch", by_epoch(SEED), (*TRAINING, GRAPH_32, UNROLLED)),
    "step-3x256": Workload("step", wide(256, 600), TRAINING),
    "step-3x1024": Workload("step", wide(1024, 600), TRAINING),
    "step-3x4096": Workload("step", wide(4096, 100), TRAINING),
    "step-larq-cnn": Workload(
        "step",
        by_epoch(Job("train", (576, 64, 10), convs=(32, 64, 64), pooled=(0, 1), steps=200)),
        (*TRAINING, CHANNELS_LAST, IM2COL),
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
    """A packed network, and the same folded into floats; cached, since wide ones take long."""
    packed = pack(network(Job("predict", sizes)), (28, 28))
    return packed, fold(packed)


def measure_packed(
    name: str, workload: Workload, rounds: int, steps: int | None, data: ImageDataset
) -> tuple[list[Row], list[str]]:
    """Time calls of a packed model, and of the same network folded into float16 products.

    Images are on the device before a call, and labels on the host after it. The network is
    untrained, and the same thousand images are repeated: neither affects the time.
    """
    job = workload.job
    calls = steps or job.steps
    packed, layers = packed_of(job.sizes)
    few = data.test_images[:COMPARED]
    labels = packed.predict(few)
    n = max(job.batch, COMPARED)
    with tempfile.TemporaryDirectory() as folder_name:
        folder = Path(folder_name)
        np.save(folder / "images.npy", np.resize(few, (n, *few.shape[1:])))
        np.save(folder / "labels.npy", np.resize(labels, n))
        save_packed(packed, folder / "model.safetensors")
        np.savez(folder / "folded.npz", *(array for layer in layers for array in layer))
        Task(name, job.batch, calls, job.threads, job.device).write(folder)
        environment = limits(job.threads, device=job.device)
        found, problems = run_rounds(folder, workload.contestants, rounds, environment, calls,
                                     LABEL_TOLERANCE, start_together=True)  # fmt: skip
    return [{"work": name, "unit": f"s/{workload.unit}", **tidy(row)} for row in found], problems
