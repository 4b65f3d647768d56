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
from minibnn.packed.integer_stages import (
    AddStage,
    ConcatStage,
    IntegerConv,
    IntegerDense,
    LevelStage,
    ScaleStage,
    SlopeStage,
    SumPoolStage,
)
from minibnn.packed.stages import (
    ConvStage,
    DenseStage,
    PoolStage,
    ThresholdStage,
    run_stages,
    size_of,
)
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


@linux
def test_random_files_of_stages_on_integers():
    for i in (6, 11):
        lines = fuzz.costs(fuzz.random_graph(np.random.default_rng([8, i])).file(), exports=False)
        assert fuzz.faults(lines) == []
        assert ("predict", "done") in [(use, result) for use, result, _ in lines]


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


def large(kind, shape, rng):
    """Values of a kind."""
    ends = {
        "pixels": (0, 256, np.uint8),
        "bits": (0, 2, np.uint8),
        "numbers": (-9, 9, np.int16),
        "acc": (-9, 9, np.int32),
    }
    return rng.integers(*ends[kind][:2], (1, *shape)).astype(ends[kind][2])


def integer_stages(rng):
    """Stages on large images, and the kind of values that each takes."""
    image, once = (250, 251, 4), (1, 1)
    for kind in ("pixels", "bits", "numbers"):
        for groups, channels, size in (
            (1, 8, (3, 3)),
            (2, 2, (5, 5)),
            (4, 8, (1, 2)),
            (1, 64, (1, 1)),
        ):
            out = (251 - size[0] + 3, 252 - size[1] + 9, channels)
            weights = rng.integers(-9, 9, (channels, size[0] * size[1] * 4 // groups)).astype(
                np.int8
            )
            more = size, once, once, ((1, 2), (0, 9)), 0, groups
            yield IntegerConv(image, out, weights, kind, *more), kind
        yield (
            IntegerConv(
                image,
                (2, 2, 3),
                np.ones((3, 4), np.int8),
                kind,
                once,
                (249, 250),
                once,
                ((0, 0), (0, 0)),
                0,
                1,
            ),
            kind,
        )
        if kind != "pixels":
            yield SumPoolStage(image, (249, 249, 4), kind, (2, 3), once), kind
            yield ConcatStage(image, (250, 251, 8), (4, 4), sources=(0, 1)), kind
            yield ConcatStage(image, (250, 251, 12), (4, 4, 4), sources=(0, 1, 0)), kind
    for levels in (1, 7):
        yield LevelStage(image, image, np.zeros((4, levels), np.int32), np.zeros(4, bool)), "acc"
    ones = np.ones(4, np.int64)
    for kind in ("acc", "numbers", "pixels", "bits"):
        yield ScaleStage(image, image, kind, ones, ones, 1), kind
    yield SlopeStage(image, image, ones, 1), "numbers"
    for sources in ((0, 1), (0, 1, 2), (0, 0, 1), (2, 0, 1, 3, 4)):
        yield AddStage(image, image, sources=sources), "numbers"
    yield PoolStage(image, (249, 249, 4), (2, 3), once), "numbers"
    yield ThresholdStage(image, image, np.zeros(4, np.int32), np.zeros(4, bool)), "numbers"


def test_the_estimate_of_stages_on_integers(rng):
    """Each on one image, without the floats of its weights."""
    for stage, kind in integer_stages(rng):
        values = {j: large(kind, stage.in_shape, rng) for j in {*stage.sources} | {0}}
        taken = [values[j] for j in stage.sources or (0,)]
        stage.run(*taken)
        tracemalloc.start()
        stage.run(*taken)
        peak = tracemalloc.get_traced_memory()[1] + sum(x.nbytes for x in values.values())
        tracemalloc.stop()
        assert peak <= costs.cost(stage).bytes + 2**16, stage
        assert peak > costs.cost(stage).bytes / 4, stage


def test_dense_stages_on_integers_besides_their_weights(rng):
    for n, m in ((2**18, 2), (2, 2**15)):
        weights = np.ones((m, n), np.int8)
        for kind in ("pixels", "bits", "numbers"):
            stage, x = IntegerDense((n,), (m,), weights, kind), large(kind, (n,), rng)
            stage.run(x)
            tracemalloc.start()
            stage.run(x)
            peak = tracemalloc.get_traced_memory()[1] + x.nbytes
            tracemalloc.stop()
            assert peak <= costs.cost(stage).bytes + 8 * weights.size + 2**16


def test_values_for_later_count(rng):
    """Against what a run of the whole program takes."""
    image = (300, 301, 4)
    ones = np.ones(4, np.int64)
    program = [ScaleStage(image, image, "pixels", ones, ones * 0, 0)]
    program += [SlopeStage(image, image, ones, 1) for _ in range(12)]
    program += [
        AddStage(image, image, sources=(12, 0)),
        ConcatStage(image, (300, 301, 52), (4,) * 13, sources=tuple(range(1, 14))),
    ]
    stages = tuple(program)
    n = size_of(image)
    alone = [costs.cost(stage).bytes for stage in stages]
    memory = costs.memory(stages)
    # At each slope all numbers before, except its own source.
    assert [m - a for m, a in zip(memory, alone, strict=True)] == [
        0, *(2 * n * i for i in range(12)), 2 * n * 11, 0
    ]  # fmt: skip
    assert costs.total(stages).bytes == max(memory)
    x = rng.integers(0, 256, (1, *image), np.uint8)
    run_stages(stages, x, len(stages))
    tracemalloc.start()
    run_stages(stages, x, len(stages))
    peak = tracemalloc.get_traced_memory()[1]  # the caller keeps the image
    tracemalloc.stop()
    assert max(memory) / 2 < peak <= max(memory) + 2**16


def test_a_line_of_stages_keeps_nothing():
    """As before there were branches."""
    stages = Program(28, 28, 1).conv(3, (3, 3)).sign().pool((2, 2)).stages
    assert costs.memory(tuple(stages)) == [costs.cost(stage).bytes for stage in stages]


def test_integer_weights_count_as_bytes():
    """So that convolutions of one position and of one channel each, whose weights are few, fit."""
    shape, stages = (28, 28, 1), []

    def product(channels, size, groups):
        nonlocal shape
        border = ((size // 2,) * 2,) * 2
        width = size * size * shape[2] // groups
        more = (size, size), (1, 1), (1, 1), border, 0, groups
        out, takes = (28, 28, channels), "numbers" if stages else "pixels"
        stages.append(IntegerConv(shape, out, np.zeros((channels, width), np.int8), takes, *more))
        stages.append(
            LevelStage(out, out, np.zeros((channels, 3), np.int32), np.zeros(channels, bool))
        )
        shape = out

    product(64, 3, 1)
    for _ in range(6):
        product(64, 3, 64)
        product(64, 1, 1)
    costs.require_affordable((28, 28, 1), tuple(stages))
    assert 3 * costs.total(tuple(stages)).bytes < costs.BYTES
