"""Sums over the parts of a batch in an order that does not depend on who holds which part.

The parts are the leaves of a binary tree, and each node is the sum of the two below it:

.. code-block:: text

    ((p0 + p1) + (p2 + p3)) + ((p4 + p5) + (p6 + p7))

A rank adds up the nodes that lie inside its own parts. Whoever has all of these nodes can go on to
the root, with the same bits as if one rank had all parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from minibnn.backend import Array

Node: TypeAlias = tuple[int, int]  # its leaves, from the first to the one before the second number


def nodes_inside(first: int, stop: int, leaves: int) -> list[Node]:
    """The largest nodes of the tree over so many leaves that have only leaves first to stop - 1.

    >>> nodes_inside(0, 3, 8), nodes_inside(3, 8, 8)
    ([(0, 2), (2, 3)], [(3, 4), (4, 8)])
    """

    def inside(node: Node) -> list[Node]:
        if node[1] <= first or stop <= node[0]:
            return []
        if first <= node[0] and node[1] <= stop:
            return [node]
        return [found for child in _children(node) for found in inside(child)]

    return inside((0, leaves)) if leaves else []


def add_up(node: Node, known: Mapping[Node, Array]) -> Array:
    """The value of a node, from known ones below it or its own.

    >>> add_up((0, 3), {(0, 2): 1.0, (2, 3): 2.0})
    3.0
    """
    if node in known:
        return known[node]
    left, right = _children(node)
    return add_up(left, known) + add_up(right, known)


def _children(node: Node) -> tuple[Node, Node]:
    """The two nodes below; the left one has the largest power of two of leaves below all."""
    first, stop = node
    middle = first + (1 << ((stop - first - 1).bit_length() - 1))
    return (first, middle), (middle, stop)
