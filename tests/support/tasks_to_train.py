"""A small training for each kind of task: targets, loss, and the columns that a history has."""

from __future__ import annotations

import numpy as np
from loss_cases import OwnLoss

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    BinaryCrossEntropy,
    DataLoader,
    Dense,
    Hinge,
    Huber,
    LogitCrossEntropy,
    MeanSquaredError,
    Sequential,
    SignSTE,
)

FEATURES = 6


def table(samples, seed):
    """Samples, and a number for each that depends on them."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((samples, FEATURES)).astype(np.float32)
    return x, 2 * x[:, 0] - x[:, 1] + 0.1 * rng.standard_normal(samples)


# loss, outputs, targets from samples and numbers, column of the metric
TASKS = {
    "classes": (LogitCrossEntropy(), 3, lambda x, y: np.digitize(y, [-1, 1]), "acc"),
    "classes by squared error": (
        MeanSquaredError(), 3, lambda x, y: np.eye(3)[np.digitize(y, [-1, 1])], "acc",
    ),
    "two classes": (BinaryCrossEntropy(), 1, lambda x, y: (y > 0).astype(np.uint8), "acc"),
    "two classes in a column": (BinaryCrossEntropy(), 1, lambda x, y: (y > 0)[:, None], "acc"),
    "several labels": (BinaryCrossEntropy(), 3, lambda x, y: x[:, :3] > 0, "label_acc"),
    "a number": (MeanSquaredError(), 1, lambda x, y: y, "mae"),
    "a number in a column": (Huber(0.5), 1, lambda x, y: y[:, None], "mae"),
    "numbers": (Huber(), 2, lambda x, y: np.stack([y, x[:, 2]], axis=1), "mae"),
    "a user's loss": (OwnLoss(), 1, lambda x, y: y.astype(np.float32), None),
    "a user's loss of classes": (
        type("OwnHinge", (Hinge,), {})(), 3, lambda x, y: np.digitize(y, [-1, 1]), "acc",
    ),
}  # fmt: skip


class Task:
    """A training of one of these tasks; made anew, it is the same one."""

    def __init__(self, name, backend, samples=75, batch=16):
        self.loss, outputs, targets, self.column = TASKS[name]
        self.model = Sequential(
            Dense(FEATURES, 16, weight_quantizer=SignSTE(), weight_bound=1.0),
            BatchNorm(16),
            Activation(SignSTE(clip=1.0)),
            Dense(16, outputs),
        ).initialize(0).to(backend)  # fmt: skip
        x, y = table(samples, 1)
        self.train = DataLoader((x, targets(x, y)), batch, shuffle=True, rng=2).to(backend)
        x, y = table(40, 2)
        self.test = DataLoader((x, targets(x, y)), batch).to(backend)
        self.optimizer = Adam(self.model.parameters(), 0.02)

    def fit(self, epochs=3, **options):
        from minibnn import fit

        return fit(
            self.model, self.train, self.test, loss=self.loss, optimizer=self.optimizer,
            epochs=epochs, progress=False, **options,
        )  # fmt: skip
