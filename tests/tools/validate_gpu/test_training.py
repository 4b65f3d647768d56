"""The parts `captured`, `repeat` and `accuracy`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from devices import STRICT
from few_images import few_images

from confirm import training
from confirm.setting import FAILED, NOT_RUN, OK, Setting
from minibnn import ImageDataset
from minibnn.backend import CPU

RESULTS = Path(__file__).parents[3] / "benchmarks" / "results"


@pytest.fixture
def small_batches(monkeypatch):
    """Recipes with batches of 20: as many steps with fewer images."""

    def smaller(recipe):
        return lambda: replace(recipe(), batch_size=20)

    recipes = {name: smaller(training.RECIPES[name]) for name in ("seed", "modern", "larq-cnn")}
    monkeypatch.setattr(training, "RECIPES", recipes)


def test_trainings_repeat_and_captured_steps_equal_plain_ones(setting_on, small_batches):
    kept = {}
    setting = replace(setting_on(STRICT, 117), keep=kept.update)
    for part, arrays in (
        (training.repeat, {"seed": 13, "modern": 22, "larq-cnn": 29}),
        (training.captured, {"seed": 9, "modern": 18, "larq-cnn": 23,
                             "dropout and stochastic signs": 18}),
    ):  # fmt: skip
        kept.clear()
        outcome = part(setting)
        assert (outcome.status, outcome.details) == (OK, arrays)
        assert kept == {**arrays, "problems": []}


def test_a_training_that_does_not_repeat_fails(setting_on, small_batches, monkeypatch):
    calls = []

    def jittering(model):
        calls.append(model)
        return {"0.weight": np.full(9, len(calls))}

    monkeypatch.setattr(training, "state", jittering)
    outcome = training.repeat(setting_on(CPU, 40))
    assert outcome.status == FAILED
    assert outcome.line == "seed: 0.weight differs in 9 of 9 positions (and 2 more)"


def test_steps_that_are_not_captured_fail(setting_on, small_batches, monkeypatch):
    monkeypatch.setattr(STRICT, "graphs", None)
    monkeypatch.setattr(STRICT, "no_graphs", "no such driver")
    with pytest.warns(UserWarning, match="no such driver"):
        outcome = training.captured(setting_on(STRICT, 50))
    assert outcome.status == FAILED
    assert outcome.line.startswith("seed: not captured: the strict captures nothing, no such")


def test_rest_adds_a_smaller_last_batch():
    recipe = training.RECIPES["modern"]()
    _, loader = training.training(training.PlainSteps, recipe, CPU, few_images(660), rest=True)
    assert (loader.samples, len(loader)) == (650, 7)
    _, loader = training.training(training.PlainSteps, recipe, CPU, few_images(660), rest=False)
    assert (loader.samples, len(loader)) == (660, 6)


def test_differences_compare_bits():
    one = {"a": np.array([0.0, 1.0]), "b": np.array([np.nan])}
    assert training.differences(one, {k: v.copy() for k, v in one.items()}) == []
    assert training.differences(one, one | {"a": np.array([0.0, np.nextafter(1, 2)])}) == [
        "a differs in 1 of 2 positions"
    ]
    assert training.differences(one, one | {"a": np.array([-0.0, 1.0])})
    assert training.differences(one, {"a": one["a"]}) == ["the arrays are not the same: ['b']"]


def test_accuracy_is_compared_with_the_stored_runs(setting_on, monkeypatch):
    blank = np.zeros((60_000, 1, 1), np.uint8)
    mnist = ImageDataset("mnist", blank, blank[:, 0, 0], blank[:1], blank[:1, 0, 0])
    stored = {
        name: [row["acc_test"] for row in json.loads(
            (RESULTS / f"accuracy_{name}.json").read_text())["rows"]][:5]
        for name in ("seed", "modern")
    }  # fmt: skip
    off = 0.0
    monkeypatch.setattr(
        training, "trained_accuracy", lambda name, seed, setting: stored[name][seed] - off
    )
    setting = Setting(CPU, given=mnist)
    outcome = training.accuracy(setting)
    assert outcome.status == OK
    assert outcome.details["modern"] == {"gpu": stored["modern"], "cpu": stored["modern"]}
    off = 0.008  # more than the range of modern's seeds, less than that of the seed network's
    outcome = training.accuracy(setting)
    assert outcome.status == FAILED
    assert outcome.line.startswith("modern: GPU 0.9")
    assert "more)" not in outcome.line
    assert training.accuracy(setting_on(CPU)).status == NOT_RUN


def test_the_rule_of_accuracy():
    assert training.compare_accuracies([0.9], [0.85, 0.9, 0.95])[0] == ""
    problem, line = training.compare_accuracies([0.5, 0.6], [0.7, 0.71])
    assert problem == line
    assert line == (
        "GPU 0.5500 (standard deviation 0.0707, 2 seeds); CPU 0.7050 (standard deviation 0.0071, "
        "2 seeds): 0.1550 apart, 0.1000 allowed"
    )
    assert training.compare_accuracies([float("nan")], [0.7, 0.71])[0]
