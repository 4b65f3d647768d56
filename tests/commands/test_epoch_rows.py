"""The printed table of a training."""

from __future__ import annotations

import pandas as pd

from minibnn.commands.epoch_rows import EpochRows


def history(n):
    return pd.DataFrame({"loss": [0.5] * n, "accuracy": [0.25] * n}, index=range(1, n + 1))


def test_each_row_is_printed_once(capsys):
    rows = EpochRows(["loss", "accuracy"])
    rows.head()
    for n in (1, 2, 2, 4):
        rows(history(n))
    head, *printed = capsys.readouterr().out.splitlines()
    assert head == "epoch  loss  accuracy"
    assert printed == [f"{n:<5} 0.500     0.250" for n in range(1, 5)]


def test_some_rows_of_a_long_training(capsys):
    rows = EpochRows(["loss"], 5)
    for n in range(1, 13):
        rows(history(n))
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["5", "10"]
