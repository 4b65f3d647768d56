"""What every backend offers: transfers, operations by name, products, and masked writes."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.array import Array
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.implementations import Implementations, is_ours
from minibnn.backend.updates import Update, Updates, note_finite


class Backend:
    """Where arrays live and how the few operations that need care are done there.

    Layers write ordinary array code with `backend.xp` (`numpy` or `cupy`). What a device computes
    in a way of its own stands in its `tables`, and `run` looks it up. The methods of this class run
    on any `xp`.

    Attributes:
        name: ``"cpu"`` or ``"gpu"``.
        xp: the array module.
        array_type: the class of its arrays.
        tables: of implementations, in the order in which they are asked; the first that takes the
            arguments computes, and the reference if none does.
        graphs: captures work, where the device can.
        no_graphs: if it cannot, why.
        host: True where reading a value costs nothing. False on a device, where ``float(a)``
            would make the program wait for everything queued before it.
    """

    name: str
    xp: ModuleType
    array_type: type
    host: bool
    graphs: Graphs | None = None
    no_graphs: str = "only a GPU can"
    tables: ClassVar[tuple[Implementations, ...]] = ()

    def __init__(self) -> None:
        self._bodies: dict[Callable[..., Any], list[Callable[..., Any]]] = {}  # see `_bodies_of`
        self._updates = Updates()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    # A backend is a place, not a value: copies of a model share it. So do pickles, see `select`.
    def __deepcopy__(self, memo: object) -> Backend:
        return self

    def run(self, reference: Callable[..., Any], *args: Any) -> Any:
        """``reference(*args)``, by the device's own implementation of that name if there is one.

        Args:
            reference: the operation in plain array code.
            args: its arguments, all by position.
        """
        bodies = self._bodies.get(reference)
        for body in self._bodies_of(reference) if bodies is None else bodies:
            result = body(self, *args)
            if result is not NotImplemented:
                return result
        return reference(*args)

    def _bodies_of(self, reference: Callable[..., Any]) -> list[Callable[..., Any]]:
        """The implementations of an operation; minibnn's own only of minibnn's references.

        A function of a user's may have the name of one of ours, and compute something else.
        """
        name, ours = reference.__name__, is_ours(reference)
        bodies = [table[name] for table in self.tables if name in table.names()]
        found = [body for body in bodies if ours or not is_ours(body)]
        if ours:  # a user's may be made anew for each call
            self._bodies[reference] = found
        return found

    def asarray(self, a: Any, dtype: Any = None) -> Array:
        """`a` as an array of this backend, copied only if it has to be."""
        raise NotImplementedError

    def to_host(self, a: Array) -> np.ndarray[Any, Any]:
        """`a` as a NumPy array; on a device this waits until `a` has been computed."""
        raise NotImplementedError

    @property
    def tf32(self) -> bool:
        """Whether products of float32 may be rounded to TF32; only a GPU can."""
        return False

    @tf32.setter
    def tf32(self, allowed: bool) -> None:
        if allowed:
            raise ValueError(f"tf32: expected a GPU, got {self.name}, which has no such products")

    @property
    def allowed(self) -> Array | None:
        """The flag of the update that is open on this thread; None without one, and on the host."""
        return self._updates.allowed

    def update(self, allowed: Array | None = None) -> AbstractContextManager[None]:
        """A context in which state is updated: all of it, or nothing if a value is not finite.

        A device would have to be waited for to find out. So it keeps a flag, which `all_finite`
        makes False, and which `masked_write` asks. The host finds out at once, and has no flag.

        Args:
            allowed: the flag, a 0-d boolean on the device, made False in place; False refuses all
                writes from the start. None goes on with the flag of the update around this one, or
                begins with a new one.

        Raises:
            TypeError: for another array.
            ValueError: on the host, for False.
        """
        if allowed is None:
            allowed = self.xp.ones((), bool) if self.allowed is None else self.allowed
        kind = getattr(allowed, "dtype", None), getattr(allowed, "shape", None)
        if kind != (np.dtype(bool), ()):
            raise TypeError(f"update: expected allowed to be a 0-d boolean, got {allowed!r}")
        return Update(self._updates, allowed)

    def all_finite(self, a: Array) -> bool:
        """Whether every value of `a` is finite, as far as the host can tell without waiting.

        So on a device it is always True; there the answer goes into the flag of `update`, which
        the next `masked_write` asks.
        """
        if self.allowed is not None:
            a = a if isinstance(a, self.array_type) else self.asarray(a)
            self.run(note_finite, self.allowed, a)
        return True

    def masked_write(self, *pairs: tuple[Array, Array]) -> None:
        """Write each pair's second array into its first, or none of them if one is not finite.

        .. code-block:: text

            old <- new    where the flag of `update` is True, and every value of every new is finite

        Args:
            pairs: of arrays of one shape each: state, and what it becomes.

        Raises:
            NotFinite: on the host, before anything is written. A device leaves the write out.

        A kernel that updates parameters asks the flag itself: see `cuda/adam.cu`.
        """
        with self.update():
            for old, new in pairs:  # which may overflow in the dtype of `old`
                self.all_finite(self.xp.asarray(new, old.dtype) if old.dtype.kind == "f" else new)
            for old, new in pairs:
                old[...] = self.xp.where(self.allowed, new, old)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``; the one way layers multiply matrices."""
        return self.xp.matmul(a, b, out=out)

    def gather(self, a: Array, rows: Array) -> Array:
        """A new array holding the given rows of `a`, in that order."""
        return a.take(rows, axis=0)
