"""What can be wrong with data: one family of exceptions, each also of the matching builtin type."""

from minibnn.renames import renamed

__all__ = ["DataError", "DatasetMismatchError", "DatasetNotFoundError", "IdxFormatError"]


class DataError(Exception):
    """Base of every error about data; catch it to catch them all."""


class IdxFormatError(DataError, ValueError):
    """A file does not hold the IDX array that it should.

    Attributes:
        path: the file.
        offset: byte position of the fault; inside a gzip file it counts decompressed bytes.
        expected: what should stand there.
        got: what stands there.
        hint: what to do about it.

    >>> print(IdxFormatError("a.idx", 2, "an element type", "code 0x0a", "is this an IDX file?"))
    a.idx, byte 2: expected an element type, got code 0x0a; is this an IDX file?
    """

    mend = renamed("hint", gone_in="0.3")

    def __init__(self, path: str, offset: int, expected: str, got: str, hint: str) -> None:
        # All fields go to Exception.args: that is what pickle and copy rebuild the error from.
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
    """The files of a data set are not where they were looked for and could not be fetched."""


class DatasetMismatchError(DataError, ValueError):
    """Each file reads well, but they do not belong together or are not the published ones."""
