"""benchmarks/reproducible.py, and the page about it: docs/reproducibility.md."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from devices import STRICT

import reproducible
from harness import digests
from minibnn import DataLoader
from minibnn.backend import CPU
from minibnn.random_stream import RandomStream

PAGE = reproducible.ROOT / "docs" / "reproducibility.md"
STORED = reproducible.RESULTS / "reproducible.json"


@pytest.fixture
def no_compiler(monkeypatch):
    """Compiling takes a second or two, which most tests need not wait for."""
    monkeypatch.setattr(reproducible, "_kernels_for_sse2", lambda scratch: (None, "not compiled"))


def row(condition="one thread"):
    return {
        "condition": condition,
        "drawn": "d",
        "networks": {
            "seed": {"values": "v", "history": "h", "accuracy": 0.8, "signs": 0.0},
            "modern": {"values": "w", "history": "i", "accuracy": 0.9, "signs": 0.0},
        },
        "operations": {"sums of 784": "p", "adam": "q"},
        "saved": {"evaluation": "e", "packed file": "f", "packed scores": "s"},
    }


def changed(condition, path, value):
    """A row with another value at a path such as "networks/seed/values"."""
    found = row(condition)
    *folders, last = path.split("/")
    part = found
    for name in folders:
        part = part[name]
    part[last] = value
    return found


# --- What the page says, in processes of their own -----------------------------------------------


def test_a_seed_gives_the_same_bytes_in_every_process(run, tmp_path):
    """Another hash seed, folder, locale and time zone; kernels for SSE2, where they are compiled.

    On the stand-in what is equal everywhere.

    The network has dropout and stochastic signs.
    """
    names = ["again", "another folder", "after another training", "SSE2 only", "stand-in"]
    done = run(
        "reproducible.py", "--networks", "noise", "--images", "200",
        "--conditions", *names, "--out", str(tmp_path),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    stored = json.loads((tmp_path / "reproducible.json").read_text())
    first, *rest = [r for r in stored["rows"] if "why" not in r]
    assert (stored["data"], stored["images"]) == ("sample", 200)
    assert [r["condition"] for r in rest][:3] == [
        "again", "another folder, hash seed, locale, time zone",
        "after another training in the process",
    ]  # fmt: skip
    *equal, other = rest
    for same in equal:
        assert reproducible.flat(same) == reproducible.flat(first)
    assert other["drawn"] == first["drawn"]
    for name in ("packed file", "packed scores"):
        assert other["saved"][name] == first["saved"][name]
    for name in reproducible.EXACT:
        assert other["operations"][name] == first["operations"][name]
    assert "| again | A | A | A | A | A |" in done.stdout


def test_orders_and_streams_have_these_values_everywhere():
    """If this fails, a new NumPy draws other numbers, or minibnn does: the page says neither."""
    loader = DataLoader((np.arange(60_000),), 64, shuffle=True, rng=0)
    assert digests.digest(loader.order(7).astype("<i8")) == "d5280bf5018f66a7"
    stream = RandomStream()
    stream.initialize(np.random.default_rng(0))
    numbers = stream.uniform(CPU, (999, 7), np.float32)
    assert digests.digest(numbers) == "e61ba4612d0f4761"


def test_what_is_drawn_is_equal_on_the_stand_in_for_a_gpu():
    assert digests.drawn(CPU, 0) == digests.drawn(STRICT, 0)
    assert digests.drawn(CPU, 0) != digests.drawn(CPU, 1)


def test_exact_operations_are_equal_on_the_stand_in_for_a_gpu():
    here, there = digests.operations(CPU), digests.operations(STRICT)
    assert {here[name] for name in reproducible.EXACT} == {
        there[name] for name in reproducible.EXACT
    }


def test_the_page_has_the_stored_results():
    stored = json.loads(STORED.read_text())
    text = PAGE.read_text()
    results, _ = reproducible.describe(stored["rows"])
    assert reproducible.markdown(results) in text
    assert reproducible.markdown(reproducible.spread(stored["rows"])) in text


def test_the_stored_results_are_as_the_page_says(no_compiler):
    rows = json.loads(STORED.read_text())["rows"]
    equal = {c.name for c in reproducible.conditions([], Path("unused")) if c.equal}
    assert reproducible.broken(rows, equal) == []


# --- The script ----------------------------------------------------------------------------------


def test_equal_letters_mean_equal_bytes():
    rows = [
        row(),
        changed("b", "networks/seed/values", "other"),
        changed("c", "networks/seed/values", "third"),
        changed("d", "networks/seed/values", "other"),
    ]
    rows[2]["networks"]["seed"] |= {"history": "x", "accuracy": 0.793}
    rows[3]["networks"]["seed"]["history"] = "x"
    results, single = reproducible.describe(rows)
    assert [r[2] for r in results] == ["seed", "A", "B =", "C -0.70", "B +0.00"]
    assert [r[3] for r in results] == ["modern", "A", "A", "A", "A"]
    assert single[0] == ["condition", "sums of 784", "adam"]


def test_a_history_that_differs_alone_is_shown():
    results, _ = reproducible.describe([row(), changed("b", "networks/seed/history", "x")])
    assert results[2][2] == "A, other history"


def test_conditions_that_cannot_be_tested_say_why():
    absent = {"condition": "b", "why": "no C compiler"}
    results, single = reproducible.describe([row(), absent])
    assert results[2] == ["b", "not run: no C compiler"]
    assert len(single) == 2
    assert reproducible.broken([row(), absent], {"b"}) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("drawn", "drawn"),
        ("saved/packed file", "packed file"),
        ("saved/packed scores", "packed scores"),
        ("operations/adam", "adam"),
    ],
)
def test_what_must_be_equal_everywhere_is_reported(path, problem):
    rows = [row(), changed("two threads", path, "x")]
    assert reproducible.broken(rows, set()) == [f"two threads: {problem} differs"]
    rows = [row(), changed("another seed", path, "x")]
    assert reproducible.broken(rows, set()) == []


@pytest.mark.parametrize(
    "path", ["networks/seed/values", "networks/seed/history", "saved/evaluation"]
)
def test_a_repeated_run_must_be_equal_in_everything(path):
    rows = [row(), changed("again", path, "x")]
    assert reproducible.broken(rows, set()) == []
    (problem,) = reproducible.broken(rows, {"again"})
    assert problem.startswith("again: ")


def test_the_spread_leaves_out_another_seed():
    rows = [
        row(),
        changed("b", "networks/seed/accuracy", 0.7),
        changed("another seed", "networks/seed/accuracy", 0.1),
    ]
    rows[1]["networks"]["seed"] |= {"values": "x", "signs": 0.025}
    assert reproducible.spread(rows)[1] == ["seed", "2", "0.8000", "0.7000", "0.8000", "2.50 %"]


def test_signs_are_counted_in_matrices(tmp_path):
    for name, weights in (("0", [[1.0, -2.0], [0.0, 3.0]]), ("1", [[1.0, 2.0], [-0.5, 3.0]])):
        (tmp_path / name).mkdir()
        np.savez(tmp_path / name / "seed.npz", np.array(weights), np.array([-1.0]))
    assert reproducible.signs(tmp_path / "1", tmp_path / "0", "seed") == 0.5


def test_a_condition_under_which_the_blas_crashes_is_listed(tmp_path, capfd):
    settings = {"networks": ["no such network"]}
    found = reproducible.run(reproducible.Condition("x"), tmp_path / "0", settings)
    assert found == {"why": "failed with status 1"}
    assert "KeyError: 'data'" in capfd.readouterr().err


def test_variables_from_outside_do_not_reach_the_runs(tmp_path, monkeypatch):
    seen = {}

    def record(command, env, cwd, **_):
        seen.update(env=env, cwd=cwd, settings=json.loads(command[-1]))
        Path(command[-2], "digests.json").write_text("{}")
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(subprocess, "run", record)
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    monkeypatch.setenv("MINIBNN_COMPILED", "0")
    monkeypatch.setenv("MINIBNN_DATA", "some/folder")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    reproducible.run(reproducible.Condition("x"), tmp_path / "0", {"seed": 0})
    assert not {"OPENBLAS_CORETYPE", "MINIBNN_COMPILED"} & seen["env"].keys()
    assert seen["env"]["OPENBLAS_NUM_THREADS"] == "1"
    assert seen["env"]["PYTHONHASHSEED"] == "0"
    assert seen["env"]["MINIBNN_DATA"] == str(Path("some/folder").resolve())
    assert seen["cwd"] is None
    condition = reproducible.Condition(
        "y", {"OPENBLAS_NUM_THREADS": "", "TZ": "UTC"}, {"seed": 1}, elsewhere=True
    )
    reproducible.run(condition, tmp_path / "1", {"seed": 0})
    assert "OPENBLAS_NUM_THREADS" not in seen["env"]
    assert (seen["env"]["TZ"], seen["settings"], seen["cwd"]) == (
        "UTC",
        {"seed": 1},
        tmp_path / "1",
    )


def test_a_python_without_numpy_has_a_message(tmp_path, no_compiler):
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho no module named numpy >&2\nexit 1\n")
    python.chmod(0o755)
    with pytest.raises(
        SystemExit, match=r"--python: expected a Python with NumPy, got .*\n.*no module"
    ):
        reproducible.conditions([python], tmp_path)


def test_another_python_comes_with_its_versions(tmp_path, no_compiler):
    named = [
        c for c in reproducible.conditions([Path(sys.executable)], tmp_path) if "NumPy " in c.name
    ]
    assert any(f"NumPy {np.__version__}" in c.name for c in named)
    assert all(c.python == Path(sys.executable) for c in named)


def test_kernels_for_old_processors_keep_the_compiler_of_the_user(tmp_path, monkeypatch):
    """`test_a_seed_gives_the_same_bytes_in_every_process` compiles them."""
    build_kernels = pytest.importorskip("build_kernels", reason="hatchling is not installed")
    seen = []
    monkeypatch.setattr(reproducible, "_flags", lambda: {"sse2"})
    monkeypatch.setattr(
        build_kernels, "compile_kernels", lambda folder: seen.append(os.environ["CC"])
    )
    monkeypatch.delenv("CC", raising=False)
    reproducible.conditions([], tmp_path)
    assert "CC" not in os.environ
    monkeypatch.setenv("CC", "no-such-compiler")
    reproducible.conditions([], tmp_path)
    assert os.environ["CC"] == "no-such-compiler"
    assert seen == [f"{name} '-Dtarget_clones(...)=unused'" for name in ("cc", "no-such-compiler")]


def test_invalid_options_have_a_message(run):
    done = run("reproducible.py", "--images", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "argument --images: expected at least 1, got 0" in done.stderr
