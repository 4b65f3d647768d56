"""PyTorch: training steps captured in a CUDA graph, and replayed.

A graph has the whole step: gathering the batch, forward, loss, backward and the fused Adam, which
must be `capturable`. Its arrays keep their addresses. A counter on the device selects the next row
of the round, so that a round consists of replays only. As PyTorch requires, some warm-up steps run
on a side stream before the capture; their changes are undone.

Forms: `N`, with N steps in a graph (and a graph of one step for the remainder), and `N compiled`,
with forward, loss and backward from `torch.compile`. Evaluation is captured, too.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from frameworks.pytorch import PyTorch
from harness.contestant import Array, Data, Job, run

WARMUP = 3  # steps


class PyTorchGraph(PyTorch):
    """PyTorch with captured steps."""

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
        """Run the step of the row that the counter selects."""
        loss = self.step(self.rows.index_select(0, self.at).flatten())
        self.losses.index_copy_(0, self.at, loss.reshape(1))
        self.at.add_(1)

    def start_over(self) -> None:
        """Select the first row."""
        self.at.zero_()

    def capture_steps(self) -> None:
        """Capture the graphs; parameters, statistics and Adam's moments stay unchanged."""
        tensors = [*self.parameters, *(part for norm in self.norms for part in norm[:2])]
        kept = [tensor.detach().clone() for tensor in tensors]

        def warm_up() -> None:
            for _ in range(WARMUP):
                self.start_over()
                self.next_step()

        on_side_stream(warm_up)
        with torch.no_grad():
            for tensor, before in zip(tensors, kept, strict=True):
                tensor.copy_(before)
            for sums in self.optimizer.state.values():
                for tensor in sums.values():
                    tensor.zero_()
        for many in {self.many, 1}:
            self.optimizer.zero_grad(set_to_none=True)  # gradients are in the graph's memory pool
            self.graphs[many] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.graphs[many]):
                for _ in range(many):
                    self.next_step()

    def train(self, rows: Array) -> list[float]:
        """Run a step for each row."""
        self.rows.copy_(torch.from_numpy(rows))
        if not self.graphs:
            self.capture_steps()
        self.start_over()
        for _ in range(len(rows) // self.many):
            self.graphs[self.many].replay()
        for _ in range(len(rows) % self.many):
            self.graphs[1].replay()
        return [float(loss) for loss in self.losses[:: max(1, len(rows) - 1)].tolist()]

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def evaluate(self, images: Any, labels: Any) -> tuple[float, float]:
        """All images at once; one graph for each set of images, which must stay at its address."""
        if images.data_ptr() not in self.tests:
            on_side_stream(lambda: self.test(images, labels))
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                result = self.test(images, labels)
            self.tests[images.data_ptr()] = graph, result
        graph, result = self.tests[images.data_ptr()]
        graph.replay()
        loss, correct = result.tolist()
        return loss / len(images), correct / len(images)


def on_side_stream(work: Callable[[], Any]) -> None:
    """Do work on a side stream, ordered with the current stream."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        work()
    torch.cuda.current_stream().wait_stream(stream)


if __name__ == "__main__":
    run(PyTorchGraph)
