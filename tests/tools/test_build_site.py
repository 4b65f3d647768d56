"""The command that builds the site."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


# A build of other chapters, as a program.
PROGRAM = """
import runpy
import sys
from pathlib import Path
sys.path.insert(0, {tools!r})
import website.chapters
website.chapters.BOOK = Path({folder!r}, "book")
sys.argv = ["build_site.py", "--out", {folder!r} + "/site"]
runpy.run_path({tools!r} + "/build_site.py", run_name="__main__")
"""


def build_of(folder, chapters):
    """The command that builds a book of chapters, in a new process."""
    (folder / "book").mkdir()
    for number, code in enumerate(chapters):
        text = CHAPTER.replace("assert 1 + 1 == 3", code)
        (folder / "book" / f"0{number}-a.md").write_text(text)
    program = PROGRAM.format(tools=str(Path(build_site.__file__).parent), folder=str(folder))
    return [sys.executable, "-c", program]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_the_build_and_its_kernels_in_one_line(tmp_path):
    begun = [tmp_path / "0", tmp_path / "1"]
    code = (
        "import os, pathlib, time\npathlib.Path({!r}).write_text(str(os.getpid()))\ntime.sleep(90)"
    )
    chapters = [code.format(str(file)) for file in begun] + ["x = 1"]  # two run, one waits
    process = subprocess.Popen(build_of(tmp_path, chapters), stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    while not all(file.exists() and file.read_text() for file in begun):
        assert time.monotonic() < end
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=30)[1] == "interrupted\n"
    assert process.returncode == 130
    for file in begun:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_kernels_need_no_network(tmp_path):
    alone = ["unshare", "-n", "-r"]  # without even 127.0.0.1
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs `unshare -n -r`")
    command = [*alone, *build_of(tmp_path, ["raise ValueError('it has run')"])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert "ValueError: it has run" in done.stderr
