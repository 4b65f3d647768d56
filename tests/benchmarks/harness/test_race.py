"""benchmarks/harness/race.py: who is excluded from a race."""

from __future__ import annotations

import os

from harness.contestant import Job
from harness.race import Contestant, race
from minibnn import load_sample


def test_a_contestant_with_another_loss_is_excluded(tmp_path):
    """A rival with other weights is named and has no row; so is a module that does not exist."""
    cheat = tmp_path / "cheat.py"
    cheat.write_text(
        "from frameworks.plain_numpy import PlainNumpy\n"
        "from harness.contestant import run\n"
        "run(lambda job, weights, *rest: PlainNumpy(job, [-weights[0], *weights[1:]], *rest))\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    contestants = [
        Contestant("minibnn", "minibnn", "frameworks.ours"),
        Contestant("plain", "numpy", "frameworks.plain_numpy"),
        Contestant("cheat", "numpy", "cheat", variables=(("PYTHONPATH", path),)),
        Contestant("broken", "numpy", "nowhere"),
    ]
    job = Job(
        "train", (784, 16, 10), bias=True, norm=False, clip=None, bound=None, steps=2, threads=1
    )
    rows, problems = race(job, contestants, 2, load_sample())
    assert {row["contestant"] for row in rows} == {"minibnn", "plain"}
    assert len(rows) == 4
    assert len(problems) == 2
    assert problems[0].startswith("cheat excluded: expected the first loss ")
    assert "No module named nowhere" in problems[1]
