"""Install the rivals, each into an environment of its own.

    python benchmarks/install_rivals.py pytorch jax larq thinc

For each rival this creates a virtual environment in `benchmarks/.rivals/NAME` (or
`$MINIBNN_RIVALS/NAME`) and installs `benchmarks/frameworks/requirements/NAME.txt`. An existing
environment is updated.
"""

from __future__ import annotations

import argparse

from harness.rivals import NAMES, install, versions


def main() -> None:
    """Create the environments."""
    parser = argparse.ArgumentParser(
        description="Create an environment for each rival, and install it there."
    )
    parser.add_argument("rivals", nargs="+", choices=NAMES, metavar="RIVAL",
                        help=f"any of {', '.join(NAMES)}")  # fmt: skip
    for rival in parser.parse_args().rivals:
        install(rival)
        print(rival, versions(rival))


if __name__ == "__main__":
    main()
