"""Time of a training step of a small binary convolutional network: minibnn beside eager PyTorch.

    pip install torch          # the rival, into the same environment
    MINIBNN_DATA=... python benchmarks/larq_cnn_step.py

The network is that of Larq's introductory tutorial on MNIST: 3x3 convolutions to 32, 64 and 64
channels, 2x2 max pooling after the first two, dense layers to 64 and 10, batch normalisation after
each of the five, sign weights and activations with straight-through gradients, cross-entropy, Adam
(PyTorch's fused), weights kept in [-1, 1], batches of 100 images, bytes that are scaled in the
step.

PyTorch runs in its default layout (batch, channels, height, width) and in `channels_last`. Each
contestant has a process of its own, so that their thread pools do not meet, and the same number of
threads; they take turns, some steps each. All start from the same weights and see the same
batches; the run stops if their first losses differ. On a machine that has other work to do, two
threads that wait for each other can be slower than one, so both are measured.

Prints medians with spread and the medians of the ratios within a turn, and writes every turn to
`benchmarks/results/larq_cnn_step.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from environment import environment, save

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Conv2D,
    DataLoader,
    Dense,
    Flatten,
    LogitCrossEntropy,
    MaxPool2D,
    Rescale,
    Reshape,
    Sequential,
    SignSTE,
    Uniform,
    load_mnist,
)

BATCH = 100
STEPS = 10  # in a turn
RATE = 1e-3


def minibnn_model() -> Sequential:
    """The network with the weights of seed 0."""
    binary: dict[str, Any] = {
        "bias": False,
        "weight_quantizer": SignSTE(),
        "weight_init": Uniform(-1, 1),
        "weight_bound": 1.0,
    }

    def sign() -> Activation:
        return Activation(SignSTE(clip=1.0))

    return Sequential(
        Reshape((28, 28, 1)), Rescale(2 / 255, -1),
        Conv2D(1, 32, 3, **binary), MaxPool2D(2), BatchNorm(32), sign(),
        Conv2D(32, 64, 3, **binary), MaxPool2D(2), BatchNorm(64), sign(),
        Conv2D(64, 64, 3, **binary), BatchNorm(64), sign(),
        Flatten(), Dense(576, 64, **binary), BatchNorm(64), sign(),
        Dense(64, 10, **binary), BatchNorm(10),
    ).initialize(np.random.default_rng(0))  # fmt: skip


def batches() -> Iterator[Any]:
    """Batches of images and labels without end, the same for everybody."""
    data = load_mnist()
    arrays = (data.train_images, data.train_labels)
    loader = DataLoader(arrays, BATCH, shuffle=True, drop_last=True, rng=0)
    while True:
        yield from loader


def minibnn_steps() -> Iterator[float]:
    """Train a turn at each `next`; yield its first loss."""
    model, loss, source = minibnn_model(), LogitCrossEntropy(), batches()
    optimizer = Adam(model.parameters(), RATE)
    while True:
        values = []
        for _ in range(STEPS):
            x, labels = next(source)
            values.append(loss.forward(model.forward(x, train=True), labels))
            model.backward(loss.backward(), need_dx=False)
            optimizer.step()
        yield float(values[0])


def torch_steps(layout: str) -> Iterator[float]:
    """Train a turn at each `next`; yield its first loss."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))

    class Sign(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            ctx.save_for_backward(x)
            return torch.where(x >= 0, 1.0, -1.0)

        @staticmethod
        def backward(ctx: Any, *dy: Any) -> Any:
            (x,) = ctx.saved_tensors
            return dy[0] * (x.abs() <= 1)

    class Binary(nn.Module):  # type: ignore[misc]
        def __init__(self, weight: Any) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(weight).contiguous())

        def forward(self, x: Any) -> Any:
            product = functional.conv2d if self.weight.ndim == 4 else functional.linear
            return product(x, Sign.apply(self.weight))

    class Activate(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return Sign.apply(x)

    start = [p.data for p in minibnn_model().parameters() if p.name == "weight"]
    conv1, conv2, conv3 = (Binary(W.transpose(3, 2, 0, 1)) for W in start[:3])
    # Flatten lays a sample out channels first there, and channels last here.
    dense1 = Binary(start[3].reshape(3, 3, 64, 64).transpose(3, 2, 0, 1).reshape(64, 576))
    dense2 = Binary(start[4].T)
    model = nn.Sequential(
        conv1, nn.MaxPool2d(2), nn.BatchNorm2d(32), Activate(),
        conv2, nn.MaxPool2d(2), nn.BatchNorm2d(64), Activate(),
        conv3, nn.BatchNorm2d(64), Activate(),
        nn.Flatten(), dense1, nn.BatchNorm1d(64), Activate(),
        dense2, nn.BatchNorm1d(10),
    )  # fmt: skip
    memory_format = torch.channels_last if layout == "channels_last" else torch.contiguous_format
    model = model.to(memory_format=memory_format)
    weights = [layer.weight for layer in (conv1, conv2, conv3, dense1, dense2)]
    optimizer = torch.optim.Adam(model.parameters(), RATE, fused=True)
    source = batches()
    while True:
        values = []
        for _ in range(STEPS):
            images, labels = next(source)
            x = torch.from_numpy(images)[:, None].float() * (2 / 255) - 1
            x = x.contiguous(memory_format=memory_format)
            loss = functional.cross_entropy(model(x), torch.from_numpy(labels).long())
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                for weight in weights:
                    weight.clamp_(-1, 1)
            values.append(loss.detach())
        yield float(values[0])


RIVALS = {"PyTorch": "default", "PyTorch channels_last": "channels_last"}
CONTESTANTS = ["minibnn", *RIVALS]


def work(name: str) -> None:
    """Run one turn for each line on stdin; answer with its time and first loss."""
    turns = torch_steps(RIVALS[name]) if name in RIVALS else minibnn_steps()
    for _ in sys.stdin:
        start = time.perf_counter()
        first = next(turns)
        print(json.dumps([(time.perf_counter() - start) / STEPS, first]), flush=True)


def race(threads: int, repeats: int) -> list[dict[str, Any]]:
    """Let the contestants take turns; a row for each turn."""
    limits = {f"{name}_NUM_THREADS": str(threads) for name in ("OMP", "OPENBLAS", "MKL")}

    def open_worker(name: str) -> subprocess.Popen[str]:
        own = [sys.executable, __file__, "--work", name]
        return subprocess.Popen(
            own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | limits
        )

    def run_turn(worker: subprocess.Popen[str]) -> tuple[float, float]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        seconds, first = json.loads(worker.stdout.readline())
        return seconds, first

    workers = {name: open_worker(name) for name in CONTESTANTS}
    rows: list[dict[str, Any]] = []
    for repeat in range(-1, repeats):  # the first round loads the data and warms up
        losses = []
        for name, worker in workers.items():
            seconds, first = run_turn(worker)
            losses.append(first)
            row = {"threads": threads, "framework": name, "repeat": repeat}
            rows.append(row | {"milliseconds": round(1000 * seconds, 3)})
        # Sums in another order put some values near 0 on the other side of a sign.
        if repeat == -1 and max(losses) - min(losses) > 1e-2 * max(losses):
            sys.exit(f"larq_cnn_step.py: the frameworks do different work: first losses {losses}")
    for worker in workers.values():
        worker.communicate()
    return [row for row in rows if row["repeat"] >= 0]


def main() -> None:
    """Time the turns and write the table."""
    parser = argparse.ArgumentParser(description="Time of a binary CNN's training step.")
    parser.add_argument("--repeats", type=int, default=15, metavar="N", help="default: %(default)s")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="default: %(default)s"
    )
    parser.add_argument("--work", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return
    load_mnist()  # if it is missing, this says so once
    table = pd.DataFrame([row for n in args.threads for row in race(n, args.repeats)])
    save("larq_cnn_step", table, "torch")
    print(environment("torch"))
    for threads, rows in table.groupby("threads"):
        times = rows.pivot(index="repeat", columns="framework", values="milliseconds")
        print(f"threads: {threads}")
        print(times.agg(["median", "min", "max"]).T.to_string(float_format="%.1f"))
        for name in RIVALS:
            ratios = times["minibnn"] / times[name]
            print(f"minibnn / {name}, median of pairs: {ratios.median():.3f} "
                  f"({ratios.min():.3f} to {ratios.max():.3f})")  # fmt: skip


if __name__ == "__main__":
    main()
