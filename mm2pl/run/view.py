"""What the ``runner`` of a run and that of a user's own Trainer have in common."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint.compare import KEY
from mm2pl.dataset import build_dataloader
from mm2pl.errors import ArgumentError
from mm2pl.evaluator import Evaluator
from mm2pl.evaluator.torchmetric import is_torchmetric
from mm2pl.registry import EVALUATOR
from mm2pl.run.facts import facts_of
from mm2pl.run.points import OF_ITERATIONS, methods_at, misfit_of

if TYPE_CHECKING:
    from torch import nn

    from mm2pl.config import Config
    from mm2pl.logging import MessageHub, MMLogger
    from mm2pl.run.log_processor import LogProcessor
    from mm2pl.run.protocols import LoaderLike


class RunnerView:
    """What hooks, models and loops may ask of any ``runner``; it is derived when asked for, so it is never out of date.

    Subclasses provide ``trainer``, ``module``, ``hooks``, the three loops and the services (``logger``,
    ``message_hub``, ``visualizer``, ``log_processor``).
    """

    trainer: Any
    module: Any
    mm_module: Any
    """What of the module knows of optimizer wrappers and schedules: itself, or who stands for a user's own."""
    train_loop: Any
    val_loop: Any
    test_loop: Any
    logger: MMLogger
    message_hub: MessageHub
    visualizer: Any
    log_processor: LogProcessor
    cfg: Config
    hooks: list[Any]
    work_dir: str
    timestamp: str
    experiment_name: str
    launcher: str
    rank: int
    world_size: int
    distributed: bool
    seed: int | None
    deterministic: bool
    diff_rank_seed: bool
    model: nn.Module
    optim_wrapper: Any
    param_schedulers: Any
    _resume: bool
    """Whether what is being loaded continues a run; EMAHook and others of MMEngine's kind read it."""
    logged_scalars: Mapping[str, Any] = MappingProxyType({})
    """The values of the last line of the training log."""

    def __init__(self) -> None:
        self._methods: dict[str, list[Callable[..., None]]] = {}
        self._listed: list[Any] = []

    # Where the run is

    @property
    def epoch(self) -> int:
        """Epochs finished so far."""
        return self.train_loop.epoch

    @property
    def iter(self) -> int:
        """Iterations finished so far."""
        return self.train_loop.iter

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

    @property
    def is_trial(self) -> bool:
        """Return whether a trial goes on, such as ``Trainer(fast_dev_run=…)``: it writes and deletes no checkpoint."""
        return any(getattr(self.trainer, name, False) for name in ("fast_dev_run", "is_trial"))

    @property
    def writes_later(self) -> bool:
        """Return whether a plugin such as Lightning's ``AsyncCheckpointIO`` passes checkpoints to what writes them."""
        strategy = getattr(self.trainer, "strategy", None)
        return hasattr(getattr(strategy, "checkpoint_io", None), "checkpoint_io")

    @property
    def resumed_from(self) -> str | None:
        """The checkpoint that the Trainer goes on from."""
        path = getattr(self.trainer, "ckpt_path", None)
        return None if path is None else os.fspath(path)

    # What it works with

    @property
    def model_name(self) -> str:
        """The class name of the model."""
        return type(self.model).__name__

    @property
    def ticking_schedulers(self) -> Any:
        """The schedules that are to be ticked: none if a callback of Lightning's has put its own in their place."""
        return (
            None if getattr(self.mm_module, "schedules_replaced", False) else self.param_schedulers
        )

    @property
    def device(self) -> torch.device:
        """The device that this process computes on."""
        return self.trainer.strategy.root_device

    def loop_of(self, stage: str) -> Any:
        """Return the loop of ``train``, ``val`` or ``test``."""
        return getattr(self, f"{stage}_loop")

    @property
    def train_dataloader(self) -> LoaderLike | Any:
        """The training loader."""
        return self.loop_of("train").dataloader

    @property
    def val_dataloader(self) -> LoaderLike | Any:
        """The validation loader."""
        return self.loop_of("val").dataloader

    @property
    def test_dataloader(self) -> LoaderLike | Any:
        """The test loader."""
        return self.loop_of("test").dataloader

    @property
    def val_evaluator(self) -> Evaluator | Any:
        """The evaluator of the validation loop."""
        return self.loop_of("val").evaluator

    @property
    def test_evaluator(self) -> Evaluator | Any:
        """The evaluator of the test loop."""
        return self.loop_of("test").evaluator

    @property
    def log_dir(self) -> str:
        """The folder of this start's log: ``work_dir/<timestamp>``."""
        return str(Path(self.work_dir) / self.timestamp)

    # Hooks

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call one point of every hook that has it, in priority order; users may invent points."""
        if self._listed != self.hooks or fn_name not in OF_ITERATIONS:
            # Within an epoch a hook may come or go; a method that somebody puts on a hook is seen at the next point.
            self._listed, self._methods = [*self.hooks], {}
        try:
            methods = self._methods[fn_name]
        except KeyError:
            methods = self._methods[fn_name] = methods_at(self.hooks, fn_name)
        for method in methods:
            try:
                method(self, **kwargs)
            # Only after a failure, so that an iteration pays nothing for it.
            except TypeError as error:
                if (misfit := misfit_of(method, self, kwargs)) is None:
                    raise  # from inside of the method: the user's own
                raise ArgumentError(misfit) from error

    # Building

    build_dataloader = staticmethod(build_dataloader)

    def build_evaluator(self, evaluator: Evaluator | dict | list) -> Evaluator:
        """Build an evaluator from a metric dict, a list of them, or ``dict(type=…, metrics=…)``.

        Raises:
            TypeError: If ``evaluator`` is none of these.
        """
        if isinstance(evaluator, dict) and "metrics" in evaluator:
            return EVALUATOR.build({"type": "Evaluator", **evaluator})
        if isinstance(evaluator, (dict, list)):
            return Evaluator(evaluator)
        if hasattr(evaluator, "process"):
            return evaluator if hasattr(evaluator, "metrics") else Evaluator(evaluator)
        if is_torchmetric(evaluator):
            return Evaluator(evaluator)
        raise ArgumentError(
            f"evaluator={evaluator!r} → a metric dict, a list of metric dicts, or an Evaluator is needed"
        )

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
        if "optimizer" in checkpoint:
            checkpoint[KEY] = facts_of(self)
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)

    def accept_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let ``after_load_checkpoint`` hooks change what was read, before any weight is loaded."""
        self._resume = self.trainer.state.fn == "fit"
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
