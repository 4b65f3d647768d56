"""minibnn: Adam's step alone, on the parameters of the job's network and gradients of one batch."""

from __future__ import annotations

from typing import Any

from ours import Minibnn
from turns import Array, Data, Job, run


class AdamAlone(Minibnn):
    """Updates from the same gradients again and again."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        super().__init__(job, weights, data, form)
        x, labels = next(self.batches)
        self.loss.forward(self.model.forward(x, train=True), labels)
        self.model.backward(self.loss.backward(), need_dx=False)

    def train(self, rows: Array) -> list[Any]:
        """As many updates as there are rows."""
        for _ in rows:
            self.optimizer.step()
        return []


if __name__ == "__main__":
    run(AdamAlone)
