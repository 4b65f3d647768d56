"""Loss: a backward needs a forward."""

from __future__ import annotations

import pytest
from loss_cases import LABELS, LOGITS, every_loss


@every_loss
def test_backward_needs_forward(loss):
    loss.saved = None
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()
    loss.forward(LOGITS, LABELS)
    loss.backward()
    with pytest.raises(RuntimeError, match="backward needs a forward before it"):
        loss.backward()
