"""``python -m minibnn``: the commands."""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import minibnn

if TYPE_CHECKING:
    import logging

# Each command's module, and its line in the help. Only the module of the command in use is
# imported: imports take time.
COMMANDS = {
    "train": ("minibnn.commands.train", "train a recipe and keep it as one file of bits"),
    "evaluate": ("minibnn.commands.evaluate", "how good the bits in a file are"),
    "inspect": ("minibnn.commands.inspect", "what is in a file, byte by byte"),
    "pack": ("minibnn.commands.pack", "a file without what only training needs"),
    "export": ("minibnn.commands.export", "a file as C, ONNX or a web page"),
    "compare": ("minibnn.compare.command", "quantizers and optimisers, over seeds"),
}
EPILOG = """\
from training to a microcontroller:
  python -m minibnn train --recipe modern -o digits.safetensors
  python -m minibnn inspect digits.safetensors
  python -m minibnn export c digits.safetensors -o digits.h

python -m minibnn COMMAND --help has a command's options and examples.

exit codes:
  0    done
  1    something failed: a file cannot be written, an optional package is missing
  2    wrong usage, or a network that has no packed or exported form
  3    no usable data, or a file that is missing, damaged or no packed model
  4    no usable device
  5    training diverged
  130  interrupted
  141  what reads the output has ended, as `head` does"""


def main(argv: list[str] | None = None) -> int:
    """The command line. Results go to stdout, everything else to stderr."""
    code = 0
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names can have any characters
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        try:
            code = _main(argv)
        finally:
            print(end="", flush=True)  # so that a failure is reported below, not by the interpreter
    except KeyboardInterrupt:  # also while modules are imported
        print("interrupted", file=sys.stderr)
        return 130
    except OSError as error:
        # At exit the interpreter flushes again: to nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141 if isinstance(error, BrokenPipeError) else code or _fail(1, error)
    return code


def _main(argv: list[str] | None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(
        prog="python -m minibnn",
        description="Binary neural networks, every backward pass written out.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"minibnn {minibnn.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    # No option before the command takes a value: the first word without a dash is the command.
    asked = next((word for word in argv if not word.startswith("-")), None)
    for name, (module, line) in COMMANDS.items():
        command = commands.add_parser(name, help=line)
        if name == asked:
            import_module(module).add_arguments(command)
    given = parser.parse_args(argv)
    return _run(given)


def _run(given: argparse.Namespace) -> int:
    """Run the command; turn its exceptions into exit codes."""
    import logging

    logging.basicConfig(format="%(message)s")  # minibnn's messages go to stderr
    logging.getLogger("minibnn").setLevel(logging.INFO)
    logging.getLogger("minibnn").addFilter(_in_options)
    module, _ = COMMANDS[given.command]
    try:
        code: int = import_module(module).run(given)
    except (minibnn.DataError, minibnn.PackedFileError, minibnn.ModelFileError) as error:
        return _fail(3, error)
    except minibnn.DeviceError as error:
        return _fail(4, error)
    except minibnn.DivergedError as error:
        return _fail(5, error)
    except (ValueError, TypeError) as error:
        return _fail(2, error)
    except BrokenPipeError:
        raise
    except (OSError, ImportError) as error:
        return _fail(1, error)
    except MemoryError:
        return _fail(1, MemoryError("expected more memory than there is; use a smaller file"))
    finally:
        logging.getLogger("minibnn").removeFilter(_in_options)
    return code


def _in_options(record: logging.LogRecord) -> bool:
    """Rewrite log messages to name options instead of functions; drop none."""
    from minibnn.commands.options import in_options

    record.msg, record.args = in_options(record.getMessage()), ()
    return True


def _fail(code: int, error: Exception) -> int:
    """Print the error without a traceback; return the exit code."""
    from minibnn.commands.options import in_options

    print(f"error: {in_options(str(error))}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
