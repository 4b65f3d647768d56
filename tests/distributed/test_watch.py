"""Ending all ranks if one of them waits too long."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest

from minibnn.distributed.watch import LOST, Watch

WAITS = """
import sys, time
from minibnn.distributed.watch import Watch
import minibnn.distributed.watch as module

module.LAST = 0.2
watch = Watch("rank 1 of 3", 0.4, {abort})
with watch("adding up"):
    pass
with watch("comparing"):
    time.sleep(20)
print("it went on")
"""


def ended(abort):
    """A process that waits for longer than it may."""
    began = time.monotonic()
    found = subprocess.run(
        [sys.executable, "-c", WAITS.format(abort=abort)],
        capture_output=True, text=True, check=False, timeout=15,
    )  # fmt: skip
    return found, time.monotonic() - began


@pytest.mark.parametrize(
    "abort",
    [
        pytest.param("lambda code: module.os._exit(code)", id="by MPI"),
        pytest.param("lambda code: time.sleep(20)", id="if MPI does not answer"),
        pytest.param("lambda code: 1 / 0", id="if MPI fails"),
    ],
)
def test_the_process_ends_with_75(abort):
    found, seconds = ended(abort)
    assert found.returncode == LOST == 75
    assert found.stdout == ""
    assert found.stderr.startswith(
        "rank 1 of 3: waited 0.4 s for the other ranks, comparing; one of them has failed, is lost, "
        "stopped or very slow; this rank ends. The last checkpoint is whole: run the same command "
        "again, with a larger timeout if they were slow\n"
    )
    assert seconds < 10


def test_shorter_waits_end_nothing():
    codes = []
    watch = Watch("a rank", 0.3, codes.append)
    for _ in range(8):
        with watch("adding up"):
            time.sleep(0.1)
    watch.close()
    assert codes == []


def test_time_between_waits_does_not_count():
    codes = []
    watch = Watch("a rank", 0.2, codes.append)
    with watch("adding up"):
        pass
    time.sleep(0.6)
    watch.close()
    assert codes == []


def test_an_error_ends_the_wait():
    codes = []
    watch = Watch("a rank", 0.2, codes.append)
    with pytest.raises(KeyError), watch("adding up"):
        raise KeyError
    time.sleep(0.6)
    watch.close()
    assert codes == []


def test_it_counts_what_is_sent():
    watch = Watch("a rank", 60.0, lambda code: None)
    with watch("adding up", 100):
        pass
    with watch("comparing"):
        pass
    assert (watch.waits, watch.nbytes) == (2, 100)
    watch.close()


def test_closed_it_has_no_thread():
    watch = Watch("the only one", 0.1, lambda code: None)
    with watch("adding up"):
        pass
    (thread,) = [t for t in threading.enumerate() if t.name == "the only one"]
    watch.close()
    thread.join(5)
    assert not thread.is_alive()
