"""Binary networks as estimators of scikit-learn: ``import minibnn.sklearn``.

They work in pipelines, grid searches and cross validation. Their ``pack()`` gives what
`export_c` and the other exports take, with the names of features and classes.
"""

from __future__ import annotations

import copy
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any, Self, TypeAlias

import numpy as np

from minibnn.checks import integer
from minibnn.data.loader import DataLoader
from minibnn.default_network import default_encoding, default_network, default_plan
from minibnn.layers import Layer, Sequential
from minibnn.losses import LogitCrossEntropy, Loss, MeanSquaredError
from minibnn.optimizers import Adam
from minibnn.packed import PackedModel
from minibnn.packed import pack as pack_model
from minibnn.schedules import Cosine
from minibnn.target_scale import TargetScale
from minibnn.training import EarlyStopping
from minibnn.training import fit as train

try:
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_random_state, compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"minibnn.sklearn needs scikit-learn 1.6 or later ({error}): pip install scikit-learn"
    ) from error

HostArray: TypeAlias = "np.ndarray[Any, Any]"
DTYPES = [np.float32, np.uint8, np.int8, np.int16]  # of inputs, as `pack` takes them


class _BinaryNet(BaseEstimator, metaclass=ABCMeta):  # type: ignore[misc]
    """What the classifier and the regressor share."""

    _optimizer: Adam | None  # of `partial_fit`

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        encoding: str = "auto",
        bits: int = 8,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        dropout: float = 0.2,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 20,
        random_state: Any = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        self.hidden = hidden
        self.encoding = encoding
        self.bits = bits
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.dropout = dropout
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.random_state = random_state
        self.device = device
        self.verbose = verbose

    # --- what a task adds -------------------------------------------------------------------------

    @abstractmethod
    def _loss(self) -> Loss: ...

    @abstractmethod
    def _first_targets(self, y: HostArray, classes: HostArray | None) -> tuple[int, bool]:
        """Note what targets there are; how many outputs the network has, and if they are real."""

    @abstractmethod
    def _targets(self, y: HostArray) -> HostArray:
        """Targets as the loss takes them."""

    def _class_weight(self, y: HostArray, *, part: bool) -> Any:
        """Weights of classes as `minibnn.fit` takes them."""
        return None

    # --- training ---------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new network.

        Args:
            X: (samples, features), finite numbers. uint8, int8 and int16 stay as they are, and so
                does the input of the packed model; all others become float32.
            y: (samples,); numbers also (samples, outputs).
            sample_weight: (samples,), at least 0; samples of weight 0 are left out.

        Raises:
            ValueError: for parameters or data that cannot be used.
            DivergedError: see `minibnn.fit`.
        """
        X, y, weights = self._checked(X, y, sample_weight, first=True)
        rng = self._begin(X, y)
        plan = default_plan(len(X))
        epochs = plan.epochs if self.epochs is None else self.epochs
        arrays = (X, self._targets(y), *([] if weights is None else [weights]))
        held_out, callbacks = None, []
        if self.early_stopping:
            parts = train_test_split(
                *arrays,
                test_size=self.validation_fraction,
                random_state=int(rng.integers(2**31)),
                stratify=arrays[1] if hasattr(self, "classes_") else None,
            )
            arrays = tuple(parts[::2])
            held_out = DataLoader(tuple(parts[1::2]), len(parts[1]))
            callbacks = [EarlyStopping("loss_validation", self.patience)]
        loader = self._loader(arrays, rng)
        rate = Cosine(self._rate(), 0.0, integer(self._name, "epochs", epochs) * len(loader))
        self.history_ = train(
            self.model_,
            loader,
            validation=held_out,
            loss=self._loss(),
            optimizer=Adam(self.model_.parameters(), rate),
            epochs=epochs,
            evaluate_train=None if held_out is not None else epochs,
            class_weight=self._class_weight(y, part=False),
            callbacks=callbacks,
            progress=bool(self.verbose),
        )
        self.n_iter_ = len(self.history_)
        return self

    def _partial_fit(
        self, X: Any, y: Any, sample_weight: Any, classes: HostArray | None = None
    ) -> Self:
        first = not hasattr(self, "model_")
        X, y, weights = self._checked(X, y, sample_weight, first=first)
        if first:
            self._begin(X, y, classes)
        optimizer = self._optimizer
        if optimizer is None:
            optimizer = self._optimizer = Adam(self.model_.parameters(), self._rate())
        arrays = (X, self._targets(y), *([] if weights is None else [weights]))
        seed = int(check_random_state(self.random_state).randint(2**31))
        loader = self._loader(arrays, np.random.default_rng([seed, self.n_iter_]))
        train(
            self.model_,
            loader,
            loss=self._loss(),
            optimizer=optimizer,
            epochs=1,
            evaluate_train=None,
            class_weight=self._class_weight(y, part=True),
            progress=False,
        )
        self.n_iter_ += 1
        return self

    @property
    def _name(self) -> str:
        return type(self).__name__

    def _rate(self) -> float:
        return default_plan(1).learning_rate if self.learning_rate is None else self.learning_rate

    def _checked(
        self, X: Any, y: Any, sample_weight: Any, first: bool
    ) -> tuple[HostArray, HostArray, HostArray | None]:
        """Samples, targets and weights, without samples of weight 0."""
        X, y = validate_data(
            self, X, y, dtype=DTYPES, multi_output=self._several, y_numeric=self._numeric,
            ensure_min_samples=2, reset=first,
        )  # fmt: skip
        if not first:
            X = self._as_fitted(X)
        if sample_weight is None:
            return X, y, None
        weights = np.asarray(_check_sample_weight(sample_weight, X), np.float32)
        if weights.min() < 0:
            raise ValueError(
                f"{self._name}: expected sample_weight of at least 0, got {weights.min()}; leave "
                "such samples out"
            )
        rows = weights > 0
        if rows.sum() < 2:
            raise ValueError(
                f"{self._name}: expected at least 2 samples with a weight above 0, got "
                f"{rows.sum()}; give more samples a weight"
            )
        return X[rows], y[rows], weights[rows]

    def _begin(
        self, X: HostArray, y: HostArray, classes: HostArray | None = None
    ) -> np.random.Generator:
        """Make the network, and a generator for the rest of its training."""
        outputs, real = self._first_targets(y, classes)
        encoding = self.encoding
        if encoding == "auto":
            encoding = default_encoding(X.shape[1:], X.dtype)
        if encoding == "bytes" and X.dtype != np.uint8:
            raise ValueError(
                f'{self._name}: expected X of dtype uint8 with encoding="bytes", got {X.dtype}; '
                "use X.astype('uint8') for whole numbers from 0 to 255, or another encoding"
            )
        rng = np.random.default_rng(check_random_state(self.random_state).randint(2**31))
        self.model_: Sequential = default_network(
            X.shape[1:],
            outputs,
            encoding=encoding,
            bits=self.bits,
            categories=max(len(np.unique(x)) for x in X.T) if encoding == "one-hot" else 1,
            hidden=self.hidden,
            dropout=self.dropout,
            real_outputs=real,
        ).initialize(rng)
        self.model_.to(self.device)
        self.n_iter_ = 0
        self._dtype = X.dtype
        self._optimizer = None
        return rng

    def _loader(self, arrays: Sequence[HostArray], rng: np.random.Generator) -> DataLoader:
        """Shuffled batches of at least 2 samples, as batch norm needs them."""
        n = len(arrays[0])
        size = default_plan(n).batch_size if self.batch_size is None else self.batch_size
        size = max(2, min(integer(self._name, "batch_size", size, least=1), n))
        return DataLoader(tuple(arrays), size, shuffle=True, rng=rng, drop_last=n % size == 1)

    # --- prediction -------------------------------------------------------------------------------

    def _outputs(self, X: Any) -> HostArray:
        """The network's outputs (samples, outputs)."""
        check_is_fitted(self)
        X = self._as_fitted(validate_data(self, X, dtype=DTYPES, reset=False))
        outputs: HostArray = self.model_.predict(X)
        return outputs.astype(np.float64)

    def _as_fitted(self, X: HostArray) -> HostArray:
        """Samples in the dtype of those that the network was trained on."""
        same = X.astype(self._dtype, copy=False)
        if self._dtype != np.float32 and (wrong := same != X).any():
            raise ValueError(
                f"{self._name}: expected whole numbers of {self._dtype}, as in training, got "
                f"{X[wrong][0]}; for other numbers fit it to X.astype('float32')"
            )
        return same

    def _packed(self, model: Layer, **what: Any) -> PackedModel:
        names = getattr(self, "feature_names_in_", None)
        return pack_model(model, feature_names=None if names is None else list(names), **what)


class BinaryNetClassifier(ClassifierMixin, _BinaryNet):  # type: ignore[misc]
    """A network with weights and hidden values of -1 and +1 that classifies.

    `fit` trains the network of `minibnn.default_network` with Adam, whose learning rate falls to 0
    along half a cosine. Features need no scaling: their code, a `Thermometer`, is fitted to the
    training samples. Missing values (nan) are refused; put an imputer before it.

    Args:
        hidden: the width of each hidden layer.
        encoding: of the features: ``"thermometer"``, ``"uniform"``, ``"one-hot"`` (whole numbers
            that name categories), ``"bytes"`` (pixels of uint8), or ``"auto"``. See
            `default_network`.
        bits: of the thermometer, for each feature.
        epochs: passes over the samples; None for about 2,000 steps.
        batch_size: None for 32, or 100 from 10,000 samples on, at most half of the samples.
        learning_rate: the first; None for 0.01. `partial_fit` keeps it.
        dropout: of the hidden values.
        early_stopping: whether to hold samples out, and to stop when their loss no longer falls;
            the network keeps the values of its best epoch.
        validation_fraction: how much is held out then.
        patience: how many epochs without a smaller loss stop the training.
        class_weight: weights by class, 1 for those not named, or ``"balanced"``.
        random_state: a seed, a RandomState, or None.
        device: see `get_backend`.
        verbose: whether to show progress on stderr.

    Attributes:
        classes_: the classes, sorted.
        model_: the network.
        history_: of the last `fit`, see `minibnn.fit`; if no samples are held out, the last row
            has the loss and the accuracy in training.
        n_iter_: how many epochs were trained.
        n_features_in_: how many features there are.
        feature_names_in_: their names, if `X` was a DataFrame.

    >>> X = np.array([[0.0, 1], [1, 0], [0, 2], [2, 0]] * 10)
    >>> net = BinaryNetClassifier((16,), random_state=0).fit(X, ["low", "high"] * 20)
    >>> net.predict([[0, 3]])
    array(['low'], dtype='<U4')
    >>> net.pack().predict(np.array([[0, 3]], np.float32), names=True)
    array(['low'], dtype='<U4')
    """

    _several, _numeric = False, False

    def __init__(
        self,
        hidden: Sequence[int] = (256,),
        *,
        encoding: str = "auto",
        bits: int = 8,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        dropout: float = 0.2,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        patience: int = 20,
        class_weight: Any = None,
        random_state: Any = None,
        device: str = "cpu",
        verbose: bool = False,
    ) -> None:
        super().__init__(
            hidden,
            encoding=encoding,
            bits=bits,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            dropout=dropout,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            patience=patience,
            random_state=random_state,
            device=device,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(
        self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None
    ) -> BinaryNetClassifier:
        """One pass over these samples; the first call makes the network, if `fit` has not.

        The code of the features is fitted to the samples of the first call only, so let these be
        like all others.

        Args:
            X: as for `fit`; at least two samples.
            y: as for `fit`.
            classes: all classes, in the first call.
            sample_weight: as for `fit`.

        Raises:
            ValueError: without `classes` in the first call, for others later, for labels that are
                not among them, and for ``class_weight="balanced"``.
        """
        first = not hasattr(self, "model_")
        if first and classes is None:
            raise ValueError(
                "BinaryNetClassifier: expected classes in the first call of partial_fit, got none; "
                "write partial_fit(X, y, classes=np.unique(all_labels))"
            )
        if classes is not None:
            classes = np.unique(classes)
            if not first and not np.array_equal(classes, self.classes_):
                raise ValueError(
                    f"BinaryNetClassifier: expected the classes of the first call, "
                    f"{self.classes_}, got {classes}; make another estimator for other classes"
                )
        return self._partial_fit(X, y, sample_weight, classes)

    def predict(self, X: Any) -> HostArray:
        """The class of each sample (samples,)."""
        outputs = self._outputs(X)
        labels: HostArray = self.classes_[outputs.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Any) -> HostArray:
        """The probability of each class (samples, classes), in the order of `classes_`.

        They are the softmax of the network's outputs, as its loss takes them in training.
        """
        outputs = self._outputs(X)
        powers = np.exp(outputs - outputs.max(axis=1, keepdims=True))
        probabilities: HostArray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    def pack(self) -> PackedModel:
        """The network in bits, with the names of features and classes; see `minibnn.pack`.

        It takes samples of the dtype in training, float32 unless these were uint8, int8 or int16.
        """
        check_is_fitted(self)
        return self._packed(self.model_, class_names=[str(c) for c in self.classes_])

    def _loss(self) -> Loss:
        return LogitCrossEntropy()

    def _first_targets(self, y: HostArray, classes: HostArray | None) -> tuple[int, bool]:
        check_classification_targets(y)
        classes = np.unique(y) if classes is None else classes
        if len(classes) < 2:
            raise ValueError(
                f"{self._name}: expected at least 2 classes, got 1 class, {classes[0]!r}; give it "
                "samples of another one"
            )
        self.classes_ = classes
        return len(classes), False

    def _targets(self, y: HostArray) -> HostArray:
        labels = np.searchsorted(self.classes_, y).clip(max=len(self.classes_) - 1)
        wrong = self.classes_[labels] != y
        if wrong.any():
            raise ValueError(
                f"{self._name}: expected classes among {self.classes_}, got {y[wrong][0]!r}; name "
                "all classes in the first call of partial_fit"
            )
        return labels.astype(np.int64)

    def _class_weight(self, y: HostArray, *, part: bool) -> Any:
        given = self.class_weight
        if isinstance(given, str) and given == "balanced":
            if part:
                raise ValueError(
                    f"{self._name}: expected class_weight as a dict for partial_fit, got "
                    "'balanced', which needs all labels; write "
                    "dict(zip(classes, compute_class_weight('balanced', classes=classes, "
                    "y=all_labels)))"
                )
            return given
        if given is None:
            return None
        return dict(enumerate(compute_class_weight(given, classes=self.classes_, y=self.classes_)))


class BinaryNetRegressor(RegressorMixin, _BinaryNet):  # type: ignore[misc]
    """A network with weights and hidden values of -1 and +1 that predicts numbers.

    As `BinaryNetClassifier`, but for its last layer, whose weights are real, and shipped as bytes.
    In training, targets have mean 0 and variance 1, and the loss is the mean squared error.

    Args:
        hidden: the width of each hidden layer.
        encoding: of the features, see `BinaryNetClassifier`.
        bits: of the thermometer, for each feature.
        epochs: passes over the samples; None for about 2,000 steps.
        batch_size: None for 32, or 100 from 10,000 samples on, at most half of the samples.
        learning_rate: the first; None for 0.01. `partial_fit` keeps it.
        dropout: of the hidden values.
        early_stopping: whether to hold samples out, and to stop when their loss no longer falls;
            the network keeps the values of its best epoch.
        validation_fraction: how much is held out then.
        patience: how many epochs without a smaller loss stop the training.
        random_state: a seed, a RandomState, or None.
        device: see `get_backend`.
        verbose: whether to show progress on stderr.

    Attributes:
        model_: the network; its outputs are (number - mean) / standard deviation.
        history_: of the last `fit`, see `minibnn.fit`; in the same unit.
        n_iter_: how many epochs were trained.
        n_features_in_: how many features there are.
        feature_names_in_: their names, if `X` was a DataFrame.

    >>> X = np.arange(40.0)[:, None]
    >>> net = BinaryNetRegressor((32,), bits=16, random_state=0).fit(X, 1000 + X[:, 0])
    >>> bool(abs(net.predict([[20.0]])[0] - 1020) < 3)
    True
    """

    _several, _numeric = True, True

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> BinaryNetRegressor:
        """One pass over these samples; the first call makes the network, if `fit` has not.

        The code of the features, and mean and variance of the targets, are those of the samples of
        the first call, so let these be like all others.

        Args:
            X: as for `fit`; at least two samples.
            y: as for `fit`.
            sample_weight: as for `fit`.

        Raises:
            ValueError: for data that cannot be used.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X: Any) -> HostArray:
        """The numbers (samples,), or (samples, outputs) if `y` had two axes."""
        outputs = self._outputs(X)
        numbers = self._scale.outside(outputs)
        return numbers[:, 0] if self._flat else numbers

    def pack(self) -> PackedModel:
        """The network in bits, with the names of features, for numbers; see `minibnn.pack`.

        Its `predict` gives the numbers. They differ from those here, since the last weights become
        bytes; its `bound` says by how much at most.
        """
        check_is_fitted(self)
        model = copy.deepcopy(self.model_)
        last: Any = model[-1]
        self._scale.put_into(last)
        return self._packed(model, numbers=True)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def _loss(self) -> Loss:
        return MeanSquaredError()

    def _first_targets(self, y: HostArray, classes: HostArray | None) -> tuple[int, bool]:
        self._flat = y.ndim == 1
        rows = np.asarray(y, np.float64).reshape(len(y), -1)
        self._scale = TargetScale(rows)
        return rows.shape[1], True

    def _targets(self, y: HostArray) -> HostArray:
        rows = np.asarray(y, np.float64).reshape(len(y), -1)
        outputs = len(self._scale.mean)
        if rows.shape[1] != outputs:
            raise ValueError(
                f"{self._name}: expected {outputs} numbers for each sample, as in the "
                f"first call, got {rows.shape[1]}; make another estimator for others"
            )
        return self._scale.inside(rows)
