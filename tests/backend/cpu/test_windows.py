"""The windows that C is given."""

from __future__ import annotations

from minibnn.backend.cpu.windows import as_given
from minibnn.windows import Windows


def test_numbers_stand_in_the_order_of_the_c_structure():
    windows = Windows((5, 6), stride=(7, 8), dilation=(9, 10))
    assert list(as_given(windows, (1, 2, 3, 4), (11, 12))) == list(range(1, 13))
