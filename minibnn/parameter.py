"""Parameters, and the flat arrays that hold them."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minibnn.backend import Array, Backend, backend_of, require_plain
from minibnn.checks import number
from minibnn.checks import shape as check_shape
from minibnn.gradient_clock import Backwards
from minibnn.initializers import Initializer


class Parameter:
    """An array that an optimiser changes, and its gradient.

    Args:
        name: its role in the layer: ``"weight"``, ``"bias"``.
        shape: a tuple of sizes of at least 1.
        initializer: draws the starting values.
        bound: the optimiser's step keeps the values in [-bound, bound]; None for no bound.
            Latent (real-valued) weights that are binarised in the forward pass use 1.0.
        lr_scale: the optimiser multiplies its learning rate by this.

    Attributes:
        data: the values; None before `initialize`.
        grad: the gradient, same shape; a layer's backward overwrites it.
        quantizer: the function that its layer's forward applies to it; None if none is known.
    """

    quantizer: Any = None

    def __init__(
        self,
        name: str,
        shape: tuple[int, ...],
        initializer: Initializer,
        *,
        bound: float | None = None,
        lr_scale: float = 1.0,
    ) -> None:
        who = f"Parameter {name!r}"
        self.shape = check_shape(who, "shape", shape, such_as="(784, 10)")
        if not callable(initializer):
            raise TypeError(
                f"{who}: expected an initialiser such as Uniform(-1, 1) or "
                f"Fill(0.5), got {initializer!r}"
            )
        bound = None if bound is None else number(who, "bound", bound)
        if bound is not None and not 0 < bound < math.inf:
            raise ValueError(f"{who}: expected bound to be a positive number or None, got {bound}")
        lr_scale = number(who, "lr_scale", lr_scale)
        if not 0 < lr_scale < math.inf:
            raise ValueError(f"{who}: expected lr_scale to be a positive number, got {lr_scale}")
        self.name = name
        self.initializer = initializer
        self._bound = bound
        self._lr_scale = lr_scale
        self.data: Array = None
        vars(self)["grad"] = None
        self._used = 0

    def __repr__(self) -> str:
        bound = "" if self.bound is None else f", bound={self.bound}"
        scale = "" if self.lr_scale == 1 else f", lr_scale={self.lr_scale:.4g}"
        state = ", no values yet" if self.data is None else ""
        return f"Parameter({self.name!r}, {self.shape}{bound}{scale}{state})"

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_used": 0}  # the gradient of a copy has not been used yet

    @property
    def grad(self) -> Array:
        """The gradient; each use is noted for `FlatStore.require_gradients`."""
        self._used = next(Backwards.clock)
        return vars(self)["grad"]

    @grad.setter
    def grad(self, grad: Array) -> None:
        self._used = next(Backwards.clock)
        vars(self)["grad"] = grad

    # Both are fixed: an optimiser sorts its parameters by them when it is made.
    @property
    def bound(self) -> float | None:
        """The latent weights' bound, or None."""
        return self._bound

    @property
    def lr_scale(self) -> float:
        """The factor on the optimiser's learning rate."""
        return self._lr_scale

    @property
    def size(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    def initialize(self, rng: np.random.Generator, dtype: Any) -> None:
        """Draw the values on the host and clear the gradient."""
        drawn = self.initializer(self.shape, rng)
        require_plain(drawn)
        data = np.array(drawn, dtype=dtype)
        if data.shape != self.shape:
            raise ValueError(
                f"Parameter {self.name!r}: expected {self.initializer!r} to draw an array of shape "
                f"{self.shape}, got {data.shape}"
            )
        self.data = data
        vars(self)["grad"] = np.zeros_like(self.data)

    def to(self, backend: Backend, dtype: Any) -> None:
        """Move to another backend or dtype."""
        if self.data is not None:
            self.data = convert(self.data, backend, dtype)
            vars(self)["grad"] = convert(vars(self)["grad"], backend, dtype)


class Buffer:
    """An array that belongs to a layer and is not trained: running statistics, feedback weights.

    Args:
        name: its role in the layer.
        ships: whether evaluation needs it, so that it counts in a shipped model's size; False
            if only training needs it, as with feedback weights.

    Attributes:
        data: the values; None before the layer's `initialize`.
    """

    def __init__(self, name: str, *, ships: bool = True) -> None:
        self.name = name
        self.ships = ships
        self.data: Array = None

    def __repr__(self) -> str:
        state = "not initialised" if self.data is None else f"shape={self.data.shape}"
        return f"Buffer({self.name!r}, {state})"

    def to(self, backend: Backend, dtype: Any) -> None:
        """Move to another backend or dtype."""
        if self.data is not None:
            self.data = convert(self.data, backend, dtype)


def convert(a: Array, backend: Backend, dtype: Any) -> Array:
    """`a` on `backend` in `dtype`; a change of device goes through the host."""
    source = backend_of(a)
    if source is not backend:
        a = backend.asarray(source.to_host(a))
    return a.astype(dtype, copy=False)


ALIGNMENT = 64  # values; cuBLAS chooses the order of its sums by the operands' alignment


class Segment(NamedTuple):
    """A run of the flat store whose values share a bound and a learning-rate scale."""

    where: slice
    bound: float | None
    lr_scale: float


class FlatStore:
    """One array for the values and one for the gradients of many parameters.

    Each parameter's `data` and `grad` become views of their part. Layers work as before, and an
    optimiser updates everything in one pass over contiguous memory.

    Args:
        parameters: initialised, on one backend and of one dtype, each once.

    Attributes:
        data: the values, flat, with zeros between segments.
        grad: the gradients likewise; reading it counts as a use of every parameter's gradient.
        segments: runs of equal bound and lr_scale; each begins at a multiple of `ALIGNMENT`.
        places: where the values of each parameter are.
        used: when an optimiser last used the gradients; see `gradient_clock`.
    """

    def __init__(self, parameters: Iterable[Parameter]) -> None:
        try:
            self.parameters = list(parameters)
        except TypeError:
            raise TypeError(
                f"optimiser: expected parameters, got {parameters!r}; pass model.parameters()"
            ) from None
        for p in self.parameters:
            if not isinstance(p, Parameter):
                raise TypeError(
                    f"optimiser: expected parameters, got {p!r} among them; pass model.parameters()"
                )
        if not self.parameters:
            raise ValueError("optimiser: expected at least one parameter, got none")
        if len({id(p) for p in self.parameters}) < len(self.parameters):
            raise ValueError("optimiser: expected each parameter once, got one of them twice")
        for p in self.parameters:
            if p.data is None:
                raise RuntimeError(f"{p!r}; call model.initialize(rng) before making the optimiser")
        kinds = {(backend_of(p.data).name, str(p.data.dtype)) for p in self.parameters}
        if len(kinds) > 1:
            raise ValueError(f"optimiser: expected one backend and one dtype, got {sorted(kinds)}")

        self.backend = backend_of(self.parameters[0].data)
        # Parameters of equal bound and scale are adjacent, so that one update covers them all.
        alike: dict[tuple[float | None, float], list[Parameter]] = {}
        for p in self.parameters:
            alike.setdefault((p.bound, p.lr_scale), []).append(p)
        self.segments: list[Segment] = []
        stop = 0
        for (bound, lr_scale), group in alike.items():
            start = -(-stop // ALIGNMENT) * ALIGNMENT
            stop = start + sum(p.size for p in group)
            self.segments.append(Segment(slice(start, stop), bound, lr_scale))
        self.places: dict[Parameter, slice] = {}
        self.data = self.backend.xp.zeros(stop, dtype=self.parameters[0].data.dtype)
        self._grad = self.backend.xp.zeros_like(self.data)
        for segment, group in zip(self.segments, alike.values(), strict=True):
            start = segment.where.start
            for p in group:
                for name, flat in (("data", self.data), ("grad", self._grad)):
                    view = flat[start : start + p.size].reshape(p.shape)
                    view[...] = vars(p)[name]
                    vars(p)[name] = view
                self.places[p] = slice(start, start + p.size)
                start += p.size
        self._views = [(p, p.data, vars(p)["grad"]) for p in self.parameters]
        self._grad_used = self.used = next(Backwards.clock)

    @property
    def grad(self) -> Array:
        """The gradients; each use is noted for `require_gradients`."""
        self._grad_used = next(Backwards.clock)
        return self._grad

    def __reduce__(self) -> Any:
        # In a copy, or from a pickle, the parameters have to become views of one new store.
        self.require_intact()
        return FlatStore, (self.parameters,)

    def __copy__(self) -> FlatStore:
        return self  # two stores cannot hold the same parameters

    def require_intact(self) -> None:
        """Raise RuntimeError if a parameter's arrays are no longer views of this store."""
        for p, data, grad in self._views:
            if p.data is not data or vars(p)["grad"] is not grad:
                raise RuntimeError(
                    f"{p!r} was moved or replaced after the optimiser was made (by to(), "
                    "initialize(), a second optimiser, or an assignment to .data or .grad); make "
                    "the optimiser last, and write into the arrays: parameter.grad[...] = values"
                )

    def require_gradients(self, who: str) -> None:
        """Raise RuntimeError unless the gradients are here and belong to the model being trained.

        If layers ran backward since the last call but wrote none of these gradients, another model
        is being trained: a copy of the model that has these parameters, or the original of that
        model.
        """
        if any(p.data is not data or vars(p)["grad"] is not grad for p, data, grad in self._views):
            self.require_intact()  # raises, and says what is wrong
        if Backwards.last > self.used >= max(self._grad_used, *(p._used for p in self.parameters)):
            raise RuntimeError(
                f"{who}: expected a backward that sets gradients of its {len(self.parameters)} "
                "parameters before each step, got one of another model, of a part without them, "
                "or of the loss alone; write model.backward(loss.backward()) before each step; "
                "for a copy of the model, copy, pickle or load both as one object, (model, "
                "optimizer), or make a new optimiser of that model's parameters"
            )
        self.used = next(Backwards.clock)
