"""Convolution and pooling beside PyTorch's: values and gradients, in float64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from minibnn import AveragePool2D, Conv1D, Conv2D, GlobalAveragePool2D, MaxPool2D, PReLU, Uniform

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
torch.set_num_threads(1)  # for arrays this small, other threads only take the time of other tests
pytestmark = pytest.mark.torch

NEAR = {"rtol": 1e-9, "atol": 1e-10}


def channels_first(a):
    return torch.tensor(np.ascontiguousarray(a.transpose(0, 3, 1, 2)), requires_grad=True)


def compare(layer, function, x, rng):
    """Run both; return PyTorch's output after its backward, for the parameters' gradients."""
    theirs_x = channels_first(x)
    theirs = function(theirs_x)
    ours = layer.forward(x, train=True)
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 3, 1), **NEAR)
    dz = rng.standard_normal(ours.shape)
    theirs.backward(channels_first(dz).detach())
    np.testing.assert_allclose(
        layer.backward(dz), theirs_x.grad.numpy().transpose(0, 2, 3, 1), **NEAR
    )


CONVOLUTIONS = [
    {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    for stride, padding, dilation, groups in itertools.product(
        (1, 2, (1, 3)), (0, 1, (2, 1)), (1, (2, 1), (1, 3)), (1, 2)
    )
]


@pytest.mark.parametrize("kernel", [(3, 3), (2, 3), (1, 1)])
@pytest.mark.parametrize("options", CONVOLUTIONS, ids=lambda o: "-".join(map(str, o.values())))
def test_conv2d(kernel, options, rng):
    layer = Conv2D(4, 6, kernel, **options).initialize(1, np.float64)
    layer.bias.data[...] = rng.standard_normal(6)
    W = torch.tensor(layer.weight.data.transpose(3, 2, 0, 1).copy(), requires_grad=True)
    b = torch.tensor(layer.bias.data, requires_grad=True)
    x = rng.standard_normal((3, 9, 8, 4))
    compare(layer, lambda x: torch.nn.functional.conv2d(x, W, b, **options), x, rng)
    np.testing.assert_allclose(layer.weight.grad, W.grad.numpy().transpose(2, 3, 1, 0), **NEAR)
    np.testing.assert_allclose(layer.bias.grad, b.grad.numpy(), **NEAR)


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")  # that it makes a copy
@pytest.mark.parametrize("kernel", [2, 3, (2, 3)])
def test_same_padding(kernel, rng):
    layer = Conv2D(2, 3, kernel, padding="same", bias=False).initialize(1, np.float64)
    W = torch.tensor(layer.weight.data.transpose(3, 2, 0, 1).copy())
    x = rng.standard_normal((2, 5, 6, 2))
    compare(layer, lambda x: torch.nn.functional.conv2d(x, W, padding="same"), x, rng)


POOLS = list(itertools.product((2, 3, (2, 3)), (None, 1, 2, (3, 2))))


@pytest.mark.parametrize("binary", [False, True], ids=["real", "binary"])
@pytest.mark.parametrize(("size", "stride"), POOLS)
def test_max_pool(size, stride, binary, rng):
    x = rng.standard_normal((2, 7, 9, 3))
    x = np.where(x > 0.5, 1.0, -1.0) if binary else x
    layer = MaxPool2D(size, stride).initialize(0, np.float64)
    compare(layer, lambda x: torch.nn.functional.max_pool2d(x, size, stride), x, rng)


@pytest.mark.parametrize(("size", "stride"), POOLS)
def test_average_pool(size, stride, rng):
    layer = AveragePool2D(size, stride).initialize(0, np.float64)
    x = rng.standard_normal((2, 7, 9, 3))
    compare(layer, lambda x: torch.nn.functional.avg_pool2d(x, size, stride), x, rng)


@pytest.mark.parametrize("options", CONVOLUTIONS[::5], ids=lambda o: "-".join(map(str, o.values())))
@pytest.mark.parametrize("kernel", [1, 2, 5])
def test_conv1d(kernel, options, rng):
    """Options of `CONVOLUTIONS` along the second axis."""
    options = {k: v[1] if isinstance(v, tuple) else v for k, v in options.items()}
    layer = Conv1D(4, 6, kernel, **options).initialize(1, np.float64)
    layer.bias.data[...] = rng.standard_normal(6)
    W = torch.tensor(layer.weight.data.transpose(2, 1, 0).copy(), requires_grad=True)
    b = torch.tensor(layer.bias.data, requires_grad=True)
    x = rng.standard_normal((3, 17, 4))
    theirs_x = torch.tensor(x.transpose(0, 2, 1).copy(), requires_grad=True)
    theirs = torch.nn.functional.conv1d(theirs_x, W, b, **options)
    ours = layer.forward(x, train=True)
    np.testing.assert_allclose(ours, theirs.detach().numpy().transpose(0, 2, 1), **NEAR)
    dz = rng.standard_normal(ours.shape)
    theirs.backward(torch.tensor(dz.transpose(0, 2, 1).copy()))
    np.testing.assert_allclose(layer.backward(dz), theirs_x.grad.numpy().transpose(0, 2, 1), **NEAR)
    np.testing.assert_allclose(layer.weight.grad, W.grad.numpy().transpose(2, 1, 0), **NEAR)
    np.testing.assert_allclose(layer.bias.grad, b.grad.numpy(), **NEAR)


def test_global_average_pool(rng):
    x = rng.standard_normal((3, 5, 7, 2))
    layer = GlobalAveragePool2D().initialize(0, np.float64)
    theirs_x = channels_first(x)
    theirs = torch.nn.functional.adaptive_avg_pool2d(theirs_x, 1)[:, :, 0, 0]
    ours = layer.forward(x, train=True)
    np.testing.assert_allclose(ours, theirs.detach().numpy(), **NEAR)
    dy = rng.standard_normal((3, 2))
    theirs.backward(torch.tensor(dy))
    np.testing.assert_allclose(
        layer.backward(dy), theirs_x.grad.numpy().transpose(0, 2, 3, 1), **NEAR
    )


def test_prelu(rng):
    x = rng.standard_normal((3, 4, 5, 2))
    layer = PReLU(2, slope_init=Uniform(-1, 1)).initialize(1, np.float64)
    a = torch.tensor(layer.slope.data, requires_grad=True)
    compare(layer, lambda x: torch.nn.functional.prelu(x, a), x, rng)
    np.testing.assert_allclose(layer.slope.grad, a.grad.numpy(), **NEAR)
