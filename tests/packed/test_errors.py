"""The exceptions of packing: users catch them by their public names, or as ValueError."""

from __future__ import annotations

import pytest

import minibnn
from minibnn.packed.errors import PackedFileError, PackError


@pytest.mark.parametrize("error", [PackError, PackedFileError])
def test_errors_are_public_value_errors(error):
    assert issubclass(error, ValueError)
    assert getattr(minibnn, error.__name__) is error
