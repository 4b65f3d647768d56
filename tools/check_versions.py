"""Run the tests with the oldest or the newest versions of what minibnn needs.

    python tools/check_versions.py minimum
    python tools/check_versions.py newest --python python3.13 -- -q tests

Creates a virtual environment outside the tree, and removes it at the end. Arguments after ``--`` go
to pytest. The oldest versions are the lower bounds in pyproject.toml. Their own dependencies are
the newest ones, except those in `EXTRA_BOUNDS`.
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
RUNS_EXPORTS = "onnxruntime"  # in the extra dev; tests of exported models need it
# The oldest Matplotlib accepts any newer pyparsing, but its deprecation warnings fail the tests.
EXTRA_BOUNDS = ["pyparsing<3.3"]


def requirements(project: dict[str, Any], oldest: bool) -> list[str]:
    """The requirements of the project and its extras, for pip; `oldest` pins the lower bounds.

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
    return [*dict.fromkeys(need.replace(">=", "==") for need in needed), *EXTRA_BOUNDS]


def parse(words: list[str]) -> tuple[argparse.Namespace, list[str]]:
    """Split the command line into this tool's arguments and those for pytest.

    >>> parse(["newest", "--python", "python3.13", "--", "-q", "tests"])
    (Namespace(versions='newest', python='python3.13'), ['-q', 'tests'])
    """
    end = words.index("--") if "--" in words else len(words)
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0], epilog="arguments after -- go to pytest"
    )
    parser.add_argument("versions", choices=("minimum", "newest"),
                        help="which versions of the packages that minibnn needs")  # fmt: skip
    parser.add_argument(
        "--python", default=sys.executable, help="the Python to test with; default: this one"
    )
    return parser.parse_args(words[:end]), words[end + 1 :] or ["-q"]


def main() -> int:
    """Create the environment, install, and run pytest; return its exit code."""
    given, for_pytest = parse(sys.argv[1:])
    with open(ROOT / "pyproject.toml", "rb") as file:
        project = tomllib.load(file)["project"]
    needed = requirements(project, given.versions == "minimum")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([given.python, "-m", "venv", folder], check=True)
        python = str(Path(folder, "Scripts" if os.name == "nt" else "bin", "python"))
        # In one command, so that pip reports conflicts between them and with the tree's bounds.
        install = [python, "-m", "pip", "install", "--quiet", "-e", f".[{','.join(EXTRAS)}]"]
        subprocess.run([*install, *needed], cwd=ROOT, check=True)
        subprocess.run([python, "-m", "pip", "list"], check=True)
        # Programs that the tests start must find this Python first.
        path = os.path.dirname(python) + os.pathsep + os.environ.get("PATH", "")
        command = [python, "-m", "pytest", *for_pytest]
        environment = os.environ | {"PATH": path}
        return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
