"""NumPy: the packed model, minibnn's float model, and the folded network in plain NumPy.

Forms: `packed` (on the task's device), `float`, `folded`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from deployment.form import Task, folded, run
from harness.contestant import Array


class Numpy:
    """One of the three forms; `folded` does not use minibnn."""

    def __init__(self, folder: Path, threads: int, form: str) -> None:
        self.layers: list[tuple[Array, Array]] = []
        self.predict: Any
        self.backend: Any = None
        if form == "packed":
            from minibnn import load_packed

            file = folder / "model.safetensors"
            self.packed, self.shipped = load_packed(file), file.stat().st_size
            self.predict = self.packed.predict
            device = Task.read(folder).device
            if device == "gpu":
                from minibnn import get_backend

                self.backend = get_backend(device)
                self.predict = self.by_bits_on_gpu
        elif form == "float":
            from minibnn.recipes import RECIPES

            self.model = RECIPES[Task.read(folder).recipe]().build().initialize(0)
            with np.load(folder / "float.npz") as file:
                for array, own in zip(file.files, float_arrays(self.model), strict=True):
                    own[...] = file[array]
            self.shipped = sum(array.nbytes for array in float_arrays(self.model))
            self.predict = self.by_layers
        else:
            self.layers = [(np.ascontiguousarray(W.T), b) for W, b in folded(folder)]
            self.shipped = sum(W.nbytes + b.nbytes for W, b in self.layers)
            self.predict = self.by_hand

    def prepare(self, images: Array) -> Any:
        """Bytes, unchanged; on the GPU if that is the task's device."""
        return images if self.backend is None else self.backend.asarray(images)

    def by_bits_on_gpu(self, images: Any) -> Array:
        """The packed model on a GPU; labels are copied to the host."""
        labels: Array = self.backend.to_host(self.packed.predict(images))
        return labels

    def by_layers(self, images: Array) -> Array:
        """The layers of minibnn, in evaluation mode."""
        labels: Array = self.model.forward(images).argmax(axis=1)
        return labels

    def by_hand(self, images: Array) -> Array:
        """The least work in floats that NumPy can do."""
        x = images.reshape(len(images), -1).astype(np.float32)
        *hidden, (W, b) = self.layers
        for weights, bias in hidden:
            y = x @ weights
            y += bias
            x = np.copysign(np.float32(1), y)
        labels: Array = (x @ W + b).argmax(axis=1)
        return labels


def float_arrays(model: Any) -> list[Array]:
    """All parameters and buffers of a model, in its order."""
    return [part.data for part in (*model.parameters(), *model.buffers())]


if __name__ == "__main__":
    run(Numpy)
