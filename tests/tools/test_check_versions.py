"""tools/check_versions.py: each requirement has a lower bound, which it installs."""

from __future__ import annotations

import re
import sys
import tomllib
import types
from pathlib import Path

import pytest

import check_versions

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tool():
    return check_versions


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_each_requirement_is_pinned_to_its_lower_bound(tool, project):
    oldest = tool.requirements(project, True)
    declared = [
        *project["dependencies"],
        "matplotlib",
        "onnx",
        "pytest",
        "hypothesis",
        "onnxruntime",
    ]
    for need in declared:
        name = re.match(r"[\w-]+", need)[0]
        assert sum(pin.startswith(f"{name}==") for pin in oldest) == 1, name
    assert "numpy==2.0" in oldest
    newest = tool.requirements(project, False)
    assert {need.partition(">=")[0] for need in newest} == {
        pin.partition("==")[0] for pin in oldest if "==" in pin
    }


def test_arguments_after_two_dashes_go_to_pytest(tool):
    """argparse alone would reject `-q` as an unknown option."""
    given, rest = tool.parse(["newest", "--python", "python3.13", "--", "-q", "tests"])
    assert (given.versions, given.python, rest) == ("newest", "python3.13", ["-q", "tests"])
    assert tool.parse(["minimum"])[1] == ["-q"]


def test_a_requirement_without_a_lower_bound_is_refused(tool):
    with pytest.raises(ValueError, match="numpy: expected a lower bound"):
        tool.requirements({"dependencies": ["numpy"], "optional-dependencies": {"dev": []}}, True)


def test_one_package_has_one_bound(project):
    """The same in all extras: otherwise only the stricter one would be tested."""
    needs = [
        *project["dependencies"],
        *(n for e in project["optional-dependencies"].values() for n in e),
    ]
    bounds = {}
    for need in needs:
        name, _, rest = re.match(r"([\w-]+)(\[\w+(?:,\w+)*\])?(.*)", need).groups()
        assert bounds.setdefault(name, rest) == rest
    least = re.fullmatch(r">=(\d+)\.(\d+)", project["requires-python"]).groups()
    assert sys.version_info >= tuple(map(int, least))


def test_the_documented_command_starts(tool, monkeypatch):
    """With the arguments of its documentation; nothing is installed here."""
    ran = []

    def run(command, **options):
        ran.append(command)
        return types.SimpleNamespace(returncode=3)

    monkeypatch.setattr(tool.subprocess, "run", run)
    monkeypatch.setattr(
        sys, "argv", ["check_versions.py", "minimum", "--", "-q", "tests/data/test_idx.py"]
    )
    assert tool.main() == 3
    assert "numpy==2.0" in ran[1]
    assert ran[-1][1:] == ["-m", "pytest", "-q", "tests/data/test_idx.py"]
