"""Build the documentation site: `python tools/build_site.py`, then open build/site/index.html.

It needs `pip install -e ".[docs]"` and no network. It runs every chapter of the book, stops if a
cell fails, treats warnings of Sphinx as errors, and checks the links of what it built. A chapter
that did not change since the last build is not run again, unless with --fresh.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

from website.chapters import ChapterError, run_chapters
from website.links import broken_links

ROOT = Path(__file__).parents[1]
DOCS, SITE, WORK = ROOT / "docs", ROOT / "build" / "site", ROOT / "build" / "site-work"
MARK = ".built-by-build-site"  # this file says that a folder may be replaced


def size(folder: Path) -> float:
    """The size of a folder's files, in MB."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def why_not(site: Path) -> str:
    """Why a site must not be built in a place: something is there that is no site; else empty."""
    built = site == SITE or (site / MARK).exists()
    if built or not site.exists() or (site.is_dir() and not any(site.iterdir())):
        return ""
    got = "a folder with other files" if site.is_dir() else "a file"
    return (
        "build_site: --out: expected a new or empty folder, or a site that this tool has built, "
        f"got {got}, {site}; name another folder"
    )


def main() -> int:
    """Build the site; return 0, or 1 after messages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=SITE, help="its folder")
    parser.add_argument("--fresh", action="store_true", help="run all chapters again")
    parser.add_argument("--processes", type=int, default=2, help="chapters run at once (2)")
    arguments = parser.parse_args()
    start = time.perf_counter()
    site = arguments.out.resolve()
    if refused := why_not(site):
        print(refused, file=sys.stderr)
        return 1
    if arguments.fresh:
        shutil.rmtree(WORK, ignore_errors=True)
    print("chapters")
    try:
        run_chapters(WORK / "chapters", WORK / "cache", arguments.processes)
    except ChapterError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    print("pages")
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir(parents=True)
    (site / MARK).touch()  # first, so that a build that was broken off can be repeated
    options = ["-b", "html", "-q", "-W", "--keep-going", "-E", "-d", str(WORK / "doctrees")]
    options += ["-D", f"nb_execution_cache_path={WORK / 'cache'}"]
    command = [sys.executable, "-m", "sphinx", *options, str(DOCS), str(site)]
    if subprocess.run(command, check=False).returncode:
        return 1
    wrong = broken_links(site)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    seconds = time.perf_counter() - start
    print(f"{site / 'index.html'}: {size(site):.1f} MB, {seconds:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
