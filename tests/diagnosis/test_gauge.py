"""All figures of a diagnosis are read back at once."""

from __future__ import annotations

import strictdev
from devices import STRICT
from diagnosed_models import build, loader, sound

from minibnn import LogitCrossEntropy, diagnose
from minibnn.diagnosis.gauge import Gauge
from minibnn.training.evaluate import check_data


def test_one_read_back():
    model, data = build(sound(), STRICT), loader().to(STRICT)
    with strictdev.count_readbacks() as loading:
        diagnose(model, data)
    with strictdev.count_readbacks() as checking:
        check_data(model, data, LogitCrossEntropy(), "")
    assert loading.count == checking.count + 1

    gauge, seen = Gauge(STRICT), []
    for size in (3, 4):
        ones = STRICT.xp.ones(size)
        gauge.ask(lambda *figures: seen.append(figures), ones.sum(), ones.mean())
    with strictdev.count_readbacks() as asking:
        assert list(gauge.findings()) == []
    assert seen == [(3, 1), (4, 1)]
    assert asking.count == 1
