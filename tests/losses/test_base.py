"""Loss: a backward needs a forward."""

from __future__ import annotations

import pytest
from loss_cases import LABELS, LOGITS, every_loss

from minibnn import Loss


@every_loss
def test_backward_needs_forward(loss):
    loss.saved = None
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()
    loss.forward(LOGITS, LABELS)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()


def test_a_loss_of_ones_own():
    class Mean(Loss):
        def forward(self, logits, labels):
            self.saved = (logits,)
            return logits.mean()

        def backward(self):
            (logits,) = self.take_saved()
            return logits * 0 + 1 / logits.size

    loss = Mean()
    assert repr(loss) == "Mean()"
    assert loss.forward(LOGITS, LABELS) == LOGITS.mean()
    assert loss.backward().sum() == pytest.approx(1)
    with pytest.raises(RuntimeError, match="Mean: backward needs a forward before it"):
        loss.backward()
    with pytest.raises(TypeError, match="abstract"):
        Loss()
