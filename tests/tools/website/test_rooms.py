"""The reference has every public name and every command once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import minibnn
from minibnn.__main__ import COMMANDS
from minibnn.commands.export import FORMS
from website.rooms import base_of, commands, entries

API = Path(__file__).parents[3] / "docs" / "reference" / "api"
PAGES = {path.name: path.read_text("utf-8") for path in API.glob("*.md")}


def test_every_room_with_public_names_is_on_one_page():
    rooms = re.findall(r"^\.\. room:: (\w+)$", "\n".join(PAGES.values()), re.MULTILINE)
    assert sorted(rooms) == sorted(room for room, names in minibnn._ROOMS.items() if names)


def test_a_room_documents_all_of_its_names():
    text = entries("layers")
    for name in minibnn._ROOMS["layers"].split():
        assert f".. autoclass:: minibnn.{name}\n" in text
    assert ".. autofunction:: minibnn.fit\n" in entries("training")
    assert ".. autoexception:: minibnn.DivergedError\n" in entries("training")


@pytest.mark.parametrize(
    ("cls", "base"),
    [
        (minibnn.ApproxSign, minibnn.Function),
        (minibnn.Dense, minibnn.Layer),
        (minibnn.Adam, minibnn.Optimizer),
        (minibnn.Layer, None),
        (minibnn.PackError, ValueError),
    ],
)
def test_the_base_that_a_reader_knows(cls, base):
    assert base_of(cls) is base


def test_the_help_of_every_command():
    text = commands()
    for name in COMMANDS:
        assert f"``python -m minibnn {name}" in text
    for form in FORMS:
        assert f"   usage: python -m minibnn export {form} [-h] " in text
    assert "--epochs" in text


def test_the_command_line_and_what_is_beside_the_rooms():
    assert ".. commands::" in PAGES["commands.md"]
    assert "minibnn.recipes" in PAGES["recipes.md"]
    assert "minibnn.sklearn" in PAGES["sklearn.md"]
    assert ".. autofunction:: minibnn.learn.check\n" in PAGES["exercises.md"]


def test_names_beside_those_of_other_frameworks_exist():
    """In the tables whose second column has minibnn's names."""
    text = (API.parent / "frameworks.md").read_text("utf-8").partition("## What each can do")[0]
    rows = re.findall(r"^\|([^|]+)\|([^|]+)\|$", text, re.MULTILINE)
    assert len(rows) > 40
    for theirs, ours in rows:
        code = " ".join(re.findall(r"`([^`]+)`", ours))
        names = set(re.findall(r"(?<![\w.])([A-Z]\w+)", code))
        names |= set(re.findall(r"(?<![\w.])([a-z]+_[a-z_]+)\(", code))
        assert names - {"True"} <= set(minibnn.__all__), theirs
