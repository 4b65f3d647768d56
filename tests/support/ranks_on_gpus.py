"""Several ranks on the stand-ins for GPUs: a program for mpirun, and what starts it.

    mpirun -n 2 python tests/support/ranks_on_gpus.py train FOLDER
    mpirun -n 3 python tests/support/ranks_on_gpus.py divide

Rank 0 prints the findings as JSON. `train` trains on the strict stand-in for CuPy, each rank on a
device of its own, by each transport; `divide` opens a fake CuPy's GPUs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import strictcuda
import strictdev
from devices import STRICT
from fake_cupy import fake_cuda, fake_cupy
from fake_nccl import fake_nccl, install

from minibnn import (
    F1,
    Activation,
    Adam,
    BatchNorm,
    Checkpoint,
    DataLoader,
    Dense,
    DeviceError,
    Dropout,
    Flatten,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    fit,
    get_backend,
)
from minibnn.backend import Backend, register_backend, select
from minibnn.backend.gpus import share
from minibnn.distributed import Ranks, sums
from minibnn.distributed.choice import VARIABLE
from minibnn.training.data_parallel import DataParallel

SUPPORT = Path(__file__).parent
WAYS = [("exact", "host"), ("exact", "mpi"), ("sum", "host"), ("sum", "mpi"), ("sum", "nccl")]


def mpirun(ranks: int, *arguments: str) -> Any:
    """Run this program on so many ranks, and return what rank 0 found."""
    beside = Path(sys.executable).with_name("mpirun")
    launcher = str(beside) if beside.exists() else shutil.which("mpirun")
    if launcher is None:
        pytest.skip("there is no mpirun")
    path = os.pathsep.join([str(SUPPORT.parents[1]), str(SUPPORT)])
    unset = ("CUDA_VISIBLE_DEVICES", VARIABLE)
    environment = {k: v for k, v in os.environ.items() if k not in unset}
    # Of Open MPI: that there are more ranks than cores, and that it runs as root in a container.
    environment |= {"PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe"}
    environment |= {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    done = subprocess.run(
        [launcher, "-n", str(ranks), sys.executable, "-W", "error", __file__, *arguments],
        env=environment | {"PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


def train(
    ranks: Ranks | None,
    device: str | Backend,
    *,
    epochs: int = 2,
    batch_norm: bool = True,
    **options: Any,
) -> tuple[Any, str]:
    """Train a network that needs everything; its history, and a digest of all values."""
    rng = np.random.default_rng(5)
    x = rng.integers(0, 256, (90, 8, 8), dtype=np.uint8)
    labels = x.reshape(90, -1)[:, :5].argmax(axis=1)
    weights = rng.random(90).astype(np.float32)
    model = Sequential(
        Flatten(), Rescale(2 / 255, -1), Dropout(0.1), dense(64, 24), BatchNorm(24),
        Activation(StochasticSign()), dense(24, 5), BatchNorm(5),
    ).initialize(rng).to(device)  # fmt: skip
    train = DataLoader((x, labels, weights), 20, shuffle=True, rng=rng)
    optimizer = Adam(model.parameters(), 0.01)
    history = fit(
        model, train, validation=0.2, loss=LogitCrossEntropy(), optimizer=optimizer,
        epochs=epochs, metrics=[F1()], class_weight="balanced", clip_norm=1.0, comm=ranks, **options,
    )  # fmt: skip
    digest = hashlib.sha256(history.to_numpy().tobytes())
    for holder in (*model.parameters(), *model.buffers()):
        digest.update(model.backend.to_host(holder.data).tobytes())
    return history, digest.hexdigest()


def dense(inputs: int, outputs: int) -> Dense:
    return Dense(inputs, outputs, weight_quantizer=SignSTE(), weight_bound=1.0)


def train_by_each_transport(folder: str) -> dict[str, Any]:
    """Digests and the ranks' logs, by mode and transport; and a checkpoint after an epoch."""
    from mpi4py import MPI

    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("minibnn").addHandler(handler)
    logging.getLogger("minibnn").setLevel(logging.INFO)
    install(fake_nccl())

    def logged() -> list[list[str]]:
        return MPI.COMM_WORLD.allgather(list(lines))

    sums.SMALL = 1000  # so that the gradients are divided, and batch norm's sums are not
    found: dict[str, Any] = {}
    rank = Ranks().rank
    with strictcuda.use_device(rank):
        for mode, way in WAYS:
            os.environ[VARIABLE] = way if rank == 0 else ""
            lines.clear()
            history, digest = train(Ranks(mode), STRICT)
            assert history.attrs["captured"] is False
            found[f"{mode} {way}"] = {"digest": digest, "log": logged()}
        os.environ[VARIABLE] = ""
        checkpoint = Checkpoint(Path(folder, "run.safetensors"))
        train(Ranks("exact"), STRICT, epochs=1, checkpoint=checkpoint)
        lines.clear()
        ranks = Ranks("sum")
        train(ranks, STRICT)
        found["sum"] = logged()
        found["steps that wait for nothing"] = steps_without_waiting(ranks)
    with strictcuda.use_device(7):
        lines.clear()
        train(Ranks("sum"), STRICT)
        found["sum on one device"] = logged()
    return found


def steps_without_waiting(ranks: Ranks) -> int:
    """How many steps were made, none of which has read anything back or uploaded it."""
    step, steps = DataParallel.step, []

    def unsynchronized(self: Any, *arguments: Any) -> Any:
        with strictdev.no_sync():
            steps.append(step(self, *arguments))
        return steps[-1]

    DataParallel.step = unsynchronized  # type: ignore[method-assign]
    train(ranks, STRICT)
    DataParallel.step = step  # type: ignore[method-assign]
    return len(steps)


def divide() -> dict[str, Any]:
    """What each rank gets of the GPUs of a machine."""
    from mpi4py import MPI

    found: dict[str, Any] = {}

    def case(name: str, count: int, visible: str | None, early: bool = False) -> None:
        select._gpu, share.place, share.require_place = None, None, None
        cupy = sys.modules["cupy"] = fake_cupy(cuda=fake_cuda(lambda: count))
        os.environ.pop("CUDA_VISIBLE_DEVICES", None)
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
        try:
            if early:
                get_backend("gpu")
            two_of_three = MPI.COMM_WORLD.Split(MPI.COMM_WORLD.rank // 2)
            Ranks(comm=two_of_three if name == "parts" else None)
            answer = get_backend("gpu").device.number  # type: ignore[attr-defined]
        except DeviceError as error:
            answer = str(error)
        assert cupy.cuda.runtime.current in (0, answer)
        found[name] = MPI.COMM_WORLD.allgather(answer)

    case("three GPUs", 3, None)
    case("four of eight", 4, "4,5,6,7")
    case("one each by the launcher", 1, str(MPI.COMM_WORLD.rank))
    case("two GPUs", 2, None)
    case("too early", 3, None, early=True)
    case("parts", 3, None)
    return found


if __name__ == "__main__":
    register_backend(STRICT)
    findings = divide() if sys.argv[1] == "divide" else train_by_each_transport(sys.argv[2])
    from mpi4py import MPI

    if MPI.COMM_WORLD.rank == 0:
        sys.stdout.write(json.dumps(findings))
