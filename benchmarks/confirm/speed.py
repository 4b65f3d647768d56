"""A part of `confirm_gpu.py`: how long steps, epochs and kernels take on this GPU."""

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
from every_kernel import WIDE, Inputs, results
from launches import Key, Launch, listening
from profile_step import network

from confirm.setting import Outcome, Setting, verdict
from confirm.training import training
from minibnn import DataLoader, ImageDataset, evaluate
from minibnn.backend import Backend
from minibnn.backend.capture.graphs import CapturedWork
from minibnn.backend.cuda import CupyBackend
from minibnn.recipes import RECIPES
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.capture.captured_step import CapturedStep
from minibnn.training.recipe import Recipe

LAUNCHES = 200
# Twice the launches are replayed, and `begin_step` takes the next row of its tables each time.
assert WIDE.steps > 2 * LAUNCHES + 10
KINDS = {0: "kernels", 1: "copies", 2: "fills"}  # CUgraphNodeType of cuda.h


def speed(setting: Setting) -> Outcome:
    """Steps plain and captured, an evaluation, the whole job, and each kernel by itself."""
    backend = setting.backend
    complaints: list[str] = []
    rows = []
    print(f"  {'steps of':<16}{'plain':>12}{'captured':>12}{'begin':>12}  a step is")
    for name, recipe, data in workloads(setting):
        row, refused = step_times(name, recipe, data, setting)
        complaints += [f"{name}: not captured: {refused}"] if refused else []
        rows.append(row)
        setting.keep(steps=rows, complaints=complaints)
        print(f"  {name:<16}{row['plain_us']:>9.1f} us{row['captured_us']:>9.1f} us"
              f"{row['begin_ms']:>9.2f} ms  {row['a_step_is']}")  # fmt: skip
    job = whole_job(setting)
    print(f"  the seed job, {job['epochs']} epochs with evaluations, after imports: "
          f"{job['seconds']:.2f} s, of which {job['evaluation_ms']:.1f} ms each for "
          f"{job['evaluations']} evaluations")  # fmt: skip
    found: dict[str, Any] = {"steps": rows, "job": job}
    setting.keep(**found)
    if isinstance(backend, CupyBackend):
        found["kernels"] = kernel_table(backend)
        setting.keep(**found)
        print(f"  each kernel, mean of {LAUNCHES} launches"
              f"{' in one graph' if backend.graphs else ''}; GB/s of its arrays, each once "
              "(what fits into the cache exceeds the memory's rate)")  # fmt: skip
        for row in found["kernels"]:
            print(f"  {row['kernel']:<36}{row['us']:>10.2f} us {row['gb_per_s']:>8.0f} GB/s")
        found["products"] = product_table(backend)
        for row in found["products"]:
            print(f"  {row['product']:<36}{row['us']:>10.2f} us {row['tflop_per_s']:>8.1f} Tflop/s")
    seed = rows[0]
    line = f"seed step {seed['captured_us']:.1f} us captured, {seed['plain_us']:.1f} us plain"
    return verdict(complaints, f"{line}; {job['epochs']} epochs {job['seconds']:.2f} s", found)


def workloads(setting: Setting) -> Iterator[tuple[str, Recipe, ImageDataset]]:
    """The seed's network on all images, and wide ones with batch norm on few."""
    yield "seed", RECIPES["seed"](), setting.few
    modern = RECIPES["modern"]()
    few = setting.few
    part = slice(setting.steps * modern.batch_size)
    few = replace(few, train_images=few.train_images[part], train_labels=few.train_labels[part])
    for width in (1024, 4096):
        yield f"3x{width}", replace(modern, build=partial(network, width), lr=1e-3), few


def step_times(
    name: str, recipe: Recipe, data: ImageDataset, setting: Setting
) -> tuple[dict[str, Any], str | None]:
    """Microseconds a step, plain and captured, and why it was not captured, if it was not."""
    row: dict[str, Any] = {"workload": name, "batch": recipe.batch_size}
    refused = None
    for kind, key in ((PlainSteps, "plain_us"), (CapturedSteps, "captured_us")):
        steps, loader = training(kind, recipe, setting.backend, data, rest=False)
        steps.epoch(loader)  # compiles, learns, captures
        with timed_begin() as begins:
            seconds = [waited(setting.backend, lambda: steps.epoch(loader))  # noqa: B023
                       for _ in range(setting.epochs)]  # fmt: skip
        row[key] = median(seconds) / len(loader) * 1e6
        row["steps"] = len(loader)
        if isinstance(steps, CapturedSteps):
            refused = steps.refused
            row["begin_ms"] = median(begins or [0.0]) * 1e3
            row["a_step_is"] = what_a_step_is(steps)
    return row, refused


@contextmanager
def timed_begin() -> Iterator[list[float]]:
    """Meanwhile, how long the host works at the start of each captured epoch, in seconds."""
    begin = CapturedStep.begin
    seconds = []

    def timed(step: CapturedStep, loader: DataLoader) -> None:
        start = time.perf_counter()
        begin(step, loader)
        seconds.append(time.perf_counter() - start)

    with patch.object(CapturedStep, "begin", timed):
        yield seconds


def waited(backend: Backend, work: Callable[[], object]) -> float:
    """Seconds from an idle device to an idle device."""
    synchronize(backend)
    start = time.perf_counter()
    work()
    synchronize(backend)
    return time.perf_counter() - start


def synchronize(backend: Backend) -> None:
    """Wait for all streams."""
    if not backend.host:
        backend.xp.cuda.Device().synchronize()


def what_a_step_is(steps: CapturedSteps) -> str:
    """How many kernels and copies a captured step launches."""
    if steps._captured is None or not steps._captured.captured:
        return "not captured"
    return in_words(*node_kinds(steps._captured.captured[1]))


def node_kinds(work: CapturedWork) -> tuple[list[int], str]:
    """The kinds of a graph's nodes, by CUDA's driver; or none, and why."""
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
    """The numbers of nodes, by kind."""
    if problem:
        return f"not counted: {problem}"
    counts = {name: kinds.count(kind) for kind, name in KINDS.items()}
    counts["others"] = len(kinds) - sum(counts.values())
    return ", ".join(f"{n} {name}" for name, n in counts.items() if n)


def whole_job(setting: Setting) -> dict[str, Any]:
    """The seed's recipe as `examples/mnist.py` runs it, without start, imports and loading."""
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
    """Each kernel at the sizes of a wide network, the slowest first."""
    with listening(backend) as ears:
        for _ in results(backend, np.float32, WIDE):
            pass
    rows = []
    for key, launch in ears.heard.items():
        seconds = launch_seconds(backend, launch)
        moved = traffic(key, launch)
        name = f"{key.file}/{key.name}"
        name += "" if key.dtype == "float32" else f" of {key.dtype}"
        rows.append({"kernel": name, "us": seconds * 1e6, "bytes": moved,
                     "gb_per_s": moved / seconds / 1e9})  # fmt: skip
    return sorted(rows, key=lambda row: -row["us"])


def traffic(key: Key, launch: Launch) -> int:
    """Bytes that a launch reads and writes: each array once, but for these."""
    arguments = launch.arguments

    def bytes_of(*places: int) -> int:
        return sum(int(arguments[i].nbytes) for i in places)

    if key.name == "adam":  # w, g, m, v read; w, m, v written
        return launch.size * 7 // 4
    if key.name == "gather_batch":  # a batch read and written, out of a large array
        return 2 * bytes_of(0, 3)
    if key.name == "begin_step":  # a row of each table
        return 2 * bytes_of(0, 1, 2, 5)
    if key.name == "note_step":
        return 22  # a number of 8 bytes, a loss of 4 and its place, two bytes
    return launch.size


def product_table(backend: CupyBackend) -> list[dict[str, Any]]:
    """A wide layer's products."""
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
    """The mean of many launches of a kernel."""
    key, arguments, blocks, threads = launch
    return mean_seconds(
        backend, partial(backend.kernels.launch, *key, arguments, blocks=blocks, threads=threads)
    )


def mean_seconds(backend: CupyBackend, again: Callable[[], object]) -> float:
    """The mean of many calls, by the device's clock."""
    event = backend.xp.cuda.Event

    def plainly() -> None:
        for _ in range(LAUNCHES):
            again()

    graphs = backend.graphs
    with nullcontext() if graphs is None else graphs.stream():
        again()
        work = plainly if graphs is None else graphs.capture(again, (LAUNCHES,))[LAUNCHES].replay
        work()
        start, end = event(), event()
        start.record()
        work()
        end.record()
        end.synchronize()
    return float(backend.xp.cuda.get_elapsed_time(start, end)) / LAUNCHES / 1e3
