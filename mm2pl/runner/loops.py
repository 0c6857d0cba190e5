"""The loops of ``mmengine.runner.loops``, under MMEngine's import path."""

from __future__ import annotations

from typing import Any

from mm2pl.logging import HistoryBuffer
from mm2pl.run.base_loop import BaseLoop as BaseLoop
from mm2pl.run.eval_loops import TestLoop as TestLoop
from mm2pl.run.eval_loops import ValLoop as ValLoop
from mm2pl.run.eval_loops import mean_losses as _parse_losses  # noqa: F401 - projects' loops import it
from mm2pl.run.eval_loops import split_losses
from mm2pl.run.loops import EpochBasedTrainLoop as EpochBasedTrainLoop
from mm2pl.run.loops import IterBasedTrainLoop as IterBasedTrainLoop
from mm2pl.run.loops import _InfiniteDataloaderIterator as _InfiniteDataloaderIterator
from mm2pl.run.loops import calc_dynamic_intervals as calc_dynamic_intervals


def _update_losses(
    outputs: Any, losses: dict[str, HistoryBuffer]
) -> tuple[Any, dict[str, HistoryBuffer]]:
    """Return the predictions without the losses that stand last in them, and ``losses`` with those added."""
    return split_losses(outputs, losses), losses
