"""Chapters: they run, what fails is named, and they are notebooks."""

from __future__ import annotations

import asyncio
import re

import pytest

import website.chapters
from minibnn.learn.exercise import exercises
from website.chapters import (
    ChapterError,
    chapters,
    kernel_environment,
    key,
    notebook,
    plain_markdown,
    read,
    run,
)

pytest.importorskip("myst_nb")
nbformat = pytest.importorskip("nbformat")

HEAD = "---\nfile_format: mystnb\n---\n# 1. A title\n\nText.\n\n"
FIGURE = """import matplotlib.pyplot as plt
plt.plot([0, 1])
plt.show()
"""


def cell(code, options=""):
    return f"```{{code-cell}} ipython3\n{options}{code}\n```\n\n"


@pytest.fixture
def chapter(tmp_path, monkeypatch):
    """A function that writes a chapter and returns its path."""

    def write(*cells):
        path = tmp_path / "01-one.md"
        path.write_text(HEAD + "".join(cells), encoding="utf-8")
        return path

    monkeypatch.setattr(website.chapters, "BOOK", tmp_path)
    return write


def executed(path):
    with kernel_environment() as environment:
        return asyncio.run(run(path, environment))


def test_a_chapter_runs_in_an_empty_folder(chapter):
    path = chapter(cell("import os\nx = 2"), cell("print(x + 1, os.listdir())"))
    last = executed(path).cells[-1]
    assert last.outputs[0].text == "3 []\n"


def test_a_wrong_number_names_chapter_cell_and_line(chapter):
    path = chapter(cell("x = 2"), "More text.\n\n", cell("assert x == 3, 'x is not 3'"))
    line = path.read_text().splitlines().index("assert x == 3, 'x is not 3'") + 1
    with pytest.raises(ChapterError, match="x is not 3") as error:
        executed(path)
    assert str(error.value).startswith(f"docs/book/01-one.md, cell 2, line {line}:")


@pytest.mark.parametrize("options", ["", ":tags: [remove-cell]\n"])
@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import warnings\nwarnings.warn('too small')", "UserWarning: too small"),
        (
            "import numpy as np\nzero = np.log(0)",
            "RuntimeWarning: divide by zero encountered in log",
        ),
        ("import sys\nprint('a line', file=sys.stderr)", "a line"),
    ],
)
def test_what_a_cell_writes_to_stderr_is_an_error(chapter, code, said, options):
    path = chapter(cell("x = 2"), "More text.\n\n", cell(code, options))
    line = path.read_text().splitlines().index((options + code).splitlines()[0]) + 1
    with pytest.raises(ChapterError, match=said) as error:
        executed(path)
    assert str(error.value).startswith(
        f"docs/book/01-one.md, cell 2, line {line}: expected no warning and nothing on stderr"
    )


def test_a_kernel_that_dies_is_an_error(chapter):
    path = chapter(cell("x = 2"), cell("import os\nos._exit(1)"))
    with pytest.raises(ChapterError, match=r"01-one\.md, cell 2, line "):
        executed(path)


def test_a_figure_needs_a_description(tmp_path, chapter, monkeypatch):
    pytest.importorskip("matplotlib")
    kept, cache = tmp_path / "kept", tmp_path / "cache"
    chapter(cell(FIGURE))
    with pytest.raises(ChapterError, match=r"line \d+: a figure needs a line `:alt: "):
        website.chapters.run_chapters(kept, cache)
    path = chapter(cell(FIGURE, ":alt: A line.\n"))
    website.chapters.run_chapters(kept, cache)
    (file,) = kept.iterdir()
    assert file.name == f"01-one-{key(path)}.ipynb"
    data = nbformat.read(file, as_version=4).cells[-1].outputs[-1].data
    assert list(data) == ["text/html"]
    assert 'aria-label="A line."' in data["text/html"]


def test_what_did_not_change_is_not_run_again(tmp_path, chapter, capsys):
    kept, cache = tmp_path / "kept", tmp_path / "cache"
    path = chapter(cell("print(1)"))
    website.chapters.run_chapters(kept, cache)
    website.chapters.run_chapters(kept, cache)
    assert capsys.readouterr().out.splitlines()[1] == "  01-one.md: as before"
    before = key(path)
    chapter(cell("print(2)"))
    assert key(path) != before
    website.chapters.run_chapters(kept, cache)
    assert len(list(kept.iterdir())) == 1


def test_the_cache_has_what_mystnb_asks_for(tmp_path, chapter):
    from jupyter_cache import get_cache

    path = chapter(cell("print(1)", ":tags: [hide-input]\n"))
    website.chapters.run_chapters(tmp_path / "kept", tmp_path / "cache")
    cache = get_cache(str(tmp_path / "cache"))
    _, found = cache.merge_match_into_notebook(read(path))
    assert found.cells[-1].outputs[0].text == "1\n"


def test_several_failures_are_all_reported(tmp_path, chapter):
    first = chapter(cell("1 / 0"))
    first.rename(tmp_path / "02-two.md")
    chapter(cell("no_such_name"))
    with pytest.raises(ChapterError, match="ZeroDivisionError") as error:
        website.chapters.run_chapters(tmp_path / "kept", tmp_path / "cache")
    assert "01-one.md" in str(error.value)
    assert "02-two.md" in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (":::{note}\nOne.\n\nTwo.\n:::", "> **Note**\n>\n> One.\n>\n> Two."),
        (":::{admonition} Try\n:class: exercises\nOne.\n:::\nTwo.", "> **Try**\n>\n> One.\nTwo."),
        ("{api}`Dense` and {math}`x`", "`Dense` and `x`"),
        ("[two](02-dense-layer.md#a)", "[two](02-dense-layer.ipynb)"),
        ("the [words](../glossary.md#sign)", "the words"),
        ("[out](https://example.org)", "[out](https://example.org)"),
        ("$x$ and `x[0](1)`", "$x$ and `x[0](1)`"),
    ],
)
def test_markdown_for_jupyter(text, expected):
    assert plain_markdown(text) == expected


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_a_chapter_of_the_book_is_a_notebook(path):
    made = notebook(path)
    nbformat.validate(made)
    assert notebook(path) == made  # also the names of its cells
    text = "\n".join(c.source for c in made.cells if c.cell_type == "markdown")
    for only_here in (":::", "{api}", ".md)", "```{"):
        assert only_here not in text
    title, blank, note, *_ = made.cells[0].source.split("\n")
    assert title.startswith("# ")
    assert 'pip install -e ".[plot]"' in blank + note
    code = [c for c in made.cells if c.cell_type == "code"]
    assert [c.source for c in code] == [c.source for c in read(path).cells if c.cell_type == "code"]


NUMBERED = [path for path in chapters() if path.stem[0].isdigit()]  # the appendix has none


@pytest.mark.parametrize("path", NUMBERED, ids=lambda path: path.stem)
def test_a_chapter_lists_its_exercises(path):
    number = int(path.stem[:2])
    text = path.read_text("utf-8").partition("## Exercises")[2].partition("\n## ")[0]
    assert f"`python -m minibnn learn start {number}.1`" in text
    listed = re.findall(r"^(\d)\. ", text, re.MULTILINE)
    assert [f"{number}.{n}" for n in listed] == [
        e.id for e in exercises() if e.id.startswith(f"{number}.")
    ]


@pytest.mark.parametrize("path", chapters(), ids=lambda path: path.stem)
def test_the_code_of_a_chapter_fits_the_page(path):
    lines = [
        line for c in read(path).cells if c.cell_type == "code" for line in c.source.split("\n")
    ]
    assert [line for line in lines if len(line) > 88] == []
