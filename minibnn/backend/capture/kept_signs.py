"""Signs of weights that the optimiser's kernel writes while it has the weights at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from minibnn.backend.array import Array


class KeptSigns:
    """The signs of flat arrays of weights, each in an array beside it.

    Only a recorded step uses them, in which nothing but the optimiser changes weights: whoever
    changed one by hand would go on with its old sign.

    Args:
        stores: flat arrays of weights, which an optimiser's steps change.
        weights: views of them, of which signs will be asked for.
        address: of an array's first value.
    """

    def __init__(
        self, stores: Iterable[Array], weights: Iterable[Array], address: Callable[[Array], int]
    ) -> None:
        self._address = address
        self._pairs = [(store, store.copy()) for store in stores]
        self._of = {id(w): self._part(w).reshape(w.shape) for w in weights}
        self._weights = list(weights)  # so that an id stays theirs

    def of(self, weights: Array) -> Array | None:
        """The signs of one of the views, if they are kept."""
        return self._of.get(id(weights))

    def beside(self, part: Array) -> Array | None:
        """Where the signs of a contiguous part of one of the stores belong, if they are kept."""
        try:
            return self._part(part)
        except LookupError:
            return None

    def refresh(self, binarize: Callable[[Array], Array]) -> None:
        """Take the signs of all weights anew, after whatever may have changed them."""
        for store, signs in self._pairs:
            signs[...] = binarize(store)

    def _part(self, a: Array) -> Array:
        for store, signs in self._pairs:
            start = (self._address(a) - self._address(store)) // a.itemsize
            if start >= 0 and start + a.size <= store.size and a.dtype == store.dtype:
                return signs[start : start + a.size]
        raise LookupError
