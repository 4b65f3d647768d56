"""The least time that a job's bytes and operations take at what the machine was measured to do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import race  # makes contestants known
from products import operations, shapes
from turns import Job

SCRIPT = Path(race.CONTESTANTS) / "ceilings.py"
PIXELS = 28 * 28
IMAGES, TEST_IMAGES = 60_000, 10_000  # of MNIST


@dataclass(frozen=True)
class Ceilings:
    """Measured rates: bytes a second of a copy, operations a second of matrix products."""

    copy: float
    float32: float
    tf32: float
    float16: float


class Needs(NamedTuple):
    """What a unit of work cannot do without."""

    bytes: float
    operations: float


def training_needs(job: Job) -> Needs:
    """Bytes and operations of one training step, by an account of its arrays.

    .. code-block:: text

        for each parameter       28   Adam: the gradient, w, m, v read; w, m, v written (4 each)
                                  4   the gradient written
        for each weight         1/8   its sign written, as a bit
                                1/8   read by the forward product
                                1/8   read by the backward product (not in the first layer)
        for each output z of     8    z written, and read to be normalised, signed or pooled
        a layer's product        8    dz written, and read for dW
                                 4    read for dx (not in the first layer)
        for each of them that    8    written and read, where there was pooling
        pooling leaves           4    read in the backward pass by batch norm or a clip
                                1/4   its sign written, and read by the next product (if not last)
                                1/8   read for the next dW (if not last)
        for each pixel           2    read as a byte, for z and for dW
        for each sample          5    its label and its number in the data set
        operations                    6 for each weight and sample; 4 in the first layer, since
                                      nobody needs its dx; in a convolution for each place, too

    Each array is moved once for each pass that needs it, as float32 unless the account says
    otherwise. So it is a floor for one kernel a product and one a layer's rest, and no law: what
    stays in a cache or on the chip does not move at all, and a product with its update in one
    kernel saves the gradient's 8 bytes.
    """
    layers = shapes(job)
    last = len(layers) - 1
    parameters = 0
    total = 0.0
    for i, (m, k, n) in enumerate(layers):
        parameters += k * n + n * (job.bias + 2 * job.norm)
        total += k * n * (3 if i else 2) / 8
        places = m * n
        total += places * (20 if i else 16)
        if i in job.pooled:
            places = pooled_places(job, i)
            total += 8 * places
        if job.norm or (job.clip is not None and i < last):
            total += 4 * places
        if i < last:
            total += places * 3 / 8
    total += 32 * parameters + job.batch * (2 * PIXELS + 5)
    return Needs(total, operations(job))


def inference_needs(job: Job, images: int, bits: bool) -> Needs:
    """Bytes and operations of an evaluation, or of labels by packed bits.

    Every image, label and weight once: weights of a model that trains have 4 bytes, packed ones a
    bit. Of a packed model the thresholds, too, 4 bytes for each output. What lies between the
    layers could stay on the chip. 2 operations for each weight and image.
    """
    layers = shapes(job)
    weights = sum(k * n for _, k, n in layers)
    outputs = sum(n for _, _, n in layers)
    own = weights / 8 + 4 * outputs if bits else 4 * weights
    count = sum(2 * m * k * n for m, k, n in layers) / job.batch
    return Needs(own + images * (PIXELS + 1), images * count)


def needs(job: Job) -> Needs:
    """Of a step, an evaluation of the test images, a call, or the whole seed job.

    The whole job is ten epochs, each with an evaluation of all images; loading is left out.
    """
    if job.kind == "train":
        return training_needs(job)
    if job.kind == "evaluate":
        return inference_needs(job, TEST_IMAGES, bits=False)
    if job.kind == "predict":
        return inference_needs(job, job.batch, bits=True)
    if job.kind != "whole":
        raise ValueError(f"no floor is known for {job.kind}")
    step, test = training_needs(job), inference_needs(job, IMAGES + TEST_IMAGES, bits=False)
    steps = IMAGES // job.batch
    return Needs(*(10 * (steps * one + other) for one, other in zip(step, test, strict=True)))


def floor(job: Job, ceilings: Ceilings) -> tuple[float, str]:
    """Seconds, and what sets them: bytes or operations, whichever takes longer.

    Operations are counted at the rate of the job's float32 products, with TF32 where it is allowed;
    of packed bits, at that of float16. Whoever multiplies signs in a smaller type may be faster.
    """
    rate = ceilings.tf32 if job.tf32 else ceilings.float32
    if job.kind == "predict":
        rate = ceilings.float16
    found = needs(job)
    times = {"bytes": found.bytes / ceilings.copy, "operations": found.operations / rate}
    kind = max(times, key=times.__getitem__)
    return times[kind], kind


def pooled_places(job: Job, layer: int) -> int:
    """Values that 2x2 pooling leaves of a batch, after this convolution."""
    m, _, n = shapes(job)[layer]
    side = int((m // job.batch) ** 0.5 + 0.5)
    return job.batch * (side // 2) ** 2 * n


def measure_ceilings(device: str) -> tuple[Ceilings, dict[str, Any]]:
    """Measure them now, in fresh processes; return also what the device is.

    Raises:
        RuntimeError: if the device is not what it was asked to be.
    """
    exact = ask(device, tf32=False)
    if exact["rounds_to_tf32"]:
        raise RuntimeError("ceilings: float32 products are rounded to TF32, though it is off")
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
    """The script's answer."""
    environment = os.environ | {"CUPY_TF32": "1" if tf32 else "0"}
    command = [sys.executable, str(SCRIPT), device]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise RuntimeError(f"ceilings failed:\n{done.stderr}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
