"""Different optimisers for different parameters of one model."""

from __future__ import annotations

from collections.abc import Sequence

from minibnn.checks import require
from minibnn.functions import weight_bits
from minibnn.layers import Layer
from minibnn.optimizers.base import Optimizer
from minibnn.parameter import Parameter
from minibnn.state import State, require_form


class OptimizerGroup(Optimizer):
    """Several optimisers that act as one, each for its own parameters.

    Args:
        optimizers: at least one; all on one device, without shared parameters.

    Attributes:
        optimizers: the optimisers in order, each with its own rate and schedule.

    Raises:
        TypeError: if an argument is not an `Optimizer`, or for optimisers on different devices.
        ValueError: without an optimiser, or for a parameter that two of them hold.

    >>> import numpy as np
    >>> from minibnn import Adam, BatchNorm, Bop, Dense, Sequential, SignSTE
    >>> model = Sequential(
    ...     Dense(784, 10, weight_quantizer=SignSTE(), bias=False), BatchNorm(10)
    ... ).initialize(np.random.default_rng(0))
    >>> binary, rest = split_parameters(model)
    >>> optimizer = OptimizerGroup(Bop(binary), Adam(rest, learning_rate=0.01))
    >>> print(optimizer)
    OptimizerGroup(
        Bop(1 parameters, 7,840 values, next gamma 0.0001, after 0 steps),
        Adam(2 parameters, 20 values, next rate 0.01, after 0 steps),
    )
    """

    def __init__(self, *optimizers: Optimizer) -> None:
        if not optimizers:
            raise ValueError("OptimizerGroup: expected at least one optimiser, got none")
        for optimizer in optimizers:
            require("OptimizerGroup", "each optimiser", optimizer, Optimizer)
        places = {optimizer.backend.name for optimizer in optimizers}
        if len(places) > 1:
            raise TypeError(
                f"OptimizerGroup: expected optimisers on one device, got {sorted(places)}; "
                "make them after model.to(device)"
            )
        self.optimizers = optimizers
        self.backend = optimizers[0].backend
        held: set[int] = set()
        for p in self.parameters:
            if id(p) in held:
                raise ValueError(
                    f"OptimizerGroup: expected each parameter in one optimiser, got {p!r} in two"
                )
            held.add(id(p))

    def __setattr__(self, name: str, value: object) -> None:
        if name in ("learning_rate", "schedule", "steps"):  # which would change nothing
            raise AttributeError(
                f"OptimizerGroup: expected {name} of one optimiser, got it for the group; write "
                f"group.optimizers[0].{name} = ..."
            )
        super().__setattr__(name, value)

    def __repr__(self) -> str:
        lines = [f"    {line}" for o in self.optimizers for line in f"{o!r},".splitlines()]
        return "\n".join(["OptimizerGroup(", *lines, ")"])

    @property
    def parameters(self) -> Sequence[Parameter]:
        """The parameters of all optimisers."""
        return [p for optimizer in self.optimizers for p in optimizer.parameters]

    def require_intact(self) -> None:
        """Raise RuntimeError if a parameter was moved or replaced since its optimiser was made."""
        for optimizer in self.optimizers:
            optimizer.require_intact()

    def require_gradients(self) -> None:
        """See `Optimizer.require_gradients`; for each optimiser."""
        for optimizer in self.optimizers:
            optimizer.require_gradients()

    def require_finite_gradients(self) -> None:
        """See `Optimizer.require_finite_gradients`; for each optimiser."""
        for optimizer in self.optimizers:
            optimizer.require_finite_gradients()

    def state(self) -> State:
        """The optimisers' states by their positions; see `minibnn.state`."""
        return {str(i): optimizer.state() for i, optimizer in enumerate(self.optimizers)}

    def restore(self, state: State) -> None:
        """Put a state back; see `FlatOptimizer.restore`."""
        require_form("OptimizerGroup", self.state(), state)
        for i, optimizer in enumerate(self.optimizers):
            optimizer.restore(state[str(i)])

    def step(self) -> None:
        """Step with every optimiser or with none; see `Optimizer.step`."""
        self.require_intact()
        self.require_gradients()
        with self.backend.update():
            self.require_finite_gradients()  # all, before anything changes
            for optimizer in self.optimizers:
                optimizer.step()


def split_parameters(model: Layer) -> tuple[list[Parameter], list[Parameter]]:
    """A model's parameters in two lists: weights that are quantized to 1 bit, and the others.

    A parameter is binary if `Layer.named_quantized` yields it with a function of two values:
    `SignSTE`, or a function of your own. Real-valued weights, biases and the parameters of batch
    norm are the rest. Both lists are in the order of ``model.parameters()``.

    >>> from minibnn import BatchNorm, Dense, Sequential, SignSTE
    >>> model = Sequential(Dense(4, 3, weight_quantizer=SignSTE()), BatchNorm(3), Dense(3, 2))
    >>> binary, rest = split_parameters(model)
    >>> binary
    [Parameter('weight', (4, 3), no values yet)]
    >>> len(rest)
    5
    """
    require("split_parameters", "model", model, Layer)
    binary = set()
    for _, p, function in model.named_quantized():
        p.quantizer = function  # a user's layer may not have set it
        if weight_bits(function, len(p.shape), p.shape[-1]) == 1:
            binary.add(id(p))
    parameters = list(model.parameters())
    return (
        [p for p in parameters if id(p) in binary],
        [p for p in parameters if id(p) not in binary],
    )
