"""The command that builds the site."""

from __future__ import annotations

import sys

import pytest

import build_site
import website.chapters

pytest.importorskip("myst_nb")

CHAPTER = """---
file_format: mystnb
---
# A chapter

```{code-cell} ipython3
assert 1 + 1 == 3
```
"""


@pytest.fixture
def built(tmp_path, monkeypatch, capsys):
    """A function that builds a site of the files that it gets; its exit code and messages."""

    def build(files):
        docs = tmp_path / "docs"
        for name, text in files.items():
            (docs / name).parent.mkdir(parents=True, exist_ok=True)
            (docs / name).write_text(text, encoding="utf-8")
        monkeypatch.setattr(website.chapters, "BOOK", docs / "book")
        monkeypatch.setattr(build_site, "DOCS", docs)
        monkeypatch.setattr(build_site, "WORK", tmp_path / "work")
        monkeypatch.setattr(sys, "argv", ["build_site.py", "--out", str(tmp_path / "site")])
        code = build_site.main()
        return code, capsys.readouterr()

    return build


CONF = "extensions = ['myst_nb']\nnb_execution_mode = 'cache'\nhtml_theme = 'basic'\n"
INDEX = "# Title\n\n```{toctree}\nbook/01-one\n```\n"


def test_a_site_is_built(built, tmp_path):
    right = CHAPTER.replace("== 3", "== 2") + "\n```{code-cell} ipython3\nprint('so', 7)\n```\n"
    code, said = built({"conf.py": CONF, "index.md": INDEX, "book/01-one.md": right})
    assert (code, said.err) == (0, "")
    assert "so 7" in (tmp_path / "site" / "book" / "01-one.html").read_text()
    assert " MB, " in said.out


def test_a_wrong_number_fails_the_build(built, tmp_path):
    code, said = built({"conf.py": CONF, "index.md": INDEX, "book/01-one.md": CHAPTER})
    assert code == 1
    assert "docs/book/01-one.md, cell 1, line 7:" in said.err
    assert "assert 1 + 1 == 3" in said.err
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](no-such-page.md)", ""),  # Sphinx says so to the terminal
        ('<a href="no.html">x</a>', "index.html: no file no.html"),
        ('<img src="https://a.org/a.png">', "from the network"),
    ],
)
def test_a_bad_link_fails_the_build(built, text, said):
    right = CHAPTER.replace("== 3", "== 2")
    code, output = built(
        {"conf.py": CONF, "index.md": INDEX + f"\n{text}\n", "book/01-one.md": right}
    )
    assert code == 1
    assert said in output.err


@pytest.mark.parametrize("got", ["a folder with other files", "a file"])
def test_what_is_no_site_is_not_deleted(built, tmp_path, got):
    kept = tmp_path / "site" / "notes.txt" if got.startswith("a folder") else tmp_path / "site"
    kept.parent.mkdir(exist_ok=True)
    kept.write_text("mine")
    code, said = built({"conf.py": CONF, "index.md": INDEX, "book/01-one.md": CHAPTER})
    assert (code, kept.read_text()) == (1, "mine")
    assert said.out == ""  # nothing has run
    assert f"got {got}, {tmp_path / 'site'}; name another folder" in said.err


def test_an_empty_folder_and_a_built_site_are_replaced(built, tmp_path):
    (tmp_path / "site").mkdir()
    for number in (7, 8):
        right = CHAPTER.replace("assert 1 + 1 == 3", f"print('so', {number})")
        code, said = built({"conf.py": CONF, "index.md": INDEX, "book/01-one.md": right})
        assert (code, said.err) == (0, "")
        page = (tmp_path / "site" / "book" / "01-one.html").read_text()
        assert f"so {number}" in page
