"""The base of 1.x hooks: methods take the runner and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from mm2pl.mmcv.runner.builder import HOOKS as HOOKS

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


class Hook:
    """Do something at points of a run; stands for `mmcv.runner.Hook`.

    ``before_train_epoch`` and ``before_val_epoch`` call ``before_epoch`` unless overridden, and so on::

        before_run
        for each flow of the workflow:      # EpochBasedRunner
            before_train_epoch
            for each batch: before_train_iter; model.train_step; after_train_iter
            after_train_epoch
        after_run

    `IterBasedRunner` calls ``before_epoch`` and ``after_epoch`` once, around the whole run.
    """

    # `before_epoch`, `before_iter` and their partners are not stages in MMCV 1.7.2: they show under both modes.
    stages: ClassVar[tuple[str, ...]] = (
        "before_run",
        "before_train_epoch",
        "before_train_iter",
        "after_train_iter",
        "after_train_epoch",
        "before_val_epoch",
        "before_val_iter",
        "after_val_iter",
        "after_val_epoch",
        "after_run",
    )

    def before_run(self, runner: BaseRunner) -> None:
        """Act before anything else."""

    def after_run(self, runner: BaseRunner) -> None:
        """Act at the very end."""

    def before_epoch(self, runner: BaseRunner) -> None:
        """Act before an epoch of either mode."""

    def after_epoch(self, runner: BaseRunner) -> None:
        """Act after an epoch of either mode."""

    def before_iter(self, runner: BaseRunner) -> None:
        """Act before an iteration of either mode."""

    def after_iter(self, runner: BaseRunner) -> None:
        """Act after an iteration of either mode."""

    def before_train_epoch(self, runner: BaseRunner) -> None:
        """Act before a training epoch."""
        self.before_epoch(runner)

    def before_val_epoch(self, runner: BaseRunner) -> None:
        """Act before a validation epoch."""
        self.before_epoch(runner)

    def after_train_epoch(self, runner: BaseRunner) -> None:
        """Act after a training epoch, while ``runner.epoch`` is still its index."""
        self.after_epoch(runner)

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Act after a validation epoch."""
        self.after_epoch(runner)

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Act before a training iteration; ``runner.data_batch`` is there."""
        self.before_iter(runner)

    def before_val_iter(self, runner: BaseRunner) -> None:
        """Act before a validation iteration."""
        self.before_iter(runner)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Act after a training iteration; ``runner.outputs`` is there."""
        self.after_iter(runner)

    def after_val_iter(self, runner: BaseRunner) -> None:
        """Act after a validation iteration."""
        self.after_iter(runner)

    def every_n_epochs(self, runner: BaseRunner, n: int) -> bool:
        """Return whether this is an n-th epoch; never for ``n <= 0``."""
        # MMCV 1.7.2 takes interval=-1 as "never", which is CheckpointHook's default.
        return n > 0 and (runner.epoch + 1) % n == 0

    def every_n_inner_iters(self, runner: BaseRunner, n: int) -> bool:
        """Return whether this is an n-th iteration of its epoch."""
        return n > 0 and (runner.inner_iter + 1) % n == 0

    def every_n_iters(self, runner: BaseRunner, n: int) -> bool:
        """Return whether this is an n-th iteration of the run."""
        return n > 0 and (runner.iter + 1) % n == 0

    def end_of_epoch(self, runner: BaseRunner) -> bool:
        """Return whether this is the last iteration of its epoch."""
        # Under IterBasedRunner `inner_iter` starts again with each
        # flow, so this is rarely true there, as in MMCV 1.7.2.
        return runner.inner_iter + 1 == len(runner.data_loader)

    def is_last_epoch(self, runner: BaseRunner) -> bool:
        """Return whether this is the last epoch of the run."""
        return runner.epoch + 1 == runner._max_epochs

    def is_last_iter(self, runner: BaseRunner) -> bool:
        """Return whether this is the last iteration of the run."""
        return runner.iter + 1 == runner._max_iters

    def get_triggered_stages(self) -> list[str]:
        """Return the points at which the hook does something, in the order of a run."""
        own = type(self)
        # A hook that overrides only `before_epoch` acts before training
        # and validation epochs: MMCV 1.7.2 lists it under both.
        common = {stage: stage.replace("_train", "").replace("_val", "") for stage in Hook.stages}
        return [
            stage
            for stage in Hook.stages
            if any(getattr(own, name) is not getattr(Hook, name) for name in (stage, common[stage]))
        ]
