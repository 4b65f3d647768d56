"""What `fit` does beside its steps: alone in one process, or together on several ranks.

`Alone` is for one process: it agrees with itself. `Together` has the same methods for ranks.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from minibnn.checks import require
from minibnn.data.epochs import Loader
from minibnn.distributed import Ranks, RanksDifferError
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.signals import Interrupt, note_ending
from minibnn.state import State, Stateful
from minibnn.state_file import flatten
from minibnn.training.data_parallel import DataParallel
from minibnn.training.step import PlainSteps


class AllEndedError(SystemExit):
    """All ranks end, after a signal that one of them received."""


# What all ranks raise together, so that nobody waits for another one.
AGREED = (DivergedError, RanksDifferError, AllEndedError)


class Alone:
    """A training in one process."""

    ranks: Ranks | None = None
    first = True
    exit: type[SystemExit] = SystemExit

    def steps(self, steps: type[PlainSteps], *, changing: bool) -> Any:
        """What makes the training steps; `changing`: whether callbacks run after each of them."""
        return steps

    def settings(self) -> dict[str, Any]:
        """Settings that decide the result, for checkpoints."""
        return {}

    def circumstances(self) -> dict[str, str]:
        """Settings that decide the last bits."""
        return {}

    def begin(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        train: Loader,
        validation: tuple[str, Loader] | None,
        settings: Mapping[str, Any],
    ) -> None:
        """Compare the ranks before the first step."""

    def lead(self, parts: Mapping[str, Stateful], restored: bool) -> None:
        """Give the others what was restored from a checkpoint, if anything was."""

    def follow(self, parts: Mapping[str, Stateful]) -> None:
        """Take over what rank 0 has restored."""

    def signal(self, interrupt: Interrupt) -> int:
        """The signal that ends the training, or 0."""
        return interrupt.requested

    def agree(self, interrupt: Interrupt, stopped: bool) -> bool:
        """Tell the others of a signal, and whether to stop; whether anybody stops."""
        return stopped

    def compare_values(self, model: Layer, loss: Loss, optimizer: Optimizer, epoch: int) -> None:
        """Make sure that all ranks have the same values."""


class Together(Alone):
    """A training on several ranks.

    Args:
        ranks: the processes.
    """

    exit = AllEndedError

    def __init__(self, ranks: Ranks) -> None:
        self.ranks: Ranks = ranks
        self.first = ranks.first
        self._signal = 0
        self._one_kind = True  # all ranks round alike

    def steps(self, steps: type[PlainSteps], *, changing: bool) -> Any:
        """Steps on parts of the batch."""
        return partial(DataParallel, ranks=self.ranks, changing=changing)

    def settings(self) -> dict[str, Any]:
        """How the sums are computed, unless that decides the last bits alone."""
        about = self.ranks.describe()
        return {} if about == {"mode": "sum", "batch_norm": "batch"} else {"distributed": about}

    def circumstances(self) -> dict[str, str]:
        """The number of ranks, unless it changes no bit."""
        return {} if self.ranks.exact else {"the number of ranks": str(self.ranks.size)}

    def begin(
        self,
        model: Layer,
        loss: Loss,
        optimizer: Optimizer,
        train: Loader,
        validation: tuple[str, Loader] | None,
        settings: Mapping[str, Any],
    ) -> None:
        """Compare the ranks: data, settings, code, versions, values and, if it matters, machines.

        Args:
            model: with its starting values.
            loss: of the training.
            optimizer: with its state.
            train: the training batches.
            validation: the data for evaluation, and what the user calls them.
            settings: of `fit`, as far as they decide the result.

        Raises:
            RanksDifferError: if they differ.
        """
        if self.ranks.alone:
            return
        from minibnn.training.job import circumstances, describe_job  # slow to import

        about = circumstances(model.backend)
        job = {**describe_job(model, loss, optimizer, train, validation), **settings}
        facts = {name: _text(value) for name, value in job.items()}
        parts: dict[str, Any] = _parts(model, loss, optimizer) | {"training batches": train}
        facts |= {
            f"the starting values of the {name}": _digest(part) for name, part in parts.items()
        }
        facts["the code"] = _digest_of_code(parts.values())
        if not self.ranks.exact:  # then only these have to be alike
            facts |= {k: v for k, v in about.items() if "version of" in k}
            facts["the device"] = model.backend.name  # of any kind
        else:
            facts |= about
        self.ranks.require_alike(
            "fit", facts,
            "start all of them with the same command, files and environment, on machines of one "
            "kind",
        )  # fmt: skip
        everybody = self.ranks.of_all(about, "comparing the ranks")
        self._one_kind = all(its == everybody[0] for its in everybody)
        if not self._one_kind and self.first:
            import warnings

            warnings.warn(
                "fit: the ranks' processors or BLAS threads differ, so that their last bits may, "
                "too; after each epoch all take over rank 0's values",
                UserWarning,
                stacklevel=4,
            )

    def lead(self, parts: Mapping[str, Stateful], restored: bool) -> None:
        """See `Alone`."""
        states = {name: part.state() for name, part in parts.items()} if restored else None
        self.ranks.from_first(states, "reading the checkpoint")

    def follow(self, parts: Mapping[str, Stateful]) -> None:
        """See `Alone`."""
        states = self.ranks.from_first(None, "reading the checkpoint")
        for name, part in parts.items() if states is not None else ():
            part.restore(states.get(name, {}))

    def signal(self, interrupt: Interrupt) -> int:
        """The signal that some rank had received when they agreed last."""
        return self._signal

    def agree(self, interrupt: Interrupt, stopped: bool) -> bool:
        """See `Alone`; all ranks wait for each other here, and end by the same signal."""
        number, anybody = self.ranks.greatest(interrupt.requested, stopped)
        self._signal = int(number)
        note_ending(self._signal)
        return bool(anybody)

    def compare_values(self, model: Layer, loss: Loss, optimizer: Optimizer, epoch: int) -> None:
        """Compare digests of all values; of ranks of several kinds, take over rank 0's.

        Raises:
            RanksDifferError: if they differ.
        """
        if self.ranks.alone:
            return
        parts = _parts(model, loss, optimizer)
        if not self._one_kind:
            own = {name: _state(part) for name, part in parts.items()}
            states = self.ranks.from_first(own, "sharing values")
            for name, part in parts.items():
                if states[name] is not None:
                    part.restore(states[name])
            return
        self.ranks.require_alike(
            f"fit, after epoch {epoch}",
            {f"the {name}": _digest(part) for name, part in parts.items()},
            "callbacks and layers must do the same on every rank, and draw from a RandomStream",
        )


@contextmanager
def together(comm: object) -> Iterator[Alone]:
    """A context for a training on these ranks: an error on one of them ends all.

    Args:
        comm: `Ranks`; an mpi4py communicator, for ``Ranks("sum", comm)``; None for one process.
    """
    if comm is None:
        yield Alone()
        return
    ranks = comm
    if not isinstance(ranks, Ranks):
        require("fit", "comm", comm, _communicator())
        ranks = Ranks("sum", comm)
    with ranks.ending_together(*AGREED), ranks.one_thread():
        yield Together(ranks)
    if ranks is not comm:
        ranks.close()


def _communicator() -> type:
    from minibnn.distributed.mpi import mpi4py

    found: type = mpi4py("fit with comm").Intracomm
    return found


def _text(value: Any) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)


def _parts(model: Layer, loss: Loss, optimizer: Optimizer) -> dict[str, Stateful]:
    """What a step changes, by the names that messages use."""
    return {"model": model, "loss": loss, "optimiser": optimizer}


def _state(part: Stateful) -> State | None:
    """An object's state; None for one of a user's own that has none, which a checkpoint needs."""
    try:
        return part.state()
    except TypeError:
        return None


def _digest(part: Stateful) -> str:
    """Of all values of an object's state; against accidents, in half the time of SHA-256."""
    import json  # slow to import
    import zlib

    arrays, numbers = flatten({"state": _state(part)})
    digest = zlib.crc32(json.dumps(numbers, sort_keys=True).encode())
    for name in sorted(arrays):
        a = np.ascontiguousarray(arrays[name])
        digest = zlib.crc32(f"{name} {a.dtype} {a.shape}".encode(), digest)
        digest = zlib.crc32(a.reshape(-1).view(np.uint8).data, digest)
    return f"crc32 {digest:08x}"


def _digest_of_code(objects: Iterable[Any]) -> str:
    """Of minibnn's files, the program's, and those of the classes that take part."""
    import hashlib
    import inspect
    from pathlib import Path

    home = Path(__file__).parents[1]
    files = {str(file.relative_to(home)): file for file in home.rglob("*.py")}
    classes = {type(one) for one in objects}
    classes |= {type(layer) for one in objects if isinstance(one, Layer) for layer in _all(one)}
    modules = {inspect.getmodule(c) for c in classes} | {sys.modules.get("__main__")}
    own = [Path(name) for module in modules if (name := getattr(module, "__file__", None))]
    # What is inside an archive has no file of its own.
    files |= {f"{path.name}, of the program": path for path in own if path.is_file()}
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(name.encode())
        digest.update(files[name].read_bytes())
    return f"sha256 {digest.hexdigest()[:16]}"


def _all(layer: Layer) -> Iterator[Layer]:
    yield layer
    for child in layer.children():
        yield from _all(child)
