"""minibnn: only the steps of Adam, on the job's parameters and the gradients of one batch."""

from __future__ import annotations

from typing import Any

from frameworks.ours import Minibnn
from harness.contestant import Array, Data, Job, run


class AdamAlone(Minibnn):
    """Repeated updates with the same gradients."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        super().__init__(job, weights, data, form)
        x, labels = next(self.batches)
        self.loss.forward(self.model.forward(x, train=True), labels)
        self.model.backward(self.loss.backward(), need_dx=False)

    def train(self, rows: Array) -> list[Any]:
        """Run an update for each row."""
        for _ in rows:
            self.optimizer.step()
        return []


if __name__ == "__main__":
    run(AdamAlone)
