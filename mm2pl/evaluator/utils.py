"""Finding one value among those of several metrics."""

from __future__ import annotations

from typing import Any

from mm2pl.errors import ArgumentError


def get_metric_value(indicator: str, metrics: dict) -> Any:
    """Return the value in ``metrics`` called ``indicator``: ``prefix/name``, or a name that is unique.

    Raises:
        ValueError: No value, or more than one, is called so.

    Example:
        >>> get_metric_value("acc", {"val/acc": 0.5, "val/loss": 2.0})
        0.5
    """
    if "/" in indicator:
        matched = [indicator] if indicator in metrics else []
    else:
        # The last part of the name, as in MMEngine: a prefix may contain a slash itself.
        matched = [name for name in metrics if name.rpartition("/")[2] == indicator]
    if len(matched) == 1:
        return metrics[matched[0]]
    if not matched:
        raise ArgumentError(
            f"The indicator {indicator!r} can not match any metric in {list(metrics)}: "
            "give one of these names."
        )
    raise ArgumentError(
        f"The indicator {indicator!r} matches multiple metrics {matched}: give one."
    )
