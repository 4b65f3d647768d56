"""What a training consists of, to compare a resumed one with the one that was interrupted.

The *job* is what decides the result: data, network, loss, optimiser. A checkpoint of another job is
refused. The *circumstances* decide the last bits: versions, processor, number of threads. Under
others, training continues with a warning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from minibnn.backend import Backend
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.description import describe_loosely
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.version import __version__

HASHED_AT_ONCE = 2**24  # bytes


def describe_job(
    model: Layer,
    loss: Loss,
    optimizer: Optimizer,
    train: Loader,
    validation: tuple[str, Loader] | None,
) -> dict[str, Any]:
    """The job as numbers and texts by name; equal jobs give equal dicts in any process.

    Args:
        model: with its arguments, not its values.
        loss: with its arguments.
        optimizer: with its arguments.
        train: with a digest of its arrays.
        validation: the same, and what the user calls it; None if there is none.
    """
    paths = {id(p): path for path, p in model.named_parameters()}
    evaluated = {}
    if validation is not None:
        name, loader = validation
        evaluated = {f"{name} data": _digests(loader), f"{name} batches": _batches(loader)}
    return {
        "model": describe_loosely(model),
        "dtype": str(model.dtype),
        "loss": describe_loosely(loss),
        "optimizer": describe_loosely(optimizer, parameters=paths),
        "training batches": _batches(train),
        "training data": _digests(train),
        **evaluated,
    }


def circumstances(backend: Backend) -> dict[str, str]:
    """What changes the order of rounding, as texts by name."""
    import platform

    from threadpoolctl import threadpool_info

    found = {
        "the version of minibnn": __version__,
        "the version of NumPy": np.__version__,
        "the device": repr(backend),
        "the processor's kind": platform.machine(),
        "NumPy's instruction sets": _instruction_sets(),
    }
    if not backend.host:
        from minibnn.backend.cuda.device import kind_of_gpu

        found |= kind_of_gpu(backend.xp)
    blas = [info for info in threadpool_info() if info["user_api"] == "blas"]
    # SciPy's wheel brings one of its own, which computes nothing here.
    libraries = [info for info in blas if "numpy" in info["filepath"]] or blas
    for key, name in (
        ("internal_api", "the kind"),
        ("version", "the version"),
        ("architecture", "the instruction set"),
        ("num_threads", "the number of threads"),
    ):
        values = sorted({str(info[key]) for info in libraries if info.get(key) is not None})
        found[f"{name} of BLAS, for matrix products"] = ", ".join(values) or "unknown"
    return found


def differences(there: dict[str, Any], here: dict[str, Any]) -> Iterator[str]:
    """One text for each entry that differs, innermost first: what it was, and what it is."""
    for name in {**there, **here}:
        yield from _different(name, there.get(name), here.get(name))


def _different(name: str, there: Any, here: Any) -> Iterator[str]:
    if _alike(there, here):
        for key in {**there, **here}:
            where = name if key in ("class", "arguments", "mapping") else f"{name}, {key}"
            yield from _different(where, there.get(key), here.get(key))
    elif isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        for i, (one, other) in enumerate(zip(there, here, strict=True)):
            yield from _different(f"{name} {i}", one, other)
    elif isinstance(there, list) and isinstance(here, list):
        yield f"{name}: {len(there)} then, {len(here)} now"
    elif there != here:
        yield f"{name}: {_short(there)} then, {_short(here)} now"


def _alike(one: Any, other: Any) -> bool:
    """Whether both describe objects of one class, or name other things."""
    dicts = isinstance(one, dict) and isinstance(other, dict)
    return dicts and one.get("class") == other.get("class")


def _short(value: Any) -> str:
    if isinstance(value, dict) and "class" in value:
        value = value["class"]
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _batches(loader: Loader) -> dict[str, Any]:
    kind = {"class": type(loader).__qualname__}
    if not isinstance(loader, DataLoader):  # nothing else is known of a user's batches
        return {**kind, "length": len(loader)}
    augment = {} if loader.augment is None else {"augment": describe_loosely(loader.augment)}
    return {
        **kind,
        **augment,
        "batch_size": loader.batch_size,
        "shuffle": loader.shuffle,
        "drop_last": loader.drop_last,
    }


def _digests(loader: Loader) -> list[str]:
    """Dtype, shape and digest of each array; none for samples that are not in memory."""
    if not isinstance(loader, DataLoader):
        return []
    return [
        f"{a.dtype} {a.shape} sha256 {_digest(loader.backend.to_host(a))}" for a in loader.arrays
    ]


def _digest(a: Any) -> str:
    import hashlib

    digest = hashlib.sha256()
    data: Any = np.ascontiguousarray(a).reshape(-1).view(np.uint8)
    for start in range(0, len(data), HASHED_AT_ONCE):  # Ctrl-C is handled in between
        digest.update(data[start : start + HASHED_AT_ONCE])
    return digest.hexdigest()


def _instruction_sets() -> str:
    """Those that NumPy's own loops may use on this processor."""
    config: Any = np.show_config(mode="dicts")
    sets = config.get("SIMD Extensions", {})
    return ", ".join([*sets.get("baseline", []), *sets.get("found", [])])
