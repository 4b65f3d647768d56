"""Change packed files anywhere, with a right digest: each is refused, or is a model that runs.

    python tests/fuzz/fuzz_packed_files.py --rounds 10000

Files of both versions, with and without codes and names, and random programs on integers.
`tests/packed/file/test_load.py` runs a few rounds.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from coded_tables import FRONTS, coded, named
from integer_files import certified, every_kind
from integer_programs import random_program
from packed_files import changed, on_images, small

from minibnn import PackedFileError, pack
from minibnn.packed.file import container
from minibnn.packed.file.load import packed_model
from minibnn.packed.file.save import metadata_of

MEMORY = 2**23  # bytes that it takes to load such a file
SECONDS = 5
VALUES = [
    None, True, False, 0, -1, 1, 2, 3, 9, 12, 255, 256, 2**15, 2**31, 2**62, 2**63, 10**400, 0.5, 1e308,
    float("nan"), float("inf"), "", "x", "code", "dense", "conv", "pool", "threshold", "scores",
    "binarize", "uint8", "int8", "int16", "float32", "float64", "1", "2", [], [1], [3], [12], [0, 0],
    [2, 3], [2**20, 2**20], [2**40] * 3, [1] * 9, [[0, 0], [1, 1]], {}, {"kind": "code"}, [None],
    "integer_conv", "integer_dense", "sum_pool", "levels", "scale", "slope", "add", "concat", 15, 48, -128,
    2**16, 2**52, [-1], [0], [0, 2], [1, 2], [4, 4], [3, 1], [0] * 1001, ["a"], ["a", "b"], ["a", "b", "c"], ["a", "a", "b"], ["a", 1, "b"], ["\ud800", "b", "c"],
]  # fmt: skip
FIELDS = [
    "kind", "in_shape", "out_shape", "dtype", "input_dtype", "features", "classes", "stages",
    "falling", "threshold", "pixels", "stride", "dilation", "border", "border_value", "shift", "sources", "groups",
    "levels", "parts", "takes", "size", "mask", "x",
]  # fmt: skip
DTYPES = ["uint8", "int8", "int16", "int32", "int64", "float32", "float64"]


def originals() -> list[bytes]:
    packed = [pack(small(norm=n), (10,)) for n in (0, 1)]
    packed += [pack(on_images(n), (8, 9)) for n in ("two", "pixel padding 0")]
    packed += [pack(small(), (10,), class_names=list("abcd"))]
    packed += [make(name) for name in FRONTS for make in (named, lambda n: pack(coded(n)))]
    packed += [
        every_kind(),
        *(certified(random_program(np.random.default_rng([9, i]))) for i in range(20)),
    ]
    return [container.write(metadata_of(p, {"a": 1}), p.arrays()) for p in packed]


def places(value, path=()):
    """All paths in a JSON value."""
    yield path
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            yield from places(inner, (*path, key))


def change_json(value, rng):
    """The value with one part replaced, left out, added or doubled."""
    found = [path for path in places(value) if path]
    if not found:
        return value
    path = found[rng.integers(len(found))]
    holder = value = copy.deepcopy(value)
    for key in path[:-1]:
        holder = holder[key]
    new = copy.deepcopy(VALUES[rng.integers(len(VALUES))])
    what = rng.integers(5)
    if what == 0:
        del holder[path[-1]]
    elif what == 1 and isinstance(holder, dict):
        holder[FIELDS[rng.integers(len(FIELDS))]] = new
    elif what == 2 and isinstance(holder, list):
        holder.insert(path[-1], copy.deepcopy(holder[path[-1]]))
    elif what == 3 and type(holder[path[-1]]) is int:
        holder[path[-1]] += int(rng.integers(-2, 3))
    else:
        holder[path[-1]] = new
    return value


def change_array(arrays, rng):
    """Other numbers, another dtype, another length, another name, or none."""
    name = sorted(arrays)[rng.integers(len(arrays))]
    array = arrays[name].copy()
    what = rng.integers(6)
    if what == 0 and array.size:
        data = array.view(np.uint8)
        for at in rng.integers(len(data), size=int(rng.integers(1, 4))):
            data[at] ^= 1 << rng.integers(8)
        arrays[name] = array
    elif what == 1:
        with np.errstate(all="ignore"):
            arrays[name] = array.astype(DTYPES[rng.integers(len(DTYPES))])
    elif what == 2:
        arrays[name] = np.resize(array, max(0, len(array) + int(rng.integers(-2, 3))))
    elif what == 3:
        other = [
            "0.mask",
            "2.mask",
            "3.A",
            "4.weights",
            "3.thresholds",
            "0.low",
            "0.high",
            "0.feature",
            "0.falling",
            "1.low",
            "2.falling",
        ]
        arrays[other[rng.integers(len(other))]] = arrays.pop(name)
    elif what == 4:
        del arrays[name]
    else:
        special = [
            0,
            -1,
            1,
            2,
            127,
            -128,
            2**15 - 1,
            -(2**15),
            2**31,
            2**52,
            -(2**62),
            np.nan,
            np.inf,
            -np.inf,
        ]
        with np.errstate(all="ignore"):
            array[...] = np.array(special)[rng.integers(len(special))].astype(array.dtype)
        arrays[name] = array


def mutated(data: bytes, rng) -> bytes:
    """A file with one to three changes under a right digest, or a damaged one."""
    if rng.random() < 0.1:
        damaged = bytearray(data)
        for at in rng.integers(len(data), size=int(rng.integers(1, 4))):
            damaged[at] ^= 1 << rng.integers(8)
        return bytes(damaged[: len(data) - int(rng.integers(2) * rng.integers(len(data)))])

    def change(architecture, arrays, certificate, metadata):
        for _ in range(rng.integers(1, 4)):
            what = rng.random()
            if what < 0.55:
                metadata["architecture"] = _text(
                    change_json(json.loads(metadata["architecture"]), rng)
                )
            elif what < 0.9 and arrays:
                change_array(arrays, rng)
            elif what < 0.95:
                metadata["certificate"] = _text(
                    change_json(json.loads(metadata["certificate"]), rng)
                )
            else:
                metadata["format_version"] = str(rng.integers(1, 4))

    return changed(data, change)


def _text(value) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def use(data: bytes) -> bool:
    """Load a file and run it; whether it was a model."""
    start = time.process_time()
    tracemalloc.start()
    try:
        packed = packed_model(container.read(data, "file"))
    except PackedFileError:
        packed = None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak:,} bytes to load it"
    if packed is not None:
        x = np.zeros((3, *packed.input_shape), packed.input_dtype)
        if packed.input_dtype == "float32":
            x[1], x[2] = np.nan, np.inf
        labels = packed.predict(x)
        packed.predict_scores(x)
        str(packed.summary())
        if packed.class_names is not None:
            assert packed.predict(x, names=True).tolist() == [packed.class_names[n] for n in labels]
        again = container.write(metadata_of(packed, packed.training), packed.arrays())
        assert packed_model(container.read(again, "file")).sha256 == packed.sha256
    taken = time.process_time() - start
    assert taken < SECONDS, f"{taken:.1f} s"
    return packed is not None


def run(rounds: int, seed: int = 0) -> int:
    """Change so many files; how many of them load."""
    files, loaded = originals(), 0
    for data in files:
        assert use(data)
    for i in range(rounds):
        rng = np.random.default_rng([seed, i])
        try:
            loaded += use(mutated(files[rng.integers(len(files))], rng))
        except BaseException:
            print(f"seed {seed}, round {i}")
            raise
    return loaded


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print(f"{given.rounds:,} files, {run(given.rounds, given.seed):,} of them load")
