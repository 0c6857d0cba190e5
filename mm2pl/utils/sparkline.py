"""Curves in a line of text."""

from __future__ import annotations

import math
from collections.abc import Sequence

BARS = "▁▂▃▄▅▆▇█"
COLUMNS = 60


def sparkline(values: Sequence[float], low: float, high: float) -> str:
    """Return a bar per value, as high as it stands between ``low`` and ``high``; a space for NaN.

    >>> sparkline([0, 1, math.nan, 4], 0, 4)
    '▁▃ █'
    """
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(
        BARS[round((min(max(value, low), high) - low) * scale)] if not math.isnan(value) else " "
        for value in values
    )
