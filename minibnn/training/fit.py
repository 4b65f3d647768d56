"""The training loop, with evaluations, callbacks, a history, and a clean stop on Ctrl-C."""

from __future__ import annotations

import math
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np

from minibnn.backend import Array
from minibnn.checks import integer, number
from minibnn.data.epochs import Loader
from minibnn.data.loader import DataLoader
from minibnn.encoding import fit_codes
from minibnn.input_contract import InputContract
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.losses.chosen_metrics import Asked, metrics_of
from minibnn.notebook import in_notebook
from minibnn.optimizers import Optimizer
from minibnn.optimizers.clipping import check_norm
from minibnn.optimizers.diverged import DivergedError
from minibnn.signals import Interrupt
from minibnn.state import has_state
from minibnn.training import cause
from minibnn.training.callbacks import Callbacks
from minibnn.training.capture import CapturedSteps
from minibnn.training.class_weights import Given, class_weights, described
from minibnn.training.display import display_for
from minibnn.training.evaluate import StoppedError, check_data, shared_task
from minibnn.training.evaluations import Evaluations
from minibnn.training.flips import Flips
from minibnn.training.progress import Progress
from minibnn.training.saving import saving, settings_of
from minibnn.training.step import PlainSteps, check_training
from minibnn.training.together import Alone, together

if TYPE_CHECKING:
    import pandas as pd

    from minibnn.distributed import Ranks
    from minibnn.training.checkpoint import Checkpoint, Saver
    from minibnn.training.saving import Follower

LAST = 50  # batches whose mean loss is shown while an epoch runs


def fit(
    model: Layer,
    train: Loader,
    test: Loader | None = None,
    *,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    validation: Loader | float | None = None,
    evaluate_train: int | None = 1,
    metrics: Sequence[Asked] | None = None,
    class_weight: Given | None = None,
    clip_norm: float | None = None,
    callbacks: Sequence[object] = (),
    progress: bool | None = None,
    on_epoch: Callable[[pd.DataFrame], object] | None = None,
    capture: bool | None = None,
    checkpoint: Checkpoint | None = None,
    comm: Ranks | Any = None,
) -> pd.DataFrame:
    """Train a model and return its history.

    Each epoch runs the explicit loop (forward, loss, backward, step) over the batches of `train`,
    then evaluates the model on every sample of `train` and of the validation data.

    The loaders are moved to the model's device. No training step waits for the device; losses and
    metrics are read once an epoch.

    On a GPU, steps are replays of a captured step (`CapturedSteps`): the same computation, without
    Python in between. ``history.attrs["captured"]`` says whether this was possible. With `comm` it
    is not: those are plain steps.

    After Ctrl-C, the current batch is finished (on a GPU, all captured steps that are queued), and
    the history of the completed epochs is returned, with ``history.attrs["interrupted"] = True``. A
    second Ctrl-C raises KeyboardInterrupt at once.

    With a checkpoint, Ctrl-C saves the training and raises SystemExit with 130 (at a prompt or in a
    notebook the history is returned, as without a checkpoint). So do SIGTERM, which a batch queue
    sends before it kills, with 143, and SIGHUP, which a closed terminal sends, with 129. Objects of
    your own take part by `state` and `restore`: see `minibnn.state`.

    Args:
        model: initialised, and on its device.
        train: batches ``(x, labels)`` for training, or ``(x, labels, weights)`` with a weight for
            each sample. Its epoch counter continues, so two calls of 5 epochs equal one call of 10.
            Input codes without values are fitted to its samples: see `fit_codes`.
        test: the older name of `validation`, with columns ``loss_test``, ``acc_test``.
        loss: for instance ``LogitCrossEntropy()``.
        optimizer: made from all of the model's parameters, or from some; the others do not change.
        epochs: the number of epochs, at least 1.
        validation: data for evaluation: a loader; a fraction of `train`, to be held out, as by
            ``train.split(0.1)``; or None.
        evaluate_train: after every how many epochs to evaluate the training set; None for never.
            The history then has a column ``loss``, the mean of the losses of the epoch's steps
            (while the model changed), which costs nothing.
        metrics: what to compute beside the loss, such as ``[Accuracy(), F1()]``, or functions of
            predictions and targets that return a number for each sample; None for what the loss
            reports.
        class_weight: the weights of classes by number, 1 for those not named, or "balanced", by
            which all classes weigh the same. They count in training only.
        clip_norm: the largest global norm of the gradients, see `clip_gradients`; None for any.
        callbacks: objects with ``on_epoch(history)``, ``on_step(epoch, step)`` or both; if one
            returns True, training stops, with ``history.attrs["stopped"] = True``. See
            `EarlyStopping`, `live_plot` and `TrainingFilm`, and `minibnn.training.callbacks` for
            your own. `on_step` is called after each step, so on a GPU these steps are not captured.
        progress: whether to show progress on stderr: a bar in a terminal, a line in a notebook,
            else a line for each epoch. None shows it in a terminal and a notebook only.
        on_epoch: a function, called after each epoch with the history so far; True stops.
        capture: whether to replay captured steps; None captures on a GPU, without `comm`. If that
            is not possible, a warning says why, and training continues with plain steps.
        checkpoint: where and how often to save the training; see `Checkpoint`. One with
            ``resume=True`` continues the training in its file: everything is put back into the
            arguments, which have to be made as they were at first. If `on_epoch` or a callback has
            `state` and `restore`, these are saved as well.
        comm: the ranks that train together, each with a part of every batch: `Ranks`, such as
            ``Ranks("exact")``, or an mpi4py communicator, for ``Ranks("sum", comm)``. Every rank
            makes the same call, with the same data and values. Callbacks run on every rank; rank 0
            writes the checkpoint and shows progress. An error on one rank ends all.

    Returns:
        A pandas DataFrame with the index ``epoch``, from 1, and the columns ``loss_train``,
        ``loss_validation``, ``acc_train``, ``acc_validation`` (``..._test`` for `test`), as far as
        there are such data: means over all samples. In the place of ``acc`` there is ``label_acc``
        for several labels a sample, ``mae`` (the mean absolute error) for numbers, and nothing for
        targets that only a loss of your own knows. What was not evaluated in an epoch is nan. Each
        quantized weight also has a column ``flips_<path>``, such as ``flips_2.weight``: the share
        of its values (for 1-bit weights, of its bits) that changed in the epoch.

    Raises:
        DivergedError: if the loss of a batch or a gradient is not finite, before the update; or if
            the loss after an epoch, or a parameter, is not finite. The message says where it began.
        ValueError: if the loss does not take such targets (a label without an output, say), or if
            the optimiser has none of the model's parameters; for ``capture=True`` on the CPU or
            with `comm`; for a `train` in the middle of an epoch; for a fraction that leaves no
            samples; for both `validation` and `test`.
        TypeError: if `train` or `validation` is not a loader, or the loss or the optimiser is a
            class instead of an object.
        RuntimeError: if the optimiser's parameters were moved after it was made.
        CheckpointError: for a file that is not a whole checkpoint of this training; for one that is
            there without ``resume=True``, or that another process is using. TypeError: if a layer,
            loss, loader or optimiser of your own changes something that no `state` has.

    An error from a callback, a metric or a loader is raised as it is; its attribute `history` has
    the epochs that were complete.
    """
    with together(comm) as company:
        return _fit(
            company, model, train, test, loss, optimizer, epochs, validation, evaluate_train,
            metrics, class_weight, clip_norm, callbacks, progress, on_epoch, capture, checkpoint,
        )  # fmt: skip


def _fit(
    company: Alone,
    model: Layer,
    train: Loader,
    test: Loader | None,
    loss: Loss,
    optimizer: Optimizer,
    epochs: int,
    validation: Loader | float | None,
    evaluate_train: int | None,
    metrics: Sequence[Asked] | None,
    class_weight: Given | None,
    clip_norm: float | None,
    callbacks: Sequence[object],
    progress: bool | None,
    on_epoch: Callable[[pd.DataFrame], object] | None,
    capture: bool | None,
    checkpoint: Checkpoint | None,
) -> pd.DataFrame:
    """See `fit`."""
    epochs = integer("fit", "epochs", epochs)
    if epochs < 1:
        raise ValueError(f"fit: expected at least 1 epoch, got {epochs}")
    if capture not in (None, True, False):
        raise TypeError(f"fit: expected capture to be None, True or False, got {capture!r}")
    check_training("fit", model, loss, optimizer)
    clip_norm = None if clip_norm is None else check_norm("fit", clip_norm, "clip_norm")
    calls = Callbacks(callbacks, on_epoch)
    whole = train
    train, held_out = _loaders(train, test, validation)
    data = {"train": train} | ({} if held_out is None else dict([held_out]))
    tasks = []
    for name, loader in data.items():
        if isinstance(loader, Loader):
            loader.to(model.backend)
            if name == "train" and isinstance(loader, DataLoader):
                fit_codes(model, loader.look()[0])
        tasks.append(check_data(model, loader, loss, f"fit: {name}"))
    task = shared_task("fit", tasks, list(data.values()))
    contract = _contract(data)

    _, labels, *own = train.look() if isinstance(train, DataLoader) else (None, None)
    weights = class_weights(class_weight, task, labels, model.backend, *own)
    steps = company.steps(
        _steps(capture, calls, model, company.ranks), changing=bool(calls.each_step)
    )(model, loss, optimizer, clip_norm=clip_norm, class_weights=weights)
    reported = metrics_of(metrics, task, "fit")
    evaluations = Evaluations(model, loss, task, reported, data, evaluate_train, company.ranks)
    if metrics and not evaluations.data:
        raise ValueError(
            "fit: expected data to evaluate metrics on, got none; pass validation=0.1, or leave "
            "evaluate_train at 1"
        )
    flips = Flips(model)
    history = Progress([*evaluations.columns, *flips.columns])
    parts: dict[str, Any] = {"model": model, "loss": loss, "optimizer": optimizer}
    parts |= {"training batches": train, "flips": flips, "history": history, "callbacks": calls}
    if has_state(on_epoch):
        parts["on_epoch"] = on_epoch
    settings = settings_of(clip_norm=clip_norm, class_weight=described(class_weight))
    settings |= company.settings()
    how_long = {
        "epochs": epochs,
        "columns of the history": history.columns,
        "evaluate_train": evaluate_train,
        "a checkpoint": checkpoint is not None,
    }
    company.begin(model, loss, optimizer, train, held_out, {**settings, **how_long})

    def table() -> pd.DataFrame:
        return history.table(captured=steps.captured, stopped=calls.stopped)

    def diverged(found: cause.Found, epoch: int, batch: int | None) -> DivergedError:
        what, value, why = found
        return DivergedError(value, epoch, batch, table(), what, why)

    calls.begin(model, table)
    with (
        Interrupt(ending=checkpoint is not None) as interrupt,
        saving(checkpoint, parts, held_out, settings, company) as saver,
        display_for(epochs, len(train), progress if company.first else False) as display,
    ):
        if train.position not in (0, len(history.losses)):
            raise ValueError(
                "fit: expected a loader at the beginning of an epoch, got one that was restored "
                f"after {train.position:,} of its {len(train):,} batches; finish that epoch with a "
                "loop of your own, or begin it again with train.position = 0"
            )

        def stopping() -> bool:
            return bool(company.signal(interrupt))

        each_step = bool(calls.each_step)

        def on_steps(count: int) -> bool:
            display.update(count, last_losses)
            if each_step:
                calls.step(display.epoch, display.done)
            if saver is not None:
                saver.note_step()
                if saver.due(steps=count):
                    save_within_epoch(saver, model.backend.to_host(steps.losses_so_far()))
            calls.stopped = company.agree(interrupt, calls.stopped)
            return stopping() or calls.stopped

        def last_losses() -> float | None:
            """The mean loss of the last batches, if that does not wait for a device."""
            host = model.backend.host
            return float(steps.losses_so_far()[-LAST:].mean()) if host else None

        def save_within_epoch(saver: Saver | Follower, new: np.ndarray[Any, Any]) -> None:
            """Save, unless the training has diverged: then the last good checkpoint stays."""
            finite = _all_finite(model)
            if np.isfinite(new).all() and model.backend.to_host(finite).all():
                with history.running(new):
                    saver.save()

        try:
            while len(history.rows) < epochs and not (stopping() or calls.stopped):
                epoch, first = len(history.rows) + 1, len(history.losses)
                display.begin(epoch, first)
                if first == 0:
                    flips.begin()
                # Whatever NumPy is set to: overflows are reported as DivergedError.
                with np.errstate(over="ignore", invalid="ignore", under="ignore"):
                    losses = model.backend.xp.zeros(0)
                    if first < len(train):  # not if only the evaluation was missing
                        losses = steps.epoch(train, on_steps)
                    if contract is not None:  # training steps do not record the input's range
                        model.set_input_contract(contract)
                    measured: list[Array] = []
                    if first + len(losses) == len(train):
                        with suppress(StoppedError):
                            stop = None if saver is None else stopping
                            measured = evaluations.measure(epoch, stop)
                            measured += [_all_finite(model), *flips.end()]
                host = model.backend.to_host(model.backend.xp.concatenate([losses, *measured]))
                new, values = host[: len(losses)], host[len(losses) :].tolist()
                for batch, value in enumerate(new.tolist(), start=first):
                    if not math.isfinite(value):
                        model.forget()
                        found = cause.in_batch(model, loss, train, batch, value)
                        raise diverged(found, epoch, batch + 1)
                if not measured:  # stopped before the epoch's end
                    if saver is not None and train.continues:
                        save_within_epoch(saver, new)
                    break
                shares = len(flips.columns)
                finite, of_flips = values[-1 - shares], values[len(values) - shares :]
                bad = evaluations.loss_not_finite(epoch, values)
                if bad is not None or not finite:
                    of_loss = "the loss", bad or math.nan, cause.in_data(**data)
                    raise diverged(cause.in_parameters(model) or of_loss, epoch, None)
                of_steps = np.concatenate([history.losses, new])
                row = evaluations.row(epoch, values, of_steps.tolist())
                history.add([*row, *of_flips])
                display.end(dict(zip(history.columns, history.rows[-1], strict=True)))
                company.compare_values(model, loss, optimizer, epoch)
                calls.losses(of_steps)
                calls.epoch(table)
                calls.stopped = company.agree(interrupt, calls.stopped)
                ended = epoch == epochs or calls.stopped
                if saver is not None and (saver.due(epochs=1) or ended):
                    saver.save()
            else:  # at the end of an epoch, or before the first step
                if saver is not None and stopping():
                    saver.save()
            calls.end(table)
        except Exception as error:
            if not hasattr(error, "history"):
                with suppress(AttributeError):  # an error with slots
                    error.history = table()  # type: ignore[attr-defined]
                    if display.epoch and display.done < len(train):
                        where = f"{display.done} of {len(train)} batches of epoch {display.epoch}"
                        error.add_note(f"fit: raised after {where}")
                    if history.rows:
                        error.add_note(f"fit: raised after {history}, which error.history has")
            raise
        finally:
            whole.epoch = train.epoch  # of which `train` may be a part
    if saver is not None and stopping():
        number = company.signal(interrupt)
        saver.say_how_to_go_on(number)
        if number != signal.SIGINT or not _is_interactive():
            raise company.exit(128 + number)
    return history.table(captured=steps.captured, interrupted=stopping(), stopped=calls.stopped)


def _loaders(
    train: Loader, test: Loader | None, validation: Loader | float | None
) -> tuple[Loader, tuple[str, Loader] | None]:
    """The data to train on, and the data to evaluate on with their name in the history."""
    if validation is None:
        return train, None if test is None else ("test", test)
    if test is not None:
        raise ValueError(
            "fit: expected validation or test, got both; evaluate on the other one after training: "
            "evaluate(model, test, loss)"
        )
    if isinstance(validation, Loader):
        return train, ("validation", validation)
    try:
        fraction = float(number("fit", "validation", validation))
    except TypeError:
        got = validation if isinstance(validation, bool) else type(validation).__name__
        raise TypeError(
            "fit: expected validation to be a DataLoader, a fraction such as 0.1, or None, got "
            f"{got}; make one: DataLoader((x, labels), batch_size)"
        ) from None
    if not isinstance(train, DataLoader):
        raise TypeError(
            f"fit: expected a DataLoader, to hold out {fraction} of it, got "
            f"{type(train).__name__}; give validation a loader of its own"
        )
    train, part = train.split(fraction)
    return train, ("validation", part)


def _steps(
    capture: bool | None, calls: Callbacks, model: Layer, ranks: Ranks | None
) -> type[PlainSteps]:
    """Captured steps or plain ones."""
    if ranks is not None:
        if capture:
            raise ValueError(
                "fit: expected capture=None with comm, since the steps of several ranks cannot be "
                "captured, got True; leave capture out"
            )
        return PlainSteps
    capturing = not model.backend.host if capture is None else capture
    if capturing and model.backend.host:
        raise ValueError(
            f"fit: expected a GPU with capture=True, got {model.backend.name}; leave capture out"
        )
    if capturing and calls.each_step:
        import warnings

        name = type(calls.each_step[0]).__name__
        warnings.warn(
            f"training without a captured step: {name} has on_step, which may change something "
            "after each step",
            UserWarning,
            stacklevel=4,
        )
        return PlainSteps
    return CapturedSteps if capturing else PlainSteps


def _contract(data: dict[str, Loader]) -> InputContract | None:
    """The input contract of a model trained on these samples; None if it is not known yet.

    Raises:
        TypeError: if the samples for evaluation have another dtype, because only they were
            rescaled, say.
    """
    if not all(loader.from_arrays() for loader in data.values()):
        return None  # batches may differ from the arrays
    train, *others = data.values()
    x = train.look()[0]
    for other in others:
        dtype = other.look()[0].dtype
        if dtype != x.dtype:
            raise TypeError(
                f"fit: expected test samples of dtype {x.dtype}, as those for training, got "
                f"{dtype}; prepare both in the same way"
            )
    return InputContract.of(x, f"fit, {len(x):,} samples")


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
    return hasattr(sys, "ps1") or in_notebook()
