"""Pieces, entries, and runs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from recipes_to_send import few_digits

from minibnn import (
    Activation,
    Adam,
    Bop,
    Function,
    Optimizer,
    OptimizerGroup,
    SignSTE,
    Ternary,
)
from minibnn.comparison.grid import Entry, Run, parse_piece, runs_of
from minibnn.layers.weighted import Weighted
from minibnn.recipes import RECIPES


def test_pieces():
    assert parse_piece("SignSTE", Function).make() == SignSTE()
    assert parse_piece(" SignSTE(clip=0.5) ", Function).make() == SignSTE(clip=0.5)
    assert parse_piece("Ternary(0.1)", Function).make() == Ternary(0.1)
    assert parse_piece("Ternary( 0.1,\n clip=2 )", Function).text == "Ternary( 0.1, clip=2 )"


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("Sine", Function, "got 'Sine'; there are: .*ApproxSign"),
        ("Adam", Function, "one of minibnn's functions, got 'Adam'"),
        ("Function", Function, "got 'Function'"),
        ("SignSTE", Optimizer, "one of minibnn's optimizers.*Adam"),
        ("SignSTE(clip=open('x'))", Function, "expected a name, or a call"),
        ("os.system('x')", Function, "expected a name, or a call"),
        ("SignSTE(", Function, "expected a name, or a call"),
        ("SignSTE({[]: 1})", Function, "expected a name, or a call"),
        ("SignSTE(**{'clip': 1})", Function, "expected a name, or a call"),
        ("SignSTE(" + "-" * 9999 + "1)", Function, "expected a name, or a call"),
        ("OptimizerGroup", Optimizer, "one of minibnn's optimizers, got 'OptimizerGroup'"),
        ("", Function, "expected a name, or a call"),
    ],
)
def test_bad_pieces(text, kind, message):
    with pytest.raises(ValueError, match=message):
        parse_piece(text, kind)


def entry(quantizer=None, weights=None, optimizer=None):
    return Entry(
        quantizer and parse_piece(quantizer, Function),
        weights and parse_piece(weights, Function),
        optimizer and parse_piece(optimizer, Optimizer),
    )


def test_an_entry_replaces_hidden_signs_and_binary_weights():
    recipe = entry("SignSTE(clip=0.7)", "Ternary(0.2)").applied_to(RECIPES["finn-tfc"]())
    layers = list(recipe.build())
    functions = [layer.function for layer in layers if isinstance(layer, Activation)]
    assert functions == [SignSTE(), *[SignSTE(clip=0.7)] * 3], "the input's own sign stays"
    weighted = [layer for layer in layers if isinstance(layer, Weighted)]
    assert [w.weight_quantizer for w in weighted] == [Ternary(0.2)] * 4


def test_an_entry_reaches_into_containers_and_leaves_the_recipe_alone():
    recipe = RECIPES["direct-feedback"]()
    changed = entry("SignSTE(clip=0.7)").applied_to(recipe)
    found = [
        layer.function.clip
        for r in (changed, recipe)
        for block in r.build()
        for layer in block
        if isinstance(layer, Activation)
    ]
    assert found == [0.7, 0.7, 1.0, 1.0]


def test_an_entry_replaces_the_optimiser_and_its_rate():
    recipe = RECIPES["modern"]()
    for text in ("Adam(0.25, beta1=0.8)", "Adam(learning_rate=0.25, beta1=0.8)"):
        changed = entry(optimizer=text).applied_to(recipe)
        assert changed.learning_rate == 0.25
        optimizer = changed.optimizer(changed.build().initialize(0), lambda t: 0.125)
        assert isinstance(optimizer, Adam)
        assert (optimizer.learning_rate, optimizer.beta1) == (0.125, 0.8)
    assert entry(optimizer="Adam").applied_to(recipe).learning_rate == recipe.learning_rate
    changed = entry(optimizer="Adam(0.25, 0.8, beta2=0.9)").applied_to(recipe)
    optimizer = changed.optimizer(changed.build().initialize(0), lambda t: 0.125)
    assert (optimizer.beta1, optimizer.beta2) == (0.8, 0.9), "positional ones are not lost"


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("Adam(0.1, learning_rate=0.2)", r"expected one learning rate, got two: \[0.1, 0.2\]"),
        ("Adam(-1)", r"Adam\(-1\): expected a positive learning rate, got -1"),
        ("Adam('fast')", "expected a positive learning rate, got 'fast'"),
        ("Adam(beta1=2)", r"Adam\(beta1=2\): Adam: expected beta1, beta2 in \[0, 1\)"),
        ("Adam(1, 2, 3, 4, 5, 6)", r"6\): Adam.__init__\(\) takes"),
        ("Bop(gamma=3)", r"Bop\(gamma=3\): Bop: expected gamma"),
    ],
)
def test_optimisers_are_tried_out_before_the_first_run(optimizer, message):
    with pytest.raises(ValueError, match=message):
        entry(optimizer=optimizer).require_usable(RECIPES["modern"]())


def test_an_entry_that_would_change_nothing_is_refused():
    recipe = RECIPES["binaryconnect"]()  # its activations are ReLU
    with pytest.raises(ValueError, match=r"ApproxSign: expected activations of one bit.*has none"):
        entry("ApproxSign").require_usable(recipe)
    entry(weights="SignSTE").require_usable(recipe)
    with pytest.raises(ValueError, match="Bop: expected weights of one bit"):
        entry(weights="Ternary", optimizer="Bop").require_usable(recipe)


def test_pieces_reach_into_residual_blocks():
    model = entry("SwishSign", weights="Ternary").applied_to(RECIPES["bi-real"]()).build()
    blocks = [model[5].block, *(branch.block for branch in model[6].branches), model[7].block]
    signs = [block[0].function for block in blocks] + [model[8].function]
    assert [repr(sign) for sign in signs] == ["SwishSign(beta=5.0)"] * 5
    layers = [model[2], *(block[1] for block in blocks), model[10]]
    assert {repr(layer.weight_quantizer)[:8] for layer in layers} == {"Ternary("}


def test_bop_leaves_the_rest_to_adam():
    recipe = RECIPES["modern"]()
    changed = entry(optimizer="Bop(1e-6)").applied_to(recipe)
    assert changed.learning_rate == recipe.learning_rate, "Bop's first argument is no learning rate"
    model = changed.build().initialize(0)
    optimizer = changed.optimizer(model, lambda t: 0.125)
    assert isinstance(optimizer, OptimizerGroup)
    bop, adam = optimizer.optimizers
    assert isinstance(bop, Bop)
    assert bop.threshold == 1e-6
    assert {p.name for p in bop.parameters} == {"weight"}
    assert {p.name for p in adam.parameters} == {"gamma", "beta"}


DATA = few_digits()
RECIPE = replace(RECIPES["modern"](), epochs=1)


def row(recipe, entry, seed=0):
    return Run(0, entry, seed).train(recipe, DATA, "cpu")


def test_a_run_is_the_recipes_own_training_at_its_last_epoch():
    _, history = RECIPE.train(DATA, seed=1, progress=False)
    found = row(RECIPE, entry(), 1)
    assert (found["entry"], found["seed"]) == ("the recipe as it is", 1)
    assert found["accuracy"] == history.acc_test[1]
    assert found["loss_train"] == history.loss_train[1]
    choosing = replace(RECIPE, held_out=100)
    assert row(choosing, entry())["loss"] == row(RECIPE, entry())["loss"]


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_run_that_diverges_counts_as_zero():
    unbounded = replace(RECIPES["seed"](), epochs=1)
    found = row(unbounded, entry(weights="Identity", optimizer="SGD(1e30)"))
    assert (found["accuracy"], found["loss"]) == (0.0, np.inf)


def test_the_runs_of_a_seed_come_together():
    runs = runs_of([entry(), entry("ApproxSign")], 2)
    assert [(run.number, str(run)) for run in runs] == [
        (0, "the recipe as it is, seed 0"),
        (1, "ApproxSign, seed 0"),
        (2, "the recipe as it is, seed 1"),
        (3, "ApproxSign, seed 1"),
    ]
