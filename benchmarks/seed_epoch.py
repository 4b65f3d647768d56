"""Time of one training epoch of the seed job: minibnn beside eager PyTorch with fused Adam.

    pip install torch          # the rival, into the same environment
    MINIBNN_DATA=... python benchmarks/seed_epoch.py

The job: 784-128-64-10, sign weights and activations with straight-through gradients, logit
cross-entropy, Adam 3e-4, batches of 64 from a freshly shuffled MNIST, the last partial batch
dropped: 937 updates. Each framework runs in a process of its own, so that their thread pools do
not meet, and the two take turns, epoch by epoch. Both start from the same weights and see the same
batches; the run stops if their first losses differ. PyTorch gets its training set as ready-made
float32 tensors; minibnn gathers bytes and scales them in each step, which is counted.

Prints medians with spread and the median of the pairwise ratios, and writes every single epoch to
`benchmarks/results/seed_epoch.json`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from environment import environment, save

from minibnn import (
    Activation,
    Adam,
    DataLoader,
    Dense,
    Flatten,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    SignSTE,
    load_mnist,
)

SIZES = (784, 128, 64, 10)
BATCH = 64


def minibnn_model() -> Sequential:
    """The seed's network with the weights of seed 0."""
    layers: list[Any] = [Flatten(), Rescale(1 / 255)]
    for i, (n_in, n_out) in enumerate(pairwise(SIZES)):
        layers += [Activation(SignSTE())] if i else []
        layers += [Dense(n_in, n_out, weight_quantizer=SignSTE())]
    return Sequential(*layers).initialize(np.random.default_rng(0))


def minibnn_epochs() -> Iterator[float]:
    """Train an epoch at each `next`; yield its first loss."""
    data = load_mnist()
    model = minibnn_model()
    train = DataLoader(
        (data.train_images, data.train_labels), BATCH, shuffle=True, drop_last=True, rng=0
    )
    loss = LogitCrossEntropy()
    optimizer = Adam(model.parameters(), 3e-4)
    while True:
        values = []
        for x, labels in train:
            values.append(loss.forward(model.forward(x, train=True), labels))
            model.backward(loss.backward(), need_dx=False)
            optimizer.step()
        yield float(values[0])


def torch_epochs() -> Iterator[float]:
    """Train an epoch at each `next`; yield its first loss."""
    import torch
    from torch.nn import functional

    class Sign(torch.autograd.Function):  # type: ignore[misc]
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return (x >= 0).to(x.dtype).mul_(2).sub_(1)

        @staticmethod
        def backward(ctx: Any, *dy: Any) -> Any:
            return dy[0]

    data = load_mnist()
    start = [p.data for p in minibnn_model().parameters()]
    weights = [torch.tensor(w.T).contiguous().requires_grad_() for w in start[0::2]]
    biases = [torch.tensor(b).requires_grad_() for b in start[1::2]]
    optimizer = torch.optim.Adam([*weights, *biases], lr=3e-4, fused=True)
    images = torch.tensor(data.train_images.reshape(-1, SIZES[0])).float() / 255
    labels = torch.tensor(data.train_labels).long()
    n = len(images)
    # minibnn's loader, over row numbers: both frameworks see the same batches.
    rows = DataLoader((np.arange(n),), BATCH, shuffle=True, drop_last=True, rng=0)
    epoch = 0
    while True:
        order = torch.tensor(np.concatenate([batch for (batch,) in rows.batches(epoch)]))
        epoch += 1
        values = []
        for i in range(0, len(order), BATCH):
            batch = order[i : i + BATCH]
            x = images[batch]
            for layer, (W, b) in enumerate(zip(weights, biases, strict=True)):
                x = functional.linear(Sign.apply(x) if layer else x, Sign.apply(W), b)
            loss = functional.cross_entropy(x, labels[batch])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            values.append(loss.detach())
        yield float(values[0])


WORKERS: dict[str, Callable[[], Iterator[float]]] = {
    "minibnn": minibnn_epochs,
    "PyTorch eager": torch_epochs,
}


def work(name: str) -> None:
    """Run one epoch for each line on stdin; answer with its time and first loss."""
    epochs = WORKERS[name]()
    for _ in sys.stdin:
        start = time.perf_counter()
        first = next(epochs)
        print(json.dumps([time.perf_counter() - start, first]), flush=True)


def main() -> None:
    """Time the epochs in turn and write the table."""
    parser = argparse.ArgumentParser(description="Time of the seed job's training epoch.")
    parser.add_argument("--repeats", type=int, default=9, metavar="N", help="default: %(default)s")
    parser.add_argument("--work", choices=WORKERS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work(args.work)
        return
    load_mnist()  # if it is missing, this says so once

    def open_worker(name: str) -> subprocess.Popen[str]:
        own = [sys.executable, __file__, "--work", name]
        return subprocess.Popen(own, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run_epoch(worker: subprocess.Popen[str]) -> tuple[float, float]:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write("\n")
        worker.stdin.flush()
        seconds, first = json.loads(worker.stdout.readline())
        return seconds, first

    workers = {name: open_worker(name) for name in WORKERS}
    rows = []
    for repeat in range(-1, args.repeats):  # the first round loads the data and warms up
        losses = []
        for name, worker in workers.items():
            seconds, first = run_epoch(worker)
            losses.append(first)
            if repeat >= 0:
                rows.append({"framework": name, "repeat": repeat, "seconds": round(seconds, 4)})
        if repeat == -1 and max(losses) - min(losses) > 1e-4 * max(losses):
            sys.exit(f"seed_epoch.py: the frameworks do different work: first losses {losses}")
    for worker in workers.values():
        worker.communicate()

    table = pd.DataFrame(rows)
    save("seed_epoch", table, "torch")
    times = table.pivot(index="repeat", columns="framework", values="seconds")
    ratios = times["minibnn"] / times["PyTorch eager"]
    print(environment("torch"))
    print(times.agg(["median", "min", "max"]).T.to_string(float_format="%.3f"))
    print(f"minibnn / PyTorch eager, median of pairs: {ratios.median():.3f} "
          f"({ratios.min():.3f} to {ratios.max():.3f})")  # fmt: skip


if __name__ == "__main__":
    main()
