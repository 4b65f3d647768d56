"""The line of confusions."""

from __future__ import annotations

import numpy as np

from minibnn.commands.confusions import PAIRS, worst_pairs


def test_names_stand_in_the_place_of_numbers():
    labels, predicted = np.array([0, 0, 1, 1, 1]), np.array([1, 1, 1, 0, 1])
    assert worst_pairs(labels, predicted, ("no", "yes")) == "no as yes (2 of 2), yes as no (1 of 3)"
    assert worst_pairs(labels, predicted) == "0 as 1 (2 of 2), 1 as 0 (1 of 3)"


def test_only_the_most_frequent_are_shown():
    labels = np.arange(10)
    assert worst_pairs(labels, labels[::-1]).count(" as ") == PAIRS
