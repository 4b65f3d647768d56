"""Backward may not draw random numbers: while it runs, every source of them is watched.

If backward draws a new mask, this mask differs from the one in forward. If backward draws the same
mask again (from a seed, or by resetting a counter), it fails as soon as another draw comes in
between. So both are errors, although the gradient check fixes random numbers and would give
backward the right ones.
"""

from __future__ import annotations

import copy
import inspect
import pickle
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import RLock
from types import FunctionType
from typing import Any, NoReturn

import numpy as np
from numpy.random import bit_generator

from minibnn import random_stream
from minibnn.layers import Layer

_MISSING = object()
_GENERATORS = (np.random.Generator, np.random.RandomState, random.Random)
_LOCKS = [name for name in ("RLock", "Lock") if hasattr(bit_generator, name)]
_backwards: list[object] = []  # the objects whose backward runs, innermost last
_refused: list[ValueError] = []  # kept in case backward catches the error


def _refuse(source: str) -> NoReturn:
    error = ValueError(
        f"check_gradients: {_backwards[-1]}: expected backward to draw no random numbers, got a "
        f"draw from {source}; draw in forward, and save the mask for backward: "
        "self.saved = (y.shape, mask)"
    )
    _refused.append(error)
    raise error


class _Lock:
    """Replaces the lock of a NumPy generator; raises ValueError if acquired inside a backward.

    A generator acquires its lock for each draw. Its compiled methods cannot be replaced.
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
    """Return a deep copy in which no backward, of the layer or its children, may draw."""
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
    vars(layer).pop("backward", None)  # the watching one, if a watched layer was copied
    backward = layer.backward

    def watching(*given: Any, **options: Any) -> Any:
        with no_draws(layer):
            return backward(*given, **options)

    return watching


@contextmanager
def no_draws(who: object) -> Iterator[None]:
    """Raise ValueError if a random number is drawn inside; restore the global states after it."""

    def refused(source: str) -> Callable[..., NoReturn]:
        return lambda *_, **__: _refuse(source)

    python = refused("a generator of Python's random")
    sources = (
        (random_stream, "mix", refused("a minibnn.RandomStream")),
        (random.Random, "random", python),
        (random.Random, "getrandbits", python),
        *((bit_generator, name, _Lock) for name in _LOCKS),
    )
    shared = _shared_generators(who)
    with _unwatched():
        before = [_state(generator) for generator in shared.values()]
        for generator in shared.values():
            _move_on(generator)  # so that a reset to the state in forward is detected
        moved = [pickle.dumps(_state(generator)) for generator in shared.values()]
    _backwards.append(who)
    try:
        with _replaced(*sources):
            yield
        if _refused:
            raise _refused[0]
        with _unwatched():
            after = [pickle.dumps(_state(generator)) for generator in shared.values()]
        for source, then, now in zip(shared, moved, after, strict=True):
            if then != now:
                _refuse(source)
    finally:
        _backwards.pop()
        _refused.clear()
        with _unwatched():
            for generator, state in zip(shared.values(), before, strict=True):
                _set_state(generator, state)


@contextmanager
def _unwatched() -> Iterator[None]:
    """Let the check itself read generators while an outer layer runs its backward."""
    held = _backwards[:]
    _backwards.clear()
    try:
        yield
    finally:
        _backwards[:] = held


def _move_on(generator: Any) -> None:
    if isinstance(generator, random.Random):
        super(random.Random, generator).random()  # its own method may be refused
    else:
        generator.random()


def _shared_generators(who: object) -> dict[str, Any]:
    """Generators that a copied layer still shares: global states, and those its code refers to."""
    found: dict[str, Any] = {
        "the global state of numpy.random": np.random.mtrand._rand,
        "the global state of Python's random": random._inst,
    }
    inside = [v for v in vars(who).values() if hasattr(type(v), "backward")]
    for owner in (who, *inside):
        methods = [f for cls in type(owner).__mro__ for f in vars(cls).values()]
        for code in (*vars(owner).values(), *methods):
            for name, value in _referred(code).items():
                if isinstance(value, _GENERATORS) and not isinstance(value, random.SystemRandom):
                    found[f"the generator {name}"] = value
    return found


def _referred(code: object) -> dict[str, Any]:
    """The global and closure variables that a function uses, by name."""
    if not isinstance(code, FunctionType) or str(code.__module__).startswith("minibnn."):
        return {}
    try:
        seen = inspect.getclosurevars(code)
    except ValueError:  # a variable that has no value yet
        return {}
    return {**seen.globals, **seen.nonlocals}


def _state(generator: Any) -> Any:
    if isinstance(generator, random.Random):
        return generator.getstate()
    if isinstance(generator, np.random.RandomState):
        return generator.get_state()
    return generator.bit_generator.state


def _set_state(generator: Any, state: Any) -> None:
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.RandomState):
        generator.set_state(state)
    else:
        generator.bit_generator.state = state


@contextmanager
def _replaced(*attributes: tuple[Any, str, Any]) -> Iterator[None]:
    """Set attributes of objects, and restore them at the end."""
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
