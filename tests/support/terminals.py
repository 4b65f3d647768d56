"""Programs in a pseudo-terminal."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import termios
import time
from contextlib import suppress


def in_terminal(command, *, until=None, then=None, seconds=60):
    """Run a command in a terminal of 100 columns.

    Args:
        command: its words.
        until: bytes in its output, after which something happens.
        then: a signal, or "close" for a terminal that vanishes.
        seconds: after which it is killed.

    Returns:
        its output, its exit code, and whether the terminal's attributes are those from before.
    """
    outside, inside = os.openpty()
    fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    before = termios.tcgetattr(inside)
    process = subprocess.Popen(
        command, stdin=inside, stdout=inside, stderr=inside, start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    output, deadline = b"", time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < deadline:
            output += _read(outside)
            if until is not None and until in output:
                until = None
                if then == "close":
                    os.close(inside)
                    os.close(outside)
                    return output, process.wait(seconds), False
                if then is not None:
                    process.send_signal(then)
        while more := _read(outside):
            output += more
        return output, process.wait(1), termios.tcgetattr(inside) == before
    finally:
        process.kill()
        process.wait()
        for end in (inside, outside):
            with suppress(OSError):  # closed already
                os.close(end)


def _read(end):
    ready, _, _ = select.select([end], [], [], 0.05)
    return os.read(end, 2**16) if ready else b""
