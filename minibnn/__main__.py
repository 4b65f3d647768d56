"""``python -m minibnn``: the commands."""

from __future__ import annotations

import argparse
import io
import sys
from importlib import import_module
from typing import TYPE_CHECKING

import minibnn
from minibnn.commands import terminal
from minibnn.commands.exit_codes import code_of
from minibnn.signals import INTERRUPTED, gentle_ending

if TYPE_CHECKING:
    pass

# Each command's module, and its line in the help. Only the module of the command in use is
# imported: imports take time.
COMMANDS = {
    "train": ("minibnn.commands.train", "train on your own data or MNIST, into one file"),
    "evaluate": ("minibnn.commands.evaluate", "how good the bits in a file are"),
    "predict": ("minibnn.commands.predict", "what a file says about your data, as CSV"),
    "inspect": ("minibnn.commands.inspect", "what is in a file, byte by byte"),
    "pack": ("minibnn.commands.pack", "a file without what only training needs"),
    "export": ("minibnn.commands.export", "a file as C, ONNX or a web page, a training as a page"),
    "compare": ("minibnn.comparison.command", "quantizers and optimisers, over seeds"),
    "learn": ("minibnn.learn.command", "exercises about binary networks that check themselves"),
}
EPILOG = """\
from a table to a microcontroller:
  python -m minibnn train sensor.csv -o sensor.safetensors
  python -m minibnn evaluate sensor.safetensors sensor.csv
  python -m minibnn predict sensor.safetensors sensor.csv -o predictions.csv
  python -m minibnn export c sensor.safetensors -o sensor.h

the same with MNIST:
  python -m minibnn train --recipe modern -o digits.safetensors
  python -m minibnn inspect digits.safetensors
  python -m minibnn export c digits.safetensors -o digits.h

python -m minibnn COMMAND --help has a command's options and examples.

exit codes:
  0    done
  1    something failed: a file cannot be written, an optional package is missing, runs of compare
  2    wrong usage, or a network that has no packed or exported form
  3    no usable data, or a file that is missing, damaged or of another kind
  4    no usable device
  5    training diverged
  75   a process of train --distributed waited too long for the others
  129  ended by SIGHUP, as when a terminal closes
  130  interrupted by Ctrl-C
  141  what reads the output has ended, as `head` does
  143  ended by SIGTERM, as a batch queue or a shutdown sends it"""


def main(argv: list[str] | None = None) -> int:
    """Run the command line. Results go to stdout, everything else goes to stderr."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # file names can have any characters
        sys.stdout.reconfigure(errors="backslashreplace")
    broken: OSError | None = None
    with gentle_ending() as ending:
        try:
            code = _main(argv)
        except KeyboardInterrupt:  # also while modules are imported
            terminal.note("interrupted")
            code = INTERRUPTED
        except BrokenPipeError as error:
            code, broken = 0, error
        except SystemExit:  # of argparse
            terminal.flush()
            raise
    # Here, so that a failure is not reported by the interpreter.
    broken = terminal.flush() or broken
    if code == INTERRUPTED and ending.code:
        return ending.code
    if isinstance(broken, BrokenPipeError):
        return code or 141
    return code or (_fail(1, broken) if broken else 0)


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

    from minibnn.commands.options import rewrite_log

    logging.basicConfig(format="%(message)s")  # minibnn's messages go to stderr
    logging.getLogger("minibnn").setLevel(logging.INFO)
    logging.getLogger("minibnn").addFilter(rewrite_log)
    module, _ = COMMANDS[given.command]
    try:
        code: int = import_module(module).run(given)
    except BrokenPipeError:
        raise
    except MemoryError:
        return _fail(1, MemoryError("expected more memory than there is; use a smaller file"))
    except Exception as error:
        failed = code_of(error)
        if failed is None:
            raise
        return _fail(failed, error)
    finally:
        logging.getLogger("minibnn").removeFilter(rewrite_log)
    return code


def _fail(code: int, error: Exception) -> int:
    """Print the error without a traceback; return the exit code."""
    from minibnn.commands.options import in_options

    terminal.note(f"error: {in_options(str(error))}")
    return code


if __name__ == "__main__":
    sys.exit(main())
