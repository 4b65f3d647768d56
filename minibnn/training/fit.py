"""The training loop, with what a person at a terminal needs around it."""

from __future__ import annotations

import math
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeAlias

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import integer
from minibnn.data.loader import DataLoader
from minibnn.functions import Function, weight_levels
from minibnn.input_contract import InputContract
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.parameter import Parameter
from minibnn.training import cause
from minibnn.training.capture import CapturedSteps
from minibnn.training.evaluate import check_data, device_metrics, samples_at_once
from minibnn.training.step import PlainSteps, check_training

if TYPE_CHECKING:
    import pandas as pd

# A weight, its quantizer, and whether this has two values, one above zero and one not.
_Quantized: TypeAlias = tuple[Parameter, Function, bool]

COLUMNS = ("loss_train", "loss_test", "acc_train", "acc_test")


def fit(
    model: Layer,
    train: DataLoader,
    test: DataLoader,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    progress: bool | None = None,
    on_epoch: Callable[[pd.DataFrame], None] | None = None,
    capture: bool | None = None,
) -> pd.DataFrame:
    """Train a model and return its history.

    Each epoch runs the explicit loop (forward, loss, backward, step) over the batches of
    `train`, then evaluates the model on every sample of `train` and of `test`.

    Both loaders are moved to the model's device. Nothing in a training step waits for that
    device; what is measured is read once an epoch.

    On a GPU the steps are replays of one that was captured (`CapturedSteps`): the same
    computation without Python in between. ``history.attrs["captured"]`` says whether they were.

    Ctrl-C lets the batch in hand finish (with captured steps, the epoch: the host queues all of it
    in no time) and returns the epochs completed so far, with
    ``history.attrs["interrupted"] = True``. A second Ctrl-C raises KeyboardInterrupt at once.

    Args:
        model: initialised, and on its device.
        train: batches ``(x, labels)`` for training. Its epoch counter goes on from where it is,
            so that two calls of 5 epochs are one call of 10.
        test: what to evaluate on: a validation split while choosing, the test set at the end.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from the model's parameters, or from some: the others stay as they are.
        epochs: how many, at least 1.
        progress: whether to show a bar on stderr; None shows it on a terminal only.
        on_epoch: called after each epoch with the history so far.
        capture: whether to replay captured steps; None for whether it is a GPU. A step, or a GPU,
            that cannot be captured is named in a warning, and training goes on with plain steps.

    Returns:
        A pandas DataFrame with the index ``epoch``, from 1, and the columns ``loss_train``,
        ``loss_test``, ``acc_train``, ``acc_test``: means over all samples. After them, for each
        quantized weight, ``flips_<path>`` (``flips_2.weight``): the share of its values that the
        epoch changed; of 1-bit weights, the share of the bits.

    Raises:
        DivergedError: when the loss of a batch, or a gradient, is not finite, before its update; or
            when the loss after an epoch, or a parameter, is not. It says where that began.
        ValueError: for labels without an output, or an optimiser of another model; for
            ``capture=True`` on the CPU.
        TypeError: if `train` or `test` is not a DataLoader; for a loss or optimiser class instead
            of an object.
        RuntimeError: for an optimiser whose parameters were moved since.
    """
    epochs = integer("fit", "epochs", epochs)
    if epochs < 1:
        raise ValueError(f"fit: expected at least 1 epoch, got {epochs}")
    if capture not in (None, True, False):
        raise TypeError(f"fit: expected capture to be None, True or False, got {capture!r}")
    check_training("fit", model, loss, optimizer)
    for name, loader in (("train", train), ("test", test)):
        if isinstance(loader, DataLoader):
            loader.to(model.backend)
        check_data(model, loader, f"fit: {name}")
    contract = _contract(train, test)

    capturing = not model.backend.host if capture is None else capture
    if capturing and model.backend.host:
        raise ValueError(
            f"fit: expected a GPU with capture=True, got {model.backend.name}; leave capture out"
        )
    steps = (CapturedSteps if capturing else PlainSteps)(model, loss, optimizer)

    evaluated = [(data, loss, samples_at_once(model, data)) for data in (train, test)]
    rows: list[list[float]] = []
    paths, quantized = _quantized(model)
    columns = [*COLUMNS, *(f"flips_{path}" for path in paths)]
    with (
        _Interrupt() as interrupt,
        _progress_bar(len(train), progress) as bar,
    ):

        def on_steps(count: int) -> bool:
            bar.update(count)
            return interrupt.requested

        for epoch in range(1, epochs + 1):
            bar.reset()
            bar.set_description(f"epoch {epoch}/{epochs}")
            with np.errstate(over="ignore", invalid="ignore"):  # they end in DivergedError
                codes = _codes(quantized)
                losses = steps.epoch(train, on_steps)
                if contract is not None:  # the steps themselves see no range
                    model.set_input_contract(contract)
                whole = len(losses) == len(train)
                metrics = [device_metrics(model, *given) for given in evaluated if whole]
                metrics += [_all_finite(model)] if whole else []
                if whole and codes:
                    metrics.append(_flips(codes, _codes(quantized)))
            host = model.backend.to_host(model.backend.xp.concatenate([losses, *metrics])).tolist()
            for batch, value in enumerate(host[: len(losses)]):
                if not math.isfinite(value):
                    model.forget()
                    what, value, why = cause.in_batch(model, loss, train, batch, value)
                    history = _history(rows, columns, steps)
                    raise DivergedError(value, epoch, batch + 1, history, what, why)
            if not whole:
                break
            loss_train, acc_train, loss_test, acc_test, finite, *flips = host[len(losses) :]
            both = loss_train + loss_test
            if not (math.isfinite(both) and finite):
                found = cause.in_parameters(model)
                what, value, why = found or (
                    "the loss",
                    both,
                    cause.in_data(train=train, test=test),
                )
                history = _history(rows, columns, steps)
                raise DivergedError(value, epoch, None, history, what, why)
            rows.append([loss_train, loss_test, acc_train, acc_test, *flips])
            bar.set_postfix_str(f"acc_test {acc_test:.3f}")
            if on_epoch is not None:
                on_epoch(_history(rows, columns, steps))
            if interrupt.requested:
                break
    return _history(rows, columns, steps, interrupted=interrupt.requested)


def _contract(train: DataLoader, test: DataLoader) -> InputContract | None:
    """What a model is trained on with these samples; None if nobody knows before.

    Raises:
        TypeError: for test samples of another dtype: scaled outside, as the others are not, say.
    """
    if not (train.only_gathers() and test.only_gathers()):  # the arrays may not be what they give
        return None
    x = train.arrays[0]
    if test.arrays[0].dtype != x.dtype:
        raise TypeError(
            f"fit: expected test samples of dtype {x.dtype}, as those for training, got "
            f"{test.arrays[0].dtype}; prepare both in the same way"
        )
    return InputContract.of(x, f"fit, {train.samples:,} samples")


def _all_finite(model: Layer) -> Array:
    """Whether every parameter is finite, as an array of one number on the device."""
    backend = model.backend
    all_finite = backend.xp.ones((), bool)
    with backend.update(allowed=all_finite):  # a device notes it there
        for p in model.parameters():
            all_finite &= backend.all_finite(p.data)
    return all_finite.astype(np.float64).reshape(1)


def _quantized(model: Layer) -> tuple[list[str], list[_Quantized]]:
    """Paths of the quantized weights; each with its function, and whether two signs are all it has.

    Asking functions for their values takes too long to do it in every epoch.
    """
    paths, found = [], []
    for path, parameter, function in model.named_quantized():
        levels = weight_levels(function, len(parameter.shape), parameter.shape[-1])
        if levels is not None:
            paths.append(path)
            two_sided = len(levels) == 2 and levels[0] <= 0 < levels[1]
            found.append((parameter, function, bool(two_sided)))
    return paths, found


def _codes(quantized: list[_Quantized]) -> list[Array]:
    """The quantized weights, on the device; of signs only which of the two values it is.

    Some scale their two values by a mean that moves with every step. The bit does not: the value is
    above zero or not. (Kept as booleans, a quarter of the memory.)
    """
    codes = []
    for parameter, function, two_sided in quantized:
        values = function.forward(parameter.data)
        codes.append(values > 0 if two_sided else values)
    return codes


def _flips(before: list[Array], after: list[Array]) -> Array:
    """The share of places in which each pair of arrays differs, on the device."""
    xp = backend_of(before[0]).xp
    pairs = zip(before, after, strict=True)
    return xp.stack([(old != new).mean(dtype=np.float64) for old, new in pairs])


def _history(
    rows: list[list[float]], columns: list[str], steps: PlainSteps, *, interrupted: bool = False
) -> pd.DataFrame:
    import pandas as pd

    index = pd.RangeIndex(1, len(rows) + 1, name="epoch")
    history = pd.DataFrame(rows, index=index, columns=columns, dtype=float)
    history.attrs |= {"interrupted": interrupted, "captured": steps.captured}
    return history


def _progress_bar(total: int, wanted: bool | None) -> Any:
    from tqdm import tqdm

    if wanted is None:
        wanted = sys.stderr.isatty() or "ipykernel" in sys.modules
    return tqdm(total=total, disable=not wanted, unit="batch", leave=False)


class _Interrupt:
    """While entered, the first Ctrl-C only sets `requested`; the second one acts as usual."""

    requested = False

    def __enter__(self) -> Self:
        # Only the main thread may handle signals. And whoever ignores Ctrl-C (a background job), or
        # handles it outside Python (None), is left to it.
        self._previous = signal.getsignal(signal.SIGINT)
        self._active = (
            threading.current_thread() is threading.main_thread()
            and self._previous not in (signal.SIG_IGN, None)
        )
        if self._active:
            signal.signal(signal.SIGINT, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._active:
            signal.signal(signal.SIGINT, self._previous)

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested:
            raise KeyboardInterrupt
        self.requested = True
