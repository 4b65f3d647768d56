"""Finding exercises, and what one consists of."""

from __future__ import annotations

import pytest

from minibnn.learn import exercise as module
from minibnn.learn.exercise import Exercise, exercises, find


@pytest.mark.parametrize("wanted", ["1.2", "logistic", "ch01_2_logistic", "a/b/ch01_2_logistic.py"])
def test_an_exercise_is_found_by_number_name_or_file(wanted):
    found = find(wanted)
    assert (found.id, found.slug, found.key) == ("1.2", "logistic", (1, 2))
    assert found.title == "The logistic function and the logit"
    assert found.points == sum(check.points for check in found.checks)
    assert list(found.functions) == ["logistic", "logit"]


@pytest.mark.parametrize(
    ("wanted", "said"), [("logistics", "did you mean logistic?"), ("zzzz", "lists them")]
)
def test_others_are_refused(wanted, said):
    with pytest.raises(
        ValueError, match=f"expected an exercise such as 1.2, got '{wanted}'.*{said}"
    ):
        find(wanted)


def test_names_of_files_are_compared_with_those_of_exercises():
    with pytest.raises(ValueError, match=r"did you mean ch01_2_logistic\.py\?"):
        find("ch01_2_logistic (1).py")
    with pytest.raises(TypeError, match=r'got 2\.1; write "2\.1"'):
        find(2.1)
    with pytest.raises(TypeError, match=r'got None; write "1\.1"'):
        find(None)


def test_a_new_file_is_an_exercise_at_once(tmp_path, monkeypatch):
    (tmp_path / "ch12_3_new.py").write_text(
        '"""A title.\n\nText.\n"""\n\nx = 1\n\n\n# ---- the learner\'s file ends here ---\nsecret = 1\n'
    )
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    exercises.cache_clear()
    try:
        (found,) = exercises()
    finally:
        exercises.cache_clear()
    assert (found.id, found.title, found.text) == ("12.3", "A title", "Text.")
    assert "secret" not in found.solution


def test_files_that_are_none_are_told(tmp_path):
    with pytest.raises(ValueError, match="expected a name like ch01_2_logistic"):
        Exercise(tmp_path / "logistic.py").id  # noqa: B018
    path = tmp_path / "ch01_2_x.py"
    path.write_text("x = 1\n")
    with pytest.raises(ValueError, match="expected a line that begins with"):
        Exercise(path).solution  # noqa: B018


def test_the_time_limit_can_be_set():
    assert find("1.2").seconds == 10
    assert find("3.4").seconds == 20
