"""Which samples go into the second part; test_samples.py splits samples."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from minibnn.data.splits import chosen, chosen_groups

FRACTIONS = st.floats(0.01, 0.99)
SEEDS = st.integers(0, 2**32)


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=2, max_size=60), FRACTIONS, SEEDS)
def test_each_class_has_its_share(labels, fraction, seed):
    labels = np.array(labels)
    mask = chosen("x", labels, fraction, np.random.default_rng(seed))
    wanted = min(max(1, round(fraction * len(labels))), len(labels) - 1)
    assert 0 < mask.sum() <= wanted
    counts = np.bincount(labels)
    taken = np.bincount(labels[mask], minlength=len(counts))
    if counts.max() > 1:
        assert (taken < np.maximum(counts, 1)).all(), "each class keeps a sample for training"
        assert (taken >= np.floor(fraction * counts) * (counts > 1) - (counts == taken)).all()
    assert np.array_equal(mask, chosen("x", labels, fraction, np.random.default_rng(seed)))


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9)), min_size=2, max_size=60)
    .filter(lambda rows: len({group for _, group in rows}) > 1),
    FRACTIONS,
    SEEDS,
)  # fmt: skip
def test_groups_stay_together(rows, fraction, seed):
    labels, groups = np.array(rows).T
    mask = chosen_groups("x", labels, groups, fraction, np.random.default_rng(seed))
    assert mask.any()
    assert not mask.all()
    assert not set(groups[mask]) & set(groups[~mask])


def test_small_classes_are_shared_out():
    labels = np.repeat([0, 1, 2, 3], [97, 1, 1, 1])
    mask = chosen("x", labels, 0.2, np.random.default_rng(0))
    assert (mask.sum(), mask[97:].sum()) == (20, 0)
    mask = chosen("x", np.arange(5), 0.2, np.random.default_rng(0))
    assert mask.sum() == 1


def test_groups_of_any_order_come_near_to_the_share():
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 40, 1000)
    labels = (groups % 4 == 0).astype(int)
    for seed in range(5):
        mask = chosen_groups("x", labels, groups, 0.25, np.random.default_rng(seed))
        assert abs(mask.mean() - 0.25) < 0.03
        assert abs(labels[mask].mean() - labels.mean()) < 0.05
