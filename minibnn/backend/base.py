"""What every backend offers: a short list of primitives, with plain bodies written in `xp`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from types import ModuleType
from typing import Any, ClassVar

import numpy as np

from minibnn.backend.adam import AdamStep
from minibnn.backend.array import Array
from minibnn.backend.bits import Bits
from minibnn.backend.capture.graphs import Graphs
from minibnn.backend.capture.questions import questions
from minibnn.backend.capture.steps import Steps
from minibnn.backend.classes import Classes
from minibnn.backend.hashing import mix, places, stream_keys
from minibnn.backend.implementations import Implementations


class DeviceError(RuntimeError):
    """The GPU was asked for and cannot be used. The message names the stage that failed.

    Attributes:
        reason: the stage and its error in a few words.
        passing: whether the GPU was only full or taken, so that a later call may find it free.
    """

    def __init__(self, message: str, reason: str, *, passing: bool = False) -> None:
        super().__init__(message, reason)
        self.reason = reason
        self.passing = passing

    def __str__(self) -> str:
        return str(self.args[0])


class Backend(Classes, Bits, Steps, Graphs):
    """Where arrays live and how the few operations that need care are done there.

    Layers write ordinary array code with `backend.xp` (`numpy` or `cupy`). Only what differs
    between devices, or is worth a fast body, is a method here. The bodies in this class are the
    plain ones: they run on any `xp`, and they are what a device's own fast bodies are tested
    against.

    Attributes:
        name: ``"cpu"`` or ``"gpu"``.
        xp: the array module.
        array_type: the class of its arrays.
        tables: of implementations, the first that takes the arguments computes.
        host: True where reading a value costs nothing. False on a device, where ``float(a)``
            would make the program wait for everything queued before it.
    """

    name: str
    xp: ModuleType
    array_type: type
    host: bool
    tables: ClassVar[tuple[Implementations, ...]] = ()

    def __init__(self) -> None:
        names = {name for table in self.tables for name in table.names()}
        self._bodies = {n: [t[n] for t in self.tables if n in t.names()] for n in names}

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
        for body in self._bodies.get(reference.__name__, ()):
            result = body(self, *args)
            if result is not NotImplemented:
                return result
        return reference(*args)

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

    def numbers(
        self, values: Callable[[int], tuple[Any, ...]], count: int, dtype: Any
    ) -> tuple[Any, ...]:
        """``values(count)``: numbers of the host that are others in every step.

        Whatever a training step computes from a counter of its own (a learning rate, the keys of
        random numbers) it asks for here, since in a recorded step a plain number would stay the
        same for ever. While a step is recorded, 0-d arrays of the given dtype are the answer, which
        hold the numbers of whichever step is replayed.

        Args:
            values: from a count to numbers, always as many; a function of the count alone, and
                nothing else that the step does may depend on the count.
            count: of this step; the next steps' counts go on evenly.
            dtype: of the numbers on the device.
        """
        asked = questions()
        return values(count) if asked is None else asked.answer(values, count, dtype)

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """The matrix product ``a @ b``; the one way layers multiply matrices."""
        return self.xp.matmul(a, b, out=out)

    def half_matmul(self, a: Array, b: Array) -> Array:
        """``a @ b`` of float16, added up in float32: exact for whole numbers up to 2^24.

        Shapes: a (n, k), b (k, m), both float16; the result (n, m) of float32.
        """
        return self.matmul(a.astype(np.float32), b.astype(np.float32))

    def binarize(self, x: Array) -> Array:
        """+1 where ``x >= 0``, else -1, in the dtype of `x`. Both zeros give +1.

        NaN stays NaN: a network of signs would otherwise turn it into an ordinary value,
        train on, and show a finite loss over ruined weights.
        """
        xp = self.xp
        return xp.where(x >= 0, x.dtype.type(1), xp.where(xp.isnan(x), x, x.dtype.type(-1)))

    def mark_signs(self, a: Array) -> None:  # most devices gain nothing by it
        """Know that an array has signs alone, and that nobody will change it in place.

        A product of two such arrays is a sum of +1 and -1, which is exact in low precision too. A
        device that is faster there may use that.
        """

    def uniform(self, shape: tuple[int, ...], seed: int, count: int, dtype: Any) -> Array:
        """Numbers in [0, 1) that depend on the seed, the count and their place alone.

        .. code-block:: text

            u[i] = (mix(mix(i + k0) xor k1) >> 8) / 2^24       k0, k1 from (seed, count)

        Integers of 32 bits throughout, so every device gives the same numbers to the last bit.

        Args:
            shape: of the result, at most 2^32 numbers.
            seed: names the stream.
            count: names the array within the stream.
            dtype: float32 or float64; the values are the same.

        Raises:
            ValueError: for a larger shape, in which the numbers would begin anew.

        References: mix is the finaliser of MurmurHash3 (Appleby 2011), which lets each bit of its
        argument reach all 32; that counters through a mixing function make good random numbers
        is Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
        """
        xp = self.xp
        k0, k1 = self.numbers(partial(stream_keys, seed), count, np.uint32)
        h = xp.arange(places(shape), dtype=np.uint32)
        h += k0
        h = mix(h)
        h ^= k1
        h = mix(h)
        h >>= np.uint32(8)
        u = h.astype(dtype)
        u *= 2.0**-24
        return u.reshape(shape)

    def gather(self, a: Array, rows: Array) -> Array:
        """A new array holding the given rows of `a`, in that order."""
        return a.take(rows, axis=0)

    def log_softmax(self, logits: Array) -> tuple[Array, Array]:
        """The logarithm of the softmax of each row, and the softmax itself.

        .. code-block:: text

            log p = s - log(sum of exp(s))          s = logits - their greatest, row by row

        Subtracting the greatest first changes nothing but keeps the exponential from overflowing.

        Shapes: logits, log p and p (batch, classes).
        """
        xp = self.xp
        shifted = logits - logits.max(axis=1, keepdims=True)
        exp = xp.exp(shifted)
        total = exp.sum(axis=1, keepdims=True)
        return shifted - xp.log(total), exp / total

    def gate(self, dy: Array, x: Array, limit: float) -> Array:
        """``dy`` where ``|x| <= limit``, else 0."""
        return dy * (abs(x) <= limit)

    def adam_step(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        numbers: AdamStep,
        only_if: Array | None = None,
    ) -> None:
        """One Adam update of the flat arrays `w`, `m`, `v` in place, from the gradient `g`.

        .. code-block:: text

            m  <- beta1 m + (1 - beta1) g
            v  <- beta2 v + (1 - beta2) g^2
            w  <- w - rate m / (sqrt(v) + epsilon)
            w  <- min(max(w, -bound), bound)                 unless bound is None

        The paper divides m by 1 - beta1^step and v by 1 - beta2^step. These corrections are the
        same for all elements, so they stand in `rate` and `epsilon`; see `AdamStep.folded`.

        Shapes: w, g, m, v (n,), of one dtype; g is not changed.

        Args:
            w: parameters.
            g: gradients.
            m: decaying means of the gradients.
            v: decaying means of their squares.
            numbers: the rest of the equations' letters.
            only_if: a 0-d boolean on the device; where it is False nothing changes. It lets
                a training loop refuse an update without waiting for the device.

        Reference: Kingma and Ba 2014, arXiv:1412.6980, algorithm 1.
        """
        xp = self.xp
        rate, epsilon, beta1, beta2, bound = numbers
        new_m = beta1 * m + (1 - beta1) * g
        new_v = beta2 * v + (1 - beta2) * (g * g)
        new_w = w - rate * (new_m / (xp.sqrt(new_v) + epsilon))
        if bound is not None:
            new_w = xp.clip(new_w, -bound, bound)
        for old, new in ((m, new_m), (v, new_v), (w, new_w)):
            old[...] = new if only_if is None else xp.where(only_if, new, old)

    def adam_steps(
        self,
        w: Array,
        g: Array,
        m: Array,
        v: Array,
        parts: Sequence[tuple[slice, AdamStep]],
        only_if: Array | None = None,
    ) -> None:
        """`adam_step` on parts of the arrays, one after another, each with its own numbers.

        The parts cover the arrays, and have their betas in common.
        """
        for part, numbers in parts:
            self.adam_step(w[part], g[part], m[part], v[part], numbers, only_if)
