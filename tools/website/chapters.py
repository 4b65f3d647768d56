"""The chapters of the book: run them, keep what they gave, and offer them as notebooks.

A chapter is a file of Markdown with cells of code, as MyST-NB reads it. `run_chapters` runs each
in a kernel of its own and puts the results into the cache from which MyST-NB then takes them.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from website.figures import figure

ROOT = Path(__file__).parents[2]
BOOK = ROOT / "docs" / "book"
TIMEOUT = 120  # seconds for one cell
NOTE = (
    "*A chapter of the minibnn book. It needs minibnn with matplotlib: in a clone of the "
    'repository, `pip install -e ".[plot]"`.*'
)
MARKED = ("hide-input", "hide-output", "hide-cell", "remove-cell", "remove-input")

# The kernel draws as the site wants it, and keeps no history of commands.
KERNEL = """
c = get_config()
c.InlineBackend.figure_formats = {"svg"}
c.InlineBackend.rc = {}
c.IPKernelApp.matplotlib = "inline"
c.IPKernelApp.log_level = "ERROR"
c.HistoryManager.enabled = False
"""


class ChapterError(Exception):
    """A cell of a chapter failed; the message says which."""


class Loop(asyncio.SelectorEventLoop):
    """An event loop that Ctrl-C ends, with all kernels.

    Each client would set a handler of its own in its place, which ends only this client's kernel.
    """

    def add_signal_handler(self, *args: Any) -> None:  # type: ignore[override]
        """Do nothing."""


def sockets(folder: str) -> dict[str, str]:
    """How a kernel is spoken to: by sockets in a folder, for which no network has to be set up."""
    ip = os.path.join(folder, "kernel")
    short = len(ip) < 90  # the system limits it to 104 characters or so, with a number behind it
    return {"transport": "ipc", "ip": ip} if os.name == "posix" and short else {}


def chapters() -> list[Path]:
    """The files of the book that have cells, in their order."""
    head = "---\nfile_format: mystnb\n"
    return sorted(p for p in BOOK.glob("*.md") if p.read_text("utf-8").startswith(head))


def read(path: Path) -> Any:
    """The notebook in a chapter, as MyST-NB reads it; nothing is run."""
    from myst_nb.core.read import read_myst_markdown_notebook
    from myst_parser.config.main import MdParserConfig

    config = MdParserConfig(enable_extensions={"colon_fence", "dollarmath"})
    text = path.read_text("utf-8")
    return read_myst_markdown_notebook(text, config, add_source_map=True, path=str(path))


def key(path: Path) -> str:
    """What the results of a chapter depend on, as a name for them."""
    inputs = [
        path,
        *sorted((ROOT / "minibnn").rglob("*")),
        *sorted(Path(__file__).parent.iterdir()),
    ]
    digest = hashlib.sha256()
    for file in inputs:
        if file.is_file() and file.suffix not in (".pyc", ".seal"):
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()[:16]


@contextmanager
def kernel_environment() -> Iterator[dict[str, str]]:
    """The environment of a kernel: the site's figures, the bundled sample, no user's settings."""
    with tempfile.TemporaryDirectory() as settings:
        profile = Path(settings) / "profile_default"
        profile.mkdir()
        (profile / "ipython_kernel_config.py").write_text(KERNEL)
        environment = os.environ | {
            "IPYTHONDIR": settings,
            "MATPLOTLIBRC": str(Path(__file__).with_name("matplotlibrc")),
            "MINIBNN_OFFLINE": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }
        environment.pop("MINIBNN_DATA", None)
        yield environment


async def run(path: Path, environment: dict[str, str]) -> Any:
    """Run a chapter in a new kernel, in an empty folder, and return it with its results.

    Raises:
        ChapterError: if a cell fails, writes to stderr, or has a figure without a description.
    """
    import nbformat
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
    from traitlets.config import Config

    notebook = read(path)
    lines = notebook.metadata.pop("source_map")
    for cell in notebook.cells:  # nbclient's names of cells need no place in the file
        cell.setdefault("id", nbformat.v4.new_code_cell().id)
    cells = [i for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    begun: list[int] = []

    def place(index: int) -> str:
        return f"docs/book/{path.name}, cell {cells.index(index) + 1}, line {lines[index] + 1}"

    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as beside:
        client = NotebookClient(
            notebook,
            timeout=TIMEOUT,
            startup_timeout=TIMEOUT,  # on a busy machine
            coalesce_streams=True,  # a busy kernel may send a line in two pieces
            kernel_name="python3",
            shutdown_kernel="immediate",  # else one that is interrupted would report it at length
            record_timing=False,  # the cache compares the cells' metadata with the chapter's
            resources={"metadata": {"path": folder}},
            config=Config(KernelManager=sockets(beside)),
            on_cell_execute=lambda cell, cell_index: begun.append(cell_index),
        )
        try:
            await client.async_execute(env=environment)
        except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
            said = re.sub(r"\x1b\[[0-9;]*m", "", str(error)).strip()
            raise ChapterError(f"{place(begun[-1])}:\n{said}") from None
        finally:
            if client.km is not None and client.km.has_kernel:  # Ctrl-C while it started
                await client.km.shutdown_kernel(now=True)
    notebook.metadata.pop("kernelspec", None)  # the cache compares this with the chapter's, too
    for index in cells:
        cell = notebook.cells[index]
        for output in cell.outputs:
            if output.get("name") == "stderr":  # in a hidden cell, too
                raise ChapterError(
                    f"{place(index)}: expected no warning and nothing on stderr "
                    f"(fit takes progress=False), got\n{output.text.strip()}"
                )
            _draw(output, cell.metadata, f"figure-{index}", place(index))
    return notebook


def _draw(output: Any, metadata: Any, name: str, where: str) -> None:
    """Put a figure into the page."""
    data = output.get("data", {})
    if "image/svg+xml" in data:
        if "alt" not in metadata:
            raise ChapterError(f"{where}: a figure needs a line `:alt: what it shows`")
        element = figure(data["image/svg+xml"], metadata.alt, metadata.get("caption", ""), name)
        output["data"] = {"text/html": element}
    elif "image/png" in data:
        raise ChapterError(f"{where}: expected figures of matplotlib, which are drawn as SVG")


async def _run_all(paths: Iterable[Path], kept: Path, processes: int) -> list[str]:
    """Run those chapters whose results are not in `kept`; return what failed."""
    import nbformat

    limit = asyncio.Semaphore(processes)
    failures = []

    async def one(path: Path, environment: dict[str, str]) -> None:
        file = kept / f"{path.stem}-{key(path)}.ipynb"
        if file.exists():
            print(f"  {path.name}: as before")
            return
        async with limit:
            start = time.perf_counter()
            try:
                notebook = await run(path, environment)
            except ChapterError as error:
                failures.append(str(error))
                return
        print(f"  {path.name}: {time.perf_counter() - start:.1f} s", flush=True)
        for old in kept.glob(f"{path.stem}-*.ipynb"):
            old.unlink()
        nbformat.write(notebook, file)

    with kernel_environment() as environment:
        async with asyncio.TaskGroup() as group:  # it waits for all, also after Ctrl-C
            for path in paths:
                group.create_task(one(path, environment))
    return failures


def run_chapters(kept: Path, cache: Path, processes: int = 2) -> None:
    """Run the chapters that changed, `processes` at a time, and fill MyST-NB's cache.

    Args:
        kept: a folder with the results of earlier runs. A chapter runs again if its text, the
            package or the tools of the site changed.
        cache: a folder for the cache, which is made anew.
        processes: how many kernels run at once.

    Raises:
        ChapterError: if cells fail; the message names each chapter, cell and line.
    """
    import nbformat
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    kept.mkdir(parents=True, exist_ok=True)
    with asyncio.Runner(loop_factory=Loop) as runner:
        failures = runner.run(_run_all(chapters(), kept, processes))
    if failures:
        raise ChapterError("\n\n".join(failures))
    shutil.rmtree(cache, ignore_errors=True)
    store = get_cache(str(cache))
    for path in chapters():
        notebook = nbformat.read(kept / f"{path.stem}-{key(path)}.ipynb", as_version=4)
        bundle = CacheBundleIn(notebook, str(path), data={"execution_seconds": 0.0})
        store.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


def plain_markdown(text: str) -> str:
    """A cell's text for Jupyter, which does not know boxes, roles and pages of the site."""
    lines, box = [], False
    for line in text.splitlines():
        opened = re.match(r":::+\s*\{(\w+)\}\s*(.*)", line)
        if opened:
            box = True
            lines.append(f"> **{opened[2] or opened[1].capitalize()}**\n>")
        elif box and re.fullmatch(r":::+\s*", line):
            box = False
        elif not (box and line.startswith(":class:")):
            lines.append(f"> {line}".rstrip() if box else line)
    text = "\n".join(lines)
    text = re.sub(r"\{[\w:]+\}`([^`]+)`", r"`\1`", text)
    text = re.sub(r"\]\((\d\d-[\w-]+)\.md(#[\w-]+)?\)", r"](\1.ipynb)", text)
    return re.sub(r"\[([^\]]+)\]\((?!\d\d-)[^):]*\.md[^)]*\)", r"\1", text)  # other pages


def notebook(path: Path) -> Any:
    """A chapter as a notebook for Jupyter, without results."""
    from nbformat import v4

    chapter, made = read(path), v4.new_notebook()
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made.metadata.language_info = {"name": "python"}
    for number, cell in enumerate(chapter.cells):
        if cell.cell_type == "markdown":
            new = v4.new_markdown_cell(plain_markdown(cell.source))
            if number == 0:  # below the title
                new.source = new.source.replace("\n", f"\n\n{NOTE}\n", 1)
            made.cells.append(new)
            continue
        made.cells.append(v4.new_code_cell(cell.source))
        tags = cell.metadata.get("tags", [])
        if any(tag in MARKED for tag in tags):
            made.cells[-1].metadata = {"tags": list(tags), "jupyter": {"source_hidden": True}}
        if cell.metadata.get("caption"):
            made.cells.append(v4.new_markdown_cell(f"*{cell.metadata.caption}*"))
    for number, cell in enumerate(made.cells):  # the same file from the same chapter
        cell.id = f"cell-{number}"
    return made


def setup(app: Any) -> dict[str, bool]:
    """Write the notebook beside each chapter's page, with a link to it; Sphinx calls this."""
    import nbformat

    cached = {path.stem for path in chapters()}

    def offer(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
        folder, _, stem = page.rpartition("/")
        if folder != "book" or stem not in cached:
            return
        file = Path(app.outdir) / "book" / f"{stem}.ipynb"
        file.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook(BOOK / f"{stem}.md"), file)
        link = f'<p class="download"><a download href="{stem}.ipynb">Download as a notebook</a></p>'
        context["body"] = context["body"].replace("</h1>", f"</h1>\n{link}", 1)

    app.connect("html-page-context", offer)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
