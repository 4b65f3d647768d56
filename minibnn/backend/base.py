"""What every backend offers: transfers, operations by name, products, and masked writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.errors import wrong_shapes
from minibnn.backend.implementations import Implementations, is_ours
from minibnn.backend.updates import Update, Updates, note_finite


class Backend:
    """Where arrays live, and how the device computes.

    Layers write ordinary array code with `backend.xp` (`numpy` or `cupy`). A device's own
    implementations of operations are in its `tables`, and `run` looks them up. The methods of this
    class work with any `xp`.

    Attributes:
        name: ``"cpu"`` or ``"gpu"``.
        xp: the array module.
        array_type: the class of its arrays.
        tables: tables of implementations. The first implementation that accepts the arguments
            computes; if none does, the reference implementation computes.
        graphs: captures the device's work; None if that is not possible.
        no_graphs: why it is not possible.
        host: whether arrays are in main memory. On a device, ``float(a)`` waits for everything
            that was queued before.
    """

    name: str
    xp: ModuleType
    array_type: type
    host: bool
    graphs: Graphs | None = None
    no_graphs: str = "only a GPU can"
    tables: ClassVar[tuple[Implementations, ...]] = ()

    def __init__(self) -> None:
        self._known: dict[Callable[..., Any], list[Callable[..., Any]]] = {}
        self._updates = Updates()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # Copies of a model share its backend; so do pickles, see `select.py`.
    def __deepcopy__(self, memo: object) -> Backend:
        return self

    def run(self, reference: Callable[..., Any], *args: Any) -> Any:
        """Compute ``reference(*args)``, by the device's own implementation if there is one.

        Args:
            reference: the operation's reference implementation.
            args: its arguments, all positional.
        """
        known = self._known.get(reference)
        for implementation in self._implementations_of(reference) if known is None else known:
            result = implementation(self, *args)
            if result is not NotImplemented:
                return result
        return reference(*args)

    def _implementations_of(self, reference: Callable[..., Any]) -> list[Callable[..., Any]]:
        """The implementations of an operation.

        minibnn's implementations serve only minibnn's references: a user's function may have the
        same name and compute something else.
        """
        name, ours = reference.__name__, is_ours(reference)
        named = [table[name] for table in self.tables if name in table.names()]
        found = [f for f in named if ours or not is_ours(f)]
        if ours:  # a user's function may be a new object in each call
            self._known[reference] = found
        return found

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` as an array of this backend, copied only if necessary."""
        raise NotImplementedError

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` as a NumPy array; on a device this waits until `a` has been computed."""
        raise NotImplementedError

    @property
    def tf32(self) -> bool:
        """Whether float32 products may be rounded to TF32, which only a GPU has."""
        return False

    @tf32.setter
    def tf32(self, allowed: bool) -> None:
        if allowed:
            raise ValueError(f"tf32: expected a GPU, got {self.name}, which has no such products")

    @property
    def allowed(self) -> Array | None:
        """The flag of this thread's current update; None outside an update, and on the host."""
        return self._updates.allowed

    def update(self, allowed: Array | None = None) -> AbstractContextManager[None]:
        """A context in which all state is updated, or none of it if a value is not finite.

        The host cannot know the answer before the device has finished its work. So the device keeps
        a flag: `all_finite` clears it, and `masked_write` writes only while it is True. The CPU
        knows immediately and has no flag.

        Args:
            allowed: the flag, a 0-d boolean array on the device, cleared in place. While it is
                False, nothing is written. None: the flag of the enclosing update, or a new one.

        Raises:
            TypeError: if `allowed` is anything else.
            ValueError: on the host, if it is False.
        """
        if allowed is None:
            allowed = self.xp.ones((), bool) if self.allowed is None else self.allowed
        kind = getattr(allowed, "dtype", None), getattr(allowed, "shape", None)
        if kind != (np.dtype(bool), ()):
            raise TypeError(f"update: expected allowed to be a 0-d boolean, got {allowed!r}")
        return Update(self._updates, allowed)

    def all_finite(self, a: Array) -> bool:
        """Whether every value of `a` is finite, as far as the host can tell without waiting.

        On a device this returns True immediately. The answer goes into the flag of `update`, which
        the next `masked_write` reads.
        """
        if self.allowed is not None:
            a = a if isinstance(a, self.array_type) else self.asarray(a)
            self.run(note_finite, self.allowed, a)
        return True

    def masked_write(self, *pairs: tuple[Array, Array]) -> None:
        """Write the second array of each pair into the first, or nothing if a value is not finite.

        .. code-block:: text

            old <- new    where the flag of `update` is True, and every value of every new is finite

        Args:
            pairs: state and its new values, two arrays of the same shape.

        Raises:
            NotFinite: on the CPU, before anything is written. A GPU skips the write, and makes the
                flag of the open `update` False.
            ValueError: for a pair of different shapes, before anything is written.

        Kernels that update state, such as `cuda/adam.cu`, read the flag themselves.
        """
        if any(old.shape != new.shape for old, new in pairs):
            raise wrong_shapes(pairs)
        with self.update():
            for old, new in pairs:  # a new value may overflow in the dtype of `old`
                self.all_finite(self.xp.asarray(new, old.dtype) if old.dtype.kind == "f" else new)
            for old, new in pairs:
                old[...] = self.xp.where(self.allowed, new, old)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``; layers multiply matrices only this way."""
        return self.xp.matmul(a, b, out=out)

    def gather(self, a: Array, rows: Array) -> Array:
        """A new array with the given rows of `a`, in that order."""
        return a.take(rows, axis=0)
