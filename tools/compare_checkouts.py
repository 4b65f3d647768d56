"""Compare two checkouts of minibnn: are their results equal, and is the new one as fast?

    MINIBNN_DATA=... python tools/compare_checkouts.py results OLD NEW
    MINIBNN_DATA=... python tools/compare_checkouts.py speed OLD NEW --json speed.json

`results` trains recipes in both checkouts, on one machine with the same number of BLAS threads, and
compares the results byte for byte: each history, all values of the trained model (`values.bin`),
and for `seed` and `modern` the packed files and the exports. Nothing is masked. If a file differs,
the table says so and the exit status is 1. You can train the old checkout once, and compare with
its results while you work on the new one:

    python tools/compare_checkouts.py results OLD --keep baseline
    python tools/compare_checkouts.py results NEW --old-results baseline/old

`speed` times training with and without the C kernels. In each round old, new and old again run one
after another, each in a process of its own; each session starts new processes. Ratios are taken
within a round, and the table has their medians. The exit status is 1 if a ratio new / old is more
than 1.03 times the ratio old / old beside it. It needs a quiet machine: old / old shows the noise.

Both checkouts run with this Python, or with `--old-python` and `--new-python`. C kernels that are
missing, or older than their source, are compiled first, which needs the package hatchling.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd

from minibnn.recipes import RECIPES
from time_checkouts import WORKLOADS, ratios, time_session

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))

from harness.environment import (
    environment,
    machine,
    restart_without_unfair_variables,
    write_whole,
)
from harness.race import limits

EPOCHS = {"seed": 2, "modern": 2, "feedback-alignment": 2, "direct-feedback": 2, "finn-tfc": 2,
          "larq-cnn": 1}  # fmt: skip
EXPORTED = ("seed", "modern")
RUN = "run.json"  # in a folder of results: how they were made


class CompareError(Exception):
    """The checkouts cannot be compared; the message says why."""


@dataclass(frozen=True)
class Checkout:
    """A folder with minibnn, and the Python that runs it.

    Raises:
        CompareError: if the folder has no minibnn.
    """

    side: str  # old or new
    path: Path
    python: Path

    def __post_init__(self) -> None:
        if not (self.path / "minibnn" / "__init__.py").is_file():
            raise CompareError(
                f"{self.side}: expected a checkout, with minibnn/__init__.py, got {self.path}"
            )

    def run(self, *arguments: str, compiled: bool, threads: int) -> dict[str, Any]:
        """Run `train_results.py` with this minibnn; return its description of this minibnn."""
        variables = os.environ | limits(threads)
        variables |= {"PYTHONPATH": str(self.path), "MINIBNN_COMPILED": str(int(compiled))}
        command = [str(self.python), str(Path(__file__).with_name("train_results.py")), *arguments]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=variables)
        if done.returncode:
            raise CompareError(f"{self.side}: {self.path} failed; see the error above")
        state: dict[str, Any] = json.loads(done.stdout)
        if Path(state["checkout"]) != self.path:
            raise CompareError(
                f"{self.side}: expected the minibnn of {self.path}, but {self.python} "
                f"imported the one of {state['checkout']}"
            )
        return state

    def require_kernels(self, threads: int) -> None:
        """Compile the C kernels if they are missing, or older than their source."""
        if self.run(compiled=True, threads=threads)["C kernels"]:
            return
        print(f"compiling the C kernels of {self.path}", file=sys.stderr, flush=True)
        with (
            tempfile.TemporaryDirectory() as folder
        ):  # for the wheel; the kernels are built in the checkout
            options = ["-q", "--no-deps", "--no-build-isolation", "-w", folder]
            command = [str(self.python), "-m", "pip", "wheel", *options, str(self.path)]
            done = subprocess.run(command)
        if done.returncode or not self.run(compiled=True, threads=threads)["C kernels"]:
            raise CompareError(
                f"{self.side}: expected compiled C kernels in {self.path}, and compiling them "
                'failed; pip install hatchling and a C compiler, or compare with "--without-c"'
            )

    def commit(self) -> str:
        """The commit, followed by ``+`` if files of minibnn have been changed since."""

        def git(*arguments: str) -> str:
            command = ["git", "-C", str(self.path), *arguments]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout

        try:
            changed = git("status", "--porcelain", "--untracked-files=no", "--", "minibnn")
            return git("rev-parse", "--short=12", "HEAD").strip() + "+" * bool(changed)
        except (OSError, subprocess.CalledProcessError):
            return ""  # a copy without its history


def results(given: argparse.Namespace, checkouts: list[Checkout]) -> int:
    """Train, and compare; return 1 if a file differs."""
    kept = given.old_results
    if kept is not None and not (kept / RUN).is_file():
        raise CompareError(f"--old-results: expected a folder with {RUN}, got {kept}")
    if kept is None and len(checkouts) == 1 and given.keep is None:
        raise CompareError("one checkout alone: expected --keep FOLDER, or --old-results FOLDER")
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(given.keep or temporary)
        for checkout in checkouts:
            train(checkout, out / checkout.side, given)
        if kept is None and len(checkouts) == 1:
            print(f"saved; compare with --old-results {out / 'old'}")
            return 0
        return compare(kept or out / "old", out / "new", given.recipes)


def train(checkout: Checkout, folder: Path, given: argparse.Namespace) -> None:
    """Train the recipes in one checkout, and write how to `run.json`."""
    if folder.exists():
        raise CompareError(f"--keep: expected a folder without results, got one with {folder}")
    if not given.without_c:
        checkout.require_kernels(given.threads)
    folder.mkdir(parents=True)
    print(f"{checkout.side}: {checkout.path} {checkout.commit()}", file=sys.stderr, flush=True)
    settings = {
        "epochs": {name: given.epochs or EPOCHS.get(name, 1) for name in given.recipes},
        "exported": EXPORTED,
        "sample": given.sample,
        "train images": given.train_images,
    }
    options = {"compiled": not given.without_c, "threads": given.threads}
    state = checkout.run(str(folder), json.dumps(settings), **options)
    if state["C kernels"] != options["compiled"]:
        raise CompareError(f"{checkout.side}: the C kernels were not used in training")
    here = {"threads": given.threads} | {name: machine()[name] for name in ("processor", "blas")}
    note = settings | state | here | {"commit": checkout.commit()}
    (folder / RUN).write_text(json.dumps(note, indent=2) + "\n")


def compare(old: Path, new: Path, recipes: list[str]) -> int:
    """Print a table of all files of these recipes; return 1 if some differ."""
    notes = [json.loads((folder / RUN).read_text()) for folder in (old, new)]
    for note in notes:
        note |= {f"epochs of {name}": note["epochs"].get(name) for name in recipes}
    own = {"checkout", "commit", "minibnn", "epochs"}  # may differ, or is compared recipe by recipe
    for name in sorted({*notes[0], *notes[1]} - own):
        before, now = (note.get(name) for note in notes)
        if before != now:
            raise CompareError(f"{name}: expected the same in both, got {before!r} and {now!r}")
    versions = [note["minibnn"] for note in notes]
    if versions[0] != versions[1]:
        print("the versions, which packed files and exports contain, differ:", *versions,
              file=sys.stderr)  # fmt: skip
    files = [
        Path(recipe, name)
        for recipe in recipes
        for name in sorted({f.name for side in (old, new) for f in (side / recipe).iterdir()})
    ]
    found = {file: difference(old / file, new / file) for file in files}
    print("| file | bytes | |\n|---|---|---|")
    for file, text in found.items():
        size = (new / file).stat().st_size if (new / file).exists() else 0
        print(f"| {file} | {size:,} | {f'DIFFERENT: {text}' if text else 'equal'} |")
    wrong = sum(map(bool, found.values()))
    print(f"\n{wrong or 'none'} of {len(files)} files differ")
    return int(wrong > 0)


def difference(old: Path, new: Path) -> str:
    """Describe where two files begin to differ; an empty string if they are equal."""
    for here, other in ((old, new), (new, old)):
        if not other.exists():
            return f"only in {here.parent.parent}"
    a, b = old.read_bytes(), new.read_bytes()
    if a == b:
        return ""
    first = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), None)
    first = min(len(a), len(b)) if first is None else first
    text = f"{len(a):,} and {len(b):,} bytes, from byte {first:,} on"
    if b"\0" in a + b:
        return text
    start = max(a.rfind(b"\n", 0, first) + 1, first - 20)
    shown = [side[start : start + 60].decode(errors="replace").split("\n")[0] for side in (a, b)]
    line = a[:first].count(b"\n") + 1
    return f"{text}, line {line:,}: `{shown[0]}` and `{shown[1]}`"


def speed(given: argparse.Namespace, checkouts: list[Checkout]) -> int:
    """Time old, new and old again; return 1 if a workload became slower, or failed."""
    if len(checkouts) != 2:
        raise CompareError("speed: expected two checkouts, got one")
    if "yes" in given.c_kernels:
        for checkout in checkouts:
            checkout.require_kernels(given.threads)
    measurements: list[dict[str, Any]] = []
    problems: list[str] = []
    pairs = [(str(checkout.path), checkout.python) for checkout in checkouts]
    for name, kernels in product(given.workloads, given.c_kernels):
        print(f"{name}, C kernels: {kernels}", file=sys.stderr, flush=True)
        for session in range(given.sessions):
            rows, more_problems = time_session(
                name, kernels == "yes", pairs, given.rounds, given.threads, given.steps
            )
            more = {"workload": name, "kernels": kernels, "session": session}
            measurements += [more | row for row in rows]
            problems += more_problems
    table = ratios(pd.DataFrame(measurements)) if measurements else pd.DataFrame({"passed": []})
    print("| workload | C kernels | old, ms | new / old | old / old | passed |")
    print("|---|---|---|---|---|---|")
    for row in table.to_dict("records"):
        print(f"| {row['workload']} | {row['kernels']} | {row['old_ms']:.4g} "
              f"| {row['new_old']:.3f} | {row['old_old']:.3f} | {row['passed']} |")  # fmt: skip
    for text in problems:
        print(text, file=sys.stderr)
    if given.json is not None:
        save(given.json, given, checkouts, table, measurements)
    return int(bool(problems) or not (table.passed == "yes").all())


def save(
    path: Path,
    given: argparse.Namespace,
    checkouts: list[Checkout],
    table: pd.DataFrame,
    measurements: list[dict[str, Any]],
) -> None:
    """Write the medians, each measurement in milliseconds, and their environment."""
    names = ("workload", "kernels", "session", "repeat", "contestant", "value")
    text = json.dumps(
        {
            "environment": environment("pandas") | {"blas": machine()["blas"]},
            "checkouts": [asdict(c) | {"commit": c.commit()} for c in checkouts],
            "threads": given.threads, "rounds": given.rounds, "sessions": given.sessions,
            "medians": table.to_dict("records"),
            "turns": [{name: row[name] for name in names} for row in measurements],
        },
        indent=1, default=str,
    )  # fmt: skip
    write_whole(path, text + "\n")


def at_least_one(text: str) -> int:
    """A positive integer, for argparse."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a positive integer, got {text!r}")
    return int(text)


def parse(words: list[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    whole: dict[str, Any] = {"type": at_least_one, "metavar": "N"}
    # fmt: off
    for name, what in (("results", "compare results byte for byte"), ("speed", "compare speed")):
        command = commands.add_parser(name, help=what)
        add = command.add_argument
        add("checkouts", nargs="+", type=Path, metavar="CHECKOUT", help="OLD and NEW")
        add("--old-python", type=Path, default=Path(sys.executable), metavar="FILE",
            help="the Python that runs OLD; default: this one")
        add("--new-python", type=Path, default=Path(sys.executable), metavar="FILE",
            help="the Python that runs NEW; default: this one")
        add("--threads", default=1, help="threads of the BLAS; default: %(default)s", **whole)
        if name == "results":
            add("--recipes", nargs="+", choices=RECIPES, default=list(EPOCHS), metavar="NAME",
                help=f"default: {', '.join(EPOCHS)}")
            add("--epochs", help="epochs of each recipe; default: 2, and 1 for larq-cnn", **whole)
            add("--train-images", help="use only the first N; default: all", **whole)
            add("--sample", action="store_true", help="use the bundled sample instead of MNIST")
            add("--without-c", action="store_true", help="use the C kernels of neither checkout")
            add("--keep", type=Path, metavar="FOLDER",
                help="keep the results there, in old/ and new/")
            add("--old-results", type=Path, metavar="FOLDER",
                help="results that an earlier run kept, instead of OLD")
        else:
            add("--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS),
                metavar="NAME", help=f"default: {', '.join(WORKLOADS)}")
            add("--c-kernels", nargs="+", choices=("yes", "no"), default=["yes", "no"],
                help="whether to use the C kernels; default: both")
            add("--sessions", default=3,
                help="sessions, each with new processes; default: %(default)s", **whole)
            add("--rounds", default=7, help="rounds per session; default: %(default)s", **whole)
            add("--steps", help="steps per round; default: as the workload defines", **whole)
            add("--json", type=Path, metavar="FILE", help="write all measurements there")
    # fmt: on
    given = parser.parse_args(words)
    if len(given.checkouts) > 2:
        parser.error(f"expected OLD and NEW, got {len(given.checkouts)} checkouts")
    if given.command == "results" and given.old_results and len(given.checkouts) == 2:
        parser.error("expected NEW alone with --old-results, got two checkouts")
    return given


def main(words: list[str] | None = None) -> int:
    """Compare; return 0 if equal, 1 if not, 2 if the checkouts cannot be compared."""
    given = parse(words)
    pythons = {"old": given.old_python, "new": given.new_python}
    sides = ["new"] if getattr(given, "old_results", None) else ["old", "new"]
    try:
        checkouts = [
            Checkout(side, path.resolve(), pythons[side])
            for side, path in zip(sides, given.checkouts, strict=False)
        ]
        return {"results": results, "speed": speed}[given.command](given, checkouts)
    except CompareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    restart_without_unfair_variables()
    sys.exit(main())
