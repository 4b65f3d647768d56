"""Files with a correct digest that describe absurd programs."""

from __future__ import annotations

import copy
import json
import tracemalloc

import numpy as np
import pytest
from coded_tables import of_numbers, table
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_files import NUMBER, every_kind
from packed_files import changed, load_bytes, small

from minibnn import PackedFileError, pack, save_packed
from minibnn.packed.description import describe, named_arrays, to_json
from minibnn.packed.file import container
from minibnn.packed.file.architecture import build

NASTY = [None, True, 0, -1, 1, 2, 3, 255, 256, 2**31, 2**62, 2**63, 10**400, -(10**30), 0.5, 1e308,
         float("nan"), float("inf"), "", "dense", "conv", "pool", "threshold", "scores", "binarize",
         "code", "integer_conv", "scale", "levels", "concat", "add", "slope", "sum_pool", "integer_dense",
         "uint8", "int8", "int16", "float32", ["a"], ["a", "b", "c"], ["a", "a", "b"], [1, 2, 3],
         [], [1], [2], [0, 0], [1, 1], [2, 2], [-1, 1], [2**20, 2**20], [2**40] * 3, [1] * 9,
         [-1], [0, 0, 0], [3, 6], [4, 3], [[1]], [[0, 0], [1, 1]], [[2**27, 0], [0, 0]], {}, {"kind": "pool"}, [None], [0.5, 1]]  # fmt: skip


def paths(value, path=()):
    """All paths in a JSON value."""
    yield path
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, inner in items:
        yield from paths(inner, (*path, key))


def put(value, path, new):
    if not path:
        return new
    holder = value = copy.deepcopy(value)
    for key in path[:-1]:
        holder = holder[key]
    if new is KeyError:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return value


@settings(deadline=None, max_examples=600)
@given(st.data())
def test_absurd_architectures(programs, integers, data):
    """Each is refused, or describes a program that runs."""
    file = data.draw(st.sampled_from([*programs, integers]))
    architecture = json.loads(container.read(file, "file").metadata["architecture"])
    path = data.draw(st.sampled_from(list(paths(architecture))))
    new = data.draw(st.sampled_from([*NASTY, KeyError] if path else NASTY))
    extra = data.draw(st.booleans()) and path and isinstance(path[-1], str)
    if extra:
        name = data.draw(st.sampled_from(["stride", "dilation", "border", "falling", "pixels",
                                          "border_value", "out_shape", "in_shape", "width", "dtype",
                                          "input_dtype", "features", "classes", "numbers", "sources", "groups",
                                          "levels", "parts", "mask", "takes", "shift", "x"]))  # fmt: skip
        path = (*path[:-1], name)
        new = [] if new is KeyError else new
    wrong = put(architecture, path, new)
    text = json.dumps(wrong, sort_keys=True, separators=(",", ":"))
    crafted = changed(file, lambda *a: a[3].update(architecture=text))
    tracemalloc.start()
    try:
        packed = load_bytes(crafted)
    except PackedFileError:
        return
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2**22
    packed.predict(np.zeros((2, *packed.input_shape), packed.input_dtype))
    packed.summary()


def test_named_absurdities(programs):
    """Each check that a random change might miss."""

    def stage(i, **values):
        return lambda architecture, *_: architecture["stages"][i].update(values)

    two = json.loads(container.read(programs[1], "file").metadata["architecture"])["stages"]
    assert [s["kind"] for s in two] == [
        "conv",
        "threshold",
        "conv",
        "pool",
        "threshold",
        "dense",
        "scores",
    ]
    for i, values in [
        (0, {"pixels": False}),
        (0, {"border_value": 256}),
        (0, {"border": [[2**26, 0], [2**26, 0]]}),
        (0, {"stride": [0, 1]}),
        (0, {"stride": [2, 1]}),
        (0, {"out_shape": [6, 7, 6]}),
        (0, {"in_shape": [9, 8, 1]}),
        (0, {"in_shape": [72]}),
        (2, {"border_value": 2}),
        (2, {"pixels": True}),
        (2, {"kind": "dense"}),
        (3, {"size": [3, 3]}),
        (3, {"out_shape": [3, 3, 4]}),
        (3, {"in_shape": [6, 21, 1]}),
        (4, {"in_shape": [9, 3, 1]}),
        (5, {"out_shape": [2**21]}),
        (5, {"out_shape": [4, 1]}),
        (5, {"x": 1}),
        (6, {"shift": 2**20}),
        (6, {"shift": True}),
        (6, {"in_shape": [1, 4]}),
        (6, {"kind": "threshold"}),
    ]:
        with pytest.raises(PackedFileError, match="expected a packed model"):
            load_bytes(changed(programs[1], stage(i, **values)))
    for change in (
        lambda a, *_: a["stages"].pop(),
        lambda a, *_: a["stages"].append(a["stages"][-1]),
        lambda a, *_: a["stages"].clear(),
        lambda a, *_: a.update(stages={}),
        lambda a, *_: a.update(more=1),
    ):
        with pytest.raises(PackedFileError, match="expected a packed model"):
            load_bytes(changed(programs[1], change))
    for name, number in (("A", 2**61), ("B", 2**62), ("A", -(2**63))):
        big = np.full(4, number, np.int64)
        with pytest.raises(PackedFileError, match="62 bits"):
            load_bytes(
                changed(programs[1], lambda _, a, *__, n=f"6.{name}", b=big: a.update({n: b}))
            )
    for number in (-(2**31), 2**31 - 1, 2 * 255 * 9):
        far = np.full(5, number, np.int32)
        with pytest.raises(PackedFileError, match="within the sums' reach"):
            load_bytes(changed(programs[1], lambda _, a, *__, b=far: a.update({"1.thresholds": b})))
    # Wider integers than need be are fine; whether 32 bits are enough follows from them.
    wide = load_bytes(
        changed(programs[1], lambda _, a, *__: a.update({"6.B": a["6.B"].astype(np.int64)}))
    )
    assert wide.scores.fits_int32
    wide = load_bytes(changed(programs[1], lambda _, a, *__: a.update({"6.B": np.full(4, 2**31)})))
    assert not wide.scores.fits_int32


def test_programs_that_are_too_large(programs):
    """Sizes beyond each limit; `test_costs.py` tests limits on their combination."""

    def first(weights, **values):
        def change(architecture, arrays, *_):
            architecture["input_shape"] = values["in_shape"]
            architecture["stages"][0] = {"pixels": True, **values}
            arrays["0.weights"] = np.zeros(weights, np.uint8)

        return changed(programs[1], change)

    channels = {"kind": "dense", "in_shape": [1], "out_shape": [2**16 + 1]}
    wide = {"kind": "dense", "in_shape": [2**14, 2**14, 2], "out_shape": [1]}
    sums = {"kind": "dense", "in_shape": [2**24], "out_shape": [1]}
    image = {
        "kind": "conv",
        "in_shape": [2902, 2902, 1],
        "size": [2902, 2902],
        "out_shape": [1, 1, 1],
    }
    for crafted, match in (
        (first(2**13 + 1, **channels), "at most 65,536 channels"),
        (first(1, **wide), "at most 268,435,456 values"),
        (first(2**21, **sums), "fit into int32"),
        (first(-(-(2902**2) // 8), **image), "fit into int32"),
    ):
        with pytest.raises(PackedFileError, match=match):
            load_bytes(crafted)


def test_channels_stay_channels_until_the_threshold(programs):
    """A pool that treats an image of three channels as a wider one of one channel."""

    def change(architecture, *_):
        stages = architecture["stages"]
        stages[3].update(in_shape=[6, 21, 1], size=[2, 5], stride=[2, 2], out_shape=[3, 9, 1])
        stages[4]["in_shape"] = [3, 3, 3]

    with pytest.raises(PackedFileError, match="stage 3: expected the channels of"):
        load_bytes(changed(programs[1], change))


def test_bits_beyond_the_last(programs):
    def overflow(name):
        def change(_, arrays, *__):
            arrays[name] = arrays[name].copy()
            arrays[name][-1] |= 128

        return change

    for i, name in ((0, "1.weights"), (0, "2.falling"), (1, "0.weights")):
        with pytest.raises(PackedFileError):
            load_bytes(changed(programs[i], overflow(name)))


def test_logits_that_are_nan(programs):
    for name in ("6.scale", "6.offset"):
        with pytest.raises(PackedFileError, match=r"stage 6: expected numbers .*, got nan"):
            load_bytes(changed(programs[1], lambda _, a, *__, n=name: a[n].__setitem__(1, np.nan)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, a: d["stages"].clear(), "expected a list of stages"),
        (lambda d, a: d.update(more=1), "architecture: expected no field 'more'"),
        (lambda d, a: d["stages"].pop(), "expected scores as the last stage"),
        (lambda d, a: d["stages"][1].pop("kind"), "stage 1: expected a field 'kind'"),
        (lambda d, a: d["stages"].__setitem__(2, 7), "stage 2: expected an object"),
        (lambda d, a: a.update({"9.weights": a["1.weights"]}), "no arrays but the stages', got '9"),
        (lambda d, a: a.pop("1.weights"), "stage 1: expected a vector weights of its dtype"),
    ],
)
def test_the_message_names_the_stage(change, message):
    packed = pack(small(), (10,))
    described = describe(packed.interface, packed.stages)
    arrays = named_arrays(packed.stages)
    build(described, arrays)
    change(described, arrays)
    with pytest.raises(ValueError, match=message):
        build(described, arrays)


# --- graphs ---------------------------------------------------------------------------------------


def graph():
    """A description and arrays of `every_kind`."""
    packed = every_kind()
    described = json.loads(to_json(describe(packed.interface, packed.stages)))
    return described, named_arrays(packed.stages)


@pytest.mark.parametrize(
    ("stage", "sources", "message"),
    [
        ("add", [3], "stage 4: expected a later stage that takes its output"),
        ("add", [4], "stage 5: expected no sources for the stage before"),
        ("add", [3, 1], "stage 5: expected sources of one kind"),
        ("add", [1, 1], "stage 5: expected a stage that takes bits"),
        ("add", [0, 0], "stage 5: expected a stage that takes acc"),
        ("add", [-1, -1], "stage 5: expected a stage that takes pixels"),
        ("add", [3, 5], "stage 5: expected sources between -1 and 4"),
        ("add", [3, 11], "stage 5: expected sources between -1 and 4"),
        ("add", [3, -2], "stage 5: expected sources between -1 and 4"),
        ("add", [3, True], "stage 5: expected sources between -1 and 4"),
        ("add", 3, "stage 5: expected integers as sources"),
        ("slope", [3, 5], "stage 6: expected one source"),
        ("slope", [3], "stage 5: expected a later stage that takes its output"),
        ("concat", [6, 1], "stage 7: expected sources of one kind"),
        ("concat", [6], "stage 7: expected no sources for the stage before"),
        ("concat", [6, 3, 3], "stage 7: expected the channels of each source as parts"),
        ("scale of bits", [-1], "stage 4: expected A for 2 channels"),
        ("conv", [0], "stage 0: expected sources between -1 and -1"),
        ("conv", [-1], "stage 0: expected no sources for the stage before"),
        ("threshold", [-1], "stage 1: expected a stage that takes pixels"),
    ],
)
def test_wrong_sources(stage, sources, message):
    described, arrays = graph()
    build(copy.deepcopy(described), dict(arrays))
    described["stages"][NUMBER[stage]]["sources"] = sources
    with pytest.raises(ValueError, match=message):
        build(described, arrays)


def test_scores_are_the_end(integers):
    """Nothing takes them, and nothing is beside them."""

    def twice(architecture, arrays, *_):
        architecture["stages"].append({**architecture["stages"][-1], "sources": [10]})
        arrays |= {"12" + k[2:]: a for k, a in arrays.items() if k.startswith("11.")}

    for change, message in (
        (lambda a, *_: a["stages"].append({"kind": "slope", "shift": 3}), "takes scores"),
        (twice, "stage 11: expected a later stage that takes its output"),
    ):
        with pytest.raises(PackedFileError, match=message):
            load_bytes(changed(integers, change))


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
def test_other_inputs_are_for_codes_only(dtype):
    """Also where a later stage takes the input."""
    scale = {"kind": "scale", "shift": 0}
    stages = [{"kind": "code", "out_shape": [3]}, scale, {**scale, "sources": [-1]},
              {"kind": "add", "sources": [1, 2]}, {"kind": "scores", "shift": 0}]  # fmt: skip
    described = {"input_shape": [3], "input_dtype": dtype, "stages": stages}
    ones, floats = np.ones(3, np.int16), np.ones(3, np.float32)
    arrays = {"0.feature": np.arange(3, dtype=np.int16), "4.scale": floats, "4.offset": floats}
    arrays |= {f"{i}.{name}": ones for i in (1, 2, 4) for name in "AB"}
    if dtype == "uint8":
        assert len(build(described, arrays)[1]) == 5
        return
    with pytest.raises(ValueError, match="expected a code of int8 as the first stage"):
        build(described, arrays)


def test_sums_of_as_many_numbers():
    scale = {"kind": "scale", "shift": 0}
    stages = [scale, {"kind": "integer_dense", "out_shape": [2]}, scale,
              {"kind": "add", "sources": [0, 2]}, {"kind": "scores", "shift": 0}]  # fmt: skip
    for classes in (2, 3):
        stages[1]["out_shape"] = [classes]
        floats = np.ones(3, np.float32)
        arrays = {
            "1.weights": np.full(3 * classes, 2, np.int8),
            "4.scale": floats,
            "4.offset": floats,
        }
        arrays |= {
            f"{i}.{name}": np.ones(classes if i == 2 else 3, np.int16)
            for i in (0, 2, 4)
            for name in "AB"
        }
        if classes == 3:
            assert len(build({"input_shape": [3], "stages": stages}, arrays)[1]) == 5
            continue
        with pytest.raises(ValueError, match=r"stage 3: expected values of \(3,\), got"):
            build({"input_shape": [3], "stages": stages}, arrays)


def test_too_many_sources(integers):
    """Each would take time, even for one value."""

    def change(architecture, *_):
        architecture["stages"][NUMBER["add"]]["sources"] = [3, 4] * 501

    with pytest.raises(PackedFileError, match="at most 1,000 sources, got 1,002"):
        load_bytes(changed(integers, change))


def test_one_spelling_of_a_graph(integers):
    """What is usual is left out."""
    for i, values in (
        (3, {"sources": []}), (3, {"in_shape": [3, 3, 4]}), (2, {"stride": [1, 1]}),
        (7, {"in_shape": [3, 3, 4]}),
    ):  # fmt: skip
        with pytest.raises(PackedFileError, match="another form of JSON"):
            load_bytes(changed(integers, lambda a, *_, i=i, v=values: a["stages"][i].update(v)))


def test_absurd_numbers(tmp_path):
    """A model of numbers that has classes, or numbers that no float holds."""
    path = tmp_path / "file"
    packed = pack(of_numbers(), numbers=True)
    save_packed(packed, path)
    file = path.read_bytes()
    architecture = json.loads(container.read(file, "file").metadata["architecture"])
    assert architecture["numbers"] is True
    last = len(architecture["stages"]) - 1
    for where, value in [
        (("numbers",), False),
        (("numbers",), 1),
        (("classes",), ["no", "yes"]),
        (("stages", last, "shift"), 513),
        (("stages", last, "shift"), -513),
    ]:
        text = to_json(put(architecture, where, value))
        with pytest.raises(PackedFileError):
            load_bytes(changed(file, lambda *a, text=text: a[3].update(architecture=text)))
    text = to_json(put(architecture, ("stages", last, "shift"), -512))
    huge = load_bytes(changed(file, lambda *a: a[3].update(architecture=text)))
    assert np.isfinite(huge.predict(table()[0])).all()
