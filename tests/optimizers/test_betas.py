"""The settings that the Adam family shares: two decays and epsilon."""

from __future__ import annotations

import numpy as np
import pytest
from optimizer_cases import parameter

from minibnn import Adam, AdaMax, ShiftAdaMax
from minibnn.optimizers.betas import check_betas


def test_settings_become_numbers():
    assert check_betas("Adam", np.float64(0.5), 0, 1) == (0.5, 0.0, 1.0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: Adam(p, beta1=1.0), r"Adam: expected beta1, beta2 in \[0, 1\), got 1\.0, 0\.999"),
        (lambda p: Adam(p, epsilon=0), "Adam: expected a positive epsilon, got 0"),
        (lambda p: AdaMax(p, beta2=1.0), r"AdaMax: expected beta1, beta2 in \[0, 1\), got 0\.9, 1"),
        (lambda p: ShiftAdaMax(p, epsilon=-1.0), "ShiftAdaMax: expected a positive epsilon, got -1"),
    ],
)  # fmt: skip
def test_settings_that_make_no_sense(make, message):
    with pytest.raises(ValueError, match=message):
        make([parameter([1.0])])
