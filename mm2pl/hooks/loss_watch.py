"""Say that a training has stopped learning: its loss is NaN or infinite and stays so."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

POINTS = 3
"""Lines of the log in a row after which it is said."""


class LossWatch:
    """Look at the losses of each line of the log, and tell once of those that stay NaN or infinite.

    One such line is nothing to speak of: a scaler of mixed precision leaves out the step. The values are those that
    the line has brought from the device already.
    """

    def __init__(self) -> None:
        self._points = 0
        self._told = False

    def look(
        self, shown: Mapping[str, Any], histories: Callable[[], Mapping[str, Any]], iteration: int
    ) -> str | None:
        """Return what there is to say after a line, mostly None.

        Args:
            shown: Values of the line, by name.
            histories: Returns those of all scalars, :attr:`MessageHub.log_scalars`, with one value per iteration.
            iteration: The last iteration that the line covers, counted from 1.
        """
        bad = any("loss" in name and not _is_finite(value) for name, value in shown.items())
        self._points = self._points + 1 if bad else 0
        if self._told or self._points < POINTS:
            return None
        scalars = histories()
        begun = _beginnings(scalars)
        if not begun:
            return None  # a line of the user's own, made of something else
        self._told = True
        # The total comes last among those that began together: it is the sum of the others.
        back, _, name = max((n, name != "loss", name) for name, n in begun.items())
        value = float(scalars[f"train/{name}"].data[0][-1])
        return (
            f"{name} is {value} since iteration {iteration - back + 1}, for {back} iterations now: nothing is learned "
            "any more → stop the run, as --detect-nan does at once; go on from a checkpoint of before, with a lower "
            "learning rate, optim_wrapper.clip_grad or a longer warm-up, and look at the data of that iteration"
        )


def _is_finite(value: object) -> bool:
    return not isinstance(value, float) or math.isfinite(value)


def _beginnings(histories: Mapping[str, Any]) -> dict[str, int]:
    """Return by loss for how many iterations it has been NaN or infinite, up to the last one."""
    found = {}
    for key, history in histories.items():
        mode, _, name = key.partition("/")
        if mode == "train" and "loss" in name:
            finite = np.flatnonzero(np.isfinite(history.data[0]))
            count = len(history.data[0]) - (finite[-1] + 1 if len(finite) else 0)
            if count:
                found[name] = int(count)
    return found
