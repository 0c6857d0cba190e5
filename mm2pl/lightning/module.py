"""An MMEngine model as a LightningModule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import LightningModule
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from mm2pl.config import ConfigDict, as_config
from mm2pl.errors import ArgumentError
from mm2pl.evaluator import BaseMetric, Evaluator
from mm2pl.lightning.compiling import CompiledStep
from mm2pl.lightning.evaluation import EvaluatedModule, ran_out
from mm2pl.lightning.optimization import (
    is_config,
    let_trainer_clip_and_accumulate,
    needs_manual_optimization,
    reasons_for_automatic,
    require_deepspeed,
    updates_its_own_way,
    with_tensor_loss,
)
from mm2pl.lightning.own_trainer import OwnTrainer
from mm2pl.lightning.parameters import add_own_parameters
from mm2pl.lightning.precision import use_wrappers_precision
from mm2pl.lightning.private import has_gradients_waiting, trainer_of
from mm2pl.lightning.run_driver import RunDriver
from mm2pl.lightning.schedules import (
    SchedulesOfOptimizer,
    are_built,
    leave_steps_to_trainer,
    split_schedulers,
)
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.model.utils import set_preprocessor_device
from mm2pl.optim import OptimWrapper, _ParamScheduler, require_loss
from mm2pl.optim.abilities import has_executor, wrappers_of
from mm2pl.plan.containers import live_objects
from mm2pl.registry import DefaultScope
from mm2pl.run.model import build_model
from mm2pl.run.other_package import warn_of_other_package

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from lightning.pytorch.utilities.types import LRSchedulerTypeUnion, OptimizerLRScheduler

    from mm2pl.lightning.callbacks import RunCallback
    from mm2pl.lightning.driver import ModuleDriver
    from mm2pl.run.run import Run


class MMLightningModule(EvaluatedModule):
    """Drive a model that speaks ``forward(..., mode="loss" | "predict" | "tensor")`` from a Lightning Trainer.

    Used alone, it is an ordinary LightningModule: automatic optimization, so Trainer flags such as
    ``accumulate_grad_batches`` work, unless the model has its own ``train_step`` or several optimizers. In a run that a
    config drives, the model's own ``train_step(data, optim_wrapper)`` is called (manual optimization), which is equal
    to MMEngine to the last bit; a Trainer flag that only automatic optimization can follow switches to that.

    Args:
        model: A model (:class:`mm2pl.model.BaseModel`, MMEngine's own ``BaseModel``), or the dict to build one from.
        optim_wrapper: As in an MMEngine config, a built wrapper, or an optimizer of torch's.
        param_scheduler: As in an MMEngine config: a dict, a list, or a dict of lists for several optimizers. Those of
            torch's (``LRScheduler``, or Lightning's ``{"scheduler": …, "interval": …}``) are stepped by Lightning.
        auto_scale_lr: As in an MMEngine config: ``dict(enable=True, base_batch_size=256)``.
        data_preprocessor: Put into a model dict that has none.
        val_evaluator: Metrics for validation: a dict, a list of dicts, or an Evaluator. Without it, validation logs the
            mean training losses as ``val_loss``.
        test_evaluator: The same for testing.
        default_scope: The registry scope in which type names are looked up first.
        compile: ``True`` or keyword arguments for :func:`torch.compile` of the model's step.
        init_weights: Call the model's ``init_weights()`` before training. ``None``: if it was built here, from a dict.
        call_train: Call the model's ``train()`` at the start of each epoch, as MMEngine does: what was put into eval
            mode before goes back, unless the model's ``train`` keeps it. ``False`` leaves modes alone, as Lightning.

    Raises:
        TypeError: If ``model`` is neither a module nor a dict, or ``compile`` neither bool nor dict.
        ValueError: If a Trainer flag contradicts ``optim_wrapper`` (``gradient_clip_val`` and ``clip_grad``, …), or
            needs a loop in which the ``optim_wrapper``'s own methods would not be called.

    Example:
    >>> from mm2pl.model import BaseModel
    >>> class Mean(BaseModel):
    ...     def forward(self, inputs, mode="tensor"):
    ...         return {"loss": inputs.mean()} if mode == "loss" else inputs
    >>> MMLightningModule(Mean(), {"optimizer": {"type": "SGD", "lr": 0.1}}).automatic_optimization
    True
    """

    follows_lightning = brings_optimizers = False

    def __init__(
        self,
        model: Settings | nn.Module | None = None,
        optim_wrapper: Settings | OptimWrapper | Optimizer | None = None,
        param_scheduler: Settings | SettingsList | _ParamScheduler | LRScheduler | None = None,
        auto_scale_lr: Settings | None = None,
        data_preprocessor: Settings | nn.Module | None = None,
        val_evaluator: Settings | SettingsList | Evaluator | BaseMetric | None = None,
        test_evaluator: Settings | SettingsList | Evaluator | BaseMetric | None = None,
        default_scope: str | None = None,
        compile: bool | Settings | None = None,
        init_weights: bool | None = None,
        call_train: bool = True,
    ) -> None:
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        warn_of_other_package()
        super().__init__({"val": as_config(val_evaluator), "test": as_config(test_evaluator)})
        stored = ConfigDict({k: v for k, v in given.items() if not live_objects(v)})
        # Plain, where parts of a config were given: `weights_only` loads no ConfigDict.
        self.save_hyperparameters(stored.to_dict(), logger=False)
        if default_scope is not None:
            # Instances stay for good, so there is one per scope, not per module; made anew, it is the current one.
            name = f"module-{default_scope}"
            DefaultScope._instance_dict.pop(name, None)
            DefaultScope.get_instance(name, scope_name=default_scope)
        self.init_weights = isinstance(model, dict) if init_weights is None else init_weights
        self.model: Any = build_model(model, data_preprocessor)
        if isinstance(optim_wrapper, Optimizer):
            optim_wrapper = OptimWrapper(optim_wrapper)
        self.optim_wrapper = as_config(optim_wrapper)
        self.param_scheduler, self.lightning_schedulers = split_schedulers(
            as_config(param_scheduler)
        )
        self.param_schedulers: Any = None
        self.auto_scale_lr = auto_scale_lr
        if not isinstance(compile, (bool, dict, type(None))):
            raise ArgumentError(
                f"compile={compile!r} → True, or a dict of torch.compile's arguments"
            )
        self.compile_options = compile
        self._compiled: set[str] = set()
        self.call_train = call_train
        self.driver: ModuleDriver = OwnTrainer(self)
        self.batches_stay_raw = False
        self.schedules_replaced = False
        self.automatic_optimization = not needs_manual_optimization(self.model, optim_wrapper)

    @property
    def lightning_module(self) -> LightningModule:
        """What the Trainer of a run is given: this module."""
        return self

    def _join(self, trainer: Trainer | None) -> None:
        LightningModule.trainer.fset(self, trainer)  # type: ignore[attr-defined]
        # Inside another LightningModule it is a part like any other: that one trains it.
        if trainer is not None and trainer.lightning_module is self:
            self.driver = self._driver_for(trainer)
            self.driver.join(trainer)

    if not TYPE_CHECKING:
        #: Lightning assigns it when a Trainer is given the module; no override of a hook can prevent that.
        trainer = property(LightningModule.trainer.fget, _join)

    def _driver_for(self, trainer: Trainer) -> ModuleDriver:
        driver = self.driver
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        starter = next(
            (each for each in callbacks if hasattr(each, "begin_run") and hasattr(each, "attach")),
            None,
        )
        if starter is not None:
            same = isinstance(driver, RunDriver) and driver.starter is starter
            return driver if same else RunDriver(self, None, starter)
        return OwnTrainer(self) if driver.exact else driver

    def follow(self, run: Run, batches_stay_raw: bool, starter: RunCallback) -> RunDriver:
        """Leave building, ticking and evaluating to a run.

        Args:
            run: The run.
            batches_stay_raw: Whether neither this module nor the data module does anything with a batch.
            starter: The callback that holds the run in its Trainer.
        """
        if not isinstance(self.driver, RunDriver):
            self.driver = RunDriver(self, None, starter)
        self.driver.take(run, starter)
        self.batches_stay_raw = batches_stay_raw
        return self.driver

    def __getstate__(self) -> dict[str, Any]:
        # Who drives it holds a Trainer, a log and open files; a copy begins without.
        return {**super().__getstate__(), "driver": self.driver.for_copies()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.driver = OwnTrainer(self, state["driver"])

    def _apply(self, fn: Callable[[torch.Tensor], torch.Tensor], recurse: bool = True) -> Any:
        # What `.to()`, `.cuda()` and Lightning's strategies end in. torch calls this of children, but never their
        # `.to()`, in which MMEngine 0.10.7's data preprocessor remembers its device.
        super()._apply(fn, recurse)
        tensor = next(chain(self.model.parameters(), self.model.buffers()), None)
        if tensor is not None:
            set_preprocessor_device(self.model, tensor.device)
        return self

    # Optimization

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
                    raise ArgumentError(
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
        if len(wrappers) == 1:
            # An OptimWrapperDict may hold a single one.
            add_own_parameters(next(iter(wrappers)).optimizer, self)
        self.driver.remember_parameters([each.optimizer for each in wrappers])
        require_deepspeed(self.trainer, wrappers)
        if self.automatic_optimization:
            self.driver.borrow_accumulation()
            notes += let_trainer_clip_and_accumulate(
                self.trainer, wrapper, flags_win=self.driver.flags_win
            )
        else:
            self.driver.act_for(wrappers)
        use_wrappers_precision(self.trainer, wrappers, self.automatic_optimization)
        return notes

    def take_schedules(self, schedules: object) -> None:
        """Take schedules in place of those that were given: built ones, or what they will be built from."""
        self.param_scheduler = schedules
        self.param_schedulers = schedules if are_built(schedules) else None

    @property
    def makes_own_optimizers(self) -> bool:
        """Return whether a subclass, or LightningCLI's ``--optimizer``, says what trains."""
        method = getattr(self.configure_optimizers, "__func__", None)
        return method is not MMLightningModule.configure_optimizers

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return the wrapped torch optimizers, and one view per optimizer of the schedules that mm2pl steps itself.

        Without a Trainer, for Fabric or a test, nothing is known of the run's length: a schedule without an ``end``
        goes on for ever, as when its class is called.

        Raises:
            ValueError: There are schedules that Lightning would have to step, and it does not drive the optimizer.
        """
        if self.lightning_schedulers and not self.automatic_optimization:
            raise ArgumentError(
                "param_scheduler holds a scheduler of torch's, and Lightning steps none under manual optimization "
                "(a model with its own train_step, several optimizers, a config's run) → give its dict, such as "
                "dict(type='StepLR', step_size=1)"
            )
        if trainer_of(self) is None:
            self.driver.build_alone()
        else:
            self.driver.catch_up()
            self.driver.before_optimizers()
            self.driver.follow_parameters()
        if self.automatic_optimization:
            leave_steps_to_trainer(self.param_schedulers)
        wrappers = wrappers_of(self.optim_wrapper)
        views = [
            SchedulesOfOptimizer(wrapper.optimizer, self._schedulers_of(name))
            for name, wrapper in wrappers.items()
        ]
        return (
            [wrapper.optimizer for wrapper in wrappers.values()],
            [
                *({"scheduler": v, "interval": v.interval} for v in views if v.schedulers),
                *self.lightning_schedulers,
            ],
        )

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
        self.driver.take_optimizer(None)  # what the finder has put back has the old one
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

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the model, ``forward(inputs, data_samples=None, mode="tensor")``."""
        # A model may have another default than MMEngine's, and then would return losses to whoever exports it.
        if len(args) < 3:
            kwargs.setdefault("mode", "tensor")
        return self.model(*args, **kwargs)

    def training_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        """Return the model's log variables; under automatic optimization the loss keeps its graph.

        Raises:
            StateError: An iterator in the model's step has run out.
        """
        self.driver.before_step()
        if self.automatic_optimization:
            data = self.model.data_preprocessor(batch, True)
            loss, log_vars = self.model.parse_losses(self.model._run_forward(data, mode="loss"))
            return {**log_vars, "loss": require_loss(loss)}
        try:
            return with_tensor_loss(self.driver.train(batch, batch_idx))
        except StopIteration as error:
            raise ran_out("train_step") from error

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
        setattr(self.model, step, CompiledStep(getattr(self.model, step), options))

    @property
    def holds_back_gradients(self) -> bool:
        """Return whether an optimizer wrapper is about to add gradients that are not to be averaged yet."""
        wrappers = wrappers_of(self.optim_wrapper).values()
        return self.driver.holds_back or any(
            has_executor(each) and getattr(each.executor, "holds_back", False) for each in wrappers
        )

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


# Lightning 2.6 inspects this method's parameters in every iteration; a stored signature is found at once.
_step: Any = MMLightningModule.training_step
_step.__signature__ = inspect.signature(_step)
