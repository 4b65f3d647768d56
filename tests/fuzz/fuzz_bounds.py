"""The bounds on the outputs of packed models, on inputs by chance and by search.

For each kind of layer that rounds, small random networks are packed. Inputs are drawn from several
distributions, follow the sign of gradients, and climb by changes of one or two bytes. The largest
difference from the model in float64 is printed as a share of the bound. Inputs on which float64
may round a sign or a level to the other side are left out.

    python tests/fuzz/fuzz_bounds.py --inputs 100000 --networks 10 --seed 1
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from bound_search import KINDS, Search


def main() -> int:
    """Print a line for each kind; 1 if a bound is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="for each kind of layer")
    parser.add_argument("--networks", type=int, default=10, help="for each kind of layer")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    exceeded = False
    for kind in KINDS:
        began, shares, tried = time.perf_counter(), [], 0
        for seed in range(args.networks):
            search = Search(kind, np.random.default_rng([args.seed, seed]))
            found = []
            for by in (search.by_chance, search.by_gradient, search.by_climbing):
                search.share = 0.0
                by(args.inputs // args.networks // 3)
                found.append(search.share)
            shares.append(found)
            tried += search.tried
        most = np.max(shares, axis=0)
        exceeded |= bool(most.max() > 1)
        chance, gradient, climbing = (f"{share:.3f}" for share in most)
        print(
            f"{kind}: {tried:,} inputs; of the bound, {chance} by chance, {gradient} by gradient, "
            f"{climbing} by climbing; {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    return int(exceeded)


if __name__ == "__main__":
    sys.exit(main())
