"""The errors of a backend: what they say, and that they can be pickled."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from minibnn.backend.errors import DeviceError, NotFinite


@pytest.mark.parametrize("passing", [True, False])
def test_a_device_error(passing):
    error = DeviceError("no GPU\n  hint: buy one", "no GPU", passing=passing)
    assert str(error) == "no GPU\n  hint: buy one"
    assert (error.reason, error.passing) == ("no GPU", passing)
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.reason, again.passing) == (str(error), "no GPU", passing)


def test_a_write_that_was_refused_has_its_values():
    values = np.array([1.0, np.nan])
    error = NotFinite(values)
    assert error.array is values
    assert str(error) == "masked_write: expected finite values, got [ 1. nan]"
