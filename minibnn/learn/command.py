"""``python -m minibnn learn``: the exercises of the book."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
from pathlib import Path

from minibnn.atomic_file import require_writable, whole_file
from minibnn.learn.classroom import check_class, class_table, write_results
from minibnn.learn.exercise import CHAPTERS, Exercise, exercises, find
from minibnn.learn.isolate import check_file
from minibnn.learn.progress import NAME, Folder, ProgressError
from minibnn.learn.result import Result, indented, unwrapped
from minibnn.learn.starter import starter, without_marks

DESCRIPTION = """\
The exercises of the book, which check themselves. Without a word after it,
`learn` lists them."""
EPILOG = """\
examples:
  python -m minibnn learn                      list the exercises
  python -m minibnn learn start 1.2            write exercises/ch01_2_logistic.py
  python -m minibnn learn check 1.2            what is wrong with it, and its points
  python -m minibnn learn check                all files that are there, briefly
  python -m minibnn learn hint 1.2             the next hint
  python -m minibnn learn solution 1.2         one way to write it, once you are through
  python -m minibnn learn progress             points by chapter
  python -m minibnn learn class HANDED_IN -o results.csv      for teachers

An EXERCISE is a number or a name: 1.2 or logistic. Your files, and your progress
with them, are in the folder `exercises`, or in the one that --folder names."""
LONG = 5  # seconds, after which `class` shows how far it is
STYLES = {"green": "32", "red": "31", "yellow": "33", "bold": "1", "dim": "2"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's words and options."""
    parser.description, parser.epilog = DESCRIPTION, EPILOG
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.set_defaults(folder=None)
    words = parser.add_subparsers(dest="word", metavar="WORD")

    def word(name: str, line: str, *, folder: bool = True) -> argparse.ArgumentParser:
        made = words.add_parser(name, help=line, description=line)
        if folder:
            made.add_argument("--folder", "--to", metavar="FOLDER", help="default: exercises")
        return made

    word("list", "list the exercises")
    start = word("start", "write an exercise's starter file, unless it is there")
    start.add_argument("exercise", metavar="EXERCISE")
    checked = word("check", "check an exercise, a file, or all that you have started")
    checked.add_argument("exercise", metavar="EXERCISE_OR_FILE", nargs="?")
    for name, line in (
        ("hint", "give the next hint"),
        ("solution", "show the reference solution, after all points or all hints"),
    ):
        word(name, line).add_argument("exercise", metavar="EXERCISE")
    word("progress", "show your points")
    group = word("class", "check the files of a class and write a table", folder=False)
    group.add_argument("learners", metavar="FOLDER", help="has a folder for each learner. Their "
                       "code runs on this machine with limits of time and memory, and with your "
                       "rights")  # fmt: skip
    group.add_argument("-o", "--output", required=True, metavar="OUT", help="the CSV to write")


def run(given: argparse.Namespace) -> int:
    """Run one of the command's words."""
    folder = Folder(given.folder)
    match given.word:
        case "start":
            return _start(find(given.exercise), folder)
        case "check" if given.exercise is None:
            return _check_all(folder)
        case "check":
            if given.folder is not None and given.exercise.endswith(".py"):
                raise ValueError(
                    f"learn check: expected a file or --folder, got both, {given.exercise} and "
                    f"{given.folder}; leave --folder out, or name the exercise: "
                    f"{find(given.exercise).id}"
                )
            return _check(given.exercise, folder)
        case "hint":
            return _hint(find(given.exercise), folder)
        case "solution":
            return _solution(find(given.exercise), folder)
        case "progress":
            return _progress(folder)
        case "class":
            return _class(Path(given.learners), given.output)
        case _:
            return _list(folder)


def paint(text: str, style: str) -> str:
    """The text in a colour, if a person looks at it who has not asked for none."""
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    if plain or sys.stdout is None or not sys.stdout.isatty():
        return text
    return f"\x1b[{STYLES[style]}m{text}\x1b[0m"


def typed(folder: Folder, *words: str) -> str:
    """The command as it is typed for this folder."""
    where = ["--folder", str(folder.path)] if folder.path != Folder().path else []
    return f"python -m minibnn learn {shlex.join([*words, *where])}"


def next_step(folder: Folder, *words: str) -> str:
    """The line that says what to type next."""
    return f"next: {typed(folder, *words)}"


def _start(exercise: Exercise, folder: Folder) -> int:
    path = folder.file(exercise)
    text = starter(exercise)
    if path.exists():
        raise ValueError(
            f"{path}: expected no file yet, got one, which stays as it is; go on with it, "
            "or write another starter elsewhere: --to FOLDER"
        )
    folder.write(exercise)  # makes the folder
    with whole_file(path) as file:
        file.write(text.encode())
    holes = text.count("# TODO")
    print(paint(f"{exercise.id}  {exercise.title}", "bold"))
    print(f"\n{indented(unwrapped(exercise.text), '  ')}\n")
    print(f"{path} has {holes} hole{'s' * (holes != 1)}, `...`, to fill.")
    print(next_step(folder, "check", exercise.id))
    return 0


def _check(wanted: str, folder: Folder) -> int:
    exercise = find(wanted)
    named = Path(wanted)
    path = named if named.suffix == ".py" else folder.file(exercise)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: expected your answer to exercise {exercise.id}, got no such file; "
            f"begin with {typed(folder, 'start', exercise.id)}"
        )
    result = check_file(exercise, path)
    print(result.text(paint), flush=True)
    if path is named:
        folder = Folder(path.parent)
    if folder.begun() or path is not named:
        _record(folder, exercise, result)
        print(_after(exercise, result, folder))
    elif not result.ok:  # another's file leaves nothing in his folder
        print(next_step(Folder(), "check", wanted))
    return 0 if result.ok else 1


def _record(folder: Folder, exercise: Exercise, result: Result) -> None:
    """Record a result that has been shown, or raise an error that says why it is not saved."""
    try:
        folder.record(exercise, result)
    except ProgressError as error:
        raise ProgressError(f"the progress was not saved: {error}") from error
    except OSError as error:
        why = (error.strerror or str(error)).partition(";")[0]
        raise OSError(
            f"the progress was not saved: {folder.path / NAME}: {why}; copy your answers into a "
            "folder that you may write to, and name it: --folder FOLDER"
        ) from error


def _after(exercise: Exercise, result: Result, folder: Folder) -> str:
    if result.ok:
        return _first_left(folder, exercise.key)
    left = len(exercise.hints) - folder.of(exercise)["hints"]
    if left > 0:
        return f"{left} hint{'s' * (left != 1)} left: {typed(folder, 'hint', exercise.id)}"
    return next_step(folder, "check", exercise.id)


def _check_all(folder: Folder) -> int:
    started = [e for e in exercises() if folder.file(e).exists()]
    if not started:
        raise FileNotFoundError(
            f"{folder.path}: expected files of exercises, got none; "
            f"begin with {typed(folder, 'start', exercises()[0].id)}"
        )
    left = []
    unsaved: Exception | None = None
    for exercise in started:
        result = check_file(exercise, folder.file(exercise))
        try:
            _record(folder, exercise, result)
        except (ProgressError, OSError) as error:
            unsaved = error
        untouched = not result.trouble and not any(line.done for line in result.lines)
        word = "right" if result.ok else "begun" if untouched else "wrong"
        print(_row(exercise, word, result.points))
        for text in filter(None, [result.short_trouble, *result.mistakes]):
            print(indented(text, " " * 7))
        left += [] if result.ok else [exercise]
    print(flush=True)
    if unsaved is not None:
        raise unsaved
    print(next_step(folder, "check", left[0].id) if left else _first_left(folder))
    return 1 if left else 0


def _first_left(folder: Folder, after: tuple[int, int] = (0, 0)) -> str:
    """What to do next: an exercise that is begun, else one that is not; first those after one."""
    points = {id: known["points"] for id, known in folder.read().items()}
    every = sorted(exercises(), key=lambda e: (e.key <= after, e.key))
    left = [e for e in every if points.get(e.id) != e.points]
    begun = [e for e in left if folder.file(e).exists()]
    if begun:
        return next_step(folder, "check", begun[0].id)
    return next_step(folder, "start", left[0].id) if left else "You have all points."


def _row(exercise: Exercise, word: str, points: int | None) -> str:
    shown = f"{'-' if points is None else points:>3}/{exercise.points}"
    styles = {"right": "green", "wrong": "red", "begun": "yellow"}
    painted = paint(f"{word:<6}", styles[word]) if word in styles else f"{word:<6}"
    return f"  {exercise.id:<5}{exercise.title:<52.52}  {painted} {shown}"


def _list(folder: Folder) -> int:
    progress = folder.read()
    for chapter, title in CHAPTERS.items():
        here = [e for e in exercises() if e.key[0] == chapter]
        if not here:
            continue
        print(paint(f"{chapter:>2}  {title}", "bold"))
        for exercise in here:
            known = progress.get(exercise.id)
            if known is None:
                print(_row(exercise, "", None))
            else:
                word = "right" if known["points"] == exercise.points else "begun"
                print(_row(exercise, word, known["points"]))
        print()
    print(_first_left(folder))
    return 0


def _progress(folder: Folder) -> int:
    progress = folder.read()
    total = points = 0
    for chapter, title in CHAPTERS.items():
        here = [e for e in exercises() if e.key[0] == chapter]
        if not here:
            continue
        of = sum(e.points for e in here)
        got = sum(progress.get(e.id, {}).get("points", 0) for e in here)
        bar = "#" * (20 * got // of)
        print(f"{chapter:>2}  {title:<45.45}  [{bar:<20}] {got:>3}/{of}")
        total, points = total + of, points + got
    hints = sum(e.get("hints", 0) for e in progress.values())
    print(f"\n{points} of {total} points, {hints} hint{'s' * (hints != 1)} seen.")
    return 0


def _hint(exercise: Exercise, folder: Folder) -> int:
    hints = exercise.hints
    seen = folder.see_hint(exercise)
    print(paint(f"{exercise.id}  {exercise.title}", "bold"))
    for number, hint in enumerate(hints[:seen], start=1):
        text = indented(hint, "     ")
        print(f"\n  {number}  {text.lstrip()}")
    left = len(hints) - seen
    print(f"\n{left} more." if left else "\nThese are all.")
    return 0


def _solution(exercise: Exercise, folder: Folder) -> int:
    known = folder.of(exercise)
    left = len(exercise.hints) - known["hints"]
    if known["points"] < exercise.points and left > 0:
        raise ValueError(
            f"learn: expected all points in {exercise.id} or all of its hints before its solution, "
            f"got {known['points']} of {exercise.points} points; see the hints first: "
            f"{typed(folder, 'hint', exercise.id)}"
        )
    print(without_marks(exercise.solution), end="")
    return 0


def _class(learners: Path, output: str) -> int:
    require_writable(output)
    start = time.monotonic()

    def tell(line: str) -> None:
        if sys.stderr and (sys.stderr.isatty() or time.monotonic() - start > LONG):
            print(line, file=sys.stderr, flush=True)

    rows = check_class(learners, tell)
    write_results(rows, output)
    print(class_table(rows))
    count = "the 1 learner" if len(rows) == 1 else f"each of {len(rows)} learners"
    print(f"\n{output} has a row for {count}.")
    if noted := sum(bool(row.notes) for row in rows):
        who = "1 learner has" if noted == 1 else f"{noted} learners have"
        print(f"{who} notes there, on files that were not checked.")
    return 0
