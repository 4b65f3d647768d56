"""The floor: a step's matrix products alone, through NumPy, on random signs.

Nothing that multiplies float32 matrices with the same BLAS can be faster. Of a convolution it is
the product of the im2col matrix with the weights; making that matrix, and adding windows up
again in the backward pass, is left out.
"""

from __future__ import annotations

import numpy as np
from turns import Array, Data, Job, run


def shapes(job: Job) -> list[tuple[int, int, int]]:
    """For each layer ``(m, k, n)``: an m x k matrix meets a k x n matrix of weights."""
    products = []
    side, channels = 28, 1
    for i, n_out in enumerate(job.convs):
        side -= 2
        products.append((job.batch * side * side, 9 * channels, n_out))
        side //= 2 if i in job.pooled else 1
        channels = n_out
    pairs = zip(job.sizes[:-1], job.sizes[1:], strict=True)
    return products + [(job.batch, n_in, n_out) for n_in, n_out in pairs]


def operations(job: Job) -> int:
    """Multiplications and additions of a training step's products."""
    total = 0
    for i, (m, k, n) in enumerate(shapes(job)):
        total += 2 * m * k * n * (3 if i else 2)  # nobody needs the first layer's dx
    return total


class Products:
    """z = x W, dW = x.T dz, dx = dz W.T, into arrays that are there already."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        rng = np.random.default_rng(0)

        def signs(*shape: int) -> Array:
            return rng.choice(np.array([-1, 1], np.float32), shape)

        self.layers = [
            (signs(m, k), signs(k, n), signs(m, n), *map(np.empty_like, (signs(m, k), signs(k, n))))
            for m, k, n in shapes(job)
        ]

    def train(self, rows: Array) -> list[float]:
        """The products of a step for each row."""
        for _ in rows:
            for x, W, z, _, _ in self.layers:
                np.matmul(x, W, out=z)
            for i, (x, W, dz, dx, dW) in reversed(list(enumerate(self.layers))):
                np.matmul(x.T, dz, out=dW)
                if i:
                    np.matmul(dz, W.T, out=dx)
        return []

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """It knows no images."""
        raise NotImplementedError


if __name__ == "__main__":
    run(Products)
