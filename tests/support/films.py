"""Films of short trainings."""

from __future__ import annotations

import dataclasses

import numpy as np
from clusters import binary_model, clusters

from minibnn import Adam, DataLoader, LogitCrossEntropy, TrainingFilm, fit
from minibnn.film.data import Distributions, Film
from minibnn.film.histogram import BINS
from minibnn.film.wall import Wall

SAMPLES = clusters(96, 1)[0]


def trained(
    film=None, *callbacks, epochs=3, model=None, backend="cpu", rate=1e-2, batch=32, **options
):
    """A model after a training, and its history."""
    model = binary_model(backend) if model is None else model
    data = DataLoader(clusters(96, 1), batch, shuffle=True, rng=2)
    first = [] if film is None else [film]
    return model, fit(
        model, data, loss=LogitCrossEntropy(), optimizer=Adam(model.parameters(), rate),
        epochs=epochs, callbacks=[*first, *callbacks], **options,
    )  # fmt: skip


def filmed(*callbacks, samples=SAMPLES, within_epochs=True, **options):
    """The film of a training of three epochs of three steps."""
    film = TrainingFilm(None, samples, within_epochs=within_epochs)
    trained(film, *callbacks, **options)
    return film.film


def same(one, other):
    """Whether two films are equal to the last bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and (
            one.tobytes() == other.tobytes()
        )  # fmt: skip
    if hasattr(one, "counts") or hasattr(one, "wall"):
        return all(same(v, vars(other)[k]) for k, v in vars(one).items())
    return one == other


def random_film(frames=40, units=5, tile=(4, 6), layers=2, share=0.1, rng=0, **changes):
    """A film of any size, whose bits flip at random; frames as a training of a power of two has."""
    rng = np.random.default_rng(rng)
    inputs = changes.pop("inputs", tile[0] * tile[1])
    total = units * inputs
    bits = [rng.random(total) < 0.5]
    for _ in range(frames - 1):
        bits.append(bits[-1] ^ (rng.random(total) < share))

    def distributions(names, reaches):
        counts = rng.integers(0, 1000, (frames, len(names), BINS + 2)).astype(np.uint32)
        reaches = np.broadcast_to(np.array(reaches, float), (frames, len(names))).copy()
        figures = rng.random((frames, len(names)))
        texts = tuple(f"Layer({name})" for name in names)
        return Distributions(names, texts, counts, reaches, reaches[-1].copy(), figures)

    names = tuple(map(str, range(layers)))
    film = Film(
        title="Sequential(7 layers)",
        wall=Wall("0.weight", "Dense(24 -> 5)", units, units, inputs, tile, "4x6 pixels", -1),
        steps=np.arange(frames, dtype=np.int64) * 10,
        bits=np.packbits(bits, axis=1),
        latents=distributions(names, [1.0] * layers),
        margins=distributions(names, [4.0] * layers),
        slopes=np.ones((layers, BINS)),
        samples=128,
        losses=rng.random(frames) + 0.5,
        span=10,
        epoch_steps=100,
        epochs=np.arange(1, frames // 10 + 1),
        columns=("loss_train", "loss_test", "acc_train", "acc_test", "flips_0"),
        history=rng.random((frames // 10, 5)),
    )
    return dataclasses.replace(film, **changes)
