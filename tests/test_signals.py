"""Signals that end a training or a command; each in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import pytest

from minibnn.signals import (
    ENDING,
    INTERRUPTED,
    Interrupt,
    gentle_ending,
    interrupted_code,
    note_ending,
)

pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="no POSIX signals")

# A command that trains: it says when it begins, ends after the signal, and exits with its code.
START = """
import os, signal, sys, threading, time
from minibnn.signals import Interrupt, gentle_ending

def kill(*names):
    for name in names:
        os.kill(os.getpid(), getattr(signal, name))

def wait(interrupt):
    end = time.monotonic() + 60
    while not interrupt.requested:
        assert time.monotonic() < end, "no signal arrived"
        time.sleep(0.001)
"""


def run(body: str, **options) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", START + body]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **options)


def handlers():
    return [signal.getsignal(s) for s in (signal.SIGINT, *ENDING)]


@pytest.fixture(autouse=True)
def same_handlers():
    before = handlers()
    yield
    assert handlers() == before


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_a_signal_is_noted_and_the_work_goes_on(name):
    number = getattr(signal, name)
    with Interrupt(ending=True) as interrupt:
        assert interrupt.requested == 0
        os.kill(os.getpid(), number)
        assert interrupt.requested == number
        if number != signal.SIGINT:
            os.kill(os.getpid(), number)  # senders repeat themselves
            os.kill(os.getpid(), signal.SIGHUP)
            assert interrupt.requested == number


def test_a_second_ctrl_c_ends_at_once():
    with pytest.raises(KeyboardInterrupt), Interrupt() as interrupt:  # noqa: PT012
        os.kill(os.getpid(), signal.SIGINT)
        assert interrupt.requested == signal.SIGINT
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second was ignored")


def test_a_sigterm_after_a_ctrl_c_counts_more():
    with Interrupt(ending=True) as interrupt:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            interrupt.request(number)
        assert interrupt.requested == signal.SIGTERM


def test_a_ctrl_c_after_a_sigterm_ends_at_once():
    with pytest.raises(KeyboardInterrupt), Interrupt(ending=True):  # noqa: PT012
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("it was ignored")


def test_without_ending_the_others_keep_their_handlers():
    before = handlers()[1:]
    with Interrupt():
        assert handlers()[1:] == before
    assert run("with Interrupt():\n    kill('SIGTERM')").returncode == -signal.SIGTERM


def test_ignored_signals_stay_ignored():
    """SIGHUP under nohup, Ctrl-C in a background job."""
    body = """
for name in ("SIGHUP", "SIGINT"):
    signal.signal(getattr(signal, name), signal.SIG_IGN)
with gentle_ending() as ending, Interrupt(ending=True) as interrupt:
    kill("SIGHUP", "SIGINT")
    assert (interrupt.requested, ending.code) == (0, 0)
    kill("SIGTERM")
    wait(interrupt)
assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
print(ending.code)
"""
    assert run(body).stdout == "143\n"


def test_nohup():
    body = "with Interrupt(ending=True) as i:\n    kill('SIGHUP')\n    print(i.requested)"
    command = ["nohup", sys.executable, "-c", START + body]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (ran.returncode, ran.stdout) == (0, "0\n")


def test_handlers_of_others_stay_in_place_and_come_back():
    seen = []
    mine = {s: lambda number, frame: seen.append(number) for s in (signal.SIGINT, *ENDING)}
    before = {s: signal.signal(s, handler) for s, handler in mine.items()}
    try:
        with Interrupt(ending=True) as interrupt:
            for number in ENDING:
                os.kill(os.getpid(), number)
            assert seen == ENDING
            assert interrupt.requested == 0
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C is training's
            assert interrupt.requested == signal.SIGINT
        assert handlers() == list(mine.values())
        with gentle_ending() as ending:
            os.kill(os.getpid(), signal.SIGTERM)
        assert ending.code == 0
        assert handlers() == list(mine.values())
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("context", [lambda: Interrupt(ending=True), gentle_ending])
def test_handlers_come_back_after_an_error(context):
    before = handlers()
    with pytest.raises(ZeroDivisionError), context():  # noqa: PT012
        assert handlers() != before
        raise ZeroDivisionError
    assert handlers() == before


@pytest.mark.parametrize("context", [lambda: Interrupt(ending=True), gentle_ending])
def test_in_a_thread_no_handler_changes(context):
    before, found = handlers(), []

    def work():
        with context():
            found.append(handlers())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before]


@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGHUP", 129)])
def test_a_command_has_the_exit_code_of_its_signal(name, code):
    """In a training, and outside of one, where a KeyboardInterrupt leaves what is running."""
    inside = f"""
with gentle_ending() as ending:
    with Interrupt(ending=True) as interrupt:
        kill("{name}", "{name}", "SIGTERM")
        wait(interrupt)
        assert interrupt.requested == signal.{name}
sys.exit(ending.code)
"""
    outside = f"""
with gentle_ending() as ending:
    try:
        kill("{name}")
        time.sleep(10)
    except KeyboardInterrupt:
        kill("{name}", "SIGTERM")  # while it tidies up: the first is being obeyed
        print("left")
sys.exit(ending.code)
"""
    assert (ran := run(inside)).returncode == code, ran.stderr
    assert (ran := run(outside)).returncode == code, ran.stderr
    assert ran.stdout == "left\n"
    assert INTERRUPTED == 130 == 128 + signal.SIGINT


def test_after_the_command_signals_end_the_process_again():
    ran = run("with gentle_ending():\n    pass\nkill('SIGTERM')\ntime.sleep(10)")
    assert ran.returncode == -signal.SIGTERM


def test_trainings_inside_each_other_and_in_threads_all_end():
    """The signal comes only once."""
    with gentle_ending() as ending, Interrupt() as outer:
        started, done = threading.Event(), threading.Event()
        found = []

        def work():
            with Interrupt() as interrupt:
                started.set()
                done.wait(10)
                found.append(interrupt.requested)

        thread = threading.Thread(target=work)
        thread.start()
        started.wait(10)
        with Interrupt() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
            assert inner.requested == outer.requested == signal.SIGTERM
        done.set()
        thread.join()
        assert found == [signal.SIGTERM]
    assert ending.code == 143


def test_ctrl_c_ends_the_inner_training_only():
    with Interrupt() as outer:
        with Interrupt() as inner:
            os.kill(os.getpid(), signal.SIGINT)
            assert inner.requested == signal.SIGINT
        assert outer.requested == 0
        os.kill(os.getpid(), signal.SIGINT)
        assert outer.requested == signal.SIGINT


def test_an_inner_training_leaves_the_outer_ones_signals_alone():
    with Interrupt(ending=True) as outer:
        with Interrupt(ending=True) as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        assert {inner.requested, outer.requested} <= {0, signal.SIGTERM}
        assert inner.requested or outer.requested
        os.kill(os.getpid(), signal.SIGHUP)
        assert outer.requested


def test_a_request_without_a_signal():
    with Interrupt() as interrupt:
        interrupt.request(signal.SIGTERM)
        interrupt.request(signal.SIGHUP)
        assert interrupt.requested == signal.SIGTERM


def test_a_signal_of_another_rank_is_the_commands_as_well():
    assert interrupted_code() == INTERRUPTED
    note_ending(signal.SIGTERM)  # no command is running
    with gentle_ending() as ending:
        for number in (0, signal.SIGINT):  # none; and Ctrl-C, whose code it has anyway
            note_ending(number)
            assert (ending.code, interrupted_code()) == (0, INTERRUPTED)
        note_ending(signal.SIGTERM)
        note_ending(signal.SIGHUP)  # the first counts
        assert (ending.code, interrupted_code()) == (143, 143)
    assert interrupted_code() == INTERRUPTED
