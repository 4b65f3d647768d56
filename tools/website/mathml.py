"""Equations as MathML, made when the site is built: no script, and nothing to load.

Browsers draw MathML with a mathematical font, which many phones do not have. So the site brings
one: STIX Two Math (SIL Open Font License), from the package ziamath, with the glyphs in use.
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Letters in mathematical styles, Greek, arrows, operators, brackets and the parts of large ones.
GLYPHS = "U+20-17F,U+300-3FF,U+2000-22FF,U+2308-230B,U+239B-23B4,U+23DC-23DF,U+27E8-27EB"
GLYPHS += ",U+1D400-1D7FF"


@cache
def mathml(latex: str, display: bool) -> str:
    """An equation in LaTeX as an element of MathML; screen readers speak it."""
    from latex2mathml.converter import convert

    return str(convert(latex, display="block" if display else "inline"))


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

    def inline(translator: Any, node: Any) -> None:
        translator.body.append(mathml(node.astext(), False))
        raise SkipNode

    def block(translator: Any, node: Any) -> None:
        translator.body.append(f'<div class="equation">{mathml(node.astext(), True)}</div>\n')
        raise SkipNode

    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    font = Path(app.outdir) / "_static" / "math.woff"
    app.connect("builder-inited", lambda app: write_font(font))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
