"""The reference: each room's public names, from the table in `minibnn/__init__.py`.

The directive ``.. room:: layers`` documents them all, and the role ``api`` links to one. It is also
what single backticks mean in docstrings: a link if the reference has that name, else code.
"""

from __future__ import annotations

import inspect
from typing import Any

import minibnn


def entries(room: str) -> str:
    """The directives of autodoc for the public names of a room, in reStructuredText."""
    text = []
    for name in minibnn._ROOMS[room].split():
        value = getattr(minibnn, name)
        if inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            text += [f".. auto{kind}:: minibnn.{name}", "   :members:", "   :show-inheritance:", ""]
        else:
            text += [f".. autofunction:: minibnn.{name}", ""]
    return "\n".join(text)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive and the role; Sphinx calls this."""
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.addnodes import pending_xref
    from sphinx.domains.python import PyXRefRole
    from sphinx.util.docutils import SphinxDirective

    class Room(SphinxDirective):
        required_arguments = 1

        def run(self) -> list[Any]:
            source = f"room {self.arguments[0]}"
            lines = StringList(entries(self.arguments[0]).splitlines(), source)
            parent = nodes.Element()
            self.state.nested_parse(lines, self.content_offset, parent)
            return list(parent.children)

    class Api(PyXRefRole):
        def process_link(
            self, env: Any, refnode: Any, has_title: bool, title: str, target: str
        ) -> tuple[str, str]:
            title, target = super().process_link(env, refnode, has_title, title, target)
            refnode["refdomain"], refnode["reftype"] = "py", "obj"
            refnode["py:module"] = refnode.get("py:module") or "minibnn"
            refnode["may-miss"] = True
            return title, target.removesuffix("()")

    def as_code(app: Any, env: Any, node: pending_xref, content: Any) -> Any:
        return content if node.get("may-miss") else None

    app.add_directive("room", Room)
    app.add_role("api", Api())
    app.connect("missing-reference", as_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
