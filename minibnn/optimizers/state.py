"""An optimiser's state: the number of updates, the rate, and the moments."""

from __future__ import annotations

from typing import Any

import numpy as np

from minibnn.state import State, Stateful, has_state, parts_of, require_form


class OptimizerState(Stateful):
    """The state of an `Optimizer`: none, until a class says what it has."""

    def state(self) -> State:
        """What its steps change besides the parameters; see `minibnn.state`.

        Raises:
            TypeError: for an optimiser of one's own without this method: its training could not
                be resumed.
        """
        raise TypeError(
            f"{type(self).__name__}: expected the methods state() and restore(state), got none; "
            "write both, or derive it from Descent, which has them"
        )


class FlatOptimizerState(OptimizerState):
    """The state of a `FlatOptimizer`, which derives from this class."""

    def arguments(self) -> dict[str, Any]:
        """The rate, by its argument's name: a number or a schedule; see `minibnn.description`."""
        optimizer: Any = self
        return {optimizer._rate_name.replace(" ", "_"): optimizer.schedule}

    def state(self) -> State:
        """The number of updates, a rate without a schedule, and the arrays among its attributes.

        So moments need no further code.

        Raises:
            TypeError: for an array with the name of something else.
        """
        optimizer: Any = self
        schedule = optimizer.schedule
        state: State = {"steps": optimizer.steps}
        if isinstance(schedule, float):
            state["rate"] = schedule
        elif has_state(schedule):
            state["schedule"] = schedule.state()
        for name, values in parts_of(optimizer, optimizer.backend.array_type):
            if name in state:
                raise TypeError(
                    f"{type(self).__name__}: expected another name for the array {name!r}, which "
                    "is the name of something else in its state; rename it"
                )
            state[name] = np.array(optimizer.backend.to_host(values))
        return state

    def restore(self, state: State) -> None:
        """Put a state back.

        Raises:
            ValueError: before anything changes, if `state` is another optimiser's.
        """
        optimizer: Any = self
        require_form(type(self).__name__, self.state(), state)
        optimizer.steps = state["steps"]
        if isinstance(optimizer.schedule, float):
            optimizer._set_rate(state["rate"])
        elif has_state(optimizer.schedule):
            optimizer.schedule.restore(state["schedule"])
        for name, values in parts_of(optimizer, optimizer.backend.array_type):
            values[...] = optimizer.backend.asarray(state[name])
