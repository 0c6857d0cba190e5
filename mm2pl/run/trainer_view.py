"""The ``runner`` of a Trainer that the user made: everything is read from the Trainer."""

from __future__ import annotations

import itertools
import math
import os
import time
import weakref
from collections.abc import Callable
from fractions import Fraction
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from mm2pl.config import Config
from mm2pl.logging import MessageHub, MMLogger
from mm2pl.optim.abilities import wrappers_of
from mm2pl.run.log_processor import LogProcessor
from mm2pl.run.other_package import refuse_other_package
from mm2pl.run.priority import get_priority
from mm2pl.run.view import RunnerView
from mm2pl.visualization import LoggersBackend, Visualizer

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import nn

    from mm2pl.run.facade import RunnerFacade
    from mm2pl.run.run import Run


_NUMBERS = itertools.count()


class TrainerView(RunnerView):
    """What hooks in ``Trainer(callbacks=[…])`` get: the Trainer, under the names of MMEngine's Runner."""

    def __init__(self, trainer: Trainer) -> None:
        super().__init__()
        refuse_other_package(trainer)
        self._trainer = weakref.ref(trainer)  # the table of views must not keep Trainers alive
        self.timestamp = time.strftime("%Y%m%d_%H%M%S")
        # Not id(trainer): Python gives it again to a later Trainer, which would find the values of the one before.
        self.experiment_name = f"trainer-{next(_NUMBERS)}"
        self.work_dir = trainer.default_root_dir
        self.launcher = "none"
        self.seed = None
        self.deterministic = self.diff_rank_seed = False
        self.logger = MMLogger.get_instance("mm2pl")
        self.message_hub = MessageHub.get_instance(self.experiment_name)
        weakref.finalize(trainer, MessageHub.forget_instance, self.experiment_name)
        self.log_processor = LogProcessor()
        self.cfg = Config({})
        self.visualizer = Visualizer(vis_backends=[LoggersBackend(lambda: self.trainer.loggers)])
        self.train_loop = TrainerLoop(self)
        self._resume = False

    @property
    def trainer(self) -> Any:
        """The Trainer."""
        return self._trainer()

    @property
    def rank(self) -> int:  # type: ignore[override]
        """This process's global rank."""
        return self.trainer.global_rank

    @property
    def world_size(self) -> int:  # type: ignore[override]
        """The number of processes."""
        return self.trainer.world_size

    @property
    def distributed(self) -> bool:  # type: ignore[override]
        """Return whether several processes train together."""
        return self.world_size > 1

    @property
    def module(self) -> Any:
        """The LightningModule being trained."""
        return self.trainer.lightning_module

    @property
    def mm_module(self) -> Any:
        """The same."""
        return self.module

    @property
    def _is_ours(self) -> bool:
        # As an MMLightningModule has, which imports this room. One alone may be a user's attribute.
        names = ("model", "optim_wrapper", "param_schedulers", "loops")
        return all(hasattr(self.module, name) for name in names)

    @property
    def model(self) -> nn.Module:  # type: ignore[override]
        """The model inside an ``MMLightningModule``; any other LightningModule is the model itself."""
        return self.module.model if self._is_ours else self.module

    @property
    def optim_wrapper(self) -> Any:
        """The optimizer wrapper of an ``MMLightningModule``, or what tells the Trainer's learning rates."""
        return self.module.optim_wrapper if self._is_ours else TrainerOptimizers(self.trainer)

    @property
    def param_schedulers(self) -> Any:
        """The schedules that hooks step: those of an ``MMLightningModule``, or what another has of ours."""
        if self._is_ours and self.module.param_schedulers is not None:
            return self.module.param_schedulers
        shown = [
            getattr(each.scheduler, "schedulers", []) for each in self.trainer.lr_scheduler_configs
        ]
        return [scheduler for schedulers in shown for scheduler in schedulers] or None

    @property
    def hooks(self) -> list[Any]:  # type: ignore[override]
        """The hooks among the Trainer's callbacks, by priority."""
        hooks = [each for each in self.trainer.callbacks if hasattr(each, "get_triggered_stages")]
        return sorted(hooks, key=lambda hook: get_priority(hook.priority))

    @property
    def val_loop(self) -> Any:
        """The validation loop, or what holds its loader."""
        return self._loop("val")

    @property
    def test_loop(self) -> Any:
        """The test loop, or what holds its loader."""
        return self._loop("test")

    @property
    def is_inside_epoch(self) -> bool:
        """Return False where it is asked, at the end of a training: the last epoch counts, also if it was cut short."""
        return False

    @property
    def is_cut_short(self) -> bool:
        """Return whether something else than ``max_epochs`` ends the training."""
        return self.train_loop.epoch < self.max_epochs or self.trainer.should_stop

    def _loop(self, stage: str) -> Any:
        loop = self.module.loops.get(stage) if self._is_ours else None
        if loop is not None:
            return loop
        loaders = getattr(self.trainer, f"{stage}_dataloaders")
        loader = loaders[0] if isinstance(loaders, list | tuple) else loaders
        return None if loader is None else SimpleNamespace(dataloader=loader, evaluator=None)

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Let the Trainer save; every process must call this. ``meta`` is an MMEngine run's and not used."""
        if self.is_trial:
            return
        self.trainer.save_checkpoint(
            os.path.join(out_dir, filename),
            weights_only=not save_optimizer,
            storage_options=backend_args or file_client_args,
        )


class TrainerLoop:
    """The train loop of a Trainer that the user made, read from its progress."""

    val_begin = 1
    batch_counted = False
    """Set while ``after_train_epoch`` runs, inside the last batch: that one counts already."""
    epoch_counted = False
    """Set while it runs after an epoch that was cut short: to MMEngine's hooks that one does not count yet."""

    def __init__(self, view: TrainerView) -> None:
        self._view = view

    @property
    def _trainer(self) -> Any:
        return self._view.trainer

    @property
    def epoch(self) -> int:
        """Epochs finished so far; during the validation at an epoch's end that one counts."""
        epochs: Any = self._trainer.fit_loop.epoch_progress.current
        if epochs.processed == epochs.ready:
            return epochs.ready - self.epoch_counted
        batches = self._trainer.fit_loop.epoch_loop.batch_progress
        batches_over = batches.is_last_batch and batches.current.completed == batches.current.ready
        # Between ``ready`` and ``started`` the batches are still those of the epoch before.
        over = epochs.started == epochs.ready and batches_over
        return epochs.ready if over else epochs.ready - 1

    @property
    def iter(self) -> int:
        """Iterations finished so far."""
        batches = self._trainer.fit_loop.epoch_loop.batch_progress
        return batches.total.completed + self.batch_counted

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run, the last of them maybe cut short; 0 if neither epochs nor steps end it."""
        trainer = self._trainer
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            return trainer.max_epochs
        return math.ceil(self._batches_of_max_steps / trainer.num_training_batches)

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run, as far as the Trainer knows."""
        trainer = self._trainer
        steps = self._batches_of_max_steps
        batches = (trainer.max_epochs or 0) * trainer.num_training_batches
        if batches <= 0 or batches == float("inf"):
            return steps
        return int(min(batches, steps) if steps else batches)

    @property
    def _batches_of_max_steps(self) -> int:
        """Batches until ``max_steps``; 0 if that was not given. Lightning adds up the steps of all optimizers."""
        trainer = self._trainer
        steps_per_batch = Fraction(1, trainer.accumulate_grad_batches)
        if not self._view.module.automatic_optimization:
            wrappers = wrappers_of(self._view.optim_wrapper).values()
            counts = [getattr(each, "_accumulative_counts", 1) for each in wrappers]
            steps_per_batch = sum((Fraction(1, count) for count in counts), Fraction())
        return math.ceil(max(trainer.max_steps, 0) / steps_per_batch)

    @property
    def epoch_length(self) -> int | None:
        """Iterations per epoch; ``None`` before the loader is known, and where it has no length."""
        batches = self._trainer.num_training_batches
        return int(batches) if batches and batches != float("inf") else None

    @property
    def val_interval(self) -> int:
        """Epochs between validations."""
        return self._trainer.check_val_every_n_epoch or 1

    @property
    def dataloader(self) -> Any:
        """The training loader."""
        return self._trainer.train_dataloader

    @property
    def stop_training(self) -> bool:
        """Return whether the run was asked to end."""
        return self._trainer.should_stop

    @stop_training.setter
    def stop_training(self, value: bool) -> None:
        self._trainer.should_stop = value


class TrainerOptimizers:
    """Tell the learning rates and momenta of a Trainer's optimizers as an ``OptimWrapper`` does."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer

    def get_lr(self) -> dict[str, list[float]]:
        """Return ``{"lr": [one per group]}``; several optimizers are numbered: ``0.lr``, ``1.lr``."""
        return self._per_group("lr", lambda group: group["lr"])

    def get_momentum(self) -> dict[str, list[float]]:
        """Return the same for momenta, Adam's first beta among them."""
        return self._per_group(
            "momentum", lambda group: group.get("momentum", group.get("betas", (0,))[0])
        )

    def _per_group(
        self, name: str, read: Callable[[dict[str, Any]], float]
    ) -> dict[str, list[float]]:
        optimizers = self._trainer.optimizers
        return {
            name if len(optimizers) == 1 else f"{i}.{name}": [read(g) for g in each.param_groups]
            for i, each in enumerate(optimizers)
        }


_VIEWS: weakref.WeakKeyDictionary[Any, TrainerView] = weakref.WeakKeyDictionary()


def run_of(trainer: Trainer) -> Run | None:
    """Return the run that a Trainer carries, if there is one."""
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    runs = (getattr(callback, "run", None) for callback in callbacks)
    # A callback of the user's may have a `run` of its own, such as a method.
    return next((run for run in runs if hasattr(run, "runner")), None)


def runner_of(trainer: Trainer) -> RunnerFacade | TrainerView:
    """Return the runner of a Trainer: that of its run, or a view of the Trainer."""
    run = run_of(trainer)
    if run is not None:
        return run.runner
    if trainer not in _VIEWS:
        _VIEWS[trainer] = TrainerView(trainer)
    return _VIEWS[trainer]
