"""An MMEngine model as a LightningModule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from mm2pl.checkpoint.fitting import fitting_weights
from mm2pl.config import as_config
from mm2pl.evaluator import BaseMetric, Evaluator
from mm2pl.lightning.driver import ModuleDriver, OwnTrainer, RunDriver
from mm2pl.lightning.evaluation import EvaluatedModule, NoStopIteration, scalars_of
from mm2pl.lightning.executor import LightningExecutor
from mm2pl.lightning.optimization import (
    is_config,
    let_trainer_clip_and_accumulate,
    needs_manual_optimization,
    reasons_for_automatic,
    refuse_flags,
    require_deepspeed,
    updates_its_own_way,
    with_tensor_loss,
    wrappers_of,
)
from mm2pl.lightning.precision import use_wrappers_precision
from mm2pl.lightning.private import has_gradients_waiting, trainer_of
from mm2pl.lightning.schedules import SchedulesOfOptimizer, are_built
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.model.utils import set_preprocessor_device
from mm2pl.optim import OptimWrapper, _ParamScheduler, require_loss
from mm2pl.plan.containers import live_objects
from mm2pl.registry import DefaultScope
from mm2pl.run.model import build_model
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from lightning.pytorch.utilities.types import LRSchedulerTypeUnion, OptimizerLRScheduler

    from mm2pl.run.run import Run


class MMLightningModule(EvaluatedModule):
    """Drive a model that speaks ``forward(..., mode="loss" | "predict" | "tensor")`` from a Lightning Trainer.

    Used alone, it is an ordinary LightningModule: automatic optimization, so Trainer flags such as
    ``accumulate_grad_batches`` work, unless the model has its own ``train_step`` or several optimizers. In a run that a
    config drives, the model's own ``train_step(data, optim_wrapper)`` is called (manual optimization), which is equal
    to MMEngine to the last bit; a Trainer flag that only automatic optimization can follow switches to that.

    Args:
        model: A model (:class:`mm2pl.model.BaseModel`, MMEngine's own ``BaseModel``), or the dict to build one from.
        optim_wrapper: As in an MMEngine config, or a built wrapper.
        param_scheduler: As in an MMEngine config: a dict, a list, or a dict of lists for several optimizers.
        auto_scale_lr: As in an MMEngine config: ``dict(enable=True, base_batch_size=256)``.
        data_preprocessor: Put into a model dict that has none.
        val_evaluator: Metrics for validation: a dict, a list of dicts, or an Evaluator. Without it, validation logs the
            mean training losses as ``val_loss``.
        test_evaluator: The same for testing.
        default_scope: The registry scope in which type names are looked up first.
        compile: ``True`` or keyword arguments for :func:`torch.compile` of the model's step.
        init_weights: Call the model's ``init_weights()`` before training. ``None``: if it was built here, from a dict.

    Raises:
        TypeError: If ``model`` is neither a module nor a dict, or ``compile`` neither bool nor dict.
        ValueError: If a Trainer flag contradicts ``optim_wrapper`` (``gradient_clip_val`` and ``clip_grad``, …), or
            needs a loop in which the ``optim_wrapper``'s own methods would not be called.
    """

    def __init__(
        self,
        model: Settings | nn.Module | None = None,
        optim_wrapper: Settings | OptimWrapper | None = None,
        param_scheduler: Settings | SettingsList | _ParamScheduler | None = None,
        auto_scale_lr: Settings | None = None,
        data_preprocessor: Settings | nn.Module | None = None,
        val_evaluator: Settings | SettingsList | Evaluator | BaseMetric | None = None,
        test_evaluator: Settings | SettingsList | Evaluator | BaseMetric | None = None,
        default_scope: str | None = None,
        compile: bool | Settings | None = None,
        init_weights: bool | None = None,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        super().__init__({"val": as_config(val_evaluator), "test": as_config(test_evaluator)})
        self.save_hyperparameters(
            {k: v for k, v in given.items() if not live_objects(v)}, logger=False
        )
        if default_scope is not None:
            # Instances stay for good, so there is one per scope, not per module; made anew, it is the current one.
            name = f"module-{default_scope}"
            DefaultScope._instance_dict.pop(name, None)
            DefaultScope.get_instance(name, scope_name=default_scope)
        self.init_weights = isinstance(model, dict) if init_weights is None else init_weights
        self.model: Any = build_model(model, data_preprocessor)
        self.optim_wrapper = as_config(optim_wrapper)
        self.param_scheduler = as_config(param_scheduler)
        self.param_schedulers: Any = None
        self.auto_scale_lr = auto_scale_lr
        if not isinstance(compile, (bool, dict, type(None))):
            raise TypeError(f"compile={compile!r} → True, or a dict of torch.compile's arguments")
        self.compile_options = compile
        self._compiled: set[str] = set()
        self.driver: ModuleDriver = OwnTrainer(self)
        self.batches_stay_raw = False
        self._trainer_accumulates: int | None = None
        self._saved_wrapper: Any = None
        self._loss: torch.Tensor | None = None
        self.automatic_optimization = not needs_manual_optimization(self.model, optim_wrapper)

    def follow(self, run: Run, batches_stay_raw: bool) -> None:
        """Leave building, ticking and evaluating to a run.

        Args:
            run: The run.
            batches_stay_raw: Whether neither this module nor the data module does anything with a batch.
        """
        self.driver = RunDriver(self, run)
        self.batches_stay_raw = batches_stay_raw

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        # What `.to()`, `.cuda()` and Lightning's strategies end in. torch calls this of children, but never their
        # `.to()`, in which MMEngine 0.10.7's data preprocessor remembers its device.
        super()._apply(fn, recurse)
        tensor = next(chain(self.model.parameters(), self.model.buffers()), None)
        if tensor is not None:
            set_preprocessor_device(self.model, tensor.device)
        return self

    # One file for both worlds: weights are stored without the ``model.`` prefix.

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """Return the model's own state dict; keys are those of an MMEngine checkpoint."""
        return self.model.state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Load a model's state dict, with or without Lightning's ``model.`` prefix.

        Raises:
            CheckpointError: If the weights are those of another model.
        """
        state_dict = fitting_weights(self.model, state_dict, strict)
        return self.model.load_state_dict(state_dict, strict=strict, assign=assign)

    # Optimization

    def configure_callbacks(self) -> list[Any]:
        """Refuse flags that the model rules out, in words of the config and before Lightning does; add no callback."""
        if self.trainer.state.fn != "fit":
            return []
        if needs_manual_optimization(self.model, self.optim_wrapper):
            refuse_flags(self.trainer, self.model)
        callbacks: list[Callback] = self.trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            # Lightning moves a run's callback to the end of the list. Others ask in their `setup` when it validates.
            if hasattr(callback, "claim_validation"):
                callback.claim_validation(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        """Build what the Trainer is about to need, unless a run has done so.

        Raises:
            ValueError: There is nothing to train with.
        """
        self.driver.setup(stage)

    def choose_optimization(self) -> list[str]:
        """Decide who drives the optimizer, and between settings that Trainer and optimizer wrapper were both given.

        Returns:
            What follows Lightning instead of MMEngine in a run, as sentences for its log.

        Raises:
            ValueError: Outside a run, the same thing was given twice; or the Trainer was given what an optimizer
                wrapper with methods of its own rules out.
        """
        wrapper, notes = self.optim_wrapper, []
        self.driver.refuse_callbacks()
        if self.automatic_optimization:
            reasons = reasons_for_automatic(self.trainer)
            if updates_its_own_way(wrapper):
                if reasons:
                    raise ValueError(
                        f"{', '.join(reasons)} → Lightning's loop would have to drive the optimizer, without the "
                        f"methods of {type(wrapper).__name__} → leave that to the optim_wrapper"
                    )
                self.automatic_optimization = False
            elif self.driver.exact:
                self.automatic_optimization = bool(reasons)
                if reasons:
                    notes.append(
                        f"{', '.join(reasons)}: Lightning's loop drives the optimizer. Results are equivalent to "
                        f"MMEngine's, not equal to the last bit; an accumulation window ends with its epoch."
                    )
        wrappers = wrappers_of(wrapper).values()
        require_deepspeed(self.trainer, wrappers)
        self._trainer_accumulates = self.trainer.accumulate_grad_batches
        if self.automatic_optimization:
            notes += let_trainer_clip_and_accumulate(
                self.trainer, wrapper, flags_win=self.driver.flags_win
            )
        else:
            for single in wrappers:
                single.executor = LightningExecutor(self)
        use_wrappers_precision(self.trainer, wrappers, self.automatic_optimization)
        return notes

    def take_schedules(self, schedules: object) -> None:
        """Take schedules in place of those that were given: built ones, or what they will be built from."""
        self.param_scheduler = schedules
        self.param_schedulers = schedules if are_built(schedules) else None

    def teardown(self, stage: str) -> None:
        """Give the Trainer back its own accumulation: the next fit may be another module's."""
        if stage == "fit" and self._trainer_accumulates is not None:
            self.trainer.accumulate_grad_batches = self._trainer_accumulates

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the wrapped torch optimizers, and one view per optimizer of the schedules that mm2pl steps itself."""
        self.driver.before_optimizers()
        wrappers = wrappers_of(self.optim_wrapper)
        views = [
            SchedulesOfOptimizer(wrapper.optimizer, self._schedulers_of(name))
            for name, wrapper in wrappers.items()
        ]
        return (
            [wrapper.optimizer for wrapper in wrappers.values()],
            [{"scheduler": view, "interval": view.interval} for view in views if view.schedulers],
        )  # type: ignore[return-value]

    @property
    def lr(self) -> float:
        """The first learning rate of the (first) optimizer; settable, as Lightning's learning rate finder wants it."""
        wrapper = next(iter(wrappers_of(self.optim_wrapper).values()))
        if isinstance(wrapper, dict):
            return wrapper["optimizer"]["lr"]
        return wrapper.optimizer.param_groups[0]["lr"]

    @lr.setter
    def lr(self, value: float) -> None:
        current = self.lr
        self._saved_wrapper = None  # what the finder has put back has the old one
        wrapper = next(iter(wrappers_of(self.optim_wrapper).values()))
        groups = [] if isinstance(wrapper, dict) else wrapper.optimizer.param_groups
        given = [wrapper, *getattr(self.driver, "configs", ())]
        configs = [each["optimizer"] for each in given if is_config(each)]
        for part in [*groups, *configs]:
            # Multipliers and the scaling of auto_scale_lr stay between a config and its groups.
            part["lr"] = value if part["lr"] == current else part["lr"] * value / current
        for group in groups:
            # Schedules of torch and MMEngine begin here; the finder itself changes only `lr`.
            group["initial_lr"] = group["lr"]

    def _schedulers_of(self, name: str) -> list[Any]:
        schedulers = self.param_schedulers or []
        return list(schedulers.get(name, []) if isinstance(schedulers, dict) else schedulers)

    def lr_scheduler_step(self, scheduler: LRSchedulerTypeUnion, metric: Any | None) -> None:
        """Leave the schedules alone: they follow MMEngine's two clocks, not Lightning's optimizer steps.

        What a callback has put in their place (weight averaging, the learning rate finder) steps as Lightning says.
        """
        if not isinstance(scheduler, SchedulesOfOptimizer):
            super().lr_scheduler_step(scheduler, metric)

    def configure_gradient_clipping(
        self,
        optimizer: torch.optim.Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip as ``optim_wrapper``'s ``clip_grad`` says, or else as the Trainer's flags say."""
        if getattr(self.optim_wrapper, "clip_grad_kwargs", None):
            self.optim_wrapper._clip_grad()
        else:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the model's log variables; under automatic optimization the loss keeps its graph."""
        if self.automatic_optimization:
            data = self.model.data_preprocessor(batch, True)
            loss, log_vars = self.model.parse_losses(self.model._run_forward(data, mode="loss"))
            self._loss = torch.as_tensor(log_vars["loss"]).detach()
            return {**log_vars, "loss": require_loss(loss)}
        with NoStopIteration("train_step"):
            return with_tensor_loss(self.driver.train(batch, batch_idx))

    def logged_outputs(self, outputs: Mapping[str, Any]) -> Any:
        """Return a training step's outputs for the log: Lightning divides the loss by the accumulation window."""
        known = self.automatic_optimization and type(self).training_step is _step  # no subclass's
        return {**outputs, "loss": self._loss} if known else outputs

    def log_losses(self, outputs: Mapping[str, Any]) -> None:
        """Log what a training step has returned."""
        self.log_dict(scalars_of(self.logged_outputs(outputs)), prog_bar=True, batch_size=1)

    def compile_step(self, stage: str) -> None:
        """Compile the model's own ``train_step``, ``val_step`` or ``test_step``, if ``compile`` asks for it."""
        step = f"{stage}_step"
        if stage == "train" and self.automatic_optimization:
            step = "_run_forward"  # Lightning's loop makes the rest of the step
        options = {} if self.compile_options is True else self.compile_options
        if step in self._compiled or not isinstance(options, dict):
            return
        # Once per step: at a second fit, torch.compile would wrap the compiled one again.
        self._compiled.add(step)
        setattr(self.model, step, torch.compile(getattr(self.model, step), **options))

    def on_train_start(self) -> None:
        """Begin counting accumulation windows."""
        self.driver.start_training()

    def restore_wrapper(self) -> None:
        """Restore the scaler and an open accumulation window of a resumed file; Lightning has restored the rest."""
        if self._saved_wrapper is not None:
            self.optim_wrapper.load_state_dict(self._saved_wrapper)
            self._saved_wrapper = None

    def on_train_epoch_start(self) -> None:
        """Call the model's ``train()``: it may keep frozen stages in eval mode, and Lightning never calls it."""
        self.driver.start_epoch()

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Log at the Trainer's interval and tick the schedules, unless a run does."""
        self.driver.end_batch(outputs)

    def has_gradients_waiting(self) -> bool:
        """Return whether automatic optimization is inside an accumulation window."""
        return has_gradients_waiting(self.trainer)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        """Leave the batch as the loader made it: the model's data preprocessor moves it, metrics want it raw."""
        return batch

    def on_validation_model_zero_grad(self) -> None:
        """Keep the gradients of an open accumulation window, which goes on after the validation."""
        if self.automatic_optimization:
            # Under manual optimization Lightning 2.6 knows of no window (its `accumulate_grad_batches` is 1) and
            # calls this before every validation.
            super().on_validation_model_zero_grad()

    # Checkpoints

    #: Hooks that are callbacks of the Trainer get the file from here too: in Lightning's own callback stage the weights
    #: would have been loaded already.
    hands_checkpoints_to_hooks = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys, and let hooks change the file's contents."""
        runner_of(self.trainer).complete_checkpoint(checkpoint)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let hooks see the file before the weights are loaded, and take over MMEngine's part of it."""
        if trainer_of(self) is not None:
            runner_of(self.trainer).accept_checkpoint(checkpoint)
            if self.trainer.state.fn == "fit":
                self._saved_wrapper = checkpoint.get("optimizer")


# Lightning 2.6 inspects this method's parameters in every iteration; a stored signature is found at once.
_step: Any = MMLightningModule.training_step
_step.__signature__ = inspect.signature(_step)
