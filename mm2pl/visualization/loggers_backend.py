"""The loggers of a Trainer as a visualizer's backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from mm2pl.visualization.vis_backend import BaseVisBackend


class LoggersBackend(BaseVisBackend):
    """Write a visualizer's scalars to loggers of Lightning.

    Args:
        loggers: Asked at each record, since a Trainer's loggers may be replaced.
    """

    def __init__(self, loggers: Callable[[], Sequence[Any]]) -> None:
        super().__init__(None)
        self._loggers = loggers

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log a number."""
        self.add_scalars({name: value}, step)

    def add_scalars(
        self, scalar_dict: dict, step: int = 0, file_path: str | None = None, **kwargs: Any
    ) -> None:
        """Log several numbers; what is none is left out."""
        values = {name: number_in(value) for name, value in scalar_dict.items()}
        numbers = {k: v for k, v in values.items() if isinstance(v, int | float)}
        for logger in self._loggers():
            logger.log_metrics(numbers, step)


def number_in(value: Any) -> Any:
    """Return the number in a tensor, an array or a NumPy scalar of one element; anything else as it is."""
    one = isinstance(value, torch.Tensor | np.ndarray | np.generic) and math.prod(value.shape) == 1
    return value.item() if one else value
