"""``python -m minibnn export``."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import pytest
from coded_models import coded
from command_line import refuses

from minibnn import save_packed
from minibnn.__main__ import main
from minibnn.commands.export import FORMS


def test_export_c(trained, tmp_path, capsys):
    path = tmp_path / "thumb.h"
    assert main(["export", "c", str(trained), "-o", str(path), "--name", "thumb"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{path}: {path.stat().st_size:,} bytes, ")
    assert "thumb_predict" in path.read_text()
    assert main(["export", "c", str(trained), "-o", str(path), "--name", "2 thumbs"]) == 2
    assert "2 thumbs" in capsys.readouterr().err
    assert "thumb_predict" in path.read_text(), "what was there stays"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_printed_line_compiles_and_tests_the_header(trained, tmp_path, capsys):
    folder = tmp_path / "a folder"
    folder.mkdir()
    path = folder / "digits.h"
    assert main(["export", "c", str(trained), "-o", str(path)]) == 0
    *_, line = capsys.readouterr().out.splitlines()

    def passes():
        done = subprocess.run(line, shell=True, cwd=folder, capture_output=True, text=True)
        return done.stdout == "passed\n" and done.returncode == 0

    assert passes()
    weights = re.search(r"0x[0-9a-f]{8}", path.read_text())[0]
    path.write_text(path.read_text().replace(weights, "0x00000000", 1))
    assert not passes()


def test_export_html(trained, tmp_path, capsys):
    path = tmp_path / "digits.html"
    title = "Digits & co"
    assert main(["export", "html", str(trained), "-o", str(path), "--name", title]) == 0
    assert f"{path.stat().st_size:,} bytes, a web page" in capsys.readouterr().out
    assert "<title>Digits &amp; co</title>" in path.read_text()


def test_export_onnx(trained, tmp_path, capsys):
    pytest.importorskip("onnx", reason="no onnx")
    path = tmp_path / "digits.onnx"
    assert main(["export", "onnx", str(trained), "-o", str(path)]) == 0
    assert f"{path.stat().st_size:,} bytes, ONNX" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["export", "onnx", str(trained), "-o", str(path), "--name", "x"])
    assert stop.value.code == 2
    assert "unrecognized arguments: --name x" in capsys.readouterr().err


def test_export_of_coded_inputs(tmp_path, capsys, rng):
    pytest.importorskip("onnx", reason="no onnx")
    file, out = tmp_path / "table.safetensors", tmp_path / "out"
    save_packed(coded("int16", rng)[0], file)
    assert main(["export", "onnx", str(file), "-o", str(out)]) == 0
    assert "images (int16) in, " in capsys.readouterr().out
    assert main(["export", "html", str(file), "-o", str(out)]) == 0
    assert "Move the sliders." in out.read_text(encoding="utf-8")


def test_export_onnx_without_onnx(trained, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = tmp_path / "digits.onnx"
    assert main(["export", "onnx", str(trained), "-o", str(path)]) == 1
    assert "pip install" in capsys.readouterr().err
    assert not path.exists()


@pytest.mark.parametrize("title", ["", " "])
def test_a_page_has_a_title(trained, tmp_path, capsys, title):
    out = tmp_path / "digits.html"
    words = ["export", "html", str(trained), "-o", str(out), "--name", title]
    refuses(capsys, words, 2, f"--name: expected a title, got {title!r}; leave it out")
    assert not out.exists()


@pytest.mark.parametrize(
    ("form", "said", "others"),
    [("c", "default: digits", ["onnx", "html"]), ("onnx", "graph", ["--name", "html", "export c"]),
     ("html", "the page's title", ["onnx", "export c"])],
)  # fmt: skip
def test_every_form_explains_itself(form, said, others, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", form, "--help"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    assert f"python -m minibnn export {form} digits.safetensors -o " in printed
    assert f"Write {FORMS[form]}." in printed
    assert said in printed
    assert not [word for word in others if word in printed]
