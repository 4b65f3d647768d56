"""What a path holds is seen from its name; test_tables.py and others read each kind."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from minibnn.data import DatasetNotFoundError, SamplesError, write_idx
from minibnn.data.read import read_parts, read_samples

TABLE = "age,mass,kind\n1,2.5,a\n2,3.5,b\n3,4.5,a\n4,5.5,b\n"


@pytest.mark.parametrize("ending", [".csv", ".CSV", ".tsv", ".tab", ".txt", ".data"])
def test_tables_by_name(tmp_path, ending):
    (tmp_path / f"t{ending}").write_text(TABLE)
    assert read_samples(tmp_path / f"t{ending}").kind.startswith("a table of 4 rows")
    assert read_samples(str(tmp_path / f"t{ending}")).name == f"t{ending}"


def test_parts_of_tables_share_features_and_classes(tmp_path):
    (tmp_path / "train.csv").write_text("who,kind,place\nu,a,N\nv,b,S\nu,b,N\nv,a,S\n")
    (tmp_path / "test.csv").write_text("place,kind,who\nS,b,v\n")
    train, test = read_parts(tmp_path, target="kind")
    assert test.feature_names == train.feature_names == ("who: 0 u, 1 v", "place: 0 N, 1 S")
    assert test.x.tolist() == [[1, 1]]
    assert (test.class_names, test.y.tolist()) == (("a", "b"), [1])


def test_parts_of_tables_agree_on_what_the_target_is(tmp_path):
    (tmp_path / "train.csv").write_text("a,b\n" + "1,7\n2,8\n3,9\n" * 4)
    (tmp_path / "test.csv").write_text("a,b\n1,8\n")
    assert read_samples(tmp_path / "test.csv").class_names is None  # alone it is one number
    _, test = read_parts(tmp_path)
    assert (test.class_names, test.y.tolist()) == (("7", "8", "9"), [1])


def test_parts_of_tables_keep_the_dtype_of_what_each_has(tmp_path):
    (tmp_path / "train.csv").write_text(TABLE)
    (tmp_path / "test.csv").write_text(TABLE.replace(".5", ""))
    train, test = read_parts(tmp_path)
    assert (train.x.dtype, test.x.dtype) == (np.float32, np.int16)


@pytest.mark.parametrize(
    ("name", "argument"),
    [("t.csv", "size"), ("t.csv", "colour"), ("a.npz", "size"), ("a.npz", "header"),
     ("a-images.idx", "colour"), ("a-images.idx", "group"), ("images", "header"),
     ("images", "group")],
)  # fmt: skip
def test_arguments_that_say_nothing_are_refused(tmp_path, name, argument):
    (tmp_path / "t.csv").write_text(TABLE)
    np.savez(tmp_path / "a.npz", x=np.zeros((4, 2)), y=[0, 1, 0, 1])
    write_idx(tmp_path / "a-images.idx", np.zeros((4, 2, 2), np.uint8))
    write_idx(tmp_path / "a-labels.idx", np.arange(4, dtype=np.uint8))
    (tmp_path / "images" / "a").mkdir(parents=True)
    value = {"size": (2, 2), "header": True, "classes": True}.get(argument, "x")
    with pytest.raises(ValueError, match=f"{argument} says nothing about .*; leave it out"):
        read_samples(tmp_path / name, **{argument: value})


def test_a_name_is_never_replaced_by_something_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mnist", "sample", "sensor.csv", "", "a\0b", "x" * 300):
        for read in (read_samples, read_parts):
            with pytest.raises(DatasetNotFoundError, match="check the name"):
                read(name)


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_are_followed_and_broken_ones_told(tmp_path):
    (tmp_path / "real.csv").write_text(TABLE)
    (tmp_path / "link.csv").symlink_to("real.csv")
    (tmp_path / "broken.csv").symlink_to("nowhere.csv")
    assert len(read_samples(tmp_path / "link.csv")) == 4
    with pytest.raises(DatasetNotFoundError, match="No such file"):
        read_samples(tmp_path / "broken.csv")


def test_what_has_one_part_is_split(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises(SamplesError, match=r"split\(0.2, rng=0\)"):
        read_parts(tmp_path / "t.csv")


def test_only_what_is_read_is_imported(tmp_path):
    (tmp_path / "t.csv").write_text(TABLE)
    code = (
        f"import sys; from minibnn import read_samples; read_samples({str(tmp_path / 't.csv')!r}); "
        "print(*{'pandas', 'PIL', 'zipfile', 'minibnn.data.arrays'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr
