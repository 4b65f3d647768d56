"""Compare pieces of a recipe over seeds; rank only differences beyond the noise."""

from minibnn.comparison.grid import Entry, compare, parse_piece
from minibnn.comparison.ranking import rank

__all__ = ["Entry", "compare", "parse_piece", "rank"]
