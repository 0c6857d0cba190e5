"""A 1.x runner that goes through the data itself, inside the fit of a Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import TYPE_CHECKING, Any

from lightning.pytorch.utilities.exceptions import SIGTERMException
from torch.nn.parallel import DistributedDataParallel

from mm2pl.errors import ArgumentError
from mm2pl.lightning.ddp import averaged_outside
from mm2pl.lightning.private import (
    CURRENT_HOOK,
    FitLoop,
    begin_batch,
    logged_values,
    logger_connector,
)
from mm2pl.lightning.telling import EndOfRun
from mm2pl.mmcv.runner.drive import RunnerModule, attached
from mm2pl.mmcv.runner.hooks.hook import Hook
from mm2pl.mmcv.runner.saving import bare_model

if TYPE_CHECKING:
    from mm2pl.mmcv.runner.base_runner import BaseRunner


def inside_fit(runner: BaseRunner, method: Callable[..., Any]) -> Callable[..., Any]:
    """Return a runner's method in a form that works inside the fit of a Trainer, its own if none is on the way.

    Raises:
        ValueError: The Trainer limits the batches, which code of the user's takes.
    """

    @wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        if runner.module is not None:
            return method(*args, **kwargs)
        module = RunnerModule(runner, None)
        with attached(runner, module, epochs=-1) as trainer:
            for flag in ("fast_dev_run", "overfit_batches", "limit_train_batches"):
                if flag in runner.trainer_arguments:
                    raise ArgumentError(
                        f"trainer=dict({flag}={runner.trainer_arguments[flag]!r}) → {type(runner).__name__} goes "
                        "through the data itself, and takes as many batches as it wants → leave the flag out, or give "
                        "the run fewer epochs, iterations or samples"
                    )
            loop = trainer.fit_loop = DrivenFit.in_place_of(trainer.fit_loop)
            loop.body = lambda: method(*args, **kwargs)
            trainer.fit(module, train_dataloaders=[])
        return loop.returned

    return call


class DrivenFit(FitLoop):
    """Call what goes through the data, in all that the Trainer puts around a fit."""

    body: Callable[[], Any]
    returned: Any = None

    def run(self) -> None:
        """Train."""
        module: Any = self.trainer.lightning_module
        runner: BaseRunner = module.runner
        self.begin_drive((), float("inf"))
        manual = self.epoch_loop.manual_optimization
        manual.on_run_start()
        try:
            with averaging(module), telling(runner) as teller:
                try:
                    self.returned = self.body()
                except EndOfRun:
                    teller.leave_batch()
                    runner.end_run()
        finally:
            manual.on_run_end()


@contextmanager
def averaging(module: Any) -> Iterator[None]:
    """Average gradients over the processes inside, also those of a ``loss.backward()`` in a user's code."""
    wrapped = module.trainer.strategy.model
    with ExitStack() as stack:
        if isinstance(wrapped, DistributedDataParallel):
            model = bare_model(module.runner.model)
            stack.enter_context(averaged_outside(wrapped, model, lambda: False))
        yield


@contextmanager
def telling(runner: BaseRunner) -> Iterator[Teller]:
    """Tell Lightning's callbacks what the runner does inside."""
    teller = Teller(runner)
    first, last = Before(teller), After(teller)
    # Hooks, not calls in `call_hook`: runners override that too, and go through `_hooks` themselves.
    runner._hooks[:] = [first, *runner._hooks, last]
    try:
        teller.tell("on_train_start")
        yield teller
        teller.end_epoch()
        teller.tell("on_train_end")
    finally:
        teller.leave_batch()
        runner._hooks[:] = [hook for hook in runner._hooks if hook not in (first, last)]


class Teller:
    """Tell Lightning's callbacks of the stages of a fit, and keep its counters.

    Args:
        runner: The runner, on its Trainer.
    """

    def __init__(self, runner: BaseRunner) -> None:
        self.runner = runner
        self.trainer, self.module = runner.trainer, runner.module
        self._fit: Any = self.trainer.fit_loop
        self._connector = logger_connector(self.trainer)
        self._context = ExitStack()
        self._open = False

    def tell(self, stage: str, *args: Any) -> None:
        """Call a stage of all callbacks."""
        state = vars(self.module)
        outer, state[CURRENT_HOOK] = state.get(CURRENT_HOOK), stage
        for callback in self.trainer.callbacks:
            getattr(callback, stage)(self.trainer, self.module, *args)
        state[CURRENT_HOOK] = outer

    def look_for_end(self) -> None:
        """Leave code that begins something although the run is to end.

        Raises:
            SIGTERMException: This process was asked to end.
            EndOfRun: A callback or a limit of the Trainer has ended the fit.
        """
        if self.trainer.received_sigterm:
            raise SIGTERMException
        if self._fit.is_to_end:
            raise EndOfRun

    def begin_epoch(self) -> None:
        """Tell that an epoch begins, if none is open."""
        if self._open:
            return
        self.look_for_end()
        self._open = True
        self._fit.epoch_loop.batch_progress.reset_on_run()
        self._fit.epoch_progress.increment_ready()
        self.tell("on_train_epoch_start")
        self._fit.epoch_progress.increment_started()

    def begin_batch(self) -> None:
        """Tell that a batch begins."""
        self.begin_epoch()
        self.look_for_end()
        batches, batch = self._fit.epoch_loop.batch_progress, self._batch
        batches.increment_ready()
        begin_batch(self._connector, logged_values(self._fit.epoch_loop), batch)
        self.tell("on_train_batch_start", batch, batches.current.ready - 1)
        batches.increment_started()
        self.leave_batch()
        self._context.enter_context(self.trainer.precision_plugin.train_step_context())

    @property
    def _batch(self) -> Any:
        return getattr(self.runner, "data_batch", None)

    def leave_batch(self) -> None:
        """Leave the contexts of a step."""
        self._context.close()

    def end_batch(self) -> None:
        """Tell that a batch is over."""
        self.leave_batch()
        batches, logged = self._fit.epoch_loop.batch_progress, logged_values(self._fit.epoch_loop)
        batches.increment_processed()
        outputs, idx = self.runner.outputs, batches.current.ready - 1
        self.tell("on_train_batch_end", outputs, self._batch, idx)
        if logged:  # somebody has called self.log
            self._connector.on_batch_end()
        logged.batch = logged.batch_size = None
        batches.increment_completed()
        if logged:
            self._connector.update_train_step_metrics()
        self._fit.count_step()

    def end_epoch(self) -> None:
        """Tell that the epoch is over, if one is open."""
        if not self._open:
            return
        self._open = False
        self._fit.epoch_progress.increment_processed()
        self._connector.epoch_end_reached()
        self.tell("on_train_epoch_end")
        self._fit.end_epoch()
        self._fit.epoch_progress.increment_completed()


class Before(Hook):
    """Tell what begins, in front of all other hooks.

    Args:
        teller: Tells it.
    """

    priority = -1

    def __init__(self, teller: Teller) -> None:
        self._teller = teller

    def before_epoch(self, runner: BaseRunner) -> None:
        """Tell that an epoch begins, or a run by iterations, which is one of Lightning's."""
        self._teller.begin_epoch()

    def before_val_epoch(self, runner: BaseRunner) -> None:
        """Do nothing: validations of 1.x are none of Lightning's."""

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Tell that a batch begins."""
        self._teller.begin_batch()

    def get_triggered_stages(self) -> list[str]:
        """Return none: the log lists the hooks of the user."""
        return []


class After(Before):
    """Tell what ends, behind all other hooks."""

    priority = 101

    def before_epoch(self, runner: BaseRunner) -> None:
        """Do nothing."""

    def before_train_iter(self, runner: BaseRunner) -> None:
        """Do nothing."""

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Tell that a batch is over."""
        self._teller.end_batch()

    def after_epoch(self, runner: BaseRunner) -> None:
        """Tell that an epoch is over, or a run by iterations."""
        self._teller.end_epoch()

    def after_val_epoch(self, runner: BaseRunner) -> None:
        """Do nothing: validations of 1.x are none of Lightning's."""
