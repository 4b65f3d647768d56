"""The reference: each room's public names, from the table in `minibnn/__init__.py`.

The directive ``.. room:: layers`` documents them all, ``.. commands::`` has the help of the command
line, and the role ``api`` links to a name. It is also what single backticks mean in docstrings: a
link if the reference has that name, else code.
"""

from __future__ import annotations

import inspect
import io
import os
from contextlib import redirect_stdout, suppress
from typing import Any

import minibnn
from minibnn.__main__ import COMMANDS, main
from minibnn.commands.export import FORMS

PUBLIC = {getattr(minibnn, name): name for name in minibnn.__all__}


def base_of(cls: type) -> type | None:
    """The nearest class above that the reference has, or a built-in one."""
    above = (c for c in cls.__mro__[1:] if c in PUBLIC or c.__module__ == "builtins")
    found = next(above, object)
    return None if found is object else found


def entries(room: str) -> str:
    """The directives of autodoc for the public names of a room, in reStructuredText."""
    text = []
    for name in minibnn._ROOMS[room].split():
        value = getattr(minibnn, name)
        if inspect.isclass(value):
            kind = "exception" if issubclass(value, BaseException) else "class"
            text += [f".. auto{kind}:: minibnn.{name}", "   :members:"]
            text += ["   :show-inheritance:"] * (base_of(value) is not None) + [""]
        else:
            text += [f".. autofunction:: minibnn.{name}", ""]
    return "\n".join(text)


def help_of(words: list[str]) -> str:
    """What a command of `python -m minibnn` prints for ``--help``."""
    columns, os.environ["COLUMNS"] = os.environ.get("COLUMNS"), "88"
    try:
        with redirect_stdout(io.StringIO()) as text, suppress(SystemExit):
            main([*words, "--help"])
    finally:
        del os.environ["COLUMNS"]
        if columns is not None:
            os.environ["COLUMNS"] = columns
    return text.getvalue()


def commands() -> str:
    """The help of all commands, in reStructuredText."""
    asked = [[], *([name] for name in COMMANDS if name != "export")]
    asked += [["export", form] for form in FORMS]
    text = []
    for words in asked:
        title = " ".join(["python -m minibnn", *words])
        lines = [f"   {line}" for line in help_of(words).splitlines()]
        text += [f"``{title}``", "-" * (len(title) + 4), "", ".. code-block:: text", "", *lines, ""]
    return "\n".join(text)


def setup(app: Any) -> dict[str, bool]:
    """Register the directive and the role; Sphinx calls this."""
    from docutils import nodes
    from docutils.statemachine import StringList
    from sphinx.domains.python import PyXRefRole
    from sphinx.util.docutils import SphinxDirective

    class Written(SphinxDirective):
        """A directive in whose place stands a text of reStructuredText."""

        def parse(self, text: str) -> list[Any]:
            lines, parent = StringList(text.splitlines(), self.name), nodes.Element()
            self.state.nested_parse(lines, 0, parent, match_titles=True)
            return list(parent.children)

    class Room(Written):
        required_arguments = 1

        def run(self) -> list[Any]:
            return self.parse(entries(self.arguments[0]))

    class Commands(Written):
        def run(self) -> list[Any]:
            return self.parse(commands())

    class Api(PyXRefRole):
        def process_link(
            self, env: Any, refnode: Any, has_title: bool, title: str, target: str
        ) -> tuple[str, str]:
            title, target = super().process_link(env, refnode, has_title, title, target)
            refnode["refdomain"], refnode["reftype"] = "py", "obj"
            refnode["py:module"] = refnode.get("py:module") or "minibnn"
            return title, target.removesuffix("()")

    def as_code(app: Any, env: Any, node: Any, content: Any) -> Any:
        # Docstrings name arguments and private classes, too; pages name what is there.
        docstring = node.get("refdoc", "").startswith("reference/api/")
        return content if docstring and node.get("refdomain") == "py" else None

    def nearest(app: Any, name: str, cls: type, options: Any, bases: list[Any]) -> None:
        bases[:] = [f":py:class:`{PUBLIC.get(c, c.__name__)}`" for c in [base_of(cls)] if c]

    app.connect("autodoc-process-bases", nearest)
    app.add_directive("room", Room)
    app.add_directive("commands", Commands)
    app.add_role("api", Api())
    app.connect("missing-reference", as_code)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
