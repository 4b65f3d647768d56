"""The roofline model: the least time of a job, from its bytes and operations and measured rates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from frameworks.products import operations, shapes
from harness.contestant import Job

SCRIPT = Path(__file__).with_name("ceilings.py")
PIXELS = 28 * 28
IMAGES, TEST_IMAGES = 60_000, 10_000  # of MNIST


@dataclass(frozen=True)
class Ceilings:
    """Measured rates: bytes per second of a copy, operations per second of matrix products."""

    copy: float
    float32: float
    tf32: float
    float16: float


class Needs(NamedTuple):
    """The bytes and operations that a unit of work needs at least."""

    bytes: float
    operations: float


def training_needs(job: Job) -> Needs:
    """Bytes and operations of one training step, counted array by array.

    .. code-block:: text

        for each parameter       28   Adam: the gradient, w, m, v read; w, m, v written (4 each)
                                  4   the gradient written
        for each weight         1/8   its sign written, as a bit
                                1/8   read by the forward product
                                1/8   read by the backward product (not in the first layer)
        for each output z of     8    z written, and read by batch norm, sign or pooling
        a layer's product        8    dz written, and read for dW
                                 4    read for dx (not in the first layer)
        for each of them that    8    written and read, after pooling
        pooling leaves           4    read in the backward pass by batch norm or a clip
                                1/4   its sign written, and read by the next product (if not last)
                                1/8   read for the next dW (if not last)
        for each pixel           2    read as a byte, for z and for dW
        for each sample          5    its label and its index in the data set
        operations                    6 for each weight and sample; 4 in the first layer, which
                                      has no dx; in a convolution, also for each position

    Each array is moved once for each pass that needs it, as float32 unless stated otherwise. This
    assumes one kernel for each product and one for the rest of each layer. It is not a strict
    bound: data that stays in a cache is not moved, and a kernel that fuses a product with its
    update saves the 8 bytes of the gradient.
    """
    layers = shapes(job)
    last = len(layers) - 1
    parameters = 0
    total = 0.0
    for i, (m, k, n) in enumerate(layers):
        parameters += k * n + n * (job.bias + 2 * job.norm)
        total += k * n * (3 if i else 2) / 8
        outputs = m * n
        total += outputs * (20 if i else 16)
        if i in job.pooled:
            outputs = pooled_outputs(job, i)
            total += 8 * outputs
        if job.norm or (job.clip is not None and i < last):
            total += 4 * outputs
        if i < last:
            total += outputs * 3 / 8
    total += 32 * parameters + job.batch * (2 * PIXELS + 5)
    return Needs(total, operations(job))


def inference_needs(job: Job, images: int, bits: bool) -> Needs:
    """Bytes and operations of an evaluation, or of a packed model's labels.

    Each image, label and weight is read once. A weight has 4 bytes, or one bit in a packed model,
    which also has a threshold of 4 bytes for each output. Values between the layers do not count:
    they could stay on the chip. There are 2 operations for each weight and image.
    """
    layers = shapes(job)
    weights = sum(k * n for _, k, n in layers)
    outputs = sum(n for _, _, n in layers)
    own = weights / 8 + 4 * outputs if bits else 4 * weights
    count = sum(2 * m * k * n for m, k, n in layers) / job.batch
    return Needs(own + images * (PIXELS + 1), images * count)


def needs(job: Job) -> Needs:
    """The needs of a step, an evaluation of the test images, a call, or the whole seed job.

    The whole job is ten epochs, each with an evaluation of all images; loading is not included.
    """
    if job.kind == "train":
        return training_needs(job)
    if job.kind == "evaluate":
        return inference_needs(job, TEST_IMAGES, bits=False)
    if job.kind == "predict":
        return inference_needs(job, job.batch, bits=True)
    if job.kind != "whole":
        raise ValueError(f"no roofline is known for {job.kind!r}")
    step, test = training_needs(job), inference_needs(job, IMAGES + TEST_IMAGES, bits=False)
    steps = IMAGES // job.batch
    return Needs(*(10 * (steps * one + other) for one, other in zip(step, test, strict=True)))


def least_time(job: Job, ceilings: Ceilings) -> tuple[float, str]:
    """The least time in seconds, and what limits it: bytes or operations, whichever takes longer.

    The operations run at the rate of float32 products, or of TF32 where it is allowed; those of a
    packed model at the rate of float16. Products of signs in a smaller type may be faster.
    """
    rate = ceilings.tf32 if job.tf32 else ceilings.float32
    if job.kind == "predict":
        rate = ceilings.float16
    found = needs(job)
    times = {"bytes": found.bytes / ceilings.copy, "operations": found.operations / rate}
    kind = max(times, key=times.__getitem__)
    return times[kind], kind


def pooled_outputs(job: Job, layer: int) -> int:
    """The number of values in a batch after this convolution and 2x2 pooling."""
    m, _, n = shapes(job)[layer]
    side = int((m // job.batch) ** 0.5 + 0.5)
    return job.batch * (side // 2) ** 2 * n


def measure_ceilings(device: str) -> tuple[Ceilings, dict[str, Any]]:
    """Measure the rates in fresh processes; also return a description of the device.

    Raises:
        RuntimeError: if the measurement fails, or if float32 products are rounded to TF32.
    """
    exact = ask(device, tf32=False)
    if exact["rounds_to_tf32"]:
        raise RuntimeError("ceilings.py: float32 products are rounded to TF32, although it is off")
    if device == "cpu":
        return Ceilings(exact["copy"], *[exact["float32"]] * 3), {"rates": exact}
    rounded = ask(device, tf32=True)
    rates = ("copy", "float32", "float16", "rounds_to_tf32")
    found = Ceilings(exact["copy"], exact["float32"], rounded["float32"], exact["float16"])
    return found, {
        **{name: value for name, value in exact.items() if name not in rates},
        "rates": {"copy": found.copy, "float32": found.float32, "tf32": found.tf32,
                  "float16": found.float16, "tf32_seen": rounded["rounds_to_tf32"]},
    }  # fmt: skip


def ask(device: str, *, tf32: bool) -> dict[str, Any]:
    """Run `ceilings.py` and return its answer."""
    environment = os.environ | {"CUPY_TF32": "1" if tf32 else "0"}
    command = [sys.executable, str(SCRIPT), device]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"ceilings.py failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
