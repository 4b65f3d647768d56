"""Equations as MathML, made when the site is built: no script, and nothing to load.

Browsers draw MathML with a mathematical font, which many phones do not have. So the site brings
one: STIX Two Math (SIL Open Font License), from the package ziamath, with the glyphs in use.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Letters in mathematical styles, Greek, arrows, operators, brackets and the parts of large ones.
GLYPHS = "U+20-17F,U+2C6-2DD,U+300-3FF,U+2000-22FF,U+2308-230B,U+239B-23B4,U+23DC-23DF"
GLYPHS += ",U+27E8-27EB,U+1D400-1D7FF"

SPACE = '<mspace width="0.17em"></mspace>'
FUNCTION = r'(?=<mi(?: mathvariant="normal")?>\w{2,}</mi>\s*<mo>&ApplyFunction;)'


def mathml(latex: str, display: bool) -> str:
    """An equation in LaTeX as an element of MathML; screen readers speak it.

    Raises:
        ValueError: for a command that docutils does not know.
    """
    from docutils.utils.math.latex2mathml import tex2mathml

    text = re.sub(r">\s+<", "><", tex2mathml(latex, as_block=display))
    text = re.sub(r"<mo>(max|min)</mo>", r"<mi>\1</mi><mo>&ApplyFunction;</mo>", text)
    # Browsers put no space around the name of a function, and too much around |x|.
    text = re.sub(rf"(</mi>|</mn>|</msub>|</msup>|>\)</mo>){FUNCTION}", rf"\1{SPACE}", text)
    text = re.sub(r"(<mo>&ApplyFunction;</mo>)(?!<mo[^>]*>[(\[{|])", rf"\1{SPACE}", text)
    return text.replace('<mo stretchy="false">|', '<mo stretchy="false" lspace="0" rspace="0">|')


def keep_together(doctree: Any) -> None:
    """Let no line end between an equation and the comma, say, that follows it."""
    from docutils import nodes

    for node in list(doctree.findall(nodes.math)):
        at = node.parent.index(node)
        after = node.parent[at + 1] if at + 1 < len(node.parent) else None
        if isinstance(after, nodes.Text) and (mark := re.match(r"[^\w\s(\[]+", after)):
            both = nodes.inline("", "", node.deepcopy(), nodes.Text(mark[0]), classes=["nobreak"])
            node.parent[at : at + 2] = [both, nodes.Text(after[mark.end() :])]


def write_font(path: Path) -> None:
    """Write the part of the font that equations may need."""
    from fontTools import subset

    package = find_spec("ziamath")
    if package is None or package.origin is None:
        raise ModuleNotFoundError('ziamath has the font; hint: pip install -e ".[docs]"')
    whole = Path(package.origin).parent / "fonts" / "STIXTwoMath-Regular.ttf"
    path.parent.mkdir(parents=True, exist_ok=True)
    options = ["--flavor=woff", "--layout-features=math,ssty,dtls,flac", "--no-hinting"]
    subset.main([str(whole), f"--unicodes={GLYPHS}", f"--output-file={path}", *options])


def setup(app: Any) -> dict[str, bool]:
    """Register the renderer; Sphinx calls this."""
    from docutils.nodes import SkipNode
    from sphinx.util.logging import getLogger

    def render(translator: Any, node: Any, display: bool) -> None:
        try:
            element = mathml(node.astext(), display)
        except ValueError as error:
            getLogger(__name__).warning("%s", error, location=node)
            raise SkipNode from None
        translator.body.append(f'<div class="equation">{element}</div>\n' if display else element)
        raise SkipNode

    app.add_html_math_renderer(
        "mathml",
        (lambda translator, node: render(translator, node, False), None),
        (lambda translator, node: render(translator, node, True), None),
    )
    font = Path(app.outdir) / "_static" / "math.woff"
    app.connect("builder-inited", lambda app: write_font(font))
    app.connect("doctree-read", lambda app, doctree: keep_together(doctree))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
