"""Something goes wrong on one rank: all end, soon, with the exit code and one message.

`python tests/fuzz/fuzz_ranks.py --faults` tries all of `rank_faults.FAULTS`, with any library of MPI.
"""

from __future__ import annotations

import fuzz_ranks
import pytest
from mpirun import needs_mpirun
from rank_faults import ALL_SAY_IT, FAULTS, seen

pytestmark = needs_mpirun


@pytest.mark.parametrize(
    ("fault", "mode"),
    [
        ("callback", "sum"),
        ("sys.exit(0)", "exact"),
        ("SIGKILL", "sum"),
        ("SIGSTOP", "exact"),
        ("before ranks meet", "sum"),
        ("data", "sum"),
        ("a shorter batch", "sum"),
        ("SIGTERM to one", "exact"),
    ],
)
def test_all_ranks_end(fault, mode, tmp_path):
    found = seen(fault, tmp_path, mode=mode)
    assert not found.wrong, found.wrong
    saved = sorted(path.name for path in tmp_path.iterdir())
    if fault == "SIGTERM to one":  # no half of a file, either
        assert saved[0] == "run.safetensors"
        assert set(saved) <= {"run.safetensors", "run.safetensors.before"}
    else:
        assert saved == []


def test_killed_ranks_and_others_that_go_on():
    """`python tests/fuzz/fuzz_ranks.py` kills more of them."""
    said = []
    found = fuzz_ranks.run(2, seed=3, say=said.append)
    assert found["kills"] == 2
    assert found["trainings"] == 1
    assert "with the same bytes" in said[-1]


def test_the_table_of_faults():
    assert set(ALL_SAY_IT) <= set(FAULTS)
