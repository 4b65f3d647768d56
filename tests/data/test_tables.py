"""Tables as people have them: separators, headers, missing values, texts, targets."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from minibnn.data import SamplesError, read_samples
from minibnn.data.tables import read_table, table_samples

ROWS = [("1", "2.5", "cat"), ("2", "3.5", "dog"), ("3", "4.5", "cat"), ("4", "5.5", "dog")]
NAMES = ("age", "mass", "kind")


def text(rows=ROWS, names=NAMES, separator=",", end="\n"):
    lines = [names, *rows] if names else rows
    return "".join(separator.join(line) + end for line in lines)


def read(folder, content, **options):
    path = folder / "t.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_samples(path, **options)


def test_a_plain_table(tmp_path):
    samples = read(tmp_path, text())
    assert samples.name == "t.csv"
    assert samples.feature_names == ("age", "mass")
    assert samples.x.tolist() == [[1, 2.5], [2, 3.5], [3, 4.5], [4, 5.5]]
    assert (samples.class_names, samples.y.tolist()) == (("cat", "dog"), [0, 1, 0, 1])
    assert samples.kind == "a table of 4 rows, 2 columns, target 'kind' (2 classes)"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\r"])
def test_separators_and_ends_of_lines(tmp_path, separator, end):
    plain = read(tmp_path, text())
    other = read(tmp_path, text(separator=separator, end=end))
    assert np.array_equal(plain.x, other.x)
    assert (plain.feature_names, plain.kind) == (other.feature_names, other.kind)


@pytest.mark.parametrize(
    "content",
    [
        text().encode("utf-8-sig"),
        text().rstrip("\n"),
        "\n" + text() + "\n\n",
        text().replace("cat", '"cat"'),
        text().replace("2.5", " 2.5 ").replace("1,", "+1,"),
        text().replace("2.5", "25e-1"),
    ],
)
def test_the_same_in_other_spellings(tmp_path, content):
    assert np.array_equal(read(tmp_path, content).x, read(tmp_path, text()).x)


def test_quoted_cells_hold_anything(tmp_path):
    samples = read(tmp_path, 'a,b,c\n1,2,"x, ""y""\nz"\n3,4,u\n')
    assert samples.class_names == ("u", 'x, "y"\nz')
    with pytest.raises(SamplesError, match="line 5, column 'a'"):  # lines of the file, not rows
        read(tmp_path, 'a,b,c\n1,2,"x\ny"\n3,4,u\n,4,u\n')


@pytest.mark.parametrize(
    ("content", "names"),
    [
        (text(), ("age", "mass")),
        (text(names=None), ("column 1", "column 2")),
        ("0,1,2\n5,6,a\n7,8,b\n", ("0", "1")),  # as pandas writes it
        ("x,y,z\nu,v,a\nw,v,b\n", ("x: 0 u, 1 w", "y: 0 v")),  # no cell occurs below
        ("0,1,kind\n5,6,a\n7,8,b\n", ("0", "1")),
        ("0,1,kind\n5,6,2\n7,8,3\n", ("0", "1")),
        ("5,?,kind\n5,6,2\n7,8,3\n", ("5", "?")),
        ("0,1,a\n5,6,a\n7,8,b\n", ("column 1", "column 2")),
        ("x,v,a\nu,v,a\nw,v,b\n", ("column 1: 0 u, 1 w, 2 x", "column 2: 0 v")),
    ],
)
def test_a_header_is_seen(tmp_path, content, names):
    samples = read(tmp_path, content)
    assert samples.feature_names == names
    assert ("no header" in samples.kind) == names[0].startswith("column")


def test_a_header_can_be_stated(tmp_path):
    with pytest.raises(SamplesError, match=r"line 1, column 'column 1'.*got 'age'"):
        read(tmp_path, text(), header=False)
    assert len(read(tmp_path, "a,b\nu,v\nw,v\n", header=False)) == 3
    assert read(tmp_path, text(names=None), header=True).feature_names == ("1", "2.5")
    assert read(tmp_path, text(names=None), target="2").kind.startswith(
        "a table of 4 rows, 2 columns, target 'column 2'"
    )


def test_the_index_that_pandas_writes_is_left_out(tmp_path):
    frame = pd.DataFrame(ROWS, columns=NAMES)
    assert read(tmp_path, frame.to_csv()).feature_names == ("age", "mass")
    assert read(tmp_path, frame.to_csv(index=False)).feature_names == ("age", "mass")


@pytest.mark.parametrize(
    ("cells", "dtype"),
    [
        (("1", "-300"), "int16"),
        (("1", "40000"), "float32"),
        (("1", "2.0"), "float32"),
        (("1", "1e3"), "float32"),
        (("0", "255"), "int16"),
    ],
)
def test_whole_numbers_stay_whole(tmp_path, cells, dtype):
    samples = read(tmp_path, "a,b,c\n" + "".join(f"{cell},1,x\n" for cell in cells))
    assert samples.x.dtype == dtype
    assert samples.x[:, 0].tolist() == [float(cell) for cell in cells]


def test_texts_become_numbers_and_the_name_says_which(tmp_path):
    content = "island,sex,kind\nDream,f,a\nBiscoe,NA,b\nDream,m,a\n"
    samples = read(tmp_path, content, missing="keep")
    assert samples.feature_names == ("island: 0 Biscoe, 1 Dream", "sex: 0 f, 1 m")
    np.testing.assert_array_equal(samples.x, [[1, 0], [0, np.nan], [1, 1]])
    other = read(tmp_path, "kind,sex,island\na,m,Biscoe\n", features=samples.feature_names)
    assert other.feature_names == samples.feature_names
    assert other.x.tolist() == [[0, 1]]
    assert other.class_names == ("a",)


def test_missing_values(tmp_path):
    for spelling in ("", "?", "NA", "nan", "N/A", "null", "None", "#N/A", "<NA>"):
        content = text().replace("3.5", spelling)
        with pytest.raises(SamplesError, match="line 3, column 'mass'"):
            read(tmp_path, content)
        assert np.isnan(read(tmp_path, content, missing="keep").x[1, 1])
        dropped = read(tmp_path, content, missing="drop")
        assert dropped.x[:, 0].tolist() == [1, 3, 4]
        assert "1 row with missing values left out" in dropped.kind
    with pytest.raises(ValueError, match="'refuse', 'keep' or 'drop'"):
        read(tmp_path, text(), missing="no")


@pytest.mark.parametrize(
    ("cells", "classes"),
    [
        (["0", "1"] * 5, ("0", "1")),
        (["0.0", "1.0"] * 5, ("0", "1")),
        ([str(i) for i in range(10)], None),  # each once: numbers
        ([str(i % 101) for i in range(500)], None),  # more than 100
        ([str(i % 100) for i in range(500)], tuple(map(str, range(100)))),
        (["0.5", "1.5"] * 5, None),
        (["1.5 kg", "2 kg"] * 5, ("1.5 kg", "2 kg")),
    ],
)
def test_what_a_target_is(tmp_path, cells, classes):
    samples = read(tmp_path, "a,b\n" + "".join(f"{i},{cell}\n" for i, cell in enumerate(cells)))
    assert samples.class_names == classes
    if classes is None:
        assert samples.y.tolist() == [float(cell) for cell in cells]


def test_a_target_can_be_called_classes_or_numbers(tmp_path):
    content = "a,b\n1,1\n2,2\n3,1\n4,2\n"
    assert read(tmp_path, content).class_names == ("1", "2")
    assert read(tmp_path, content, classes=False).y.dtype == np.float32
    once = "a,b\n1,5\n2,6\n"
    assert read(tmp_path, once).class_names is None
    assert read(tmp_path, once, classes=True).class_names == ("5", "6")
    assert read(tmp_path, "a,b\n1,1.5\n2,2.5\n", classes=True).class_names == ("1.5", "2.5")


def test_targets_by_name_several_and_none(tmp_path):
    assert read(tmp_path, text(), target="age").feature_names == ("mass", "kind: 0 cat, 1 dog")
    two = read(tmp_path, text(), target=["mass", "age"])
    assert two.y.tolist() == [[2.5, 1], [3.5, 2], [4.5, 3], [5.5, 4]]
    assert two.kind.endswith("target 'mass', 'age' (2 numbers)")
    none = read(tmp_path, text(), target=False)
    assert (none.x.shape, none.y.shape) == ((4, 3), (4, 0))
    again = read(tmp_path, text(), features=["mass"], target=False)
    assert again.x[:, 0].tolist() == [2.5, 3.5, 4.5, 5.5]


def test_groups_are_no_features(tmp_path):
    samples = read(tmp_path, text(), group="age")
    assert samples.groups.tolist() == ["1", "2", "3", "4"]
    assert samples.feature_names == ("mass",)
    assert "groups by 'age'" in samples.kind
    samples = read(tmp_path, text(), group="kind")  # the last column: the one before is the target
    assert (samples.feature_names, samples.target) == (("age",), "1 number")


def test_cells_have_places(tmp_path):
    (tmp_path / "t.csv").write_text("\n" + text())
    table = read_table(tmp_path / "t.csv")
    assert table.where(1, 2) == "line 4, column 'kind'"
    assert (table.names, table.header) == (NAMES, True)
    assert len(table_samples(table)) == 4


def test_a_large_table_is_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.random((20_000, 20))).assign(kind=rng.integers(0, 3, 20_000))
    frame.to_csv(tmp_path / "t.csv", index=False)
    samples = read_samples(tmp_path / "t.csv")
    assert np.array_equal(samples.x, frame.iloc[:, :20].to_numpy(np.float32))
    assert samples.class_names == ("0", "1", "2")
