"""Compare pieces of a recipe over seeds; rank only differences beyond the noise.

The files, from the bottom: `grid` has what is compared, and one run of it; `worker` trains runs in
a process of its own, `jobs` and `mpi` have several of these; `finished` keeps the rows of
finished runs in a file; `sweep` is `compare`, on top of them. `command` prints what `ranking` and
`picture` make of the rows.
"""

from minibnn.comparison.grid import Entry, parse_piece
from minibnn.comparison.mpi import mpi_jobs
from minibnn.comparison.ranking import rank
from minibnn.comparison.sweep import FailedRunsError, compare

__all__ = ["Entry", "FailedRunsError", "compare", "mpi_jobs", "parse_piece", "rank"]
