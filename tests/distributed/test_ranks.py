"""The processes of a training, and how they agree."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from thread_ranks import Killed, communicators, on_ranks

from minibnn import Ranks, RanksDifferError
from minibnn.distributed.ranks import with_traceback
from minibnn.distributed.sums import ExactSums, FastSums
from minibnn.distributed.watch import Watch

pytest.importorskip("mpi4py.MPI", exc_type=(ImportError, RuntimeError))
threadpoolctl = pytest.importorskip("threadpoolctl")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Ranks that raise the same wait a little for rank 0."""
    monkeypatch.setattr("minibnn.distributed.ranks.time.sleep", lambda seconds: None)


def test_alone():
    ranks = Ranks("exact")
    assert (ranks.rank, ranks.size, ranks.first, ranks.alone, ranks.exact) == (
        0,
        1,
        True,
        True,
        True,
    )
    assert repr(ranks) == "Ranks('exact', rank=0, size=1, micro_batches=8)"
    assert ranks.greatest(3, -1) == [3, -1]
    assert ranks.from_first("a", "") == "a"
    assert ranks.of_all("a", "") == ["a"]
    assert ranks.in_turn(np.ones((3, 2))).tolist() == [[1, 1]] * 3
    ranks.require_alike("fit", {"a": "1"}, "")
    assert ranks.watch.waits == 1  # for the communicator
    ranks.close()


def test_sum_is_the_default():
    ranks = Ranks()
    assert repr(ranks) == "Ranks('sum', rank=0, size=1)"
    assert isinstance(ranks.sums, FastSums)
    assert isinstance(Ranks("exact").sums, ExactSums)


def test_how_a_batch_is_divided():
    exact, fast = on_ranks(3, lambda comm: Ranks("exact", comm)), on_ranks(3, Ranks_of_sum)
    for rank, ranks in enumerate(exact):
        assert ranks.division(100).parts == 8
        assert len(ranks.division(100).of_rank(rank)) == (2, 3, 3)[rank]
    for rank, ranks in enumerate(fast):
        assert ranks.division(100).parts == 3
        assert len(ranks.division(100).of_rank(rank)) == 1


def Ranks_of_sum(comm):  # noqa: N802
    return Ranks("sum", comm)


def test_what_decides_a_result():
    assert Ranks().describe() == {"mode": "sum", "batch_norm": "batch"}
    found = Ranks("exact", micro_batches=4, batch_norm="part").describe()
    assert found == {"mode": "exact", "batch_norm": "part", "micro_batches": 4}


WRONG = {
    "mode": (lambda: Ranks("fast"), ValueError, 'expected mode "sum" or "exact", got \'fast\''),
    "batch_norm": (
        lambda: Ranks(batch_norm="all"),
        ValueError,
        'expected batch_norm "batch" or "part"',
    ),
    "comm": (
        lambda: Ranks("sum", 4),
        TypeError,
        "expected comm to be a communicator of mpi4py, got int",
    ),
    "micro_batches": (lambda: Ranks("exact", micro_batches=0), ValueError, "micro_batches"),
    "half": (lambda: Ranks("exact", micro_batches=2.5), TypeError, "micro_batches"),
    "timeout": (
        lambda: Ranks(timeout=0),
        ValueError,
        "expected a positive timeout in seconds, got 0",
    ),
    "nan": (lambda: Ranks(timeout=float("nan")), ValueError, "timeout"),
    "text": (lambda: Ranks(timeout="long"), TypeError, "timeout"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    make, kind, said = WRONG[name]
    with pytest.raises(kind) as raised:
        make()
    assert str(raised.value).startswith("Ranks: ")
    assert said in str(raised.value)


def test_more_ranks_than_micro_batches():
    for error in on_ranks(3, lambda comm: Ranks("exact", comm, micro_batches=2)):
        assert isinstance(error, ValueError)
        assert "expected at most 2 ranks, one for each micro-batch, got 3" in str(error)
        assert "pass micro_batches=3" in str(error)
    assert len(on_ranks(3, lambda comm: Ranks("sum", comm, micro_batches=2))) == 3


def test_agreement():
    def work(comm):
        ranks = Ranks("sum", comm)
        greatest = ranks.greatest(comm.rank, -comm.rank, 7)
        first = ranks.from_first(f"of {comm.rank}", "reading")
        return greatest, first, ranks.of_all(comm.rank**2, "comparing")

    assert on_ranks(3, work) == [([2, 0, 7], "of 0", [0, 1, 4])] * 3


@pytest.mark.parametrize("rows", [0, 1, 2, 3, 7, 8])
def test_rows_that_were_computed_in_turn(rows):
    every = np.random.default_rng(0).standard_normal((rows, 4))

    def work(comm):
        own = every[comm.rank :: comm.size]
        return Ranks("sum", comm).in_turn(own if len(own) else np.zeros((0, 0)))

    for found in on_ranks(3, work):
        assert found.tobytes() == every.tobytes()


def test_ranks_that_differ_all_raise():
    def work(comm):
        Ranks("sum", comm).require_alike("fit", {"seed": str(comm.rank // 2)}, "make them alike")

    for error in on_ranks(3, work):
        assert isinstance(error, RanksDifferError)
        assert "seed: 0 on ranks 0, 1, 1 on rank 2; make them alike" in str(error)


@pytest.mark.parametrize("mode", ["sum", "exact"])
def test_exact_uses_one_blas_thread(mode):
    def threads():
        return [
            info["num_threads"]
            for info in threadpoolctl.threadpool_info()
            if info["user_api"] == "blas"
        ]

    before = threads()
    with Ranks(mode).one_thread():
        assert threads() == ([1] * len(before) if mode == "exact" else before)
    assert threads() == before


class Told:
    """What is written to stderr."""

    def __init__(self, monkeypatch):
        self.texts = []
        monkeypatch.setattr(sys, "__stderr__", self)

    def write(self, text):
        self.texts.append(text)

    def flush(self):
        pass


def with_error(error, **options):
    """What each of three ranks ends with, if the last one raises."""

    def work(comm):
        ranks = Ranks("sum", comm)
        with ranks.ending_together(KeyError, **options):
            if comm.rank == 2:
                raise error
            ranks.greatest(0)
        return "done"

    return on_ranks(3, work)


CODES = {
    "an error": (ValueError("wrong"), 1),
    "sys.exit()": (SystemExit(), 1),
    "sys.exit(0)": (SystemExit(0), 1),
    "sys.exit(7)": (SystemExit(7), 7),
    "sys.exit('a text')": (SystemExit("a text"), 1),
    "sys.exit(143)": (SystemExit(143), 143),
    "Ctrl-C": (KeyboardInterrupt(), 130),
}


@pytest.mark.parametrize("name", CODES)
def test_an_error_on_one_rank_ends_all(name, monkeypatch):
    """Also one that would be no failure alone: the others have not finished."""
    told = Told(monkeypatch)
    error, code = CODES[name]
    assert with_error(error) == [Killed(None), Killed(None), Killed(code)]
    (text,) = told.texts
    assert text.startswith("rank 2 of 3: ")
    assert text.endswith("\nall 3 ranks end\n")


def test_the_message_has_the_traceback(monkeypatch):
    told = Told(monkeypatch)
    error = ValueError("wrong")
    error.add_note("a note")
    with_error(error)
    assert "Traceback (most recent call last):" in told.texts[0]
    assert "ValueError: wrong\na note\nall 3 ranks end\n" in told.texts[0]


def test_a_command_says_it_otherwise(monkeypatch):
    told = Told(monkeypatch)
    found = with_error(ValueError("wrong"), tell=lambda error: (42, f"error: {error}"))
    assert found[2] == Killed(42)
    assert told.texts == ["rank 2 of 3: error: wrong\nall 3 ranks end\n"]


def test_what_is_told_outside_is_told_inside_as_well(monkeypatch):
    """`fit` has such a context of its own, in that of the command."""
    told = Told(monkeypatch)

    def work(comm):
        ranks = Ranks("sum", comm)
        with ranks.ending_together(tell=lambda error: (3, "outside")):
            with ranks.ending_together():
                pass
            with ranks.ending_together():
                if comm.rank == 1:
                    raise ValueError
                ranks.greatest(0)

    assert on_ranks(2, work)[1] == Killed(3)
    assert told.texts == ["rank 1 of 2: outside\nall 2 ranks end\n"]


def test_errors_that_all_raise_together_are_raised(monkeypatch):
    told = Told(monkeypatch)

    def work(comm):
        with Ranks("sum", comm).ending_together(KeyError):
            raise KeyError(comm.rank)

    assert [type(error) for error in on_ranks(3, work)] == [KeyError] * 3
    assert told.texts == []


def test_alone_errors_are_raised(monkeypatch):
    told = Told(monkeypatch)
    with pytest.raises(ZeroDivisionError), Ranks().ending_together():
        raise ZeroDivisionError
    assert told.texts == []


def test_the_first_meeting_is_watched(monkeypatch):
    """A rank may have failed before it."""
    (comm,), seen = communicators(1), []

    class Watched(Watch):
        def __enter__(self):
            seen.append(self._what)
            super().__enter__()

        def __exit__(self, *error):
            seen.append("over")
            super().__exit__(*error)

    monkeypatch.setattr("minibnn.distributed.ranks.Watch", Watched)
    type(comm).Dup = lambda self, info=None: seen.append("Dup") or self
    Ranks("sum", comm)
    assert seen == ["meeting them", "Dup", "over"]


def test_the_exit_code_and_text_of_an_error():
    assert with_traceback(KeyboardInterrupt()) == (130, "ended by Ctrl-C")
    assert with_traceback(SystemExit(3)) == (3, "ended with 3")
    code, text = with_traceback(ValueError("wrong"))
    assert (code, text) == (1, "ValueError: wrong")


def test_the_threads_meet():
    """The communicator of these tests itself."""
    assert [comm.rank for comm in communicators(4)] == [0, 1, 2, 3]
    assert on_ranks(2, lambda comm: comm.allgather(comm.rank)) == [[0, 1]] * 2
