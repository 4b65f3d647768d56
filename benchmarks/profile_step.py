"""Profile a training step: the microseconds of each phase.

    MINIBNN_DATA=... python benchmarks/profile_step.py                  # the seed's network
    MINIBNN_DATA=... python benchmarks/profile_step.py --recipe modern
    MINIBNN_DATA=... python benchmarks/profile_step.py --width 1024     # 784-1024-1024-1024-10

A phase is a group of backend operations, timed inside an ordinary training loop: loading the batch
(gather), the signs of weights and activations (signs), the gradient masks of signs (masks), batch
norm, pooling, the matrix products of the forward and the backward pass, sums over the batch, the
loss and the optimiser. The rest of the two passes is elementwise array code and Python
(elementwise). For products the table also shows GFLOP/s. Each timed call takes about half a
microsecond longer; the last line, the time of a step, is measured without these clocks.

Prints a table of medians over the steps.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from harness.environment import restart_without_unfair_variables
from minibnn import (
    Activation,
    BatchNorm,
    Constant,
    DataLoader,
    Dense,
    Flatten,
    Rescale,
    Sequential,
    SignSTE,
    Uniform,
    load_mnist,
)
from minibnn.layers import Layer
from minibnn.recipes import RECIPES
from minibnn.training.recipe import Recipe


def network(width: int, depth: int = 3) -> Sequential:
    """A 784-width-...-width-10 network with binary weights, batch norm and clipped signs."""
    layers: list[Layer] = [Flatten(), Rescale(1 / 255)]
    sizes = [784] + depth * [width] + [10]
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        layers += [Activation(SignSTE(clip=1.0))] if i else []
        layers += [
            Dense(
                n_in,
                n_out,
                bias=False,
                weight_quantizer=SignSTE(),
                weight_init=Uniform(-1, 1),
                weight_bound=1.0,
            ),
            BatchNorm(n_out),
        ]
    return Sequential(*layers)


class Clock:
    """Adds up the time spent in calls; of nested calls only the outermost counts."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.flops: defaultdict[str, float] = defaultdict(float)
        self.direction = "forward"
        self._inside = False

    def around(self, call: Callable[..., Any], operation: str) -> Callable[..., Any]:
        """`call`, timed; products are timed by direction, and their operations counted."""
        name = PHASES[operation]

        def timed(*args: Any, **options: Any) -> Any:
            if self._inside:
                return call(*args, **options)
            self._inside = True
            start = time.perf_counter()
            try:
                result = call(*args, **options)
            finally:
                spent = time.perf_counter() - start
                self._inside = False
                row = f"{self.direction} products" if name == "products" else name
                self.seconds[row] += spent
            if name == "products":
                self.flops[row] += operations(operation, args, result)
            return result

        return timed

    def around_run(self, run: Callable[..., Any]) -> Callable[..., Any]:
        """`Backend.run`, with the operations of `PHASES` timed."""

        def timed_run(reference: Callable[..., Any], *args: Any) -> Any:
            name = reference.__name__
            if name not in PHASES:
                return run(reference, *args)
            return self.around(partial(run, reference), name)(*args)

        return timed_run


def operations(name: str, args: tuple[Any, ...], result: Any) -> int:
    """Multiplications and additions of a product: two per weight and position."""
    if name == "matmul":
        return 2 * int(args[0].size) * int(args[1].shape[1])
    # z, or its gradient, has one value per output channel at each position.
    if name == "convolve":
        z, W = result, args[1]
    elif name == "convolve_dW":
        z, W = args[1], result
    else:
        z, W = args[0], args[1]
    return 2 * int(z.size) // int(z.shape[-1]) * int(W.size)


PHASES = {
    "batch_norm": "batch norm",
    "batch_norm_gradient": "batch norm",
    "update_running": "batch norm",
    "straight_through_gradient": "masks",
    "max_pool": "pooling",
    "max_pool_gradient": "pooling",
    "matmul": "products",
    "convolve": "products",
    "convolve_dW": "products",
    "convolve_dx": "products",
    "binary_sign": "signs",
    "two_stage_sum": "sums",
}
METHODS = ("matmul",)  # a method of the backend; the other phases are operations


def profile(model: Layer, loss: Any, optimizer: Any, loader: DataLoader, steps: int) -> Any:
    """Return the table of phases, and the microseconds of a step without the clocks."""
    backend = model.backend
    rows, flops = [], {}
    clock = Clock()
    for name in METHODS:
        setattr(backend, name, clock.around(getattr(backend, name), name))
    vars(backend)["run"] = clock.around_run(backend.run)
    try:
        source = iter(loader)
        for _ in range(steps):
            clock.seconds, clock.flops = defaultdict(float), defaultdict(float)
            t0 = time.perf_counter()
            x, labels = next(source)
            t1 = time.perf_counter()
            clock.direction = "forward"
            logits = model.forward(x, train=True)
            t2 = time.perf_counter()
            loss.forward(logits, labels)
            dlogits = loss.backward()
            t3 = time.perf_counter()
            clock.direction = "backward"
            model.backward(dlogits, need_dx=False)
            t4 = time.perf_counter()
            inside = sum(clock.seconds.values())
            optimizer.step()
            t5 = time.perf_counter()
            rows.append(
                {"gather": t1 - t0}
                | {
                    phase: clock.seconds[phase]
                    for phase in ("signs", "batch norm", "sums", "masks", "pooling")
                }
                | {f"{d} products": clock.seconds[f"{d} products"] for d in ("forward", "backward")}
                | {"elementwise": t2 - t1 + t4 - t3 - inside, "loss": t3 - t2, "optimiser": t5 - t4}
            )
            flops = dict(clock.flops)
    finally:
        for name in (*METHODS, "run"):
            delattr(backend, name)  # uncover the methods of the class
    whole = []
    source = iter(loader)
    for _ in range(steps):
        start = time.perf_counter()
        x, labels = next(source)
        loss.forward(model.forward(x, train=True), labels)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
        whole.append(time.perf_counter() - start)
    table = pd.DataFrame(rows).median().rename("microseconds").to_frame() * 1e6
    total = 1e6 * float(np.median(whole))
    table["share"] = table["microseconds"] / table["microseconds"].sum()
    table["GFLOP/s"] = pd.Series(flops) / 1e3 / table["microseconds"]
    return table, total


def main() -> None:
    """Profile one network and print the table."""
    parser = argparse.ArgumentParser(
        description="Profile a training step: the microseconds of each phase."
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--recipe", choices=RECIPES, default="seed", metavar="NAME",
                      help="train this recipe's network; default: %(default)s")  # fmt: skip
    what.add_argument(
        "--width", type=int, metavar="N", help="train 784-N-N-N-10 with batch norm instead"
    )
    parser.add_argument("--batch-size", type=int, metavar="N", help="default: the recipe's, or 100")
    parser.add_argument("--steps", type=int, default=200, metavar="N", help="default: %(default)s")
    args = parser.parse_args()
    restart_without_unfair_variables()

    recipe = RECIPES[args.recipe]()
    if args.width:
        recipe = Recipe(
            "", lambda: network(args.width), epochs=1, batch_size=100, learning_rate=1e-3
        )
    batch = args.batch_size or recipe.batch_size
    model, loss = recipe.build().initialize(0), recipe.loss()
    optimizer = recipe.optimizer(model, Constant(recipe.learning_rate))
    data = load_mnist()
    arrays = (data.train_images, data.train_labels)
    loader = DataLoader(arrays, batch, shuffle=True, drop_last=True, rng=0)
    steps = min(args.steps, len(loader))
    table, total = profile(model, loss, optimizer, loader, steps)
    name = f"784-{args.width}-{args.width}-{args.width}-10" if args.width else args.recipe
    print(f"{name}, batches of {batch}, median of {steps} steps")
    print(table.to_string(float_format=lambda v: f"{v:.2f}" if v < 1 else f"{v:.0f}", na_rep=""))
    print(f"a step without these clocks: {total:.0f} us")


if __name__ == "__main__":
    main()
