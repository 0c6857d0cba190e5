"""Give cached GPU memory back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.registry import HOOKS

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike


@HOOKS.register_module()
class EmptyCacheHook(Hook):
    """Call ``torch.cuda.empty_cache()`` around epochs or after iterations, in all modes.

    Args:
        before_epoch: release before each epoch.
        after_epoch: release after each epoch.
        after_iter: release after each iteration.
    """

    priority = "NORMAL"

    def __init__(
        self, before_epoch: bool = False, after_epoch: bool = True, after_iter: bool = False
    ) -> None:
        self._do_before_epoch = before_epoch
        self._do_after_epoch = after_epoch
        self._do_after_iter = after_iter

    def _after_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | Sequence | None = None,
        mode: str = "train",
    ) -> None:
        _release(self._do_after_iter)

    def _before_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        _release(self._do_before_epoch)

    def _after_epoch(self, runner: RunnerLike, mode: str = "train") -> None:
        _release(self._do_after_epoch)


def _release(wanted: bool) -> None:
    if wanted and torch.cuda.is_available():
        torch.cuda.empty_cache()
