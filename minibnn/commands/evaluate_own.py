"""``python -m minibnn evaluate FILE DATA``: a packed model on data of one's own."""

from __future__ import annotations

import argparse
import time

from minibnn.backend import get_backend
from minibnn.commands import shared
from minibnn.commands.confusions import worst_pairs
from minibnn.commands.measured import measures
from minibnn.commands.own_input import at_once, labelled
from minibnn.packed import PackedModel


def run(packed: PackedModel, path: str, given: argparse.Namespace) -> int:
    """Print what was read, the figures, and the speed."""
    samples, part = labelled(packed, path, given)
    backend = get_backend(given.device)
    x = backend.asarray(at_once(packed, samples))
    figures = measures(packed, samples, x, backend)
    print(f"{path}: {samples.kind}")
    print(f"{given.file} on {part}, {shared.several(len(samples.x), 'sample')}")
    if "accuracy" in figures:
        predicted = backend.to_host(packed.predict(x))
        wrong = int((predicted != samples.y).sum())
        print(f"accuracy       {figures['accuracy']:.4f}, {wrong:,} wrong")
        if wrong:
            names = tuple(map(shared.on_one_line, packed.class_names or ()))
            print(f"taken for      {worst_pairs(samples.y, predicted, names or None)}")
    else:
        print(f"R2             {figures['r2']:.4f}, the share of the variance that it explains")
        print(f"MAE            {figures['mae']:.4g}, the mean absolute error")
    start = time.perf_counter()
    backend.to_host(packed.predict_scores(x))
    speed = len(samples.x) / (time.perf_counter() - start)
    print(f"samples/second {speed:,.0f} ({backend.name}, once, after a warm-up)")
    print(shared.next_step("predict", given.file, path, "-o", "predictions.csv"))
    return 0
