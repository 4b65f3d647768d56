"""The training loop, with a progress bar, a history, and a clean stop on Ctrl-C."""

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

# A weight, its quantizer, and whether the quantizer has two values, only one of them above zero.
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

    Both loaders are moved to the model's device. No training step waits for the device; losses and
    metrics are read once an epoch.

    On a GPU, steps are replays of a captured step (`CapturedSteps`): the same computation, without
    Python in between. ``history.attrs["captured"]`` says whether this was possible.

    After Ctrl-C, the current batch is finished (with captured steps the epoch, since the host has
    already queued all of it), and the history of the completed epochs is returned, with
    ``history.attrs["interrupted"] = True``. A second Ctrl-C raises KeyboardInterrupt at once.

    Args:
        model: initialised, and on its device.
        train: batches ``(x, labels)`` for training. Its epoch counter continues, so two calls of
            5 epochs equal one call of 10.
        test: evaluation data: a validation split to choose between models, the test set at the end.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from all of the model's parameters, or from some; the others do not change.
        epochs: the number of epochs, at least 1.
        progress: whether to show a bar on stderr; None shows it on a terminal only.
        on_epoch: called after each epoch with the history so far.
        capture: whether to replay captured steps; None captures on a GPU. If that is not possible,
            a warning says why, and training continues with plain steps.

    Returns:
        A pandas DataFrame with the index ``epoch``, from 1, and the columns ``loss_train``,
        ``loss_test``, ``acc_train``, ``acc_test``: means over all samples. Each quantized weight
        also has a column ``flips_<path>``, such as ``flips_2.weight``: the share of its values (for
        1-bit weights, of its bits) that changed in the epoch.

    Raises:
        DivergedError: if the loss of a batch or a gradient is not finite, before the update; or if
            the loss after an epoch, or a parameter, is not finite. The message says where it began.
        ValueError: if a label has no output, or if the optimiser has none of the model's
            parameters; for ``capture=True`` on the CPU.
        TypeError: if `train` or `test` is not a DataLoader, or the loss or the optimiser is a class
            instead of an object.
        RuntimeError: if the optimiser's parameters were moved after it was made.
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
            with np.errstate(over="ignore", invalid="ignore"):  # DivergedError reports them
                codes = _codes(quantized)
                losses = steps.epoch(train, on_steps)
                if contract is not None:  # training steps do not record the input's range
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
    """The input contract of a model trained on these samples; None if it is not known yet.

    Raises:
        TypeError: if the test samples have another dtype, because only they were rescaled, say.
    """
    if not (train.only_gathers() and test.only_gathers()):  # batches may differ from the arrays
        return None
    x = train.arrays[0]
    if test.arrays[0].dtype != x.dtype:
        raise TypeError(
            f"fit: expected test samples of dtype {x.dtype}, as those for training, got "
            f"{test.arrays[0].dtype}; prepare both in the same way"
        )
    return InputContract.of(x, f"fit, {train.samples:,} samples")


def _all_finite(model: Layer) -> Array:
    """Whether every parameter is finite, as an array with one number on the device."""
    backend = model.backend
    all_finite = backend.xp.ones((), bool)
    with backend.update(allowed=all_finite):  # a device clears it
        for p in model.parameters():
            all_finite &= backend.all_finite(p.data)
    return all_finite.astype(np.float64).reshape(1)


def _quantized(model: Layer) -> tuple[list[str], list[_Quantized]]:
    """The paths of the quantized weights, and what `_codes` needs.

    Finding out a function's values takes too long to do it in each epoch.
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
    """The quantized weights, on the device; for quantizers with two values, their bits.

    Some quantizers scale their two values by a mean that changes in each step. The bit, whether the
    value is above zero, does not depend on it, and takes a quarter of the memory.
    """
    codes = []
    for parameter, function, two_sided in quantized:
        values = function.forward(parameter.data)
        codes.append(values > 0 if two_sided else values)
    return codes


def _flips(before: list[Array], after: list[Array]) -> Array:
    """The share of positions in which each pair of arrays differs, on the device."""
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
    """A context in which the first Ctrl-C only sets `requested`; a second one works as usual."""

    requested = False

    def __enter__(self) -> Self:
        # Only the main thread may handle signals. If Ctrl-C is ignored (in a background job), or
        # handled outside Python (None), that stays as it is.
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
