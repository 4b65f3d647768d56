"""Descriptions and named arrays: compact, and enough to make the program again."""

from __future__ import annotations

import json

import numpy as np
import pytest
from integer_files import every_kind
from integer_programs import random_program
from packed_files import on_images, small
from packed_models import images_models

from minibnn import pack
from minibnn.packed.description import DEFAULTS, describe, named_arrays, to_json
from minibnn.packed.file.architecture import build
from minibnn.packed.integer_stages import IntegerDense
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


def test_programs_on_integers_make_themselves_again():
    defaults = json.loads(to_json(DEFAULTS))
    for i in range(60):
        packed = random_program(np.random.default_rng([8, i]))
        described = json.loads(to_json(describe(packed.interface, packed.stages)))
        arrays = named_arrays(packed.stages)
        assert all(a.ndim == 1 for a in arrays.values())
        interface, stages = build(described, arrays)
        assert interface == packed.interface
        assert len(stages) == len(packed.stages)
        assert all(map(same_stage, stages, packed.stages))
        for n, stage in enumerate(described["stages"]):
            assert not any(k in stage and stage[k] == v for k, v in defaults.items())
            assert stage.get("sources") not in ([], [n - 1])
            assert not {"takes", "width", "fits_int32"} & set(stage)


def test_a_program_on_integers_by_hand():
    packed = every_kind()
    described = json.loads(to_json(describe(packed.interface, packed.stages)))
    assert described["stages"][2:8] == [
        {"kind": "integer_conv", "out_shape": [3, 3, 4], "size": [2, 2], "border": [[1, 0], [0, 1]],
         "border_value": -1, "groups": 2},
        {"kind": "levels", "levels": 3},
        {"kind": "scale", "shift": 1, "sources": [1]},
        {"kind": "add", "sources": [3, 4]},
        {"kind": "slope", "shift": 8},
        {"kind": "concat", "parts": [4, 4], "sources": [6, 3]},
    ]  # fmt: skip
    arrays = named_arrays(packed.stages)
    thresholds = packed.stages[3].thresholds
    assert arrays["3.thresholds"].tolist() == [t for row in thresholds.tolist() for t in row]
    assert (arrays["9.A"].dtype, arrays["9.B"].dtype) == (np.int32, np.int16)


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        ([[1, -1, 1], [1, 1, -1]], {"weights": np.uint8([0b011101])}),
        ([[1, 0, -1], [0, 1, 1]], {"weights": np.uint8([0b110001]), "mask": np.uint8([0b110101])}),
        ([[0, 0, 0], [0, 0, 0]], {"weights": np.uint8([0]), "mask": np.uint8([0])}),
        ([[1, -1, 2], [0, 0, -127]], {"weights": np.int8([1, -1, 2, 0, 0, -127])}),
    ],
)
def test_three_forms_of_weights(weights, expected):
    stage = IntegerDense((3,), (2,), np.array(weights, np.int8), "bits")
    arrays = named_arrays((stage,))
    assert {k.removeprefix("0."): (a.dtype, a.tolist()) for k, a in arrays.items()} == {
        k: (a.dtype, a.tolist()) for k, a in expected.items()
    }


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
