"""Small models of every kind that can be packed."""

from __future__ import annotations

from minibnn import (
    Activation,
    BatchNorm,
    Conv1D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    MaxPool2D,
    Rescale,
    Reshape,
    ShiftBatchNorm,
    SignSTE,
    TensorNorm,
)

SIGN = SignSTE()


def dense(n_in, n_out, **options):
    return Dense(n_in, n_out, weight_quantizer=SIGN, **options)


def ink():
    """Pixels to bits."""
    return [Rescale(1, -128), Activation(SIGN)]


def shake(model, rng):
    """Random values, also extreme ones, for biases, batch norm and running statistics."""
    for parameter in model.parameters():
        data = parameter.data
        if parameter.name == "bias":
            data[...] = rng.normal(0, 3, data.shape).round(rng.integers(0, 5))
        elif parameter.name == "gamma":
            data[...] = rng.choice([1, -1, 0, -0.0, 1e-42, -1e-42, 0.3, -7, 1e20], data.shape)
        elif parameter.name == "beta":
            data[...] = rng.choice([0, -0.0, 0.5, -0.5, 1e-42, -2, 3], data.shape)
    for buffer in model.buffers():
        if buffer.name == "running_mean":
            buffer.data[...] = rng.choice([0, 1, -2, 0.1, 3.7, -20], buffer.data.shape)
        elif buffer.name == "running_var":
            buffer.data[...] = rng.choice([0, 1, 1e-40, 17.3, 900], buffer.data.shape)
    return model


def norms(n):
    return [[], [BatchNorm(n)], [BatchNorm(n, scale=False)], [TensorNorm()], [ShiftBatchNorm(n)]]


def images_models():
    def conv(c_in, c_out, size=3, **options):
        return Conv2D(c_in, c_out, size, weight_quantizer=SIGN, **options)

    def signal(c_in, c_out, size, **options):
        return Conv1D(c_in, c_out, size, weight_quantizer=SIGN, **options)

    # Whole numbers in floats are exact, so even the first layer has no other order.
    whole = [Reshape((8, 9, 1)), Rescale(1, -100)]
    sign = Activation(SIGN)
    tail = [Flatten()]
    return {
        "plain": [*whole, conv(1, 5), BatchNorm(5), sign, *tail, dense(6 * 7 * 5, 4)],
        "pooled": [*whole, conv(1, 5), MaxPool2D(2), BatchNorm(5), sign, *tail, dense(45, 4)],
        "pooled after the norm": [*whole, conv(1, 5), BatchNorm(5), MaxPool2D(2, 1), sign, *tail, dense(150, 4)],
        "pooled signs": [*whole, conv(1, 5), BatchNorm(5), sign, MaxPool2D((3, 2)), *tail, dense(30, 4)],
        "two": [*whole, conv(1, 5), sign, conv(5, 3, padding=1, padding_value=-1), MaxPool2D(2), BatchNorm(3), Activation(SIGN), *tail, dense(27, 4)],
        "padding +1": [*whole, conv(1, 5), sign, conv(5, 3, (2, 4), padding=(2, 1), padding_value=1, stride=(2, 1), dilation=(1, 2)), Activation(SIGN), *tail, dense(5 * 3 * 3, 4)],
        "same": [*whole, conv(1, 5), sign, conv(5, 3, 2, padding="same", padding_value=-1), Activation(SIGN), *tail, dense(6 * 7 * 3, 4)],
        "bits": [Reshape((8, 9, 1)), *ink(), conv(1, 5, padding=1, padding_value=-1), BatchNorm(5), sign, *tail, dense(360, 4)],
        "pixel padding": [Reshape((8, 9, 1)), Rescale(1, -1), conv(1, 5, padding=1, padding_value=-1), sign, *tail, dense(360, 4)],
        "pixel padding 0": [Reshape((8, 9, 1)), Rescale(1, 0), conv(1, 5, padding=2), BatchNorm(5), sign, *tail, dense(10 * 11 * 5, 4)],
        "falling pixels": [Reshape((8, 9, 1)), Rescale(-1, 100), conv(1, 5), MaxPool2D(2), sign, *tail, dense(45, 4)],
        "channels": [Reshape((4, 6, 3)), Rescale(1, -100), conv(3, 5, 2), Dropout(0.5), BatchNorm(5), sign, *tail, dense(75, 4)],
        "signals": [Reshape((24, 3)), Rescale(1, -100), signal(3, 5, 4, stride=2), BatchNorm(5), sign, signal(5, 3, 3, padding=2, padding_value=-1, dilation=2), Activation(SIGN), *tail, dense(33, 4)],
        "conv last": [*whole, conv(1, 5), sign, conv(5, 4, (6, 7)), *tail, BatchNorm(4)],
        "reshaped acc": [*whole, conv(1, 5), Reshape((42, 5)), BatchNorm(5), sign, *tail, dense(210, 4)],
    }  # fmt: skip
