"""The tasks: one class of several, one of two, several labels, numbers."""

from __future__ import annotations

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.losses.accuracy import count_correct, right_classes, right_signs
from minibnn.losses.labels import require_labels, require_outputs
from minibnn.losses.metrics import Accuracy, LabelAccuracy, MeanAbsoluteError
from minibnn.losses.task import Task


class Classification(Task):
    """Each sample has one class of several, and the model an output for each: the greatest counts.

    Shapes: outputs (N, K); targets (N,) integers in 0..K-1, or (N, K) probabilities, of which the
    greatest is the class; predictions (N,) integers.
    """

    kind, metrics = "classes", (Accuracy(),)

    def __init__(self, classes: int) -> None:
        self.classes = classes

    def __repr__(self) -> str:
        return f"Classification({self.classes})"

    def predict(self, outputs: Array) -> Array:
        """The class of the greatest output; of several equal ones, the first."""
        return outputs.argmax(axis=1)

    def truth(self, targets: Array) -> Array:
        """The class numbers."""
        return targets if targets.ndim == 1 else targets.argmax(axis=1)

    def right(self, outputs: Array, targets: Array) -> Array:
        """Whether the class has the greatest output; see `right_classes`."""
        return right_classes(outputs, self.truth(targets))

    def count_right(self, outputs: Array, targets: Array) -> Array:
        """The number of right predictions."""
        return backend_of(outputs).run(count_correct, outputs, self.truth(targets))


class BinaryClassification(Task):
    """Each sample is of class 0 or 1, and the model has one output: at least 0 means class 1.

    Shapes: outputs and targets (N, 1) or (N,); targets in [0, 1], of which 1/2 and more mean class
    1; predictions (N,) integers.
    """

    kind, metrics, classes = "classes", (Accuracy(),), 2

    def predict(self, outputs: Array) -> Array:
        """1 where the output is at least 0, else 0."""
        return (outputs.reshape(-1) >= 0).astype(np.int64)

    def truth(self, targets: Array) -> Array:
        """1 where the target is at least 1/2, else 0."""
        return (targets.reshape(-1) >= 0.5).astype(np.int64)

    def right(self, outputs: Array, targets: Array) -> Array:
        """Whether each output is on the right side of 0; see `right_signs`."""
        return right_signs(outputs.reshape(-1), targets.reshape(-1))


class MultiLabel(Task):
    """Each sample has some of several labels, and the model an output for each: at least 0 is yes.

    Shapes: outputs and targets (N, labels), or with more axes; targets in [0, 1], of which 1/2 and
    more mean yes; predictions in the same shape, integers 0 and 1.
    """

    kind, metrics = "several labels", (LabelAccuracy(),)

    def predict(self, outputs: Array) -> Array:
        """1 where the output is at least 0, else 0."""
        return (outputs >= 0).astype(np.int64)

    def truth(self, targets: Array) -> Array:
        """1 where the target is at least 1/2, else 0."""
        return (targets >= 0.5).astype(np.int64)

    def right(self, outputs: Array, targets: Array) -> Array:
        """Whether each output is on the right side of 0; see `right_signs`."""
        return right_signs(outputs, targets)


class Regression(Task):
    """Targets are numbers, and outputs are to come close to them.

    Shapes: outputs and targets (N, ...), the same; for one output, each is (N, 1) or (N,).
    Predictions have the shape of the outputs, but (N,) for one output.

    Args:
        outputs: the number of outputs of a sample.
    """

    kind, metrics = "numbers", (MeanAbsoluteError(),)

    def __init__(self, outputs: int = 1) -> None:
        self.outputs = outputs

    def __repr__(self) -> str:
        return f"Regression({self.outputs})"

    def predict(self, outputs: Array) -> Array:
        """The outputs themselves."""
        return outputs.reshape(-1) if outputs.shape[1:] == (1,) else outputs

    def truth(self, targets: Array) -> Array:
        """The targets themselves."""
        return targets.reshape(-1) if targets.shape[1:] == (1,) else targets


def classification(who: str, outputs: Array, targets: Array | None) -> Classification:
    """The task of a loss for classes.

    Raises:
        ValueError, TypeError: for outputs or targets that are not for classes, with hints.
    """
    if outputs.ndim != 2:
        raise ValueError(
            f"{who}: expected the model to give (batch, classes), got {outputs.shape}; end it with "
            "Flatten() and a layer that has an output for each class"
        )
    classes = outputs.shape[1]
    require_outputs(f"{who}, labels", classes)
    if targets is not None:
        require_labels(f"{who}, labels", targets, len(targets), classes, look=True)
    return Classification(classes)


def guess_task(outputs: Array, targets: Array | None) -> Task:
    """The task of a user's loss: classes if the targets look like classes, otherwise unknown."""
    if targets is None or outputs.ndim != 2:
        return Task()
    try:
        return classification("", outputs, targets)
    except (ValueError, TypeError):
        return Task()
