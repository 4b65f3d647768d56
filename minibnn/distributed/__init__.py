"""Several processes and machines, by MPI.

`Ranks` is the connection, and says how a batch is divided; ``fit(..., comm=Ranks("exact"))`` trains
on all of them. ``docs/guides/several-machines.md`` shows how to start one.

The files, from the bottom: `mpi` imports mpi4py; `watch` ends a process that waits too long for the
others; `tree` is the order of sums that does not depend on the number of ranks; `parts` divides a
batch; `cuda_aware` asks MPI whether it takes the arrays of a GPU; `transport` and `nccl` are ways
for arrays from rank to rank, of which `choice` takes one for a device; `sums` adds up; `replicas`
are copies of a model for the parts of one rank, which `turns` computes one after the other;
`deferred` is for quantizers that need a gradient of the whole batch; `alike` compares the ranks.
"""

from minibnn.distributed.alike import RanksDifferError
from minibnn.distributed.ranks import Ranks

__all__ = ["Ranks", "RanksDifferError"]
