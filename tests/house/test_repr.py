"""The repr of every public object, in ordinary and unusual states, and of reports."""

from __future__ import annotations

import html
import inspect
import re
from importlib.util import find_spec

import numpy as np
import pytest
from cases import CASES
from films import random_film

import minibnn
from minibnn import (
    SGD,
    Adam,
    Bop,
    Buffer,
    CapturedSteps,
    DataLoader,
    Dense,
    Disagreements,
    ImageDataset,
    LogitCrossEntropy,
    OptimizerGroup,
    Parameter,
    PlainSteps,
    Rescale,
    Sequential,
    SignSTE,
    Uniform,
    pack,
)
from minibnn.packed import agreement

LABELS = np.zeros(3, np.uint8)
PLACE = re.compile(r" at 0x[0-9a-f]+>")  # a memory address has no meaning for the reader


def dataset(shape, dtype=np.uint8, name="own"):
    images = np.zeros((3, *shape), dtype)
    return ImageDataset(name, images, LABELS, images[:0], LABELS[:0])


DATASETS = {
    "grey": (dataset((28, 28)), "ImageDataset('own', 3 training and 0 test images of 28x28)"),
    "RGB": (dataset((32, 30, 3)), "ImageDataset('own', 3 training and 0 test images of 32x30x3)"),
    "table": (dataset((13,)), "ImageDataset('own', 3 training and 0 test rows of 13)"),
    "one column": (dataset(()), "ImageDataset('own', 3 training and 0 test rows of 1)"),
    "volumes": (dataset((4, 5, 6, 2)), "ImageDataset('own', 3 training and 0 test images of 4x5x6x2)"),
    "floats": (dataset((2, 2), np.float32), "ImageDataset('own', 3 training and 0 test images of 2x2, float32)"),
    "no pixels": (dataset((0, 28)), "ImageDataset('own', 3 training and 0 test images of 0x28)"),
    "a list": (
        ImageDataset("own", [[1, 2]], [0], [], []),  # type: ignore[arg-type]
        "ImageDataset('own', 1 training and 0 test rows of 2, int64)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", DATASETS)
def test_data_of_any_shape(case):
    data, expected = DATASETS[case]
    assert repr(data) == str(data) == expected


def model():
    last = Dense(3, 2, weight_quantizer=SignSTE())
    return Sequential(Rescale(1), last).initialize(0)


def objects():
    """An object of every public class, and some in unusual states."""
    net = model()
    weight = net[1].weight
    adam = Adam(net.parameters(), 0.1)
    packed = pack(model(), (3,))
    data = DataLoader((np.zeros((5, 3), np.float32), np.zeros(5, np.int64)), batch_size=2)
    yield from (dataset for dataset, _ in DATASETS.values())
    for case in CASES:
        layer = case.make()
        yield layer  # without values
        yield layer.initialize(np.random.default_rng(0))
        yield from parts(layer)
    yield from (net, weight, adam, packed, data, LogitCrossEntropy(), net.backend)
    yield from (Parameter("W", (2, 3), Uniform(0.1)), Buffer("mean"), Buffer("B", ships=False))
    yield from (Uniform(0.1), minibnn.Fill(0.5), minibnn.GlorotUniform())
    yield from (minibnn.Hinge(), minibnn.SquaredHinge(), minibnn.MeanSquaredError())
    yield from (minibnn.BinaryCrossEntropy(), minibnn.Huber())
    yield from (minibnn.Constant(0.1), minibnn.Cosine(0.1, 0.0, length=3))
    yield from (minibnn.Exponential(0.1, 0.01, length=3), minibnn.PerEpoch(minibnn.Constant(1), 3))
    yield from (minibnn.recipes.RECIPES["modern"](), minibnn.Entry())
    yield minibnn.Samples.of(np.zeros((4, 2), np.float32), ["a", "b", "a", "b"])
    yield minibnn.RandomStream()
    yield from (minibnn.Accuracy(), minibnn.F1(), minibnn.R2(), minibnn.BalancedAccuracy())
    yield from (minibnn.LabelAccuracy(), minibnn.MeanAbsoluteError())
    yield from (minibnn.BinaryCrossEntropy(), minibnn.Huber())
    yield minibnn.EarlyStopping("loss_test", 3)
    yield from (minibnn.TrainingFilm("run.film"), minibnn.live_plot(), random_film())
    yield minibnn.AdamW(model().parameters())
    yield minibnn.WarmUp(0.1, 5)
    yield from (minibnn.Cutout(4), minibnn.RandomShift(2), minibnn.IterableLoader([(1, 2)]))
    yield minibnn.Checkpoint("run.safetensors")
    yield minibnn.InputContract("uint8", (28, 28))
    yield minibnn.InputContract("float32", (), 0.0, 1.0)
    other = model()
    for made in (SGD, Bop, minibnn.AdaMax, minibnn.ShiftAdaMax):
        net = model()
        yield made([net[1].weight], 0.1)
    net = model()
    bias = [p for p in net.parameters() if p.name == "bias"]
    yield OptimizerGroup(*(SGD([p], 0.1) for p in (*bias, net[1].weight)))
    yield from (minibnn.Accuracy(), minibnn.F1(), minibnn.R2(), minibnn.BalancedAccuracy())
    yield from (minibnn.LabelAccuracy(), minibnn.MeanAbsoluteError())
    yield from (minibnn.BinaryCrossEntropy(), minibnn.Huber())
    yield minibnn.EarlyStopping("loss_test", 3)
    yield minibnn.AdamW(model().parameters())
    yield minibnn.WarmUp(0.1, 5)
    yield from (minibnn.Cutout(4), minibnn.RandomShift(2), minibnn.IterableLoader([(1, 2)]))
    yield minibnn.Checkpoint("run.safetensors")
    if find_spec("mpi4py") is not None:
        yield (ranks := minibnn.Ranks("exact"))
        net = model()
        optimizer = SGD(net.parameters(), 0.1)
        yield minibnn.DataParallel(net, LogitCrossEntropy(), optimizer, ranks=ranks)
    yield PlainSteps(other, LogitCrossEntropy(), SGD(other.parameters(), 0.1))
    yield CapturedSteps(other, LogitCrossEntropy(), SGD(other.parameters(), 0.1))
    report = minibnn.check_gradients(Dense(2, 2), np.ones((2, 2)))
    yield from (report, *report.results)
    diagnosis = minibnn.diagnose(model(), data)
    yield from (diagnosis, *diagnosis.findings)
    yield minibnn.Diagnosis("nothing", 0, ())
    yield minibnn.GradientReport("nothing", ())
    yield minibnn.evaluate(model(), data, LogitCrossEntropy())
    yield Disagreements(0)
    yield minibnn.disagreements(model(), packed, np.zeros((2, 3), np.uint8))
    yield from (model().summary((3,)), Sequential().summary((3,)), packed.summary())


def parts(layer):
    """The functions and feedbacks of a layer and of those in it."""
    for value in vars(layer).values():
        if isinstance(value, minibnn.Function | minibnn.Feedback):
            yield value
    for _, child in layer.named_children():
        yield from parts(child)


def test_every_public_object_prints():
    seen = set()
    for thing in objects():
        seen |= {cls.__name__ for cls in type(thing).__mro__}
        for text in (repr(thing), str(thing), f"{thing}"):
            assert text, type(thing)
            assert not PLACE.search(text), text
    public = {n for n in minibnn.__all__ if inspect.isclass(getattr(minibnn, n))}
    errors = {n for n in public if issubclass(getattr(minibnn, n), Exception)}
    if find_spec("mpi4py") is None:
        seen |= {"Ranks", "DataParallel"}
    assert public - errors - seen == set()


def test_objects_that_people_derive_print():
    class Own(minibnn.Loss):
        def forward(self, logits, labels): ...
        def backward(self): ...

    assert repr(Own()) == "Own()"
    steps = PlainSteps(net := model(), LogitCrossEntropy(), SGD(net.parameters(), 0.1))
    assert repr(steps) == f"PlainSteps({net!r}, LogitCrossEntropy(), {steps.optimizer!r})"
    assert repr(Buffer("mean")) == "Buffer('mean', not initialised)"
    buffer = Buffer("mean")
    buffer.data = np.zeros((2, 3))
    assert repr(buffer) == "Buffer('mean', shape=(2, 3))"


REPORTS = (minibnn.Diagnosis, minibnn.GradientReport, minibnn.Disagreements)


def test_reports_are_shown_as_they_are_printed():
    """By `print(report)`, and at the end of a notebook cell."""
    seen = set()
    for thing in objects():
        if isinstance(thing, REPORTS) or type(thing).__name__ in ("Summary", "PackedSummary"):
            seen.add(type(thing).__name__)
            assert repr(thing) == str(thing)
            assert not repr(thing).startswith(type(thing).__name__ + "(")
    assert len(seen) == 5


def test_reports_say_the_same_in_a_notebook():
    """Every word and number that is printed is in the HTML, and what is hostile is text there."""
    found = Disagreements(
        40, layers=[agreement.LayerDisagreement("<b>layer</b> 1", 371, 211, 468, 99)]
    )
    finding = minibnn.Finding("error", "starved", "2<3", 1.0, "100% & all", "it is <gone>", "none")
    wrong = minibnn.GradientResult("W", 3, 4, (0, 1), 1.5, -2.5, 0.3, 1, False, "a sign < 0")
    reports = [found, minibnn.Diagnosis("<i>net</i>", 5, (finding,))]
    reports.append(minibnn.GradientReport("<i>layer</i>", (wrong,)))
    reports += [thing for thing in objects() if hasattr(thing, "_repr_html_")]
    for report in reports:
        text = report._repr_html_()
        assert set(re.findall(r"<(\w+)", text)) <= {
            "div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td",
        }  # fmt: skip
        shown = html.unescape(re.sub("<[^>]*>", " ", text))
        printed = re.findall(r"[\w.,<>&/]*\w", re.sub("--+", "", repr(report)))
        missing = [word for word in printed if word.rstrip(".,") not in shown]
        assert not missing
    kinds = {type(report).__name__ for report in reports}
    assert kinds == {
        "Diagnosis", "GradientReport", "Disagreements", "Summary", "PackedSummary",
    }  # fmt: skip


def test_disagreements_say_where():
    found = Disagreements(
        40, 1, 2, layers=[agreement.LayerDisagreement("layer 1, Dense", 3, 2, 3, 0)]
    )
    assert repr(found) == (
        "40 images: 1 with another label, 2 with another bit\n"
        "  layer 1, Dense: 3 values in 2 images; packed right 3, float right 0"
    )


def test_an_optimiser_whose_schedule_is_wrong_can_be_printed():
    """Printing it is the first step of a search for the mistake."""
    for schedule, shown in (
        (lambda _: -0.1, "wrong"),
        (lambda _: "0.1", "wrong"),
        (lambda _: 1, "1"),
    ):
        adam = Adam(Dense(2, 1).initialize(0).parameters(), schedule)
        assert f"next rate {shown}, after 0 steps" in repr(adam)


@pytest.mark.parametrize("part", [None, np.zeros(()), 5])
def test_a_data_set_of_no_arrays_says_which_part(part):
    images, labels = np.zeros((2, 28, 28), np.uint8), np.zeros(2, np.uint8)
    with pytest.raises(TypeError, match=r"mine, test part: expected an array of labels, got "):
        ImageDataset("mine", images, labels, images, part)
    with pytest.raises(TypeError, match=r"mine, training part: expected an array of images, got "):
        ImageDataset("mine", part, labels, images, labels)
