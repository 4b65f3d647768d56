"""The figures about a packed model on samples."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from minibnn.backend import CPU
from minibnn.commands.measured import measured_line, measures


def numbers(outputs, y):
    packed = SimpleNamespace(logits=lambda x: np.array(outputs, np.float32))
    samples = SimpleNamespace(class_names=None, y=np.array(y, np.float32))
    return measures(packed, samples, None, CPU)


def test_numbers_by_hand():
    found = numbers([[1.0], [2.0], [6.0]], [1.0, 3.0, 5.0])
    assert found == {"r2": pytest.approx(1 - 2 / 8), "mae": pytest.approx(2 / 3)}
    assert measured_line(found) == "R2 0.7500, MAE 0.6667"


def test_equal_targets_have_no_variance_to_explain():
    assert numbers([[1.0], [2.0]], [1.0, 1.0])["r2"] == 0.0


def test_several_numbers_count_together():
    found = numbers([[1, 0], [2, 0]], [[1, 1], [2, -1]])
    assert found == {"r2": pytest.approx(1 - 2 / 2.5), "mae": 0.5}


def test_classes():
    packed = SimpleNamespace(predict=lambda x: np.array([0, 1, 1, 1]))
    samples = SimpleNamespace(class_names=("a", "b"), y=np.array([0, 1, 1, 0]))
    found = measures(packed, samples, None, CPU)
    assert found == {"accuracy": 0.75}
    assert measured_line(found) == "accuracy 0.7500"
