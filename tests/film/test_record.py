"""The callback: frames of what was there, bounded, without any effect on the training."""

from __future__ import annotations

import warnings
from itertools import pairwise

import numpy as np
import pytest
from clusters import binary_model, clusters
from devices import STRICT
from films import SAMPLES, filmed, same, trained

from minibnn import (
    Activation,
    BatchNorm,
    Bop,
    Checkpoint,
    DataLoader,
    Dense,
    DivergedError,
    EarlyStopping,
    LogitCrossEntropy,
    ReLU,
    Sequential,
    SignSTE,
    Tanh,
    Ternary,
    TrainingFilm,
    fit,
    load_film,
)
from minibnn.film import frames, record
from minibnn.film.histogram import histogram


class Watch:
    """Keeps copies of what the model was after each step, and before the first."""

    def __init__(self):
        self.weights, self.inputs = [], []

    def on_begin(self, model, history):
        self.model = model
        self.on_step(0, 0)

    def on_step(self, epoch, step):
        found = [p for _, p, _ in self.model.named_quantized()]
        self.weights.append([self.model.backend.to_host(p.data).copy() for p in found])
        x = self.model.backend.asarray(SAMPLES)
        for layer in list(self.model)[:2]:
            x = layer.forward(x)
        self.inputs.append(self.model.backend.to_host(x).copy())


@pytest.mark.parametrize("backend", ["cpu", STRICT], ids=["cpu", "strict"])
def test_frames_are_what_was_there(backend):
    watch = Watch()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # steps of the device are not captured
        film = filmed(watch, backend=backend)
    assert film.steps.tolist() == list(range(10))
    assert film.wall.path == "0.weight"
    assert (film.latents.names, film.margins.names) == (("0.weight", "3.weight"), ("2",))
    assert film.latents.layers == ("Dense(8 -> 32)", "Dense(32 -> 3)")
    assert film.margins.layers == ("Activation(SignSTE(clip=1.0))",)
    for k, (weights, x) in enumerate(zip(watch.weights, watch.inputs, strict=True)):
        bits = np.unpackbits(film.bits[k], count=256).reshape(32, 8)
        assert (bits == (weights[0].T >= 0)).all()
        for i, W in enumerate(weights):
            assert film.latents.counts[k, i].tolist() == histogram(W, 1.0).tolist()
            assert film.latents.figures[k, i] == pytest.approx(abs(W).mean())
        reach = film.margins.reaches[k, 0]
        assert film.margins.counts[k, 0].sum() == x.size
        np.testing.assert_allclose(film.margins.counts[k, 0], histogram(x, reach), atol=2)
        assert film.margins.figures[k, 0] == pytest.approx((abs(x) > 1).mean(), abs=2 / x.size)
    assert (film.latents.reaches == 1).all()
    assert film.flips().sum() > 3, "something happened"


def test_losses_and_history_are_those_of_fit():
    film = TrainingFilm()
    losses = []

    class Losses:
        def on_losses(self, new):
            losses.extend(new.tolist())

    _, history = trained(film, Losses())
    found = film.film
    assert found.losses.tolist() == losses
    assert (found.span, found.epoch_steps) == (1, 3)
    assert found.epochs.tolist() == [1, 2, 3]
    assert found.columns == tuple(history.columns)
    assert found.history.tolist() == history.to_numpy().tolist()
    assert found.title == "Sequential(5 layers)"


def test_the_gradient_of_a_sign_on_its_axis():
    film = filmed()
    (slope,), (reach,) = film.slopes, film.margins.axes
    middles = (np.arange(64) + 0.5) * reach / 32 - reach
    assert slope.tolist() == (abs(middles) <= 1).astype(float).tolist()


def test_nothing_in_the_training_changes():
    """Neither values nor random numbers, also of signs that are drawn."""
    from minibnn import StochasticSign

    def model():
        layers = list(binary_model())
        return Sequential(*layers[:2], Activation(StochasticSign()), *layers[3:]).initialize(3)

    plain, history = trained(model=model())
    seen, same_history = trained(TrainingFilm(None, SAMPLES), model=model())
    assert same_history.equals(history)
    for p, q in zip(plain.parameters(), seen.parameters(), strict=True):
        assert p.data.tobytes() == q.data.tobytes()
    for p, q in zip(plain.buffers(), seen.buffers(), strict=True):
        assert np.array_equal(p.data, q.data)


def test_frames_after_epochs_only():
    film = TrainingFilm(None, SAMPLES, within_epochs=False)
    assert not hasattr(film, "on_step")
    trained(film)
    assert film.film.steps.tolist() == [0, 3, 6, 9]
    whole = filmed()
    assert same(film.film.bits, whole.bits[[0, 3, 6, 9]])


def test_steps_of_a_device_stay_captured():
    film = TrainingFilm(None, SAMPLES, within_epochs=False)
    _, history = trained(film, backend=STRICT, batch=8)
    assert history.attrs["captured"]
    assert film.film.steps.tolist() == [0, 12, 24, 36]
    with pytest.warns(UserWarning, match="TrainingFilm has on_step"):
        trained(TrainingFilm(None, SAMPLES), backend=STRICT, batch=8)


def test_a_long_training_has_a_bounded_film(monkeypatch):
    monkeypatch.setattr(frames, "MOST", 10)
    film = filmed(epochs=20)
    assert film.steps.tolist() == [0, 1, 2, 4, 8, 16, 32, 48, 60]
    monkeypatch.setattr(record, "MOST_EPOCHS", 5)
    film = filmed(epochs=20)
    assert film.epochs.tolist() == [1, 6, 11, 15, 20]
    assert film.history.shape == (5, len(film.columns))


def test_layers_are_bounded(monkeypatch):
    monkeypatch.setattr(record, "MOST_LAYERS", 2)
    sizes = [8, 5, 4, 3]
    layers = [Dense(a, b, weight_quantizer=SignSTE()) for a, b in pairwise(sizes)]
    signs = [Activation(SignSTE()) for _ in layers]
    model = Sequential(*(x for pair in zip(layers, signs, strict=True) for x in pair)).initialize(0)
    film = filmed(model=model)
    assert film.latents.names == ("0.weight", "2.weight")
    assert film.margins.names == ("1", "3")


def test_samples_are_a_few_of_those_given():
    film = TrainingFilm(None, np.arange(1000)[:, None])
    assert len(film.samples) == 125
    assert film.samples[:3, 0].tolist() == [0, 8, 16]
    assert repr(film) == "TrainingFilm(125 samples)"
    assert repr(TrainingFilm("a.film")) == "TrainingFilm('a.film', 0 samples)"
    assert filmed(samples=SAMPLES[:5]).samples == 5
    kept = TrainingFilm(None, SAMPLES)
    kept.samples[:] = 0
    assert SAMPLES.any(), "they are copied"


def test_without_samples_there_are_no_margins():
    film = filmed(samples=None)
    assert film.margins.names == ()
    assert film.margins.counts.shape == (10, 0, 66)
    assert film.slopes.shape == (0, 64)


def test_only_signs_have_margins_and_a_bound_is_the_range():
    first = Dense(8, 4, weight_quantizer=SignSTE(), weight_bound=0.7)
    model = Sequential(Activation(ReLU()), first, Activation(Tanh()), Activation(SignSTE()))
    film = filmed(model=Sequential(model, Dense(4, 3)).initialize(0))
    assert film.margins.names == ("0.3",)
    assert (film.latents.reaches == 0.7).all()


def test_of_a_sign_that_is_passed_twice_the_first_pass_counts():
    class Twice(Sequential):
        def forward(self, x, *, train=False):
            dense, sign = self
            z = dense.forward(x, train=train)
            y = sign.forward(z, train=train)
            return y if train else sign.forward(1000 * z)

    one = [Dense(8, 3, weight_quantizer=SignSTE()), Activation(SignSTE())]
    two = [Dense(8, 3, weight_quantizer=SignSTE()), Activation(SignSTE())]
    films = [filmed(model=m.initialize(0), epochs=1) for m in (Sequential(*one), Twice(*two))]
    assert same(*(film.margins.reaches for film in films))


def test_numbers_that_overflow_are_no_warnings():
    """The suite makes every warning an error."""

    class Huge:
        def on_begin(self, model, history):
            self.model = model

        def on_epoch(self, history):
            self.model[1].gamma.data[...] = 1e38

    film = filmed(Huge())
    assert film.margins.reaches[-1, 0] == 2.0**127


def test_weights_without_a_bound_have_ranges_of_their_own():
    model = Sequential(Dense(8, 4, weight_quantizer=SignSTE()), Dense(4, 3)).initialize(0)
    film = filmed(model=model, rate=1.0, epochs=9)
    assert film.latents.reaches[0, 0] <= 1 < film.latents.reaches[-1, 0]


def test_bits_of_flips_without_latent_weights():
    """Bop's weights are the bits themselves."""
    model = binary_model()
    weights = [model[0].weight, model[3].weight]
    film = TrainingFilm(None, SAMPLES)
    data = DataLoader(clusters(96, 1), 32, shuffle=True, rng=2)
    fit(model, data, loss=LogitCrossEntropy(), optimizer=Bop(weights, threshold=1e-9),
        epochs=2, callbacks=[film])  # fmt: skip
    assert film.film.flips().sum() > 0
    assert (film.film.latents.counts[:, 0, [1, 64]].sum(axis=1) == 256).all()


def test_a_model_without_such_weights_is_refused():
    steps = []
    model = Sequential(Dense(8, 3, weight_quantizer=Ternary())).initialize(0)
    with pytest.raises(ValueError, match=r"weights of two values.*weight_quantizer=SignSTE\(\)"):
        trained(TrainingFilm(), model=model, on_epoch=steps.append)
    assert not steps


def test_the_film_is_written_when_training_ends(tmp_path):
    path = tmp_path / "run.film"
    film = TrainingFilm(path, SAMPLES)
    trained(film)
    assert same(load_film(path), film.film)


def test_a_path_that_cannot_be_written_is_found_at_once(tmp_path):
    steps = []
    with pytest.raises(FileNotFoundError, match="make it first"):
        trained(TrainingFilm(tmp_path / "none" / "a.film"), on_epoch=steps.append)
    assert not steps


def test_a_training_that_diverged_can_be_saved(tmp_path):
    film = TrainingFilm(None, SAMPLES)

    class Break:
        def on_epoch(self, history):
            self.model[4].gamma.data[...] = np.nan

        def on_begin(self, model, history):
            self.model = model

    with pytest.raises(DivergedError):
        trained(film, Break())
    film.save(tmp_path / "run.film")
    found = load_film(tmp_path / "run.film")
    assert found.steps[-1] >= 3
    assert found.epochs.tolist() == [1]


class Ruin:
    """Gives the model other values when training ends; fails before that, if it is told to."""

    def __init__(self, fails=()):
        self.fails = fails

    def on_begin(self, model, history):
        self.model = model

    def on_step(self, epoch, step):
        if (epoch, step) == self.fails:
            raise KeyError

    def on_end(self, history):
        for p in self.model.parameters():
            p.data[...] = 7


def test_the_last_frame_is_the_last_step_whatever_callbacks_do_afterwards():
    """`EarlyStopping` gives the model its best values when training ends."""
    film = TrainingFilm(None, SAMPLES)
    trained(None, Ruin(), film)
    assert same(film.film, filmed())


@pytest.mark.parametrize("every", ["1steps", "1epoch"])
@pytest.mark.parametrize("within", [True, False])
def test_a_resumed_training_has_the_same_film(every, within, tmp_path):
    def films():
        return TrainingFilm(tmp_path / "a.film", SAMPLES, within_epochs=within)

    whole, path = filmed(epochs=4, within_epochs=within), tmp_path / "run"
    with pytest.raises(KeyError):
        trained(None, Ruin((2, 3)), films(), epochs=4, checkpoint=Checkpoint(path, every))
    checkpoint = Checkpoint(path, every, resume=True)
    film = films()
    film.path = tmp_path / "b.film"  # which is no part of the job
    trained(None, Ruin(), film, epochs=4, checkpoint=checkpoint)
    assert same(film.film, whole)
    again = films()  # when nothing is left to do
    trained(None, Ruin(), again, epochs=4, checkpoint=checkpoint)
    assert same(again.film, whole)


def test_another_training_begins_anew():
    film = TrainingFilm(None, SAMPLES)
    trained(film)
    model, _ = trained(film)
    assert same(film.film, filmed())
    trained(film, model=model, epochs=1)
    assert film.film.steps.tolist() == [0, 1, 2, 3]


def test_an_early_stop_ends_the_film():
    film = TrainingFilm(None, SAMPLES)
    trained(film, EarlyStopping("loss_train", 1), epochs=30, rate=0.5)
    assert film.film.steps[-1] == 3 * film.film.epochs[-1] < 90

    class Stop:
        def on_step(self, epoch, step):
            return (epoch, step) == (2, 2)

    trained(film, Stop())
    assert film.film.steps.tolist() == list(range(6))
    assert film.film.epochs.tolist() == [1]


def test_what_is_refused():
    with pytest.raises(
        TypeError, match=r"path to write the film to, got ndarray; write TrainingFilm\("
    ):
        TrainingFilm(SAMPLES)
    with pytest.raises(TypeError, match=r"array of samples, got DataLoader; pass .*x\[:100\]"):
        TrainingFilm(None, DataLoader((SAMPLES, SAMPLES), 3))
    with pytest.raises(ValueError, match=r"expected at least one sample, got none; .*x\[:100\]"):
        TrainingFilm("a.film", np.zeros((0, 4)))
    with pytest.raises(TypeError, match="within_epochs"):
        TrainingFilm(None, within_epochs="no")
    film = TrainingFilm()
    with pytest.raises(ValueError, match=r"expected a training to film.*callbacks=\[film\]"):
        film.film  # noqa: B018
    trained(film)
    with pytest.raises(ValueError, match=r"expected a path .*film.save\('run.film'\)"):
        film.save()


def test_samples_of_another_shape_are_refused_by_the_model():
    with pytest.raises(ValueError, match=r"shape \(batch, 8\), got \(1, 9\)"):
        trained(TrainingFilm(None, np.zeros((5, 9), np.float32)))


def test_a_sign_that_no_sample_passes():
    class Own(Sequential):
        def forward(self, x, *, train=False):
            return next(iter(self)).forward(x, train=train)

        def backward(self, dy, *, need_dx=True):
            return next(iter(self)).backward(dy, need_dx=need_dx)

    first = Dense(8, 3, weight_quantizer=SignSTE())
    film = filmed(model=Own(first, BatchNorm(3), Activation(SignSTE())).initialize(0))
    assert film.margins.names == ()
