"""Saved models are read back unchanged; wrong arguments and models are refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from packed_files import bytes_of, on_images, same, small
from packed_models import images_models

from minibnn import PackError, load_packed, load_sample, pack
from minibnn.packed.file.save import save_packed
from minibnn.packed.stages import ThresholdStage
from minibnn.recipes import RECIPES


@pytest.mark.parametrize("name", [*images_models(), *range(5)])
def test_there_and_back(name, tmp_path, rng):
    model = small(norm=name) if isinstance(name, int) else on_images(name)
    shape = (10,) if isinstance(name, int) else (8, 9)
    packed = pack(model, shape)
    path = tmp_path / "model.safetensors"
    figures = {"accuracy": 0.5, "epochs": [1, None, "zwei", {"lr": 1e-3}]}
    save_packed(packed, path, training=figures)
    loaded = load_packed(path)
    assert loaded.training == figures
    object.__setattr__(packed, "training", figures)
    same(loaded, packed)
    images = rng.integers(0, 256, (20, *shape), np.uint8)
    np.testing.assert_array_equal(loaded.predict_scores(images), packed.predict_scores(images))
    np.testing.assert_array_equal(loaded.logits(images), packed.logits(images))
    assert loaded.verify(model) == packed.certificate

    again = tmp_path / "again"
    save_packed(loaded, str(again))  # keeps its figures
    assert again.read_bytes() == path.read_bytes()
    save_packed(pack(copy.deepcopy(model), shape), again, training=figures)
    assert again.read_bytes() == path.read_bytes()


def test_the_small_models_have_everything():
    stages = [stage for norm in range(5) for stage in pack(small(norm=norm), (10,)).stages]
    thresholds = [stage for stage in stages if isinstance(stage, ThresholdStage)]
    assert any(stage.falling.any() for stage in thresholds)
    assert any(not stage.falling.any() for stage in thresholds)


def test_other_arguments_are_refused(tmp_path):
    path = tmp_path / "net.safetensors"
    for first, second, got in (
        (small(), path, "Sequential"),
        (path, pack(small(), (10,)), "Posix"),
    ):
        with pytest.raises(
            TypeError, match=rf"save_packed: expected a PackedModel, got {got}.*pack"
        ):
            save_packed(first, second)
    with pytest.raises(TypeError, match="expected the model, got str"):
        save_packed(pack(small(), (10,)), path, model="model")
    assert not path.exists()


def test_figures_may_be_numpy_integers(tmp_path):
    packed = pack(small(), (10,))
    data = bytes_of(packed, tmp_path, training={"a": np.int64(3), "b": [np.uint8(4)]})
    assert data == bytes_of(packed, tmp_path, training={"a": 3, "b": [4]})
    with pytest.raises(TypeError, match=r"JSON can hold: got .* float32; float\(\.\.\.\) makes a"):
        bytes_of(packed, tmp_path, training={"a": np.float32(1)})


def test_what_cannot_be_saved(tmp_path):
    packed, path = pack(small(), (10,)), tmp_path / "model"
    path.write_text("before")
    endless = {}
    endless["self"] = endless
    for training in ({"a": float("nan")}, {"a": {1, 2}}, [1], endless, {"a": np.float32(1)}):
        with pytest.raises(TypeError, match="training"):
            save_packed(packed, path, training=training)
    with pytest.raises(PackError, match=r"the model that was packed.*channel 0"):
        save_packed(packed, path, model=small(1))
    packed.certificate["thresholds"][0]["sha256"] = "0" * 64
    with pytest.raises(PackError, match=r"loaded again.*certificate"):
        save_packed(packed, path)
    assert path.read_text() == "before"
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    with pytest.raises(FileNotFoundError):
        load_packed(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["seed", "modern"])
def test_the_recipes_files_are_small(name, tmp_path):
    recipe = RECIPES[name]()
    model, _ = recipe.train(load_sample(), epochs=1, progress=False)[:2]
    if name == "modern":  # falling thresholds take a line of the header
        model[3].gamma.data[:9] *= -1
        model[6].gamma.data[3] *= -1
    packed = pack(model, (28, 28))
    training = {
        "recipe": name, "seed": 0, "epochs": 20, "dataset": "mnist", "test_accuracy": 0.9663,
        "test_loss": 0.11523, "packed_accuracy": 0.9663, "disagreements": 12,
    }  # fmt: skip
    data = bytes_of(packed, tmp_path, training=training)
    if name == "modern":
        assert {"1.falling", "3.falling"} <= set(packed.arrays())
    assert len(data) < 16_000
    assert model.summary((28, 28)).float_bytes >= 25 * len(data)
