"""Helpers for the tests of commands."""

from __future__ import annotations

import pytest

from minibnn.__main__ import main

SAMPLE = ("--dataset", "sample", "--device", "cpu")

READERS = {
    "evaluate": ["evaluate", "FILE", *SAMPLE],
    "inspect": ["inspect", "FILE"],
    "pack": ["pack", "FILE", "-o", "OUT"],
    "export": ["export", "c", "FILE", "-o", "OUT"],
    "train": ["train", "--from", "FILE", *SAMPLE, "-o", "OUT"],
}


def with_paths(words, file, out):
    return [{"FILE": str(file), "OUT": str(out)}.get(word, word) for word in words]


def refuses(capsys, words, code, said):
    assert main(words) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    *_, last = printed.err.splitlines()
    assert last.startswith("error: ")
    assert said in last


def link(path, to):
    """Another way to a file; only where links can be made."""
    try:
        path.symlink_to(to)
    except OSError:
        pytest.skip("no links here")
    return path
