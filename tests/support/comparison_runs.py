"""Runs of a comparison, made up."""

from __future__ import annotations

import pandas as pd


def table(**scores):
    rows = [
        {"entry": e, "seed": i, "accuracy": v} for e, vs in scores.items() for i, v in enumerate(vs)
    ]
    return pd.DataFrame(rows)
