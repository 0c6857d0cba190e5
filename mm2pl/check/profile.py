"""A profile of a run: some iterations of its training, in a temporary folder."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch.profiler import ProfilerActivity, record_function
from torch.profiler import profile as torch_profile

from mm2pl.check.complexity import complexity_of
from mm2pl.check.measured import APART, Measured
from mm2pl.check.stopwatch import Stopwatch
from mm2pl.check.trial import Enough, keep_inside, peak_of_process, quiet
from mm2pl.errors import ArgumentError
from mm2pl.lightning.assembly import Parts, made_by
from mm2pl.lightning.trainer import TrialTrainer, make_trainer
from mm2pl.optim.abilities import wrappers_of
from mm2pl.run.base_loop import drives
from mm2pl.run.points import overridden_stages
from mm2pl.run.undo import undone

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.lightning.callbacks import RunCallback
    from mm2pl.runner.runner import Runner

TRACED = 3
"""Iterations of a trace: an operator of each, and of its backward, takes some hundred bytes."""

_STAGES = (
    *("on_train_batch_start", "on_train_batch_end", "on_train_epoch_start", "on_train_epoch_end"),
    *("on_before_backward", "on_after_backward", "on_before_optimizer_step", "on_before_zero_grad"),
)
"""Of Lightning's callbacks, those that are called around a batch or an epoch of a training."""

_WAITS: dict[str, Callable[[], None]] = {
    "cuda": torch.cuda.synchronize,
    "mps": torch.mps.synchronize,
}
"""Per kind of device what waits until it is idle."""


class _TrialParts(Parts):
    """Make the parts of a run that writes no checkpoint."""

    def trainer(self, arguments: dict[str, Any], callback: RunCallback) -> Trainer:
        """Make the Trainer, without a progress bar."""
        return make_trainer({**arguments, "enable_progress_bar": False}, callback, TrialTrainer)


def profile_run(
    make: Callable[[str], Runner],
    *,
    name: str,
    iterations: int = 10,
    warm_up: int = 3,
    trace: str | None = None,
    log_interval: int = 10,
    left_out: Sequence[str] = (),
) -> Measured:
    """Train some iterations in a temporary folder, and say where their time goes; the process stays as it was.

    Args:
        make: Makes the runner; it is given the folder that stands for ``work_dir``.
        name: What is profiled.
        iterations: How many are measured.
        warm_up: How many come before: the first ones start workers and libraries.
        trace: Where a trace for ``chrome://tracing`` is written, of three more iterations.
        log_interval: Iterations between two lines of the log.
        left_out: Backends of the visualizer that write to none of it here.

    Raises:
        ArgumentError: The run has fewer iterations.
    """
    found = Measured(name=name, iterations=iterations, warm_up=warm_up)
    found.log_interval, found.left_out = log_interval, left_out
    with tempfile.TemporaryDirectory(prefix="mm2pl-profile-") as folder, undone(), quiet():
        with made_by(_TrialParts()):
            runner = make(folder)
        keep_inside(runner)
        callbacks: list[Any] = runner.trainer.callbacks  # type: ignore[attr-defined]
        probe = _Probe(runner, found, trace)
        callbacks.append(probe)
        try:
            runner.train()
        except Enough:
            pass
        finally:
            probe.close()
    if not found.is_whole:
        raise ArgumentError(
            f"the training ended before the {warm_up} + {iterations} iterations that are to be profiled → give it more "
            "of them, or fewer with --iterations and --warm-up"
        )
    return found


class _Probe(Checkpoint):
    """Measure a training from within, and end it. As a ``Checkpoint`` it stands behind the run's own driver."""

    def __init__(self, runner: Runner, found: Measured, trace: str | None) -> None:
        self.runner, self.found, self.trace = runner, found, trace
        self._watch = Stopwatch(self._wait, self._named)
        self._wait_for_device: Callable[[], None] = lambda: None
        self._traces = self._measures = False
        self._batch: Any = None
        self._around, self._apart = ExitStack(), ExitStack()
        self._course = self._go_through()

    @property
    def _run(self) -> Any:
        return self.runner._run

    def _wait(self) -> None:
        self._wait_for_device()

    def _named(self, part: str) -> AbstractContextManager[Any]:
        return record_function(part) if self._traces else nullcontext()

    def close(self) -> None:
        """Give all objects their own methods back."""
        self._course.close()
        self._around.close()

    # What the Trainer calls

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Look at what has been built, and let the training's data be measured.

        Raises:
            ArgumentError: The run is shorter than what is to be measured.
        """
        run, loop = self._run, self._run.train_loop
        device = trainer.strategy.root_device
        self._wait_for_device = _WAITS.get(device.type, self._wait_for_device)
        self.found.look_at(getattr(loop, "dataloader", None), device)
        self.found.compiled = bool(getattr(run.module, "compile_options", None))
        self._require_length(loop)
        if drives(loop):
            if hasattr(loop, "dataloader"):
                loop.dataloader = _Timed(loop.dataloader, self._watch)
            return
        run.datamodule.use_loader("train", _Timed(run.training.stream, self._watch))
        # A loop that drives validates by itself; its validations are measured apart.
        trainer.limit_val_batches = 0

    def _require_length(self, loop: Any) -> None:
        needed = self.found.warm_up + self.found.iterations * (1 + self._asks_twice)
        needed += TRACED if self.trace else 0
        left = getattr(loop, "max_iters", None)
        if isinstance(left, int) and left - self.runner.iter < needed:
            raise ArgumentError(
                f"--iterations {self.found.iterations} --warm-up {self.found.warm_up}: {needed} iterations are needed, "
                f"and the run has {left - self.runner.iter} → fewer of them, or a longer run: --cfg-options train_cfg.…"
            )

    @property
    def _asks_twice(self) -> bool:
        return self._wait_for_device in _WAITS.values()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        self._around.enter_context(self._watch.watching(*self._methods(trainer, pl_module)))
        next(self._course)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epochs that begin in between."""
        self.found.epochs_begun += self._measures

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the validation of a loop that drives out."""
        self._apart.enter_context(self._watch.part(APART))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go on."""
        self._apart.close()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Go on to the next iteration.

        Raises:
            Enough: That was the last one.
        """
        self._batch = batch
        try:
            next(self._course)
        except StopIteration:
            raise Enough from None

    # What is measured

    def _go_through(self) -> Generator[None]:
        """Measure; the training goes on by an iteration with each ``yield``."""
        found = self.found
        for _ in range(found.warm_up):
            yield
        if self._asks_twice:
            self._wait()
            since = time.perf_counter()
            for _ in range(found.iterations):
                yield
            self._wait()
            found.free_seconds = time.perf_counter() - since
        self._measures = True
        self._watch.start()
        for _ in range(found.iterations):
            yield
            found.note_memory()
        found.seconds = self._watch.stop()
        self._measures = False
        found.process_bytes = peak_of_process()
        if self.trace:
            yield from self._write_trace(self.trace)
        self._around.close()
        found.complexity = complexity_of(self._run.model, self._batch)

    def _write_trace(self, path: str) -> Iterator[None]:
        kinds = [ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * torch.cuda.is_available()]
        with torch_profile(activities=kinds) as profiler:
            self._traces = True
            for _ in range(TRACED):
                yield
            self._traces = False
        profiler.export_chrome_trace(path)
        self.found.trace = path

    def _methods(self, trainer: Trainer, module: Any) -> Iterator[tuple[Any, str, str]]:
        """Yield the methods that make up a training, each with its part."""
        run = self._run
        yield trainer.strategy, "batch_to_device", "transfer"
        if self.found.compiled:
            # Nothing inside it: a clock is not an operator, so the graph would break there.
            yield run.model, "train_step", "train_step"
        else:
            yield from _inside_step(run, trainer)
        yield self.runner, "call_hook", "hooks"
        for hook in run.hooks:
            for point in overridden_stages(hook):
                yield hook, point, f"hooks/{type(hook).__name__}"
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if callback is self or callback is run.module.driver:
                continue
            for stage in _STAGES:
                if is_overridden(stage, callback, Callback):
                    yield callback, stage, f"hooks/{type(callback).__name__}"
        for each in [run.visualizer, *trainer.loggers]:
            for method in ("add_scalar", "add_scalars", "log_metrics"):
                yield each, method, "loggers"


def _inside_step(run: Any, trainer: Any) -> Iterator[tuple[Any, str, str]]:
    preprocessor = getattr(run.model, "data_preprocessor", None)
    yield preprocessor, "cast_data", "transfer"
    yield preprocessor, "forward", "preprocess"
    yield trainer.strategy, "training_step", "forward"
    yield run.model, "train_step", "forward"
    # What every backward ends in: a wrapper's, Lightning's, and a tensor's own in a user's step.
    yield torch.autograd, "backward", "backward"
    wrappers = list(wrappers_of(run.optim_wrapper).values())
    for each in wrappers:
        yield each, "backward", "backward"
        yield each, "update_params", "optimizer"
    for each in [*wrappers, *trainer.optimizers]:
        yield each, "step", "optimizer"
        yield each, "zero_grad", "optimizer"


class _Timed:
    """Stand for a loader whose batches are waited for.

    Args:
        loader: Any loader.
        watch: Gets the time as ``data``.
    """

    def __init__(self, loader: Any, watch: Stopwatch) -> None:
        self._loader, self._watch = loader, watch

    def __getattr__(self, name: str) -> Any:
        if name == "_loader":  # asked for by copies, which have nothing yet
            raise AttributeError(name)
        return getattr(self._loader, name)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        iterator, end = iter(self._loader), object()
        while True:
            with self._watch.part("data"):
                batch = next(iterator, end)
            if batch is end:
                return
            yield batch
