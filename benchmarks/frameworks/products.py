"""Only the matrix products of a step, through NumPy, on random signs: a lower bound.

No contestant that multiplies float32 matrices with the same BLAS can be faster. A convolution is
the product of its im2col matrix and the weights; building this matrix is not included, nor is its
adjoint (col2im) in the backward pass.
"""

from __future__ import annotations

import numpy as np

from harness.contestant import Array, Data, Job, run


def shapes(job: Job) -> list[tuple[int, int, int]]:
    """For each layer ``(m, k, n)``: an m x k matrix is multiplied by k x n weights."""
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
    """Multiplications and additions in the products of a training step."""
    total = 0
    for i, (m, k, n) in enumerate(shapes(job)):
        total += 2 * m * k * n * (3 if i else 2)  # the first layer has no dx
    return total


class Products:
    """z = x W, dW = x.T dz, dx = dz W.T, into preallocated arrays."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        rng = np.random.default_rng(0)

        def signs(*shape: int) -> Array:
            return rng.choice(np.array([-1, 1], np.float32), shape)

        self.layers = [
            (signs(m, k), signs(k, n), signs(m, n), *map(np.empty_like, (signs(m, k), signs(k, n))))
            for m, k, n in shapes(job)
        ]

    def train(self, rows: Array) -> list[float]:
        """Compute the products of a step for each row."""
        for _ in rows:
            for x, W, z, _, _ in self.layers:
                np.matmul(x, W, out=z)
            for i, (x, W, dz, dx, dW) in reversed(list(enumerate(self.layers))):
                np.matmul(x.T, dz, out=dW)
                if i:
                    np.matmul(dz, W.T, out=dx)
        return []

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """This contestant does not evaluate."""
        raise NotImplementedError


if __name__ == "__main__":
    run(Products)
