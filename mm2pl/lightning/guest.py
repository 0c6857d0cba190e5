"""A LightningModule of a user's own as the model of a run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.model_helpers import is_overridden

from mm2pl.config import as_config
from mm2pl.errors import ArgumentError
from mm2pl.lightning.evaluation import EvaluatedModule
from mm2pl.lightning.guest_driver import GuestDriver, unlogged
from mm2pl.lightning.optimization import (
    let_trainer_clip_and_accumulate,
    require_deepspeed,
    updates_its_own_way,
)
from mm2pl.lightning.precision import use_wrappers_precision
from mm2pl.lightning.private import has_gradients_waiting, trainer_of
from mm2pl.lightning.schedules import SchedulesOfOptimizer, are_built, split_schedulers
from mm2pl.optim import OptimWrapper, OptimWrapperDict
from mm2pl.optim.abilities import casts, has_executor, wrappers_of

if TYPE_CHECKING:
    import torch
    from lightning.pytorch import Trainer
    from lightning.pytorch.utilities.types import OptimizerLRScheduler
    from torch import nn

    from mm2pl.lightning.callbacks import RunCallback
    from mm2pl.run.eval_loops import EvalLoop
    from mm2pl.run.run import Run

STEPS = {"train": "training_step", "val": "validation_step", "test": "test_step"}


def is_guest(model: nn.Module) -> bool:
    """Return whether a model is trained by steps of Lightning's, and not by MMEngine's.

    Raises:
        TypeError: It is what a run itself puts around a model.
    """
    if isinstance(model, EvaluatedModule):
        raise ArgumentError(
            f"model is a {type(model).__name__}, which a run makes around its model → give the model itself"
        )
    if not isinstance(model, LightningModule):
        return False
    # A user's module may have a `train_step` too, which its `training_step` calls.
    return is_overridden("training_step", model) or not hasattr(model, "train_step")


class GuestModule:
    """Be to a run what an ``MMLightningModule`` is, for a LightningModule that stays as it is.

    The Trainer is given the guest itself, so every hook, key and hyper-parameter of it is Lightning's matter. What the
    run decides comes from :class:`~mm2pl.lightning.guest_driver.GuestDriver`, a callback. Nobody calls the guest's
    ``train()`` or ``init_weights()``: it is trained as by ``Trainer.fit`` without a run.

    Args:
        model: The guest.
        optim_wrapper: As in an MMEngine config, in place of the guest's ``configure_optimizers``; ``None`` leaves it.
        param_scheduler: The schedules of that ``optim_wrapper``.
        auto_scale_lr: As in an MMEngine config.
        val_evaluator: Metrics of what ``validation_step`` returns, in addition to those that it logs.
        test_evaluator: The same for ``test_step``.
        compile: Refused.
        arguments: What else an ``MMLightningModule`` takes, which has done its part in building the model.

    Raises:
        ValueError: ``compile`` is given.
    """

    follows_lightning = True

    def __init__(
        self,
        model: LightningModule,
        optim_wrapper: Any = None,
        param_scheduler: Any = None,
        auto_scale_lr: dict[str, Any] | None = None,
        val_evaluator: Any = None,
        test_evaluator: Any = None,
        compile: Any = None,
        **arguments: Any,
    ) -> None:
        if compile:
            raise ArgumentError(
                f"compile={compile!r}: there is no train_step to compile in {type(model).__name__} → torch.compile "
                "in its configure_model"
            )
        self.lightning_module: Any = model
        self.model: Any = model
        self.param_scheduler, self.lightning_schedulers = split_schedulers(
            as_config(param_scheduler)
        )
        self.param_schedulers: Any = None
        self.auto_scale_lr = auto_scale_lr
        given = {"val": as_config(val_evaluator), "test": as_config(test_evaluator)}
        self.evaluators = {stage: [] if each is None else each for stage, each in given.items()}
        self.eval_metrics: dict[str, Any] = {}
        self.schedules_replaced = False
        self.driver = GuestDriver(self)
        self._given = as_config(optim_wrapper)
        self._adopted: Any = None
        self._adopted_from: Any = None
        self._configures = is_overridden("configure_optimizers", model)

    # What the guest itself answers

    @property
    def trainer(self) -> Any:
        """The guest's Trainer."""
        return self.lightning_module.trainer

    @trainer.setter
    def trainer(self, trainer: Trainer) -> None:
        self.lightning_module.trainer = trainer
        self.driver.join(trainer)

    @property
    def automatic_optimization(self) -> bool:
        """Return whether Lightning drives the optimizer."""
        return self.lightning_module.automatic_optimization

    @property
    def strict_loading(self) -> bool:
        """Return whether the keys of a file must be exactly the guest's, as Lightning has it."""
        return self.lightning_module.strict_loading

    def to(self, device: torch.device) -> Any:
        """Move all parameters and buffers."""
        return self.lightning_module.to(device)

    def named_parameters(self) -> Iterator[tuple[str, torch.nn.Parameter]]:
        """Return the guest's parameters."""
        return self.lightning_module.named_parameters()

    def log_dict(self, *args: Any, **kwargs: Any) -> None:
        """Log for the guest."""
        self.lightning_module.log_dict(*args, **kwargs)

    def has_gradients_waiting(self) -> bool:
        """Return whether automatic optimization is inside an accumulation window."""
        return has_gradients_waiting(self.trainer)

    def outer_weights(self) -> dict[str, Any]:
        """Return the weights that are not the guest's: none."""
        return {}

    def compile_step(self, stage: str) -> None:
        """Do nothing."""

    # What the run hands over

    def follow(self, run: Run, batches_stay_raw: bool, starter: RunCallback) -> GuestDriver:
        """Be driven by a run from now on."""
        self.driver.take(run, starter)
        return self.driver

    def use_loop(self, stage: str, loop: EvalLoop) -> None:
        """Feed what the guest's step returns to this loop's evaluator."""
        self.driver.loops[stage] = loop

    def take_schedules(self, schedules: object) -> None:
        """Take schedules, or what they will be built from."""
        self.param_scheduler = schedules
        self.param_schedulers = schedules if are_built(schedules) else None

    def _require(self, verb: str) -> None:
        """Refuse what Lightning would pass over in silence, or answer in words that know of no config.

        Raises:
            TypeError: The guest has no step for a stage of the run.
            ValueError: Nobody says what trains.
        """
        validates = ["val"] if self.driver.validates else []
        stages = {"fit": ["train", *validates], "validate": ["val"], "test": ["test"]}
        for stage in stages.get(verb, ()):
            if not is_overridden(STEPS[stage], self.lightning_module):
                raise ArgumentError(
                    f"the run has a {stage}_cfg, and {self._name} no {STEPS[stage]} → add one, or leave out {stage}_cfg"
                )
        if (
            verb == "fit"
            and not validates
            and is_overridden("validation_step", self.lightning_module)
        ):
            self.driver.logger.warning(
                f"{self._name} has a validation_step, and nothing validates: the config has no val_cfg → val_cfg=dict()"
            )
        if verb == "fit" and self.brings_optimizers and not self._configures:
            raise ArgumentError(
                f"{self._name} has no configure_optimizers, and the config no optim_wrapper → one of the two is "
                "needed, such as optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.01))"
            )

    @property
    def _name(self) -> str:
        return type(self.lightning_module).__name__

    # Optimizers

    @property
    def brings_optimizers(self) -> bool:
        """Return whether the guest's own ``configure_optimizers`` says what trains."""
        return self._given is None

    @property
    def optim_wrapper(self) -> Any:
        """The run's optimizer wrapper, or what shows hooks and logs the guest's own optimizers once there are some."""
        if self._given is not None:
            return self._given
        trainer: Any = trainer_of(self.lightning_module)
        made = trainer.optimizers if trainer is not None else []
        if made is not self._adopted_from and made:  # Lightning makes a new list for each fit
            wrappers = {f"optimizer_{i}": OptimWrapper(each) for i, each in enumerate(made)}
            one = len(wrappers) == 1
            self._adopted = wrappers["optimizer_0"] if one else OptimWrapperDict(**wrappers)
            self._adopted_from = made
        return self._adopted

    @optim_wrapper.setter
    def optim_wrapper(self, value: Any) -> None:
        self._given = value

    def choose_optimization(self) -> list[str]:
        """Check what the run and the guest say of the optimizer.

        Returns:
            What of it is left out, as sentences for the log.

        Raises:
            ValueError: What the run asks of the optimizer would not be done.
        """
        self.driver.refuse_callbacks()
        if self._given is None:
            if (self.auto_scale_lr or {}).get("enable"):
                raise ArgumentError(
                    f"auto_scale_lr: the learning rate is that of {self._name}.configure_optimizers → scale it there, "
                    "or give optim_wrapper"
                )
            return []
        wrappers = wrappers_of(self._given)
        self._refuse_conflicts(wrappers)
        self.driver.remember_parameters([each.optimizer for each in wrappers.values()])
        require_deepspeed(self.trainer, wrappers.values())
        # The steps are Lightning's in both modes: those of its own wrappers around the optimizers.
        use_wrappers_precision(self.trainer, wrappers.values(), automatic=True)
        notes = []
        if self.automatic_optimization:
            self.driver.borrow_accumulation()
            notes = let_trainer_clip_and_accumulate(self.trainer, self._given, flags_win=True)
        if self._configures:
            notes.append(
                f"optim_wrapper trains: {self._name}.configure_optimizers is not called in this run"
            )
        return notes

    def _refuse_conflicts(self, wrappers: dict[str, Any]) -> None:
        name = self._name
        automatic = self.automatic_optimization
        if automatic and len(wrappers) > 1:
            raise ArgumentError(
                f"optim_wrapper makes {len(wrappers)} optimizers ({', '.join(wrappers)}), and under automatic "
                f"optimization Lightning drives one → {name}.automatic_optimization = False, and steps in its "
                "training_step; or one optimizer"
            )
        # Nothing of what MMEngine's own AmpOptimWrapper does would be done.
        casts_alone = any(casts(each) and not has_executor(each) for each in wrappers.values())
        if casts_alone or (automatic and updates_its_own_way(self._given)):
            raise ArgumentError(
                f"{type(self._given).__name__} updates in its own way, and Lightning drives the optimizer of "
                f"{name} → type='OptimWrapper' or 'AmpOptimWrapper', of mm2pl.optim"
            )
        if automatic:
            return
        if self.lightning_schedulers:
            raise ArgumentError(
                f"param_scheduler holds a scheduler of torch's, which Lightning does not step where {name} drives its "
                "optimizers → give its dict, such as dict(type='StepLR', step_size=1)"
            )
        for wrapper in wrappers.values():
            asked = {
                "accumulative_counts": (getattr(wrapper, "_accumulative_counts", 1), 1),
                "clip_grad": (getattr(wrapper, "clip_grad_kwargs", None) or {}, {}),
            }
            for key, (value, default) in asked.items():
                if value != default:
                    raise ArgumentError(
                        f"optim_wrapper's {key}={value!r}: {name}.automatic_optimization is False, so its "
                        "training_step steps the optimizers → do it there, and leave out the key"
                    )

    def clip(self) -> None:
        """Clip as ``optim_wrapper``'s ``clip_grad`` says."""
        if getattr(self._given, "clip_grad_kwargs", None):
            self._given._clip_grad()

    def optimizers_of_run(self) -> OptimizerLRScheduler:
        """Return what the guest's ``configure_optimizers`` returns in a run with an ``optim_wrapper``."""
        self.driver.catch_up()
        self.driver.follow_parameters()
        found, views = [], []
        for name, wrapper in wrappers_of(self._given).items():
            schedules = self.param_schedulers or []
            if isinstance(schedules, dict):
                schedules = schedules.get(name, [])
            found.append(wrapper.optimizer)
            if schedules:
                view = SchedulesOfOptimizer(wrapper.optimizer, list(schedules))
                views.append({"scheduler": view, "interval": view.interval})
        return found, [*views, *self.lightning_schedulers]

    @contextmanager
    def lent(self, trainer: Trainer, verb: str) -> Iterator[None]:
        """Drive the guest in a Trainer, with what the run says in the place of what the guest does, for one verb."""
        self._require(verb)
        self.driver.join(trainer)
        with ExitStack() as undo:
            if self._given is not None:
                undo.enter_context(self._configured())
            if any(hasattr(hook, "sources") for hook in self.driver.hooks):
                undo.enter_context(unlogged(trainer))
            yield

    @contextmanager
    def _configured(self) -> Iterator[None]:
        # A function, which `deepcopy` shares: an average of the model must not copy the run. It stands here before
        # Lightning looks for the method, which a guest need not have.
        def configure_optimizers() -> OptimizerLRScheduler:
            return self.optimizers_of_run()

        state, name = vars(self.lightning_module), "configure_optimizers"
        before = state.get(name)
        state[name] = configure_optimizers
        try:
            yield
        finally:
            del state[name]
            if before is not None:
                state[name] = before
