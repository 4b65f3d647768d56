"""A fair comparison of quantizers and optimisers: a grid over seeds, ranked only beyond noise."""

from minibnn.compare.grid import Entry, compare, parse_piece
from minibnn.compare.ranking import rank

__all__ = ["Entry", "compare", "parse_piece", "rank"]
