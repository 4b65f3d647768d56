"""Constructors' arguments that change in training, such as a dropout's rate set in `on_epoch`.

They are attributes, and no `state()` gives them: a resumed training would begin with the first ones
again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minibnn.description import describe_loosely
from minibnn.layers import Layer
from minibnn.losses import Loss
from minibnn.optimizers import Optimizer
from minibnn.optimizers.base import FlatOptimizer
from minibnn.state import Stateful, has_own_state, has_state, parts_of

OURS = "minibnn."  # classes in these modules leave their arguments out of their state


def arguments_in_no_state(model: Layer, loss: Loss, optimizer: Optimizer) -> dict[str, Any]:
    """The arguments as they are now, by name: equal as long as nothing has set another one.

    Objects of a user's class with a `state` of its own, and a rate that is a number, are left out:
    their states have what changes.
    """
    known = {id(one): "in its own state" for root in (model, loss) for one in _with_state(root)}
    found: dict[str, Any] = {}
    for name, root in (("model", model), ("loss", loss)):
        found[name] = describe_loosely(root, parameters=known)
    for i, one in enumerate(flat(optimizer)):
        name = f"optimizer {i}"
        if has_own_state(one):
            continue
        rate = one.schedule if isinstance(one, FlatOptimizer) else None
        if has_state(rate) and has_own_state(rate):
            known[id(rate)] = "in its own state"
        found[name] = describe_loosely(one, parameters=known)
        if isinstance(rate, float):
            for argument in one.arguments():  # type: ignore[attr-defined]
                found[name]["arguments"][argument] = "a number, in its state"
    return found


def flat(optimizer: Optimizer) -> Iterator[Optimizer]:
    """An optimiser, or those in a group."""
    members = getattr(optimizer, "optimizers", None)
    if members is None:
        yield optimizer
        return
    for member in members:
        yield from flat(member)


def _with_state(owner: Any) -> Iterator[Any]:
    """The objects of users' classes that define `state`."""
    if has_own_state(owner):
        yield owner
        return
    for child in owner.children() if isinstance(owner, Layer) else ():
        yield from _with_state(child)
    for _, part in parts_of(owner, Stateful):
        if not isinstance(part, Layer):
            yield from _with_state(part)
