"""Larq: its layers and quantizers in a Keras model.

Form `fit`: `model.fit` with its defaults, on arrays in the order of the round, as users write it.
Form `function`: one `tf.function` over the steps of the round, with the same model and optimiser;
it avoids the Python overhead of Keras.
"""

from __future__ import annotations

from typing import Any

import larq as lq
import tensorflow as tf

from harness.contestant import Array, Data, Job, run


class Larq:
    """Form fit or function."""

    def __init__(self, job: Job, weights: list[Array], data: Data, form: str) -> None:
        tf.config.threading.set_intra_op_parallelism_threads(job.threads)
        tf.config.threading.set_inter_op_parallelism_threads(job.threads)
        self.job, self.form = job, form
        self.images, self.labels = job.pixels(data.train_images), data.train_labels.astype("int32")
        self.model = network(job)
        self.model.build(self.images.shape)
        layers = [layer for layer in self.model.layers if hasattr(layer, "kernel")]
        for layer, W in zip(layers, weights, strict=True):
            layer.kernel.assign(W)
        self.loss = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.optimizer = tf.keras.optimizers.Adam(job.learning_rate, epsilon=1e-8)
        self.model.compile(self.optimizer, self.loss)
        if form == "function":
            self.x, self.y = tf.constant(self.images), tf.constant(self.labels)
            self.optimizer.build(self.model.trainable_variables)

    def first(self, row: Array) -> float:
        """The loss of a batch, without an update."""
        logits = self.model(self.images[row], training=True)
        return float(self.loss(self.labels[row], logits))

    def train(self, rows: Array) -> list[Any]:
        """Run a step for each row."""
        if self.form == "function":
            losses = self.steps(tf.constant(rows.astype("int32")))
            return [float(losses[0]), float(losses[-1])]
        if not hasattr(self, "first_loss"):  # in the warm-up round, which is not counted
            self.first_loss = self.first(rows[0])
        order = rows.ravel()
        batch = rows.shape[1]
        self.model.fit(self.images[order], self.labels[order], batch, shuffle=False, verbose=0)
        return []

    @tf.function  # type: ignore[untyped-decorator]
    def steps(self, rows: Any) -> Any:
        """Run a step for each row, in a loop of TensorFlow."""
        losses = tf.TensorArray(tf.float32, size=len(rows))
        for i in tf.range(len(rows)):
            x, y = tf.gather(self.x, rows[i]), tf.gather(self.y, rows[i])
            with tf.GradientTape() as tape:
                loss = self.loss(y, self.model(x, training=True))
            variables = self.model.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables))  # noqa: B905
            losses = losses.write(i, loss)
        return losses.stack()

    def evaluate(self, images: Array, labels: Array) -> tuple[float, float]:
        """This contestant does not evaluate."""
        raise NotImplementedError


def network(job: Job) -> Any:
    """The job's network."""
    options: dict[str, Any] = {
        "use_bias": job.bias,
        "kernel_quantizer": lq.quantizers.SteSign(clip_value=None),
        "kernel_constraint": "weight_clip" if job.bound else None,
    }
    sign = lq.quantizers.SteSign(clip_value=job.clip)
    layers: list[Any] = []

    def after(last: bool = False) -> list[Any]:
        norm = [tf.keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)] if job.norm else []
        return norm if last else [*norm, tf.keras.layers.Activation(sign)]

    for i, n_out in enumerate(job.convs):
        layers += [lq.layers.QuantConv2D(n_out, 3, **options)]
        layers += [tf.keras.layers.MaxPool2D(2)] if i in job.pooled else []
        layers += after()
    layers += [tf.keras.layers.Flatten()] if job.convs else []
    for i, n_out in enumerate(job.sizes[1:], start=2):
        layers += [lq.layers.QuantDense(n_out, **options), *after(i == len(job.sizes))]
    return tf.keras.Sequential(layers)


if __name__ == "__main__":
    run(Larq)
