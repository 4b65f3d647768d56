"""The order of sums that does not depend on who holds which part."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minibnn.distributed.tree import add_up, nodes_inside

LEAVES = range(1, 18)


def leaves(count):
    return {(i, i + 1): f"p{i}" for i in range(count)}


class Text(str):
    """Adding texts shows the order of additions."""

    def __add__(self, other):
        return Text(f"({self}+{other})")


@pytest.mark.parametrize(
    ("count", "order"),
    [
        (1, "p0"),
        (2, "(p0+p1)"),
        (3, "((p0+p1)+p2)"),
        (5, "(((p0+p1)+(p2+p3))+p4)"),
        (8, "(((p0+p1)+(p2+p3))+((p4+p5)+(p6+p7)))"),
    ],
)
def test_the_order_of_additions(count, order):
    assert add_up((0, count), {k: Text(v) for k, v in leaves(count).items()}) == order


@pytest.mark.parametrize("count", LEAVES)
def test_nodes_inside_are_the_leaves_of_a_range_each_once(count):
    for first, stop in itertools.combinations_with_replacement(range(count + 1), 2):
        nodes = nodes_inside(first, stop, count)
        assert [leaf for a, b in nodes for leaf in range(a, b)] == list(range(first, stop))


@pytest.mark.parametrize("count", LEAVES)
def test_any_division_among_ranks_gives_the_bits_of_one(count, rng):
    values = {k: rng.standard_normal(3).astype(np.float32) for k in leaves(count)}
    whole = add_up((0, count), values)
    for ranks in range(1, count + 2):
        ends = [r * count // ranks for r in range(ranks + 1)]
        known = {
            node: add_up(node, values)
            for first, stop in itertools.pairwise(ends)
            for node in nodes_inside(first, stop, count)
        }
        assert add_up((0, count), known).tobytes() == whole.tobytes()


def test_the_order_matters_to_these_sums(rng):
    """Otherwise the test above could not fail."""
    values = [rng.standard_normal(3).astype(np.float32) for _ in range(8)]
    in_order = values[0]
    for value in values[1:]:
        in_order = in_order + value
    known = {(i, i + 1): value for i, value in enumerate(values)}
    assert add_up((0, 8), known).tobytes() != in_order.tobytes()


def test_a_rank_with_a_share_of_a_power_of_two_has_one_node():
    for ranks in (1, 2, 4, 8):
        for rank in range(ranks):
            first, stop = (r * 8 // ranks for r in (rank, rank + 1))
            assert nodes_inside(first, stop, 8) == [(first, stop)]


def test_there_are_no_nodes_without_leaves():
    assert nodes_inside(0, 0, 0) == []
    assert nodes_inside(2, 2, 3) == []


def test_a_node_that_is_known_is_not_computed():
    assert add_up((0, 4), {(0, 4): 7}) == 7
