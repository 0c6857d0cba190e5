"""A trial of a run: two training batches, one checkpoint, one validation batch and its metrics."""

from __future__ import annotations

import io
import logging
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.callbacks import Checkpoint

from mm2pl.closest import closest, did_you_mean
from mm2pl.dataset.utils import length_of
from mm2pl.lightning.guest import is_guest
from mm2pl.plan.fault import Fault
from mm2pl.run.base_loop import drives
from mm2pl.run.clock import Timetable
from mm2pl.run.faults import faults_of_run
from mm2pl.run.undo import undone
from mm2pl.run.waiting import parts_of, watched

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.runner.runner import Runner

KEYS_BY_STEP = {
    "import_modules_from_strings": "custom_imports",
    "setup_env": "env_cfg",
    "set_randomness": "randomness",
    "build_log_processor": "log_processor",
    "build_visualizer": "visualizer",
    "build_model": "model",
    "wrap_model": "model_wrapper_cfg",
    "register_default_hooks": "default_hooks",
    "register_custom_hooks": "custom_hooks",
    "build_train_loop": "train_cfg",
    "build_val_loop": "val_cfg",
    "build_dataloader": "{stage}_dataloader",
    "build_evaluator": "val_evaluator",
    "build_optim_wrapper": "optim_wrapper",
    "scale_lr": "auto_scale_lr",
    "build_param_scheduler": "param_scheduler",
    "_init_model_weights": "model.init_cfg",
    "load_or_resume": "load_from",
    "call_hook": "custom_hooks",
}
"""Methods of a runner, and functions that it calls → the key whose part they make."""


class Enough(BaseException):
    """End the training of a trial."""


@dataclass(kw_only=True)
class Trial:
    """What a trial has found and measured; ``None`` where it did not come so far.

    Attributes:
        step: The key whose part works at the moment.
        times: When the run validates and ends.
        val_batches: Batches of a validation.
        batch_size: Of the training.
        seconds: Of a training batch, loading included.
        val_seconds: Of a validation batch.
        file_bytes: Size of a checkpoint with the optimizer.
        weight_bytes: Size of one with weights only.
        memory_bytes: The most that was in use: of the device, or without one of this process.
        metrics: The names of the metrics.
        rates: Per optimizer the learning rate with which its schedules begin.
    """

    faults: list[Fault] = field(default_factory=list)
    step: str = ""
    times: Timetable | None = None
    val_batches: int | None = None
    batch_size: int | None = None
    seconds: float | None = None
    val_seconds: float | None = None
    file_bytes: int | None = None
    weight_bytes: int | None = None
    memory_bytes: int | None = None
    metrics: list[str] | None = None
    rates: dict[str, float] = field(default_factory=dict)


def try_out(make: Callable[[str], Runner], config: Mapping[str, Any]) -> Trial:
    """Try a run out in a temporary folder, and leave the process as it was.

    Args:
        make: Makes the runner; it is given the folder that stands for ``work_dir``.
        config: What the run is made from, for the paths of its settings.
    """
    trial = Trial()
    with tempfile.TemporaryDirectory(prefix="mm2pl-check-") as folder, undone(), quiet():
        try:
            runner = make(folder)
            keep_inside(runner)
            callbacks: list[Any] = runner.trainer.callbacks  # type: ignore[attr-defined]
            callbacks.append(_Probe(trial, runner, config, folder))
            runner.train()
        except Enough:
            pass
        # Anything that a user's code raises is what is looked for.
        except Exception as error:
            trial.faults.append(_fault_of(error, trial.step))
    return trial


@contextmanager
def quiet() -> Iterator[None]:
    """Leave what is printed, logged and warned of to the run itself."""
    loggers = [logging.getLogger(f"lightning.{name}") for name in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def keep_inside(runner: Runner) -> None:
    """Let nothing be written but in the runner's own folder."""
    for hook in runner.hooks:
        if getattr(hook, "_out_root", None) is not None:
            hook._out_root = hook.out_dir = None
    callbacks: list[Any] = runner.trainer.callbacks  # type: ignore[attr-defined]
    # Lightning's ModelCheckpoint and its like, which may have a folder of their own.
    callbacks[:] = [each for each in callbacks if not hasattr(each, "dirpath")]


def _fault_of(error: Exception, step: str) -> Fault:
    frames = traceback.extract_tb(error.__traceback__)
    names = [frame.name for frame in frames]
    stage = "val" if "build_val_loop" in names else "train"
    built = [KEYS_BY_STEP[name] for name in names if name in KEYS_BY_STEP]
    path = getattr(error, "config_key", "") or (built[-1] if built else step).format(stage=stage)
    text = " ".join(str(error).split()).removeprefix(f"{path} → ")
    # The line that called into libraries is the user's own more often than theirs.
    own = [f for f in frames if "site-packages" not in f.filename] or frames
    return Fault(
        path=path,
        given="",
        why=f"{type(error).__name__}: {text[:400]}",
        advice=f"raised at {own[-1].filename}:{own[-1].lineno}",
    )


class _Probe(Checkpoint):
    """Watch the beginning of a training, and end it. As a ``Checkpoint`` it stands behind the run's own driver."""

    def __init__(
        self, trial: Trial, runner: Runner, config: Mapping[str, Any], folder: str
    ) -> None:
        self.trial, self.runner, self.config, self.folder = trial, runner, config, folder
        self.since = 0.0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at what has been built."""
        trial, run = self.trial, self.runner._run
        trial.faults += faults_of_run(run, self.config)
        trial.times = getattr(run.train_loop, "times", None)
        loader = run.train_loop.dataloader
        trial.batch_size = getattr(loader, "batch_size", None)
        trial.rates = dict(_rates(run.optim_wrapper))
        if run.loops["val"] is not None:
            trial.val_batches = length_of(run.loops["val"].dataloader)
        trial.step = "train_dataloader"

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to measure."""
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self.since = time.perf_counter()

    def on_train_batch_start(self, *args: Any) -> None:
        """Note that the batch is there."""
        self.trial.step = "model"

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Measure the second batch; the first one starts workers and libraries.

        Raises:
            Enough: The trial is over.
        """
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.trial.seconds, self.since = now - self.since, now
        self.trial.step = "train_dataloader"
        if batch_idx == 0 and not self.runner._run.training.ahead:
            return
        self._save()
        if self.runner._run.loops["val"] is not None and self.trial.val_batches != 0:
            self._validate()
        self.trial.memory_bytes = peak_memory()
        raise Enough

    def _save(self) -> None:
        self.trial.step = "default_hooks.checkpoint"
        self.runner.save_checkpoint(self.folder, "trial.pth", by_epoch=self.runner.by_epoch)
        path = os.path.join(self.folder, "trial.pth")
        self.trial.file_bytes = os.path.getsize(path)
        weights = self.runner.load_checkpoint(path)["state_dict"].values()
        self.trial.weight_bytes = sum(w.numel() * w.element_size() for w in weights)
        os.remove(path)

    def _validate(self) -> None:
        trial, runner = self.trial, self.runner
        loop = runner._run.loop_of("val")
        # Several data sets are loops of one set each, whose metrics begin with the set's name.
        several = hasattr(loop, "parts")
        sets = zip(loop.names(), loop.parts, strict=True) if several else [("", loop)]
        parts = {f"{name}/" if several else "": part for name, part in sets}
        guest = is_guest(runner.model)
        if guest or any(map(drives, parts.values())):
            whose = (
                "Lightning calls its validation_step"
                if guest
                else "it goes through the data itself"
            )
            trial.faults.append(
                Fault(
                    path="val_cfg",
                    given=type(runner.model if guest else loop).__name__,
                    why=f"{whose}, so its validation is not tried out",
                    severity="note",
                )
            )
            return
        for stage in ("before_val", "before_val_epoch"):
            runner.call_hook(stage)
        runner.model.eval()
        trial.metrics, trial.val_seconds = [], 0.0
        for prefix, part in parts.items():
            trial.step = "val_dataloader"
            batch = next(iter(part.dataloader))
            trial.step = "model"
            since = time.perf_counter()
            part.run_iter(0, batch)
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            trial.val_seconds += (time.perf_counter() - since) / len(parts)
            trial.step = "val_evaluator"
            trial.metrics += [f"{prefix}{name}" for name in part.metrics()]
        trial.step = ""
        logged = list(self.runner.trainer.callback_metrics)
        trial.faults += _unknown_metrics(self.runner, trial.metrics, logged)


def _unknown_metrics(runner: Runner, metrics: list[str], logged: list[str]) -> Iterator[Fault]:
    """Yield the arguments that name a metric which no validation gives."""
    for kind, path, value in watched(parts_of(runner._run)):
        # Lightning's callbacks also see what training logs.
        known = [*metrics, *logged] if path.startswith("EarlyStopping.") else metrics
        for name in value if isinstance(value, list | tuple) else [value]:
            if name != "auto" and name not in known:
                yield Fault(
                    path=path,
                    given=repr(name),
                    accepted=f"one of the metrics {', '.join(map(repr, known))}",
                    advice=did_you_mean(closest(name, known, 1)).strip(),
                    severity="warning" if kind.shown == "monitor" else "error",
                )


def _rates(wrapper: Any) -> Iterator[tuple[str, float]]:
    # A LightningModule makes its own optimizers later, in configure_optimizers.
    one = [] if wrapper is None else [("", wrapper)]
    for name, each in wrapper.items() if hasattr(wrapper, "items") else one:
        groups = each.param_groups
        if groups:
            yield name, groups[0].get("initial_lr", groups[0]["lr"])


def peak_memory() -> int | None:
    """Return the most memory that was in use, in bytes: of the device, or without one of this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return peak_of_process()


def peak_of_process() -> int | None:
    """Return the most memory that this process has had, in bytes, where the system tells."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
