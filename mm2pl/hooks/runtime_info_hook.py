"""Tell the message hub where the run is, and what it has measured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mm2pl.errors import ArgumentError
from mm2pl.hooks.hook import DATA_BATCH, Hook
from mm2pl.registry import HOOKS
from mm2pl.version import __version__

if TYPE_CHECKING:
    from mm2pl.run.protocols import RunnerLike

MMENGINE_VERSION = "0.10.7"


def _is_scalar(value: object) -> bool:
    if isinstance(value, np.ndarray):
        return value.size == 1
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    return isinstance(value, int | float | np.number)


@HOOKS.register_module()
class RuntimeInfoHook(Hook):
    """Write epoch, iteration, learning rates, losses and metrics into ``runner.message_hub``.

    Losses go in as the tensors they are: nothing waits for the device here
    (``mmengine.hooks.RuntimeInfoHook`` calls ``item()`` on each, every iteration).
    """

    priority = "VERY_HIGH"
    last_loop_stage: str | None = None

    def before_run(self, runner: RunnerLike) -> None:
        """Record config text, seed, experiment name and versions."""
        info = {
            "cfg": runner.cfg.pretty_text,
            "seed": runner.seed,
            "experiment_name": runner.experiment_name,
            "mmengine_version": MMENGINE_VERSION,
            "mm2pl_version": __version__,
        }
        runner.message_hub.update_info_dict(info)
        self.last_loop_stage = None

    def before_train(self, runner: RunnerLike) -> None:
        """Record the counters a resumed run starts from, and the data set's meta information."""
        hub = runner.message_hub
        hub.update_info("loop_stage", "train")
        for name in ("epoch", "iter", "max_epochs", "max_iters"):
            hub.update_info(name, getattr(runner, name))
        dataset = getattr(runner.train_dataloader, "dataset", None)
        if dataset is not None and hasattr(dataset, "metainfo"):
            hub.update_info("dataset_meta", dataset.metainfo)

    def after_train(self, runner: RunnerLike) -> None:
        """Leave the training stage."""
        runner.message_hub.pop_info("loop_stage")

    def before_train_epoch(self, runner: RunnerLike) -> None:
        """Record the epoch."""
        runner.message_hub.update_info("epoch", runner.epoch)

    def before_train_iter(
        self, runner: RunnerLike, batch_idx: int, data_batch: DATA_BATCH = None
    ) -> None:
        """Record the iteration and the learning rate of each optimizer's first group.

        Raises:
            ArgumentError: The optimizer wrapper's ``get_lr`` does not return a dict.
        """
        hub = runner.message_hub
        hub.update_info("iter", runner.iter)
        rates = runner.optim_wrapper.get_lr()
        if not isinstance(rates, dict):
            raise ArgumentError(
                f"runner.optim_wrapper.get_lr() gave {rates!r}, a dict of lists is needed: "
                "make the optimizer constructor return an OptimWrapper or OptimWrapperDict"
            )
        for name, values in rates.items():
            hub.update_scalar(f"train/{name}", values[0])

    def after_train_iter(
        self,
        runner: RunnerLike,
        batch_idx: int,
        data_batch: DATA_BATCH = None,
        outputs: dict | None = None,
    ) -> None:
        """Record every log variable of the training step."""
        if outputs is not None:
            update = runner.message_hub.update_scalar
            for key, value in outputs.items():
                update(f"train/{key}", value)

    def before_val(self, runner: RunnerLike) -> None:
        """Enter the validation stage, which may lie inside the training stage."""
        self.last_loop_stage = runner.message_hub.get_info("loop_stage")
        runner.message_hub.update_info("loop_stage", "val")

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Record the validation metrics: scalars in the history, others as information."""
        self._record(runner, "val", metrics)

    def after_val(self, runner: RunnerLike) -> None:
        """Return to the stage before the validation."""
        if self.last_loop_stage == "train":
            runner.message_hub.update_info("loop_stage", self.last_loop_stage)
            self.last_loop_stage = None
        else:
            runner.message_hub.pop_info("loop_stage")

    def before_test(self, runner: RunnerLike) -> None:
        """Enter the test stage."""
        runner.message_hub.update_info("loop_stage", "test")

    def after_test(self, runner: RunnerLike) -> None:
        """Leave the test stage."""
        runner.message_hub.pop_info("loop_stage")

    def after_test_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Record the test metrics."""
        self._record(runner, "test", metrics)

    def _record(self, runner: RunnerLike, mode: str, metrics: dict[str, Any] | None) -> None:
        hub = runner.message_hub
        for key, value in (metrics or {}).items():
            update = hub.update_scalar if _is_scalar(value) else hub.update_info
            update(f"{mode}/{key}", value)
