"""Which bits of a training stay the same under which conditions? docs/reproducibility.md explains.

    python benchmarks/reproducible.py                      # the bundled sample: two minutes
    MINIBNN_DATA=... python benchmarks/reproducible.py     # MNIST; writes benchmarks/results
    python benchmarks/reproducible.py --python OTHER/bin/python    # also with another NumPy

Trains five small networks for one epoch, once for each condition, in a process of its own: another
number of BLAS threads, kernels for other processors, without C, with another NumPy, and so on. Each
condition changes one thing; the rest is as in the first row. The tables have a letter for each
result. In one column, equal letters mean equal bytes: A is the result of the first row. A number
after the letter is the difference in test accuracy, in percentage points. "=" means that the
history, which has losses and accuracies, is equal although the parameters differ.

The exit status is 1 if something differs that docs/reproducibility.md says is always equal. A
condition that cannot be tested on this machine is listed as "not run", with the reason.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_letters
from typing import Any

import numpy as np

from harness.digests import NETWORKS
from harness.environment import RESULTS, ROUNDING, environment, machine, write_whole
from minibnn.commands.shared import at_least

ROOT = Path(__file__).parents[1]
REFERENCE = "one thread"
IMAGES = 20_000
SAVED = "modern"  # the network whose values every condition evaluates and packs, if it is trained
# OpenBLAS's names of kernels, and what the processor must have.
KERNELS = {"Prescott": "pni", "Nehalem": "sse4_2", "Sandybridge": "avx", "Haswell": "avx2",
           "Zen": "avx2", "SkylakeX": "avx512f"}  # fmt: skip
NO_FMA = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-FMA,-FMA4"
# Equal under every condition.
EVERYWHERE = ("drawn", "packed file", "packed scores")
EXACT = ("of 2,700 signs", "sqrt, quotient", "adam", "sign and its gradient", "rescaled bytes")
Found = dict[str, Any]


@dataclass(frozen=True)
class Condition:
    """What differs from the reference, and whether the results must be equal nevertheless."""

    name: str
    variables: dict[str, str] = field(default_factory=dict)  # an empty value removes one
    settings: dict[str, Any] = field(default_factory=dict)
    equal: bool = False
    elsewhere: bool = False  # in another folder
    one_core: bool = False
    python: Path = Path(sys.executable)
    missing: str = ""  # why it cannot be tested here


def conditions(pythons: list[Path], scratch: Path) -> list[Condition]:
    """All of them, the reference first."""
    flags, kernel = _flags(), machine()["blas"].split()[2:]
    core = importlib.import_module("numpy._core._multiarray_umath")  # which has no public name
    level = [name for name in core.__cpu_dispatch__ if core.__cpu_features__.get(name)]
    avx512 = [name for name in level if name.startswith("AVX512") or name == "X86_V4"]
    no_levels = "" if level else "NumPy uses no such instructions"
    without = {"MINIBNN_COMPILED": "0"}
    strange = {"PYTHONHASHSEED": "1", "LC_ALL": "C", "TZ": "Asia/Kathmandu"}
    plain = {"NPY_DISABLE_CPU_FEATURES": " ".join(level)}
    sse2, why = _kernels_for_sse2(scratch)
    c = Condition
    return [
        c(REFERENCE),
        c("again", equal=True),
        c("another folder, hash seed, locale, time zone", strange, equal=True, elsewhere=True),
        c("after another training in the process", settings={"before": "noise"}, equal=True),
        c("two threads", {"OPENBLAS_NUM_THREADS": "2"}),
        c("as many threads as cores", {"OPENBLAS_NUM_THREADS": ""}),
        c("the same, allowed on one core", {"OPENBLAS_NUM_THREADS": ""}, one_core=True,
          missing="" if hasattr(os, "sched_setaffinity") else "no affinity on this system"),
        *(
            c(f"OPENBLAS_CORETYPE={name}", {"OPENBLAS_CORETYPE": name},
              missing="" if kernel and flag in flags else "not on this processor, or no OpenBLAS")
            for name, flag in KERNELS.items()
        ),
        c("NumPy without AVX-512", {"NPY_DISABLE_CPU_FEATURES": " ".join(avx512)},
          missing="" if avx512 else "NumPy uses no AVX-512 here"),
        c("NumPy with its least instructions", plain, missing=no_levels),
        c("C library without AVX2 and FMA", {"GLIBC_TUNABLES": NO_FMA},
          missing="" if "fma" in flags else "no FMA"),
        c("C kernels that are no products for SSE2 only", settings={"kernels": sse2}, equal=True,
          missing=why),
        c("products on bits with AVX2", {"MINIBNN_CPU": "avx2"},
          missing="" if "avx2" in _flags() else "no AVX2"),
        c("products on bits with SSE2", {"MINIBNN_CPU": "portable"}),
        c("without C kernels", without),
        c("the same, NumPy with its least instructions", without | plain, missing=no_levels),
        c("stand-in for a GPU", settings={"device": "strict"}),
        c("evaluated in batches of 5,000", settings={"batch": 5000, "networks": []}),
        c("another seed", settings={"seed": 1}),
        *(
            c(_versions(python) + f", {core}" * bool(core), more, python=python)
            for python in pythons
            for core, more in _kernel_of(kernel)
        ),
    ]  # fmt: skip


def _kernel_of(kernel: list[str]) -> list[tuple[str, dict[str, str]]]:
    """For another BLAS: its own choice of kernels, then the reference's, if they have a name."""
    same = [(f"OPENBLAS_CORETYPE={name}", {"OPENBLAS_CORETYPE": name}) for name in kernel]
    return [("", {}), *same]


def _flags() -> set[str]:
    """What the processor can do, by the names of Linux."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def _kernels_for_sse2(scratch: Path) -> tuple[str | None, str]:
    """Compile the C kernels for the oldest 64-bit processors; return the file, or why not."""
    if "sse2" not in _flags():
        return None, "no SSE2"
    sys.path.append(str(ROOT / "tools"))
    try:
        from build_kernels import compile_kernels
    except ImportError:
        return None, "pip install hatchling"
    for source in (ROOT / "minibnn" / "backend" / "cpu").glob("*.[ch]"):
        (scratch / source.name).write_bytes(source.read_bytes())
    before = os.environ.get("CC")
    os.environ["CC"] = f"{before or 'cc'} '-Dtarget_clones(...)=unused'"  # one version, the default
    try:
        problem = compile_kernels(scratch)
    finally:
        os.environ.pop("CC")
        os.environ |= {} if before is None else {"CC": before}
    return (None, "no C compiler") if problem else (str(scratch / "_kernels.so"), "")


def _versions(python: Path) -> str:
    """Python, NumPy and BLAS of another interpreter."""
    code = (
        "import platform, numpy; b = numpy.show_config(mode='dicts')['Build Dependencies']['blas'];"
        'print(f"Python {platform.python_version()}, NumPy {numpy.__version__}, BLAS "\n'
        "      f\"{b['version']}\")"
    )
    done = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"--python: expected a Python with NumPy, got {python}\n{done.stderr}")
    return done.stdout.strip()


def run(condition: Condition, folder: Path, settings: Found) -> Found:
    """Train under a condition, in a process of its own; return its digests, or why not."""
    folder.mkdir()
    variables = {
        k: v for k, v in os.environ.items() if not k.startswith((*ROUNDING, "GLIBC_", "PYTHON"))
    }
    variables |= {"OPENBLAS_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "PYTHONPATH": str(ROOT)}
    if "MINIBNN_DATA" in variables:
        variables["MINIBNN_DATA"] = str(Path(variables["MINIBNN_DATA"]).resolve())
    variables |= condition.variables
    variables = {k: v for k, v in variables.items() if v}
    start = ROOT / "benchmarks" / "start_contestant.py"
    told = json.dumps(settings | condition.settings)
    command = [str(condition.python), str(start), "harness.digests", str(folder), told]
    done = subprocess.run(
        command, env=variables, cwd=folder if condition.elsewhere else None, text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        preexec_fn=_on_one_core if condition.one_core else None,
    )  # fmt: skip
    if done.returncode:  # a BLAS may crash with kernels that it does not choose itself
        print(done.stderr, file=sys.stderr)
        return {"why": f"failed with status {done.returncode}"}
    found: Found = json.loads((folder / "digests.json").read_text())
    return found


def _on_one_core() -> None:
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


def signs(folder: Path, reference: Path, name: str) -> float:
    """The share of weights whose sign differs from the reference's."""
    with np.load(folder / f"{name}.npz") as one, np.load(reference / f"{name}.npz") as other:
        pairs = [(one[k], other[k]) for k in other.files if other[k].ndim > 1]
    differ = sum(int(((a < 0) != (b < 0)).sum()) for a, b in pairs)
    return differ / sum(int(a.size) for a, _ in pairs)


class Letters:
    """A letter for each different result in a column: A for the first."""

    def __init__(self) -> None:
        self._seen: dict[str, list[str]] = {}

    def of(self, column: str, result: str) -> str:
        """The letter of a result."""
        seen = self._seen.setdefault(column, [])
        if result not in seen:
            seen.append(result)
        return ascii_letters.swapcase()[seen.index(result)]


def describe(rows: list[Found]) -> tuple[list[list[str]], list[list[str]]]:
    """The two tables, of results and of operations, with their heads."""
    letters, first = Letters(), rows[0]
    names, steps = list(first["networks"]), list(first["operations"])
    results = [["condition", "drawn", *names, "evaluation", "packing", "packed scores"]]
    single = [["condition", *steps]]
    for row in rows:
        if "why" in row:
            results.append([row["condition"], f"not run: {row['why']}"])
            continue
        cells = [letters.of("drawn", row["drawn"])]
        for name in names:
            found = row["networks"].get(name)
            cells.append("" if found is None else cell(name, found, first, letters))
        saved, of = row["saved"], letters.of
        cells += [of(k, saved[k]) for k in ("evaluation", "packed file", "packed scores")]
        results.append([row["condition"], *cells])
        single.append([row["condition"], *(of(k, row["operations"][k]) for k in steps)])
    return results, single


def cell(name: str, found: Found, first: Found, letters: Letters) -> str:
    """The letter of a network's values and, if they differ, what that changed."""
    letter, reference = letters.of(name, found["values"]), first["networks"][name]
    if letter == "A":
        return "A" if found["history"] == reference["history"] else "A, other history"
    if found["history"] == reference["history"]:
        return f"{letter} ="
    return f"{letter} {100 * (found['accuracy'] - reference['accuracy']):+.2f}"


def spread(rows: list[Found]) -> list[list[str]]:
    """A table of how far each network is from the reference's, without that of another seed."""
    table = [["network", "results", "accuracy", "lowest", "highest", "signs that differ, at most"]]
    for name, reference in rows[0]["networks"].items():
        same = [row.get("networks", {}) for row in rows if row["condition"] != "another seed"]
        found = [networks[name] for networks in same if name in networks]
        right = [network["accuracy"] for network in found]
        table.append([
            name, str(len({network["values"] for network in found})),
            f"{reference['accuracy']:.4f}", f"{min(right):.4f}", f"{max(right):.4f}",
            f"{100 * max(network['signs'] for network in found):.2f} %",
        ])  # fmt: skip
    return table


def broken(rows: list[Found], equal: set[str]) -> list[str]:
    """What differs although docs/reproducibility.md says that it is always equal."""
    first, problems = flat(rows[0]), []
    for row in rows[1:]:
        here = flat(row)
        for name in here.keys() & first.keys():
            always = name in EVERYWHERE + EXACT and row["condition"] != "another seed"
            if (always or row["condition"] in equal) and here[name] != first[name]:
                problems.append(f"{row['condition']}: {name} differs")
    return sorted(problems)


def flat(row: Found) -> dict[str, str]:
    """All digests of a row, by name."""
    if "why" in row:
        return {}
    found = {"drawn": row["drawn"], **row["operations"]}
    found |= {k: row["saved"][k] for k in ("evaluation", "packed file", "packed scores")}
    for name, network in row["networks"].items():
        found |= {f"values of {name}": network["values"], f"history of {name}": network["history"]}
    return found


def markdown(table: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [f"| {' | '.join(cells)} |" for cells in table]
    return "\n".join([lines[0], "|---" * len(table[0]) + "|", *lines[1:]])


def main() -> None:
    """Train under each condition, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NAME",
        help=f"default: {' '.join(NETWORKS)}")  # fmt: skip
    add("--conditions", nargs="+", metavar="TEXT",
        help="only those with one of these texts in their name; default: all")  # fmt: skip
    add("--images", type=at_least(1), metavar="N", default=IMAGES,
        help="train on the first N images, larq-cnn on a quarter; default: %(default)s"
        )  # fmt: skip
    add("--python", nargs="+", type=Path, default=[], metavar="FILE",
        help="other interpreters, with NumPy and minibnn's other requirements")  # fmt: skip
    add("--out", type=Path, metavar="FOLDER",
        help="write reproducible.json there; default: benchmarks/results for a full run on MNIST"
        )  # fmt: skip
    given = parser.parse_args()
    data = "MNIST" if "MINIBNN_DATA" in os.environ else "sample"
    full = data == "MNIST" and given.networks == list(NETWORKS)
    full = full and given.conditions is None and given.images == IMAGES
    rows: list[Found] = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        found = conditions(given.python, scratch)
        chosen = [c for c in found if c.name == REFERENCE or given.conditions is None
                  or any(text in c.name for text in given.conditions)]  # fmt: skip
        saved = SAVED if SAVED in given.networks else given.networks[0]
        settings = {
            "networks": given.networks, "images": given.images, "data": data, "device": "cpu",
            "seed": 0, "before": None, "kernels": None, "batch": 100,
            "saved": str(scratch / "0" / f"{saved}.npz"),
        }  # fmt: skip
        for i, condition in enumerate(chosen):
            if condition.missing:
                rows.append({"condition": condition.name, "why": condition.missing})
                continue
            print(condition.name, "...", file=sys.stderr, flush=True)
            row: Found = {"condition": condition.name}
            row |= run(condition, scratch / str(i), settings)
            if i == 0 and "why" in row:
                sys.exit(f"{condition.name}: {row['why']}; see the error above")
            for network, result in row.get("networks", {}).items():
                result["signs"] = signs(scratch / str(i), scratch / "0", network)
            rows.append(row)
    for table in (*describe(rows), spread(rows)):
        print(markdown(table), end="\n\n")
    out = given.out or (RESULTS if full else None)
    if out is None:
        print("a partial run: its results are not saved without --out", file=sys.stderr)
    else:
        out.mkdir(parents=True, exist_ok=True)
        head: Found = {"environment": environment(), "data": data, "images": given.images}
        lines = ",\n    ".join(json.dumps(row) for row in rows)
        text = json.dumps(head, indent=2).removesuffix("\n}")
        write_whole(out / "reproducible.json", f'{text},\n  "rows": [\n    {lines}\n  ]\n}}\n')
    problems = broken(rows, {c.name for c in chosen if c.equal})
    for text in problems:
        print(f"not as docs/reproducibility.md says: {text}", file=sys.stderr)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
