"""The values that 1.x hooks log."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any


class LogBuffer:
    """Collect values by name and average them; stands for `mmcv.runner.LogBuffer`.

    Attributes:
        output: The averages, and what hooks put there directly.
        ready: Whether ``output`` is to be logged.
    """

    def __init__(self) -> None:
        self.val_history: OrderedDict[str, list[Any]] = OrderedDict()
        self.n_history: OrderedDict[str, list[int]] = OrderedDict()
        self.output: OrderedDict[str, Any] = OrderedDict()
        self.ready = False

    def clear(self) -> None:
        """Forget everything."""
        self.val_history.clear()
        self.n_history.clear()
        self.clear_output()

    def clear_output(self) -> None:
        """Forget what was averaged."""
        self.output.clear()
        self.ready = False

    def update(self, vars: dict[str, Any], count: int = 1) -> None:
        """Add a value per name, which stands for ``count`` samples."""
        # Each name has its own history: a value logged in every tenth
        # iteration is averaged over its own last `n` entries.
        for name, value in vars.items():
            self.val_history.setdefault(name, []).append(value)
            self.n_history.setdefault(name, []).append(count)

    def average(self, n: int = 0) -> None:
        """Put the weighted means of the last ``n`` values, or of all, into ``output``."""
        for name, values in self.val_history.items():
            # `n = 0` means all of them, since [-0:] is the whole list: MMCV 1.7.2 averages a validation epoch so.
            counts = self.n_history[name][-n:]
            total = sum(value * count for value, count in zip(values[-n:], counts, strict=True))
            self.output[name] = total / sum(counts)
        self.ready = True
