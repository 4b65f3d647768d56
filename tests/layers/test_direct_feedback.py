"""Direct feedback alignment: the path of the error, and when its matrices are drawn."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from cases import direct_feedback_net

from minibnn import (
    SGD,
    Activation,
    BatchNorm,
    Dense,
    DirectFeedback,
    Fill,
    Flatten,
    LogitCrossEntropy,
    ReLU,
    Sequential,
    SignSTE,
    Tanh,
    check_gradients,
)


def drawn(model=None, seed=0, dtype=np.float32):
    """A model after its first training forward."""
    model = direct_feedback_net() if model is None else model
    model.initialize(seed, dtype)
    model.forward(np.ones((2, 4), dtype), train=True)
    model.forget()
    return model


def matrices(model):
    return [model.backend.to_host(b.data).copy() for b in model.feedback_weights]


@pytest.mark.parametrize("quantizer", [None, SignSTE()], ids=["real", "binary"])
def test_two_layers_with_the_forward_weights_are_backprop(quantizer, rng):
    def layers():
        return (
            Sequential(Dense(6, 5, weight_quantizer=quantizer), Activation(ReLU())),
            Dense(5, 3, weight_quantizer=quantizer),
        )

    backprop = Sequential(*layers()).initialize(3)
    direct = DirectFeedback(*layers()).initialize(3)
    x = rng.standard_normal((8, 6)).astype(np.float32)
    dy = rng.standard_normal((8, 3)).astype(np.float32)
    np.testing.assert_array_equal(direct.forward(x, train=True), backprop.forward(x, train=True))
    W2 = direct[1].weight.data
    direct.feedback_weights[0].data[...] = direct[1].weight_quantizer.forward(W2)
    expected, got = (
        [model.backward(dy), *(p.grad for p in model.parameters())] for model in (backprop, direct)
    )
    for one, other in zip(expected, got, strict=True):
        np.testing.assert_array_equal(other, one)


def test_every_block_gets_the_output_error_through_its_own_matrix(rng):
    model = DirectFeedback(
        Sequential(Dense(4, 5), Activation(Tanh())),
        Sequential(Dense(5, 6), Activation(Tanh())),
        Dense(6, 3),
    ).initialize(0, np.float64)
    x, dy = rng.standard_normal((8, 4)), rng.standard_normal((8, 3))
    model.forward(x, train=True)
    dx = model.backward(dy)
    B1, B2 = matrices(model)
    (W1, b1, W2, b2, W3, b3) = model.parameters()
    h1 = np.tanh(x @ W1.data + b1.data)
    h2 = np.tanh(h1 @ W2.data + b2.data)
    da1, da2 = (dy @ B1.T) * (1 - h1 * h1), (dy @ B2.T) * (1 - h2 * h2)
    for p, expected in [(W3, h2.T @ dy), (b3, dy.sum(0)), (W2, h1.T @ da2), (b2, da2.sum(0)),
                        (W1, x.T @ da1), (b1, da1.sum(0))]:  # fmt: skip
        np.testing.assert_allclose(p.grad, expected, rtol=1e-12)
    np.testing.assert_allclose(dx, da1 @ W1.data.T, rtol=1e-12)


def test_an_error_takes_the_shape_of_its_block(rng):
    model = drawn()
    assert [B.shape for B in matrices(model)] == [(5, 3), (6, 3)]  # block 2 gives (batch, 2, 3)
    model.forward(rng.standard_normal((7, 4)).astype(np.float32), train=True)
    assert model.backward(np.ones((7, 3), np.float32)).shape == (7, 4)


def test_matrices_are_drawn_once_in_the_first_training_forward(rng):
    model = direct_feedback_net().initialize(0)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    model.forward(x)
    assert [b.data for b in model.buffers()] == [None, None]
    model.forward(x, train=True)
    before = matrices(model)
    optimizer = SGD(model.parameters(), 0.1)
    for _ in range(3):
        model.forward(x, train=True)
        model.backward(np.ones((5, 3), np.float32), need_dx=False)
        optimizer.step()
    for B, again in zip(before, matrices(model), strict=True):
        np.testing.assert_array_equal(again, B)


def test_a_seed_gives_one_network_and_another_seed_another():
    same, again, other = (matrices(drawn(seed=s)) for s in (1, 1, 2))
    for a, b, c in zip(same, again, other, strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.allclose(a, c)
    assert not np.allclose(same[0][:5], same[1][:5])


def test_each_block_has_a_matrix_of_its_own():
    first, second = matrices(drawn(DirectFeedback(Dense(4, 5), Dense(5, 5), Dense(5, 3))))
    assert first.shape == second.shape
    assert not np.allclose(first, second)


def test_only_the_first_block_is_asked_for_its_dx():
    class Asked(Dense):
        def backward(self, dz, *, need_dx=True):
            asked.append(need_dx)
            return super().backward(dz, need_dx=need_dx)

    model = drawn(DirectFeedback(Asked(4, 5), Asked(5, 5), Asked(5, 3)))
    for need_dx, expected in ((True, [False, False, True]), (False, [False] * 3)):
        asked = []
        model.forward(np.ones((2, 4), np.float32), train=True)
        model.backward(np.ones((2, 3), np.float32), need_dx=need_dx)
        assert asked == expected  # last block first


def test_initialising_again_draws_again():
    model = drawn()
    before = matrices(model)
    model.initialize(5)
    assert [b.data for b in model.buffers()] == [None, None]
    model.forward(np.ones((2, 4), np.float32), train=True)
    assert not np.allclose(matrices(model)[0], before[0])


@pytest.mark.parametrize("first", [True, False], ids=["drawn", "not yet drawn"])
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies_have_the_same_matrices(first, duplicate, rng):
    model = drawn() if first else direct_feedback_net().initialize(0)
    copied = duplicate(model)
    x = rng.standard_normal((5, 4)).astype(np.float32)
    results = []
    for m in (model, copied):
        y = m.forward(x, train=True)
        results.append([m.backward(np.ones_like(y)), *matrices(m)])
    for one, other in zip(*results, strict=True):
        np.testing.assert_array_equal(other, one)


@pytest.mark.parametrize("when", ["before", "after"])
def test_matrices_move_with_the_model(when, device):
    here = drawn()
    there = direct_feedback_net().initialize(0) if when == "before" else drawn()
    there.to(device)
    there.forward(device.asarray(np.ones((2, 4), np.float32)), train=True)
    assert all(isinstance(b.data, device.array_type) for b in there.buffers())
    for B, moved in zip(matrices(here), matrices(there), strict=True):
        np.testing.assert_array_equal(moved, B)
    there.to("cpu", np.float64)
    assert {b.data.dtype for b in there.buffers()} == {np.dtype(np.float64)}


def test_after_the_first_one_a_step_does_not_wait(device):
    if device.name != "strict":
        pytest.skip("only the stand-in counts read-backs")
    import strictdev

    model = drawn().to(device)
    x = device.asarray(np.ones((2, 4), np.float32))
    with strictdev.no_sync():
        model.backward(model.forward(x, train=True))


def test_the_initialiser_draws_the_matrices():
    model = drawn(DirectFeedback(Dense(4, 5), Dense(5, 3), initializer=Fill(0.25)))
    np.testing.assert_array_equal(matrices(model)[0], np.full((5, 3), 0.25))


def test_its_buffers_are_the_blocks_and_its_own():
    model = DirectFeedback(Sequential(Dense(4, 5), BatchNorm(5)), Dense(5, 3))
    assert [b.name for b in model.buffers()] == ["running_mean", "running_var", "feedback_0"]
    assert [n for n, _ in model.named_parameters()][:2] == ["0.0.weight", "0.0.bias"]


def test_it_learns():
    """It learns exclusive or, which a last layer alone cannot; guessing has a loss of 0.69."""
    rng = np.random.default_rng(0)
    x = rng.choice([-1.0, 1.0], (200, 2)).astype(np.float32)
    labels = (x[:, 0] * x[:, 1] > 0).astype(np.int64)
    model = DirectFeedback(
        Sequential(Dense(2, 32), Activation(Tanh())),
        Sequential(Dense(32, 32), Activation(Tanh())),
        Dense(32, 2),
    ).initialize(1)
    loss, optimizer = LogitCrossEntropy(), SGD(model.parameters(), 0.2)
    for _ in range(200):
        value = loss.forward(model.forward(x, train=True), labels)
        model.backward(loss.backward(), need_dx=False)
        optimizer.step()
    assert float(value) < 0.05


class Backprop(DirectFeedback):
    """Derives from DirectFeedback, but does backpropagation."""

    def backward(self, dy, *, need_dx=True):
        return Sequential.backward(self, dy, need_dx=need_dx)


def test_the_gradient_check_tells_it_from_backprop(rng):
    def blocks():
        return (
            Sequential(Dense(4, 5), Activation(Tanh())),
            Sequential(Dense(5, 6), Activation(Tanh())),
            Dense(6, 3),
        )

    x = rng.standard_normal((5, 4))
    assert check_gradients(DirectFeedback(*blocks()), x)
    report = check_gradients(Backprop(*blocks()), x)
    assert {r.name: r.ok for r in report.results} == {
        "0.0.weight": False, "0.0.bias": False, "1.0.weight": False, "1.0.bias": False,
        "2.weight": True, "2.bias": True, "x": False,
    }  # fmt: skip
    inside = Sequential(Dense(4, 4), DirectFeedback(*blocks()), Activation(Tanh()), Dense(3, 2))
    assert check_gradients(inside, x)
    outside = Sequential(Dense(4, 4), Backprop(*blocks()), Activation(Tanh()), Dense(3, 2))
    assert not check_gradients(outside, x)


def test_the_gradient_check_with_a_loss(rng):
    x = rng.standard_normal((5, 4))
    labels = np.array([0, 2, 1, 1, 0])
    assert check_gradients(direct_feedback_net(), x, loss=LogitCrossEntropy(), labels=labels)


def test_it_is_held_to_a_sequentials_rules():
    with pytest.raises(ValueError, match="DirectFeedback: expected at least one block, got none"):
        DirectFeedback()
    with pytest.raises(TypeError, match="got 'dense' at position 1"):
        DirectFeedback(Dense(3, 3), "dense")
    with pytest.raises(ValueError, match="got one of them twice"):
        DirectFeedback(*[Dense(3, 3)] * 2)


def test_errors_say_which_block():
    model = DirectFeedback(Dense(4, 5), Dense(6, 3)).initialize(0)
    with pytest.raises(ValueError, match="expected x of shape") as caught:
        model.forward(np.ones((2, 4), np.float32))
    assert caught.value.__notes__ == ["in layer 1 of DirectFeedback: Dense(6 -> 3)"]


def test_errors_of_its_own():
    model = DirectFeedback(Flatten(), Activation(ReLU()))
    with pytest.raises(RuntimeError, match=r"call model.initialize\(rng\) first"):
        model.forward(np.ones((2, 2, 2), np.float32), train=True)
    model.initialize(0).forward(np.ones((2, 2, 2), np.float32), train=True)
    with pytest.raises(ValueError, match=r"matrix 0, of shape \(4, 4\), got .* \(6, 6\) to fit"):
        model.forward(np.ones((2, 3, 2), np.float32), train=True)
    with pytest.raises(RuntimeError, match=r"DirectFeedback\(2 blocks\): backward needs a forward"):
        DirectFeedback(Dense(3, 3), Dense(3, 3)).initialize(0).backward(np.ones((2, 3), np.float32))


def test_it_reads_like_its_code():
    model = DirectFeedback(Dense(4, 5), Dense(5, 3))
    assert repr(model) == "DirectFeedback(\n    Dense(4 -> 5),\n    Dense(5 -> 3),\n)"
