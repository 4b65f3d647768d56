"""PyTorch: the folded network in floats, eager, traced or compiled; inference mode throughout.

A hidden layer is a linear layer and a sign; its sums are never 0. Images are tensors of bytes.
Compiled: `torch.compile` with the weights frozen into the code, and a graph for each batch size.

Half: in float16, on the task's device; everything is exact except rounded biases. The first layer
takes pixels / 256, since its sums would be too large otherwise. Half graph: the same captured in a
CUDA graph for each batch size; a call copies the batch in and replays the graph.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from deployment.form import Task, folded, run
from frameworks.pytorch_graph import on_side_stream
from harness.contestant import Array


class Network(torch.nn.Module):  # type: ignore[misc]
    """Labels from images, as bytes."""

    def __init__(self, layers: list[tuple[Array, Array]], half: bool = False) -> None:
        super().__init__()
        arrays = [torch.from_numpy(a) for layer in layers for a in layer]
        self.dtype = torch.float16 if half else torch.float32
        if half:
            arrays = [a / 256 for a in arrays[:2]] + arrays[2:]
            arrays = [a.half() for a in arrays]
        self.parts = torch.nn.ParameterList(torch.nn.Parameter(a, False) for a in arrays)

    def forward(self, images: Any) -> Any:
        """The index of the greatest logit."""
        x = images.flatten(1).to(self.dtype)
        parts = list(self.parts)
        while len(parts) > 2:
            x = functional.linear(x, parts.pop(0), parts.pop(0)).sign_()
        return functional.linear(x, *parts).argmax(1)


class PyTorch:
    """Form eager, traced, compiled, half or half graph."""

    def __init__(self, folder: Path, threads: int, form: str) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        layers = folded(folder)
        self.shipped = sum(W.nbytes + b.nbytes for W, b in layers)
        self.device = "cuda" if Task.read(folder).device == "gpu" else "cpu"
        self.network: Any = Network(layers, form.startswith("half")).to(self.device).eval()
        self.graphs: dict[int, tuple[Any, Any, Any]] | None = None
        if form == "half graph":
            self.graphs = {}
        elif form == "compiled":
            import torch._inductor.config as inductor

            inductor.freezing = True
            self.network = torch.compile(self.network, dynamic=False)
        elif form == "traced":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                traced = torch.jit.trace(self.network, torch.zeros(1, 28, 28, dtype=torch.uint8))
                self.network = torch.jit.freeze(traced)

    def prepare(self, images: Array) -> Any:
        """A tensor of bytes."""
        return torch.from_numpy(images.copy()).to(self.device)

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def predict(self, images: Any) -> Any:
        """Labels as a tensor."""
        if self.graphs is None:
            return self.network(images).cpu()
        if len(images) not in self.graphs:
            self.graphs[len(images)] = self.capture(images)
        graph, buffer, labels = self.graphs[len(images)]
        buffer.copy_(images)
        graph.replay()
        return labels.cpu()

    def capture(self, images: Any) -> tuple[Any, Any, Any]:
        """A graph, its input (images) and its output (labels)."""
        buffer = images.clone()
        on_side_stream(lambda: self.network(buffer))
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            labels = self.network(buffer)
        return graph, buffer, labels


if __name__ == "__main__":
    run(PyTorch)
