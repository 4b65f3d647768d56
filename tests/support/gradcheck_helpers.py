"""Inputs for gradient checks, and broken copies of the package's modules."""

from __future__ import annotations

import importlib
import inspect
import sys
import types

import numpy as np


def mutant(module: str, right: str, wrong: str) -> types.ModuleType:
    """A copy of one of minibnn's modules in which `right` reads `wrong`."""
    original = importlib.import_module(module)
    source = inspect.getsource(original)
    assert source.count(right) == 1, f"{right!r} stands {source.count(right)} times in {module}"
    copy = types.ModuleType(f"{module}_mutant")
    copy.__dict__["__file__"] = original.__file__
    sys.modules[copy.__name__] = copy  # dataclasses look their module up
    try:
        exec(compile(source.replace(right, wrong), copy.__name__, "exec"), copy.__dict__)
    finally:
        del sys.modules[copy.__name__]
    return copy


def values(*shape: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape)


def signs(*shape: int) -> np.ndarray:
    return np.where(values(*shape) > 0, 1.0, -1.0)
