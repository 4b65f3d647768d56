"""The parts `captured`, `repeat` and `accuracy` of `confirm_gpu.py`: training on the GPU."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np

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
)
from minibnn.backend import Array, Backend
from minibnn.recipes import RECIPES, binary_dense
from minibnn.training import CapturedSteps, PlainSteps
from minibnn.training.recipe import Recipe

MNIST = 60_000


def repeat(setting: Setting) -> Outcome:
    """Train twice from one seed, and compare all bits of parameters, buffers and history."""
    problems, checked = [], {}
    for name in ("seed", "modern", "larq-cnn"):
        runs = []
        for _ in range(2):
            model, history = RECIPES[name]().train(
                setting.few, seed=1, device=setting.backend, epochs=2, progress=False
            )
            values = state(model)
            values |= {f"history.{column}": history[column].to_numpy() for column in history}
            runs.append(values)
        problems += [f"{name}: {text}" for text in differences(*runs)]
        checked[name] = len(runs[0])
        setting.keep(**checked, problems=problems)
        print(f"  {name}: {checked[name]} arrays compared, two runs of 2 epochs")
    return verdict(problems, "both runs of each recipe give the same bits", checked)


def captured(setting: Setting) -> Outcome:
    """Compare an epoch of captured steps with one of plain steps, bit for bit."""
    problems, checked = [], {}
    random = replace(RECIPES["modern"](), name="dropout and stochastic signs", build=random_network)
    for recipe in (*(RECIPES[name]() for name in ("seed", "modern", "larq-cnn")), random):
        runs = []
        for kind in (PlainSteps, CapturedSteps):
            steps, loader = training(kind, recipe, setting.backend, setting.few, rest=True)
            losses = setting.backend.to_host(steps.epoch(loader))
            if kind is CapturedSteps and not steps.captured:
                problems.append(f"{recipe.name}: not captured: {_refused(steps)}")
            members = steps.optimizer
            group = members.optimizers if isinstance(members, OptimizerGroup) else [members]
            values = state(steps.model) | {"losses": losses}
            for i, member in enumerate(group):
                values |= {f"optimizer {i}.{key}": setting.backend.to_host(value)
                           for key, value in vars(member).items()
                           if isinstance(value, setting.backend.array_type)}  # fmt: skip
            runs.append(values)
        problems += [f"{recipe.name}: {text}" for text in differences(*runs)]
        checked[recipe.name] = len(runs[0])
        setting.keep(**checked, problems=problems)
        print(f"  {recipe.name}: {checked[recipe.name]} arrays compared after {len(loader)} steps")
    return verdict(problems, "captured steps give the bits of plain steps", checked)


def random_network() -> Sequential:
    """A network that draws random numbers in each step."""
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
    """A recipe's steps, with a fixed seed, and its loader; `rest` adds a smaller last batch."""
    rng = np.random.default_rng(2)
    model = recipe.build().initialize(rng).to(backend)
    batch, n = recipe.batch_size, len(data.train_images)
    half = batch // 2
    n = (n - half) // batch * batch + half if rest else n
    arrays = (data.train_images[:n], data.train_labels[:n])
    loader = DataLoader(arrays, batch, shuffle=True, drop_last=not rest, rng=rng)
    schedule = recipe.decay(recipe.learning_rate, recipe.epochs, len(loader))
    optimizer = recipe.optimizer(model, schedule)
    return kind(model, recipe.loss(), optimizer), loader.to(backend)


def _refused(steps: PlainSteps) -> str:
    return str(steps.refused) if isinstance(steps, CapturedSteps) else ""


def state(model: Layer) -> dict[str, Array]:
    """Parameters and buffers, copied to the host."""
    to_host = model.backend.to_host
    found = {path: to_host(p.data) for path, p in model.named_parameters()}
    return found | {f"buffer {i}": to_host(b.data) for i, b in enumerate(model.buffers())}


def differences(one: dict[str, Array], other: dict[str, Array]) -> list[str]:
    """The arrays that differ in any bit."""
    if one.keys() != other.keys():
        return [f"the arrays are not the same: {sorted(one.keys() ^ other.keys())}"]
    return [
        f"{name} differs in {np.count_nonzero(a != other[name])} of {a.size} positions"
        for name, a in one.items()
        if a.tobytes() != other[name].tobytes()
    ]


def accuracy(setting: Setting) -> Outcome:
    """Train recipes over seeds, and compare their accuracy with the CPU's stored runs."""
    if len(setting.data.train_images) != MNIST:
        return Outcome(NOT_RUN, "it needs all of MNIST; set MINIBNN_DATA to its folder", {})
    rows: dict[str, Any] = {}
    problems = []
    rule = "the means differ by at most the larger range (maximum minus minimum over the seeds)"
    print(f"  ok if {rule}")
    for name in ("seed", "modern"):
        stored = json.loads((BENCHMARKS / "results" / f"accuracy_{name}.json").read_text())["rows"]
        cpu = [row["acc_test"] for row in stored if row["seed"] < 5]
        gpu = [trained_accuracy(name, seed, setting) for seed in range(setting.accuracy_seeds)]
        problem, line = compare_accuracies(gpu, cpu)
        problems += [f"{name}: {problem}"] if problem else []
        rows[name] = {"gpu": gpu, "cpu": cpu}
        setting.keep(**rows, problems=problems)
        print(f"  {name}: {line}")
    return verdict(problems, "the GPU's mean accuracies agree with the CPU's",
                   {"rule": rule, **rows})  # fmt: skip


def trained_accuracy(name: str, seed: int, setting: Setting) -> float:
    """The accuracy of one training run on the test images."""
    _, history = RECIPES[name]().train(
        setting.data, seed=seed, device=setting.backend, progress=False
    )
    return float(history.acc_test.iloc[-1])


def compare_accuracies(gpu: list[float], cpu: list[float]) -> tuple[str, str]:
    """Return the problem (empty if there is none), and a line with both means."""
    away = abs(float(np.mean(gpu)) - float(np.mean(cpu)))
    allowed = max(max(values) - min(values) for values in (gpu, cpu))
    words = [f"{device} {np.mean(v):.4f} (standard deviation {_deviation(v):.4f}, {len(v)} seeds)"
             for device, v in (("GPU", gpu), ("CPU", cpu))]  # fmt: skip
    line = f"{'; '.join(words)}: {away:.4f} apart, {allowed:.4f} allowed"
    return ("" if away <= allowed else line), line


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
