"""Links of a built site."""

from __future__ import annotations

import pytest

from website.links import broken_links

GOOD = """<link href="site.css"><img src="data:image/png;base64,AA=="><h1 id="top">a</h1>
<a href="b/c.html#part">c</a><a href="#top">up</a><a href="https://example.org/x">out</a>
<a href="my%20file.ipynb" download>file</a>"""


@pytest.fixture
def site(tmp_path):
    (tmp_path / "site.css").write_text("")
    (tmp_path / "my file.ipynb").write_text("")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.html").write_text('<p id="part"></p><a href="../index.html#top">a</a>')
    (tmp_path / "index.html").write_text(GOOD)
    return tmp_path


def test_good_links(site):
    assert broken_links(site) == []


@pytest.mark.parametrize(
    ("added", "said"),
    [
        ('<a href="no.html">x</a>', "index.html: no file no.html"),
        ('<a href="b/c.html#no">x</a>', "index.html: no anchor b/c.html#no"),
        ('<a href="#no">x</a>', "index.html: no anchor #no"),
        ('<a href="b">x</a>', "index.html: no file b"),
        ('<script src="//cdn.org/x.js">', "index.html: loads //cdn.org/x.js from the network"),
        ('<img src="https://a.org/x.png">', "index.html: loads https://a.org/x.png from the"),
        ('<img src="no.png">', "index.html: no file no.png"),
        ('<p id="top">x</p>', "index.html: two elements have the id top"),
    ],
)
def test_a_bad_link_is_named(site, added, said):
    (site / "index.html").write_text(GOOD + added)
    (wrong,) = broken_links(site)
    assert wrong.startswith(said)
