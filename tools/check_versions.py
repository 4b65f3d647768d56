"""Run the tests with the oldest or the newest versions of what minibnn needs.

    python tools/check_versions.py minimum
    python tools/check_versions.py newest --python python3.13 -- -q tests

A fresh virtual environment is made for it, outside the tree, and removed at the end. What follows
``--`` goes to pytest. The oldest versions are the lower bounds in pyproject.toml; of packages that
those need in turn, the newest, but for what is named in `OF_THAT_TIME`.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
EXTRAS = ("plot", "onnx", "test")
RUNS_EXPORTS = "onnxruntime"  # of the extra dev: the tests of exported models are skipped without
# Matplotlib asks for any later pyparsing, whose deprecations of today are errors in the tests.
OF_THAT_TIME = ["pyparsing<3.3"]


def requirements(project: dict[str, Any], oldest: bool) -> list[str]:
    """What the project and its extras need, for pip: as it is, or pinned to the lower bounds.

    >>> project = {"dependencies": ["numpy>=2.0"], "optional-dependencies": {"dev": []}}
    >>> requirements(project, True)
    ['numpy==2.0', 'pyparsing<3.3']
    """
    optional: dict[str, list[str]] = project["optional-dependencies"]
    needed: list[str] = list(project["dependencies"])
    needed += [need for extra in EXTRAS for need in optional.get(extra, [])]
    needed += [need for need in optional["dev"] if need.startswith(RUNS_EXPORTS)]
    if not oldest:
        return needed
    for need in needed:
        if not re.fullmatch(r"[\w-]+>=[\d.]+", need):
            raise ValueError(f"{need}: expected a lower bound, such as numpy>=2.0")
    return [*dict.fromkeys(need.replace(">=", "==") for need in needed), *OF_THAT_TIME]


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """The tool's own arguments, and those for pytest, which argparse would take for its own.

    >>> parse(["newest", "--python", "python3.13", "--", "-q", "tests"])
    (Namespace(versions='newest', python='python3.13'), ['-q', 'tests'])
    """
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="-- ARGUMENTS go to pytest"
    )
    parser.add_argument("versions", choices=("minimum", "newest"))
    parser.add_argument("--python", default=sys.executable, help="default: this one")
    return parser.parse_args(words[:end]), words[end + 1 :] or ["-q"]


def main() -> int:
    """Make the environment, install, and run pytest; its exit code."""
    given, for_pytest = parse(sys.argv[1:])
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    needed = requirements(project, given.versions == "minimum")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([given.python, "-m", "venv", folder], check=True)
        python = str(Path(folder, "Scripts" if os.name == "nt" else "bin", "python"))
        # All at once, so that pip says so if they exclude each other, or the tree's own bounds do.
        install = [python, "-m", "pip", "install", "--quiet", "-e", f".[{','.join(EXTRAS)}]"]
        subprocess.run([*install, *needed], cwd=ROOT, check=True)
        subprocess.run([python, "-m", "pip", "list"], check=True)
        # Programs that the tests start are to find this Python first.
        path = os.path.dirname(python) + os.pathsep + os.environ.get("PATH", "")
        command = [python, "-m", "pytest", *for_pytest]
        environment = os.environ | {"PATH": path}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
