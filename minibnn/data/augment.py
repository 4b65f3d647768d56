"""Random changes of training images, for `DataLoader`'s `augment`.

A function of your own gets the samples of a batch and a NumPy generator, and returns other samples:
as many, of the same dtype, on the same device. It draws from this generator alone. This one mirrors
half of the images:

.. code-block:: python

    def mirror(x, rng):
        xp = backend_of(x).xp
        chosen = xp.asarray(rng.random(len(x)) < 0.5).reshape(-1, 1, 1)
        return xp.where(chosen, x[:, :, ::-1], x)

    DataLoader((images, labels), 64, shuffle=True, rng=0, augment=mirror)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.backend import Array, backend_of
from minibnn.checks import integer, number


@dataclass(frozen=True)
class RandomShift:
    """Moves each image by up to some pixels, in both directions; `fill` comes in at the edges.

    .. equations::

        y[n, i, j] = x[n, i + a[n], j + b[n]],   or fill outside of x
        a, b uniform in -pixels..pixels

    Shapes: x (batch, height, width) or (batch, height, width, channels), of any dtype; y as x.

    Args:
        pixels: the farthest move, at least 1.
        fill: the value that comes in. 0 is the background of MNIST.

    Raises:
        ValueError: when it is used, for samples that are no images, or that cannot be `fill`.

    >>> image = np.arange(1, 10).reshape(1, 3, 3)
    >>> RandomShift(1)(image, np.random.default_rng(3))
    array([[[0, 4, 5],
            [0, 7, 8],
            [0, 0, 0]]])
    """

    pixels: int
    fill: float = 0

    def __post_init__(self) -> None:
        _set(self, pixels=integer("RandomShift", "pixels", self.pixels, least=1))
        _set(self, fill=number("RandomShift", "fill", self.fill))

    def __call__(self, x: Array, rng: np.random.Generator) -> Array:
        """The moved images."""
        height, width = _sizes("RandomShift", x)
        a, b = rng.integers(-self.pixels, self.pixels, (2, len(x), 1), endpoint=True)
        rows, columns = np.arange(height) + a, np.arange(width) + b
        inside = _outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width), x)
        backend = backend_of(x)
        rows, columns = (
            backend.asarray(at.clip(0, size - 1)) for at, size in ((rows, height), (columns, width))
        )
        samples = backend.xp.arange(len(x))[:, None, None]
        return backend.xp.where(
            inside, x[samples, rows[:, :, None], columns[:, None, :]], _one(self, x)
        )


@dataclass(frozen=True)
class Cutout:
    """Covers a square of each image; its centre is any pixel, so a part may lie outside.

    .. equations::

        y[n, i, j] = fill     where a[n] <= i < a[n] + size and b[n] <= j < b[n] + size
        y[n, i, j] = x[n, i, j]   elsewhere

    Shapes: x (batch, height, width) or (batch, height, width, channels), of any dtype; y as x.

    Args:
        size: of the square, in pixels, at least 1.
        fill: the value in it.

    Raises:
        ValueError: when it is used, for samples that are no images, or that cannot be `fill`.

    Reference: DeVries and Taylor 2017, arXiv:1708.04552, section 3.2.

    >>> Cutout(2, fill=7)(np.zeros((1, 3, 4), int), np.random.default_rng(0))
    array([[[0, 0, 0, 0],
            [0, 7, 7, 0],
            [0, 7, 7, 0]]])
    """

    size: int
    fill: float = 0

    def __post_init__(self) -> None:
        _set(self, size=integer("Cutout", "size", self.size, least=1))
        _set(self, fill=number("Cutout", "fill", self.fill))

    def __call__(self, x: Array, rng: np.random.Generator) -> Array:
        """The images with a square covered."""
        covered = []
        for length in _sizes("Cutout", x):
            first = rng.integers(0, length, (len(x), 1)) - self.size // 2
            at = np.arange(length)
            covered.append((at >= first) & (at < first + self.size))
        rows, columns = covered
        inside = _outer(rows, columns, x)
        return backend_of(x).xp.where(inside, _one(self, x), x)


def _set(one: object, **values: Any) -> None:
    for name, value in values.items():
        object.__setattr__(one, name, value)


def _sizes(who: str, x: Array) -> tuple[int, int]:
    """Height and width."""
    if x.ndim not in (3, 4):
        raise ValueError(
            f"{who}: expected images of shape (batch, height, width) or (batch, height, width, "
            f"channels), got {x.shape}; reshape them before the loader gets them"
        )
    return x.shape[1], x.shape[2]


def _outer(rows: Any, columns: Any, x: Array) -> Array:
    """Where both are True, in a shape that broadcasts to x's.

    Shapes: rows (batch, height), columns (batch, width); on the host.
    """
    inside = rows[:, :, None] & columns[:, None, :]
    return backend_of(x).asarray(inside.reshape(*inside.shape, *(1,) * (x.ndim - 3)))


def _one(augment: RandomShift | Cutout, x: Array) -> Array:
    """What is filled in, in the dtype of x."""
    fill = augment.fill
    if x.dtype.kind in "iu":
        least, most = np.iinfo(x.dtype).min, np.iinfo(x.dtype).max
        if not (least <= fill <= most and fill == int(fill)):
            raise ValueError(
                f"{type(augment).__name__}: expected fill to be a value of the images, which are "
                f"{x.dtype}, got {fill}; use a whole number from {least} to {most}"
            )
    return backend_of(x).asarray(np.asarray(fill, x.dtype))
