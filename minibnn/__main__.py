"""``python -m minibnn``: the commands."""

from __future__ import annotations

import argparse
import logging
import sys

import minibnn
from minibnn.compare import command


def main(argv: list[str] | None = None) -> int:
    """The command line. Results go to stdout, everything else to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m minibnn",
        description="Binary neural networks, every backward pass written out.",
        epilog="exit codes: 0 done, 1 unexpected error, 2 wrong usage, 3 no usable data, "
        "4 no usable device, 130 interrupted",
    )
    parser.add_argument("--version", action="version", version=f"minibnn {minibnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    compare = commands.add_parser("compare", help="quantizers and optimisers, over seeds")
    command.add_arguments(compare)
    given = parser.parse_args(argv)
    logging.basicConfig(format="%(message)s")  # what the library says goes to stderr
    logging.getLogger("minibnn").setLevel(logging.INFO)
    try:
        return command.run(given)
    except minibnn.DataError as error:
        return _fail(3, error)
    except minibnn.DeviceError as error:
        return _fail(4, error)
    except (ValueError, TypeError) as error:
        return _fail(2, error)
    except OSError as error:
        return _fail(1, error)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _fail(code: int, error: Exception) -> int:
    """Say what went wrong, without a traceback, and return the exit code."""
    print(f"error: {error}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
