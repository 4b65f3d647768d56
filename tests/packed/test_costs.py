"""Limits on cost: tiny files and models of absurd sizes are refused, sensible ones are not."""

from __future__ import annotations

import sys
import time
import tracemalloc

import fuzz_packed_costs as fuzz
import numpy as np
import pytest
from fuzz_packed_costs import CRAFTED, Program, end

from minibnn import (
    Activation,
    BatchNorm,
    Conv2D,
    Dense,
    DirectFeedback,
    Flatten,
    MagnitudeAwareSign,
    MaxPool2D,
    PackedFileError,
    PackError,
    Rescale,
    Sequential,
    SignSTE,
    disagreements,
    export_c,
    load_latents,
    load_packed,
    pack,
    save_packed,
)
from minibnn.export.vectors import vectors_of
from minibnn.packed import costs
from minibnn.packed.file import container
from minibnn.packed.stages import ConvStage, DenseStage, PoolStage, ThresholdStage, size_of
from minibnn.recipes import RECIPES

SIGN = SignSTE()
linux = pytest.mark.skipif(sys.platform != "linux", reason="memory limits need Linux")


@pytest.mark.parametrize("name", CRAFTED)
def test_files_of_absurd_sizes_are_refused(name, tmp_path):
    """With the limit, before anything is computed."""
    data = CRAFTED[name]().file()
    path = tmp_path / "crafted.safetensors"
    path.write_bytes(data)
    tracemalloc.start()
    start = time.process_time()
    try:
        load_packed(path)
        assert name in ("many pixels to sums", "many pixels to bits"), "it is not refused"
    except PackedFileError as error:
        assert "expected at most" in str(error) or "fit into int32" in str(error), error  # noqa: PT017
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2**21 + 100 * len(data)
    assert time.process_time() - start < 10


@linux
@pytest.mark.parametrize("name", ["many pixels to sums", "a page's pixels"])
def test_what_is_just_allowed_takes_bounded_memory_and_time(name, tmp_path):
    """In every use; `fuzz_packed_costs.py` tries any number of files."""
    make = CRAFTED.get(name) or page
    lines = fuzz.costs(make().file())
    assert {use for use, *_ in lines} >= {
        "load_packed",
        "export c",
        "predict",
        "evaluate",
        "verify",
    }
    assert ("load_packed", "done") in [(use, result) for use, result, _ in lines]
    assert fuzz.faults(lines) == []


def page():
    """The most windows that are allowed on images of 28 by 28."""
    program = Program(28, 28, 1).conv(8, (3, 3), border=((60, 60), (60, 60))).sign()
    return end(program.conv(2, (3, 3)).sign().pool((2, 2), (70, 70)))


@linux
def test_random_files(monkeypatch):
    for i in range(3):
        program = fuzz.random_program(np.random.default_rng([7, i]))
        assert fuzz.faults(fuzz.costs(program.file())) == []


def conv(c_in, c_out, size=3, **options):
    return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)


def dense(n_in, n_out):
    return Dense(n_in, n_out, weight_quantizer=SIGN)


ABSURD = {
    "many pixels": ((2**14, 2**13, 1), [Rescale(1), conv(1, 1, 1, stride=2**13), Activation(SIGN), Flatten(), dense(2, 2)], "pixels"),
    "windows": ((K := 2**11, K, 1), [Rescale(1, -1), Activation(SIGN), conv(1, 1, 16), Activation(SIGN), MaxPool2D(32), Flatten(), dense(63**2, 2)], "bytes of memory"),
    "operations": ((K, K, 1), [Rescale(1, -1), Activation(SIGN), MaxPool2D(1500, 100), Flatten(), dense(36, 2)], "operations"),
    "stages": ((4, 4, 1), [Rescale(1, -1), Activation(SIGN), *(MaxPool2D(1) for _ in range(1200)), Flatten(), dense(16, 2)], "stages"),
    "classes": ((1,), [Rescale(1), dense(1, 5000)], "classes"),
    "sums of classes": ((2**10,), [Rescale(1), Dense(2**10, 80, weight_quantizer=MagnitudeAwareSign())], "sums of all classes together"),
    "channels": ((1,), [Rescale(1), dense(1, 2**16 + 1), Activation(SIGN), dense(2**16 + 1, 2)], "channels"),
    "sums": ((2**17,), [Rescale(1), dense(2**17, 2)], "span at most 16,777,216"),
}  # fmt: skip


@pytest.mark.parametrize("name", ABSURD)
def test_small_models_of_absurd_sizes_are_not_packed(name):
    shape, layers, limit = ABSURD[name]
    model = Sequential(*layers).initialize(0)
    tracemalloc.start()
    start = time.process_time()
    with pytest.raises(PackError, match=limit):
        pack(model, shape)
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    size = sum(p.data.nbytes for p in model.parameters())
    assert taken < 2**23 + 8 * size
    assert time.process_time() - start < 10


def test_latents_of_a_small_model_beside_a_large_program(tmp_path):
    """The first training pass, which draws latents, does not run on images of absurd size."""

    def build():
        hidden = Sequential(Flatten(), Rescale(1), dense(4, 3), Activation(SIGN))
        return DirectFeedback(hidden, dense(3, 2))

    model = build().initialize(0)
    model.forward(np.zeros((2, 4), np.uint8), train=True)
    path = tmp_path / "crafted.safetensors"
    save_packed(pack(model, (4,)), path, model=model)
    latents = container.read(path.read_bytes(), "saved").arrays()
    latents = {name: array for name, array in latents.items() if name.startswith("latent.")}
    large = container.read(end(Program(2**11, 2**11)).file(), "large")
    path.write_bytes(container.write(large.metadata, large.arrays() | latents))
    tracemalloc.start()
    with pytest.raises(PackedFileError, match=r"those of another: pack: layer .*Dense"):
        load_latents(path, build())
    taken = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken < 2**24  # the weights of the large program, 2^20 bytes, unpacked


def test_a_network_of_large_images_works(tmp_path, rng):
    """224 by 224 by 3, as in ImageNet, in every use."""
    layers = [
        Rescale(1, -128),
        conv(3, 8, 7, stride=2),
        MaxPool2D(2),
        BatchNorm(8),
        Activation(SIGN),
    ]
    layers += [conv(8, 8), BatchNorm(8), Activation(SIGN), MaxPool2D(52), Flatten(), dense(8, 10)]
    model = Sequential(*layers).initialize(0)
    packed = pack(model, (224, 224, 3))
    images = rng.integers(0, 256, (3, 224, 224, 3), np.uint8)
    path = tmp_path / "large.safetensors"
    save_packed(packed, path)
    expected = packed.predict_scores(images)
    np.testing.assert_array_equal(load_packed(path).predict_scores(images), expected)
    assert disagreements(model, packed, images).labels == 0
    assert len(vectors_of(packed).images) == 12
    export_c(packed, tmp_path / "large.h")
    assert (tmp_path / "large.h").read_text().count("\n") > 10_000


@pytest.mark.parametrize("name", ["seed", "finn-lfc", "binarynet", "larq-cnn"])
def test_recipes_are_far_from_every_limit(name):
    plan = pack_shapes(name)
    taken = costs.total(plan)
    assert 20 * taken.bytes < costs.BYTES
    weights = sum(s.channels * s.width // 8 for s in plan if isinstance(s, DenseStage | ConvStage))
    allowed = costs.OPERATIONS + 784 * costs.A_PIXEL + weights * costs.A_BYTE
    assert 20 * taken.operations < allowed


def pack_shapes(name):
    from minibnn.packed.compile.lower import lower

    steps = lower(RECIPES[name]().build().initialize(0), (28, 28)).steps
    return tuple(step for step in steps if not isinstance(step, tuple))


def test_vgg_of_imagenet_is_allowed():
    shape, stages, pixels = (224, 224, 3), [], True
    for channels in (64, 64, 0, 128, 128, 0, *[256] * 3, 0, *[512] * 3, 0, *[512] * 3, 0):
        if not channels:
            out = shape[0] // 2, shape[1] // 2, shape[2]
            stages.append(PoolStage(shape, out, (2, 2), (2, 2)))
        else:
            out, width = (*shape[:2], channels), 9 * shape[2]
            weights = np.zeros((channels, -(-width // 64)), np.uint64)
            border = (1, 1), (1, 1)
            more = (3, 3), (1, 1), (1, 1), border, 0
            stages.append(ConvStage(shape, out, weights, width, pixels, *more))
            stages.append(ThresholdStage(out, out, np.zeros(channels), np.zeros(channels)))
        shape, pixels = out, False
    n = size_of(shape)
    for channels in (4096, 4096, 1000):
        weights = np.zeros((channels, -(-n // 64)), np.uint64)
        stages.append(DenseStage((n,), (channels,), weights, n, False))
        n = channels
    costs.require_affordable((224, 224, 3), tuple(stages))


def test_the_estimate_is_no_less_than_what_is_taken(rng):
    """Each stage on one image, measured by `tracemalloc`."""
    program = (
        Program(700, 701, 3).conv(9, (3, 5), border=((4, 0), (0, 3))).pool((2, 3), (2, 1)).sign()
    )
    program.conv(70, (3, 3)).sign().pool((2, 2), (2, 2)).conv(2, (1, 1)).sign()
    end(program.pool((3, 3), (3, 3)), 50)
    large = [*program.stages]
    large += end(Program(900, 901, 1).binarize().conv(1, (1, 1)).sign().pool((1, 1), (9, 9))).stages
    large += end(
        Program(500, 501, 2).code(9, "float32").conv(1, (1, 1)).sign().pool((1, 1), (9, 9))
    ).stages
    x = rng.integers(0, 256, (1, 700, 701, 3), np.uint8)
    for stage in large:
        if stage.kind == "code":
            x = rng.standard_normal((1, 500, 501, 2)).astype(np.float32)
        if stage.kind == "binarize":
            x = rng.integers(0, 256, (1, 900, 901, 1), np.uint8)
        stage.run(x)  # makes the forms that are kept
        tracemalloc.start()
        y = stage.run(x)
        taken = tracemalloc.get_traced_memory()[1] + x.nbytes
        tracemalloc.stop()
        assert taken <= costs.cost(stage).bytes + 2**23, stage.kind  # blocks of products
        if x.nbytes > 2**18:
            assert taken > costs.cost(stage).bytes / 8, stage.kind
        x = y
