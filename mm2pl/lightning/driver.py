"""Who builds a module's optimizer and schedules, ticks them and opens its evaluations: its Trainer's user, or a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.dataset import batch_size_of
from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook
from mm2pl.hooks.stages import HookStages
from mm2pl.lightning.border import Border
from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.optimization import is_config, needs_manual_optimization, refuse_flags
from mm2pl.lightning.private import batches_that_stepped, trainer_of
from mm2pl.optim import as_optim_wrapper, build_param_schedulers, scale_lr
from mm2pl.run.eval_loops import TestLoop, ValLoop
from mm2pl.run.model import require_steps
from mm2pl.run.priority import get_priority
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.eval_loops import EvalLoop
    from mm2pl.run.protocols import RunnerLike


class ModuleDriver(HookStages):
    """The one callback that carries a module through a Trainer; the module puts it there when it gets a Trainer.

    What a LightningModule's own hooks could do is done here, so that a subclass may override any of them, without
    ``super()``: Lightning never needs it. What a step cannot do without stays in the step, because Lightning's tuner
    empties the list of callbacks for a while.

    Attributes:
        flags_win: Whether a Trainer flag replaces what the optimizer wrapper says, or giving both is an error.
        exact: Whether the results must be MMEngine's to the last bit, so that manual optimization comes first.
        loops: Per stage the loop that feeds its evaluator.
        outputs: What the last training step has returned, without a graph.
    """

    flags_win = exact = False

    def __init__(self, module: MMLightningModule) -> None:
        self.module = module
        self.loops: dict[str, EvalLoop] = {}
        self.outputs: Any = None
        self._restored_wrapper: Any = None
        self._trainer_accumulates: int | None = None

    @property
    def trainer(self) -> Any:
        """The module's Trainer."""
        return self.module.trainer

    @property
    def state_key(self) -> str:
        """Where the hooks' states are in a checkpoint: the name of the class that wrote them there at first."""
        return "RunCallback"

    def join(self, trainer: Trainer) -> None:
        """Take over a Trainer that has just been given the module.

        Raises:
            ValueError: A flag of the Trainer rules out what the module needs; Lightning would say so in its words.
        """
        module = self.module
        if trainer.state.fn == "fit" and needs_manual_optimization(
            module.model, module.optim_wrapper
        ):
            refuse_flags(trainer, module.model)
        self.lead(trainer)
        Border.stand_at(trainer)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave a Trainer that has been given another module; else build what it is about to need."""
        if pl_module is not self.module:
            self.withdraw(trainer)
            if self.driven_hooks(trainer):
                HookStages.drive(trainer, pl_module, stage)
            return
        self.begin(trainer, stage)

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Build what a stage needs, and call ``before_run``."""
        raise NotImplementedError

    def settle_for_file(self) -> None:
        """Do what belongs to the last batch, before a file is written that must hold it."""
        if trainer_of(self.module) is not None:
            self.settle(self.trainer, self.outputs)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to :class:`~mm2pl.lightning.border.Border`, which also sees one with weights only."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to the border, which sees it before the weights are loaded."""

    def take_optimizer(self, state: Any) -> None:
        """Keep the optimizer wrapper's state in a file until Lightning has restored the optimizer itself."""
        self._restored_wrapper = state

    def train_outputs(self, pl_module: LightningModule, outputs: Any) -> Any:
        """Return a training step's outputs with the loss as it was: Lightning divides it by the window."""
        whole = isinstance(outputs, dict) and self.module.automatic_optimization
        return {**outputs, "loss": self.outputs["loss"]} if whole else outputs

    def refuse_callbacks(self) -> None:
        """Refuse callbacks of the Trainer that cannot work."""

    def borrow_accumulation(self) -> None:
        """Note the Trainer's own accumulation, before the optimizer wrapper's is written there for a fit."""
        self._trainer_accumulates = self.trainer.accumulate_grad_batches

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give the Trainer back its own accumulation: the next fit may be another module's."""
        if self._trainer_accumulates is not None:
            trainer.accumulate_grad_batches = self._trainer_accumulates
            self._trainer_accumulates = None
        super().teardown(trainer, pl_module, stage)

    def before_optimizers(self) -> None:
        """Complete optimizer and schedules, just before the Trainer takes them."""

    def before_step(self) -> None:
        """Do what the first training step must find done, also where no callback was called."""

    def train(self, batch: object, batch_idx: int) -> Any:
        """Run one iteration of manual optimization."""
        return self.module.model.train_step(batch, optim_wrapper=self.module.optim_wrapper)

    def publish(self, outputs: Any) -> None:
        """Take note of what a training step returns."""
        if isinstance(outputs, torch.Tensor):
            outputs = {"loss": outputs}
        if isinstance(outputs, Mapping) and isinstance(outputs.get("loss"), torch.Tensor):
            # The graph would stay in memory until the next step is over.
            outputs = {**outputs, "loss": outputs["loss"].detach()}
        self.outputs = outputs

    # Evaluation

    def open_evaluation(self, stage: str) -> None:
        """Make the loop that feeds the evaluator of ``val`` or ``test``."""

    def _open(self, trainer: Trainer, stage: str) -> None:
        # While it trains, MMEngine 0.10.7 compiles `train_step` and nothing else.
        if trainer.state.fn != "fit":
            self.module.compile_step(stage)
        self.open_evaluation(stage)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open(trainer, "val")
        super().on_validation_start(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Make the loop that feeds the evaluator, unless a run brought its own."""
        self._open(trainer, "test")
        super().on_test_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics, under MMEngine's names."""
        self._evaluate("val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compute and log the metrics, under MMEngine's names."""
        self._evaluate("test")

    def _evaluate(self, stage: str) -> None:
        loop = self.loops.get(stage)
        if loop is not None:
            self.module.eval_metrics = loop.metrics()
            # A run's scalars reach the loggers through its visualizer; logging them here too would write them twice.
            self.module.log_dict(
                scalars_of(self.module.eval_metrics),
                logger=False if self.exact else None,
                batch_size=1,
                reduce_fx="max",  # every process has the same values, which this leaves as they are
                sync_dist=True,
            )


class ScheduleTicks(ParamSchedulerHook):
    """Tick the schedules of a module in its user's own Trainer, in their place among MMEngine's hooks."""

    def after_train_epoch(self, runner: RunnerLike) -> None:
        """Tick those by epoch, unless ``max_steps`` has cut the epoch short: it is still to be ended then."""
        if runner.trainer.is_last_batch:
            super().after_train_epoch(runner)

    def after_val_epoch(self, runner: RunnerLike, metrics: dict[str, float] | None = None) -> None:
        """Tick those that watch a metric; here it may be any that Lightning knows."""
        known: dict[str, Any] = {**runner.trainer.callback_metrics, **(metrics or {})}
        super().after_val_epoch(runner, known)


class OwnTrainer(ModuleDriver):
    """Drive a module in a Trainer that its user has made: on Lightning's clocks, with what the module was given."""

    def __init__(self, module: MMLightningModule) -> None:
        super().__init__(module)
        self._built_from: Any = None
        self._lr_scaled = False
        self._started = False
        self._monitored: set[Any] = set()

    def driven_hooks(self, trainer: Trainer) -> Sequence[Any]:
        """Return the hooks among the callbacks, and who ticks the schedules if none of them does."""
        hooks: list[Any] = list(super().driven_hooks(trainer))
        if not any(isinstance(hook, ParamSchedulerHook) for hook in hooks):
            hooks.append(ScheduleTicks())
            hooks.sort(key=lambda hook: get_priority(hook.priority))
        return hooks

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Build the optimizer wrapper; a new fit from the beginning has one of its own, as in Lightning.

        Raises:
            ValueError: There is nothing to train with.
        """
        module = self.module
        require_steps(module.model)
        self._started = False
        self._restored_wrapper = None
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        self._monitored = {getattr(callback, "monitor", None) for callback in callbacks}
        if stage == "fit":
            self._build()
        self.call_hooks_at_start(trainer)
        if stage == "fit" and module.init_weights and hasattr(module.model, "init_weights"):
            # Once, and before Lightning restores a checkpoint: nothing trained or loaded may be drawn anew.
            module.model.init_weights()
            module.init_weights = False

    def _build(self) -> None:
        module = self.module
        if self._built_from is not None and self.trainer.global_step == 0:
            # What was given built goes on; what was built here is made anew.
            module.optim_wrapper, module.param_schedulers = self._built_from, None
            self._lr_scaled = False
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
        if module.auto_scale_lr and not self._lr_scaled:
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

    def before_step(self) -> None:
        """Compile the step, restore the scaler and an open window, and begin counting accumulation windows."""
        if self._started:
            return
        self._started = True
        module = self.module
        module.compile_step("train")
        if self._restored_wrapper is not None:
            module.optim_wrapper.load_state_dict(self._restored_wrapper)
            self._restored_wrapper = None
        loop = runner_of(self.trainer).train_loop
        module.model.train()
        if not module.automatic_optimization:
            # -1 is MMEngine's "no end known": no last window is rescaled then.
            module.optim_wrapper.initialize_count_status(
                module.model, loop.iter, loop.max_iters or -1
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a fit; what the tuner has tried out before it does not count."""
        self._started = False
        self.before_step()
        super().on_train_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the model's ``train()``: it may keep frozen stages in eval mode, and Lightning never calls it."""
        super().on_train_epoch_start(trainer, pl_module)
        self.module.model.train()

    def publish(self, outputs: Any) -> None:
        """Log at the Trainer's interval, without a device synchronisation in between.

        Always, for a callback that monitors one of the values; loggers keep to the interval.
        """
        super().publish(outputs)
        values = self.outputs
        if not isinstance(values, Mapping):
            return
        if self._logs_now() or self.trainer.is_last_batch or not self._monitored.isdisjoint(values):
            self.module.log_dict(scalars_of(dict(values)), prog_bar=True, batch_size=1)

    def _logs_now(self) -> bool:
        # Lightning 2.6 sends values to loggers in every n-th batch that steps, and 0 means never.
        trainer: Any = self.trainer
        if not trainer.log_every_n_steps or self.module.has_gradients_waiting():
            return False
        return (batches_that_stepped(trainer) + 1) % trainer.log_every_n_steps == 0

    def open_evaluation(self, stage: str) -> None:
        """Make the loop that feeds the evaluator, if the module has one for that stage."""
        given = self.module.evaluators[stage]
        if given is not None:
            loader = single(getattr(self.trainer, f"{stage}_dataloaders"), stage)
            cls = {"val": ValLoop, "test": TestLoop}[stage]
            self.loops[stage] = cls(runner_of(self.trainer), loader, given)


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
