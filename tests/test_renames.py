"""Old names answer, with a warning that points at the caller's line."""

from __future__ import annotations

import warnings

import pytest

from minibnn import Flatten
from minibnn.renames import moved, renamed


class Finding:
    hint = "of the class"
    advice = renamed("hint", gone_in="0.9")

    def solve(self, n):
        return n + 1

    answer = renamed("solve", gone_in="0.9")


class Special(Finding):
    pass


def test_an_old_name_is_read_and_set():
    finding = Special()
    message = r"^Special\.advice is now Special\.hint, and the old name goes in minibnn 0\.9$"
    with pytest.warns(DeprecationWarning, match=message) as said:
        finding.advice = "mine"
    assert said[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=message) as said:
        assert finding.advice == finding.hint == "mine"
    assert said[0].filename == __file__
    with pytest.warns(DeprecationWarning, match=message):
        assert Special.advice == "of the class"


def test_an_old_methods_name_gives_the_method():
    with pytest.warns(DeprecationWarning, match=r"Finding\.answer is now Finding\.solve"):
        assert Finding().answer(2) == 3


def test_the_new_name_gives_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Finding().hint == Finding.hint == "of the class"


def test_a_method_that_is_a_function_now():
    class Old(Flatten):
        output_bits = moved("output_bits", "minibnn.inspection.costs", gone_in="0.9")

    message = (
        r"^Old\.output_bits is now minibnn\.inspection\.costs\.output_bits\(layer, \.\.\.\), and "
        r"the old name goes in minibnn 0\.9$"
    )
    with pytest.warns(DeprecationWarning, match=message) as said:
        assert Old().output_bits(5) == 5
    assert said[0].filename == __file__
