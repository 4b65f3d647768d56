"""Weights, clipping, decay and warm-up in captured steps: the same bytes as in plain steps."""

from __future__ import annotations

import numpy as np
import pytest
from captured_training import CLASSES, MODELS, OPTIMIZERS, assert_equal, data, dense, training

from minibnn import BatchNorm, CapturedSteps, Cutout, DataLoader, IterableLoader, PlainSteps
from minibnn.losses import Classification
from minibnn.training.class_weights import class_weights


def loader(backend, weights=True, **options):
    x, labels = data(backend)
    arrays = (x, labels)
    if weights:
        w = np.random.default_rng(0).integers(0, 3, len(labels)).astype(np.float32)
        arrays += (backend.asarray(w),)
    return DataLoader(arrays, 10, shuffle=True, rng=5, **options)


def both(device, build, optimizer, loaders, **options):
    """Train by plain steps and by captured ones, and compare everything."""
    plain = training(PlainSteps, device, build, optimizer, **options)
    captured = training(CapturedSteps, device, build, optimizer, steps_at_once=4, **options)
    for _ in range(3):
        losses = [
            device.to_host(s.epoch(one)).tolist()
            for s, one in zip((plain, captured), loaders, strict=True)
        ]
        assert losses[0] == losses[1]
        assert_equal(plain, captured)
    return plain, captured


OPTIONS = {
    "weights": ({}, True),
    "class weights": ({"class_weights": {0: 2.0, 3: 0.5}}, False),
    "both weights": ({"class_weights": "balanced"}, True),
    "clipping": ({"clip_norm": 0.5}, False),
    "all": ({"clip_norm": 0.5, "class_weights": {1: 3.0}}, True),
}


@pytest.mark.parametrize("optimizer", ["adamw", "bop and adam"])
@pytest.mark.parametrize("option", OPTIONS)
def test_each_option_gives_the_same_bytes(option, optimizer, device):
    options, weights = OPTIONS[option]
    options = dict(options)
    if "class_weights" in options:
        labels = data(device)[1]
        options["class_weights"] = class_weights(
            options["class_weights"], Classification(CLASSES), labels, device
        )
    build = lambda: dense(BatchNorm(12))  # noqa: E731
    loaders = [loader(device, weights) for _ in range(2)]
    plain, captured = both(device, build, OPTIMIZERS[optimizer], loaders, **options)
    assert captured.captured, "and it was captured"
    without = training(PlainSteps, device, build, OPTIMIZERS[optimizer])
    ordinary = loader(device, weights=False)
    for _ in range(3):
        without.epoch(ordinary)
    with pytest.raises(AssertionError):  # the option changes something
        assert_equal(plain, without)


def test_another_option_is_captured_anew(device):
    """The attributes may change between epochs, as all others."""
    plain = training(PlainSteps, device, MODELS["dense"], OPTIMIZERS["sgd"])
    captured = training(CapturedSteps, device, MODELS["dense"], OPTIMIZERS["sgd"])
    one, other = loader(device), loader(device)
    weigh = class_weights({0: 5.0}, Classification(CLASSES), None, device)
    for change in ({}, {"clip_norm": 0.1}, {"class_weights": weigh}, {"clip_norm": None}):
        for steps, batches in ((plain, one), (captured, other)):
            vars(steps).update(change)
            steps.epoch(batches)
        assert captured.captured
        assert_equal(plain, captured)


@pytest.mark.parametrize("kind", ["augmented", "iterable"])
def test_what_cannot_be_captured_is_named(kind, device):
    def make():
        if kind == "augmented":
            return loader(device, augment=Cutout(3))
        host = [tuple(map(device.to_host, batch)) for batch in loader(device).batches(0)]
        return IterableLoader(host).to(device)

    match = {
        "augmented": "DataLoader changes its batches by augment",
        "iterable": "IterableLoader makes its batches itself",
    }[kind]
    with pytest.warns(UserWarning, match=f"training without a captured step: {match}"):
        _, captured = both(device, MODELS["batch norm"], OPTIMIZERS["adam"], [make(), make()])
    assert not captured.captured
