"""What README and the other pages say to type: it exists, takes these options, and works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from devices import STRICT

import minibnn
from minibnn import (
    Adam,
    BatchNorm,
    CapturedSteps,
    DataLoader,
    Dense,
    LogitCrossEntropy,
    Sequential,
    load_packed,
    load_sample,
)
from minibnn.__main__ import COMMANDS, main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "ARCHITECTURE.md"]
PAGES += [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "benchmarks" / "README.md"]
PROGRAMS = ("python", "pip", "pytest", "bash", "ruff", "mypy")


def fenced(text):
    """The blocks of code: the language and the lines of each."""
    inside, language, lines = False, "", []
    for line in text.splitlines():
        if line.strip().startswith("```"):
            if inside:
                yield language, "\n".join(lines)
            inside, language, lines = not inside, line.strip()[3:], []
        elif inside:
            lines.append(line)


def commands():
    """Each command of each page, as a list of words without variables before it."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        for _, block in fenced(text):
            found += block.replace("\\\n", " ").splitlines()
        for line in found:
            for command in line.split("&&"):
                bare = re.sub(r"^(\s*[A-Z_]+=\S+)*\s*", "", command)
                if bare.split(" ")[0] in PROGRAMS:
                    yield page.name, shlex.split(bare, comments=True)


COMMANDS_OF_PAGES = sorted({(page, *words) for page, words in commands()})
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def test_there_are_commands():
    names = {words[1:3] for words in COMMANDS_OF_PAGES}
    assert {("python", "examples/mnist.py"), ("pip", "install"), ("python", "-m")} <= names
    assert len(COMMANDS_OF_PAGES) > 40


@pytest.mark.parametrize("words", COMMANDS_OF_PAGES, ids=" ".join)
def test_a_command_of_a_page_is_there_and_takes_its_options(words, capsys):
    _, program, *rest = words
    options = [word.partition("=")[0] for word in rest if word.startswith("--")]
    if program == "pip":
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(rest)):
            assert set(extra.split(",")) <= set(EXTRAS)
    elif rest[:2] == ["-m", "minibnn"]:
        command = [word for word in rest[2:] if not word.startswith("-")][:1]
        assert set(command) <= {*COMMANDS, "COMMAND"}
        more = ["c"] * (command == ["export"])
        with pytest.raises(SystemExit, match="0"):
            main([*(c for c in command if c != "COMMAND"), *more, "--help"])
        shown = capsys.readouterr().out
        assert all(option in shown for option in options)
    elif program == "python" and rest[0] == "-c":
        done = subprocess.run([sys.executable, *rest], capture_output=True, text=True, cwd=ROOT)
        assert (done.returncode, done.stderr) == (0, "")
    elif program == "python" and rest[0] == "-m":
        pytest.importorskip(rest[1])
    elif program in ("python", "bash"):
        source = (ROOT / rest[0]).read_text(encoding="utf-8")
        settings = source + (ROOT / "tools" / "validate_gpu" / "confirm" / "setting.py").read_text()
        settings += (ROOT / "benchmarks" / "harness" / "contestant.py").read_text()
        assert all(f'"{option}"' in settings for option in options)


def test_the_three_lines_to_a_microcontroller(tmp_path, monkeypatch, capsys):
    """The guide's block, on the bundled sample and for one epoch so that it takes seconds."""
    text = (ROOT / "docs" / "guides" / "ship.md").read_text(encoding="utf-8")
    start = "python -m minibnn train --recipe modern"
    block = next(b for _, b in fenced(text) if b.startswith(start))
    monkeypatch.chdir(tmp_path)
    for line in block.splitlines():
        words = shlex.split(line)[3:]
        short = ["--epochs", "1", "--dataset", "sample"] if words[0] == "train" else []
        assert main([*words, *short]) == 0
    assert load_packed("digits.safetensors").classes == 10
    assert "digits_predict" in Path("digits.h").read_text()


def test_the_four_lines_for_a_table(tmp_path, monkeypatch, capsys):
    """README's block on data of one's own, for a few epochs."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = next(b for _, b in fenced(text) if b.startswith("python -m minibnn train sensor.csv"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 3))
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(kind=np.where(x[:, 0] > 0, "x", "y"))
    table.to_csv("sensor.csv", index=False)
    for line in block.splitlines():
        words = shlex.split(line)[3:]
        assert main([*words, *["--epochs", "5"] * (words[0] == "train")]) == 0
    assert load_packed("sensor.safetensors").class_names == ("x", "y")
    assert "sensor_predict" in Path("sensor.h").read_text()


def test_a_loop_of_captured_steps(monkeypatch):
    """The guide's block for a GPU, on the strict stand-in."""
    text = (ROOT / "docs" / "guides" / "gpu.md").read_text(encoding="utf-8")
    block = next(b for _, b in fenced(text) if "steps = CapturedSteps(" in b)
    assert '.to("gpu")' in block
    rng = np.random.default_rng(0)
    model = Sequential(Dense(5, 4), BatchNorm(4), Dense(4, 3)).initialize(rng)
    x = rng.standard_normal((300, 5), dtype=np.float32)
    train = DataLoader((x, np.arange(300) % 3), 10, shuffle=True, rng=rng)
    names = {"model": model, "train": train, "loss": LogitCrossEntropy(), "Adam": Adam}
    names["STRICT"] = STRICT
    exec(block.replace('"gpu"', "STRICT"), names)
    assert isinstance(names["steps"], CapturedSteps)
    assert names["steps"].captured
    assert np.isfinite(STRICT.to_host(names["losses"])).all()


def test_which_names_of_variables_there_are():
    """Each variable of the environment that a page names is read somewhere."""
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("minibnn", "tools", "benchmarks", "tests", ".ci")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in (".py", "") and path.is_file()
    )
    for page in PAGES:
        for name in set(re.findall(r"\bMINIBNN_[A-Z]+\b", page.read_text(encoding="utf-8"))):
            assert f'"{name}"' in sources or f"{{{name}:-" in sources, (page.name, name)


def test_help_that_pages_promise():
    """`help(minibnn.Layer)` has a layer of one's own, which runs as a doctest."""
    assert ">>> class Scale(Layer):" in minibnn.Layer.__doc__
    assert len(load_sample().train_images) == 4000
