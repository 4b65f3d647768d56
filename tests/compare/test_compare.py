"""The comparison: what it ranks, what it refuses to rank, the grid and the command."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from itertools import combinations

import numpy as np
import pandas as pd
import pytest
from fuzz_writer import killed_everywhere
from hypothesis import given
from hypothesis import strategies as st

from minibnn import (
    Activation,
    Adam,
    Bop,
    Function,
    Optimizer,
    OptimizerGroup,
    SignSTE,
    Ternary,
    load_sample,
)
from minibnn.__main__ import main
from minibnn.atomic_file import whole_file
from minibnn.compare import Entry, compare, parse_piece, rank
from minibnn.compare.ranking import _letters, student_quantile
from minibnn.layers.weighted import Weighted
from minibnn.recipes import RECIPES

# --- Ranking ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("p", "freedom", "t"),
    [  # from printed tables of the distribution
        (0.975, 1, 12.706),
        (0.975, 4, 2.776),
        (0.975, 10, 2.228),
        (0.995, 4, 4.604),
        (0.9995, 8, 5.041),
        (0.975, 120, 1.980),
        (0.95, 2, 2.920),
    ],
)
def test_student_quantile(p, freedom, t):
    assert student_quantile(p, freedom) == pytest.approx(t, abs=6e-4 * max(1, t))


def table(**scores):
    rows = [
        {"entry": e, "seed": i, "accuracy": v} for e, vs in scores.items() for i, v in enumerate(vs)
    ]
    return pd.DataFrame(rows)


def test_ranked_only_beyond_noise():
    ranking = rank(
        table(worse=[0.90, 0.91, 0.92], better=[0.93, 0.95, 0.91], far=[0.5, 0.51, 0.49])
    )
    assert list(ranking.index) == ["better", "worse", "far"]
    assert ranking.tied.to_dict() == {"better": "a", "worse": "a", "far": "b"}
    assert ranking["mean"]["far"] == pytest.approx(0.5)
    assert ranking["std"]["far"] == pytest.approx(0.01)
    assert ranking.seeds.to_list() == [3, 3, 3]


def test_welch_by_hand():
    """Means 3 and 0, variances 1 and 4, three runs each: t = 3 / sqrt(5/3) = 2.3238.

    Freedom (1/3 + 4/3)^2 / ((1/3)^2 / 2 + (4/3)^2 / 2) = 2.9412; its 97.5 % point is 3.2184:
    inside the noise. With means 5 and 0, t = 3.873: beyond.
    """
    assert rank(table(a=[2, 3, 4], b=[-2, 0, 2])).tied.to_list() == ["a", "a"]
    assert rank(table(a=[4, 5, 6], b=[-2, 0, 2])).tied.to_list() == ["a", "b"]
    # Two more entries make six pairs, and each has to be beyond the noise of its 99.6 % point, 7.0.
    four = rank(table(a=[4, 5, 6], b=[-2, 0, 2], c=[4, 5, 6], d=[-2, 0, 2]))
    assert four.tied.to_list() == ["a", "a", "a", "a"]


@pytest.mark.parametrize(
    ("one", "two", "gap"),
    [  # unequal numbers of seeds and unequal spreads; the gap is SciPy's, t.ppf(0.975, Welch) * se
        ([0, 1, 2], [-3, -2, 0, 2, 3], 3.1850817379),  # t at 5.58 degrees of freedom: 2.492
        ([0, 4], [0, 1, 2, 3, 4, 5, 6, 7], 14.4594058087),  # at 1.40: 6.634
        ([0, 5, 10], [0, 1, 2, 3], 11.6745043015),  # at 2.20: 3.947
        ([0, 1, 2, 3, 4, 5], [0, 3, 9], 10.3400251954),  # at 2.34: 3.755
    ],
)
def test_welch_with_unequal_counts(one, two, gap):
    """Means closer than Welch's interval are tied, those farther apart are not, to five digits.

    Student's degrees of freedom (n + m - 2) would end the first interval at 3.127, and the second
    at 5.026; swapped counts move all of them.
    """
    for first, second in ((one, two), (two, one)):
        for part, letters in ((1 - 1e-5, ["a", "a"]), (1 + 1e-5, ["a", "b"])):
            shift = np.mean(second) - np.mean(first) + gap * part
            ranking = rank(table(a=np.array(first) + shift, b=second))
            assert ranking.tied.to_list() == letters


def test_between_the_quantiles_of_student_and_welch():
    """Means 3 and 0, variances 1 and 4 as above, and 5 runs of the wider: t = 3 / sqrt(17/15).

    t = 2.818 lies beyond the 97.5 % point at Student's 6 degrees of freedom (2.447) and Welch's
    5.89 (2.458); with the counts swapped t = 2.371, inside of 2.83. With 3 runs of each and a gap
    of 3.9, t = 3.021 lies beyond Student's 2.776, but inside of Welch's 3.218.
    """
    wide = list(np.array([-3, -2, 0, 2, 3]) * 2 / np.sqrt(6.5))
    assert rank(table(a=[2, 3, 4], b=wide)).tied.to_list() == ["a", "b"]
    assert rank(table(b=wide, a=[2, 3, 4])).tied.to_dict() == {"a": "a", "b": "b"}
    assert rank(table(a=[2.9, 3.9, 4.9], b=[-2, 0, 2])).tied.to_list() == ["a", "a"]


def test_one_seed_is_never_ranked():
    assert rank(table(a=[0.9], b=[0.1])).tied.to_list() == ["a", "a"]
    assert rank(table(a=[0.9, 0.9], b=[0.1])).tied.to_list() == ["a", "a"]


def test_no_spread_at_all():
    assert rank(table(a=[0.9, 0.9], b=[0.1, 0.1], c=[0.1, 0.1])).tied.to_list() == ["a", "b", "b"]


@pytest.mark.parametrize("score", [0.1, 0.9, 0.7, 1 / 3, 1e-3, 123456.7])
def test_equal_scores_without_spread_are_tied_whatever_the_number_of_seeds(score):
    """The sum of n equal floats, divided by n, need not be that float, nor their spread 0."""
    ranking = rank(table(**{f"n{n}": [score] * n for n in range(2, 13)}))
    assert set(ranking.tied) == {"a"}
    assert set(ranking["mean"]) == {score}
    assert set(ranking["std"]) == {0.0}
    assert rank(table(a=[score] * 3, b=[score * (1 + 1e-9)] * 6)).tied.to_list() == ["a", "b"]


def test_one_of_two_without_spread():
    """Only b has noise: standard error 1, and the 97.5 % point at its 3 degrees is 3.182."""
    b = [-np.sqrt(3), np.sqrt(3), -np.sqrt(3), np.sqrt(3)]  # variance 4
    assert rank(table(a=[3.1] * 2, b=b)).tied.to_list() == ["a", "a"]
    assert rank(table(a=[3.3] * 2, b=b)).tied.to_list() == ["a", "b"]


@pytest.mark.parametrize("unit", [1e-200, 1e-100, 1e100, 1e200])
def test_the_unit_of_a_score_does_not_matter(unit):
    """Squares of squares of these spreads are 0 or infinite as floats."""
    for a, letters in (([2, 3, 4], ["a", "a"]), ([4, 5, 6], ["a", "b"])):
        scores = table(a=np.array(a) * unit, b=np.array([-2, 0, 2]) * unit)
        assert rank(scores).tied.to_list() == letters


def test_every_kind_of_score_and_entry():
    """Counts, float32 and flags are scores; an entry that is None is an entry; no runs, no rows."""
    for dtype in (int, np.float32, bool):
        runs = table(a=[1, 1], b=[0, 0, 0]).astype({"accuracy": dtype})
        ranking = rank(runs)
        assert ranking.tied.to_list() == ["a", "b"]
        assert ranking["mean"].to_list() == [1.0, 0.0]
        assert ranking["mean"].dtype == ranking["std"].dtype == np.float64
    nobody = pd.DataFrame({"entry": ["a", "a", None, None], "accuracy": [1.0, 1.0, 2.0, 2.0]})
    assert rank(nobody).seeds.to_list() == [2, 2]
    assert rank(table(a=[0.5])).drop(columns="std").to_dict("list") == {
        "mean": [0.5],
        "seeds": [1],
        "tied": ["a"],
    }
    assert list(rank(nobody[:0]).columns) == ["mean", "std", "seeds", "tied"]


def test_runs_that_agree_by_chance_are_no_proof():
    """Two runs of each on 500 images, alike to the image: one image apart is within rounding.

    With no spread beyond rounding's, 1 / 500 / sqrt(12), t = 1 / sqrt(1/12) = 3.46 for one image
    and 6.93 for two; the 97.5 % point at 2 degrees of freedom is 4.30.
    """
    one = table(a=[0.502, 0.502], b=[0.5, 0.5])
    assert rank(one, resolution=1 / 500).tied.to_list() == ["a", "a"]
    assert rank(one).tied.to_list() == ["a", "b"]
    two = table(a=[0.504, 0.504], b=[0.5, 0.5])
    assert rank(two, resolution=1 / 500).tied.to_list() == ["a", "b"]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_a_score_that_is_no_number_is_refused(score):
    with pytest.raises(ValueError, match=f"finite accuracy of every run, got {score} for 'b'"):
        rank(table(a=[0.5, 0.6], b=[0.5, score]))


def test_many_letters_stay_apart():
    """Thirty entries, each beyond the noise of all others: no word has a part of another."""
    words = _letters(30, set(combinations(range(30), 2)))
    assert {len(word) for word in words} == {1}
    assert len(set(words)) == 30


@given(st.integers(0, 9), st.data())
def test_letters_say_exactly_what_is_apart(count, data):
    pairs = list(combinations(range(count), 2))
    apart = set(data.draw(st.lists(st.sampled_from(pairs), unique=True))) if pairs else set()
    words = _letters(count, apart)
    assert len(words) == count
    assert all(words)
    for i, j in pairs:
        assert bool(set(words[i]) & set(words[j])) == ((i, j) not in apart)


# --- Pieces and entries -----------------------------------------------------------------------


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
        assert changed.lr == 0.25
        optimizer = changed.optimizer(changed.build().initialize(0), lambda t: 0.125)
        assert isinstance(optimizer, Adam)
        assert (optimizer.learning_rate, optimizer.beta1) == (0.125, 0.8)
    assert entry(optimizer="Adam").applied_to(recipe).lr == recipe.lr
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


def test_bop_leaves_the_rest_to_adam():
    recipe = RECIPES["modern"]()
    changed = entry(optimizer="Bop(1e-6)").applied_to(recipe)
    assert changed.lr == recipe.lr, "Bop's first argument is no learning rate"
    model = changed.build().initialize(0)
    optimizer = changed.optimizer(model, lambda t: 0.125)
    assert isinstance(optimizer, OptimizerGroup)
    bop, adam = optimizer.optimizers
    assert isinstance(bop, Bop)
    assert bop.threshold == 1e-6
    assert {p.name for p in bop.parameters} == {"weight"}
    assert {p.name for p in adam.parameters} == {"gamma", "beta"}


# --- The grid ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def split():
    sample = load_sample().validation_split(500, np.random.default_rng(0))
    few = slice(600)
    return replace(
        sample, train_images=sample.train_images[few], train_labels=sample.train_labels[few]
    )


RECIPE = replace(RECIPES["modern"](), epochs=1)


def test_the_grid_runs_every_entry_for_every_seed(split):
    seen = []
    entries = [entry(), entry("ApproxSign")]
    runs = compare(RECIPE, entries, split, seeds=2, on_run=lambda r: seen.append(len(r)))
    assert runs.entry.to_list() == ["the recipe as it is", "ApproxSign"] * 2
    assert runs.seed.to_list() == [0, 0, 1, 1]
    assert seen == [1, 2, 3, 4]
    assert runs.accuracy.between(0.15, 1).all()
    _, history = RECIPE.train(split, seed=1, progress=False)
    assert runs.accuracy[2] == history.acc_test[1], "the recipe's own training, its last epoch"


def test_a_recipe_that_chooses_its_epoch_is_compared_at_its_last(split):
    choosing = replace(RECIPE, held_out=100)
    runs = [compare(recipe, [entry()], split, seeds=1) for recipe in (RECIPE, choosing)]
    assert runs[0].loss[0] == runs[1].loss[0]


@pytest.mark.filterwarnings("ignore:overflow")
def test_a_run_that_diverges_counts_as_zero(split):
    unbounded = replace(RECIPES["seed"](), epochs=1)
    runs = compare(unbounded, [entry(weights="Identity", optimizer="SGD(1e30)")], split, seeds=1)
    assert runs.accuracy.to_list() == [0.0]
    assert np.isinf(runs.loss[0])


def test_bad_grids(split):
    with pytest.raises(ValueError, match="at least one entry"):
        compare(RECIPE, [], split, seeds=1)
    with pytest.raises(ValueError, match="each entry once, got twice: SignSTE"):
        compare(RECIPE, [entry("SignSTE"), entry("SignSTE")], split, seeds=1)
    with pytest.raises(ValueError, match="at least 1 seed"):
        compare(RECIPE, [entry()], split, seeds=0)
    with pytest.raises(ValueError, match="at least 1 epoch"):
        compare(replace(RECIPE, epochs=0), [entry()], split, seeds=1)
    with pytest.raises(ValueError, match=r"SignSTE.*unexpected keyword argument 'depth'"):
        compare(RECIPE, [entry(), entry("SignSTE(depth=1)")], split, seeds=1, on_run=pytest.fail)


# --- The command ------------------------------------------------------------------------------


def run(tmp_path, *arguments):
    common = ["--dataset", "sample", "--epochs", "1", "--out", str(tmp_path / "out")]
    return main(["compare", *common, *arguments])


def test_command(tmp_path, capsys):
    code = run(tmp_path, "--quantizers", "SignSTE(clip=1.0)", "ReLU", "--seeds", "2",
               "--optimizers", "Adam", "--held-out", "3000")  # fmt: skip
    printed = capsys.readouterr().out
    assert code == 0
    assert "modern on MNIST sample" in printed
    assert "3,000 training images held out" in printed
    out = tmp_path / "out"
    assert sorted(p.name for p in out.iterdir()) == [
        "comparison.png", "config.json", "runs.csv", "table.txt",
    ]  # fmt: skip
    assert (out / "table.txt").read_text() == printed
    runs = pd.read_csv(out / "runs.csv")
    assert runs.entry.to_list() == ["SignSTE(clip=1.0) + Adam", "ReLU + Adam"] * 2
    config = json.loads((out / "config.json").read_text())
    assert (config["seeds"], config["epochs"], config["held_out"]) == (2, 1, 3000)


def test_command_does_not_rank_one_seed(tmp_path, capsys):
    assert run(tmp_path, "--quantizers", "SignSTE(clip=1.0)", "ApproxSign", "--seeds", "1") == 0
    printed = capsys.readouterr().out
    assert "not ranked: one seed says nothing about noise" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quantizers", "Sine"], "got 'Sine'"),
        (["--seeds", "0"], "at least 1 seed"),
        (["--held-out", "0"], "validation_split: expected count"),
        (["--epochs", "0"], "at least 1 epoch"),
        (["--quantizers", "SignSTE(clip='a')"], "SignSTE(clip='a'): "),
        (["--quantizers", "SignSTE(clip=-1)"], "expected clip to be a positive number"),
        (["--quantizers", "SignSTE(depth=1)"], "unexpected keyword argument 'depth'"),
    ],
)
def test_command_errors(tmp_path, capsys, arguments, message):
    assert run(tmp_path, *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists(), "an earlier comparison there stays whole"


def test_the_command_knows_how_coarse_an_accuracy_is(tmp_path, capsys, monkeypatch):
    runs = table(ApproxSign=[0.5, 0.5], SwishSign=[0.5 + 1 / 666] * 2).assign(loss=0.0)
    monkeypatch.setattr("minibnn.compare.command.compare", lambda *a, **k: runs)
    assert run(tmp_path, "--seeds", "2") == 0
    assert "666 training images held out" in (printed := capsys.readouterr().out)
    assert "not ranked: every difference lies inside the noise" in printed


def test_a_folder_that_cannot_be_made(tmp_path, capsys):
    (tmp_path / "out").write_text("a file")
    assert run(tmp_path, "--seeds", "1") == 1
    assert "out" in capsys.readouterr().err


def test_a_diverged_run_is_told(tmp_path, capsys):
    options = ["--recipe", "seed", "--weight-quantizers", "Identity", "--optimizers", "SGD(1e30)"]
    assert run(tmp_path, *options, "--seeds", "1") == 0
    said = capsys.readouterr()
    assert "SGD(1e30), seed 0: diverged, counts as 0" in said.err
    assert said.out.endswith("1 run diverged and counts as 0\n")


def test_very_long_names_leave_room_for_the_picture(tmp_path):
    name = "SignSTE(clip=1." + "0" * 120 + ")"
    assert run(tmp_path, "--quantizers", name, "--seeds", "1") == 0  # a warning is an error here


@pytest.mark.skipif(sys.platform == "win32", reason="signals work otherwise there")
@pytest.mark.parametrize("finished", [0, 1])
def test_ctrl_c_keeps_the_runs_so_far(tmp_path, capsys, monkeypatch, finished):
    step, steps = Adam.step, []

    def interrupted(self, **options):
        steps.append(self)
        if len({id(optimizer) for optimizer in steps}) > finished:
            signal.raise_signal(signal.SIGINT)
        step(self, **options)

    out = tmp_path / "out"
    out.mkdir()
    for stale in ("runs.csv", "table.txt", "comparison.png"):
        (out / stale).write_text("of an earlier comparison")
    monkeypatch.setattr(Adam, "step", interrupted)
    assert run(tmp_path, "--quantizers", "SignSTE", "--seeds", "3") == 130
    said = capsys.readouterr()
    assert said.out == ""
    for earlier in ("runs.csv", "table.txt", "comparison.png"):
        assert (out / earlier).read_text() == "of an earlier comparison"
    if finished:
        new = out / "unfinished"
        assert f"interrupted; the runs so far are in {new / 'runs.csv'}" in said.err
        assert sorted(p.name for p in new.iterdir()) == ["config.json", "runs.csv"]
        assert len(pd.read_csv(new / "runs.csv")) == 1
    else:
        assert "interrupted; no run was finished" in said.err
        assert len(list(out.iterdir())) == 3


def test_ctrl_c_while_the_picture_is_drawn(tmp_path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("minibnn.compare.command.plot_comparison", interrupted)
    assert run(tmp_path, "--quantizers", "SignSTE", "--seeds", "1") == 130
    said = capsys.readouterr()
    runs = tmp_path / "out" / "runs.csv"
    assert f"interrupted; the runs so far are in {runs}" in said.err
    assert len(pd.read_csv(runs)) == 1


@pytest.mark.skipif(os.name != "posix", reason="the steps are counted as they are there")
def test_a_kill_at_any_step_hurts_no_result(tmp_path, monkeypatch):
    def compare(*arguments, on_run, **options):
        runs = table(ApproxSign=[0.5, 0.5], SwishSign=[0.75, 0.5]).assign(loss=0.0, seconds=1.0)
        for count in range(1, len(runs) + 1):
            on_run(runs[:count])
        return runs

    def plot(runs, ranking, path, **options):
        with whole_file(path) as file:
            file.write(b"picture")

    def run_into(out):
        words = ["compare", "--dataset", "sample", "--seeds", "2", "--held-out", "100"]
        monkeypatch.chdir(out)  # the settings name the folder
        assert main([*words, "--out", "."]) == 0

    monkeypatch.setattr("minibnn.compare.command.compare", compare)
    monkeypatch.setattr("minibnn.compare.command.plot_comparison", plot)
    names = ["runs.csv", "table.txt", "comparison.png", "config.json"]
    assert killed_everywhere(tmp_path, run_into, names) > 40


def test_help_and_unknown_recipe(capsys):
    for arguments in (["--help"], ["compare", "--help"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    assert "SignSTE(clip=1.0)" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stop:
        main(["compare", "--recipe", "mordern"])
    assert stop.value.code == 2
