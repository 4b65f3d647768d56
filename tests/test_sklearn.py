"""The estimators: scikit-learn's own checks, and what these do not look at."""

from __future__ import annotations

import pickle
import sys

import numpy as np
import pandas as pd
import pytest

from minibnn import disagreements, load_packed, save_packed

pytest.importorskip("sklearn", minversion="1.6", reason="scikit-learn is not installed")


def given(module, *names):
    """What a module of scikit-learn has; it may be missing."""
    found = pytest.importorskip(module)
    return [getattr(found, name) for name in names]


(clone,) = given("sklearn.base", "clone")
load_diabetes, load_iris, load_wine = given(
    "sklearn.datasets", "load_diabetes", "load_iris", "load_wine"
)
GridSearchCV, cross_val_score, train_test_split = given(
    "sklearn.model_selection", "GridSearchCV", "cross_val_score", "train_test_split"
)
(make_pipeline,) = given("sklearn.pipeline", "make_pipeline")
OrdinalEncoder, StandardScaler = given("sklearn.preprocessing", "OrdinalEncoder", "StandardScaler")
(parametrize_with_checks,) = given("sklearn.utils.estimator_checks", "parametrize_with_checks")

BinaryNetClassifier, BinaryNetRegressor = given(
    "minibnn.sklearn", "BinaryNetClassifier", "BinaryNetRegressor"
)

# As scikit-learn lists it for its own SGDClassifier and SGDRegressor.
EXPECTED_FAILURES = {
    "check_sample_weight_equivalence_on_dense_data": "batches of other samples are drawn"
}


def quick(**changes):
    return BinaryNetClassifier(**{"hidden": (32,), "epochs": 20, "random_state": 0, **changes})


def quick_numbers(**changes):
    return BinaryNetRegressor(**{"hidden": (32,), "epochs": 20, "random_state": 0, **changes})


@parametrize_with_checks(
    [BinaryNetClassifier((16,), epochs=15), BinaryNetRegressor((16,), epochs=15)],
    expected_failed_checks=lambda _: EXPECTED_FAILURES,
)
def test_scikit_learns_checks(estimator, check):
    if getattr(check, "func", check).__name__ == "check_class_weight_classifiers":
        estimator.set_params(epochs=None)  # it needs the usual training
    check(estimator)


@pytest.fixture(scope="module")
def wine():
    """Wines with string classes, as DataFrames: training and test."""
    data = load_wine(as_frame=True)
    classes = data.target.map(dict(enumerate(["barolo", "grignolino", "barbera"])))
    return train_test_split(data.data, classes, random_state=0, stratify=classes)


@pytest.fixture(scope="module")
def fitted(wine):
    return quick().fit(wine[0], wine[2])


# --- classes --------------------------------------------------------------------------------------


def test_names_go_all_the_way_into_the_packed_model(wine, fitted, tmp_path):
    X, X_test, _, y_test = wine
    assert fitted.score(X_test, y_test) > 0.9
    assert fitted.classes_.tolist() == ["barbera", "barolo", "grignolino"]
    save_packed(fitted.pack(), tmp_path / "wine.safetensors")
    packed = load_packed(tmp_path / "wine.safetensors")
    assert packed.feature_names == tuple(X.columns)
    assert packed.class_names == ("barbera", "barolo", "grignolino")
    samples = X_test.to_numpy(np.float32)
    assert packed.predict(samples, names=True).tolist() == fitted.predict(X_test).tolist()
    assert disagreements(fitted.model_, packed, samples).labels == 0


def test_probabilities_are_the_softmax_of_the_outputs(wine, fitted):
    probabilities = fitted.predict_proba(wine[1])
    logits = fitted.model_.predict(wine[1].to_numpy(np.float32)).astype(np.float64)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-9)
    labels = fitted.classes_[probabilities.argmax(axis=1)]
    assert labels.tolist() == fitted.predict(wine[1]).tolist()


def test_one_random_state_gives_one_network(wine, fitted):
    X, X_test, y, _ = wine
    again, other = quick().fit(X, y), quick(random_state=1).fit(X, y)
    np.testing.assert_array_equal(again.predict_proba(X_test), fitted.predict_proba(X_test))
    assert (other.predict_proba(X_test) != fitted.predict_proba(X_test)).any()


def test_a_pickled_one_gives_the_same_and_can_learn_on(wine, fitted):
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict_proba(wine[1]), fitted.predict_proba(wine[1]))
    again.partial_fit(wine[0], wine[2])
    assert (again.predict_proba(wine[1]) != fitted.predict_proba(wine[1])).any()
    assert again.pack().sha256 != fitted.pack().sha256


def test_pipelines_grid_searches_and_cross_validation(wine):
    X, X_test, y, y_test = wine
    pipeline = make_pipeline(StandardScaler(), quick())
    name = "binarynetclassifier__"
    grid = {f"{name}hidden": [(16,), (32,)], f"{name}encoding": ["thermometer", "uniform"]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert len(search.cv_results_["params"]) == 4
    assert search.score(X_test, y_test) > 0.85
    assert search.best_estimator_[-1].pack().class_names == ("barbera", "barolo", "grignolino")
    assert (cross_val_score(quick(), X, y, cv=3) > 0.8).all()
    assert clone(quick(bits=5)).get_params() == quick(bits=5).get_params()


def test_it_says_what_it_is_in_a_notebook(fitted):
    html = fitted._repr_html_()
    assert "BinaryNetClassifier" in html
    assert "hidden" in html


@pytest.mark.parametrize(
    ("encoding", "kind", "stage"),
    [("auto", "Thermometer", "code"), ("one-hot", "OneHotCode", "code"),
     ("bytes", "Rescale", "dense"), ("uniform", "Thermometer", "code")],
)  # fmt: skip
def test_encodings(encoding, kind, stage):
    X, y = load_iris(return_X_y=True)
    X = (10 * X).astype(np.uint8)
    net = quick(encoding=encoding, bits=5).fit(X, y)
    assert type(net.model_[0]).__name__ == kind
    packed = net.pack()
    assert (packed.stages[0].kind, packed.input_dtype) == (stage, "uint8")
    np.testing.assert_array_equal(packed.predict(X), net.predict(X))
    assert net.score(X, y) > 0.8


def test_categories_of_a_table_are_coded(wine):
    colours = pd.DataFrame({"colour": ["red", "white", "rose", "red"] * 20, "sweet": [0, 1] * 40})
    y = np.where(colours.colour == "white", "fish", "meat")
    net = make_pipeline(OrdinalEncoder(), quick(encoding="one-hot")).fit(colours, y)
    assert net.score(colours, y) == 1
    assert net[-1].model_[0].signs == 3


def test_whole_numbers_stay_what_they_are(wine):
    """A sensor's numbers go into the packed model as they come."""
    X, y = load_iris(return_X_y=True)
    X = (100 * X).astype(np.int16)
    net = quick().fit(X, y)
    assert net.pack().input_dtype == "int16"
    np.testing.assert_array_equal(net.predict(X.astype(float)), net.pack().predict(X))
    assert quick().fit(X.astype(np.int64), y).pack().input_dtype == "float32"


def test_early_stopping_holds_out_and_keeps_the_best(wine):
    X, _, y, _ = wine
    net = quick(epochs=200, early_stopping=True, validation_fraction=0.3, patience=3).fit(X, y)
    assert net.n_iter_ == len(net.history_) < 200
    assert net.history_["loss_validation"].argmin() == net.n_iter_ - 4
    # The code is fitted to the samples that are left.
    whole = quick(epochs=1).fit(X, y).model_[0].thresholds.data
    assert (net.model_[0].thresholds.data != whole).any()
    assert len(quick(epochs=4, early_stopping=True).fit(X, y).history_) == 4


def test_what_is_held_out_is_not_learnt():
    """Labels without any relation to the samples can only be learnt by heart."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((120, 6)), rng.integers(0, 2, 120)
    net = quick(epochs=60, early_stopping=True, validation_fraction=0.3, patience=60).fit(X, y)
    assert net.history_["loss_validation"].min() > 0.5
    assert net.history_["loss"].min() < 0.5


def test_partial_fit_learns_from_parts(wine):
    X, X_test, y, y_test = wine
    net = quick(learning_rate=0.01)
    for _ in range(10):
        for part in range(3):
            net.partial_fit(X[part::3], y[part::3], classes=np.unique(y))
    assert net.n_iter_ == 30
    assert net.score(X_test, y_test) > 0.85
    before = net.model_[0].thresholds.data.copy()
    net.partial_fit(X[:2], y[:2])
    np.testing.assert_array_equal(net.model_[0].thresholds.data, before)
    # A second `fit` begins anew.
    assert net.fit(X, y).n_iter_ == 20
    again = quick(learning_rate=0.01).fit(X, y)
    np.testing.assert_array_equal(net.predict_proba(X_test), again.predict_proba(X_test))


def test_a_class_that_comes_later_has_an_output(wine):
    X, _, y, _ = wine
    first = (y != "barolo").to_numpy()
    net = quick().partial_fit(X[first], y[first], classes=["barbera", "barolo", "grignolino"])
    assert net.predict_proba(X).shape[1] == 3


def test_weights_of_classes_and_of_samples(wine):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 2))
    y = np.where(X[:, 0] + rng.standard_normal(200) > 1.5, "rare", "usual")
    plain = quick().fit(X, y).predict(X) == "rare"
    balanced = quick(class_weight="balanced").fit(X, y).predict(X) == "rare"
    given = quick(class_weight={"rare": 1e-3}).fit(X, y).predict(X) == "rare"
    weighed = quick().fit(X, y, sample_weight=np.where(y == "rare", 10, 1)).predict(X) == "rare"
    assert given.sum() == 0
    assert plain.sum() < min(balanced.sum(), weighed.sum())
    # Samples of weight 0 are as if they were not there.
    rows = np.arange(200) < 150
    one, other = quick().fit(X, y, sample_weight=rows), quick().fit(X[rows], y[rows], np.ones(150))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


@pytest.mark.parametrize("n", [2, 3, 5, 33])
def test_no_batch_has_a_single_sample(n):
    X = np.arange(n, dtype=float)[:, None]
    assert quick(hidden=(8,), epochs=2).fit(X, np.arange(n) % 2).n_iter_ == 2
    assert quick(hidden=(8,), epochs=2, batch_size=1).fit(X, np.arange(n) % 2).n_iter_ == 2


def test_missing_values_are_refused(wine, fitted):
    X = wine[1].copy()
    X.iloc[0, 0] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        fitted.predict(X)
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(wine[1].iloc[:, ::-1])


# --- numbers --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def diabetes():
    return train_test_split(*load_diabetes(return_X_y=True, as_frame=True), random_state=0)


@pytest.fixture(scope="module")
def regressor(diabetes):
    return quick_numbers(epochs=60).fit(diabetes[0], diabetes[2])


def test_numbers_are_in_the_unit_of_the_targets(diabetes, regressor):
    _, X_test, _, y_test = diabetes
    assert regressor.score(X_test, y_test) > 0.25
    mean = regressor.predict(X_test).mean()
    assert abs(mean - y_test.mean()) < 30


def test_a_packed_regressor_gives_the_numbers(diabetes, regressor, tmp_path):
    X, X_test, _, _ = diabetes
    save_packed(regressor.pack(), tmp_path / "diabetes.safetensors")
    packed = load_packed(tmp_path / "diabetes.safetensors")
    assert packed.feature_names == tuple(X.columns)
    assert packed.numbers
    samples = X_test.to_numpy(np.float32)
    expected = regressor.predict(X_test)
    np.testing.assert_allclose(packed.predict(samples), expected, atol=packed.bound)
    assert packed.bound < 3  # of numbers from 25 to 346
    np.testing.assert_allclose(packed.logits(samples)[:, 0], packed.predict(samples), rtol=1e-5)


def test_several_numbers(diabetes):
    X, X_test, y, _ = diabetes
    both = np.column_stack([y, 1000 - 5 * y])
    net = quick_numbers().fit(X, both)
    assert net.predict(X_test).shape == (len(X_test), 2)
    one, other = net.predict(X_test).T
    assert np.corrcoef(one, other)[0, 1] < -0.8
    packed = net.pack()
    predicted = packed.predict(X_test.to_numpy(np.float32))
    np.testing.assert_allclose(predicted, net.predict(X_test), atol=packed.bound)
    column = quick_numbers(epochs=1).fit(X, y.to_frame())
    assert column.predict(X_test).shape == (len(X_test), 1)


def test_numbers_are_learnt_in_parts(diabetes):
    X, X_test, y, y_test = diabetes
    net = quick_numbers(learning_rate=0.003)
    for _ in range(15):
        for part in range(2):
            net.partial_fit(X[part::2], y[part::2], sample_weight=np.ones(len(y[part::2])))
    assert net.score(X_test, y_test) > 0.2
    assert quick_numbers(early_stopping=True, patience=1, epochs=99).fit(X, y).n_iter_ < 99


def test_targets_that_do_not_vary():
    net = quick_numbers(epochs=5).fit(np.arange(40.0)[:, None], np.full(40, 7e4))
    np.testing.assert_allclose(net.predict([[3.0]]), 7e4, rtol=1e-4)


# --- without scikit-learn -------------------------------------------------------------------------


def test_without_scikit_learn_the_import_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.base", None)
    monkeypatch.delitem(sys.modules, "minibnn.sklearn")
    with pytest.raises(ImportError, match=r"needs scikit-learn 1.6 .*pip install scikit-learn$"):
        import minibnn.sklearn  # noqa: F401
