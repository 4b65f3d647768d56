"""Compare quantizers and optimisers over seeds; rank only differences beyond the noise."""

from minibnn.compare.grid import Entry, compare, parse_piece
from minibnn.compare.ranking import rank

__all__ = ["Entry", "compare", "parse_piece", "rank"]
