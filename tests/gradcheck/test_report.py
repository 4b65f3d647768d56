"""A gradient report prints as a table."""

from __future__ import annotations

from gradcheck_helpers import values

from minibnn import Dense, check_gradients
from minibnn.gradcheck.report import GradientReport


def test_report_reads_as_a_table():
    report = check_gradients(Dense(4, 3), values(5, 4))
    assert isinstance(report, GradientReport)
    assert repr(report).splitlines()[0] == "gradient check of Dense(4 -> 3): passed"
    assert [r.name for r in report.results] == ["weight", "bias", "x"]
