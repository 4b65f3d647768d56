"""Check the links of the built site without a network."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {("script", "src"), ("img", "src"), ("link", "href"), ("source", "src"), ("iframe", "src")}


class Page(HTMLParser):
    """The anchors of a page, and what it links to and loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.twice: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what an element names, links to or loads."""
        for name, value in attrs:
            if name == "id" and value:
                (self.twice if value in self.anchors else self.anchors).add(value)
            elif (tag, name) in LOADS and value:
                self.loads.append(value)
            elif (tag, name) == ("a", "href") and value:
                self.links.append(value)


def broken_links(site: Path) -> list[str]:
    """What is wrong with the links of a site: one line for each page and target.

    A link to the site itself needs its file, and its anchor if it names one. Everything that a page
    loads must be a file of the site, so that it looks the same without a network.
    """
    pages = {path: Page(path.read_text("utf-8")) for path in sorted(site.rglob("*.html"))}
    wrong = []
    for path, page in pages.items():
        name = path.relative_to(site)
        wrong += [f"{name}: two elements have the id {i}" for i in sorted(page.twice)]
        for target in dict.fromkeys([*page.links, *page.loads]):
            parts = urlsplit(target)
            if parts.scheme or parts.netloc:
                if target in page.loads and parts.scheme != "data":
                    wrong.append(f"{name}: loads {target} from the network")
                continue
            file = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not file.is_file():
                wrong.append(f"{name}: no file {target}")
            elif (
                parts.fragment
                and file in pages
                and unquote(parts.fragment) not in (pages[file].anchors)
            ):
                wrong.append(f"{name}: no anchor {target}")
    return wrong
