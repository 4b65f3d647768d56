"""The confusion matrix: which classes a model takes for which."""

from __future__ import annotations

from typing import TYPE_CHECKING

from minibnn.data.loader import DataLoader
from minibnn.layers import Layer
from minibnn.losses import LogitCrossEntropy, Loss
from minibnn.training.evaluate import (
    EVALUATION_BATCH,
    check_data,
    require_prepared,
    samples_at_once,
)

if TYPE_CHECKING:
    import pandas as pd


def confusion_matrix(model: Layer, data: DataLoader, loss: Loss | None = None) -> pd.DataFrame:
    """Count the samples of each class by the class that a model predicts.

    Every sample of the loader counts once. The model runs in evaluation mode and does not change.

    Args:
        model: on the loader's device.
        data: batches ``(x, labels)``, as for `evaluate`.
        loss: the loss it is trained with, which says what a prediction is; None means
            ``LogitCrossEntropy()``, the class with the greatest output.

    Returns:
        A pandas DataFrame of integers: a row for each true class, a column for each predicted one.

    Raises:
        ValueError: if a sample's greatest logit is nan or infinite; also as `evaluate`.
        TypeError: if the loss is not for one class a sample; also as `evaluate`.

    >>> import numpy as np
    >>> from minibnn import DataLoader, Rescale
    >>> scores = np.array([[2, 1], [0, 1], [3, 0]], dtype=np.float32)
    >>> data = DataLoader((scores, np.array([0, 1, 1])), 2)
    >>> confusion_matrix(Rescale(1.0), data).to_numpy()
    array([[1, 0],
           [1, 1]])
    """
    import pandas as pd

    task = check_data(
        model, data, loss or LogitCrossEntropy(), "confusion_matrix: data", in_memory=True
    )
    require_prepared(model, data, "confusion_matrix: data")
    if (classes := task.classes) is None:
        raise TypeError(
            f"confusion_matrix: expected a loss for one class a sample, got one for {task.kind}; "
            "evaluate(model, data, loss) says how far off the model is"
        )
    backend = data.backend
    xp = backend.xp
    counts, unknown = None, xp.zeros((), "int64")
    for x, labels, *_ in data.in_order(samples_at_once(model, data, EVALUATION_BATCH)):
        outputs = model.forward(x)
        unknown += (~xp.isfinite(outputs.reshape(len(outputs), -1).max(axis=1))).sum()
        # One number for each pair of classes, so that one pass counts all pairs.
        pairs = task.truth(labels).astype("int64") * classes + task.predict(outputs)
        batch = xp.bincount(pairs, minlength=classes * classes)
        counts = batch if counts is None else counts + batch
    if int(unknown):
        raise ValueError(
            f"confusion_matrix: expected finite logits, got nan or infinity as the greatest of "
            f"{int(unknown):,} of {data.samples:,} samples, which is no class; "
            "diagnose(model, data) says where it comes from"
        )
    table = backend.to_host(counts).reshape(classes, classes)
    index, columns = (pd.RangeIndex(classes, name=name) for name in ("true", "predicted"))
    return pd.DataFrame(table, index=index, columns=columns)
