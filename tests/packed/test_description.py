"""Descriptions and named arrays: compact, and enough to make the program again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from packed_files import on_images, small
from packed_models import images_models

from minibnn import pack
from minibnn.packed.description import DEFAULTS, describe, named_arrays, to_json
from minibnn.packed.file.architecture import build
from minibnn.packed.stages import same_stage


@pytest.mark.parametrize("name", [*images_models(), *range(5)])
def test_description_and_arrays_make_the_program_again(name):
    packed = pack(
        *((small(norm=name), (10,)) if isinstance(name, int) else (on_images(name), (8, 9)))
    )
    described = json.loads(to_json(describe(packed.interface, packed.stages)))
    arrays = named_arrays(packed.stages)
    interface, stages = build(described, arrays)
    assert interface == packed.interface
    assert all(map(same_stage, stages, packed.stages))
    assert len(stages) == len(packed.stages)
    assert sum(array.nbytes for array in arrays.values()) == packed.nbytes
    defaults = json.loads(to_json(DEFAULTS))
    assert not any(
        k in stage and stage[k] == v for stage in described["stages"] for k, v in defaults.items()
    )


def test_arrays_are_compact():
    arrays = named_arrays(pack(small(), (10,)).stages)
    assert {k: (a.dtype.name, len(a)) for k, a in arrays.items() if "weights" in k} == {
        "1.weights": ("uint8", -(-10 * 9 // 8)),
        "3.weights": ("uint8", -(-9 * 4 // 8)),
    }
    assert arrays["2.thresholds"].dtype == np.int16


def test_json_has_one_form():
    assert to_json({"b": np.int64(1), "a": [np.uint8(2)]}) == '{"a":[2],"b":1}'
    with pytest.raises(TypeError, match=r"float32; float\(\.\.\.\) makes a number"):
        to_json(np.float32(1))
    with pytest.raises(ValueError, match="not JSON compliant"):
        to_json(float("nan"))


def test_file_arrays_is_now_arrays():
    packed = pack(small(), (10,))
    with pytest.warns(DeprecationWarning, match=r"PackedModel.file_arrays is now .*arrays.*0\.3"):
        old = packed.file_arrays()
    assert old.keys() == packed.arrays().keys()
