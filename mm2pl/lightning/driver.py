"""Who builds a module's optimizer and schedules, ticks them and opens its evaluations: its Trainer's user, or a run."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mm2pl.dataset import batch_size_of
from mm2pl.lightning.optimization import is_config, refuse_batch_size_finder
from mm2pl.lightning.private import batches_that_stepped
from mm2pl.lightning.schedules import live_schedulers
from mm2pl.optim import as_optim_wrapper, build_param_schedulers, scale_lr
from mm2pl.optim.scheduler.tick import tick, tick_metrics
from mm2pl.run.eval_loops import TestLoop, ValLoop
from mm2pl.run.model import require_steps
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.run import Run


class ModuleDriver:
    """What a module leaves to whoever drives it. This one does nothing more than Lightning asks of a module.

    Attributes:
        flags_win: Whether a Trainer flag replaces what the optimizer wrapper says, or giving both is an error.
        exact: Whether the results must be MMEngine's to the last bit, so that manual optimization comes first.
    """

    flags_win = exact = False

    def __init__(self, module: MMLightningModule) -> None:
        self.module = module

    @property
    def trainer(self) -> Any:
        """The module's Trainer."""
        return self.module.trainer

    def setup(self, stage: str) -> None:
        """Build what the Trainer is about to need."""

    def refuse_callbacks(self) -> None:
        """Refuse callbacks of the Trainer that cannot work."""

    def before_optimizers(self) -> None:
        """Complete optimizer and schedules, just before the Trainer takes them."""

    def start_training(self) -> None:
        """Begin a fit."""

    def start_epoch(self) -> None:
        """Begin an epoch."""

    def train(self, batch: object, batch_idx: int) -> Any:
        """Run one iteration of manual optimization."""
        return self.module.model.train_step(batch, optim_wrapper=self.module.optim_wrapper)

    def end_batch(self, outputs: Mapping[str, Any]) -> None:
        """Log and tick."""

    def open_evaluation(self, stage: str) -> None:
        """Make the loop that feeds the evaluator of ``val`` or ``test``."""

    def end_validation(self) -> None:
        """Take note of the metrics that have just been computed."""


class OwnTrainer(ModuleDriver):
    """Drive a module in a Trainer that its user has made: on Lightning's clocks, with what the module was given."""

    def __init__(self, module: MMLightningModule) -> None:
        super().__init__(module)
        self._built_from: Any = None
        self._lr_scaled = False

    def setup(self, stage: str) -> None:
        """Build the optimizer wrapper; a new fit from the beginning has one of its own, as in Lightning.

        Raises:
            ValueError: There is nothing to train with.
        """
        module = self.module
        require_steps(module.model)
        if stage != "fit":
            return
        if self._built_from is not None and self.trainer.global_step == 0:
            # What was given built goes on; what was built here is made anew.
            module.optim_wrapper, module.param_schedulers = self._built_from, None
            self._lr_scaled = False
        elif module.init_weights and hasattr(module.model, "init_weights"):
            # Once, and before Lightning restores a checkpoint: nothing trained or loaded may be drawn anew.
            module.model.init_weights()
            module.init_weights = False
        if module.optim_wrapper is None:
            raise ValueError(
                "MMLightningModule got no optim_wrapper → training needs one, such as "
                "optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01))"
            )
        if is_config(module.optim_wrapper):
            self._built_from = module.optim_wrapper
        module.optim_wrapper = as_optim_wrapper(module.model, module.optim_wrapper)
        module.choose_optimization()

    @property
    def configs(self) -> list[Any]:
        """The config that the optimizer was built from, if it was built here."""
        return [] if self._built_from is None else [self._built_from]

    def before_optimizers(self) -> None:
        """Scale the learning rate and build the schedules, for which the length of an epoch must be known."""
        module, trainer = self.module, self.trainer
        if (module.auto_scale_lr or {}).get("enable") and not self._lr_scaled:
            trainer.fit_loop.setup_data()  # Lightning looks at the loader only later
            batch_size = batch_size_of(trainer.train_dataloader) * trainer.world_size
            scale_lr(module.optim_wrapper, module.auto_scale_lr, batch_size)
            self._lr_scaled = True
        if module.param_schedulers is None and module.param_scheduler is not None:
            loop = runner_of(trainer).train_loop
            trainer.fit_loop.setup_data()
            batches = trainer.num_training_batches
            module.param_schedulers = build_param_schedulers(
                module.param_scheduler,
                module.optim_wrapper,
                max_epochs=loop.max_epochs or None,
                max_iters=loop.max_iters or None,
                # inf is Lightning's length of an iterable data set that has none.
                epoch_length=int(batches) if batches != float("inf") else None,
                by_epoch=True,
            )

    def start_training(self) -> None:
        """Compile the step, restore the scaler and an open window, and begin counting accumulation windows."""
        module = self.module
        module.compile_step("train")
        module.restore_wrapper()
        loop = runner_of(self.trainer).train_loop
        module.model.train()
        if not module.automatic_optimization:
            # -1 is MMEngine's "no end known": no last window is rescaled then.
            module.optim_wrapper.initialize_count_status(
                module.model, loop.iter, loop.max_iters or -1
            )

    def start_epoch(self) -> None:
        """Call the model's ``train()``: it may keep frozen stages in eval mode, and Lightning never calls it."""
        self.module.model.train()

    def end_batch(self, outputs: Mapping[str, Any]) -> None:
        """Log at the Trainer's interval, without a device synchronisation in between, and tick the schedules.

        The last losses of an epoch are logged too, for callbacks that monitor one; loggers keep to the interval.
        """
        trainer = self.trainer
        if self._logs_now() or trainer.is_last_batch:
            self.module.log_losses(outputs)
        schedulers = live_schedulers(trainer)
        tick(schedulers, by_epoch=False)
        if trainer.is_last_batch:
            # Not in `on_train_epoch_end`: Lightning validates before that, and MMEngine's schedules tick before
            # the validation.
            tick(schedulers, by_epoch=True)

    def _logs_now(self) -> bool:
        # Lightning 2.6 sends values to loggers in every n-th batch that steps, and 0 means never.
        trainer: Any = self.trainer
        if not trainer.log_every_n_steps or self.module.has_gradients_waiting():
            return False
        return (batches_that_stepped(trainer) + 1) % trainer.log_every_n_steps == 0

    def open_evaluation(self, stage: str) -> None:
        """Make the loop that feeds the evaluator, if the module has one for that stage."""
        module = self.module
        if module.evaluators[stage] is not None:
            loader = single(getattr(self.trainer, f"{stage}_dataloaders"), stage)
            cls = {"val": ValLoop, "test": TestLoop}[stage]
            module.use_loop(stage, cls(runner_of(self.trainer), loader, module.evaluators[stage]))

    def end_validation(self) -> None:
        """Tick the schedules that watch a metric."""
        trainer: Trainer = self.trainer
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            # Without an evaluator there is only what Lightning has averaged, such as `val_loss`.
            own = "val" in self.module.loops
            metrics = self.module.eval_metrics if own else trainer.callback_metrics
            tick_metrics(live_schedulers(trainer), dict(metrics))


class RunDriver(ModuleDriver):
    """Leave everything to a run, whose callback builds, ticks and evaluates in MMEngine's order."""

    flags_win = exact = True

    def __init__(self, module: MMLightningModule, run: Run) -> None:
        super().__init__(module)
        self._run = run

    def __deepcopy__(self, memo: dict[int, Any]) -> RunDriver:
        # Weight averaging copies the module; the run is not a part of it.
        return RunDriver(copy.deepcopy(self.module, memo), self._run)

    def refuse_callbacks(self) -> None:
        """Refuse the batch size finder: a run's loader and schedules are those of its config."""
        refuse_batch_size_finder(self.trainer)

    def train(self, batch: object, batch_idx: int) -> Any:
        """Run one iteration: the model's ``train_step``, or a custom loop's ``run_iter``, which returns nothing."""
        if not self._run.training.loop_steps:
            module = self.module
            return module.model.train_step(batch, optim_wrapper=module.optim_wrapper)
        loop = self._run.train_loop
        # MMEngine 0.10.7's two loops differ: only `run_iter` of the one by epochs takes the index.
        return loop.run_iter(batch_idx, batch) if loop.by_epoch else loop.run_iter(batch)


def single(loaders: object, stage: str) -> Any:
    """Return the one loader of an evaluation.

    Raises:
        ValueError: There are several, and one evaluator.
    """
    if not isinstance(loaders, (list, tuple)):
        return loaders
    if len(loaders) != 1:
        raise ValueError(
            f"{len(loaders)} {stage} loaders and one {stage}_evaluator → give one loader, of a ConcatDataset for "
            "instance, or leave out the evaluator"
        )
    return loaders[0]
