"""Loading: training goes on as without the break, and every other file is refused."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from model_files import (
    OWN,
    PAIRS,
    Scale,
    changed,
    direct,
    everything,
    loads,
    modern,
    noisy,
    pair,
    saved_bytes,
    train,
    with_text,
)

from minibnn import (
    Activation,
    Adam,
    BatchNorm,
    Dense,
    DirectFeedback,
    Flatten,
    InputContract,
    ModelFileError,
    Sequential,
    SignSTE,
    Tanh,
    container,
    load_model,
    pack,
    save_model,
)
from minibnn.model_file.form import MODEL


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_training_goes_on_as_without_the_break(name, dtype, tmp_path):
    model, optimizer = pair(name, dtype)
    save_model(model, tmp_path / "model", optimizer=optimizer)
    losses = train(model, optimizer, 7, seed=2)
    again, its = load_model(tmp_path / "model", optimizer=True, classes=OWN)
    assert again.dtype == dtype
    assert train(again, its, 7, seed=2) == losses
    assert everything(again, its) == everything(model, optimizer)


@pytest.mark.parametrize("name", ["modern, Bop", "noisy, SGD"])
def test_training_goes_on_on_a_device(name, device, tmp_path):
    model, optimizer = pair(name, device=device)
    save_model(model, tmp_path / "model", optimizer=optimizer)
    losses = train(model, optimizer, 4, seed=2)
    again, its = load_model(tmp_path / "model", optimizer=True, classes=OWN, device=device)
    assert again.backend is its.backend is device
    assert train(again, its, 4, seed=2) == losses


def test_in_another_process(tmp_path):
    """From the file alone: nothing else of this process is needed."""
    model, optimizer = pair("modern, Bop")
    save_model(model, tmp_path / "model", optimizer=optimizer)
    train(model, optimizer, 3, seed=2)
    code = """
import sys
from minibnn import load_model, save_model
from model_files import train
model, optimizer = load_model(sys.argv[1], optimizer=True)
train(model, optimizer, 3, seed=2)
save_model(model, sys.argv[1], optimizer=optimizer)
"""
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "model")],
        check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert (tmp_path / "model").read_bytes() == saved_bytes(tmp_path / "here", model, optimizer)


def test_the_optimizer_holds_the_models_parameters(tmp_path):
    model, optimizer = pair("noisy, SGD")  # in the opposite order
    save_model(model, tmp_path / "model", optimizer=optimizer)
    again, its = load_model(tmp_path / "model", optimizer=True)
    paths = {id(p): path for path, p in again.named_parameters()}
    expected = {id(p): path for path, p in model.named_parameters()}
    assert [paths[id(p)] for p in its.parameters] == [expected[id(p)] for p in optimizer.parameters]
    its.require_intact()


def test_what_it_was_trained_on_is_known(tmp_path):
    model = modern().initialize(0)
    model.input_contract = InputContract("uint8", (4, 3), 0, 255, source="a test")
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    assert again.input_contract == model.input_contract
    assert pack(again).input_shape == (4, 3)


def test_the_model_alone_from_a_file_with_both(tmp_path):
    model, optimizer = pair("direct, own")
    save_model(model, tmp_path / "model", optimizer=optimizer)
    again = load_model(
        tmp_path / "model", classes=[c for c in OWN if c.__name__ in ("Scale", "Steep")]
    )
    assert everything(again) == everything(model)
    with pytest.raises(
        ModelFileError, match=r"got Halving, Momentum; import them, and write load_model"
    ):
        load_model(tmp_path / "model", optimizer=True, classes=OWN[:2])


def test_a_file_of_the_model_alone_has_no_optimizer(tmp_path):
    save_model(modern().initialize(0), tmp_path / "model")
    with pytest.raises(
        ModelFileError, match=r"got the model alone; save both with save_model\(model"
    ):
        load_model(tmp_path / "model", optimizer=True)


def test_classes_that_are_not_given_are_named(tmp_path):
    save_model(direct().initialize(0), tmp_path / "model")
    with pytest.raises(
        ModelFileError, match=r"got Scale, Steep; import them, .*load_model\(path, classes=\[Scale, Steep\]\)"
    ):  # fmt: skip
        load_model(tmp_path / "model")
    with pytest.raises(ModelFileError, match="got Steep"):
        load_model(tmp_path / "model", classes=[Scale])


class Changed(Scale):
    """Another class of the same name as one in a file."""

    def __init__(self, features, function, start, further):
        raise OSError("no such thing")


def test_a_class_that_has_changed_since_is_named_with_its_place(tmp_path):
    model = Sequential(Dense(3, 2), Scale(2)).initialize(0)
    data = saved_bytes(tmp_path / "model", model)
    Changed.__name__ = "Scale"
    with pytest.raises(
        ModelFileError,
        match=r"model\.layers\[1\]: expected arguments that Scale accepts, got TypeError.*further.*; give the classes",
    ):
        loads(tmp_path, data, classes=[Changed])


# --- Files of others ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A small model and its optimiser."""
    model = Sequential(Dense(2, 3, weight_quantizer=SignSTE()), BatchNorm(3)).initialize(0)
    path = tmp_path_factory.mktemp("saved") / "model"
    return saved_bytes(path, model, Adam(model.parameters(), 0.01))


def test_every_flipped_bit_is_refused(data, tmp_path):
    loads(tmp_path, data, optimizer=True)
    path = tmp_path / "changed"
    for k in range(len(data)):
        damaged = bytearray(data)
        damaged[k] ^= 1 << k % 8
        path.write_bytes(damaged)
        with pytest.raises(ModelFileError, match=str(path)):
            load_model(path, optimizer=True)


@settings(deadline=None, max_examples=50)
@given(at=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), cut=st.floats(0, 2))
def test_damage_of_any_kind_is_refused(data, tmp_path_factory, at, bit, cut):
    damaged = bytearray(data + bytes(len(data)))
    damaged[int(at * len(data))] ^= 1 << bit
    with pytest.raises(ModelFileError):
        loads(tmp_path_factory.mktemp("x"), damaged[: int(cut * len(data))])


def test_other_versions_are_refused(data, tmp_path):
    for version in ("0", "2", "x"):
        other = changed(data, lambda m, a, v=version: m.update(format_version=v, minibnn="9.9"))
        with pytest.raises(
            ModelFileError, match=r"format version 1, got .*use the minibnn.*'9\.9'"
        ):
            loads(tmp_path, other)


def test_pipes_and_devices_are_refused():
    with pytest.raises(ModelFileError, match="expected a model, got a device; copy"):
        load_model("/dev/zero")


def arguments(architecture, i=0):
    return architecture["arguments"]["layers"][i]["arguments"]


HUGE = [
    lambda a: arguments(a).update(in_features=10**9, out_features=10**9),
    lambda a: arguments(a).update(in_features=10**4000),
    lambda a: arguments(a, 1).update(channels=10**12),
    lambda a: a["arguments"]["layers"].append(a["arguments"]["layers"][0]),
    lambda a: a["arguments"].update(layers=[{"class": "Flatten", "arguments": {}}] * 9000),
    lambda a: {"class": "Reshape", "arguments": {"shape": [10**12]}},
    lambda a: {"class": "Conv2D", "arguments": {"in_channels": 10**9, "out_channels": 10**9,
                                                "kernel_size": 10**9, "padding": "same"}},
]  # fmt: skip


@pytest.mark.parametrize("change", HUGE, ids=range(len(HUGE)))
def test_a_small_file_of_a_huge_model_takes_no_memory(change, data, tmp_path):
    other = with_text(data, "architecture", change)
    (tmp_path / "changed").write_bytes(other)
    tracemalloc.start()
    with pytest.raises(ModelFileError):
        load_model(tmp_path / "changed")
    assert tracemalloc.get_traced_memory()[1] < 2**25
    tracemalloc.stop()


def test_an_optimizer_takes_each_parameter_once(data, tmp_path):
    """Each takes memory for the parameters; a file could name thousands."""

    def many(described):
        return {"class": "OptimizerGroup", "arguments": {"optimizers": [described] * 500}}

    other = with_text(data, "optimizer", many)
    with pytest.raises(ModelFileError, match=r"optimizers\[1\]\.parameters\[0\]: expected a descr"):
        loads(tmp_path, other, optimizer=True)
    assert loads(tmp_path, other) is not None


TEXTS = {
    "architecture": [
        lambda a: [], lambda a: {"class": "SignSTE", "arguments": {}}, lambda a: {"parameter": "x"},
        lambda a: a["arguments"].pop("layers") and None,
        lambda a: arguments(a).update(bias=False), lambda a: arguments(a).update(in_features=3),
        lambda a: arguments(a, 1).update(channels=4), lambda a: a["arguments"]["layers"].pop() and None,
        lambda a: arguments(a).update(feedback={"class": "FixedFeedback", "arguments": {}}),
        lambda a: arguments(a).update(weight_init={"class": "Uniform", "arguments": {"low": -1e308, "high": 1e308}}),
        lambda a: arguments(a).update(weight_init={"function": "Uniform"}),
        lambda a: arguments(a).update(weight_quantizer={"class": "Dropout", "arguments": {"rate": 0.5}}),
    ],
    "optimizer": [
        lambda o: [], lambda o: {"class": "Tanh", "arguments": {}},
        lambda o: o["arguments"]["parameters"].pop() and None,
        lambda o: o["arguments"].update(learning_rate=-1), lambda o: o.update({"class": "SGD"}),
        lambda o: o["arguments"].update(learning_rate={"class": "Constant", "arguments": {"value": 0.1}}),
    ],
    "state": [
        lambda s: [], lambda s: {}, lambda s: s.pop("model") and None, lambda s: s.pop("optimizer") and None,
        lambda s: s.update(more=1), lambda s: s["model"].pop("0") and None, lambda s: s["model"]["0"].pop("weight") and None,
        lambda s: s["model"].update(x=1), lambda s: s["model"].update(input_contract=3),
        lambda s: s["model"].update(input_contract={"dtype": "x", "shape": [1], "low": None, "high": None, "source": ""}),
        lambda s: s["model"]["0"].update(weight=None), lambda s: s["model"]["0"].update(weight=1.0),
        lambda s: s["model"]["1"].update(running_mean="x"),
        lambda s: s["optimizer"].update(steps=-1), lambda s: s["optimizer"].update(steps=1.5),
        lambda s: s["optimizer"].update(steps="1"), lambda s: s["optimizer"].update(rate=-1.0),
        lambda s: s["optimizer"].update(rate=None), lambda s: s["optimizer"].pop("m") and None,
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "i"), [(text, i) for text, changes in TEXTS.items() for i in range(len(changes))]
)
def test_crafted_texts_are_refused(text, i, data, tmp_path):
    other = with_text(data, text, TEXTS[text][i])
    assert other != data
    with pytest.raises(ModelFileError, match=f"^{tmp_path}/changed: "):
        loads(tmp_path, other, optimizer=True)


ARRAYS = [
    lambda m, a: a.update({"model/0/weight": np.zeros((3, 2), np.float32)}),
    lambda m, a: a.update({"model/0/weight": np.zeros((2, 3))}),
    lambda m, a: a.update({"model/0/weight": np.zeros((2, 3), np.int32)}),
    lambda m, a: a.update({"model/1/running_mean": np.zeros(4, np.float32)}),
    lambda m, a: a.update({"model/1/running_var": np.zeros(3)}),
    lambda m, a: a.update({"model/more": np.zeros(3)}),
    lambda m, a: a.pop("model/0/weight"),
    lambda m, a: a.update({"optimizer/m": np.zeros(3, np.float32)}),
    lambda m, a: a.update({"optimizer/v": a["optimizer/v"].astype(np.float64)}),
    lambda m, a: m.update(dtype="float64"), lambda m, a: m.update(dtype="float16"),
    lambda m, a: m.update(more=""), lambda m, a: m.pop("dtype"), lambda m, a: m.pop("minibnn"),
    lambda m, a: m.update(state="{"), lambda m, a: m.update(architecture="[" * 10**5),
    lambda m, a: m.update(state=" " + m["state"]), lambda m, a: m.update(optimizer="nan"),
]  # fmt: skip


@pytest.mark.parametrize("change", ARRAYS, ids=range(len(ARRAYS)))
def test_crafted_arrays_and_metadata_are_refused(change, data, tmp_path):
    with pytest.raises(ModelFileError, match=f"^{tmp_path}/changed: "):
        loads(tmp_path, changed(data, change), optimizer=True)


def test_crafted_feedback_of_another_dtype_is_refused(tmp_path):
    """Matrices that are drawn in the first pass have no form to be compared with."""
    model = DirectFeedback(Sequential(Dense(2, 3), Activation(Tanh())), Dense(3, 2)).initialize(0)
    model.forward(np.zeros((2, 2), np.float32), train=True)
    data = saved_bytes(tmp_path / "model", model)
    name = "model/feedback_0"
    other = changed(data, lambda m, a: a.update({name: a[name].astype(np.float64)}))
    with pytest.raises(
        ModelFileError, match=r"float64 in Buffer\('feedback_0'.*of a model of float32"
    ):
        loads(tmp_path, other)
    for seed in (-1, 0.5, "x"):
        with pytest.raises(ModelFileError):
            loads(
                tmp_path,
                with_text(data, "state", lambda s, seed=seed: s["model"].update(seed=seed)),
            )


def test_seeds_are_whole_numbers(tmp_path):
    data = saved_bytes(tmp_path / "model", noisy().initialize(0))
    for change in ({"seed": -1}, {"seed": 0.5}, {"count": -1}, {"count": 1.5}):
        with pytest.raises(ModelFileError):
            loads(
                tmp_path,
                with_text(data, "state", lambda s, c=change: s["model"]["5"]["stream"].update(c)),
            )


def test_values_for_some_parameters_are_refused(data, tmp_path):
    def without_weight(metadata, arrays):
        del arrays["model/0/weight"]
        metadata["state"] = metadata["state"].replace('"weight":{"$":"array"}', '"weight":null')

    with pytest.raises(ModelFileError, match="values for some of the parameters"):
        loads(tmp_path, changed(data, without_weight))


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["Dense", "Flatten", "Sequential", "SignSTE", "array", "0", "same"]),
    lambda v: st.lists(v, max_size=3) | st.dictionaries(
        st.sampled_from(["class", "arguments", "layers", "function", "$", "in_features", "0"]), v, max_size=3),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    key=st.sampled_from(["architecture", "optimizer", "state"]),
    which=st.integers(0, 200),
    value=plain,
)
def test_any_other_value_anywhere_is_refused_or_means_a_model(
    data, tmp_path_factory, key, which, value
):
    """Replace one value in a description or a state, under a right digest."""

    def change(whole):
        places = list(_places(whole))
        inside, at = places[which % len(places)]
        inside[at] = value

    other = with_text(data, key, change)
    folder = tmp_path_factory.mktemp("x")
    try:
        model, optimizer = loads(folder, other, optimizer=True)
    except ModelFileError:
        return
    save_model(model, folder / "again", optimizer=optimizer)


def _places(value):
    """All places in nested dicts and lists."""
    for at in value if isinstance(value, dict) else range(len(value)):
        yield value, at
        if isinstance(value[at], dict | list):
            yield from _places(value[at])


def test_it_reads_no_more_than_the_header_of_a_wrong_length(tmp_path, data):
    start = 8 + struct.unpack("<Q", data[:8])[0]
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.write(data[:start])
        file.truncate(2**40)
    with pytest.raises(ModelFileError, match="of at most 68,719,476,736 bytes"):
        load_model(path)
    with path.open("wb") as file:
        file.write(data[:start])
        file.truncate(2**35)
    tracemalloc.start()
    with pytest.raises(ModelFileError, match="something follows it"):
        load_model(path)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_json_of_the_file_is_plain(data):
    """So that other programs can read it."""
    metadata = container.read(data, "file", MODEL).metadata
    for key in ("architecture", "optimizer", "state"):
        json.loads(metadata[key], parse_constant=lambda name: pytest.fail(name))
    assert Flatten.__name__ not in metadata["architecture"]
