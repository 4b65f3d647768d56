"""Checks of targets that are numbers, or 0 and 1."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.losses.values import check_binary, check_finite, check_form, is_one, require_values


def test_targets_take_the_place_of_their_outputs(backend):
    y = backend.asarray(np.zeros((3, 1), np.float32))
    for dtype in (np.int8, np.uint64, np.float64, bool):
        t = require_values("who", y, backend.asarray(np.array([1, 0, 1], dtype)))
        assert (t.shape, t.dtype) == ((3, 1), np.float32)
        assert backend.to_host(t).ravel().tolist() == [1, 0, 1]


def test_targets_that_fit_are_not_copied():
    t = np.zeros((3, 2), np.float32)
    assert require_values("who", np.zeros((3, 2), np.float32), t) is t


def test_one_value_a_sample():
    assert is_one(np.zeros(3))
    assert is_one(np.zeros((3, 1)))
    assert not is_one(np.zeros((3, 2)))
    assert not is_one(np.zeros((3, 1, 1)))


def test_targets_are_as_many_as_the_outputs():
    check_form("who", np.zeros((1, 1)), np.zeros(5), 5)
    check_form("who", np.zeros((1, 4)), np.zeros((5, 4)), 5)
    for outputs, targets in (
        ((1, 4), (5,)), ((1, 4), (5, 1)), ((1, 1), (5, 4)), ((1,), (5, 1, 1)), ((1, 1), (6,)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"^who: expected targets of shape"):
            check_form("who", np.zeros(outputs), np.zeros(targets), 5)


def test_texts_are_no_numbers():
    for texts in (np.array(["1.5", "2"]), np.array(["a", "b"], object), np.array([b"1", b"2"])):
        with pytest.raises(TypeError, match=r"astype\('float32'\); if they are names, names, lab"):
            check_form("who", np.zeros((1, 1)), texts, 2)
    with pytest.raises(TypeError, match=r"got datetime64\[D\]; .*astype\('float32'\)$"):
        check_form("who", np.zeros((1, 1)), np.array(["2020-01-01"] * 2, "datetime64[D]"), 2)


def test_finite_targets(backend):
    check_finite("who", backend.asarray(np.arange(3)))
    check_finite("who", backend.asarray(np.arange(3.0)))
    t = np.zeros((3, 2))
    t[2, 1] = -np.inf
    with pytest.raises(ValueError, match=r"who: .* in 1 samples, first in number 2; leave these"):
        check_finite("who", backend.asarray(t))


def test_binary_targets(backend):
    def check(shape, targets, look=True):
        t = backend.asarray(np.array(targets))
        check_binary("who", backend.asarray(np.zeros(shape)), t, len(t), look=look)

    for right in ([0, 1], [True, False], [0.25, 1.0], [[0], [1]]):
        check((1, 1), right)
        check((1,), right)
    check((1, 3), [[0, 1, 1], [0.5, 0, 0]])
    check((1, 1), [0, 7], look=False)
    with pytest.raises(ValueError, match="for 8 classes use LogitCrossEntropy"):
        check((1, 1), [0, 7, 1])
    with pytest.raises(ValueError, match="got 0 to 7; for labels 0 and 7 use labels == 7"):
        check((1, 1), [0, 7])
    with pytest.raises(ValueError, match="got 0 to 7; for numbers that are no probabilities"):
        check((1, 2), [[0, 7], [1, 1]])
