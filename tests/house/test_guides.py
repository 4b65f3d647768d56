"""The guides in docs/guides run from their first block to their last, in one folder each.

Python blocks share a namespace, C blocks are written to the file that their first line names, and
sh blocks run as they are; the data are the bundled sample. Four guides have a header that is
compiled and compared.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import minibnn

ROOT = Path(__file__).parents[2]
GUIDES = [p for p in sorted((ROOT / "docs" / "guides").glob("*.md")) if p.stem != "index"]
TO_A_HEADER = ["pictures", "scikit-learn", "sensor-windows", "ship"]
NEEDS = {"scikit-learn": ["sklearn"], "pictures": ["PIL"], "several-machines": ["mpi4py"]}
PROGRAMS = {"several-machines": "mpirun", **dict.fromkeys(TO_A_HEADER, "gcc")}
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(guide):
    """The language and the text of each block."""
    return BLOCK.findall(guide.read_text(encoding="utf-8"))


def shell(block, folder):
    """Run commands; their `python` is this one, and their minibnn is the one under test."""
    programs = folder / "programs"
    programs.mkdir(exist_ok=True)
    python = programs / "python"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "MINIBNN_OFFLINE": "1"}
    done = subprocess.run(
        ["sh", "-e", "-c", block], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, (block, done.stdout, done.stderr)
    return done.stdout


def run_guide(parts, folder, name="guide"):
    """Run the blocks in their order."""
    namespace = {"__name__": name}
    for number, (language, text) in enumerate(parts, start=1):
        if language == "python":
            exec(compile(text, f"{name}, block {number}", "exec"), namespace)
        elif language == "c":
            named = re.match(r"/\* (\w+\.c)", text)
            assert named, f"{name}, block {number}: expected a first line such as /* check.c */"
            (folder / named[1]).write_text(text)
        elif language == "sh":
            shell(text, folder)
        else:
            assert language == "text", f"{name}, block {number}: expected python, c, sh or text"


def test_each_guide_is_listed_and_none_is_missing():
    listed = re.findall(r"^[a-z-]+$", (ROOT / "docs/guides/index.md").read_text("utf-8"), re.M)
    assert sorted(listed) == [guide.stem for guide in GUIDES]
    assert set(TO_A_HEADER) <= set(listed)


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_runs(guide, tmp_path, monkeypatch, capsys):
    for package in NEEDS.get(guide.stem, []):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"needs {package}")
    program = PROGRAMS.get(guide.stem)
    if program is not None and shutil.which(program) is None:
        pytest.skip(f"no {program}")
    monkeypatch.setattr(minibnn, "load_mnist_or_sample", minibnn.load_sample)
    monkeypatch.chdir(tmp_path)
    run_guide(blocks(guide), tmp_path, guide.name)


@pytest.mark.parametrize(
    "guide", [g for g in GUIDES if g.stem in TO_A_HEADER], ids=lambda guide: guide.stem
)
def test_a_guide_compiles_strictly_and_compares_at_its_end(guide):
    parts = blocks(guide)
    compiled = [i for i, (language, text) in enumerate(parts) if language == "sh" and "gcc" in text]
    assert compiled, "expected a compilation"
    assert "-Wall -Wextra -Werror" in parts[compiled[-1]][1]
    rest = parts[compiled[-1] + 1 :]
    assert any(language == "python" and "assert" in text for language, text in rest)


def test_what_fails_in_a_guide_is_seen(tmp_path):
    with pytest.raises(AssertionError):
        run_guide([("python", "x = 1\n"), ("python", "assert x == 2\n")], tmp_path)
    with pytest.raises(AssertionError, match="no-such-file"):
        run_guide([("sh", "cat no-such-file\ntrue\n")], tmp_path)
    with pytest.raises(AssertionError, match=r"check\.c"):
        run_guide([("c", "int main(void) { return 0; }\n")], tmp_path)
