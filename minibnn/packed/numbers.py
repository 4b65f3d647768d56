"""The numbers of a dtype in order, so that comparisons can be bisected and made with integers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from minibnn.packed.stages import HostArray, Shape

# Whether something holds for numbers (rows, features); the same for each row.
Holds: TypeAlias = Callable[[HostArray], HostArray]


class Numbers:
    """The numbers of a dtype in their order, each with a place: a whole number.

    Attributes:
        dtype: uint8, int8, int16 or float32.
        ends: the places of the least and of the greatest; for floats, -inf and inf.
    """

    def __init__(self, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        if self.dtype.kind == "f":
            least, most = self.place(np.array([-np.inf, np.inf], dtype)).tolist()
        else:
            least, most = np.iinfo(self.dtype).min, np.iinfo(self.dtype).max
        self.ends: tuple[int, int] = (least, most)

    def place(self, x: HostArray) -> HostArray:
        """The place of each number, int64 in the shape of `x`.

        Floats have the order of their bits, apart from the sign. -0 has the place of 0, which
        compares alike.
        """
        if self.dtype.kind != "f":
            return x.astype(np.int64)
        bits = (x + np.float32(0)).view(np.int32).astype(np.int64)
        return np.where(bits < 0, -(2**31) - bits - 1, bits)

    def value(self, places: HostArray) -> HostArray:
        """The number at each place, in the shape of `places`; beyond the ends, the end."""
        places = places.clip(*self.ends)
        if self.dtype.kind != "f":
            return places.astype(self.dtype)
        bits = np.where(places < 0, -(2**31) - places - 1, places).astype(np.int32)
        return bits.view(np.float32) + np.float32(0)  # -0 as 0, which compares alike

    def filled(self, shape: Shape, place: int) -> HostArray:
        """An array of one number."""
        return self.value(np.full(shape, place, np.int64))

    def first(self, holds: Holds, shape: Shape) -> HostArray:
        """The first place from which on `holds` is True; beyond the last if there is none.

        Args:
            holds: for each place False up to some number, and True from there on.
            shape: of the result: one search for each element, all at once.
        """
        low = np.full(shape, self.ends[0] - 1, np.int64)  # not, as far as is known
        high = np.full(shape, self.ends[1] + 1, np.int64)
        while (high - low > 1).any():
            middle = low + (high - low) // 2
            yes = holds(self.value(middle))
            open_ = high - low > 1
            high = np.where(open_ & yes, middle, high)
            low = np.where(open_ & ~yes, middle, low)
        return high
