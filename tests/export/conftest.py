"""What several tests of the exports use: a trained network, and ONNX files that are checked."""

from __future__ import annotations

import pytest

from minibnn import load_sample, pack
from minibnn.export import export_onnx
from minibnn.recipes import RECIPES


@pytest.fixture(scope="session")
def modern():
    """A network trained on the bundled digits."""
    return pack(RECIPES["modern"]().train(load_sample(), epochs=12, progress=False)[0], (28, 28))


@pytest.fixture(scope="session")
def runtime():
    return pytest.importorskip("onnxruntime")


@pytest.fixture
def exported(tmp_path):
    """The exported graph, after ONNX's checker."""
    onnx = pytest.importorskip("onnx")

    def export(packed):
        file = tmp_path / "model.onnx"
        export_onnx(packed, file)
        onnx.checker.check_model(str(file), full_check=True)
        return file

    return export
