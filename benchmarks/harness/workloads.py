"""The workloads of `cpu.py` and their contestants."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.contestant import Job
from harness.race import Contestant

OURS = Contestant("minibnn", "minibnn", "frameworks.ours")
ON_NUMPY = Contestant(
    "minibnn without its C", "numpy", "frameworks.ours", variables=(("MINIBNN_COMPILED", "0"),)
)
PLAIN = Contestant("plain NumPy", "numpy", "frameworks.plain_numpy")
PRODUCTS = Contestant("matrix products alone", "numpy", "frameworks.products")
EAGER = Contestant("PyTorch eager", "pytorch", "frameworks.pytorch", "eager")
CHANNELS_LAST = Contestant(
    "PyTorch channels_last", "pytorch", "frameworks.pytorch", "channels_last"
)
COMPILED = Contestant("PyTorch compiled", "pytorch", "frameworks.pytorch", "compiled")
JAX = Contestant("JAX", "jax", "frameworks.jax_scan")
FIT = Contestant("Larq, model.fit", "larq", "frameworks.larq_keras", "fit")
FUNCTION = Contestant("Larq, tf.function", "larq", "frameworks.larq_keras", "function")
THINC = Contestant("Thinc, of floats", "thinc", "frameworks.thinc_float")

SEED = Job("train", (784, 128, 64, 10), bias=True, norm=False, clip=None, bound=None,
           scale=1 / 255, shift=0.0, learning_rate=3e-4, batch=64, steps=937)  # fmt: skip
MODULES = {  # for each rival that trains: its name in tables, and the module to import
    "pytorch": ("PyTorch", "torch"),
    "jax": ("JAX", "jax"),
    "thinc": ("Thinc", "thinc"),
    "larq": ("Larq", "larq"),
}
RIVALS = tuple(MODULES)


def step_job(*hidden: int, steps: int, batch: int = 100, threads: int = 2) -> Job:
    """Training steps of a dense binary network."""
    return Job("train", (784, *hidden, 10), batch=batch, steps=steps, threads=threads)


@dataclass(frozen=True)
class Workload:
    """Something to measure."""

    unit: str
    job: Job
    contestants: tuple[Contestant, ...]
    tolerance: float = 1e-2  # of the first loss: other orders of summation flip signs near zero
    whole_mnist: bool = False  # whether it needs the files of MNIST, not just some images


WORKLOADS = {
    "seed-epoch": Workload(
        "epoch", SEED, (OURS, ON_NUMPY, PLAIN, EAGER, COMPILED, JAX, FIT, FUNCTION, THINC), 1e-3
    ),
    "seed-job": Workload("job", replace(SEED, kind="whole"), (OURS, PLAIN, EAGER, JAX),
                     whole_mnist=True),
    "step-3x256": Workload(
        "step", step_job(256, 256, 256, steps=300), (OURS, ON_NUMPY, EAGER, COMPILED, JAX, PRODUCTS)
    ),
    "step-3x1024": Workload(
        "step", step_job(1024, 1024, 1024, steps=30),
        (OURS, ON_NUMPY, EAGER, COMPILED, JAX, PRODUCTS)
    ),
    "step-3x4096": Workload(
        "step", step_job(4096, 4096, 4096, steps=6), (OURS, EAGER, JAX, PRODUCTS)
    ),
    "step-larq-cnn": Workload(
        "step",
        Job("train", (576, 64, 10), convs=(32, 64, 64), pooled=(0, 1), steps=15),
        (OURS, ON_NUMPY, EAGER, CHANNELS_LAST, COMPILED, JAX, FUNCTION, PRODUCTS),
    ),
    "evaluate": Workload(
        "10,000 images", replace(SEED, kind="evaluate", steps=20), (OURS, EAGER, JAX)
    ),
    "load-mnist": Workload("load", replace(SEED, kind="load", steps=1), (OURS, PLAIN),
                       whole_mnist=True),
    "import": Workload("import", replace(SEED, kind="import"), ()),
}  # fmt: skip
