"""The scripts for GPUs run from a bare checkout: few packages, no MNIST, no network."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
THERE = ("numpy", "cupy-cuda13x", "torch", "jax", "pytest", "hypothesis", "pandas", "safetensors",
         "tqdm")  # fmt: skip

# A Python with this file on its path has only the packages above and their requirements.
SITE = """
import importlib.abc, importlib.metadata, socket, sys

HIDDEN = {hidden!r}


class Hidden(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}, on a bare machine", name=name)


sys.meta_path.insert(0, Hidden())
sys.meta_path[1:] = [f for f in sys.meta_path[1:] if "editable" not in type(f).__name__.lower()]
distribution = importlib.metadata.Distribution.from_name.__func__


def from_name(cls, name):
    if name.lower() == "minibnn":
        raise importlib.metadata.PackageNotFoundError(name)
    return distribution(cls, name)


importlib.metadata.Distribution.from_name = classmethod(from_name)


def no_network(self, address):
    raise OSError(101, "Network is unreachable")


socket.socket.connect = no_network
"""


@cache
def hidden_modules() -> set[str]:
    """The installed modules that the bare machine does not have."""
    found, open_ = set(), [*THERE, "pip", "setuptools"]
    while open_:
        name = re.sub("[-_.]+", "-", open_.pop()).lower()
        if name in found:
            continue
        found.add(name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        open_ += [re.match(r"[\w.-]+", n)[0] for n in needed if "extra ==" not in n]
    return {
        module
        for module, owners in metadata.packages_distributions().items()
        if not found & {re.sub("[-_.]+", "-", owner).lower() for owner in owners}
        and module != "minibnn"
    }


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """Run a program in the checkout as on a bare machine, with ``PYTHONPATH=.``, without a GPU."""
    site, home = (tmp_path_factory.mktemp(name) for name in ("site", "home"))
    (site / "sitecustomize.py").write_text(SITE.format(hidden=hidden_modules()))
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("MINIBNN_", "XDG_"))}
    environment |= {"PYTHONPATH": f"{site}{os.pathsep}.", "HOME": str(home),
                    "CUDA_VISIBLE_DEVICES": ""}  # fmt: skip

    def run(*command):
        return subprocess.run(
            [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
        )

    return run


def test_it_is_bare(bare):
    code = """
import importlib.metadata, socket
import minibnn, numpy, pandas, pytest, hypothesis
for name in ("pooch", "requests", "matplotlib", "hatchling", "urllib3"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        continue
    raise SystemExit(name)
try:
    print(importlib.metadata.version("minibnn"))
except importlib.metadata.PackageNotFoundError:
    print(minibnn.__file__)
"""
    done = bare("-c", code)
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()) == ROOT / "minibnn" / "__init__.py"


@pytest.mark.parametrize(
    ("folder", "script"),
    [
        ("tools/validate_gpu", "confirm_gpu.py"),
        ("benchmarks", "gpu.py"),
        ("tools/validate_gpu", "every_kernel.py"),
    ],
)
def test_scripts_need_a_gpu_but_no_other_package(bare, folder, script):
    done = bare(f"{folder}/{script}")
    assert done.returncode == 4, done.stderr
    assert done.stderr.startswith(f'{script}: device "gpu" is unavailable: ')


def test_all_parts_of_confirm_gpu_can_be_imported(bare):
    code = """
import sys
sys.path.insert(0, "tools/validate_gpu")
import confirm_gpu
confirm_gpu.add_paths()
print(len([*map(confirm_gpu.part, confirm_gpu.MODULES)]), confirm_gpu.missing(confirm_gpu.NEEDED + confirm_gpu.NEEDED_BY_TESTS))
confirm_gpu.starter(confirm_gpu.arguments([]))
from confirm.setting import Setting
from minibnn import get_backend
print(Setting(get_backend("cpu")).data.name)
"""
    done = bare("-c", code)
    assert done.returncode == 0, done.stderr
    parts, data = done.stdout.splitlines()
    assert parts == "6 []"
    assert data.startswith("MNIST sample")
    assert "Going on with the bundled sample" in done.stderr


def test_the_race_runs(bare, tmp_path):
    """All except the whole job, which needs the files of MNIST, and says so."""
    done = bare(
        "benchmarks/gpu.py", "--device", "cpu", "--steps", "2", "--rounds", "1", "--rivals", "none",
        "--workloads", "step-3x256", "packed-1", "seed-job", "--out", str(tmp_path),
    )  # fmt: skip
    (problem,) = [line for line in done.stderr.splitlines() if line.startswith("seed-job: ")]
    assert problem == "seed-job: left out: it needs the files of MNIST; set MINIBNN_DATA"
    assert done.returncode == 1
    workloads = {line.split(",")[0] for line in (tmp_path / "gpu.csv").read_text().splitlines()[1:]}
    assert workloads == {"step-3x256", "packed-1"}


def test_the_example_runs(bare, tmp_path):
    done = bare("examples/mnist.py", "--device", "gpu")
    assert done.returncode == 4
    assert done.stderr.startswith('error: device "gpu" is unavailable')
    done = bare("examples/mnist.py", "--device", "cpu", "--epochs", "1", "--quiet",
                "--out", str(tmp_path))  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("MNIST sample (4,000 + 1,000 images), seed recipe, seed 0, cpu")
    assert (tmp_path / "history.csv").exists()


@pytest.mark.parametrize(
    "file",
    sorted((ROOT / "tests").rglob("*.py")),
    ids=lambda file: str(file.relative_to(ROOT / "tests")),
)
def test_tests_can_be_collected(file):
    """A module that cannot be imported ends the whole suite; a skip ends only its module."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.partition(".")[0])
    assert not names & hidden_modules()
