"""What an array is, for the type checker."""

from __future__ import annotations

from typing import Any, TypeAlias

# An array of whichever library holds it: numpy.ndarray or cupy.ndarray. The two share no base
# class and no stub, so the honest static type is Any.
Array: TypeAlias = Any
