"""tools/compare_checkouts.py: equal results, a changed constant, and errors."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import pytest

import compare_checkouts

ROOT = Path(__file__).parents[2]
FILES = (
    "digits.h",
    "digits.html",
    "digits.onnx",
    "history.csv",
    "latents.safetensors",
    "packed.safetensors",
    "values.bin",
)
SHORT = ("--recipes", "seed", "--epochs", "1", "--sample", "--train-images", "200")


@pytest.fixture
def tool():
    """The script as a module."""
    return compare_checkouts


@pytest.fixture
def copy(tmp_path):
    """A copy of minibnn, with its C kernels if this checkout has them."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "minibnn", tmp_path / "copy" / "minibnn", ignore=ignored)
    return tmp_path / "copy"


@pytest.fixture
def run(tool, monkeypatch, capfd):
    """Run the script in this process; return its exit status, stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("MINIBNN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("MINIBNN_OFFLINE", "1")

    def run(*words: object) -> tuple[int, str, str]:
        code = tool.main(list(map(str, words)))
        return code, *capfd.readouterr()

    return run


def compiled() -> list[str]:
    there = any((ROOT / "minibnn").rglob("_kernels.so"))
    return [] if there and os.environ.get("MINIBNN_COMPILED") != "0" else ["--without-c"]


def test_a_checkout_equals_its_copy_and_not_one_with_another_constant(run, tool, copy, tmp_path):
    pytest.importorskip("onnx")
    kept = tmp_path / "kept"
    code, out, err = run("results", ROOT, copy, *SHORT, *compiled(), "--keep", kept)
    assert code == 0, err
    rows = [line.split(" | ") for line in out.splitlines()[2:-2]]
    assert [row[0] for row in rows] == [f"| seed/{name}" for name in FILES]
    assert {row[2] for row in rows} == {"equal |"}
    assert out.endswith("\nnone of 7 files differ\n")
    note = json.loads((kept / "new" / "run.json").read_text())
    assert note["checkout"] == str(copy)
    assert note["C kernels"] == (not compiled())

    changed = 0
    for file in (copy / "minibnn" / "optimizers").glob("*.py"):
        text = file.read_text()
        file.write_text(text.replace("beta1: float = 0.9,", "beta1: float = 0.5,"))
        changed += file.read_text() != text
    assert changed
    code, out, err = run("results", copy, *SHORT, *compiled(), "--old-results", kept / "old")
    assert code == 1, err
    assert "| seed/history.csv | " in out
    assert "DIFFERENT: " in out
    assert ", line 2: `1," in out
    assert "equal" not in out
    assert out.endswith("\n7 of 7 files differ\n")

    (kept / "new" / "run.json").write_text(json.dumps(note | {"train images": 100}))
    with pytest.raises(tool.CompareError, match=r"train images: expected the same .* 200 and 100"):
        tool.compare(kept / "old", kept / "new", ["seed"])


@pytest.mark.parametrize("state", ["missing", "stale"])
def test_kernels_that_cannot_be_compiled_are_an_error(run, copy, state):
    """The copy has no pyproject.toml. A checkout with C kernels and one without are not compared."""
    for file in copy.rglob("_kernels.*" if state == "missing" else "*.c"):
        if state == "missing":
            file.unlink()
        else:
            file.write_text(file.read_text() + "/* changed */\n")
    code, _, err = run("results", copy, "--keep", copy / "kept", *SHORT)
    assert code == 2
    assert "compiling the C kernels of" in err
    assert f"error: old: expected compiled C kernels in {copy}" in err
    assert not (copy / "kept").exists()


def test_an_interpreter_that_imports_another_minibnn(run, copy, tmp_path):
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    code, _, err = run("results", copy, "--keep", tmp_path / "kept", "--old-python", python, *SHORT)
    assert code == 2
    assert f"error: old: expected the minibnn of {copy}" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["results", ROOT, ROOT / "tools"], "error: new: expected a checkout, with minibnn/__init__.py"),
        (["results", ROOT], "error: one checkout alone: expected --keep FOLDER, or --old-results"),
        (["results", ROOT, "--old-results", ROOT], "error: --old-results: expected a folder with run.json"),
        (["results", ROOT, ROOT, "--keep", "{tmp}"], "error: --keep: expected a folder without results"),
        (["speed", ROOT], "error: speed: expected two checkouts, got one"),
        (["results", ROOT, ROOT, ROOT], "expected OLD and NEW, got 3 checkouts"),
        (["results", ROOT, ROOT, "--old-results", ROOT], "expected NEW alone with --old-results"),
        (["results", ROOT, ROOT, "--threads", "0"], "expected a positive integer, got '0'"),
        (["results", ROOT, ROOT, "--recipes", "sed"], "invalid choice: 'sed'"),
        (["speed", ROOT, ROOT, "--workloads", "epoch"], "invalid choice: 'epoch'"),
    ],
)  # fmt: skip
def test_errors_have_a_message(tool, words, message, tmp_path, capsys):
    (tmp_path / "old").mkdir()
    try:
        code = tool.main([str(word).format(tmp=tmp_path) for word in words])
    except SystemExit as error:  # argparse's
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        (b"a\nb\n", b"a\nb\n", ""),
        (b"a\nb,1\n", b"a\nb,2\n", "6 and 6 bytes, from byte 4 on, line 2: `b,1` and `b,2`"),
        (b"a\n", b"a\nb\n", "2 and 4 bytes, from byte 2 on, line 2: `` and `b`"),
        (b"\0a", b"\0b", "2 and 2 bytes, from byte 1 on"),
        (b"", b"\0", "0 and 1 bytes, from byte 0 on"),
        (b"x" * 5000 + b"1", b"x" * 5000 + b"2", "5,001 and 5,001 bytes, from byte 5,000 on, line 1: "
         f"`{'x' * 20}1` and `{'x' * 20}2`"),
    ],
)  # fmt: skip
def test_the_first_difference_is_described(tool, tmp_path, old, new, text):
    (tmp_path / "old").write_bytes(old)
    (tmp_path / "new").write_bytes(new)
    assert tool.difference(tmp_path / "old", tmp_path / "new") == text


def test_a_file_of_one_side_only(tool, tmp_path):
    for side in ("old", "new"):
        (tmp_path / side / "seed").mkdir(parents=True)
    (tmp_path / "old" / "seed" / "digits.h").touch()
    pair = [tmp_path / side / "seed" / "digits.h" for side in ("old", "new")]
    assert tool.difference(*pair) == f"only in {tmp_path / 'old'}"
    assert tool.difference(*reversed(pair)) == f"only in {tmp_path / 'old'}"
