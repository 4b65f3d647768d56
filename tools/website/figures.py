"""Figures of the book, within the page: their colours are the page's, light or dark."""

from __future__ import annotations

import html
import re

# The colours of `matplotlibrc`, and the variables of docs/_static/site.css that replace them.
VARIABLES = {
    "#1b2027": "ink",
    "#8a929c": "faint",
    "#d9dde2": "grid",
    "#ffffff": "paper",
    "#000000": "ink",
    "#2368d9": "0",
    "#d4511e": "1",
    "#13866b": "2",
    "#8d4fc4": "3",
    "#b8860b": "4",
    "#6d7681": "5",
}


def figure(svg: str, alt: str, caption: str, name: str) -> str:
    """A figure of matplotlib as an element of HTML.

    Args:
        svg: the file that matplotlib wrote.
        alt: what the figure shows, for those who do not see it.
        caption: a line below the figure, or nothing.
        name: unique on the page; the names inside of the figure begin with it.
    """
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    for colour, variable in VARIABLES.items():
        svg = re.sub(f"{colour}\\b", f"var(--plot-{variable})", svg)
    # A page has several figures, and matplotlib gives all of them the same names.
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r"url\(#", f"url(#{name}-", svg)
    svg = re.sub(r'xlink:href="#', f'xlink:href="#{name}-', svg)
    svg = re.sub(r"font: ([\d.]+px) [^;\"]+", r"font-size: \1", svg)
    head, body = svg.split(">", 1)
    width, height = re.findall(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)[0]
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{html.escape(alt)}"'
    head += ' xmlns:xlink="http://www.w3.org/1999/xlink"'
    below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
    # 1 point of matplotlib is 4/3 pixels; the figure shrinks with a narrow page.
    style = f"max-width: {float(width) * 4 / 3:.0f}px"
    return f'<figure class="plot" style="{style}">{head}>{body}{below}</figure>'
