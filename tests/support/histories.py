"""A history of two epochs."""

from __future__ import annotations

import pandas as pd

HISTORY = pd.DataFrame(
    {
        "loss_train": [2.0, 1.0],
        "loss_test": [2.1, 1.2],
        "acc_train": [0.5, 0.8],
        "acc_test": [0.4, 0.7],
    },
    index=pd.RangeIndex(1, 3, name="epoch"),
)
