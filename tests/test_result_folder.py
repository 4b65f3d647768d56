"""A folder of results: an earlier run's stay until the new ones are complete."""

from __future__ import annotations

import os

import pytest
from fuzz_writer import killed_everywhere, snapshot

from minibnn.result_folder import ResultFolder

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links, pipes and modes are POSIX's")

NAMES = ("table.csv", "picture.png")


def run_into(folder, version, *, finish=True, rows=3, picture=True):
    results = ResultFolder(folder, NAMES, {"version": version})
    for row in range(1, rows + 1):
        results.write("table.csv", f"{version}\n" * row)
    if picture:
        results.write("picture.png", version)
    if finish:
        results.finish()
    return results


def test_earlier_results_stay_until_the_new_ones_are_complete(tmp_path):
    out = tmp_path / "a" / "out"
    results = run_into(out, "first", finish=False)
    assert results.current == results.path == out
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "picture.png", "table.csv"]
    first = snapshot(out)

    results = ResultFolder(out, NAMES, {"version": "second"})
    assert snapshot(out) == first
    results.write("table.csv", "second\n")
    assert {k: v for k, v in snapshot(out).items() if "unfinished" not in k} == first
    assert (out / "unfinished" / "table.csv").read_text() == "second\n"
    assert '"second"' in (out / "unfinished" / "config.json").read_text()

    run_into(out, "third", picture=False)  # the second was stopped
    assert sorted(p.name for p in out.iterdir()) == ["config.json", "table.csv"]
    assert (out / "table.csv").read_text() == "third\n" * 3
    assert '"third"' in (out / "config.json").read_text()


def test_a_stopped_runs_picture_is_not_taken_for_the_next_ones(tmp_path):
    run_into(tmp_path, "first")
    run_into(tmp_path, "stopped", finish=False)
    results = run_into(tmp_path, "third", finish=False, picture=False)
    results.file("picture.png")  # which then could not be drawn
    results.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "table.csv"]
    assert '"third"' in (tmp_path / "config.json").read_text()


def test_two_runs_at_once_lose_nothing(tmp_path):
    """Whose results stay is up to chance, but there are some of each name."""
    run_into(tmp_path, "first")
    one = run_into(tmp_path, "one", finish=False)
    two = run_into(tmp_path, "two", finish=False, picture=False)
    one.finish()
    two.finish()
    assert (tmp_path / "table.csv").read_text() == "two\n" * 3
    assert '"two"' in (tmp_path / "config.json").read_text()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "table.csv"]


def test_a_link_to_nothing_among_results_stays(tmp_path):
    out = tmp_path / "out"
    run_into(out, "first")
    (out / "picture.png").unlink()
    (out / "picture.png").symlink_to(tmp_path / "elsewhere.png")
    run_into(out, "second")
    assert (tmp_path / "elsewhere.png").read_text() == "second"
    assert (out / "picture.png").is_symlink()


def test_settings_alone_are_no_results(tmp_path):
    ResultFolder(tmp_path, NAMES, {"version": "stopped"})
    results = ResultFolder(tmp_path, NAMES, {"version": "next"})
    assert results.current == tmp_path
    assert '"next"' in (tmp_path / "config.json").read_text()


def test_a_place_that_cannot_be_written_is_found_out_before(tmp_path):
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(IsADirectoryError):
        ResultFolder(tmp_path, NAMES)
    (tmp_path / "table.csv").rmdir()
    (tmp_path / "picture.png").write_text("old")
    (tmp_path / "picture.png").chmod(0o444)
    with pytest.raises(PermissionError):
        ResultFolder(tmp_path, NAMES)
    with pytest.raises(FileExistsError, match="expected a folder for results, got a file; choose"):
        ResultFolder(tmp_path / "picture.png", NAMES)
    (tmp_path / "picture.png").chmod(0o600)
    (tmp_path / "unfinished").write_text("a file")
    with pytest.raises(FileExistsError):
        ResultFolder(tmp_path, NAMES)


def test_finished_results_keep_modes_and_links(tmp_path):
    out = tmp_path / "out"
    run_into(out, "first")
    (out / "table.csv").chmod(0o600)
    (out / "picture.png").rename(tmp_path / "elsewhere.png")
    (out / "picture.png").symlink_to(tmp_path / "elsewhere.png")
    run_into(out, "second")
    assert (out / "table.csv").stat().st_mode & 0o777 == 0o600
    assert (out / "picture.png").is_symlink()
    assert (tmp_path / "elsewhere.png").read_text() == "second"


def test_a_kill_at_any_step_hurts_no_result(tmp_path):
    names = [*NAMES, "config.json"]
    assert killed_everywhere(tmp_path, lambda out: run_into(out, "new"), names) > 30
