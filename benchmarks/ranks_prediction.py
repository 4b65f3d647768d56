"""Predict how training on many ranks scales, from what `ranks.py` has measured on one machine.

    python benchmarks/ranks_prediction.py

A prediction, not a measurement. The time of a step in ``"sum"`` mode is

.. code-block:: text

    T(P, B) = (s + c B / P) / k  +  (m + 1) 2 ceil(log2 P) a  +  2 (P - 1) / P  N / b

for P ranks and a batch of B samples. s and c come from the measured times of steps with batches of
two sizes, T(1, B) = s + c B. A rank computes k times faster than the measured core. There are m
collectives of small arrays and one of N bytes of gradients, each at the cost of Rabenseifner's
algorithm for Allreduce, without its additions (Thakur, Rabenseifner and Gropp 2005, Int. J. High
Performance Computing Applications 19, section 4.5). a is the latency of a message, b the bandwidth.

It prints efficiencies: with the same batch on all numbers of ranks (strong), T(1, B) / (P T(P, B)),
and with B samples for each rank (weak), T(1, B) / T(P, P B).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from harness.environment import RESULTS
from ranks import BATCH, HALF, PLAIN, TWO

RANKS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True)
class Network:
    """A network between machines.

    Attributes:
        name: of it.
        latency: of a message, in seconds.
        bandwidth: in bytes a second, in each direction.
    """

    name: str
    latency: float
    bandwidth: float


# Ethernet: the rate of its name, and the middle of the 20 to 50 microseconds that are usual for a
# message by the kernel's TCP/IP. InfiniBand: the rate of an HDR100 link, and about a microsecond
# for a message by RDMA.
NETWORKS = (
    Network("10 Gb/s Ethernet", 35e-6, 10e9 / 8),
    Network("HDR100 InfiniBand", 1e-6, 100e9 / 8),
)


@dataclass(frozen=True)
class Step:
    """A training step, as measured.

    Attributes:
        fixed: seconds that do not depend on the batch: quantizing weights, the optimiser.
        per_sample: seconds for each sample.
        collectives: of small arrays.
        nbytes: of the gradients.
    """

    fixed: float
    per_sample: float
    collectives: float
    nbytes: float

    def seconds(self, ranks: int, batch: int, faster: float, network: Network) -> float:
        """T(P, B); see above."""
        compute = (self.fixed + self.per_sample * batch / ranks) / faster
        rounds = 2 * math.ceil(math.log2(ranks))
        sending = 2 * (ranks - 1) / ranks * self.nbytes / network.bandwidth
        return compute + (self.collectives + 1) * rounds * network.latency + sending


def measured() -> Step:
    """The step that `ranks.py` has measured."""
    table = pd.read_csv(RESULTS / "ranks.csv")
    counts: dict[str, Any] = json.loads((RESULTS / "ranks.json").read_text())["a_step"][TWO]
    seconds = table.groupby("way").seconds.median()
    per_sample = (seconds[PLAIN] - seconds[HALF]) / (BATCH - BATCH // 2)
    fixed = max(0.0, seconds[PLAIN] - per_sample * BATCH)
    return Step(fixed, per_sample, counts["collectives"] - 1, counts["bytes"])


def main() -> None:
    """Print the predicted efficiencies."""
    step = measured()
    print(
        f"measured: {1e3 * step.fixed:.1f} ms + {1e6 * step.per_sample:.0f} us a sample; "
        f"{step.collectives:.0f} small collectives and {step.nbytes / 1e6:.1f} MB a step"
    )
    columns = {}
    for network in NETWORKS:
        for faster in (1, 16):
            alone = step.seconds(1, BATCH, faster, network)
            for kind in ("strong", "weak"):
                columns[network.name, f"{faster} core" + "s" * (faster > 1), kind] = [
                    alone / (p * step.seconds(p, BATCH, faster, network))
                    if kind == "strong"
                    else alone / step.seconds(p, p * BATCH, faster, network)
                    for p in RANKS
                ]
    table = pd.DataFrame(columns, index=pd.Index(RANKS, name="ranks"))
    print(table.map("{:.2f}".format).to_string())


if __name__ == "__main__":
    main()
