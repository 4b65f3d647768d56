"""Hints about data of one's own, tables, arrays, images and IDX files: each is followed literally."""

from __future__ import annotations

import builtins
import gzip
import io
import os
import sys

import numpy as np
import pandas as pd
import pytest
from advice import advised
from broken_sources import LABELS, PIXELS, TABLE, X, Y, idx, npy, npz, png, write, zipped
from fake_named import files_of

from minibnn.data import Samples, download, load_named, named, read_parts, read_samples
from minibnn.data import arrays as npy_files
from minibnn.data.files import open_source

NAN = np.where(X == 5, np.nan, X)


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Write files into an empty folder, which is the current one; return the first one's name."""
    monkeypatch.chdir(tmp_path)

    def place(files=None, /, **named_files):
        write(tmp_path, (files or {}) | {n.replace("__", "."): c for n, c in named_files.items()})
        return next(iter(files or {n.replace("__", "."): 0 for n in named_files}))

    return place


# --- samples in memory ----------------------------------------------------------------------------


def test_samples_are_made_by_of():
    for x, y in ((X, Y.astype(np.int64)), (X.astype(np.float32), Y.astype(np.int16))):
        with advised("data", "Samples.of(x, y) converts"):
            Samples("a", x, y, ("u", "v"))
        assert len(Samples.of(x, y)) == 6


def test_shapes_of_samples():
    with advised("data", "use x.reshape(-1, 1) for one value each"):
        Samples.of(X[:, 0], Y)
    assert Samples.of(X[:, 0].reshape(-1, 1), Y).x.shape == (6, 1)
    with advised("data", "make all of them equally long"):
        Samples.of([[1], [1, 2]], [0, 1])
    assert len(Samples.of([[1, 0], [1, 2]], [0, 1])) == 2
    with advised("data", "pass arrays, lists or a DataFrame"):
        Samples.of(3)
    for x in (X, X.tolist(), pd.DataFrame(X)):
        assert len(Samples.of(x, Y)) == 6
    with advised("data", "name a source with samples"):
        Samples.of(X[:0], Y[:0])
    for x in (X[:, :0], pd.DataFrame(index=range(6))):
        with advised("data", "keep a column beside y"):
            Samples.of(x, Y)
    with advised("data", "do they belong together?"):
        Samples.of(X, Y[:5])
    with advised("data", "leave out feature_names to go without"):
        Samples.of(X, Y, feature_names=["a"])
    assert Samples.of(X, Y).feature_names is None


def test_numbers_of_samples():
    for wrong in (X * 1e300, np.where(X == 5, np.inf, X)):
        with advised("data", "correct the number, or leave the column out"):
            Samples.of(wrong, Y)
    assert Samples.of(np.delete(np.where(X == 5, np.inf, X), 1, 1), Y).x.shape == (6, 1)
    with advised("data", "convert them to numbers"):
        Samples.of(X.astype(str), Y)
    assert len(Samples.of(X.astype(str).astype(float), Y)) == 6
    with advised("data", "convert the column to numbers"):
        Samples.of(pd.DataFrame({"a": pd.to_datetime(["2020-01-01", "2020-01-03"])}), [0, 1])
    days = pd.to_datetime(["2020-01-01", "2020-01-03"]).day_of_year
    assert Samples.of(pd.DataFrame({"a": days}), [0, 1]).x.tolist() == [[1], [3]]
    large = X.astype(int) + 2**40
    with advised("data", "subtract an offset, divide, or leave the column out"):
        Samples.of(large, Y)
    assert Samples.of(large - large.min(), Y).x.max() == 11
    assert Samples.of(large / 2**40, Y).x.max() == 1


def test_missing_values_of_samples():
    with advised(
        "data", 'missing="keep" codes them as below all thresholds, missing="drop" drops the rows'
    ):
        Samples.of(NAN, Y)
    assert len(Samples.of(NAN, Y, missing="keep")) == 6
    assert len(Samples.of(NAN, Y, missing="drop")) == 5
    numbers = np.where(Y == 1, np.nan, 0.5)
    with advised("data", 'missing="drop" drops such rows'):
        Samples.of(X, numbers)
    assert len(Samples.of(X, numbers, missing="drop")) == 3
    with advised("data", 'missing="drop" drops such rows; classes=False takes y as numbers'):
        Samples.of(X, numbers, classes=True)
    with advised("data", 'missing="drop" drops such rows; classes=False takes y as numbers'):
        Samples.of(X, X[:, 0] / 4, classes=True)
    assert Samples.of(X, X[:, 0] / 4, classes=False).target == "1 number"
    whole = np.where(Y == 1, np.nan, 1.0)
    assert len(Samples.of(X, whole, classes=True, missing="drop")) == 3


def test_classes_and_numbers():
    one_hot = np.eye(2, dtype=int)[Y]
    with advised("data", "y.argmax(1) makes class numbers of one-hot rows"):
        Samples.of(X, one_hot)
    assert Samples.of(X, one_hot.argmax(1)).y.tolist() == Y.tolist()
    objects = np.array([object()] * 6)
    with advised("data", "y.astype(str)"):
        Samples.of(X, Y.astype(complex), classes=True)
    assert len(Samples.of(X, objects.astype(str))) == 6
    with advised("data", "classes=True takes y as classes"):
        Samples.of(X, ["a", "b"] * 3, classes=False)
    assert Samples.of(X, ["a", "b"] * 3, classes=True).target == "2 classes"
    with advised("data", "one row for each sample"):
        Samples.of(X, np.zeros((6, 2, 2)))
    assert Samples.of(X, np.zeros((6, 2, 2)).reshape(6, -1)).target == "4 numbers"
    with advised("data", "leave out class_names"):
        Samples.of(X, ["a", "b"] * 3, class_names=["a", "b"])
    with advised("data", "name all classes in class_names"):
        Samples.of(X, Y, class_names=["a"])
    assert len(Samples.of(X, Y, class_names=["a", "b"]).class_names) == 2
    many = np.arange(10_001)
    with advised("data", "classes=False takes y as numbers"):
        Samples.of(many[:, None], many)
    assert Samples.of(many[:, None], many, classes=False).target == "1 number"
    some = Samples.of(X, ["a", "b"] * 3)
    with advised("data", "leave these samples out, or train with them"):
        some.with_classes(["a"])
    assert some.take(np.flatnonzero(some.y == 0)).with_classes(["a"]).y.tolist() == [0, 0, 0]


def test_splits():
    with advised("data", "0.2 tests on a fifth of the samples"):
        Samples.of(X, Y).split(20, rng=0)
    ten = Samples.of(np.zeros((10, 1)), [0, 1] * 5)
    assert len(ten.split(0.2, rng=0)[1]) == 2
    with advised("data", "bring more samples, or test with another file"):
        Samples.of(X[:1], Y[:1]).split(0.2, rng=0)
    with advised("data", "bring more {}, or test with another file"):
        Samples.of(X, Y, groups=[0] * 6).split(0.2, rng=0)
    assert Samples.of(X, Y, groups=[0] * 3 + [1] * 3).split(0.2, rng=0)
    with advised("data", "name their column with group=, or pass groups= to Samples.of"):
        Samples.of(X, Y).split(0.2, rng=0, by_group=True)


# --- tables ---------------------------------------------------------------------------------------


def test_cells_of_tables(put):
    def table(text, **options):
        return read_samples(put(t__csv=text), **options)

    with advised("data", "correct this cell, or leave it empty"):
        table(TABLE + "5,heavy,a\n")
    assert len(table(TABLE + "5,6.5,a\n")) == 5
    assert len(table(TABLE + "5,,a\n", missing="keep")) == 5
    with advised("data", "correct this cell"):
        table(TABLE + "5,1e99,a\n")
    with advised("data", "write {}") as caught:
        table("a;b\n1,5;x\n2,5;y\n")
    assert caught.text.endswith("write 1.5")
    assert table("a;b\n1.5;x\n2.5;y\n").x.tolist() == [[1.5], [2.5]]
    with advised("data", "subtract an offset, or remove the column if it is a time or a key"):
        table("key,b,c\n1000000001,1,x\n1000000002,2,y\n")
    assert table("key,b,c\n1,1,x\n2,2,y\n").x.shape == (2, 2)
    assert table("b,c\n1,x\n2,y\n").x.shape == (2, 1)
    many = "name,b,c\n" + "".join(f"n{i},{i},{i % 2}\n" for i in range(300))
    with advised("data", "remove the column if it is a name or a date"):
        table(many)
    assert len(table("\n".join(line.partition(",")[2] for line in many.splitlines()))) == 300
    with advised("data", "replace the comma"):
        table('place,b,c\n"a, 1 b",1,x\nc,2,y\n')
    assert len(table("place,b,c\na; 1 b,1,x\nc,2,y\n")) == 2


def test_missing_values_of_tables(put):
    def table(text, **options):
        return read_samples(put(t__csv=text), **options)

    gap = TABLE + "5,,a\n"
    with advised(
        "data",
        '"drop" drops such rows, "keep" codes them as below all thresholds (missing=, --missing)',
    ):
        table(gap)
    assert len(table(gap, missing="drop")) == 4
    assert np.isnan(table(gap, missing="keep").x).sum() == 1
    with advised("data", 'missing="drop" (--missing drop) drops such rows'):
        table(TABLE + "5,6,\n", missing="keep")
    assert len(table(TABLE + "5,6,\n", missing="drop")) == 4
    with advised("data", 'missing="keep" keeps them'):
        table("a,b,c\n,1,x\n2,,y\n", missing="drop")
    assert len(table("a,b,c\n,1,x\n2,,y\n", missing="keep")) == 2


def test_lines_of_tables(put):
    def table(text, **options):
        return read_samples(put(t__csv=text), **options)

    with advised("data", "quote cells that contain what separates cells"):
        table("a,b,c\n1,2,x, y\n")
    assert table('a,b,c\n1,2,"x, y"\n').class_names == ("x, y",)
    with advised("data", "close each quote, and write a quote inside quotes twice"):
        table('a,b\n"1,2\n3,4\n')
    assert table('a,b\n"1",""""\n').class_names == ('"',)
    for text in ("a,b\n1,grün\n".encode("latin-1"), b"a,b\n1,\0\n"):
        with advised("data", "save the table as CSV in UTF-8"):
            table(text)
    assert table("a,b\n1,grün\n".encode()).class_names == ("grün",)
    for text, options in (("", {}), ("a,b\n", {"header": True})):
        with advised("data", "name a file with samples"):
            table(text, **options)
    with advised("data", "separate the cells by commas"):
        table("a b\n1 x\n")
    assert table("a,b\n1,x\n").x.tolist() == [[1]]
    with advised("data", "write a name into the first line"):
        table("a,,c\n1,2,x\n")
    with advised("data", "rename one of the two"):
        table("a,b,a\n1,2,3\n")
    assert table("a,b,c\n1,2,x\n").feature_names == ("a", "b")


def test_columns_of_tables(put):
    name = put(t__csv=TABLE)
    with advised("data", "did you mean {}?") as caught:
        read_samples(name, target="kin")
    assert "did you mean 'kind'?" in caught.text
    with advised("data", "name one of these columns"):
        read_samples(name, target="0")
    assert read_samples(name, target="kind").target == "2 classes"
    with advised("data", "name two different columns"):
        read_samples(name, target="kind", group="kind")
    assert len(read_samples(name, target="kind", group="age")) == 4
    with advised("data", "leave out classes=False"):
        read_samples(name, classes=False)
    with advised("data", "name targets of numbers"):
        read_samples(name, target=["mass", "kind"])
    assert read_samples(name, target=["mass", "age"]).target == "2 numbers"
    with advised("data", "name it with target= (--target)"):
        read_samples(name, features=["age"])
    assert read_samples(name, features=["age"], target="kind").x.shape == (4, 1)
    with advised("data", "keep a column beside the target"):
        read_samples(put(u__csv="a,b\n1,x\n2,y\n"), group="a")
    assert len(read_samples("u.csv")) == 2
    place = put(v__csv="place,c\nN,x\nE,y\n")
    with advised("data", "leave such rows out, or train with them"):
        read_samples(place, features=["place: 0 N, 1 S"])
    assert len(read_samples(put(v__csv="place,c\nN,x\n"), features=["place: 0 N, 1 S"])) == 1


# --- sources --------------------------------------------------------------------------------------


def test_names_of_sources(put):
    good = put(t__csv=TABLE)
    for wrong in ("none.csv", "none"):
        with advised("data", "check the name"):
            read_samples(wrong)
    with advised("data", "t.csv: size says nothing about a table; leave it out"):
        read_samples(good, size=(2, 2))
    assert len(read_samples(good)) == 4
    os.mkdir("d")
    with advised("data", "name a file in it"), open_source("d"):
        pass
    put({"d": {"t.csv": TABLE}})
    with advised("data", "name the file itself"):
        read_samples("d")
    with open_source("d/t.csv") as (_, size):
        assert size == len(TABLE)
    assert len(read_samples("d/t.csv")) == 4
    with advised("data", "split the file"), open_source("d/t.csv", 10):
        pass
    with advised("data", "split the samples: read_samples(path).split(0.2, rng=0)"):
        read_parts(good)
    assert [*map(len, read_samples(good).split(0.2, rng=0))] == [3, 1]


def test_parts_of_sources(put):
    put({"d": {"train.csv": TABLE, "test.csv": TABLE}})
    with advised("data", "read_parts reads both; or name one of them"):
        read_samples("d")
    assert [*map(len, read_parts("d"))] == [4, 4]
    assert len(read_samples("d/test.csv")) == 4
    put({"d": {"train.tsv": TABLE}})
    with advised("data", "remove one of the two"):
        read_parts("d")
    os.remove("d/train.tsv")
    assert len(read_parts("d")) == 2
    put(a__npz=npz(x_train=X, y_train=Y, x_test=X[:, :1], y_test=Y))
    with advised("data", "prepare both parts alike"):
        read_parts("a.npz")
    put(a__npz=npz(x_train=X[:, :1], y_train=Y, x_test=X[:, :1], y_test=Y))
    with advised(
        "data", "read_parts reads both; name a file with one part, or an array with target="
    ):
        read_samples("a.npz")
    assert len(read_parts("a.npz")) == 2
    put(a__npz=npz(x=X, y=Y))
    with advised(
        "data", "read_samples reads a file with one part; save x_train, y_train, x_test, y_test"
    ):
        read_parts("a.npz")
    assert len(read_samples("a.npz")) == 6


def test_arrays(put):
    objects = np.array([1, 2, 1, 2, 1, 2], object)
    with advised("data", "Python objects, which need pickle; convert it to numbers or texts, and save it "
                 "again: x.astype(float), y.astype(str)"):  # fmt: skip
        read_samples(put(a__npz=npz(x=X, y=objects)))
    assert len(read_samples(put(a__npz=npz(x=X.astype(float), y=objects.astype(str))))) == 6
    for name, content in (("a.npz", b""), ("a.npz", b"x"), ("a.npz", zipped(readme__txt="x"))):
        with advised("data", "save it with numpy.savez"):
            read_samples(put({name: content}))
    np.savez("a.npz", x=X, y=Y)
    assert len(read_samples("a.npz")) == 6
    for content in (b"", b"1,2\n", b"\x93NUMPY\x09\x00" + bytes(100)):
        with advised("data", "save it with numpy.save"):
            read_samples(put(a__npy=content))
    np.save("a.npy", np.column_stack([X, Y]))
    assert len(read_samples("a.npy")) == 6
    with advised("data", "the file is damaged: save it again"):
        read_samples(put(a__npy=npy(X)[:-1]))
    assert len(read_samples(put(a__npy=npy(X)))) == 6
    with advised("data", "save numbers: x.astype(float)"):
        read_samples(put(a__npz=npz(x=X.astype("M8[D]"), y=Y)))
    assert len(read_samples(put(a__npz=npz(x=X.astype("M8[D]").astype(float), y=Y)))) == 6
    with advised("data", "save them with y.astype(str)"):
        read_samples(put(a__npz=npz(x=X, y=np.array([b"\xff"] * 6))))
    with advised("data", "split the file"):
        npy_files.read_npz("a.npz", max_bytes=10)


def test_names_of_arrays(put):
    with advised(
        "data", "call the array of samples x, and that of targets y: numpy.savez(FILE, x=x, y=y)"
    ):
        read_samples(put(a__npz=npz(one=X, other=X, y=Y)))
    with advised("data", "call it y, or name it with target= (--target)"):
        read_samples(put(a__npz=npz(x=X, what=Y)))
    assert len(read_samples("a.npz", target="what")) == 6
    with advised("data", "name one of these arrays"):
        read_samples("a.npz", target="that")
    with advised("data", "name the one that holds all of them"):
        read_samples("a.npz", target=["what", "that"])
    with advised("data", "save x and y together: numpy.savez(FILE, x=x, y=y)"):
        read_samples(put(a__npy=npy(Y)))
    np.savez("b.npz", x=X, y=Y)
    assert len(read_samples("b.npz")) == 6
    with advised("data", "leave it out for the last column"):
        read_samples(put(a__npy=npy(X)), target="7")
    assert read_samples("a.npy").x.shape == (6, 1)
    with advised("data", "save several arrays with numpy.savez"):
        read_samples("a.npy", group="who")
    np.savez("a.npz", x=X, y=Y, who=Y)
    assert read_samples("a.npz", group="who").groups.tolist() == Y.tolist()


def test_idx_files(put):
    labels, pixels = idx(LABELS), idx(PIXELS)
    put({"a-images.idx": pixels})
    with advised("data", "name it with target= (--target)"):
        read_samples("a-images.idx")
    put({"what": labels})
    assert len(read_samples("a-images.idx", target="what")) == 3
    with advised("data", "name the file of images"):
        read_samples("what")
    with advised("data", "name a file of labels with target= (--target)"):
        read_samples("a-images.idx", target="a-images.idx")
    put({"d": {"b-labels.idx": labels}})
    with advised("data", "got none; add it"):
        read_samples("d")
    put({"d": {"b-images.idx": pixels}})
    assert len(read_samples("d")) == 3
    put({"d": {"c-images.idx": pixels, "c-labels.idx": labels}})
    with advised("data", "name a file of images, or move the set into a folder of its own"):
        read_samples("d")
    assert len(read_samples("d/c-images.idx")) == 3
    put({"e": {"train-images.idx": pixels, "train-labels.idx": labels}})
    with advised("data", "read_samples reads one part; or add the files of the other"):
        read_parts("e")
    assert len(read_samples("e")) == 3
    put({"e": {"test-images.idx": pixels, "test-labels.idx": labels}})
    assert len(read_parts("e")) == 2
    with advised("data", "read_parts reads both; or name a file of images"):
        read_samples("e")
    with advised("data", "do the two files belong together?"):
        put({"e": {"test-labels.idx": idx(LABELS[:2])}})
        read_parts("e")


def test_other_formats(put):
    with advised("data", "save it as CSV in UTF-8"):
        read_samples(put(t__xlsx="x"))
    pd.read_csv(io.StringIO(TABLE)).to_csv("t.csv", index=False, encoding="utf-8")
    assert len(read_samples("t.csv")) == 4
    with advised("data", "save the arrays with numpy.savez"):
        read_samples(put(t__pkl="x"))
    with advised("data", "unpack it first"):
        read_samples(put(t__zip="x"))


# --- images ---------------------------------------------------------------------------------------


def images(put, other=None, **more):
    """A folder of two classes, and another image in the second one."""
    pytest.importorskip("PIL")
    good = png()
    put({"d": {"a": {"0.png": good, "1.png": good}, "b": {"0.png": good}}} | more)
    if other is not None:
        put({"d": {"b": {"1.png": other}}})
    return "d"


def test_size_and_colour_of_images(put):
    with advised("data", "size=({}, {}) (--size {} {}) scales all to that") as caught:
        read_samples(images(put, png(6, 5)))
    assert "size=(4, 5) (--size 4 5)" in caught.text
    assert read_samples("d", size=(4, 5)).x.shape == (4, 4, 5, 3)
    with advised("data", 'colour="grey" or colour="rgb" (--colour) converts all'):
        read_samples(images(put, png(mode="L")))
    assert read_samples("d", colour="grey").x.shape == (4, 4, 5)
    assert read_samples("d", colour="rgb").x.shape == (4, 4, 5, 3)
    put({"d": {"a": {f"{i + 9}.png": png() for i in range(9)}}})
    with advised("data", "state a smaller size (size=, --size)"):
        read_samples("d", size=(2**13, 2**13), colour="rgb")
    assert read_samples("d", size=(2, 2), colour="rgb").x.shape == (13, 2, 2, 3)


def test_images_that_are_saved_otherwise(put):
    for wrong in (b"hello", b""):
        with advised("data", "remove it, or save it again"):
            read_samples(images(put, wrong))
    os.remove("d/b/1.png")
    assert len(read_samples("d")) == 3
    with advised("data", "save it with 8 bits"):
        read_samples(images(put, png(mode="I;16")), colour="grey")
    with advised("data", "save it on a background"):
        read_samples(images(put, png(mode="RGBA")), colour="rgb")
    from broken_sources import animation, large_png

    with advised("data", "save one of them alone"):
        read_samples(images(put, animation()))
    with advised("data", "scale it down before"):
        read_samples(images(put, large_png(9000)))
    assert len(read_samples(images(put, png()))) == 4


def test_folders_of_images(put):
    name = images(put)
    put({"d": {"b": {"notes.txt": "x"}}})
    with advised("data", "remove it, or convert it to PNG"):
        read_samples(name)
    os.remove("d/b/notes.txt")
    put({"d": {"c": {}}})
    with advised("data", "remove the folder"):
        read_samples(name)
    os.rmdir("d/c")
    put({"d": {"9.png": png()}})
    with advised("data", "move it into one"):
        read_samples(name)
    os.rename("d/9.png", "d/a/9.png")
    assert len(read_samples(name)) == 4
    put({"e": {"a": {"0.png": png()}}})
    with advised("data", "make a folder for each class, and move its images there"):
        read_samples("e")
    put({"e": {"b": {"0.png": png()}}})
    assert len(read_samples("e")) == 2
    with advised("data", "name the folder that they are in"):
        read_samples("e", target=False)
    assert len(read_samples("e/a", target=False)) == 1
    with advised("data", "name the folder of images"):
        read_samples("e/a/0.png")


def test_pillow_is_named(put, monkeypatch):
    name = images(put)
    real = builtins.__import__

    def without(module, *rest):
        if module == "PIL":
            raise ModuleNotFoundError("No module named 'PIL'", name="PIL")
        return real(module, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with advised("data", "folders of images need Pillow: pip install pillow"):
        read_samples(name)
    monkeypatch.undo()
    assert "PIL" in sys.modules


# --- data sets by name ----------------------------------------------------------------------------


def test_data_sets_by_name(put, tmp_path, monkeypatch):
    files = files_of("kmnist")
    put({"own": files})
    with advised("data", "did you mean {}?"):
        load_named("kmnis")
    with advised("data", "name a file or a folder for your own"):
        load_named("sensor.csv")
    with advised("data", "fetch the file again, or pass verify=False for another version"):
        load_named("kmnist", "own")
    assert len(load_named("kmnist", "own", verify=False)[0]) == 7
    put({"plain": {n.removesuffix(".gz"): gzip.decompress(c) for n, c in files.items()}})
    with advised("data", 'call load_named("kmnist", data_dir, verify=False)'):
        load_named("kmnist", "plain")
    with advised("data", 'call load_named("{}", data_dir, verify=False)'):
        load_named("kmnist", "plain")
    assert len(load_named("kmnist", "plain", verify=False)[1]) == 3
    images_name, labels, *_ = files
    put({"own": {images_name: files[labels]}})
    with advised("data", "was another file given this name?"):
        load_named("kmnist", "own", verify=False)

    def none():
        raise ModuleNotFoundError("No module named 'pooch'", name="pooch")

    monkeypatch.setattr(download, "cache_folder", none)
    with advised("data", "install it, or name a folder with the files (data_dir)"):
        load_named("kmnist")
    put({"own": files})
    assert len(load_named("kmnist", "own", verify=False)[0]) == 7
    assert "kmnist" in named.NAMED
