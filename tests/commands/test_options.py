"""Error messages speak of options."""

from __future__ import annotations

import pytest

from minibnn.__main__ import main
from minibnn.commands.options import in_options


@pytest.mark.parametrize("by", ["--data-dir", "MINIBNN_DATA"])
@pytest.mark.parametrize("command", ["train", "evaluate", "compare"])
def test_missing_data_is_answered_with_options(trained, tmp_path, capsys, monkeypatch, by, command):
    """And never with the sample."""
    words = {
        "train": ["train", "-o", str(tmp_path / "x")],
        "evaluate": ["evaluate", str(trained)],
        "compare": ["compare", "--out", str(tmp_path / "x")],
    }[command]
    if by == "MINIBNN_DATA":
        monkeypatch.setenv(by, str(tmp_path))
    else:
        words += [by, str(tmp_path)]
    assert main(words) == 3
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "it: --data-dir FOLDER, or" in printed.err
    assert "--dataset sample has 5,000" in printed.err
    assert "load_" not in printed.err
    assert in_options(printed.err) == printed.err
    assert "bundled" not in printed.err
    assert not list(tmp_path.iterdir())
