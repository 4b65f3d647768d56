"""Parts of `confirm_gpu.py`: what the kernels compute, and training that can be trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
from every_kernel import ODD, results
from launches import FLOATS

from confirm.setting import BENCHMARKS, NOT_RUN, Outcome, Setting, verdict
from minibnn import (
    Activation,
    BatchNorm,
    DataLoader,
    Dropout,
    Flatten,
    ImageDataset,
    Layer,
    OptimizerGroup,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    get_backend,
)
from minibnn.backend import Array, Backend
from minibnn.recipes import RECIPES, binary_dense
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.recipe import Recipe

MNIST = 60_000
# Of an array's greatest value: sums of up to 6,500 numbers in another order. On the host the same
# kernels are within 4e-7 and 2e-15.
TOLERANCES = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-12}


def kernels(setting: Setting) -> Outcome:
    """Each kernel's result against that of the same primitive on the CPU."""
    complaints, worst = [], {}
    for dtype in FLOATS:
        pairs = zip(results(setting.backend, dtype, ODD),
                    results(get_backend("cpu"), dtype, ODD), strict=True)  # fmt: skip
        errors = {}
        for (name, a), (_, b) in pairs:
            errors[name] = error_of(setting.backend.to_host(a), b)
        wrong = [f"{dtype} {name}: {error:.2g} away from the CPU's"
                 for name, error in errors.items() if not error <= TOLERANCES[dtype]]  # fmt: skip
        complaints += wrong
        worst[str(dtype)] = max(errors.values())
        setting.keep(worst=worst, complaints=complaints)
        print(f"  {dtype}: {len(errors)} results, the worst {worst[str(dtype)]:.2g} away")
    return verdict(complaints, "as on the CPU", {"worst": worst})


def error_of(a: Array, b: Array) -> float:
    """The greatest difference, as a share of the greatest number (at least 1); inf for nan.

    Integers and booleans must be equal: inf, if they are not.
    """
    if a.shape != b.shape or a.dtype != b.dtype:
        return float("inf")
    if a.dtype.kind != "f":
        return 0.0 if np.array_equal(a, b) else float("inf")
    error = float(abs(a - b).max() / max(1.0, abs(b).max()))
    return error if np.isfinite(error) else float("inf")


def repeat(setting: Setting) -> Outcome:
    """Two trainings from one seed: all bits of parameters, buffers and history."""
    complaints, checked = [], {}
    for name in ("seed", "modern", "larq-cnn"):
        runs = []
        for _ in range(2):
            model, history = RECIPES[name]().train(
                setting.few, seed=1, device=setting.backend, epochs=2, progress=False
            )
            values = state(model)
            values |= {f"history.{column}": history[column].to_numpy() for column in history}
            runs.append(values)
        complaints += [f"{name}: {text}" for text in differences(*runs)]
        checked[name] = len(runs[0])
        setting.keep(**checked, complaints=complaints)
        print(f"  {name}: {checked[name]} arrays, two runs of 2 epochs")
    return verdict(complaints, "the same bits in both runs of each recipe", checked)


def captured(setting: Setting) -> Outcome:
    """An epoch of captured steps against one of plain steps, bit for bit."""
    complaints, checked = [], {}
    draws = replace(RECIPES["modern"](), name="dropout and stochastic signs", build=drawing)
    for recipe in (*(RECIPES[name]() for name in ("seed", "modern", "larq-cnn")), draws):
        runs = []
        for kind in (PlainSteps, CapturedSteps):
            steps, loader = training(kind, recipe, setting.backend, setting.few, rest=True)
            losses = setting.backend.to_host(steps.epoch(loader))
            if kind is CapturedSteps and not steps.captured:
                complaints.append(f"{recipe.name}: not captured: {_refused(steps)}")
            members = steps.optimizer
            group = members.optimizers if isinstance(members, OptimizerGroup) else [members]
            values = state(steps.model) | {"losses": losses}
            for i, member in enumerate(group):
                values |= {f"optimizer {i}.{key}": setting.backend.to_host(value)
                           for key, value in vars(member).items()
                           if isinstance(value, setting.backend.array_type)}  # fmt: skip
            runs.append(values)
        complaints += [f"{recipe.name}: {text}" for text in differences(*runs)]
        checked[recipe.name] = len(runs[0])
        setting.keep(**checked, complaints=complaints)
        print(f"  {recipe.name}: {checked[recipe.name]} arrays after {len(loader)} steps")
    return verdict(complaints, "the bits of plain steps", checked)


def drawing() -> Sequential:
    """A network that draws random numbers in its steps."""
    return Sequential(
        Flatten(),
        Rescale(2 / 255, -1),
        Dropout(0.2),
        binary_dense(784, 64),
        BatchNorm(64),
        Activation(StochasticSign()),
        Dropout(0.3),
        binary_dense(64, 32),
        BatchNorm(32),
        Activation(SignSTE(clip=1.0)),
        binary_dense(32, 10),
        BatchNorm(10),
    )


def training(
    kind: type[PlainSteps], recipe: Recipe, backend: Backend, data: ImageDataset, *, rest: bool
) -> tuple[PlainSteps, DataLoader]:
    """A recipe's training, from one seed, and its data; with `rest` the last batch is smaller."""
    rng = np.random.default_rng(2)
    model = recipe.build().initialize(rng).to(backend)
    batch, n = recipe.batch_size, len(data.train_images)
    half = batch // 2
    n = (n - half) // batch * batch + half if rest else n
    arrays = (data.train_images[:n], data.train_labels[:n])
    loader = DataLoader(arrays, batch, shuffle=True, drop_last=not rest, rng=rng)
    schedule = recipe.decay(recipe.lr, recipe.epochs, len(loader))
    optimizer = recipe.optimizer(model, schedule)
    return kind(model, recipe.loss(), optimizer), loader.to(backend)


def _refused(steps: PlainSteps) -> str:
    return str(steps.refused) if isinstance(steps, CapturedSteps) else ""


def state(model: Layer) -> dict[str, Array]:
    """Parameters and buffers, on the host."""
    to_host = model.backend.to_host
    found = {path: to_host(p.data) for path, p in model.named_parameters()}
    return found | {f"buffer {i}": to_host(b.data) for i, b in enumerate(model.buffers())}


def differences(one: dict[str, Array], other: dict[str, Array]) -> list[str]:
    """The arrays that are not the same, bit for bit."""
    if one.keys() != other.keys():
        return [f"other arrays: {sorted(one.keys() ^ other.keys())}"]
    return [
        f"{name} differs in {np.count_nonzero(a != other[name])} of {a.size} places"
        for name, a in one.items()
        if a.tobytes() != other[name].tobytes()
    ]


def accuracy(setting: Setting) -> Outcome:
    """Recipes over seeds, beside the CPU's stored runs."""
    if len(setting.data.train_images) != MNIST:
        return Outcome(NOT_RUN, "it needs all of MNIST; MINIBNN_DATA names its folder", {})
    rows: dict[str, Any] = {}
    complaints = []
    rule = "the means differ by no more than the larger range (greatest less least over seeds)"
    print(f"  ok if {rule}")
    for name in ("seed", "modern"):
        stored = json.loads((BENCHMARKS / "results" / f"accuracy_{name}.json").read_text())["rows"]
        cpu = [row["acc_test"] for row in stored if row["seed"] < 5]
        gpu = [trained_accuracy(name, seed, setting) for seed in range(setting.accuracy_seeds)]
        complaint, line = compare_accuracies(gpu, cpu)
        complaints += [f"{name}: {complaint}"] if complaint else []
        rows[name] = {"gpu": gpu, "cpu": cpu}
        setting.keep(**rows, complaints=complaints)
        print(f"  {name}: {line}")
    return verdict(complaints, "the GPU's means lie within the seeds' range of the CPU's",
                   {"rule": rule, **rows})  # fmt: skip


def trained_accuracy(name: str, seed: int, setting: Setting) -> float:
    """Of one training, on the test images."""
    _, history = RECIPES[name]().train(
        setting.data, seed=seed, device=setting.backend, progress=False
    )
    return float(history.acc_test.iloc[-1])


def compare_accuracies(gpu: list[float], cpu: list[float]) -> tuple[str, str]:
    """A complaint, or nothing, and both in words."""
    away = abs(float(np.mean(gpu)) - float(np.mean(cpu)))
    allowed = max(max(values) - min(values) for values in (gpu, cpu))
    words = [f"{device} {np.mean(v):.4f} (standard deviation {_deviation(v):.4f}, {len(v)} seeds)"
             for device, v in (("GPU", gpu), ("CPU", cpu))]  # fmt: skip
    line = f"{'; '.join(words)}: {away:.4f} apart, {allowed:.4f} allowed"
    return ("" if away <= allowed else line), line


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
