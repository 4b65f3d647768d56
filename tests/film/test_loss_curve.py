"""The curve of losses: means over spans, bounded, exact, and resumable."""

from __future__ import annotations

import numpy as np
import pytest

from minibnn.film.loss_curve import MOST, LossCurve


def means_by_hand(losses, span):
    return [losses[k : k + span].mean() for k in range(0, len(losses), span)]


@pytest.mark.parametrize("steps", [0, 1, MOST - 1, MOST, MOST + 1, 2 * MOST + 1, 5000, 12_345])
@pytest.mark.parametrize("at_once", [1, 937, 20_000])
def test_means_of_spans(steps, at_once, rng):
    if at_once == 1 and steps > 5000:
        return  # slow
    losses, curve = rng.random(steps), LossCurve()
    for start in range(0, steps, at_once):
        curve.add(losses[start : start + at_once])
    assert curve.steps == steps
    assert curve.span == max(1, 2 ** int(np.ceil(np.log2(max(steps, 1) / MOST))))
    assert len(curve.means()) == -(-steps // curve.span) <= MOST
    np.testing.assert_allclose(curve.means(), means_by_hand(losses, curve.span), rtol=1e-12)


def test_it_goes_on_after_a_restore(rng):
    losses, whole, first, second = rng.random(3000), LossCurve(), LossCurve(), LossCurve()
    for start in range(0, 3000, 100):
        whole.add(losses[start : start + 100])
        (first if start < 1700 else second).add(losses[start : start + 100])
        if start == 1600:
            second.restore(first.state())
            first.add(np.ones(5))  # its own from here on
    assert second.means().tobytes() == whole.means().tobytes()
