"""Damaged copies of the compiled kernels: each is refused with a warning, and none is loaded.

A library that lacks what its own header promises ends the process when it is loaded or called, so
this is to be run in a process of its own.

    python tests/fuzz/fuzz_kernels.py --rounds 100000 --seed 1
"""

from __future__ import annotations

import argparse
import logging
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator

import numpy as np

from minibnn.backend.cpu import CompiledBackend
from minibnn.backend.cpu import c_kernels as compiled
from minibnn.functions.signs import binary_sign

PAGE = 4096


def damage(data: bytes, rng: np.random.Generator) -> bytes:
    """The bytes with one error."""
    kind, n = rng.integers(6), len(data)
    begin, end = sorted(int(i) for i in rng.integers(0, n + 1, 2))
    if kind == 0:
        return data[:begin]
    if kind == 1:  # pages that were not written to the disk
        begin, end = begin // PAGE * PAGE, end // PAGE * PAGE + PAGE
        return data[:begin] + bytes(min(end, n) - begin) + data[end:]
    if kind == 2:
        at = min(begin, n - 1)
        return data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
    if kind == 3:
        return data + rng.bytes(int(rng.integers(1, 2 * PAGE)))
    if kind == 4:
        return data[:begin] + data[end:]
    return data[:begin] + rng.bytes(end - begin) + data[end:]


def damaged(data: bytes, step: int, rounds: int, seed: int) -> Iterator[bytes]:
    """Cuts at every `step` bytes and beside every page, and some damages of other kinds."""
    cuts = {*range(0, len(data), step), *(p + d for p in range(PAGE, len(data), PAGE) for d in (-1, 0, 1))}  # fmt: skip
    for length in sorted(cuts):
        yield data[: min(length, len(data) - 1)]
    for i in range(rounds):
        yield damage(data, np.random.default_rng([seed, i]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=int, default=61, help="bytes from one cut to the next")
    given = parser.parse_args()
    said: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("minibnn").addHandler(handler)
    logging.getLogger("minibnn").propagate = False
    with open(compiled.LIBRARY, "rb") as file:
        whole = file.read()
    files = wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        seal = os.path.splitext(compiled.LIBRARY)[0] + ".seal"
        if os.path.exists(seal):
            shutil.copy(seal, folder)
        compiled.LIBRARY = os.path.join(folder, os.path.basename(compiled.LIBRARY))
        # The complete file last: once a path is loaded, it stays loaded.
        for data in (*damaged(whole, given.step, given.rounds, given.seed), whole):
            if os.path.exists(compiled.LIBRARY):
                os.unlink(compiled.LIBRARY)
            with open(compiled.LIBRARY, "wb") as file:
                file.write(data)
            before = len(said)
            library = compiled.open_library()
            if library is not None:
                CompiledBackend(library).run(binary_sign, np.zeros(2**14, np.float32))
            right = (
                library is not None if data == whole else (library is None and len(said) > before)
            )
            files, wrong = files + 1, wrong + (not right)
    print(f"{files} libraries, {files - 1} of them damaged: {wrong} not as they should be")
    return 1 if wrong or "is left out" not in said[0] else 0


if __name__ == "__main__":
    sys.exit(main())
