"""Files of small packed models, and files that are changed under a right digest."""

from __future__ import annotations

import json

import numpy as np
from packed_models import SIGN, dense, images_models, ink, norms, shake

from minibnn import (
    Activation,
    BatchNorm,
    Dense,
    DirectFeedback,
    Dropout,
    FixedFeedback,
    Flatten,
    MagnitudeAwareSign,
    Rescale,
    Sequential,
    save_packed,
)
from minibnn.packed.file import container
from minibnn.packed.file.load import packed_model


def small(seed=0, norm=1):
    """Every kind of field except a convolution's, including falling thresholds."""
    model = Sequential(
        *ink(), dense(10, 9), *norms(9)[norm], Activation(SIGN), dense(9, 4), BatchNorm(4)
    )
    rng = np.random.default_rng(seed)
    model = shake(model.initialize(rng), rng)
    return _calm(model)


def _calm(model):
    """Make the logits comparable."""
    model[-1].initialize(0)
    return model


def on_images(name="two", seed=0):
    rng = np.random.default_rng(seed)
    model = shake(Sequential(*images_models()[name]).initialize(rng), rng)
    return _calm(model) if name == "conv last" else model


def every_array():
    """Biases, norms of every kind, scaled weights, dropout, and feedback of both kinds."""
    return DirectFeedback(
        Sequential(
            Flatten(), Rescale(2 / 255, -1),
            Dense(6, 8, weight_quantizer=MagnitudeAwareSign(), feedback=FixedFeedback()),
            BatchNorm(8, scale=False), Activation(SIGN), Dropout(0.2),
        ),
        Sequential(dense(8, 7, bias=False), *norms(7)[4], Activation(SIGN)),
        Sequential(dense(7, 5), *norms(5)[3]),
    )  # fmt: skip


def load_bytes(data):
    return packed_model(container.read(data, "file"))


def bytes_of(packed, tmp_path, **options):
    path = tmp_path / "model.safetensors"
    save_packed(packed, path, **options)
    return path.read_bytes()


def same(one, other):
    assert one.interface == other.interface
    assert len(one.stages) == len(other.stages)
    for a, b in zip(one.stages, other.stages, strict=True):
        mine, theirs = dict(vars(a)), dict(vars(b))
        assert type(a) is type(b)
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            got = theirs[name]
            assert type(value) is type(got), name
            if isinstance(value, np.ndarray):
                assert value.dtype == got.dtype, name
                np.testing.assert_array_equal(value, got)
            else:
                assert value == got, name
    assert one.certificate == other.certificate
    assert one.training == other.training


def changed(data, change):
    """The file with changed metadata and arrays, and a correct checksum."""
    read = container.read(data, "file")
    metadata, arrays = dict(read.metadata), dict(read.arrays())
    architecture, certificate = (json.loads(metadata[k]) for k in ("architecture", "certificate"))
    change(architecture, arrays, certificate, metadata)
    for name, value in (("architecture", architecture), ("certificate", certificate)):
        if metadata.get(name) == read.metadata[name]:
            metadata[name] = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return container.write(metadata, arrays)
