"""Geometries of convolutions and pooling, for their tests on each device."""

from __future__ import annotations


def pair(value):
    return value if isinstance(value, tuple) else (value, value)


# (batch, height, width, in), out, kernel, the rest
GEOMETRIES = [
    ((2, 5, 6, 3), 4, 3, {}),
    ((2, 5, 6, 1), 4, (2, 3), {}),
    ((3, 4, 4, 2), 3, 1, {}),
    ((1, 3, 3, 2), 2, 3, {}),  # one window
    ((2, 7, 6, 2), 3, 3, {"stride": 2}),  # the last column is left over
    ((2, 8, 9, 2), 3, (2, 3), {"stride": (3, 2)}),  # rows left over below
    ((2, 6, 7, 2), 3, 2, {"stride": 3}),  # and between the windows
    ((2, 5, 4, 2), 3, 3, {"padding": 1}),
    ((2, 5, 4, 2), 3, (3, 2), {"padding": (1, 2), "padding_value": 1.0}),
    ((2, 4, 4, 2), 3, 3, {"padding": 1, "padding_value": -1.0, "stride": 2}),
    ((2, 2, 2, 1), 2, 3, {"padding": 2}),  # windows that see only the padding
    ((2, 7, 8, 2), 3, (2, 3), {"dilation": (3, 2)}),
    ((2, 9, 8, 2), 3, 2, {"dilation": 3, "stride": 2, "padding": (0, 1)}),
    ((2, 4, 5, 4), 6, 2, {"groups": 2}),
    ((2, 5, 5, 3), 3, 3, {"groups": 3, "padding": 1}),  # depthwise
    ((2, 5, 5, 2), 6, 3, {"groups": 2, "stride": 2, "dilation": (1, 2), "padding_value": 1}),
]


POOLS = [
    ((2, 4, 6, 3), 2, None),
    ((2, 5, 7, 1), 2, None),  # a row and a column are left over
    ((1, 7, 6, 2), (3, 2), (2, 1)),  # overlapping
    ((2, 7, 8, 2), 2, 3),  # with gaps
    ((2, 6, 5, 40), (2, 3), (2, 3)),
    ((2, 3, 4, 2), (3, 4), None),
    ((2, 4, 4, 2), 1, None),
    ((1, 17, 18, 1), 17, None),  # more positions than a byte counts
]


def whole(rng, shape, dtype):
    """Small whole numbers, whose sums no order rounds, with many equal maxima."""
    return rng.integers(-4, 5, shape).astype(dtype)
