"""The mean loss and the accuracy of a model on a data set."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np

from minibnn.backend import Array
from minibnn.checks import require
from minibnn.data.epochs import Loader
from minibnn.data.iterable import IterableLoader
from minibnn.data.loader import DataLoader
from minibnn.distributed import Ranks
from minibnn.inspection.recorder import bytes_a_sample
from minibnn.layers import Layer
from minibnn.losses import Loss, Metric, Task
from minibnn.losses.chosen_metrics import Asked, metrics_of
from minibnn.losses.weights import check_weights

# Large enough to hide the cost of calls. A device computes more at once, and calls cost more there.
EVALUATION_BATCH, DEVICE_EVALUATION_BATCH = 1000, 5000
# The most memory for a batch larger than the user's own. It may also take as much as the
# parameters, since a call makes quantized copies of these.
EVALUATION_BYTES = 2**22


class Metrics(tuple[float, ...]):
    """Means over all samples of a data set: the loss, then what the loss reports, by name.

    For classes these are ``loss`` and ``accuracy``; for several labels a sample ``loss`` and
    ``label_accuracy``; for numbers ``loss`` and ``mean_absolute_error``. It is a tuple of these
    numbers, too.

    >>> metrics = Metrics(loss=0.5, accuracy=0.75)
    >>> metrics.accuracy
    0.75
    >>> loss, accuracy = metrics
    >>> metrics
    Metrics(loss=0.5, accuracy=0.75)
    """

    _fields: tuple[str, ...]

    def __new__(cls, /, **values: float) -> Self:
        """Make a tuple whose numbers have names."""
        self = super().__new__(cls, values.values())
        vars(self).update(values)  # a metric may have the name of a tuple's method
        self._fields = tuple(values)
        return self

    def __getattr__(self, name: str) -> float:
        """Raise, since there is no number of this name."""
        there = "" if name.startswith("_") else f"; there are {', '.join(self._fields)}"
        raise AttributeError(f"Metrics: expected the name of a metric, got {name!r}{there}")

    def __repr__(self) -> str:
        return f"Metrics({', '.join(f'{k}={v!r}' for k, v in self._asdict().items())})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _metrics, (self._asdict(),)

    def _asdict(self) -> dict[str, float]:
        """The numbers by name."""
        return dict(zip(self._fields, self, strict=True))


def _metrics(values: dict[str, float]) -> Metrics:
    """For pickles."""
    return Metrics(**values)


def evaluate(
    model: Layer, data: Loader, loss: Loss, *, metrics: Sequence[Asked] | None = None
) -> Metrics:
    """Mean loss and accuracy, or another metric, of a model over every sample of a data set.

    The loss says what its targets are, and what is reported beside it: the accuracy for classes,
    the accuracy of single labels for several labels a sample, the mean absolute error for numbers.
    (A loss of your own can report something else; see its method `task`.)

    A sample counts as right if the label has the greatest logit. Of several equal logits, the first
    counts. A nan counts as the greatest. If the greatest logit is nan or infinite, the sample is
    not right. With one output of `BinaryCrossEntropy` it is right if the output is at least 0 and
    the label 1, or below 0 and the label 0.

    Every sample counts once, with equal weight or with its own, if `data` has weights. The
    loader's batches do not matter: `shuffle` and `drop_last` are for training only. The model runs
    in evaluation mode and does not change. Memory follows the loader's batch size: only small
    samples are evaluated in larger batches.

    Args:
        model: on the loader's device.
        data: batches ``(x, targets)``. For classes, targets are labels: (batch,) integers, or
            (batch, classes) probabilities, whose greatest entry is the class.
        loss: for instance ``LogitCrossEntropy()``.
        metrics: what to compute beside the loss, such as ``[Accuracy(), F1()]``; None for what the
            loss reports.

    Raises:
        ValueError: if the loss does not take such targets or outputs: if the model has no output
            for a label, for instance, or targets have another shape.
        TypeError: if `data` is not a DataLoader, or on another device; if labels are not integers;
            if samples are floats and the model was trained on integers, or the reverse.

    >>> import numpy as np
    >>> from minibnn import DataLoader, Dense, LogitCrossEntropy
    >>> model = Dense(4, 3).initialize(np.random.default_rng(0))
    >>> data = DataLoader((np.zeros((5, 4), np.float32), np.zeros(5, np.int64)), batch_size=2)
    >>> evaluate(model, data, LogitCrossEntropy()).accuracy
    1.0
    """
    task = check_data(model, data, loss, "evaluate: data")
    require_prepared(model, data, "evaluate: data")
    reported = metrics_of(metrics, task, "evaluate")
    numbers = data.backend.to_host(device_metrics(model, data, loss, reported, task))
    names = ("loss", *(metric.name for metric in reported))
    return Metrics(**dict(zip(names, numbers.tolist(), strict=True)))


class StoppedError(Exception):
    """An evaluation was stopped before its end."""


def device_metrics(
    model: Layer,
    data: Loader,
    loss: Loss,
    metrics: Sequence[Metric],
    task: Task,
    at_once: int | None = None,
    stop: Callable[[], bool] | None = None,
    ranks: Ranks | None = None,
) -> Array:
    """``[mean loss, *metrics]`` as an array of the data's backend, without waiting for it.

    Args:
        model: see `evaluate`.
        data: see `evaluate`.
        loss: see `evaluate`.
        metrics: what to compute beside the loss.
        task: the loss's task for these data.
        at_once: the result of `samples_at_once`, for repeated calls.
        stop: called before each batch; the evaluation ends if it returns True.
        ranks: those that share the batches. The sums over all of them are the same for any number
            of ranks.

    Raises:
        StoppedError: if it was ended.
    """
    xp = data.backend.xp
    loss = copy.copy(loss)  # the caller may be between its forward and its backward
    ends = np.cumsum([1, *(metric.size(task) for metric in metrics)]).tolist()
    if at_once is None:
        at_once = samples_at_once(model, data)

    def add(sums: Array, x: Array, targets: Array, weights: Array | None = None) -> Any:
        """Add a batch's loss and metrics to their sums; return its weight."""
        outputs = model.forward(x)
        value = loss.weighted_forward(outputs, targets, weights).astype(np.float64)
        weight = len(x) if weights is None else weights.sum(dtype=np.float64)
        sums[0] += value * weight
        for metric, (first, last) in zip(metrics, pairwise(ends), strict=True):
            metric.add(sums[first:last], task, outputs, targets, weights)
        return weight

    sums, total = xp.zeros(ends[-1], dtype=np.float64), 0
    if ranks is None:
        for batch in data.in_order(at_once):
            if stop is not None and stop():
                raise StoppedError
            total = total + add(sums, *batch)
    else:
        rows = []
        for number, batch in enumerate(data.in_order(at_once)):
            if number % ranks.size == ranks.rank:
                own = xp.zeros(ends[-1] + 1, dtype=np.float64)
                own[-1] = add(own[:-1], *batch)
                rows.append(own)
        every = ranks.in_turn(data.backend.to_host(xp.stack(rows)) if rows else np.zeros((0, 0)))
        host = np.zeros(ends[-1])
        for row in every:
            host[0] += row[0]
            for metric, (first, last) in zip(metrics, pairwise(ends), strict=True):
                metric.merge(host[first:last], row[first:last])
            total = total + row[-1]
        sums = data.backend.asarray(host)
    values = [
        metric.value(sums[first:last], total)
        for metric, (first, last) in zip(metrics, pairwise(ends), strict=True)
    ]
    return xp.stack([sums[0] / total, *values])


def require_prepared(model: Layer, data: Loader, who: str) -> None:
    """Raise TypeError if samples are floats and the model was trained on integers, or the reverse.

    To a model trained on bytes, pixels divided by 255 all look black.
    """
    if data.from_arrays():  # otherwise batches may differ from the arrays
        require_like_training(model, data.look()[0].dtype, who)


def require_like_training(model: Layer, dtype: Any, who: str) -> None:
    """Raise TypeError for samples of a dtype that the model was not trained on."""
    contract = model.input_contract
    if contract is None:
        return
    if (contract.dtype.kind == "f") != (dtype.kind == "f"):
        raise TypeError(
            f"{who}: expected samples of {contract.dtype}, since the model was trained on "
            f"{contract}, got {dtype}; prepare them as those for training"
        )


def samples_at_once(model: Layer, data: Loader, most: int | None = None) -> int | None:
    """How many samples to evaluate at once: the loader's batch size, or more small samples.

    A larger batch of small samples is faster. The input and the output of a layer then take at most
    EVALUATION_BYTES, or as much as the parameters.

    Args:
        model: the model to evaluate.
        data: the samples.
        most: the limit, if the loader's batches are smaller; None for the device's own limit.

    Returns:
        The number; None for a loader whose samples are not in memory, and come as they come.
    """
    if not isinstance(data, DataLoader):
        return None
    if most is None:
        most = EVALUATION_BATCH if data.backend.host else DEVICE_EVALUATION_BATCH
    if data.batch_size >= min(most, data.samples):
        return data.batch_size
    try:
        return max(data.batch_size, most_at_once(model, data.arrays[0][:1], most))
    except Exception:  # a layer cannot be copied: use training's batch size
        return data.batch_size


def most_at_once(model: Layer, one: Array, most: int | None = None) -> int:
    """How many samples such as this one to evaluate at once, within the memory for small samples.

    Args:
        model: the model to evaluate.
        one: a batch of one sample.
        most: the limit for samples that take no memory; None for the device's own limit.
    """
    if most is None:
        most = EVALUATION_BATCH if model.backend.host else DEVICE_EVALUATION_BATCH
    largest, _ = bytes_a_sample(model, one)
    parameters: int = sum(p.data.nbytes for p in model.parameters())
    budget = max(EVALUATION_BYTES, parameters)
    return max(1, min(most, budget // max(1, largest)))


def check_data(
    model: Layer, data: Loader, loss: Loss, who: str, *, in_memory: bool = False
) -> Task:
    """Raise unless the loader's ``(x, targets)`` fit model and loss; return the task.

    Every target and weight is checked once here, so that training steps need not check them. If
    they are not all in memory, those of the first batch are checked.

    Args:
        model: the model.
        data: the samples.
        loss: the loss.
        who: error messages begin with it.
        in_memory: whether all samples have to be in memory.
    """
    if not isinstance(model, Layer):
        raise TypeError(f"{who}: expected the model, a Layer, first, got {type(model).__name__}")
    if not isinstance(data, DataLoader if in_memory else Loader):
        raise TypeError(
            f"{who}: expected a DataLoader, got {type(data).__name__}; "
            "make one: DataLoader((x, labels), batch_size)"
        )
    require(who.partition(":")[0], "loss", loss, Loss)
    arrays = data.look()
    if len(arrays) not in (2, 3):
        raise ValueError(
            f"{who}: expected a loader of (x, labels) or (x, labels, weights), got {len(arrays)} "
            "arrays"
        )
    if data.backend is not model.backend:
        raise TypeError(
            f"{who}: expected model and data on one device, got {model.backend.name} and "
            f"{data.backend.name}; use data.to({model.backend.name!r})"
        )
    x, targets, *more = arrays
    try:
        outputs = model.forward(x[:1])
    except Exception as error:
        error.add_note(f"raised for the first sample of {who}")
        raise
    task = task_of(loss, outputs, targets, who)
    if isinstance(data, IterableLoader):
        # The host sees each batch before the device has it, so that checks need not wait.
        like = np.zeros(outputs.shape, outputs.dtype)

        def check(targets: Array, *weights: Array) -> None:
            loss.task(like, targets, who)
            for its in weights:
                check_weights(f"{who}, weights", its, len(targets), look=True)

        data.check = None if data.backend.host else check  # on the host each step looks itself
    for weights in more:
        check_weights(f"{who}, weights", weights, len(x), look=True)
        if isinstance(data, DataLoader) and not (weights > 0).any():
            raise ValueError(
                f"{who}, weights: expected a weight above 0 for some sample, got 0 for all; give "
                "the samples to learn a positive weight"
            )
        if not loss.takes_weights:
            loss.weighted_forward(outputs, targets, weights)  # raises
    return task


def task_of(loss: Loss, outputs: Array, targets: Array | None, who: str) -> Task:
    """The loss's task; TypeError if a loss of a user's own returns something else."""
    task = loss.task(outputs, targets, who)
    return require(who.partition(":")[0], f"{type(loss).__name__}.task's result", task, Task)


def shared_task(who: str, tasks: Sequence[Task], loaders: Sequence[Loader]) -> Task:
    """The one task of several data sets that have the same loss.

    A loss that takes classes and numbers may find only some of the data sets to look like classes;
    then these are numbers, too.

    Raises:
        ValueError: if the targets have different forms as well, labels and rows.
    """
    kinds = [task.kind for task in tasks]
    if len(set(kinds)) > 1 and len({loader.look()[1].ndim for loader in loaders}) > 1:
        raise ValueError(
            f"{who}: expected targets of one kind in all data sets, got {' and '.join(kinds)}; "
            "make rows of the labels with one_hot(labels, classes)"
        )
    return next((task for task in tasks if task.classes is None), tasks[0])
