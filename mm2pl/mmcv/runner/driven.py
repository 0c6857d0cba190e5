"""A 1.x runner that goes through the data itself, inside the fit of a Trainer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.lightning.counting import EndOfRun, FitCounters
from mm2pl.lightning.ddp import averaged_outside
from mm2pl.lightning.private import CURRENT_HOOK, FitLoop
from mm2pl.mmcv.runner.drive import RunnerModule, attached, autocast
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
        model = bare_model(runner.model)
        with self.driven((), float("inf")):
            averaging = averaged_outside(self.trainer.strategy.model, model, lambda: False)
            with averaging, autocasting(model, runner), telling(runner) as teller:
                try:
                    self.returned = self.body()
                except EndOfRun:
                    teller.leave_batch()
                    runner.end_run()


@contextmanager
def autocasting(model: Any, runner: BaseRunner) -> Iterator[None]:
    """Let forward passes of a model autocast inside, once a hook has asked for it: a user's code may call them."""
    entered: list[AbstractContextManager[Any]] = []

    def enter(model: Any, args: Any) -> None:
        entered.append(autocast(runner))
        entered[-1].__enter__()

    def leave(model: Any, args: Any, output: Any) -> None:
        entered.pop().__exit__(None, None, None)

    handles = (
        model.register_forward_pre_hook(enter, prepend=True),
        model.register_forward_hook(leave, always_call=True),
    )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


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
        self._counters = FitCounters(self.trainer)
        self._open = False

    def tell(self, stage: str, *args: Any) -> None:
        """Call a stage of all callbacks."""
        state = vars(self.module)
        outer, state[CURRENT_HOOK] = state.get(CURRENT_HOOK), stage
        for callback in self.trainer.callbacks:
            getattr(callback, stage)(self.trainer, self.module, *args)
        state[CURRENT_HOOK] = outer

    def begin_epoch(self) -> None:
        """Tell that an epoch begins, if none is open."""
        if self._open:
            return
        self._counters.look_for_end()
        self._open = True
        self._counters.batches.reset_on_run()
        self._counters.begin_epoch(partial(self.tell, "on_train_epoch_start"))

    def begin_batch(self) -> None:
        """Tell that a batch begins."""
        self.begin_epoch()
        self._counters.look_for_end()
        idx = self._counters.batches.current.ready
        tell = partial(self.tell, "on_train_batch_start", self._batch, idx)
        self._counters.begin_batch(self._batch, tell)

    @property
    def _batch(self) -> Any:
        return getattr(self.runner, "data_batch", None)

    def leave_batch(self) -> None:
        """Leave the contexts of a step."""
        self._counters.leave_step()

    def end_batch(self) -> None:
        """Tell that a batch is over."""
        idx = self._counters.batches.current.ready - 1
        told = self.runner.outputs, self._batch, idx
        self._counters.end_batch(partial(self.tell, "on_train_batch_end", *told))

    def end_epoch(self) -> None:
        """Tell that the epoch is over, if one is open."""
        if not self._open:
            return
        self._open = False
        self._counters.fit.epoch_progress.increment_processed()
        self._counters.end_epoch(partial(self.tell, "on_train_epoch_end"))


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
