"""Errors about data: their builtin types, and copies of them."""

import copy
import pickle

import pytest

from minibnn.data import DataError, DatasetMismatchError, DatasetNotFoundError, IdxFormatError


@pytest.mark.parametrize(
    "error",
    [
        IdxFormatError("a.idx", 4, "this", "that", "do so"),
        DatasetNotFoundError("not there"),
        DatasetMismatchError("60000 and 10000"),
    ],
)
def test_errors_can_be_pickled_and_copied(error):
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(other) is type(error)
        assert str(other) == str(error)
        assert vars(other) == vars(error)


def test_errors_are_of_the_builtin_types_too():
    assert issubclass(DatasetNotFoundError, FileNotFoundError)
    assert issubclass(DatasetMismatchError, ValueError)
    assert issubclass(DatasetNotFoundError, DataError)
    assert issubclass(DatasetMismatchError, DataError)


def test_the_hint_still_has_its_old_name():
    error = IdxFormatError("a.idx", 2, "an element type", "code 0a", "is this an IDX file?")
    with pytest.warns(DeprecationWarning, match="IdxFormatError.mend is now IdxFormatError.hint"):
        assert error.mend == error.hint
    assert pickle.loads(pickle.dumps(error)).hint == error.hint
