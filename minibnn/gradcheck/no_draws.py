"""Backward draws no random numbers: while it runs, every source of them is on guard.

A mask that backward draws anew is another one than forward's, and one that it replays (from a seed,
or by setting a count back) breaks as soon as somebody else draws in between. So both are errors,
also where the check, which holds draws still, would give backward the right numbers.
"""

from __future__ import annotations

import copy
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from typing import Any, NoReturn

import numpy as np
from numpy.random import bit_generator

from minibnn.backend import CPU
from minibnn.layers import Layer

_MISSING = object()
_LOCKS = [name for name in ("RLock", "Lock") if hasattr(bit_generator, name)]
_backwards: list[object] = []  # whose backward runs, innermost last
_refused: list[ValueError] = []  # in case backward catches it


def _refuse(source: str) -> NoReturn:
    error = ValueError(
        f"check_gradients: {_backwards[-1]}: expected backward to draw no random numbers, got a "
        f"draw from {source}; draw in forward, and save the mask for backward: "
        "self.saved = (y.shape, mask)"
    )
    _refused.append(error)
    raise error


class _Lock:
    """The lock of a NumPy generator, which takes it for each draw; refused inside a backward.

    The methods of a generator are compiled and cannot be replaced, its lock can.
    """

    def __init__(self) -> None:
        if _backwards:
            _refuse("a new NumPy generator")
        self._lock = RLock()

    def __enter__(self) -> bool:
        if _backwards:
            _refuse("a NumPy generator")
        return self._lock.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._lock.__exit__(*error)


def watched_copy(layer: Layer) -> Layer:
    """A deep copy whose backward, and those of the layers inside, may not draw."""
    with _replaced(*((bit_generator, name, _Lock) for name in _LOCKS)):
        layer = copy.deepcopy(layer)
    _watch(layer)
    return layer


def _watch(layer: Layer) -> None:
    # An attribute of the object hides the method of its class.
    layer.backward = _without_draws(layer)  # type: ignore[method-assign]
    for child in layer.children():
        _watch(child)


def _without_draws(layer: Layer) -> Callable[..., Any]:
    vars(layer).pop("backward", None)  # of the watched layer that this is a copy of
    backward = layer.backward

    def watching(*given: Any, **options: Any) -> Any:
        with no_draws(layer):
            return backward(*given, **options)

    return watching


@contextmanager
def no_draws(who: object) -> Iterator[None]:
    """Raise ValueError for a random number drawn meanwhile; global states stay as they are."""

    def refused(source: str) -> Callable[..., NoReturn]:
        return lambda *_, **__: _refuse(source)

    python = refused("a generator of Python's random")
    sources = (
        (CPU, "uniform", refused("a minibnn.Draws")),
        (random.Random, "random", python),
        (random.Random, "getrandbits", python),
        *((bit_generator, name, _Lock) for name in _LOCKS),
    )
    before = np.random.get_state(), random.getstate()  # noqa: NPY002
    # Moved on, so that seeding them again, as forward did, shows.
    np.random.random()  # noqa: NPY002
    random.random()
    moved = _global_states()
    _backwards.append(who)
    try:
        with _replaced(*sources):
            yield
        if _refused:
            raise _refused[0]
        for source, then, now in zip(("numpy.", "Python's "), moved, _global_states(), strict=True):
            if then != now:
                _refuse(f"the global state of {source}random")
    finally:
        _backwards.pop()
        _refused.clear()
        np.random.set_state(before[0])  # noqa: NPY002
        random.setstate(before[1])


def _global_states() -> tuple[bytes, bytes]:
    return pickle.dumps(np.random.get_state()), pickle.dumps(random.getstate())  # noqa: NPY002


@contextmanager
def _replaced(*attributes: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes of objects, and set them back."""
    kept = [(owner, name, vars(owner).get(name, _MISSING)) for owner, name, _ in attributes]
    for owner, name, value in attributes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in kept:
            if value is _MISSING:
                delattr(owner, name)
            else:
                setattr(owner, name, value)
