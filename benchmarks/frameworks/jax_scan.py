"""JAX: all steps of a round are one compiled `lax.scan`, with Adam written out inside it.

The training set is a float32 array on the device, batches are gathered inside the scan, and the
memory of the state is donated. (A compiled step called from Python was slower in each workload.)

Forms, which can be combined: `unrolled` writes eight steps into the body of the scan; `im2col`
convolves on a GPU as on the CPU; `cached` stores compiled code on disk for the next process.
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from harness.contestant import Array, Data, Job, require_exact, run


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def sign(x: Any, clip: float | None) -> Any:
    """+1 or -1, with a straight-through gradient within the clip."""
    return jnp.where(x >= 0, 1.0, -1.0).astype(x.dtype)


def sign_forward(x: Any, clip: float | None) -> tuple[Any, Any]:
    """Keep x for the backward pass if there is a clip."""
    return sign(x, clip), None if clip is None else x


def sign_backward(clip: float | None, x: Any, dy: Any) -> tuple[Any]:
    """The straight-through gradient within the clip."""
    return (dy if clip is None else jnp.where(jnp.abs(x) <= clip, dy, 0.0),)


sign.defvjp(sign_forward, sign_backward)


def convolve(x: Any, W: Any) -> Any:
    """A 3x3 convolution, channels last, as one product with the im2col matrix.

    On the CPU this is faster than `lax.conv_general_dilated`, inside `lax.scan` more than ten times
    faster.
    """
    n, height, width = x.shape[0], x.shape[1] - 2, x.shape[2] - 2
    parts = [x[:, i : i + height, j : j + width] for i in range(3) for j in range(3)]
    im2col = jnp.concatenate(parts, axis=-1).reshape(n * height * width, -1)
    return (im2col @ W.reshape(-1, W.shape[-1])).reshape(n, height, width, -1)


def convolve_by_library(x: Any, W: Any) -> Any:
    """The same convolution, through cuDNN."""
    return lax.conv_general_dilated(x, W, (1, 1), "VALID", None, None, ("NHWC", "HWIO", "NHWC"))


def pool(x: Any) -> Any:
    """2x2 max pooling, faster than `lax.reduce_window` here."""
    n, height, width, channels = x.shape[0], x.shape[1] // 2, x.shape[2] // 2, x.shape[3]
    x = x[:, : 2 * height, : 2 * width].reshape(n, height, 2, width, 2, channels)
    return x.max((2, 4))


class Jax:
    """JAX on the platform that the environment selects."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        self.job = job
        precision = "tensorfloat32" if job.tf32 else "highest"
        jax.config.update("jax_default_matmul_precision", precision)
        require_exact(job, jnp.matmul)
        if "cached" in form:
            folder = Path(tempfile.gettempdir()) / "minibnn-benchmark-jax"
            jax.config.update("jax_compilation_cache_dir", str(folder))
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
            jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
        im2col = job.device == "cpu" or "im2col" in form
        self.convolve = convolve if im2col else convolve_by_library
        self.unroll = 8 if "unrolled" in form else 1
        n_outs = [W.shape[-1] for W in weights]
        parameters = {
            "W": [jnp.array(W) for W in weights],
            "b": [jnp.zeros(n) for n in n_outs if job.bias],
            "gamma": [jnp.ones(n) for n in n_outs if job.norm],
            "beta": [jnp.zeros(n) for n in n_outs if job.norm],
        }
        running = [(jnp.zeros(n), jnp.ones(n)) for n in n_outs if job.norm]
        m, v = (jax.tree.map(jnp.zeros_like, parameters) for _ in range(2))
        self.state = (parameters, running, m, v, jnp.zeros((), jnp.int32))
        self.images = jnp.asarray(job.pixels(data.train_images))
        self.labels = jnp.asarray(data.train_labels)
        self.many = jax.jit(self.scan, donate_argnums=0)
        self.test = jax.jit(self.metrics)

    def forward(self, parameters: Any, running: Any, x: Any, train: bool) -> tuple[Any, Any]:
        """The logits and the new running statistics."""
        job, updated = self.job, []
        last = len(parameters["W"]) - 1
        for i, W in enumerate(parameters["W"]):
            W = sign(W, None)
            if W.ndim == 4:
                x = self.convolve(x, W)
                x = pool(x) if i in job.pooled else x
            else:
                x = x.reshape(len(x), -1) @ W
            if job.bias:
                x = x + parameters["b"][i]
            if job.norm:
                mean, var = running[i]
                if train:
                    axes = tuple(range(x.ndim - 1))
                    n = x.size // x.shape[-1]
                    # XLA would replace this division by a product with 1/n. But the mean of a sum
                    # of signs can be an integer that equals some x: their difference must be 0.
                    mean = x.sum(axes) / lax.optimization_barrier(jnp.float32(n))
                    var = jnp.square(x - mean).mean(axes)
                    new = mean, var * (n / (n - 1))
                    updated.append(tuple(0.9 * r + 0.1 * s for r, s in zip(running[i], new)))  # noqa: B905
                scale = parameters["gamma"][i] * lax.rsqrt(var + 1e-5)
                x = (x - mean) * scale + parameters["beta"][i]
            x = sign(x, job.clip) if i < last else x
        return x, updated

    def batch_loss(self, parameters: Any, running: Any, x: Any, labels: Any) -> tuple[Any, Any]:
        """The function to differentiate."""
        logits, running = self.forward(parameters, running, x, True)
        return cross_entropy(logits, labels), running

    def step(self, state: Any, row: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        """One training step."""
        parameters, running, m, v, t = state
        loss, grad = jax.value_and_grad(self.batch_loss, has_aux=True)(
            parameters, running, taken(images, row), taken(labels, row)
        )
        loss, running = loss
        t = t + 1
        c1, c2 = 1 - 0.9**t, 1 - 0.999**t
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, grad)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, grad)
        parameters = jax.tree.map(
            lambda p, m, v: p - self.job.learning_rate * (m / c1) / (jnp.sqrt(v / c2) + 1e-8),
            parameters, m, v,
        )  # fmt: skip
        if self.job.bound is not None:
            bound = self.job.bound
            parameters["W"] = [jnp.clip(W, -bound, bound) for W in parameters["W"]]
        return (parameters, running, m, v, t), loss

    def scan(self, state: Any, rows: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        """Run a step for each row."""
        found: tuple[Any, Any] = lax.scan(
            lambda state, row: self.step(state, row, images, labels), state, rows,
            unroll=self.unroll,
        )  # fmt: skip
        return found

    def train(self, rows: Array) -> list[float]:
        """Run a step for each row."""
        device_rows = jnp.asarray(rows.astype("int32"))
        self.state, losses = self.many(self.state, device_rows, self.images, self.labels)
        jax.block_until_ready((self.state, losses))
        return [float(losses[0]), float(losses[-1])]

    def metrics(self, parameters: Any, running: Any, images: Any, labels: Any) -> tuple[Any, Any]:
        """Mean loss and accuracy over images, as bytes."""
        x = images.reshape(len(images), -1).astype(jnp.float32) * self.job.scale + self.job.shift
        logits, _ = self.forward(parameters, running, x, False)
        return cross_entropy(logits, labels), (logits.argmax(1) == labels).mean()

    def put(self, array: Array) -> Any:
        """Move an array to the device."""
        return jnp.asarray(array)

    def wait(self) -> None:
        """Wait for the last round; `train` has waited for its own steps."""
        jax.block_until_ready(self.state)

    def evaluate(self, images: Any, labels: Any) -> tuple[float, float]:
        """All images in one compiled call."""
        loss, accuracy = jax.device_get(self.test(*self.state[:2], images, labels))
        return float(loss), float(accuracy)


def taken(array: Any, row: Any) -> Any:
    """These rows, without a check of the bounds."""
    return array.at[row].get(mode="promise_in_bounds")


def cross_entropy(logits: Any, labels: Any) -> Any:
    """The mean over the samples."""
    logp = jax.nn.log_softmax(logits)
    return -jnp.take_along_axis(logp, labels[:, None].astype(jnp.int32), axis=1).mean()


if __name__ == "__main__":
    run(Jax)
