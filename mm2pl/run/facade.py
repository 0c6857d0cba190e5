"""The ``runner`` that MMEngine's hooks, models and loops see, over a live Lightning Trainer."""

from __future__ import annotations

import time
from collections.abc import Mapping
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.checkpoint import format as files
from mm2pl.hooks.stages import STAGES, overridden_stages
from mm2pl.registry import EVALUATOR

if TYPE_CHECKING:
    from mm2pl.config import Config
    from mm2pl.evaluator import Evaluator
    from mm2pl.logging import MessageHub, MMLogger

_UNBUILT = (dict, type(None))


class RunnerFacade:
    """What every ``runner`` offers, whoever made the Trainer.

    Subclasses provide ``trainer``, ``module``, ``hooks``, the three loops and the services (``logger``,
    ``message_hub``, ``visualizer``, ``log_processor``). Everything
    here is derived from those, so it can be read at any moment.
    """

    trainer: Any
    module: Any
    train_loop: Any
    val_loop: Any
    test_loop: Any
    logger: MMLogger
    message_hub: MessageHub
    visualizer: Any
    log_processor: Any
    cfg: Config
    hooks: list[Any]
    work_dir: str
    timestamp: str
    experiment_name: str
    launcher: str
    seed: int | None
    deterministic: bool
    diff_rank_seed: bool
    _train_loop: Any
    """The training loop, or its config until something needs it; reading this builds nothing."""
    _val_loop: Any
    _resume: bool = False
    """Whether what is being loaded continues a run; EMAHook and others of MMEngine's kind read it."""
    logged_scalars: Mapping[str, Any] = MappingProxyType({})
    """The values of the last line of the training log."""

    def __init__(self) -> None:
        self._dispatch: dict[str, list[Any]] = {}

    # Where the run is

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        loop = self._train_loop
        return 0 if isinstance(loop, _UNBUILT) else loop.epoch

    @property
    def iter(self) -> int:
        """Iterations finished so far."""
        loop = self._train_loop
        return 0 if isinstance(loop, _UNBUILT) else loop.iter

    @property
    def max_epochs(self) -> int:
        """Epochs of the whole run."""
        loop = self.train_loop
        return loop.max_epochs if loop is not None else 0

    @property
    def max_iters(self) -> int:
        """Iterations of the whole run."""
        loop = self.train_loop
        return loop.max_iters if loop is not None else 0

    @property
    def val_interval(self) -> int:
        """Epochs or iterations between validations, at this moment."""
        return self.train_loop.val_interval

    @property
    def val_begin(self) -> int:
        """The first epoch or iteration that is followed by a validation."""
        return self.train_loop.val_begin

    # What it works with

    @property
    def model(self) -> Any:
        """The bare model; Lightning's strategy wraps the module around it, never the model itself."""
        return self.module.model

    @model.setter
    def model(self, value: Any) -> None:
        self.module.model = value  # PrepareTTAHook wraps it before a test

    @property
    def model_name(self) -> str:
        """The class name of the model."""
        return type(self.model).__name__

    @property
    def optim_wrapper(self) -> Any:
        """The optimizer wrapper, or what it will be built from."""
        return self.module.optim_wrapper

    @optim_wrapper.setter
    def optim_wrapper(self, value: Any) -> None:
        self.module.optim_wrapper = value

    @property
    def param_schedulers(self) -> Any:
        """The built schedules: a list, or a dict of lists for several optimizers."""
        return self.module.param_schedulers

    @param_schedulers.setter
    def param_schedulers(self, value: Any) -> None:
        self.module.param_schedulers = value

    @property
    def device(self) -> torch.device:
        """The device that this process computes on."""
        return self.trainer.strategy.root_device

    def loop_of(self, stage: str) -> Any:
        """Return the loop of ``train``, ``val`` or ``test``."""
        return getattr(self, f"{stage}_loop")

    @property
    def train_dataloader(self) -> Any:
        """The training loader."""
        return self.loop_of("train").dataloader

    @property
    def val_dataloader(self) -> Any:
        """The validation loader."""
        return self.loop_of("val").dataloader

    @property
    def test_dataloader(self) -> Any:
        """The test loader."""
        return self.loop_of("test").dataloader

    @property
    def val_evaluator(self) -> Any:
        """The evaluator of the validation loop."""
        return self.loop_of("val").evaluator

    @property
    def test_evaluator(self) -> Any:
        """The evaluator of the test loop."""
        return self.loop_of("test").evaluator

    # The processes

    @property
    def rank(self) -> int:
        """This process's global rank."""
        return self.trainer.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self.trainer.world_size

    @property
    def distributed(self) -> bool:
        """Whether several processes train together."""
        return self.launcher != "none" or self.world_size > 1

    @property
    def log_dir(self) -> str:
        """The folder of this start's log: ``work_dir/<timestamp>``."""
        return str(Path(self.work_dir) / self.timestamp)

    # Hooks

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call one point of every hook that has it, in priority order; users may invent points."""
        for method in self.methods_of(fn_name):
            method(self, **kwargs)

    def methods_of(self, point: str) -> list[Any]:
        """Return the hooks' methods for a point, in priority order, without those that do nothing."""
        methods = self._dispatch.get(point)
        if methods is None:
            methods = self._dispatch[point] = [
                getattr(hook, point)
                for hook in self.hooks
                if hasattr(hook, point)
                and (point not in STAGES or point in overridden_stages(hook))
            ]
        return methods

    # Building

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """Build an evaluator from a metric dict, a list of them, or ``dict(type=…, metrics=…)``.

        Raises:
            TypeError: If ``evaluator`` is none of these.
        """
        from mm2pl.evaluator import Evaluator

        if isinstance(evaluator, dict) and "metrics" in evaluator:
            return EVALUATOR.build({"type": "Evaluator", **evaluator})
        if isinstance(evaluator, (dict, list)):
            return Evaluator(evaluator)
        if hasattr(evaluator, "process"):
            return evaluator if hasattr(evaluator, "metrics") else Evaluator(evaluator)
        raise TypeError(
            f"evaluator={evaluator!r} → a metric dict, a list of metric dicts, or an Evaluator is needed"
        )

    def limit_train_batches(self, length: int) -> int:
        """Apply ``Trainer(limit_train_batches=…)`` and ``fast_dev_run`` to a number of batches."""
        limit = self.trainer.limit_train_batches
        return min(length, limit) if isinstance(limit, int) else int(length * limit)

    # What has been logged

    def publish_scalars(self, scalars: Mapping[str, Any]) -> None:
        """Take what has just become a line of the training log; for the progress bar."""
        self.logged_scalars = scalars

    # Checkpoints

    def meta(self) -> dict[str, Any]:
        """Return what a checkpoint's ``meta`` says about the run."""
        meta = {
            "epoch": self.epoch,
            "iter": self.iter,
            "cfg": self.cfg.pretty_text,
            "seed": self.seed,
            "experiment_name": self.experiment_name,
            "time": time.strftime("%Y%m%d_%H%M%S"),
        }
        dataset: Any = getattr(getattr(self.train_loop, "dataloader", None), "dataset", None)
        if hasattr(dataset, "metainfo"):
            meta["dataset_meta"] = dataset.metainfo
        return meta

    def complete_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys to a Lightning checkpoint, then let ``before_save_checkpoint`` hooks change it."""
        files.add_mmengine_keys(checkpoint, self)
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)

    def accept_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let ``after_load_checkpoint`` hooks change what was read, before any weight is loaded."""
        self._resume = self.trainer.state.fn == "fit"
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)


def _alias(name: str) -> property:
    return property(attrgetter(name), lambda self, value: setattr(self, name, value))


#: Names that MMEngine's own hooks, and those of its projects, use of a Runner although they are private.
for _name in (
    *("train_loop", "val_loop", "test_loop", "hooks", "has_loaded"),
    *("experiment_name", "timestamp", "log_dir", "work_dir"),
):
    setattr(RunnerFacade, f"_{_name}", _alias(_name))


def runner_of(trainer: Any) -> Any:
    """Return the runner of a Trainer: that of its config-driven run, or a view of the Trainer."""
    from mm2pl.lightning.callbacks import RunCallback
    from mm2pl.lightning.trainer_view import TrainerView

    for callback in trainer.callbacks:
        if isinstance(callback, RunCallback) and callback.runner is not None:
            return callback.runner
    # Kept on the Trainer, so that both can be freed together.
    if "mm2pl_view" not in vars(trainer):
        trainer.mm2pl_view = TrainerView(trainer)
    return trainer.mm2pl_view
