"""The parts `suite`, `sanitizer` and `race`."""

from __future__ import annotations

from pathlib import Path

import pytest

from confirm import programs
from confirm.setting import CUT_OFF, FAILED, NOT_RUN, OK

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("code", "output", "status", "line"),
    [
        (0, "..s\n12 passed, 3 skipped, 900 deselected in 61.20s (0:01:01)", OK,
         "12 passed, 0 failed, 3 skipped"),
        (0, "sss\n3 skipped, 900 deselected in 1.2s", FAILED,
         "no test ran: 0 passed, 0 failed, 3 skipped"),
        (1, "FAILED tests/a.py::b - assert\n1 failed, 7 passed in 3.4s", FAILED,
         "7 passed, 1 failed, 0 skipped; FAILED tests/a.py::b - assert"),
        (2, "ERROR tests/a.py\n1 error in 3.4s", FAILED,
         "0 passed, 0 failed, 0 skipped; ERROR tests/a.py"),
        (1, "No module named pytest", FAILED,
         "0 passed, 0 failed, 0 skipped; No module named pytest"),
        (None, "..", CUT_OFF, "until then 0 passed, 0 failed, 0 skipped"),
        (None, "..\n!! KeyboardInterrupt !!\n41 passed in 30.01s", CUT_OFF,
         "until then 41 passed, 0 failed, 0 skipped"),
        (None, "FAILED tests/a.py::b\n1 failed, 41 passed in 30.01s", FAILED,
         "41 passed, 1 failed, 0 skipped; FAILED tests/a.py::b"),
    ],
)  # fmt: skip
def test_the_output_of_pytest(code, output, status, line):
    outcome = programs.read_suite(code, output)
    assert (outcome.status, outcome.line) == (status, line)


@pytest.mark.parametrize(
    ("xdist", "on", "workers"),
    [(False, {}, 1), (True, {}, 6), (True, {"compute_mode": 0}, 6), (True, {"compute_mode": 3}, 1)],
)
def test_tests_run_in_parallel_if_possible(xdist, on, workers, monkeypatch):
    monkeypatch.setattr(programs.importlib.util, "find_spec", lambda name: xdist or None)
    monkeypatch.setattr(programs.os, "cpu_count", lambda: 6)
    commands = []
    monkeypatch.setattr(
        programs, "run", lambda *asked: commands.append(asked) or (0, "5 passed in 1.0s")
    )
    found = programs.suite_workers(on)
    assert found == workers
    assert programs.suite(77.0, found).line == "5 passed, 0 failed, 0 skipped"
    (command, seconds), *rest = commands
    assert (seconds, rest) == (77.0, [])
    assert command[command.index("tests") + 1 :] == (["-n", "6"] if workers == 6 else [])
    assert command[1:6] == ["-m", "pytest", "-q", "-m", "gpu"]
    assert "--continue-on-collection-errors" in command  # a broken module does not stop the others


@pytest.mark.parametrize(
    ("says", "code", "status", "line"),
    [
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 0 errors", 0, OK,
         "memcheck: ERROR SUMMARY: 0 errors; racecheck: ERROR SUMMARY: 0 errors"),
        ("every kernel was launched: 50\n========= ERROR SUMMARY: 3 errors", 9, FAILED,
         "memcheck ended with 9: ERROR SUMMARY: 3 errors (and 1 more)"),
        ("========= Invalid __global__ write\n========= ERROR SUMMARY: 1 error", 9, FAILED,
         "memcheck ended with 9: ERROR SUMMARY: 1 error (and 1 more)"),
        ("========= ERROR SUMMARY: 0 errors", 0, FAILED,
         "memcheck ended with 0: ERROR SUMMARY: 0 errors (and 1 more)"),
        ("every kernel was launched: 50", 0, FAILED,
         "memcheck ended with 0: no summary (and 1 more)"),
        ("Traceback (most recent call last):\nValueError: no", 1, FAILED,
         "memcheck ended with 1: no summary (and 1 more)"),
        ("every_kernel.py: not launched: bits/pack_rows float32", 1, FAILED,
         "memcheck ended with 1: no summary (and 1 more)"),
        ("========= Error: no permission", 1, NOT_RUN,
         "memcheck cannot run here: ========= Error: no permission"),
        ("every_kernel.py: device gpu is unavailable\n========= ERROR SUMMARY: 0 errors", 4, NOT_RUN,
         "memcheck cannot run here: ========= ERROR SUMMARY: 0 errors"),
        ("", 127, NOT_RUN, "memcheck cannot run here: it ended with 127"),
    ],
)  # fmt: skip
def test_the_output_of_the_sanitizer(says, code, status, line, tmp_path):
    program = tmp_path / "compute-sanitizer"
    program.write_text(f"#!/bin/sh\necho $@ >> {tmp_path}/asked\necho '{says}'\nexit {code}\n")
    program.chmod(0o755)
    outcome = programs.sanitizer(60, str(program))
    assert (outcome.status, outcome.line) == (status, line)
    one, *more = (tmp_path / "asked").read_text().splitlines()
    assert one.startswith("--tool memcheck --error-exitcode 9 --report-api-errors no ")
    assert one.split()[-1] == str(ROOT / "tools" / "validate_gpu" / "every_kernel.py")
    assert len(more) == (status != NOT_RUN)
    assert all(other.startswith("--tool racecheck --error-exitcode 9 ") for other in more)


def test_a_sanitizer_that_takes_long_is_cut_off(monkeypatch):
    asked = []
    monkeypatch.setattr(
        programs, "run", lambda command, seconds: asked.append(seconds) or (None, "")
    )
    outcome = programs.sanitizer(60.0, "compute-sanitizer")
    assert (outcome.status, outcome.line, asked) == (CUT_OFF, "during memcheck", [30.0])


def test_without_a_sanitizer(monkeypatch):
    monkeypatch.setattr(programs.shutil, "which", lambda name: None)
    monkeypatch.setattr(programs, "SANITIZER", "/nowhere/compute-sanitizer")
    assert programs.sanitizer(60, None).status == NOT_RUN


@pytest.mark.parametrize(
    ("code", "status", "line"),
    [
        (0, OK, "its table is above"),
        (1, FAILED, "gpu.py ended with 1"),
        (None, CUT_OFF, "during gpu.py"),
    ],
)
def test_the_race_starts_workloads_in_half_of_its_share(code, status, line, monkeypatch):
    asked = []
    monkeypatch.setattr(
        programs, "run", lambda command, seconds: asked.append((command, seconds)) or (code, "a\nb")
    )
    outcome = programs.race(90.0)
    assert (outcome.status, outcome.line, outcome.details["output"]) == (status, line, ["a", "b"])
    ((command, seconds),) = asked
    assert command[1:] == [
        str(ROOT / "benchmarks" / "gpu.py"),
        "--rounds",
        "3",
        "--minutes",
        "0.75",
    ]
    assert seconds == 90.0
