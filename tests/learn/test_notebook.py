"""`check` in a notebook."""

from __future__ import annotations

import numpy as np
import pytest
from learners import WRONG_SIGN

from minibnn.learn import check


def logistic(z):
    return 1 / (1 + np.exp(-z))


def logit(p):
    return np.log((1 - p) / p)


def test_functions_by_name():
    result = check("1.2", logit, logistic)
    assert [line.ok for line in result.lines] == [True, False]
    assert result.mistakes == ["the odds the wrong way round"]
    assert "<table" in result._repr_html_()


def test_what_is_not_given_is_to_do():
    result = check("logistic", logistic)
    assert [line.done for line in result.lines] == [True, False]


def test_one_function_alone_may_have_any_name():
    def mine(dz, x, W):
        return dz @ W, dz.T @ x, dz.sum(axis=0)

    assert check("2.2", mine)


def test_holes_are_seen():
    def logit(p):
        return ...

    assert "`...` is left in line 2." in str(check("1.2", logit))


def test_a_file(tmp_path):
    path = tmp_path / "anything.py"
    path.write_text(WRONG_SIGN, encoding="utf-8")
    assert check("1.2", path).mistakes == ["exp(z) in place of exp(-z)"]
    assert check("1.2", str(path)).mistakes == ["exp(z) in place of exp(-z)"]


def test_anything_else_is_refused():
    with pytest.raises(TypeError, match="check: expected functions or one path, got 3"):
        check("1.2", 3)
    with pytest.raises(ValueError, match=r"expected an exercise such as 1\.2, got '99'"):
        check("99", logit)
