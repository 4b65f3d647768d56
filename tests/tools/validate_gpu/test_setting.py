"""How a program is run, and ended."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from confirm.setting import run


@pytest.mark.skipif(os.name != "posix", reason="signals and groups of processes are POSIX's")
@pytest.mark.parametrize("deaf", [False, True])
def test_a_program_that_hangs_is_ended_with_its_children(deaf, tmp_path):
    """It may report after an interrupt; its child would keep the output open."""
    trap = "trap '' INT" if deaf else "trap 'echo late; exit 1' INT"
    child = "sh -c 'trap \"\" INT; sleep 60' &"
    command = ["sh", "-c", f"{child} echo $! > {tmp_path}/child; {trap}; echo early; wait; wait"]
    assert run(command, 0.5, grace=0.3) == (None, "early\n" + "late\n" * (not deaf))
    child = int((tmp_path / "child").read_text())
    for _ in range(100):  # until init has reaped it
        try:
            os.kill(child, 0)
        except ProcessLookupError:
            break
        if "State:\tZ" in Path(f"/proc/{child}/status").read_text():
            break
        time.sleep(0.02)
    else:
        pytest.fail("its child is still alive")
