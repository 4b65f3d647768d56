"""PyTorch: training steps recorded as a CUDA graph, and replayed.

A graph has the whole step: the gathering of the batch, forward, loss, backward and the fused Adam,
which then has to be `capturable`. Its arrays never move. A counter on the device says which row of
the turn is next, so that nothing but replays is asked for in a turn. Steps run on a side stream
before they are recorded, as PyTorch's documentation demands; what they changed is put back.

Forms: `N`, with N steps in a graph (and a graph of one step for the rest), and `N compiled`, where
forward, loss and backward come from `torch.compile`. Evaluation is a graph as well.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from pytorch import PyTorch
from turns import Array, Data, Job, run

WARMUP = 3  # steps


class PyTorchGraph(PyTorch):
    """PyTorch's own step, recorded."""

    capturable = True

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        many, _, how = form.partition(" ")
        super().__init__(job, weights, data, how or "eager")
        self.many = int(many)
        self.rows = torch.zeros((job.steps, job.batch), dtype=torch.int64, device=self.device)
        self.losses = torch.zeros(job.steps, device=self.device)
        self.at = torch.zeros(1, dtype=torch.int64, device=self.device)
        self.graphs: dict[int, Any] = {}
        self.tests: dict[int, tuple[Any, Any]] = {}

    def next_step(self) -> None:
        """The step of the row that the counter says."""
        loss = self.step(self.rows.index_select(0, self.at).flatten())
        self.losses.index_copy_(0, self.at, loss.reshape(1))
        self.at.add_(1)

    def start_over(self) -> None:
        """The next row is the first one."""
        self.at.zero_()

    def record_steps(self) -> None:
        """The graphs; parameters, statistics and Adam's sums are as before."""
        tensors = [*self.parameters, *(part for norm in self.norms for part in norm[:2])]
        kept = [tensor.detach().clone() for tensor in tensors]

        def warm_up() -> None:
            for _ in range(WARMUP):
                self.start_over()
                self.next_step()

        beside(warm_up)
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)
            for sums in self.optimizer.state.values():
                for tensor in sums.values():
                    tensor.zero_()
        for many in {self.many, 1}:
            self.optimizer.zero_grad(set_to_none=True)  # gradients live in the graph's own memory
            self.graphs[many] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graphs[many]):
                for _ in range(many):
                    self.next_step()

    def train(self, rows: Array) -> list[float]:
        """A step for each row."""
        self.rows.copy_(torch.from_numpy(rows))
        if not self.graphs:
            self.record_steps()
        self.start_over()
        for _ in range(len(rows) // self.many):
            self.graphs[self.many].replay()
        for _ in range(len(rows) % self.many):
            self.graphs[1].replay()
        return [float(loss) for loss in self.losses[:: max(1, len(rows) - 1)].tolist()]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def evaluate(self, images: Any, labels: Any) -> tuple[float, float]:
        """All images at once; a graph for each set of them, which has to stay where it is."""
        if images.data_ptr() not in self.tests:
            beside(lambda: self.test(images, labels))
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self.test(images, labels)
            self.tests[images.data_ptr()] = graph, result
        graph, result = self.tests[images.data_ptr()]
        graph.replay()
        loss, right = result.tolist()
        return loss / len(images), right / len(images)


def beside(work: Callable[[], Any]) -> None:
    """Do it on a stream of its own, between what came before and what comes after."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)


if __name__ == "__main__":
    run(PyTorchGraph)
