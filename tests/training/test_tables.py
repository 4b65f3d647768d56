"""examples/tables.py: a task of each kind on real tables, from the first epoch to predictions."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from checkpointed import killed_after_save

from minibnn import Checkpoint, confusion_matrix, diagnose, evaluate

pytest.importorskip("sklearn", reason="the tables are scikit-learn's, which is not installed")
EXAMPLE = runpy.run_path(str(Path(__file__).parents[2] / "examples" / "tables.py"))
TABLES = list(EXAMPLE["TABLES"])
# The metric, and what it reaches without a look at the features: the mean, or the larger class.
BASELINES = {
    "diabetes": ("r2", 0.0),
    "breast-cancer": ("f1", 0.77),
    "digits": ("label_accuracy", 0.56),
}


@pytest.fixture(scope="module", params=TABLES)
def trained(request):
    table = EXAMPLE["TABLES"][request.param]()
    return request.param, table, EXAMPLE["train"](table)


def test_it_learns_and_stops_early(trained):
    name, table, (model, history, stop, test) = trained
    assert history.attrs["stopped"]
    best = history["loss_validation"].min()
    assert len(history) == stop.best_epoch + stop.patience
    assert history["loss_validation"][stop.best_epoch] == stop.best == best
    metric, baseline = BASELINES[name]
    measured = evaluate(model, test, table.loss, metrics=table.metrics)
    assert getattr(measured, metric) > baseline + 0.15


def test_predictions_have_the_form_of_the_targets(trained):
    _, table, (model, _, _, test) = trained
    x, targets = test.arrays
    predicted = model.predict(x, loss=table.loss)
    assert predicted.shape == targets.shape
    if targets.dtype.kind == "f":
        assert np.corrcoef(predicted, targets)[0, 1] > 0.5
    else:
        assert set(np.unique(predicted)) == {0, 1}
        assert (predicted == targets).mean() > 0.85


def test_the_diagnosis_understands_it(trained):
    _, table, (model, _, _, test) = trained
    found = diagnose(model, test, loss=table.loss)
    assert found.samples == len(test.arrays[0])
    assert found.ok, str(found)


def test_classes_have_a_confusion_matrix(trained):
    name, table, (model, _, _, test) = trained
    if name != "breast-cancer":
        with pytest.raises(TypeError, match="expected a loss for one class a sample"):
            confusion_matrix(model, test, table.loss)
        return
    counts = confusion_matrix(model, test, table.loss)
    assert counts.to_numpy().trace() / len(test.arrays[0]) == evaluate(model, test, table.loss)[1]


@pytest.mark.parametrize("saved", [1, 12])
@pytest.mark.parametrize("name", TABLES)
def test_a_killed_training_is_resumed_to_the_same_bytes(name, saved, tmp_path):
    table, path = EXAMPLE["TABLES"][name](), tmp_path / "run.safetensors"
    model, history, stop, _ = EXAMPLE["train"](table, 20)
    with killed_after_save(saved):
        EXAMPLE["train"](table, 20, checkpoint=Checkpoint(path))
    resumed = EXAMPLE["train"](table, 20, checkpoint=Checkpoint(path, resume=True))
    for (_, one), (_, other) in zip(
        model.named_parameters(), resumed[0].named_parameters(), strict=True
    ):
        assert one.data.tobytes() == other.data.tobytes()
    assert history.to_numpy().tobytes() == resumed[1].to_numpy().tobytes()
    assert (stop.best, stop.best_epoch) == (resumed[2].best, resumed[2].best_epoch)
