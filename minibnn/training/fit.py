"""The training loop, with a progress bar, a history, and a clean stop on Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer, require
from minibnn.data.loader import DataLoader
from minibnn.input_contract import InputContract
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.diverged import DivergedError
from minibnn.signals import Interrupt
from minibnn.state import has_state
from minibnn.training import cause
from minibnn.training.capture import CapturedSteps
from minibnn.training.evaluate import (
    StoppedError,
    check_data,
    device_metrics,
    samples_at_once,
    shared_task,
)
from minibnn.training.flips import Flips
from minibnn.training.progress import Progress, columns_of
from minibnn.training.step import PlainSteps, check_training

if TYPE_CHECKING:
    import pandas as pd

    from minibnn.training.checkpoint import Checkpoint, Saver


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
    checkpoint: Checkpoint | None = None,
) -> pd.DataFrame:
    """Train a model and return its history.

    Each epoch runs the explicit loop (forward, loss, backward, step) over the batches of
    `train`, then evaluates the model on every sample of `train` and of `test`. The loss says which
    targets are allowed, and what is reported beside it: see `evaluate`.

    Both loaders are moved to the model's device. No training step waits for the device; losses and
    metrics are read once an epoch.

    On a GPU, steps are replays of a captured step (`CapturedSteps`): the same computation, without
    Python in between. ``history.attrs["captured"]`` says whether this was possible.

    After Ctrl-C, the current batch is finished (on a GPU, all captured steps that are queued), and
    the history of the completed epochs is returned, with ``history.attrs["interrupted"] = True``. A
    second Ctrl-C raises KeyboardInterrupt at once.

    With a checkpoint, Ctrl-C saves the training and raises SystemExit with 130 (at a prompt or in a
    notebook the history is returned, as without a checkpoint). So do SIGTERM, which a batch queue
    sends before it kills, with 143, and SIGHUP, which a closed terminal sends, with 129. Objects of
    your own take part by `state` and `restore`: see `minibnn.state`.

    Args:
        model: initialised, and on its device.
        train: batches ``(x, targets)`` for training. Its epoch counter continues, so two calls of
            5 epochs equal one call of 10.
        test: evaluation data: a validation split to choose between models, the test set at the end.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from all of the model's parameters, or from some; the others do not change.
        epochs: the number of epochs, at least 1.
        progress: whether to show a bar on stderr; None shows it on a terminal only.
        on_epoch: called after each epoch with the history so far.
        capture: whether to replay captured steps; None captures on a GPU. If that is not possible,
            a warning says why, and training continues with plain steps.
        checkpoint: where and how often to save the training; see `Checkpoint`. One with
            ``resume=True`` continues the training in its file: everything is put back into the
            arguments, which have to be made as they were at first. If `on_epoch` has `state` and
            `restore`, these are saved as well.

    Returns:
        A pandas DataFrame with the index ``epoch``, from 1, and the columns ``loss_train``,
        ``loss_test``, ``acc_train``, ``acc_test``: means over all samples. In the place of ``acc``
        there is ``label_acc`` for several labels a sample, ``mae`` (the mean absolute error) for
        numbers, and nothing for targets that only a loss of your own knows. Each quantized weight
        also has a column ``flips_<path>``, such as ``flips_2.weight``: the share of its values (for
        1-bit weights, of its bits) that changed in the epoch.

    Raises:
        DivergedError: if the loss of a batch or a gradient is not finite, before the update; or if
            the loss after an epoch, or a parameter, is not finite. The message says where it began.
        ValueError: if the loss does not take such targets (a label without an output, say), or if
            the optimiser has none of the model's parameters; for ``capture=True`` on the CPU; for a
            `train` in the middle of an epoch.
        TypeError: if `train` or `test` is not a DataLoader, or the loss or the optimiser is a class
            instead of an object.
        RuntimeError: if the optimiser's parameters were moved after it was made.
        CheckpointError: for a file that is not a whole checkpoint of this training; for one that is
            there without ``resume=True``, or that another process is using. TypeError: if a layer,
            loss, loader or optimiser of your own changes something that no `state` has.
    """
    epochs = integer("fit", "epochs", epochs)
    if epochs < 1:
        raise ValueError(f"fit: expected at least 1 epoch, got {epochs}")
    if capture not in (None, True, False):
        raise TypeError(f"fit: expected capture to be None, True or False, got {capture!r}")
    check_training("fit", model, loss, optimizer)
    tasks = []
    for name, loader in (("train", train), ("test", test)):
        if isinstance(loader, DataLoader):
            loader.to(model.backend)
        tasks.append(check_data(model, loader, loss, f"fit: {name}"))
    task = shared_task("fit", tasks, (train, test))
    contract = _contract(train, test)

    capturing = not model.backend.host if capture is None else capture
    if capturing and model.backend.host:
        raise ValueError(
            f"fit: expected a GPU with capture=True, got {model.backend.name}; leave capture out"
        )
    steps = (CapturedSteps if capturing else PlainSteps)(model, loss, optimizer)

    reported = task.metrics
    evaluated = [
        (data, loss, reported, task, samples_at_once(model, data)) for data in (train, test)
    ]
    columns = columns_of(reported)
    flips = Flips(model)
    history = Progress([*columns, *flips.columns])
    parts: dict[str, Any] = {"model": model, "loss": loss, "optimizer": optimizer}
    parts |= {"training batches": train, "flips": flips, "history": history}
    if has_state(on_epoch):
        parts["on_epoch"] = on_epoch

    with (
        Interrupt(ending=checkpoint is not None) as interrupt,
        _saving(checkpoint, parts, test) as saver,
        _progress_bar(len(train), progress) as bar,
    ):
        if train.position not in (0, len(history.losses)):
            raise ValueError(
                "fit: expected a loader at the beginning of an epoch, got one that was restored "
                f"after {train.position:,} of its {len(train):,} batches; finish that epoch with a "
                "loop of your own, or begin it again with train.position = 0"
            )

        def stopping() -> bool:
            return bool(interrupt.requested)

        def on_steps(count: int) -> bool:
            bar.update(count)
            if saver is not None:
                saver.note_step()
                if saver.due(steps=count):
                    save_within_epoch(saver, model.backend.to_host(steps.losses_so_far()))
            return stopping()

        def save_within_epoch(saver: Saver, new: np.ndarray[Any, Any]) -> None:
            """Save, unless the training has diverged: then the last good checkpoint stays."""
            finite = _all_finite(model)
            if np.isfinite(new).all() and model.backend.to_host(finite).all():
                with history.running(new):
                    saver.save()

        while len(history.rows) < epochs and not stopping():
            epoch, first = len(history.rows) + 1, len(history.losses)
            bar.reset()
            bar.set_description(f"epoch {epoch}/{epochs}")
            bar.update(first)
            if first == 0:
                flips.begin()
            with np.errstate(over="ignore", invalid="ignore"):  # DivergedError reports them
                losses = model.backend.xp.zeros(0)
                if first < len(train):  # not if only the evaluation was missing
                    losses = steps.epoch(train, on_steps)
                if contract is not None:  # training steps do not record the input's range
                    model.set_input_contract(contract)
                metrics: list[Array] = []
                whole = first + len(losses) == len(train)
                if whole:
                    stop = None if saver is None else stopping
                    with suppress(StoppedError):
                        metrics = [device_metrics(model, *given, stop) for given in evaluated]
                        metrics += [_all_finite(model), *flips.end()]
            host = model.backend.to_host(model.backend.xp.concatenate([losses, *metrics])).tolist()
            for batch, value in enumerate(host[: len(losses)], start=first):
                if not math.isfinite(value):
                    model.forget()
                    what, value, why = cause.in_batch(model, loss, train, batch, value)
                    table = history.table(captured=steps.captured)
                    raise DivergedError(value, epoch, batch + 1, table, what, why)
            if not metrics:  # stopped before the epoch's end
                if saver is not None:
                    save_within_epoch(saver, np.array(host))
                break
            values = iter(host[len(losses) :])
            of_train, of_test = ([*islice(values, 1 + len(reported))] for _ in evaluated)
            finite, *shares = values
            both = of_train[0] + of_test[0]
            if not (math.isfinite(both) and finite):
                found = cause.in_parameters(model)
                what, value, why = found or (
                    "the loss",
                    both,
                    cause.in_data(train=train, test=test),
                )
                table = history.table(captured=steps.captured)
                raise DivergedError(value, epoch, None, table, what, why)
            pairs = zip(of_train, of_test, strict=True)
            history.add([*chain.from_iterable(pairs), *shares])
            shown = min(1, len(reported))  # the first metric, or else the loss
            bar.set_postfix_str(f"{columns[2 * shown + 1]} {of_test[shown]:.3f}")
            if on_epoch is not None:
                on_epoch(history.table(captured=steps.captured))
            if saver is not None and (saver.due(epochs=1) or epoch == epochs):
                saver.save()
        else:  # at the end of an epoch, or before the first step
            if saver is not None and stopping():
                saver.save()
    if saver is not None and stopping():
        saver.say_how_to_go_on(interrupt.requested)
        if interrupt.requested != signal.SIGINT or not _is_interactive():
            raise SystemExit(128 + interrupt.requested)
    return history.table(captured=steps.captured, interrupted=stopping())


@contextmanager
def _saving(
    checkpoint: Checkpoint | None, parts: dict[str, Any], test: DataLoader
) -> Iterator[Saver | None]:
    """The saver of a checkpoint, with what it has saved put back into the parts."""
    if checkpoint is None:
        yield None
        return
    from minibnn.training.checkpoint import Checkpoint

    if isinstance(checkpoint, str):
        raise TypeError(
            f"fit: expected a Checkpoint, got {checkpoint!r}; write Checkpoint({checkpoint!r})"
        )
    require("fit", "checkpoint", checkpoint, Checkpoint)
    from minibnn.training.checkpoint import ON_EPOCH
    from minibnn.training.job import circumstances, describe_job
    from minibnn.training.unrecorded import UnrecordedState

    model, loss, optimizer, train = (
        parts[name] for name in ("model", "loss", "optimizer", "training batches")
    )
    # A recipe's own `on_epoch` may have the user's inside.
    on_epoch = parts.get(ON_EPOCH)
    sets_arguments = has_state(getattr(on_epoch, "on_epoch", on_epoch))
    with checkpoint.running(
        parts,
        describe_job(model, loss, optimizer, train, test),
        circumstances(model.backend),
        UnrecordedState(model, loss, optimizer, train, arguments=not sets_arguments),
    ) as saver:
        saver.restore()
        yield saver


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


def _is_interactive() -> bool:
    """Whether a person is at a prompt or in a notebook, who goes on after Ctrl-C."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def _progress_bar(total: int, wanted: bool | None) -> Any:
    from tqdm import tqdm

    if wanted is None:
        wanted = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
    wanted = wanted and sys.stderr is not None  # it is None if the process has no stderr
    file = _Terminal(sys.stderr)
    return tqdm(total=total, disable=not wanted, unit="batch", leave=False, file=file)


class _Terminal:
    """A stream whose terminal may be closed while training goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def __eq__(self, other: object) -> bool:
        """As the stream itself, by which tqdm knows whether text would hit the bar."""
        return self._stream is other

    def __hash__(self) -> int:
        return hash(self._stream)

    def write(self, text: str) -> int:
        """Write, if that is still possible."""
        with suppress(OSError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        """Flush, if that is still possible."""
        with suppress(OSError):
            self._stream.flush()
