"""Tables of texts, separated by commas, tabs or semicolons: read, checked and made numbers.

Each line is checked: it has as many cells as the others, and each cell of a column of numbers is a
number. Errors name the line of the file, counted from 1.
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minibnn.data.columns import categories_of, feature_name, plain_name
from minibnn.data.errors import SamplesError
from minibnn.data.files import open_source
from minibnn.data.samples import Samples

__all__ = ["Table", "read_table", "table_samples"]

MISSING = frozenset({"", "?", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "#na"})
MOST_CLASSES = 100  # of a column of whole numbers that are taken as classes without being asked
_EXACT = 2**24  # float32 holds all whole numbers up to here
_SEPARATORS = {"\t": "tabs", ";": "semicolons", ",": "commas", "|": "bars"}
_LONGEST_CELL = 1 << 17
_CORRECT = "correct this cell"
_KEEP = '"drop" drops such rows, "keep" codes them as below all thresholds (missing=, --missing)'


@dataclass(frozen=True)
class Table:
    """The cells of a file.

    Attributes:
        path: the file.
        names: of the columns, all different; ``column 1`` and so on without a header.
        columns: the cells, column by column, without spaces around them.
        lines: where each row ends in the file, counted from 1.
        header: whether the names are from the file.
    """

    path: str
    names: tuple[str, ...]
    columns: list[tuple[str, ...]]
    lines: list[int]
    header: bool

    def where(self, row: int, column: int) -> str:
        """A cell's place in words."""
        return f"line {self.lines[row]}, column {self.names[column]!r}"


def read_table(path: str | os.PathLike[str], *, header: bool | None = None) -> Table:
    """Read a file of texts into columns. The first line shows what separates the cells.

    A column without a name that counts the rows, as pandas writes it, is left out.

    Args:
        path: the file, of at most 2 GiB.
        header: whether the first line has the names of the columns. By default it has if a text in
            it is above numbers; or if it has no numbers but 0, 1, 2 and so on in their places, and
            none of its texts occurs below.

    Raises:
        DatasetNotFoundError: there is no such file.
        SamplesError: it is no table; with the line.
    """
    name = os.fspath(path)
    rows, lines = _rows(name)
    has_names = _has_header(rows) if header is None else header
    names: Sequence[str] = rows[0]
    if not has_names:
        names = [f"column {i + 1}" for i in range(len(rows[0]))]
    first = 1 if has_names else 0
    if len(rows) == first:
        raise SamplesError(name, "rows below the header", "none", "name a file with samples")
    columns = list(zip(*rows[first:], strict=True))
    lines = lines[first:]
    if has_names and names[0] == "" and len(names) > 1 and _counts(columns[0]):
        names, columns = names[1:], columns[1:]
    for i, one in enumerate(names):
        if not one:
            hint = "write a name into the first line"
            raise SamplesError(name, f"a name for column {i + 1}", "none", hint)
        if one in names[:i]:
            got = f"{one!r} in columns {names.index(one) + 1} and {i + 1}"
            raise SamplesError(name, "different names of columns", got, "rename one of the two")
    return Table(name, tuple(names), columns, lines, has_names)


def table_samples(
    table: Table,
    *,
    target: str | Sequence[str] | bool | None = None,
    missing: str = "refuse",
    group: str | None = None,
    classes: bool | None = None,
    features: Sequence[str] | None = None,
) -> Samples:
    """Samples from the columns of a table.

    Args:
        table: the cells.
        target: the column, or several columns of numbers; by default the last one, or the only one
            that is not in `features`. False: there is none.
        missing: what to do with rows that have missing values.
        group: the column that says what each row belongs to.
        classes: whether the target is a class; by default if it is no number, or if the numbers
            are whole, at most 100 different ones, and each occurs twice on average.
        features: the feature names of earlier samples: these columns are taken, in this order,
            with the same numbers for texts.

    Raises:
        SamplesError: a column is missing or a cell is wrong; with line, column and value.
    """
    path = table.path
    wanted = [_find(table, plain_name(one), "a feature") for one in features or ()]
    targets = _targets(table, target, group, features)
    others = [*targets, *([] if group is None else [_find(table, group, "a group")])]
    chosen = wanted or [i for i in range(len(table.names)) if i not in others]
    if not chosen:
        hint = "keep a column beside the target"
        raise SamplesError(path, "columns of features", "none", hint)
    known = [None] * len(chosen) if features is None else [*map(categories_of, features)]
    gaps = [[cell.casefold() in MISSING for cell in column] for column in table.columns]
    kept = np.ones(len(table.lines), bool)
    for i in {*others, *(chosen if missing != "keep" else [])}:
        if missing == "drop":
            kept &= ~np.array(gaps[i])
        elif any(gaps[i]):
            row = gaps[i].index(True)
            count = sum(map(sum, (gaps[j] for j in {*chosen, *others})))
            cell = table.columns[i][row]
            got = f"a missing value{f' ({cell})' if cell else ''}, one of {count}"
            hint = _KEEP if i in chosen else 'missing="drop" (--missing drop) drops such rows'
            raise SamplesError(path, f"a value in {table.where(row, i)}", got, hint)
    if not kept.any():
        got = f"missing values in all {len(kept)}"
        raise SamplesError(path, "a row without missing values", got, 'missing="keep" keeps them')
    rows = np.flatnonzero(kept)
    columns, names = [], []
    for i, categories in zip(chosen, known, strict=True):
        values, coded = _column(table, i, gaps[i], rows, categories)
        columns.append(values)
        names.append(coded)
    x = np.stack(columns, 1)
    y, as_classes = _y(table, targets, gaps, rows, classes)
    groups = None if group is None else np.array([table.columns[others[-1]][r] for r in rows])
    samples = Samples.of(
        x, y, name=os.path.basename(path), classes=as_classes, feature_names=names, groups=groups,
        missing="keep",
    )  # fmt: skip
    return _told(samples, table, targets, group, len(kept) - len(rows))


def _told(
    samples: Samples, table: Table, targets: list[int], group: str | None, dropped: int
) -> Samples:
    from dataclasses import replace

    of = ", ".join(repr(table.names[i]) for i in targets)
    kind = f"a table of {len(samples)} rows, {samples.x.shape[1]} columns"
    kind += f", target {of} ({samples.target})" if targets else ", no target"
    kind += f", groups by {group!r}" if group is not None else ""
    kind += f", {dropped} row{'s' * (dropped > 1)} with missing values left out" if dropped else ""
    kind += "" if table.header else ", no header"
    return replace(samples, kind=kind)


def _rows(name: str) -> tuple[list[list[str]], list[int]]:
    """The cells of each line that is not empty, and where it ends."""
    with open_source(name) as (file, _), io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        head = _first_line(name, text)
        separator = max(_SEPARATORS, key=head.count)
        if not head.count(separator):
            separator = ","
        rows: list[list[str]] = []
        lines: list[int] = []
        for line, cells in _parsed(name, text, separator):
            if rows and len(cells) != len(rows[0]):
                expected = f"{len(rows[0])} cells in line {line}, as in line {lines[0]}"
                hint = "quote cells that contain what separates cells"
                raise SamplesError(name, expected, f"{len(cells)}", hint)
            rows.append([cell.strip() for cell in cells])
            lines.append(line)
    if not rows:
        raise SamplesError(name, "lines with cells", "an empty file", "name a file with samples")
    if len(rows[0]) == 1:
        expected = "at least two columns, separated by " + ", ".join(_SEPARATORS.values())
        hint = "separate the cells by commas"
        raise SamplesError(name, expected, f"one: {rows[0][0][:40]!r}", hint)
    return rows, lines


def _first_line(name: str, text: io.TextIOWrapper) -> str:
    try:
        head = ""
        while not head.strip():
            head = text.readline(_LONGEST_CELL)
            if not head:
                break
        text.seek(0)
    except UnicodeDecodeError as error:
        raise _encoding(name, error) from None
    return head


def _parsed(name: str, text: io.TextIOWrapper, separator: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(text, delimiter=separator, strict=True, skipinitialspace=True)
    try:
        for cells in reader:
            if any("\0" in cell for cell in cells):
                got = f"a byte 0 in line {reader.line_num}"
                raise SamplesError(name, "a file of texts", got, "save the table as CSV in UTF-8")
            if cells and (len(cells) > 1 or cells[0].strip()):
                yield reader.line_num, cells
    except UnicodeDecodeError as error:
        raise _encoding(name, error) from None
    except csv.Error as error:
        hint = "close each quote, and write a quote inside quotes twice"
        raise SamplesError(name, f"cells in line {reader.line_num}", f"{error}", hint) from None


def _encoding(name: str, error: UnicodeDecodeError) -> SamplesError:
    got = f"the byte {error.object[error.start]:#04x}"
    if error.object[:2] in (b"\xff\xfe", b"\xfe\xff"):
        got = "UTF-16"
    return SamplesError(name, "a table in UTF-8", got, "save the table as CSV in UTF-8")


def _has_header(rows: list[list[str]]) -> bool:
    """Whether the first line names the columns; `read_table` says how that is seen."""
    first, below = rows[0], rows[1:]
    texts = [i for i, cell in enumerate(first) if cell and not _is_number(cell)]
    for i in texts:
        known = [row[i] for row in below if row[i].casefold() not in MISSING]
        if known and first[i].casefold() not in MISSING and all(map(_is_number, known)):
            return True
    numbers = [i for i, cell in enumerate(first) if _is_number(cell)]
    if numbers and (len(numbers) < 2 or any(first[i] != str(i) for i in numbers)):
        return False
    if not texts:
        return len(numbers) > 2
    return not any(row[i] == first[i] for row in below for i in texts)


def _counts(cells: Sequence[str]) -> bool:
    """Whether the cells are 0, 1, 2 and so on."""
    return all(cell == str(i) for i, cell in enumerate(cells))


def _is_number(cell: str) -> bool:
    return _number(cell) is not None and cell.casefold() not in MISSING


def _number(cell: str) -> float | None:
    try:
        return None if "_" in cell else float(cell)
    except ValueError:
        return None


def _targets(
    table: Table,
    target: str | Sequence[str] | bool | None,
    group: str | None,
    features: Sequence[str] | None,
) -> list[int]:
    """The places of the columns to be predicted."""
    if target is False:
        return []
    if target is None or target is True:
        taken = {group, *(map(plain_name, features) if features is not None else ())}
        left = [i for i, name in enumerate(table.names) if name not in taken]
        if not left or (features is not None and len(left) > 1):
            got = ", ".join(repr(table.names[i]) for i in left) or "none"
            expected, hint = "one column beside the features", "name it with target= (--target)"
            raise SamplesError(table.path, expected, got, hint)
        return left[-1:]
    names = [target] if isinstance(target, str) else list(target)
    places = [_find(table, name, "a target") for name in names]
    for i in places:
        if features is None and table.names[i] == group:
            hint = "name two different columns"
            raise SamplesError(table.path, "a target beside the group", f"{group!r}", hint)
    return places


def _find(table: Table, name: str, what: str) -> int:
    """The place of a column, by its name, or without a header by its number from 1."""
    if name in table.names:
        return table.names.index(name)
    if not table.header and f"column {name}" in table.names:
        return table.names.index(f"column {name}")
    import difflib

    close = difflib.get_close_matches(name, table.names, n=1)
    shown = ", ".join(map(repr, table.names[:12])) + " and more" * (len(table.names) > 12)
    hint = f"did you mean {close[0]!r}?" if close else "name one of these columns"
    raise SamplesError(table.path, f"{what} named {name!r}", f"the columns {shown}", hint)


def _column(
    table: Table,
    i: int,
    gaps: list[bool],
    rows: np.ndarray[Any, Any],
    categories: tuple[str, ...] | None,
) -> tuple[np.ndarray[Any, Any], str]:
    """The values of a column of features, nan where they are missing, and the feature's name."""
    cells = [table.columns[i][r] for r in rows]
    known = [r for r, gap in enumerate(gaps[r] for r in rows) if not gap]
    if categories is None:
        numbers = _numbers(table, i, rows, cells, known)
        if numbers is not None:
            return _filled(numbers, known, len(cells)), table.names[i]
        name, categories = feature_name(table.path, table.names[i], (cells[r] for r in known))
    else:
        name = _coded(table.names[i], categories)
    number = {text: n for n, text in enumerate(categories)}
    for r in known:
        if cells[r] not in number:
            expected = (
                f"one of {', '.join(map(repr, categories[:12]))} in {table.where(rows[r], i)}"
            )
            hint = "leave such rows out, or train with them"
            raise SamplesError(table.path, expected, f"{cells[r]!r}", hint)
    return _filled(np.array([number[cells[r]] for r in known], np.int64), known, len(cells)), name


def _coded(name: str, categories: Sequence[str]) -> str:
    return f"{name}: " + ", ".join(f"{i} {text}" for i, text in enumerate(categories))


def _filled(numbers: np.ndarray[Any, Any], known: list[int], n: int) -> np.ndarray[Any, Any]:
    if len(known) == n:
        return numbers
    values = np.full(n, np.nan)
    values[known] = numbers
    return values


def _numbers(
    table: Table, i: int, rows: np.ndarray[Any, Any], cells: list[str], known: list[int]
) -> np.ndarray[Any, Any] | None:
    """The cells of a column as int64 or float64; None if they are texts.

    A column with a few texts among numbers is neither, and an error.
    """
    found = _all_numbers([cells[r] for r in known])
    if found is None:
        texts = [r for r in known if _number(cells[r]) is None]
        if len(texts) * 2 < len(known):
            r = texts[0]
            expected = f"a number in {table.where(rows[r], i)}, as in most rows"
            hint = _decimal(cells[r]) or f"{_CORRECT}, or leave it empty"
            raise SamplesError(table.path, expected, f"{cells[r]!r}", hint)
        commas = [r for r in texts if _decimal(cells[r])]
        if commas:
            r = commas[0]
            expected = f"numbers with a decimal point in {table.where(rows[r], i)}"
            raise SamplesError(table.path, expected, f"{cells[r]!r}", _decimal(cells[r]))
        return None
    wrong = ~(np.abs(found) <= np.finfo(np.float32).max)
    if wrong.any():
        r = known[int(wrong.argmax())]
        expected = f"a number that float32 holds in {table.where(rows[r], i)}"
        raise SamplesError(table.path, expected, f"{cells[r]!r}", _CORRECT)
    if not all(cells[r].lstrip("+-").isdecimal() for r in known):
        return found
    wrong = np.abs(found) > _EXACT
    if wrong.any():
        r = known[int(wrong.argmax())]
        where = table.where(rows[r], i)
        expected = f"whole numbers up to {_EXACT}, which float32 holds, in {where}"
        hint = "subtract an offset, or remove the column if it is a time or a key"
        raise SamplesError(table.path, expected, f"{cells[r]!r}", hint)
    return found.astype(np.int64)


def _all_numbers(cells: list[str]) -> np.ndarray[Any, Any] | None:
    """The cells as float64, or None if one of them is no number."""
    try:
        numbers = np.array([*map(float, cells)], np.float64)
    except ValueError:
        return None
    return None if any("_" in cell for cell in cells) else numbers


def _decimal(cell: str) -> str:
    """What to write for a number with commas, or "" for other texts."""
    if "," not in cell:
        return ""
    for written in (cell.replace(",", "."), cell.replace(",", "")):
        if _number(written) is not None:
            return f"write {written}"
    return ""


def _y(
    table: Table,
    targets: list[int],
    gaps: list[list[bool]],
    rows: np.ndarray[Any, Any],
    classes: bool | None,
) -> tuple[np.ndarray[Any, Any] | None, bool]:
    """The targets, and whether they are classes."""
    if not targets:
        return None, False
    every = [*range(len(rows))]
    cells = [[table.columns[i][r] for r in rows] for i in targets]
    if len(targets) > 1 or classes is False:
        numbers = []
        for i, own in zip(targets, cells, strict=True):
            values = _numbers(table, i, rows, own, every)
            if values is None:
                expected = f"numbers in the target {table.names[i]!r}"
                hint = "name targets of numbers" if len(targets) > 1 else "leave out classes=False"
                raise SamplesError(table.path, expected, f"{own[0]!r}", hint)
            numbers.append(values)
        return np.stack(numbers, 1), False
    (i,), (own,) = targets, cells
    found = [_number(cell) for cell in own]
    if any(number is None for number in found):
        if classes is None:
            _numbers(table, i, rows, own, every)  # raises if most cells are numbers
        return np.array(own), True
    values = np.array(found, np.float64)
    if not np.isfinite(values).all() or (values != np.floor(values)).any():
        if classes:  # texts such as 1.5 may be the names of classes
            return np.array(own), True
        return _numbers(table, i, rows, own, every), False
    different = len(np.unique(values))
    if classes or (different <= MOST_CLASSES and 2 * different <= len(values)):
        return values, True
    return _numbers(table, i, rows, own, every), False
