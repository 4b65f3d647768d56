"""PyTorch: the folded network in floats, eager, traced or compiled; inference mode throughout.

Each hidden layer is one linear and one sign, of sums that are never 0. Images are ready-made
tensors of bytes. Compiled: `torch.compile` with the weights frozen into the code, and a graph for
each size of batch.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from shipped import folded, run
from torch.nn import functional
from turns import Array


class Network(torch.nn.Module):  # type: ignore[misc]
    """Labels of images of bytes."""

    def __init__(self, layers: list[tuple[Array, Array]]) -> None:
        super().__init__()
        arrays = [torch.from_numpy(a) for layer in layers for a in layer]
        self.parts = torch.nn.ParameterList(torch.nn.Parameter(a, False) for a in arrays)

    def forward(self, images: Any) -> Any:
        """The greatest logit."""
        x = images.flatten(1).float()
        parts = list(self.parts)
        while len(parts) > 2:
            x = functional.linear(x, parts.pop(0), parts.pop(0)).sign_()
        return functional.linear(x, *parts).argmax(1)


class PyTorch:
    """Form: eager, traced or compiled."""

    def __init__(self, folder: Path, threads: int, form: str) -> None:
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        layers = folded(folder)
        self.shipped = sum(W.nbytes + b.nbytes for W, b in layers)
        self.network: Any = Network(layers).eval()
        if form == "compiled":
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
        return torch.from_numpy(images.copy())

    @torch.inference_mode()  # type: ignore[untyped-decorator]
    def predict(self, images: Any) -> Any:
        """Labels as a tensor."""
        return self.network(images)


if __name__ == "__main__":
    run(PyTorch)
