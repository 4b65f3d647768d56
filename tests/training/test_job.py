"""What a training was made from: equal in every process, and each difference by name."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from minibnn import (
    SGD,
    Activation,
    Adam,
    Bop,
    Conv2D,
    Cosine,
    Cutout,
    DataLoader,
    Dense,
    Dropout,
    LogitCrossEntropy,
    OptimizerGroup,
    PerEpoch,
    Sequential,
    SignSTE,
    SquaredHinge,
    split_parameters,
)
from minibnn.backend import CPU
from minibnn.description import describe_loosely
from minibnn.recipes import RECIPES
from minibnn.state_file import from_json, to_json
from minibnn.training.job import circumstances, describe_job, differences

X = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
LABELS = np.arange(6) % 2


def net(p=0.5, quantizer=None, bias=True):
    return Sequential(
        Dense(4, 3, weight_quantizer=quantizer or SignSTE(), bias=bias), Dropout(p), Dense(3, 2)
    )


def adam(model):
    return Adam(model.parameters(), 0.1)


def job(model=None, loss=None, optimizer=adam, x=X, labels=LABELS, batch=2, test=X,
        test_batch=3, dtype=np.float32, kind=DataLoader, **options):  # fmt: skip
    model = (model or net()).initialize(0, dtype)
    return describe_job(
        model,
        loss or LogitCrossEntropy(),
        optimizer(model),
        kind((x, labels), batch, rng=0, **options),
        ("test", DataLoader((test, LABELS), test_batch)),
    )


def pixel(a):
    a = a.copy()
    a.reshape(-1)[-1] += 1
    return a


DIFFERENCES = {
    "data": ({"x": pixel(X)}, "training data 0: float32 (6, 4) sha256 "),
    "fewer": ({"x": X[:4], "labels": LABELS[:4]}, "training data 0: float32 (6, 4) sha256 "),
    "label": ({"labels": pixel(LABELS)}, "training data 1: int64 (6,) sha256 "),
    "test data": ({"test": pixel(X)}, "test data 0: float32 (6, 4) sha256 "),
    "test batch": ({"test_batch": 2}, "test batches, batch_size: 3 then, 2 now"),
    "batch": ({"batch": 3}, "training batches, batch_size: 2 then, 3 now"),
    "augment": ({"augment": Cutout(2)}, "training batches, augment: None then, Cutout now"),
    "shuffle": ({"shuffle": True}, "training batches, shuffle: False then, True now"),
    "rest": ({"drop_last": True}, "training batches, drop_last: False then, True now"),
    "loader": (
        {"kind": type("Mine", (DataLoader,), {})},
        "training batches: DataLoader then, Mine now",
    ),
    "dtype": ({"dtype": np.float64}, "dtype: float32 then, float64 now"),
    "rate": (
        {"optimizer": lambda m: Adam(m.parameters(), 0.2)},
        "optimizer, learning_rate: 0.1 then, 0.2 now",
    ),
    "schedule": (
        {"optimizer": lambda m: Adam(m.parameters(), Cosine(0.1, 0, length=9))},
        "optimizer, learning_rate: 0.1 then, Cosine now",
    ),
    "optimiser": (
        {"optimizer": lambda m: SGD(m.parameters(), 0.1)},
        "optimizer: Adam then, SGD now",
    ),
    "parameters": (
        {"optimizer": lambda m: Adam([*m.parameters()][::-1], 0.1)},
        "optimizer, parameters 0, parameter: 0.weight then, 2.bias now",
    ),
    "fewer parameters": (
        {"optimizer": lambda m: Adam([*m.parameters()][:3], 0.1)},
        "optimizer, parameters: 4 then, 3 now",
    ),
    "loss": ({"loss": SquaredHinge()}, "loss: LogitCrossEntropy then, SquaredHinge now"),
    "smoothing": (
        {"loss": LogitCrossEntropy(label_smoothing=0.1)},
        "loss, label_smoothing: 0.0 then, 0.1 now",
    ),
    "dropout": ({"model": net(0.25)}, "model, layers 1, rate: 0.5 then, 0.25 now"),
    "quantizer": (
        {"model": net(quantizer=SignSTE(clip=1.0))},
        "model, layers 0, weight_quantizer, clip: None then, 1.0 now",
    ),
    "bias": ({"model": net(bias=False)}, "model, layers 0, bias: True then, False now"),
    "more layers": (
        {"model": Sequential(Dense(4, 3), Activation(SignSTE()), Dropout(0.5), Dense(3, 2))},
        "model, layers: 3 then, 4 now",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENCES)
def test_each_difference_is_named(name):
    changed, text = DIFFERENCES[name]
    found = list(differences(job(), job(**changed)))
    assert any(one.startswith(text) for one in found), found
    assert all(len(one) < 250 for one in found)


def test_another_augmentation_is_named():
    one, other = (job(augment=Cutout(size)) for size in (2, 3))
    assert list(differences(one, other)) == ["training batches, augment, size: 2 then, 3 now"]


def test_equal_jobs_are_equal_also_through_a_file():
    assert job() == job()
    assert list(differences(from_json(to_json(job())), job())) == []


def test_more_differences_come_in_order():
    there, here = job(), job(batch=3, loss=SquaredHinge())
    found = list(differences(there, here))
    assert [one.split(":")[0] for one in found] == ["loss", "training batches, batch_size"]


def test_an_argument_that_only_one_version_has_is_named():
    there = {"model": {"class": "Mine", "arguments": {"n": 1}}}
    here = {"model": {"class": "Mine", "arguments": {"n": 1, "p": 2}}}
    assert list(differences(there, here)) == ["model, p: None then, 2 now"]


def test_schedules_and_groups_differ_inside():
    def group(end):
        def make(model):
            binary, rest = split_parameters(model)
            rate = PerEpoch(Cosine(0.1, end, length=4), 3)
            return OptimizerGroup(Bop(binary), Adam(rest, rate))

        return make

    found = list(differences(job(optimizer=group(0)), job(optimizer=group(0.01))))
    assert found == [
        "optimizer, optimizers 1, learning_rate, schedule, end: 0 then, 0.01 now"
    ]  # fmt: skip


def test_images_and_large_arrays():
    x = np.zeros((2, 2**13, 2**11), np.uint8)  # more than is hashed at once
    data = (x, np.arange(2))
    model = Sequential(Conv2D(1, 1, 1)).initialize(0)
    given = model, LogitCrossEntropy(), SGD(model.parameters(), 0.1)
    one = describe_job(*given, DataLoader(data, 1), ("test", DataLoader((X, LABELS), 1)))
    x = x.copy()
    x[-1, -1, -1] = 1
    other = describe_job(*given, DataLoader((x, data[1]), 1), ("test", DataLoader((X, LABELS), 1)))
    (found,) = differences(one, other)
    assert found.startswith("training data 0: uint8 (2, 8192, 2048) sha256 ")


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_described_and_kept(name):
    recipe = RECIPES[name]()
    model = recipe.build()
    found = describe_loosely(model)
    assert from_json(to_json(found)) == found
    assert " at 0x" not in to_json(found)


IN_A_PROCESS = """
import numpy as np
from minibnn import Adam, DataLoader, Dense, LogitCrossEntropy, Rescale, Sequential
from minibnn.state_file import to_json
from minibnn.training.job import circumstances, describe_job
from minibnn.backend import CPU

class Mine(Rescale):
    def __init__(self, names, table, function):
        super().__init__(1.0)
        self.names, self.table, self.function = names, table, function

names = {"red", "green", "blue", "white", "black"}
model = Sequential(
    Mine(names, np.arange(2000.0), lambda x: x), Mine(frozenset(names), {1: "red"}, object()),
    Dense(4, 2),
).initialize(0)
loader = DataLoader((np.ones((6, 4), np.float32), np.arange(6) % 2), 2, shuffle=True, rng=0)
optimizer = Adam(model.parameters(), lambda t: 0.1)
print(to_json(describe_job(model, LogitCrossEntropy(), optimizer, loader, ("test", loader))))
print(to_json(circumstances(CPU)))
"""


def in_a_process(**environment):
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"} | environment
    ran = subprocess.run(
        [sys.executable, "-c", IN_A_PROCESS],
        env=env, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    return [from_json(line) for line in ran.stdout.splitlines()]


def test_processes_agree_and_say_what_changes_the_rounding():
    one, there = in_a_process(PYTHONHASHSEED="1")
    other, here = in_a_process(PYTHONHASHSEED="2")
    assert list(differences(one, other)) == []
    assert one == other
    assert there == here
    threads, kind = in_a_process(OPENBLAS_NUM_THREADS="2", OPENBLAS_CORETYPE="Nehalem")
    assert threads == one
    changed = {text.split(" of BLAS")[0]: text for text in differences(there, kind)}
    if "openblas" not in there["the kind of BLAS, for matrix products"]:
        pytest.skip("another BLAS, which reads other variables")
    assert changed["the number of threads"].endswith(": 1 then, 2 now")
    if here["the processor's kind"] == "x86_64":
        assert changed["the instruction set"].endswith(" then, Nehalem now")


def test_only_numpys_blas_counts(monkeypatch):
    """SciPy, imported in the middle of a session, brings another."""
    import threadpoolctl

    real = threadpoolctl.threadpool_info()
    before = circumstances(CPU)
    other = {"user_api": "blas", "internal_api": "openblas", "filepath": "/scipy.libs/openblas.so"}
    other |= {"version": "0.0", "architecture": "Other", "num_threads": 77}
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [*real, other])
    if any("numpy" in info["filepath"] for info in real if info["user_api"] == "blas"):
        assert circumstances(CPU) == before
    monkeypatch.setattr(threadpoolctl, "threadpool_info", lambda: [other])
    assert circumstances(CPU)["the version of BLAS, for matrix products"] == "0.0"


def test_a_users_constants_are_part_of_the_job():
    """A repr would leave most of an array out, and digits."""

    class Table(Dropout):
        def __init__(self, table):
            super().__init__(0.5)
            self.table = table

    table = np.linspace(0, 1, 5000)
    other = table.copy()
    other[2500] += 1e-12
    jobs = [job(Sequential(Table(t), Dense(4, 2))) for t in (table, table.copy(), other)]
    assert jobs[0] == jobs[1]
    (found,) = differences(jobs[0], jobs[2])
    assert found.startswith("model, layers 0, table: float64 (5000,) sha256 ")


def test_circumstances_are_texts():
    found = circumstances(CPU)
    assert all(type(value) is str and value for value in found.values())
    assert "cpu" in found["the device"].lower()


def test_of_a_gpu_its_kind_is_a_circumstance(device):
    extra = circumstances(device).keys() - circumstances(CPU).keys()
    assert extra == {"the kind of GPU", "the version of CuPy", "the version of CUDA"}
    assert all(type(text) is str for text in circumstances(device).values())
