"""The exceptions about data; each is also of the matching built-in type."""

from minibnn.renames import renamed

__all__ = [
    "DataError",
    "DatasetMismatchError",
    "DatasetNotFoundError",
    "IdxFormatError",
    "SamplesError",
]


class DataError(Exception):
    """The base class of all errors about data."""


class IdxFormatError(DataError, ValueError):
    """A file does not contain the expected IDX array.

    Attributes:
        path: the file.
        offset: byte position of the error; in a gzip file, of the decompressed bytes.
        expected: what should be there.
        got: what is there.
        hint: how to correct it.

    >>> print(IdxFormatError("a.idx", 2, "an element type", "code 0x0a", "is this an IDX file?"))
    a.idx, byte 2: expected an element type, got code 0x0a; is this an IDX file?
    """

    mend = renamed("hint", gone_in="0.3")

    def __init__(self, path: str, offset: int, expected: str, got: str, hint: str) -> None:
        # pickle and copy rebuild the error from Exception.args, so all fields go there.
        super().__init__(path, offset, expected, got, hint)
        self.path = path
        self.offset = offset
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        where = f"{self.path}, byte {self.offset}"
        return f"{where}: expected {self.expected}, got {self.got}; {self.hint}"


class DatasetNotFoundError(DataError, FileNotFoundError):
    """The files of a data set were not found and could not be downloaded."""


class DatasetMismatchError(DataError, ValueError):
    """The files are valid, but do not belong together or are not the published ones."""


class SamplesError(DataError, ValueError):
    """A file or an array does not contain the expected samples.

    Attributes:
        where: the file, or the name of the data.
        expected: what should be there.
        got: what is there.
        hint: how to correct it.

    >>> print(SamplesError("a.csv", "a number in row 3, column 'age'", "'old'", "correct the cell"))
    a.csv: expected a number in row 3, column 'age', got 'old'; correct the cell
    """

    def __init__(self, where: str, expected: str, got: str, hint: str) -> None:
        super().__init__(where, expected, got, hint)
        self.where = where
        self.expected = expected
        self.got = got
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.where}: expected {self.expected}, got {self.got}; {self.hint}"
