"""Sources of data with one fault each, by name: what makes them, how they are read, what is said."""

from __future__ import annotations

import gzip
import io
import os
import struct
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from minibnn.data import write_idx

TABLE = "age,mass,kind\n1,2.5,a\n2,3.5,b\n3,4.5,a\n4,5.5,b\n"


@dataclass
class Broken:
    """A source with a fault: files by name (bytes, or folders of files), and the words of its error."""

    path: str
    files: dict[str, Any]
    words: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    parts: bool = False
    needs: str = ""


def write(folder: Path, files: dict[str, Any]) -> None:
    """Write files; a dict is a folder, None a pipe."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if isinstance(content, dict):
            write(path, content)
        elif content is None:
            os.mkfifo(path)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)


def table(text, *words, path="t.csv", **options):
    return Broken(path, {path: text}, (path, *words), options)


def npy(array, **options) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def npz(**arrays) -> bytes:
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def zipped(compression=zipfile.ZIP_STORED, **members) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "."), content)
    return file.getvalue()


def arrays(content, *words, path="a.npz", **options):
    return Broken(path, {path: content}, (path, *words), options)


def headed(header: str, body: bytes = b"", version=(1, 0)) -> bytes:
    text = header.encode()
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(text)) + text + body


def idx(array) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.idx"
        write_idx(path, np.asarray(array))
        return path.read_bytes()


def png(height=4, width=5, mode="RGB", value=7, kind="PNG", **options) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    value = value if mode in ("L", "1", "P", "I;16", "I", "F") else (value,) * len(mode)
    Image.new(mode, (width, height), value).save(file, kind, **options)
    return file.getvalue()


def animation() -> bytes:
    from PIL import Image

    file = io.BytesIO()
    one, other = (Image.new("L", (5, 4), value) for value in (0, 255))
    one.save(file, "GIF", save_all=True, append_images=[other])
    return file.getvalue()


def large_png(side) -> bytes:
    """A header that declares that many rows and columns."""
    import zlib

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def images(content, *words, where="d/b/1.png", **options):
    """A folder of two classes of good images, and one file with a fault."""
    good = png()
    files = {"a": {"0.png": good, "1.png": good}, "b": {"0.png": good}}
    folder, name = where.split("/")[1:]
    files.setdefault(folder, {})[name] = content
    return Broken("d", {"d": files}, words, options, needs="PIL")


X = np.arange(12.0).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 0, 1])
PIXELS = np.arange(48, dtype=np.uint8).reshape(3, 4, 4)
LABELS = np.array([0, 1, 0], np.uint8)


def tables() -> dict[str, Broken]:
    """Broken tables, which need nothing but this module."""
    return {
        "empty table": table("", "an empty file"),
        "blank lines": table("\n\n \n", "an empty file"),
        "header only": table("a,b,c\n", "rows below the header", header=True),
        "one column": table("a\n1\n2\n", "one: 'a'"),
        "short row": table(TABLE + "5,6\n", "3 cells in line 6", "got 2"),
        "long row": table(TABLE + "5,6,a,7\n", "3 cells in line 6", "got 4"),
        "trailing comma": table("a,b\n1,2,\n", "2 cells in line 2", "got 3"),
        "text among numbers": table(TABLE + "5,heavy,a\n", "a number in line 6, column 'mass'", "'heavy'"),
        "units": table(TABLE + "5,6.5 kg,a\n", "line 6, column 'mass'", "'6.5 kg'"),
        "decimal comma": table("a;b;c\n1,5;2;x\n2,5;3;y\n", "decimal point in line 2", "'1,5'"),
        "one decimal comma": table('a,b,c\n"1,5",2,x\n2.5,3,y\n3.5,3,y\n', "line 2, column 'a'", "write 1.5"),
        "thousands": table('a,b,c\n"1,234.5",2,x\n2,3,y\n3,3,y\n', "line 2, column 'a'", "write 1234.5"),
        "missing value": table(TABLE + "5,,a\n", "line 6, column 'mass'", "a missing value, one of 1"),
        "question mark": table(TABLE + "?,6,a\n", "line 6, column 'age'", "(?)"),
        "missing target": table(TABLE + "5,6,\n", "line 6, column 'kind'", "drops such rows"),
        "missing target, kept": table(TABLE + "5,6,NA\n", "column 'kind'", "(NA)", missing="keep"),
        "all rows dropped": table("a,b,c\n,1,x\n2,,y\n", "missing values in all 2", missing="drop"),
        "infinite": table(TABLE + "5,inf,a\n", "line 6, column 'mass'", "'inf'"),
        "too large": table(TABLE + "5,1e99,a\n", "line 6, column 'mass'", "'1e99'"),
        "a key": table("key,b,c\n1000000001,1,x\n1000000002,2,y\n", "16777216", "column 'key'"),
        "a name in each row": table(
            "name,b,c\n" + "".join(f"n{i},{i},{i % 2}\n" for i in range(300)), "column 'name'", "300"),
        "same name twice": table("a,b,a\n1,2,3\n", "'a' in columns 1 and 3"),
        "no name": table("a,,c\n1,2,x\n", "a name for column 2"),
        "no such target": table(TABLE, "a target named 'kin'", "did you mean 'kind'?", target="kin"),
        "no target like it": table(TABLE, "a target named '0'", "'age', 'mass', 'kind'", target="0"),
        "no such group": table(TABLE, "a group named 'person'", group="person"),
        "group is target": table(TABLE, "a target beside the group", target="kind", group="kind"),
        "only a target": table("a,b\n1,x\n2,y\n", "columns of features", group="a"),
        "texts as numbers": table(TABLE, "numbers in the target 'kind'", classes=False),
        "two targets, one of texts": table(TABLE, "target 'kind'", target=["mass", "kind"]),
        "number in a target of texts": table("a,c\n1,1\n2,2\n3,x\n4,3\n5,3\n", "line 4, column 'c'", "'x'"),
        "open quote": table('a,b\n"1,2\n3,4\n', "unexpected end of data"),
        "text behind a quote": table('a,b\n"1"x,2\n', "line 2", "expected after"),
        "endless cell": table("a,b\n" + "x" * 200_000 + ",1\n", "field larger than field limit"),
        "bytes 0": table("a,b\n1,\0\n", "a byte 0 in line 2"),
        "UTF-16": table("a,b\n1,2\n".encode("utf-16"), "in UTF-8", "UTF-16"),
        "Latin-1": table("a,b\n1,gr\xfcn\n".encode("latin-1"), "in UTF-8", "0xfc"),
        "binary": table(b"PK\x03\x04\xff\xfe\x00", "in UTF-8"),
        "unknown feature": table(TABLE, "a feature named 'size'", features=["size"]),
        "unknown category": table("place,b,c\nNorth,1,x\nEast,2,y\n", "'North', 'South' in line 3, column 'place'", "'East'", target="c",
                                  features=["place: 0 North, 1 South"]),
        "two columns left": table(TABLE, "one column beside the features", "'mass', 'kind'", features=["age"]),
        "Excel": Broken("t.xlsx", {"t.xlsx": b"PK"}, ("t.xlsx", "save it as CSV")),
        "pickle": Broken("t.pkl", {"t.pkl": b"\x80\x04."}, ("t.pkl", "numpy.savez")),
        "nothing there": Broken("none.csv", {}, ("none.csv", "no such name")),
        "nothing there, arrays": Broken("none.npz", {}, ("none.npz", "no such name")),
        "a pipe": Broken("p.csv", {"p.csv": None}, ("p.csv", "a pipe")),
        "a folder named so": Broken("f.csv", {"f.csv": {}}, ("f.csv", "no folder")),
        "parts of one file": Broken("t.csv", {"t.csv": TABLE}, ("a training and a test part",), parts=True),
        "another class in the test part": Broken(
            "d", {"d": {"train.csv": TABLE, "test.csv": "age,mass,kind\n1,2,z\n"}}, ("class 'z'", "'a', 'b'"), parts=True),
        "another column in the test part": Broken(
            "d", {"d": {"train.csv": TABLE, "test.csv": "age,size,kind\n1,2,a\n"}}, ("test.csv", "named 'mass'"), parts=True),
        "two training parts": Broken(
            "d", {"d": {"train.csv": TABLE, "train.tsv": TABLE, "test.csv": TABLE}}, ("'train.csv', 'train.tsv'",), parts=True),
        "both parts as one": Broken("d", {"d": {"train.csv": TABLE, "test.csv": TABLE}}, ("one part", "read_parts")),
        "a folder of tables": Broken("d", {"d": {"one.csv": TABLE}}, ("'one.csv'", "name the file")),
    }  # fmt: skip


def arrays_of_numpy() -> dict[str, Broken]:
    objects = np.array([1, "a", None], object)
    good = npy(X)
    huge = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }\n"
    return {
        "empty .npz": arrays(b"", "an empty file"),
        "text as .npz": arrays(b"no archive at all", "something else"),
        "cut .npz": arrays(npz(x=X, y=Y)[:-30], "cut short"),
        "damaged .npz": arrays(npz(x=X, y=Y).replace(X.tobytes(), bytes(X.nbytes)), "Bad CRC-32"),
        "no arrays": arrays(zipped(), "got 0"),
        "another member": arrays(zipped(readme__txt="hello"), "'readme.txt'"),
        "objects": arrays(npz(x=X, y=objects), "array 'y'", "need pickle"),
        "objects in .npy": arrays(npy(objects, allow_pickle=True), "need pickle", path="a.npy"),
        "records": arrays(npy(np.zeros(3, [("a", "f8"), ("b", "i4")])), "numbers or texts", path="a.npy"),
        "complex": arrays(npz(x=X * 1j, y=Y), "complex128"),
        "dates": arrays(npz(x=X, y=Y.astype("M8[D]")), "datetime64"),
        "no x": arrays(npz(one=X, other=X, y=Y), "an array of samples", "'one', 'other', 'y'"),
        "no y": arrays(npz(x=X, other=Y), "an array of targets", "'x', 'other'"),
        "no such array": arrays(npz(x=X, y=Y), "named 'z'", target="z"),
        "no such groups": arrays(npz(x=X, y=Y), "groups named 'person'", group="person"),
        "counts differ": arrays(npz(x=X, y=Y[:-1]), "(6, 2)", "(5,)"),
        "one-hot": arrays(npz(x=X, y=np.eye(6, 2, dtype=int)), "classes of shape (n,)", "(6, 2)"),
        "nan": arrays(npz(x=np.where(X == 5, np.nan, X), y=Y), "row 3, column 2", "one of 1"),
        "infinite in an array": arrays(npz(x=np.where(X == 5, np.inf, X), y=Y), "row 3, column 2", "inf"),
        "large numbers": arrays(npz(x=X.astype(int) + 2**40, y=Y), "row 1, column 1", "1099511627776"),
        "texts in x": arrays(npz(x=X.astype(str), y=Y), "numbers in x", "'0.0'"),
        "no samples": arrays(npz(x=X[:0], y=Y[:0]), "at least one sample"),
        "one axis": arrays(npz(x=X[:, 0], y=Y), "along the first axis", "(6,)"),
        "missing target in an array": arrays(npz(x=X, y=np.where(Y == 1, np.nan, 1.0)), "in row 2", "a missing value"),
        "a class too many": arrays(npz(x=X, y=Y * 5, class_names=["a", "b"]), "below 2 in row 2", "got 5"),
        "parts read as one": arrays(npz(x_train=X, y_train=Y, x_test=X, y_test=Y), "'x_train'", "read_parts"),
        "no test part": Broken("a.npz", {"a.npz": npz(x_train=X, y_train=Y)}, ("arrays of a test part",), parts=True),
        "parts of other shapes": Broken(
            "a.npz", {"a.npz": npz(x_train=X, y_train=Y, x_test=X[:, :1], y_test=Y)}, ("(2,) in both parts", "(1,)"), parts=True),
        "empty .npy": arrays(b"", "an empty file", path="a.npy"),
        "text as .npy": arrays(b"1,2,3\n", "the bytes 31 2c", path="a.npy"),
        "cut .npy": arrays(good[:-8], "96 bytes", "88", path="a.npy"),
        "long .npy": arrays(good + b"12345678", "96 bytes", "104", path="a.npy"),
        "cut header": arrays(good[:40], "a header", path="a.npy"),
        "header is a call": arrays(headed("__import__('os').getcwd()\n"), "a header", path="a.npy"),
        "absurd shape": arrays(headed(huge), "at most", "(1000000000000,)", path="a.npy"),
        "negative shape": arrays(headed(huge.replace("1000000000000", "-1")), "a header", path="a.npy"),
        "another version": arrays(headed(huge, version=(9, 0)), "version 9.0", path="a.npy"),
        "a vector alone": arrays(npy(Y), "shape (6,)", path="a.npy"),
        "no such column": arrays(good, "from 1 to 2", "'3'", path="a.npy", target="3"),
        "groups in one array": arrays(good, "'person'", path="a.npy", group="person"),
        "a bomb": arrays(zipped(zipfile.ZIP_DEFLATED, x__npy=headed(huge, bytes(1 << 24))), "array 'x'", "1000000000000"),
    }  # fmt: skip


def idx_files() -> dict[str, Broken]:
    def two(x, y, *words, **options):
        files = {"train-images-idx3-ubyte": x, "train-labels-idx1-ubyte": y}
        return Broken("train-images-idx3-ubyte", files, words, options)

    four = {f"{p}-{k}": c for p in ("train", "t10k") for k, c in
            (("images-idx3-ubyte", idx(PIXELS)), ("labels-idx1-ubyte", idx(LABELS)))}  # fmt: skip
    return {
        "empty IDX": two(b"", idx(LABELS), "ends inside its header"),
        "cut IDX": two(idx(PIXELS)[:-1], idx(LABELS), "48 bytes of elements", "47 bytes"),
        "long IDX": two(idx(PIXELS) + b"1", idx(LABELS), "49 bytes"),
        "absurd IDX": two(b"\0\0\x08\x03" + b"\xff" * 12, idx(LABELS), "4294967295"),
        "web page": two(b"<!doctype html><p>", idx(LABELS), "an HTML page"),
        "damaged gzip": two(gzip.compress(idx(PIXELS))[:-6], idx(LABELS), "gzip"),
        "damaged labels": two(idx(PIXELS), idx(LABELS)[:-1], "train-labels-idx1-ubyte"),
        "IDX counts differ": two(idx(PIXELS), idx(LABELS[:2]), "3 in", "2 in"),
        "labels of two axes": two(idx(PIXELS), idx(PIXELS[0]), "shape (4, 4)"),
        "labels named": Broken("a-labels.idx", {"a-labels.idx": idx(LABELS)}, ("labels, shape (3,)",)),
        "no labels": Broken("a-images.idx", {"a-images.idx": idx(PIXELS)}, ("a file of labels beside it",)),
        "no such labels": two(idx(PIXELS), idx(LABELS), "no.idx", "No such file", target="no.idx"),
        "no images": Broken("d", {"d": {"a-labels.idx": idx(LABELS)}}, ("images beside 'a-labels.idx'",)),
        "two sets": Broken("d", {"d": {f"{a}-images.idx": idx(PIXELS) for a in "ab"}}, ("'a', 'b'",)),
        "four files as one": Broken("d", {"d": four}, ("got test, train", "read_parts")),
        "two files as four": Broken("d", {"d": dict(list(four.items())[:2])}, ("2 parts", "got train"), parts=True),
        "nothing of this kind": Broken("notes", {"notes": b"buy milk"}, ("two zero bytes first",)),
        "no parts": Broken("d", {"d": {"notes": b"x"}}, ("folders train and test", "'notes'"), parts=True),
    }  # fmt: skip


def folders() -> dict[str, Broken]:
    """Broken folders of images, which need Pillow."""
    good = png()
    return {
        "empty image": images(b"", "1.png", "an empty file"),
        "text as image": images(b"hello", "1.png", "cannot identify"),
        "cut image": images(png(40, 40)[:-20], "1.png", "an image that can be read"),
        "head of an image": images(png()[:20], "1.png", "an image that can be read"),
        "damaged image": images(png(40, 40)[:45] + b"\0" * 20 + png(40, 40)[65:], "1.png", "an image that can be read"),
        "vast image": images(large_png(9000), "1.png", "at most 67108864 pixels", "9000x9000"),
        "bomb of pixels": images(large_png(100_000), "1.png", "10000000000 pixels"),
        "another size": images(png(6, 5), "4x5 as 3 of them", "6x5", "--size 4 5"),
        "another colour": images(png(mode="L"), "rgb in", "grey in", "--colour"),
        "palette": images(png(mode="P"), "P in", "--colour"),
        "alpha": images(png(mode="RGBA"), "RGBA in"),
        "transparent": images(png(mode="RGBA"), "without transparency", colour="rgb"),
        "16 bits": images(png(mode="I;16"), "8 bits", colour="grey"),
        "animation": images(animation(), "one picture", "2", where="d/b/1.gif"),
        "text beside images": images(b"x", "nothing but images", "'notes.txt'", where="d/b/notes.txt"),
        "a pipe as image": images(None, "1.png", "a pipe"),
        "a folder as image": images({}, "'1.png'", "the folder"),
        "empty class": Broken("d", {"d": {"a": {"0.png": good}, "b": {}}}, ("images of this class", "none"), needs="PIL"),
        "one class": Broken("d", {"d": {"a": {"0.png": good}}}, ("two folders of images", "'a'"), needs="PIL"),
        "no classes": Broken("d", {"d": {"0.png": good}}, ("one for each class", "'0.png'"), needs="PIL"),
        "an empty folder": Broken("d", {"d": {}}, ("two folders of images", "no folder"), needs="PIL"),
        "no images without classes": Broken("d", {"d": {}}, ("images in the folder", "none"), {"target": False}, needs="PIL"),
        "an image alone": Broken("0.png", {"0.png": good}, ("0.png", "name the folder"), needs="PIL"),
        "an image beside folders": Broken(
            "d", {"d": {"0.png": good, "a": {"0.png": good}, "b": {"0.png": good}}}, ("beside 2 folders",), needs="PIL"),
        "test images of another size": Broken(
            "d", {"d": {p: {c: {"0.png": png(s, s)} for c in "ab"} for p, s in (("train", 4), ("test", 5))}},
            ("(4, 4, 3) in both parts",), parts=True, needs="PIL"),
    }  # fmt: skip
