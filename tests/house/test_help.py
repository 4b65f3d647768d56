"""`help(minibnn)` is a page; completion and `pydoc` know every public name."""

from __future__ import annotations

import subprocess
import sys

import pytest

import minibnn

PAGE = 160  # lines: the docstring, the list of rooms, a few more

COMPLETE = """
import rlcompleter, sys

class NoScikitLearn:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "sklearn":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, NoScikitLearn())
import minibnn
completer, found = rlcompleter.Completer({"minibnn": minibnn}), []
while (match := completer.complete(sys.argv[1], len(found))) is not None:
    found.append(match)
print("\\n".join(found))
"""


def python(*words):
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


@pytest.mark.parametrize(
    "before", ["", "minibnn.Dense, minibnn.recipes", "from minibnn import *"], ids=repr
)
def test_help_is_a_page(before):
    page = python("-c", f"import minibnn\n{before}\nhelp(minibnn)")
    assert len(page.splitlines()) <= PAGE
    for line in minibnn.__doc__.splitlines():
        assert line.strip() in page
    assert "PACKAGE CONTENTS" in page
    assert minibnn.__version__ in page


def test_pydoc_shows_the_package_a_class_and_a_room():
    assert len(python("-m", "pydoc", "minibnn").splitlines()) <= PAGE
    assert "z = x Wq + b" in python("-m", "pydoc", "minibnn.Dense")
    assert "RECIPES" in python("-m", "pydoc", "minibnn.recipes")


def test_completion_without_scikit_learn():
    found = python("-c", COMPLETE, "minibnn.").splitlines()
    names = {match.removeprefix("minibnn.").rstrip("()") for match in found}
    assert set(minibnn.__all__) <= names
    assert {"recipes", "layers", "functions"} <= names
    assert python("-c", COMPLETE, "minibnn.Den").split() == ["minibnn.Dense("]


def test_dir_lists_what_help_does_not():
    assert set(minibnn.__all__) <= set(dir(minibnn))
    assert {"recipes", "layers", "__version__"} <= set(dir(minibnn))
