"""A module of ours in a Trainer that its user has made."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mm2pl.checkpoint.format import require_resumable
from mm2pl.checkpoint.reader import naming
from mm2pl.errors import ArgumentError
from mm2pl.hooks.param_scheduler_hook import ParamSchedulerHook
from mm2pl.lightning.driver import ModuleDriver
from mm2pl.lightning.executor import LightningExecutor
from mm2pl.lightning.optimizers import scale_by_batch
from mm2pl.lightning.parameters import add_own_parameters
from mm2pl.lightning.private import (
    batches_that_stepped,
    resume_loaders,
    trainer_of,
)
from mm2pl.lightning.schedules import SchedulesOfModule, ScheduleTicks, schedules_for
from mm2pl.lightning.step_values import StepValues
from mm2pl.optim import (
    OptimWrapper,
    OptimWrapperDict,
    as_optim_wrapper,
)
from mm2pl.optim.abilities import can_be_built, wrappers_of
from mm2pl.plan.resume import Choice
from mm2pl.run.eval_loops import TestLoop, ValLoop
from mm2pl.run.model import require_steps
from mm2pl.run.priority import get_priority
from mm2pl.run.resuming import Resumption
from mm2pl.run.ticks import TickCount, make_up
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.lightning.module import MMLightningModule


class OwnTrainer(ModuleDriver):
    """Drive a module in a Trainer that its user has made: on Lightning's clocks, with what the module was given.

    Args:
        module: The module.
        known: If it is a copy, what :meth:`for_copies` of the first one's driver has returned.
    """

    def __init__(self, module: MMLightningModule, known: dict[str, Any] | None = None) -> None:
        super().__init__(module)
        self._built_from: Any = None
        # What was given in the place of the optimizers that the module has made.
        self._given: tuple[Any, ...] = ()
        self._lr_scaled = False
        self._started = self._epoch_end_owed = False
        self._values: Any = None  # of a fit
        self._schedules = SchedulesOfModule(module)
        self._ticks = TickCount()
        self._ticks_owed: dict[str, int] = {}
        self._ended = {"iter": 0, "epoch": 0}  # in this fit
        vars(self).update(known or {})

    def for_copies(self) -> dict[str, Any]:
        """Return what the optimizers have been made from, so that a new fit of a copy makes its own anew."""
        return {name: vars(self)[name] for name in ("_built_from", "_given", "_lr_scaled")}

    def driven_hooks(self, trainer: Trainer) -> Sequence[Any]:
        """Return the hooks among the callbacks, and who ticks the schedules if none of them does."""
        hooks: list[Any] = list(super().driven_hooks(trainer))
        self.hooks_log = any(hasattr(hook, "sources") for hook in hooks)
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
        self._started = self._epoch_end_owed = False
        self._ticks_owed = {}
        self._restored_wrapper = None
        self._values = StepValues(module, trainer)
        if stage == "fit":
            with self.parameters_may_follow():
                self._build(anew=self.trainer.global_step == 0)
        self.call_hooks_at_start(trainer)
        if stage == "fit" and module.init_weights and hasattr(module.model, "init_weights"):
            # Once, and before Lightning restores a checkpoint: nothing trained or loaded may be drawn anew.
            module.model.init_weights()
            module.init_weights = False

    def build_anew(self) -> None:
        """Build the optimizer wrapper again; the schedules, and what scales the learning rate, come later."""
        with self.parameters_may_follow():
            self._build(anew=True)

    def _build(self, anew: bool) -> None:
        module = self.module
        if self._given:
            (module.optim_wrapper,), self._given = self._given, ()
        if self._built_from is not None and anew:
            # What was given built goes on; what was built here is made anew.
            module.optim_wrapper, module.param_schedulers = self._built_from, None
            self._lr_scaled = False
        if not module.makes_own_optimizers:
            self.build_optimizer()
        elif module.optim_wrapper is not None or module.param_scheduler is not None:
            warnings.warn(
                f"{type(module).__name__} has a configure_optimizers of its own, or LightningCLI was given an "
                "--optimizer, and that one trains → optim_wrapper and param_scheduler are used only as far as it "
                "returns what super().configure_optimizers() does",
                stacklevel=2,
            )
            self.build_optimizer()
        if module.optim_wrapper is not None:
            module.choose_optimization()

    def build_optimizer(self) -> None:
        """Build the optimizer wrapper from what the module was given, if it is not built yet.

        Raises:
            ValueError: There is nothing to build.
        """
        module = self.module
        if module.optim_wrapper is None:
            raise ArgumentError(
                "MMLightningModule got no optim_wrapper → training needs one, such as "
                "optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01))"
            )
        if can_be_built(module.optim_wrapper):
            self._built_from = module.optim_wrapper
        module.optim_wrapper = as_optim_wrapper(module.model, module.optim_wrapper)

    def build_alone(self) -> None:
        """Build optimizer and schedules where there is no Trainer.

        Raises:
            ValueError: There is nothing to build.
        """
        module = self.module
        self.build_optimizer()
        wrappers = wrappers_of(module.optim_wrapper).values()
        if len(wrappers) == 1:
            add_own_parameters(next(iter(wrappers)).optimizer, module)
        if module.param_schedulers is None and module.param_scheduler is not None:
            module.param_schedulers = schedules_for(
                None, module.param_scheduler, module.optim_wrapper
            )

    def _adopt_optimizers(self) -> None:
        """Show hooks, ``module.lr`` and a model's own step the optimizers that train, if the module has made others."""
        module, optimizers = self.module, self.trainer.optimizers
        known = [getattr(w, "optimizer", None) for w in wrappers_of(module.optim_wrapper).values()]
        if not optimizers or any(optimizer is each for optimizer in optimizers for each in known):
            return
        self._given = (module.optim_wrapper,)
        wrappers = {f"optimizer_{i}": OptimWrapper(each) for i, each in enumerate(optimizers)}
        one = len(wrappers) == 1
        module.optim_wrapper = wrappers["optimizer_0"] if one else OptimWrapperDict(**wrappers)
        module.param_schedulers = None
        if not module.automatic_optimization:
            for wrapper in wrappers.values():
                wrapper.executor = LightningExecutor(module)

    @property
    def configs(self) -> list[Any]:
        """The config that the optimizer was built from, if it was built here."""
        return [] if self._built_from is None else [self._built_from]

    def before_optimizers(self) -> None:
        """Scale the learning rate and build the schedules, for which the length of an epoch must be known."""
        module, trainer = self.module, self.trainer
        if not self._lr_scaled:
            self._lr_scaled = scale_by_batch(trainer, module.optim_wrapper, module.auto_scale_lr)
        self._schedules.build(trainer)

    def accept(self, checkpoint: dict[str, Any]) -> None:
        """Take up what fits of a file: the weights, and what follows once it is built.

        Raises:
            CheckpointError: Few weights fit, or it holds weights only.
        """
        trainer, module = self.trainer, self.module
        fitting = trainer.state.fn == "fit"
        path = str(trainer.ckpt_path or "The checkpoint")
        resumption = Resumption(checkpoint, Choice(), steerable=False)
        with naming(path):
            if fitting:
                require_resumable(checkpoint, path)
            # A strategy that shards the model reads and fits its part of the file itself.
            if not trainer.strategy.restore_checkpoint_after_setup:
                logger = runner_of(trainer).logger
                strict = module.strict_loading
                resumption.take_weights(
                    checkpoint,
                    module.model,
                    strict=strict,
                    logger=logger,
                    around=module.outer_weights(),
                )
        if fitting:
            resumption.take_parts(checkpoint)
            self._schedules.resumption = resumption
            self.take_optimizer(checkpoint.get("optimizer"))

    def fit_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Leave in a checkpoint what the optimizers can take.

        Raises:
            CheckpointError: It is that of other optimizers.
        """
        resumption = self._schedules.resumption
        if resumption is not None:
            resumption.fit_optimizers(checkpoint, self.trained(), self.module.model)
            self.take_optimizer(checkpoint.get("optimizer"))

    def before_step(self) -> None:
        """Compile the step, restore the scaler and an open window, and begin counting accumulation windows."""
        if self._started:
            return
        self._started = True
        module = self.module
        module.compile_step("train")
        if trainer_of(module) is None:
            return  # a step in Fabric's or somebody's own loop, who has the optimizer
        self._adopt_optimizers()
        if self._restored_wrapper is not None:
            module.optim_wrapper.load_state_dict(self._restored_wrapper)
            self._restored_wrapper = None
        self._schedules.start(self.trainer)
        make_up(module.param_schedulers, self._ticks_owed)
        self._ticks_owed = {}
        self._ended = {"iter": 0, "epoch": 0}
        self._ticks.begin(module.param_schedulers, self._ended)
        loop = runner_of(self.trainer).train_loop
        self._say_what_wakes_up()
        if not module.automatic_optimization:
            # -1 is MMEngine's "no end known": no last window is rescaled then.
            module.optim_wrapper.initialize_count_status(
                module.model, loop.iter, loop.max_iters or -1
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin a fit; what the tuner has tried out before it does not count."""
        resume_loaders(trainer)
        self._started = False
        self.before_step()
        super().on_train_start(trainer, pl_module)
        if self._epoch_end_owed:
            self._epoch_end_owed = False
            self._end_epoch(trainer)

    # A hook that counts iterations writes in an epoch's last batch, before the schedules that count epochs have ticked.

    def state_dict(self) -> dict[str, Any]:
        """Return what a file that is written now lacks: the end of an epoch whose batches are over, and ticks."""
        if not self._started:
            return {}
        # SWA has put its own schedule in their place: nobody ticks them, and its rates are to stay.
        replaced = self.module.schedules_replaced
        due = {} if replaced else self._ticks.due(self._ended)
        state = {"epoch_ends": self._epoch_ends, "ticks_due": due, "replaced": replaced}
        return {name: value for name, value in state.items() if value}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep it until training begins."""
        self._epoch_end_owed = state_dict.get("epoch_ends", False)
        self._ticks_owed = state_dict.get("ticks_due", {})
        self._schedules.replaced = state_dict.get("replaced", False)

    def end_batch(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Count the batch, and call what comes after it."""
        self._ended["iter"] += 1
        super().end_batch(trainer, outputs, batch, batch_idx)

    def _end_epoch(self, trainer: Trainer) -> None:
        # Else it was cut short, and is still to be ended.
        self._ended["epoch"] += trainer.is_last_batch
        super()._end_epoch(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the model's ``train()``: it may keep frozen stages in eval mode, and Lightning never calls it."""
        super().on_train_epoch_start(trainer, pl_module)
        self._train_mode()

    def _train_mode(self) -> None:
        if self.module.call_train:
            self.module.model.train()

    def _say_what_wakes_up(self) -> None:
        parts = list(self.module.model.named_modules())
        asleep = [(name, part) for name, part in parts if not part.training]
        self._train_mode()
        awake = [name for name, part in asleep if part.training]
        if awake and len(asleep) < len(parts):
            warnings.warn(
                f"{', '.join(awake[:3])}{', …' if len(awake) > 3 else ''} had been put into eval mode, and the model's "
                "train() has put it back, as MMEngine does at each epoch → override train() in the model to keep it, "
                "or MMLightningModule(call_train=False)",
                stacklevel=2,
            )

    def publish(self, outputs: Any) -> None:
        """Let callbacks, the progress bar and loggers see what a step has returned."""
        super().publish(outputs)
        if isinstance(self.outputs, Mapping):
            to_loggers = not self.hooks_log and self._logs_now()
            self._values.hand_out(self.outputs, to_loggers)

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

    def _evaluate(self, stage: str) -> None:
        loop = self.loops.get(stage)
        if loop is not None and not loop.has_fed and self._has_batches(stage):
            # A step of the user's own may feed the evaluator by itself, which only metrics that collect tell.
            metrics = getattr(loop.evaluator, "metrics", [])
            if metrics and all(getattr(metric, "results", None) == [] for metric in metrics):
                step = {"val": "validation_step", "test": "test_step"}[stage]
                raise ArgumentError(
                    f"{type(self.module).__name__}.{step} gave nothing to {stage}_evaluator → return "
                    f"super().{step}(batch, batch_idx) in it, or leave out {stage}_evaluator"
                )
        super()._evaluate(stage)

    def _has_batches(self, stage: str) -> bool:
        trainer = self.trainer
        during_fit = trainer.state.fn == "fit"
        loops = {
            "val": trainer.fit_loop.epoch_loop.val_loop if during_fit else trainer.validate_loop,
            "test": trainer.test_loop,
        }
        return loops[stage].batch_progress.current.ready > 0


def single(loaders: object, stage: str) -> Any:
    """Return the one loader of an evaluation.

    Raises:
        ValueError: There are several, and one evaluator.
    """
    if not isinstance(loaders, (list, tuple)):
        return loaders
    if len(loaders) != 1:
        raise ArgumentError(
            f"{len(loaders)} {stage} loaders and one {stage}_evaluator → give one loader, of a ConcatDataset for "
            "instance, or leave out the evaluator"
        )
    return loaders[0]
