"""Train small networks, and describe every result by a digest; `reproducible.py` runs it.

    python benchmarks/start_contestant.py harness.digests FOLDER SETTINGS

SETTINGS is JSON; see `main`. The process is set up from outside: its environment variables say how
many threads and which kernels it has, and its Python brings NumPy with its BLAS.
"""

from __future__ import annotations

import ctypes
import hashlib
import importlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from harness.environment import machine
from minibnn import (
    Activation,
    BatchNorm,
    DataLoader,
    Dropout,
    Flatten,
    ImageDataset,
    Layer,
    LogitCrossEntropy,
    Rescale,
    Sequential,
    SignSTE,
    StochasticSign,
    evaluate,
    get_backend,
    load_mnist,
    load_packed,
    load_sample,
    pack,
    save_packed,
)
from minibnn.backend import CPU, Array, Backend, batch_sum, register_backend
from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu.c_kernels import Library
from minibnn.functions.signs import binary_sign, straight_through_gradient
from minibnn.layers.norm import batch_norm, batch_norm_gradient
from minibnn.layers.reshape import rescale
from minibnn.losses.cross_entropy import log_softmax
from minibnn.optimizers.adam import adam
from minibnn.random_stream import RandomStream
from minibnn.recipes import RECIPES, binary_dense
from minibnn.training.recipe import Recipe

SUPPORT = Path(__file__).parents[2] / "tests" / "support"


def noise() -> Recipe:
    """`modern` with dropout and stochastic signs: it draws random numbers in each step."""

    def hidden(n_in: int, n_out: int) -> list[Layer]:
        dense = binary_dense(n_in, n_out)
        dense.weight_quantizer = StochasticSign()
        return [dense, BatchNorm(n_out), Dropout(0.2), Activation(SignSTE(clip=1.0))]

    def build() -> Sequential:
        return Sequential(
            Flatten(),
            Rescale(2 / 255, -1),
            *hidden(784, 128),
            *hidden(128, 64),
            binary_dense(64, 10),
            BatchNorm(10),
        )

    return replace(RECIPES["modern"](), name="noise", build=build)


def in_float64(model: Layer) -> None:
    """Give the network starting values of float64."""
    model.initialize(0, np.float64)


# A recipe, the share of the training images that it takes (a convolution takes far longer), and
# what happens to the initialised network.
NETWORKS: dict[str, tuple[Callable[[], Recipe], float, Callable[[Layer], object] | None]] = {
    "seed": (RECIPES["seed"], 1.0, None),
    "modern": (RECIPES["modern"], 1.0, None),
    "larq-cnn": (RECIPES["larq-cnn"], 0.25, None),
    "noise": (noise, 1.0, None),
    "float64": (RECIPES["modern"], 1.0, in_float64),
}


def digest(*arrays: Any) -> str:
    """The first 64 bits of the SHA-256 of dtypes, shapes and bytes, as hexadecimal digits."""
    found = hashlib.sha256()
    for array in arrays:
        a = np.ascontiguousarray(array)
        found.update(f"{a.dtype.str} {a.shape} ".encode() + a.tobytes())
    return found.hexdigest()[:16]


def values(model: Layer) -> list[np.ndarray[Any, Any]]:
    """All parameters and buffers, on the host."""
    parts: list[Any] = [*model.parameters(), *model.buffers()]
    return [np.array(model.backend.to_host(part.data)) for part in parts]


def train(
    name: str, data: ImageDataset, backend: Backend, images: int, seed: int
) -> tuple[Layer, Any]:
    """Train a network for one epoch on some of the first `images`; return it and its history."""
    recipe, share, start = NETWORKS[name]
    few = slice(round(share * min(images, len(data.train_images))))
    data = replace(data, train_images=data.train_images[few], train_labels=data.train_labels[few])
    return recipe().train(data, seed=seed, device=backend, epochs=1, progress=False, start=start)


def drawn(backend: Backend, seed: int) -> str:
    """Everything that is drawn before a step: starting values, orders, streams."""
    found: list[Any] = []
    for recipe, _, start in NETWORKS.values():
        model = recipe().build().initialize(seed)
        if start is not None:
            start(model)
        found += values(model.to(backend))
    loader = DataLoader((np.arange(60_000),), 64, shuffle=True, rng=seed)
    found += [loader.order(0), loader.order(7)]
    stream = RandomStream()
    stream.initialize(np.random.default_rng(seed))
    found += [backend.to_host(stream.uniform(backend, (999, 7), np.float32)) for _ in range(3)]
    return digest(*found)


def operations(backend: Backend) -> dict[str, str]:
    """Single operations on the same numbers, each with its digest: where does rounding differ?"""
    rng, xp = np.random.default_rng(1), backend.xp
    find = cast(Callable[[Any], Array], backend.asarray)

    def normal(*shape: int) -> Array:
        return find(rng.normal(size=shape).astype(np.float32))

    def signs(*shape: int) -> Array:
        return find(rng.choice(np.array([-1, 1], np.float32), size=shape))

    x, dz, logits = normal(64, 784), normal(64, 128), normal(64, 10)
    W, a, B = signs(784, 128), signs(64, 2700), signs(2700, 64)
    columns, d_columns, x64 = normal(2700, 288), normal(2700, 64), x.astype(np.float64)
    octets = find(rng.integers(0, 256, (64, 784), dtype=np.uint8))
    gamma, beta, inv_std = abs(normal(128)), normal(128), abs(normal(128))
    w, g, m, v = normal(4096), normal(4096), normal(4096), abs(normal(4096))
    y, x_hat, mean, var, _ = backend.run(batch_norm, dz, gamma, beta, 1e-5)
    dgamma, dbeta = xp.empty(128, np.float32), xp.empty(128, np.float32)
    dx = backend.run(
        batch_norm_gradient, normal(64, 128), x_hat, inv_std, gamma, dgamma, dbeta, True
    )
    backend.run(adam, w, g, m, v, 1e-3, 1e-8, 0.9, 0.999, 1.0)
    found = {
        "sums of 64 products": [x.T @ dz],
        "sums of 784": [x @ W],
        "sums of 2,700": [columns.T @ d_columns],
        "of 2,700 signs": [a @ B],
        "sums over the batch": [batch_sum(x)],
        "exp, log, tanh": [xp.exp(x), xp.log(abs(x)), xp.tanh(x)],
        "those of float64": [xp.exp(x64), xp.log(abs(x64)), xp.tanh(x64)],
        "sqrt, quotient": [xp.sqrt(abs(x)), w / (v + 1)],
        "sum of an array": [x.sum()],
        "sums along an axis": [x.sum(axis=0), x.sum(axis=1)],
        "log_softmax": list(backend.run(log_softmax, logits)),
        "batch_norm": [y, x_hat, mean, var, dgamma, dbeta, dx],
        "adam": [w, m, v],
        "sign and its gradient": [backend.run(binary_sign, x),
                                  backend.run(straight_through_gradient, x, x, 1.0)],
        "rescaled bytes": [backend.run(rescale, octets, 2 / 255, -1, np.float32)],
    }  # fmt: skip
    return {name: digest(*map(backend.to_host, arrays)) for name, arrays in found.items()}


def saved_network(file: Path, backend: Backend) -> Layer:
    """The network that the reference trained, with its values, on this backend."""
    model = NETWORKS[file.stem][0]().build().initialize(0)
    with np.load(file) as stored:
        parts: list[Any] = [*model.parameters(), *model.buffers()]
        for part, name in zip(parts, stored.files, strict=True):
            part.data[...] = stored[name]
    return model.to(backend)


def of_saved(
    values_file: Path, scratch: Path, data: ImageDataset, backend: Backend, batch: int
) -> dict[str, Any]:
    """Evaluate the saved network; pack it; run the packed file of the reference."""
    model = saved_network(values_file, backend)
    images, labels = (backend.asarray(a) for a in (data.test_images, data.test_labels))
    found = evaluate(model, DataLoader((images, labels), batch), LogitCrossEntropy())
    made = scratch / "packed.safetensors"
    save_packed(pack(saved_network(values_file, CPU), (28, 28)), made)
    packed = load_packed(values_file.with_name(made.name))  # `made` itself for the reference
    scores, answers = packed.predict_scores(images), packed.predict(images)
    return {
        "evaluation": digest(np.array(found)),
        "loss": found.loss,
        "accuracy": found.accuracy,
        "packed file": hashlib.sha256(made.read_bytes()).hexdigest()[:16],
        "packed scores": digest(backend.to_host(scores), backend.to_host(answers)),
    }


def backend_named(name: str, kernels: str | None) -> Backend:
    """The CPU, with other C kernels if they are given; or the stand-in for a GPU."""
    if name == "strict":
        sys.path.append(str(SUPPORT))
        stand_in = cast(Backend, importlib.import_module("devices").STRICT)
        register_backend(stand_in)
        return stand_in
    if kernels is not None and isinstance(CPU, CompiledBackend):
        CPU.c = Library(ctypes.CDLL(kernels))
    return get_backend(name)


def main(folder: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """Train, and return the digests.

    Args:
        folder: the values of each network are stored there, for comparisons.
        settings: ``networks`` to train, on the first ``images`` training images of the ``data``
            (``sample``, or MNIST in the folder that MINIBNN_DATA names); the ``device``; the
            random ``seed``; the network to train ``before``, or None; the file with other C
            ``kernels``, or None; the ``saved`` folder of the reference; the ``batch`` size of its
            evaluation.
    """
    data = load_sample() if settings["data"] == "sample" else load_mnist()
    backend = backend_named(settings["device"], settings["kernels"])
    if settings["before"] is not None:
        train(settings["before"], data, backend, settings["images"], 0)
    seed = settings["seed"]
    found: dict[str, Any] = {"machine": machine(), "drawn": drawn(backend, seed), "networks": {}}
    for name in settings["networks"]:
        model, history = train(name, data, backend, settings["images"], seed)
        np.savez(folder / f"{name}.npz", *values(model))
        found["networks"][name] = {
            "values": digest(*values(model)),
            "history": digest(history.to_numpy()),
            "accuracy": float(history.acc_test.iloc[-1]),
        }
    found["operations"] = operations(backend)
    found["saved"] = of_saved(Path(settings["saved"]), folder, data, backend, settings["batch"])
    return found


if __name__ == "__main__":
    answer = main(Path(sys.argv[1]), json.loads(sys.argv[2]))
    Path(sys.argv[1], "digests.json").write_text(json.dumps(answer, indent=1) + "\n")
