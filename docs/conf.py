"""How Sphinx builds the site; `python tools/build_site.py` calls it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))

project = "minibnn"
author = copyright = "The minibnn developers"

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "website.chapters",
    "website.equations",
    "website.mathml",
    "website.rooms",
]
source_suffix = {".md": "myst-nb"}
exclude_patterns = ["book/WRITING.md"]
nitpicky = True

# Markdown, as the files read on a code host: anchors of headings are GitHub's.
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath", "attrs_inline"]
myst_heading_anchors = 3

# `tools/build_site.py` runs the chapters before Sphinx starts, and puts what they gave here.
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_in_temp = True
nb_merge_streams = True
nb_code_prompt_show, nb_code_prompt_hide = "Show the code", "Hide the code"
nb_render_image_options = {"class": "output"}

autodoc_member_order = "bysource"
toc_object_entries_show_parents = "hide"
autodoc_typehints = "none"  # the docstrings say it, with shapes
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = ["Shapes", "Reference"]
default_role = "api"

html_theme = "furo"
html_title = "minibnn"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_search_summary = False  # it needs a server, and pages open from disk, too
html_math_renderer = "mathml"
html_show_sphinx = html_show_sourcelink = html_copy_source = False
html_theme_options = {
    "navigation_with_keys": True,
    "light_css_variables": {"color-brand-primary": "#2368d9", "color-brand-content": "#2368d9"},
    "dark_css_variables": {"color-brand-primary": "#6ea8ff", "color-brand-content": "#6ea8ff"},
}
highlight_language = "text"  # of blocks that name none
pygments_style, pygments_dark_style = "friendly", "github-dark"


def _list_decisions(app, page, source):
    """Put the pages of decisions below their overview, which is a README on a code host."""
    if page == "decisions/README":
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n*\n```\n"


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _list_decisions)
