"""A layer's state: values, buffers, random streams, and what it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from minibnn.backend import Backend, backend_of
from minibnn.checks import require_methods
from minibnn.input_contract import InputContract
from minibnn.parameter import Buffer, Parameter
from minibnn.state import State, Stateful, parts_of, require_form


class LayerState(Stateful):
    """The state of a `Layer`, which derives from this class."""

    def state(self) -> State:
        """What training changes in it: values, buffers, random streams; see `minibnn.state`.

        The dict has an entry for each parameter and buffer by name, as a copy on the host, and
        one for each function, feedback and child with a state of its own.

        >>> from minibnn import Dense, Sequential
        >>> state = Sequential(Dense(2, 1)).initialize(0).state()
        >>> state["0"]["bias"]
        array([0.], dtype=float32)

        Raises:
            TypeError: for two parts of one name, or a list of parts; see `Layer`.
        """
        layer: Any = self
        contract = layer.input_contract
        state: State = {"input_contract": None if contract is None else contract.state()}
        children = list(layer.named_children())
        for _, child in children:
            require_methods(child, "state", "restore")
        parts = [(name, _values(holder)) for name, holder in _holders(layer)]
        parts += [(name, part.state()) for name, part in _own_parts(layer)]
        parts += [(name, child.state()) for name, child in children]
        for name, values in parts:
            if name in state:
                raise TypeError(
                    f"{layer}: expected a name of its own for each part, got two named {name!r}; "
                    "rename one of them"
                )
            state[name] = values
        return state

    def restore(self, state: State) -> None:
        """Put a state back, into the arrays that are there: an optimiser keeps them.

        A layer without values, not yet initialised, gets new arrays of its dtype.

        Raises:
            ValueError: before anything changes, if `state` is another network's.
        """
        layer: Any = self
        require_form(str(layer), layer.state(), state)
        _require_values(str(layer), layer, state)
        layer.saved = None
        contract = state["input_contract"]
        layer.input_contract = None if contract is None else InputContract(**contract)
        for name, holder in _holders(layer):
            _write(holder, state[name], layer.backend)
        for name, part in _own_parts(layer):
            part.restore(state[name])
        for name, child in layer.named_children():
            child.restore(state[name])


def _own_parts(layer: Any) -> Iterator[tuple[str, Stateful]]:
    """The functions, feedbacks and random streams with a state, which are no layers."""
    parts = parts_of(layer, Stateful)
    return ((name, p) for name, p in parts if not isinstance(p, LayerState) and p.state())


def _holders(layer: Any) -> Iterator[tuple[str, Parameter | Buffer]]:
    """The layer's own parameters and buffers, without those of its children."""
    children = {id(p) for child in layer.children() for p in child.parameters()}
    yield from ((k, p) for k, p in layer.named_parameters() if id(p) not in children)
    yield from ((buffer.name, buffer) for buffer in layer.own_parts()[1])


def _require_values(who: str, layer: Any, state: State, path: str = "") -> None:
    """Raise ValueError unless the parameters, also those without values, can take the state's."""
    for name, holder in _holders(layer):
        if name not in state:  # a user's layer has another form
            continue
        values = state[name]
        if isinstance(holder, Buffer) or (values is None and holder.data is None):
            continue
        given = None if values is None else (values.dtype, values.shape)
        if given != (layer.dtype, holder.shape):
            got = "none" if values is None else f"{values.dtype} {values.shape}"
            raise ValueError(
                f"{who}: expected a state with {path}{name} as {layer.dtype} {holder.shape}, got "
                f"{got}; restore the state of a model that was made in the same way"
            )
    for name, child in layer.named_children():
        _require_values(who, child, state[name], f"{path}{name}.")


def _values(holder: Parameter | Buffer) -> Any:
    """The values as an array of its own on the host; None before they are drawn."""
    if holder.data is None:
        return None
    backend = backend_of(holder.data)
    values = backend.to_host(holder.data)
    return values.copy() if backend.host else values


def _write(holder: Parameter | Buffer, values: Any, backend: Backend) -> None:
    """Write values from the host into an array, or into a new one if there is none."""
    if holder.data is not None and values is not None:
        holder.data[...] = backend.asarray(values)
    elif isinstance(holder, Buffer):
        holder.data = None if values is None else backend.asarray(values.copy())
    elif values is not None:
        holder.data = backend.asarray(values.copy())
        holder.grad = backend.xp.zeros_like(holder.data)
