"""Starting ranks by mpirun, and ending whatever of them is left."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

MOST = 4  # ranks in the suite
LONGEST = 400.0  # seconds for one call of mpirun, on a machine that others use as well
ROOT = Path(__file__).parents[2]
# By which launchers tell a process of the others; a process of pytest may have some of its own.
OF_LAUNCHERS = ("PMI", "OMPI", "PRTE", "HYDRA", "MPI_")
RANK = (b"PMI_RANK=", b"OMPI_COMM_WORLD_RANK=")


class Ended(NamedTuple):
    """What is left of a job: mpirun's exit code, all output, and the time that it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        return self.out + self.err  # launchers join the ranks' streams as they like


@cache
def mpirun() -> str | None:
    """The launcher: beside Python, where a wheel puts it, or on the PATH."""
    beside = shutil.which("mpirun", path=str(Path(sys.executable).parent))
    return beside or shutil.which("mpirun")


@cache
def is_hydra() -> bool:
    """Whether it is MPICH's, which may report a signal by which it has ended the others (9)."""
    found = mpirun()
    assert found is not None
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)
    return "hydra" in (said.stdout + said.stderr).lower()


def missing() -> str | None:
    """Why no ranks can be started here, or None."""
    if importlib.util.find_spec("mpi4py") is None:
        return "mpi4py is not installed"
    if sys.platform != "linux":
        return "processes are found by /proc"
    return None if mpirun() else "there is no mpirun"


needs_mpirun = pytest.mark.skipif(missing() is not None, reason=f"no ranks: {missing()}")


class Job:
    """Ranks that run one command.

    Args:
        ranks: how many.
        command: for Python, without the interpreter.
        environment: variables to add.
    """

    def __init__(self, ranks: int, *command: object, **environment: str) -> None:
        launcher = [mpirun(), *([] if is_hydra() else ["--oversubscribe"])]
        if not is_hydra() and os.geteuid() == 0:
            launcher.append("--allow-run-as-root")
        own = {k: v for k, v in os.environ.items() if not k.startswith(OF_LAUNCHERS)}
        own |= {
            "OPENBLAS_NUM_THREADS": "1",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests" / "support")]),
            "PYTHONUNBUFFERED": "1",  # tests wait for lines
            # More ranks than cores: whoever waits lets another one run.
            "MPIR_CVAR_POLLS_BEFORE_YIELD": "1",
            "OMPI_MCA_mpi_yield_when_idle": "1",
        }
        words = [*launcher, "-n", str(ranks), sys.executable, *map(str, command)]
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            text=True, env=own | environment, start_new_session=True,
        )  # fmt: skip

    def ranks(self) -> dict[int, int]:
        """The process of each rank that has begun, by its number."""
        found = {}
        for pid in _descendants(self.process.pid):
            with suppress(OSError):
                environ = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
                numbers = [v.partition(b"=")[2] for v in environ if v.startswith(RANK)]
                if numbers:
                    found[int(numbers[0])] = min(pid, found.get(int(numbers[0]), pid))
        return found

    def send(self, number: signal.Signals, *ranks: int) -> None:
        """Send a signal to some ranks."""
        processes = self.ranks()
        for rank in ranks:
            os.kill(processes[rank], number)

    def end(self, seconds: float = LONGEST) -> Ended:
        """Wait until mpirun ends; fail, and kill everything, if that takes longer."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            hanging = self.ranks()
            self.kill()
            out, err = self.process.communicate()
            raise AssertionError(
                f"expected the ranks to end in {seconds:g} s; {sorted(hanging)} did not\n{out}{err}"
            ) from None
        return Ended(self.process.returncode, out, err, time.monotonic() - self.began)

    def kill(self) -> None:
        """Kill mpirun and whatever it has started."""
        for pid in [*_descendants(self.process.pid), self.process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def run(ranks: int, *command: object, seconds: float = LONGEST, **environment: str) -> Ended:
    """Run a command on some ranks, and wait for its end."""
    return Job(ranks, *command, **environment).end(seconds)


def is_code(ended: Ended, code: int) -> bool:
    """Whether mpirun has reported this exit code, as far as it reports one."""
    return ended.code == code or (is_hydra() and ended.code == signal.SIGKILL)


def _descendants(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have, first ones first."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
            children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found: list[int] = []
    left = [pid]
    while left:
        own = sorted(children.get(left.pop(0), []))
        found += own
        left += own
    return found
