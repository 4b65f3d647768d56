"""The part `speed` of `confirm_gpu.py`: the times of steps, epochs and kernels on this GPU."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np

from confirm.setting import Outcome, Setting, verdict
from confirm.training import training
from every_kernel import WIDE, Inputs, results
from launches import Key, Launch, recorded_launches
from minibnn import DataLoader, ImageDataset, evaluate
from minibnn.backend import Backend
from minibnn.backend.capture.graphs import CapturedWork
from minibnn.backend.cuda import CupyBackend
from minibnn.recipes import RECIPES
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.capture.captured_step import CapturedStep
from minibnn.training.recipe import Recipe
from profile_step import network

LAUNCHES = 200
# The launches are replayed twice, and `begin_step` takes the next row of its tables each time.
assert WIDE.steps > 2 * LAUNCHES + 10
KINDS = {0: "kernels", 1: "copies", 2: "fills"}  # CUgraphNodeType, in cuda.h


def speed(setting: Setting) -> Outcome:
    """Time plain and captured steps, an evaluation, the whole job, and each kernel."""
    backend = setting.backend
    problems: list[str] = []
    rows = []
    print(f"  {'one step of':<16}{'plain':>12}{'captured':>12}{'begin':>12}  graph of a step")
    for name, recipe, data in workloads(setting):
        row, refused = step_times(name, recipe, data, setting)
        problems += [f"{name}: not captured: {refused}"] if refused else []
        rows.append(row)
        setting.keep(steps=rows, problems=problems)
        print(f"  {name:<16}{row['plain_us']:>9.1f} us{row['captured_us']:>9.1f} us"
              f"{row['begin_ms']:>9.2f} ms  {row['a_step_is']}")  # fmt: skip
    job = whole_job(setting)
    print(f"  the seed job, {job['epochs']} epochs with evaluations, without imports: "
          f"{job['seconds']:.2f} s, including {job['evaluations']} evaluations of "
          f"{job['evaluation_ms']:.1f} ms")  # fmt: skip
    found: dict[str, Any] = {"steps": rows, "job": job}
    setting.keep(**found)
    if isinstance(backend, CupyBackend):
        found["kernels"] = kernel_table(backend)
        setting.keep(**found)
        print(f"  each kernel, mean of {LAUNCHES} launches"
              f"{' in one graph' if backend.graphs else ''}; GB/s counts each array once "
              "(arrays in the cache can exceed the rate of the memory)")  # fmt: skip
        for row in found["kernels"]:
            print(f"  {row['kernel']:<36}{row['us']:>10.2f} us {row['gb_per_s']:>8.0f} GB/s")
        found["products"] = product_table(backend)
        for row in found["products"]:
            print(f"  {row['product']:<36}{row['us']:>10.2f} us {row['tflop_per_s']:>8.1f} Tflop/s")
    seed = rows[0]
    line = f"seed step {seed['captured_us']:.1f} us captured, {seed['plain_us']:.1f} us plain"
    return verdict(problems, f"{line}; {job['epochs']} epochs {job['seconds']:.2f} s", found)


def workloads(setting: Setting) -> Iterator[tuple[str, Recipe, ImageDataset]]:
    """The seed's network on all images, and wide networks with batch norm on fewer."""
    yield "seed", RECIPES["seed"](), setting.few
    modern = RECIPES["modern"]()
    few = setting.few
    part = slice(setting.steps * modern.batch_size)
    few = replace(few, train_images=few.train_images[part], train_labels=few.train_labels[part])
    for width in (1024, 4096):
        yield f"3x{width}", replace(modern, build=partial(network, width), learning_rate=1e-3), few


def step_times(
    name: str, recipe: Recipe, data: ImageDataset, setting: Setting
) -> tuple[dict[str, Any], str | None]:
    """Microseconds per step, plain and captured; and the reason if it was not captured."""
    row: dict[str, Any] = {"workload": name, "batch": recipe.batch_size}
    refused = None
    for kind, key in ((PlainSteps, "plain_us"), (CapturedSteps, "captured_us")):
        steps, loader = training(kind, recipe, setting.backend, data, rest=False)
        steps.epoch(loader)  # warm-up: compiles, and captures a step
        with timed_begin() as begins:
            seconds = [waited(setting.backend, lambda: steps.epoch(loader))  # noqa: B023
                       for _ in range(setting.epochs)]  # fmt: skip
        row[key] = median(seconds) / len(loader) * 1e6
        row["steps"] = len(loader)
        if isinstance(steps, CapturedSteps):
            refused = steps.refused
            row["begin_ms"] = median(begins or [0.0]) * 1e3
            row["a_step_is"] = graph_of_a_step(steps)
    return row, refused


@contextmanager
def timed_begin() -> Iterator[list[float]]:
    """Record the seconds that the host takes to begin each captured epoch."""
    begin = CapturedStep.begin
    seconds = []

    def timed(step: CapturedStep, loader: DataLoader) -> None:
        start = time.perf_counter()
        begin(step, loader)
        seconds.append(time.perf_counter() - start)

    with patch.object(CapturedStep, "begin", timed):
        yield seconds


def waited(backend: Backend, work: Callable[[], object]) -> float:
    """The seconds of `work`, from an idle device to an idle device."""
    synchronize(backend)
    start = time.perf_counter()
    work()
    synchronize(backend)
    return time.perf_counter() - start


def synchronize(backend: Backend) -> None:
    """Wait for all streams of the device."""
    if not backend.host:
        backend.xp.cuda.Device().synchronize()


def graph_of_a_step(steps: CapturedSteps) -> str:
    """The numbers of kernels and copies in a captured step, in words."""
    if steps._captured is None or not steps._captured.captured:
        return "not captured"
    return in_words(*node_kinds(steps._captured.captured[1]))


def node_kinds(work: CapturedWork) -> tuple[list[int], str]:
    """Ask CUDA's driver for the kinds of a graph's nodes; return them, and a problem or nothing."""
    try:
        library = ctypes.CDLL("libcuda.so.1")
        graph, count = ctypes.c_void_p(work._graph.graph), ctypes.c_size_t()
        status = library.cuGraphGetNodes(graph, None, ctypes.byref(count))
        nodes = (ctypes.c_void_p * count.value)()
        status = status or library.cuGraphGetNodes(graph, nodes, ctypes.byref(count))
        kinds = []
        for node in nodes:
            kind = ctypes.c_int()
            at = ctypes.c_void_p(node)
            status = status or library.cuGraphNodeGetType(at, ctypes.byref(kind))
            kinds.append(kind.value)
    except (OSError, AttributeError) as error:
        return [], str(error)
    return kinds, f"status {status}" if status else ""


def in_words(kinds: list[int], problem: str) -> str:
    """The number of nodes of each kind, in words."""
    if problem:
        return f"not counted: {problem}"
    counts = {name: kinds.count(kind) for kind, name in KINDS.items()}
    counts["others"] = len(kinds) - sum(counts.values())
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def whole_job(setting: Setting) -> dict[str, Any]:
    """Time the seed recipe as `examples/mnist.py` runs it, without imports and loading."""
    backend, epochs, data = setting.backend, setting.job_epochs, setting.few
    recipe = RECIPES["seed"]()
    start = time.perf_counter()
    model, history = recipe.train(data, device=backend, epochs=epochs, progress=False)
    seconds = time.perf_counter() - start
    arrays = [(data.train_images, data.train_labels), (data.test_images, data.test_labels)]
    loaders = [DataLoader(pair, recipe.batch_size).to(backend) for pair in arrays]
    loss = recipe.loss()
    evaluations = [
        waited(backend, lambda: [evaluate(model, loader, loss) for loader in loaders])
        for _ in range(3)
    ]
    return {
        "epochs": epochs,
        "seconds": seconds,
        "evaluations": epochs,
        "evaluation_ms": median(evaluations) * 1e3,
        "acc_test": float(history.acc_test.iloc[-1]),
    }


def kernel_table(backend: CupyBackend) -> list[dict[str, Any]]:
    """Time each kernel at the sizes of a wide network, the slowest first."""
    with recorded_launches(backend) as recording:
        for _ in results(backend, np.float32, WIDE):
            pass
    rows = []
    for key, launch in recording.launched.items():
        seconds = launch_seconds(backend, launch)
        moved = traffic(key, launch)
        name = f"{key.file}/{key.name}"
        name += "" if key.dtype == "float32" else f" of {key.dtype}"
        rows.append({"kernel": name, "us": seconds * 1e6, "bytes": moved,
                     "gb_per_s": moved / seconds / 1e9})  # fmt: skip
    return sorted(rows, key=lambda row: -row["us"])


def traffic(key: Key, launch: Launch) -> int:
    """The bytes that a launch reads and writes: each array once, with some exceptions."""
    arguments = launch.arguments

    def bytes_of(*positions: int) -> int:
        return sum(int(arguments[i].nbytes) for i in positions)

    if key.name == "adam":  # reads w, g, m, v; writes w, m, v
        return launch.size * 7 // 4
    if key.name == "gather_batch":  # reads and writes a batch of a large array
        return 2 * bytes_of(0, 3)
    if key.name == "begin_step":  # a row of each table
        return 2 * bytes_of(0, 1, 2, 5)
    if key.name == "note_step":
        return 22  # the counter 8, the loss 4 read and 8 written, two flags
    return launch.size


def product_table(backend: CupyBackend) -> list[dict[str, Any]]:
    """Time the three products of a wide layer."""
    make = Inputs(backend, np.float32)
    n, (k, m) = WIDE.batch, WIDE.weights
    x, W, dz = make.floats(n, k), make.floats(k, m), make.floats(n, m)
    rows = []
    for name, a, b in (
        ("z = x x W", x, W),
        ("dW = x^T x dz", x.T, dz),
        ("dx = dz x W^T", dz, W.T),
    ):
        out = backend.xp.empty((a.shape[0], b.shape[1]), np.float32)
        seconds = mean_seconds(backend, partial(backend.matmul, a, b, out))
        rows.append({"product": name, "us": seconds * 1e6,
                     "tflop_per_s": 2 * n * k * m / seconds / 1e12})  # fmt: skip
    return rows


def launch_seconds(backend: CupyBackend, launch: Launch) -> float:
    """The mean seconds of a kernel over many launches."""
    key, arguments, blocks, threads = launch
    return mean_seconds(
        backend, partial(backend.kernels.launch, *key, arguments, blocks=blocks, threads=threads)
    )


def mean_seconds(backend: CupyBackend, again: Callable[[], object]) -> float:
    """The mean seconds of many calls, by the device's clock."""
    event = backend.xp.cuda.Event

    def launch_all() -> None:
        for _ in range(LAUNCHES):
            again()

    graphs = backend.graphs
    with nullcontext() if graphs is None else graphs.stream():
        again()
        work = launch_all if graphs is None else graphs.capture(again, (LAUNCHES,))[LAUNCHES].replay
        work()
        start, end = event(), event()
        start.record()
        work()
        end.record()
        end.synchronize()
    return float(backend.xp.cuda.get_elapsed_time(start, end)) / LAUNCHES / 1e3
