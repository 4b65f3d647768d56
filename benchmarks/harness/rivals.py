"""The rivals' environments: where they are, and what they contain."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

BENCHMARKS = Path(__file__).parents[1]
REQUIREMENTS = BENCHMARKS / "frameworks" / "requirements"
NAMES = tuple(sorted(file.stem for file in REQUIREMENTS.glob("*.txt")))
_BIN = "Scripts" if sys.platform == "win32" else "bin"


def python_of(rival: str) -> Path:
    """The interpreter of a rival's environment; it may not exist."""
    folder = os.environ.get("MINIBNN_RIVALS") or BENCHMARKS / ".rivals"
    return Path(folder).absolute() / rival / _BIN / "python"


def installed() -> list[str]:
    """The rivals that have an environment."""
    return [name for name in NAMES if python_of(name).exists()]


def install(rival: str) -> None:
    """Create a rival's environment if it does not exist, and install its requirements."""
    python = python_of(rival)
    if not python.exists():
        venv.create(python.parent.parent, with_pip=True, symlinks=sys.platform != "win32")
    file = REQUIREMENTS / f"{rival}.txt"
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", file], check=True)


def has(python: Path, module: str) -> bool:
    """Whether an interpreter finds a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec({module!r}) is None)"
    return subprocess.run([python, "-c", code]).returncode == 0


def versions(rival: str, python: Path | None = None) -> dict[str, str]:
    """The versions of a rival's Python, or of `python`, and of its installed requirements."""
    names = re.findall(r"^[\w-]+", (REQUIREMENTS / f"{rival}.txt").read_text(), re.MULTILINE)
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
