"""Advice of the estimators for scikit-learn, of the default network, and about numbers: followed."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from advice import advised
from coded_tables import of_numbers, table

from minibnn import export_c, export_html, export_onnx, pack
from minibnn.default_network import default_network

X, LABELS = np.arange(40.0)[:, None], np.arange(40) // 20


@pytest.fixture
def estimators():
    pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn is not installed")
    import minibnn.sklearn

    return minibnn.sklearn


@pytest.fixture
def classifier(estimators):
    def classifier(**changes):
        given = {"hidden": (8,), "epochs": 2, "random_state": 0, **changes}
        return estimators.BinaryNetClassifier(**given)

    return classifier


def test_weights_of_samples(classifier):
    weights = np.where(np.arange(40) == 3, -1, 1)
    with advised("sklearn", "leave such samples out"):
        classifier().fit(X, LABELS, weights)
    rows = weights >= 0
    classifier().fit(X[rows], LABELS[rows], weights[rows])
    with advised("sklearn", "give more samples a weight"):
        classifier().fit(X, LABELS, np.arange(40) == 3)
    classifier().fit(X, LABELS, np.arange(40) >= 3)


def test_numbers_of_another_kind(classifier):
    with advised("sklearn", "use X.astype('uint8') for whole numbers from 0 to 255, or another encoding"):  # fmt: skip
        classifier(encoding="bytes").fit(X, LABELS)
    fitted = classifier(encoding="bytes").fit(X.astype("uint8"), LABELS)
    classifier(encoding="uniform").fit(X, LABELS)
    with advised("sklearn", "for other numbers fit it to X.astype('float32')"):
        fitted.predict([[2.5]])
    classifier().fit(X.astype("float32"), LABELS).predict([[2.5]])


def test_classes(classifier):
    with advised("sklearn", "give it samples of another one"):
        classifier().fit(X[:20], LABELS[:20])
    classifier().fit(X[:21], LABELS[:21])
    with advised("sklearn", "write partial_fit(X, y, classes=np.unique(all_labels))"):
        classifier().partial_fit(X, LABELS)
    net = classifier().partial_fit(X, LABELS, classes=np.unique(LABELS))
    with advised("sklearn", "make another estimator for other classes"):
        net.partial_fit(X, LABELS, classes=[0, 1, 2])
    classifier().partial_fit(X, LABELS, classes=[0, 1, 2])
    with advised("sklearn", "name all classes in the first call of partial_fit"):
        net.partial_fit(X, LABELS + 1)
    classifier().partial_fit(X, LABELS, classes=[0, 1, 2]).partial_fit(X, LABELS + 1)


def test_balanced_classes_in_parts(classifier):
    with advised("sklearn", "write dict(zip(classes, compute_class_weight('balanced', classes=classes, y=all_labels)))") as caught:  # fmt: skip
        classifier(class_weight="balanced").partial_fit(X, LABELS, classes=[0, 1])
    from sklearn.utils import compute_class_weight

    expression = caught.text.partition("; write ")[2]
    names = {"compute_class_weight": compute_class_weight, "all_labels": LABELS}
    weights = eval(expression, names | {"classes": np.unique(LABELS)})
    classifier(class_weight=weights).partial_fit(X, LABELS, classes=[0, 1])


def test_other_numbers_than_in_the_first_call(estimators):
    net = estimators.BinaryNetRegressor((8,)).partial_fit(X, X[:, 0])
    with advised("sklearn", "make another estimator for others"):
        net.partial_fit(X, np.hstack([X, X]))
    estimators.BinaryNetRegressor((8,)).partial_fit(X, np.hstack([X, X]))


def test_the_package_has_its_own_name(estimators, monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "minibnn.sklearn")
    with advised("sklearn", "minibnn.sklearn needs scikit-learn 1.6 or later ({}): pip install scikit-learn"):  # fmt: skip
        import minibnn.sklearn
    monkeypatch.undo()
    import minibnn.sklearn

    assert minibnn.sklearn.BinaryNetClassifier


def test_samples_of_too_many_axes():
    x = np.zeros((4, 2, 2, 2, 2), np.float32)
    with advised("default_network", "use x.reshape(len(x), -1)"):
        default_network(x.shape[1:], 2)
    default_network(x.reshape(len(x), -1).shape[1:], 2)


def test_numbers_have_no_classes(tmp_path):
    with advised("packed", "leave class_names out, or numbers"):
        pack(of_numbers(2), class_names=["a", "b"], numbers=True)
    pack(of_numbers(2), class_names=["a", "b"])
    packed = pack(of_numbers(2), numbers=True)
    for export in (export_html, export_onnx):
        with advised("export", "use export_c"):
            export(packed, tmp_path / "file")
    export_c(packed, tmp_path / "file")
    assert packed.predict(table()[0]).shape == (60, 2)
