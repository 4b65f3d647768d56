"""Environments for the rivals: one for each, so that none gets in another's way.

    python benchmarks/rivals.py pytorch jax larq thinc

makes a virtual environment in `benchmarks/.rivals/NAME` (or `$MINIBNN_RIVALS/NAME`) for each and
installs what `benchmarks/rivals/NAME.txt` asks for. An environment that is there already is brought
up to that list.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

LISTS = Path(__file__).parent / "rivals"
NAMES = tuple(sorted(file.stem for file in LISTS.glob("*.txt")))
_BIN = "Scripts" if sys.platform == "win32" else "bin"


def python_of(rival: str) -> Path:
    """The interpreter of a rival's environment, which may not be there."""
    folder = os.environ.get("MINIBNN_RIVALS") or Path(__file__).parent / ".rivals"
    return Path(folder).absolute() / rival / _BIN / "python"


def installed() -> list[str]:
    """The rivals that have an environment."""
    return [name for name in NAMES if python_of(name).exists()]


def has(python: Path, module: str) -> bool:
    """Whether an interpreter finds a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code]).returncode == 0


def versions(rival: str, python: Path | None = None) -> dict[str, str]:
    """Of its Python, or another one, and of the packages on its list that it has."""
    names = re.findall(r"^[\w-]+", (LISTS / f"{rival}.txt").read_text(), re.MULTILINE)
    code = (
        "import json, platform; from importlib.metadata import distributions;"
        "there = {d.name.lower(): d.version for d in distributions() if d.name};"
        f"found = {{n: there[n] for n in {names} if n in there}};"
        "print(json.dumps({'python': platform.python_version()} | found))"
    )
    done = subprocess.run(
        [python or python_of(rival), "-c", code], capture_output=True, text=True, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def main() -> None:
    """Make the environments."""
    parser = argparse.ArgumentParser(description="Make an environment for each rival.")
    parser.add_argument("rivals", nargs="+", choices=NAMES, metavar="RIVAL",
                        help=f"any of {', '.join(NAMES)}")  # fmt: skip
    for rival in parser.parse_args().rivals:
        python = python_of(rival)
        if not python.exists():
            venv.create(python.parent.parent, with_pip=True, symlinks=sys.platform != "win32")
        install = [
            str(python),
            "-m",
            "pip",
            "install",
            "--quiet",
            "-r",
            str(LISTS / f"{rival}.txt"),
        ]
        subprocess.run(install, check=True)
        print(rival, versions(rival))


if __name__ == "__main__":
    main()
