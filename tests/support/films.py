"""Films of short trainings."""

from __future__ import annotations

import numpy as np
from clusters import binary_model, clusters

from minibnn import Adam, DataLoader, LogitCrossEntropy, TrainingFilm, fit

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
