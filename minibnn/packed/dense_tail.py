"""The dense layers at the end of a packed model, which a backend may run as one operation."""

from __future__ import annotations

from typing import TypeAlias
from weakref import WeakKeyDictionary

from minibnn.backend import Backend
from minibnn.packed.inference import DenseLayers
from minibnn.packed.stages import DenseStage, ScoreStage, Stage, ThresholdStage

Tail: TypeAlias = tuple[int, DenseLayers | None]

# The tail of each model on each device where it ran; kept like `_KEPT` in `stages`.
_TAILS: WeakKeyDictionary[object, dict[Backend, Tail]] = WeakKeyDictionary()


def dense_tail(model: object, stages: tuple[Stage, ...], backend: Backend) -> Tail:
    """The index of the tail's first stage, and the tail up to the last stage, on a device.

    If no dense stage is just before the last stage, there is no tail: the result is the last index
    and None.

    Args:
        model: the model that has the stages; the tail is kept as long as the model lives.
        stages: of the model.
        backend: of the device.
    """
    known = _TAILS.setdefault(model, {})
    if backend not in known:
        known[backend] = _find(stages, backend)
    return known[backend]


def _find(stages: tuple[Stage, ...], backend: Backend) -> Tail:
    first = last = len(stages) - 1
    if last > 0 and _in_line(stages[last - 1 :], [DenseStage, ScoreStage]):
        first = last - 1
    pair = [DenseStage, ThresholdStage]
    while 2 <= first < last and _in_line(stages[first - 2 : first], pair):
        first -= 2
    products = [stage for stage in stages[first:last] if isinstance(stage, DenseStage)]
    if not products:
        return last, None
    between = [stage for stage in stages[first:last] if isinstance(stage, ThresholdStage)]
    return first, DenseLayers(
        products[0].pixels,
        tuple(stage.matrix(backend) for stage in products),
        tuple(stage.constants(backend) for stage in between),
    )


def _in_line(stages: tuple[Stage, ...], kinds: list[type[Stage]]) -> bool:
    """Whether the stages have these kinds, and each takes the output of the one before it."""
    return [type(stage) for stage in stages] == kinds and not any(s.sources for s in stages)
