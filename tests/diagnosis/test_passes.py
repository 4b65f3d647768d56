"""Only the layer that spoils the values is blamed."""

from __future__ import annotations

import numpy as np
from diagnosed_models import diagnosed, sound

from minibnn import Sequential
from minibnn.diagnosis.passes import percent


def test_what_a_container_does_is_not_blamed_on_the_next_layer(backend):
    class Spoiling(Sequential):
        def forward(self, x, *, train=False):
            return super().forward(x * np.float32("inf"), train=train)

    report = diagnosed(Spoiling(*sound()).initialize(3).to(backend))
    (finding,) = report.findings
    assert (finding.kind, finding.where) == ("non-finite", "")
    assert percent(finding.figure) == "100%"
    assert "100% of the losses are nan or inf" in str(report)
