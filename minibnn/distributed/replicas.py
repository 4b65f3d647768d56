"""Copies of a model for the parts of a batch that one rank computes."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from minibnn.backend import Array, backend_of
from minibnn.functions import Function
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.parameter import FlatStore, Parameter
from minibnn.random_stream import RandomStream
from minibnn.state import Stateful, has_own_state


class Replica:
    """A model for one part: the parameters' values are the original's, the gradients its own.

    Args:
        original: the model that is trained.
        holders: what has the original's gradients: flat stores, or single parameters.

    Attributes:
        model: the copy.
        gradients: its own, of each holder.
    """

    def __init__(self, original: Layer, holders: Sequence[FlatStore | Parameter]) -> None:
        self.original = original
        self.holders = holders
        self.gradients: list[Array] = [
            backend_of(holder.data).xp.zeros_like(holder.data) for holder in holders
        ]
        self.model: Layer
        self.renew()

    def renew(self) -> None:
        """Copy the original as it is now, whatever has changed in it."""
        values = {id(p.data): p.data for p in self.original.parameters()}
        self.model = copy.deepcopy(self.original, values)  # shares the values
        pairs = zip(self.original.parameters(), self.model.parameters(), strict=True)
        copies = {id(p): its for p, its in pairs}
        for holder, flat in zip(self.holders, self.gradients, strict=True):
            one = {holder: ...} if isinstance(holder, Parameter) else holder.places
            for p, place in one.items():
                if id(p) in copies:  # an optimiser may have other parameters, too
                    copies[id(p)].grad = flat[place].reshape(p.shape)

    def follow(self) -> None:
        """Take over what else a step has changed in the original: buffers, states, streams."""
        for one, its in zip(self.original.buffers(), self.model.buffers(), strict=True):
            if one.data is not None:
                its.data[...] = one.data
        for part, own in zip(stateful(self.original), stateful(self.model), strict=True):
            own.restore(part.state())


def stateful(layer: Layer) -> Iterator[Stateful]:
    """The random streams and functions with a state of a layer and its children.

    Also layers whose class has a `state` of the user's own.
    """
    if has_own_state(layer) and not type(layer).__module__.startswith("minibnn."):
        yield layer
    for value in vars(layer).values():
        if isinstance(value, RandomStream | Function):
            yield value
    for child in layer.children():
        yield from stateful(child)


@contextmanager
def at_sample(first: int, model: Layer, loss: Loss) -> Iterator[None]:
    """A context in which a part of a batch, from this sample on, draws its own numbers."""
    streams = list(streams_of_samples(model))
    streams += [value for value in vars(loss).values() if isinstance(value, RandomStream)]
    try:
        for stream in streams:
            stream.first_sample = first
        yield
    finally:
        for stream in streams:
            stream.first_sample = 0


def streams_of_samples(layer: Layer) -> Iterator[RandomStream]:
    """The random streams whose numbers belong to samples, and not to weights."""
    of_weights = {id(p.quantizer) for p in layer.parameters() if p.quantizer is not None}
    for value in _values(layer):
        if isinstance(value, RandomStream):
            yield value
        elif isinstance(value, Function) and id(value) not in of_weights:
            yield from (v for v in vars(value).values() if isinstance(v, RandomStream))


def _values(layer: Layer) -> Iterator[object]:
    yield from vars(layer).values()
    for child in layer.children():
        yield from _values(child)
