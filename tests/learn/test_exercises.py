"""Every exercise in the package: blank answers, the reference, and all typical wrong answers."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from minibnn.learn.exercise import CHAPTERS, FILE, FOLDER, exercises
from minibnn.learn.grade import Grader
from minibnn.learn.result import Result
from minibnn.learn.starter import holes_in, starter, without_marks
from minibnn.learn.values import Raised

EXERCISES = {exercise.stem: exercise for exercise in exercises()}
GRADERS: dict[str, Grader] = {}


@pytest.fixture(params=EXERCISES)
def exercise(request):
    return EXERCISES[request.param]


@pytest.fixture
def grader(exercise):
    """One for all tests of an exercise: its right outcomes are computed once."""
    if exercise.stem not in GRADERS:
        GRADERS[exercise.stem] = Grader(exercise)
    return GRADERS[exercise.stem]


def run(source, path):
    """What a learner's file defines, and the holes in it."""
    path.write_text(source, encoding="utf-8")
    names = {"__name__": path.stem}
    exec(compile(source, str(path), "exec"), names)
    return names, holes_in(source)


def result(grader, names, holes):
    e = grader.exercise
    return Result(e.id, e.title, tuple(grader.grade(names, holes)))


def test_the_starter_scores_nothing(exercise, grader, tmp_path):
    names, holes = run(starter(exercise), tmp_path / "answer.py")
    assert any(holes.values())
    found = result(grader, names, holes)
    assert found.points == 0, str(found)
    assert not any(line.done for line in found.lines)


def test_holes_that_no_one_looks_for_score_nothing(exercise, grader, tmp_path):
    """In a notebook the source may not be there: `...` is then a value like any other."""
    names, _ = run(starter(exercise), tmp_path / "answer.py")
    assert result(grader, names, {}).points == 0


def test_the_reference_has_all_points(exercise, grader, tmp_path):
    names, holes = run(without_marks(exercise.solution), tmp_path / "answer.py")
    assert not any(holes.values())
    found = result(grader, names, holes)
    assert found.ok, str(found)
    assert found.of == exercise.points > 0
    assert not grader.warnings
    right = [value for outcome in grader.right for value in outcome.values()]
    assert not any(isinstance(value, Raised) for value in right), right


def test_each_mistake_is_recognised_by_its_name_alone(exercise, grader):
    assert len(exercise.mistakes) >= 3
    assert len({m.name for m in exercise.mistakes}) == len(exercise.mistakes)
    for mistake in exercise.mistakes:
        found = result(grader, {**exercise.functions, mistake.of: mistake.code}, {})
        assert found.points < found.of, mistake.name
        assert found.mistakes == [mistake.name], f"{mistake.name}:\n{found}"
        assert mistake.message in " ".join(m for line in found.lines for _, m in line.mistakes)


def test_mutants_are_all_caught_by_the_reference_only(exercise, grader):
    """The reference has all points, so it catches them; each of them has to be caught by work."""
    for check in exercise.checks:
        if hasattr(check, "mutants"):
            assert len(check.mutants) >= 3
            nothing = {**exercise.functions, check.name: lambda implementation: None}
            (line,) = [g for g in grader.grade(nothing) if g.title == check.title]
            assert line.points == 0


def test_what_the_learner_reads(exercise):
    assert exercise.key[0] in CHAPTERS
    assert exercise.title
    assert len(exercise.title) <= 52
    assert exercise.text
    assert 2 <= len(exercise.hints) <= 6
    assert all(line.title and len(line.title) <= 60 for line in exercise.checks)
    text = starter(exercise)
    assert [line for line in text.splitlines() if len(line) > 88] == []
    assert [line for line in exercise.text.splitlines() if len(line) > 79] == []
    assert "hole" not in re.findall(r"#\s*(\w+)", text)
    assert set(exercise.functions) <= set(holes_in(text))
    said = [*exercise.hints, *(m.message for m in exercise.mistakes)]
    for part in said:
        assert part[-1] in ".?!:)" or part.splitlines()[-1].startswith(" "), part


def test_the_solution_is_not_in_the_starter(exercise):
    """Nothing of what the marks cut out is left, and the author's part is not there."""
    text = starter(exercise)
    assert "minibnn.learn.author" not in text
    assert "HINTS" not in text
    assert ast.dump(ast.parse(text)) != ast.dump(ast.parse(exercise.solution))


def test_every_file_is_an_exercise_with_a_number_of_its_own():
    files = [path.stem for path in FOLDER.glob("*.py")]
    assert all(FILE.fullmatch(stem) for stem in files)
    ids = [e.id for e in EXERCISES.values()]
    assert len(set(ids)) == len(ids)
    slugs = [e.slug for e in EXERCISES.values()]
    assert len(set(slugs)) == len(slugs)
    numbers = [e.key for e in EXERCISES.values()]
    for chapter in {c for c, _ in numbers}:
        here = [n for c, n in numbers if c == chapter]
        assert here == list(range(1, len(here) + 1)), f"chapter {chapter}"


def test_listing_them_does_not_load_data():
    """Data and training belong into probes; see the notes in minibnn/learn/__init__.py."""
    code = (
        "import sys; from minibnn.learn.exercise import exercises; "
        "print(sum(e.points for e in exercises())); "
        "sys.exit('minibnn.data.mnist' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) == sum(e.points for e in EXERCISES.values())
