"""benchmarks/deployment/compiled_c.py: a header is compiled when it changes."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from deployment import compiled_c
from minibnn import export_c, load_sample, pack
from minibnn.recipes import RECIPES


@pytest.mark.skipif(not any(map(shutil.which, ("gcc", "clang", "cc"))), reason="no C compiler")
def test_another_header_in_the_same_folder_is_compiled_again(tmp_path, monkeypatch):
    images = load_sample().test_images[:20]
    for seed in (0, 1):
        packed = pack(RECIPES["modern"]().build().initialize(seed), (28, 28))
        export_c(packed, tmp_path / "digits.h")
        scores = compiled_c.Library(tmp_path, ("-O1",)).scores(images, 10)
        np.testing.assert_array_equal(scores, packed.predict_scores(images))
    export_c(packed, tmp_path / "digits.h")
    monkeypatch.setattr(compiled_c, "compile_in", pytest.fail)
    compiled_c.Library(tmp_path, ("-O1",))
