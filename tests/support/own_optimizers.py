"""An optimiser as a user may write it: from `Optimizer`, without a flat store and without state."""

from __future__ import annotations

from minibnn.optimizers import Optimizer


class WithoutState(Optimizer):
    """Gradient descent whose rate falls with the number of steps, which no state has."""

    def __init__(self, parameters, learning_rate=0.1):
        self.ours, self.learning_rate, self.steps = list(parameters), learning_rate, 0

    @property
    def parameters(self):
        return self.ours

    def require_intact(self):
        pass

    require_gradients = require_finite_gradients = require_intact

    def step(self):
        self.steps += 1
        for p in self.ours:
            p.data -= self.learning_rate / self.steps * p.grad
