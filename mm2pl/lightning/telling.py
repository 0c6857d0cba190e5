"""Lightning's side of a loop that drives: each point that it reaches is told to callbacks and counters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.utilities.exceptions import SIGTERMException
from lightning.pytorch.utilities.model_helpers import is_overridden

from mm2pl.checkpoint.reader import naming
from mm2pl.dataset.utils import length_of
from mm2pl.hooks.stages import LIGHTNING_POINTS
from mm2pl.lightning.counting import FitCounters
from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.private import CURRENT_HOOK, begin_batch, logged_values
from mm2pl.lightning.schedules import are_replaced
from mm2pl.run.clock import Event

if TYPE_CHECKING:
    from mm2pl.lightning.limits import Limit
    from mm2pl.lightning.run_driver import RunDriver

STAGE_OF = {
    **{point: stage for stage, points in LIGHTNING_POINTS.items() for point in points},
    # A driving loop has its metrics at once; Lightning computes them in this stage of the module.
    "after_val_epoch": "on_validation_epoch_end",
    "after_test_epoch": "on_test_epoch_end",
}
"""Where Lightning's callbacks are at each point of MMEngine's."""

VERBS = {"train": ("fit",), "val": ("fit", "validate"), "test": ("test",)}
"""Per stage of MMEngine's the verbs of a Trainer in which Lightning knows of it: it never tests within a fit."""


class Teller:
    """Call a point's hooks in the middle of Lightning's callbacks, as the Trainer would at the stage of that point.

    Around them it keeps Lightning's counters where the loop's are. What Lightning does later than MMEngine is owed
    until the loop goes on: ``Checkpoint`` callbacks write once the batch is counted, and ``on_train_epoch_end`` follows
    the validation, whose metric ``EarlyStopping`` looks for.

    Args:
        driver: Who carries the run through the Trainer.
        limits: Per stage how many batches the Trainer allows, where it does not allow all.
    """

    def __init__(self, driver: RunDriver, limits: Mapping[str, Limit]) -> None:
        self.driver = driver
        self._limits = limits
        self.run = whole_run(driver)
        trainer = self.trainer = driver.trainer
        self._module = driver.module
        self._state = vars(self._module)
        self._training = self.run.training
        self._fits = trainer.state.fn == "fit"
        self._counters = FitCounters(trainer)
        self._connector = self._counters.connector
        self._listeners: dict[str, tuple[list[Any], list[Any]]] = {}
        self._owed: list[Callable[[], None]] = []
        self._epoch_owed = self._batch_over = self._begun = False
        self._acts: dict[str, Callable[..., None]] = {
            "before_train": self._begin_training,
            "before_train_epoch": self._begin_epoch,
            "before_train_iter": self._begin_batch,
            "after_train_iter": self._end_batch,
            "after_train_epoch": self._end_epoch,
            "after_train": self._end_training,
            **{f"{when}_{mode}{what}": self._evaluate(when + what)
               for mode in ("val", "test") for when in ("before", "after") for what in ("", "_epoch", "_iter")},
        }  # fmt: skip

    @property
    def _train_loop(self) -> Any:
        return self.run.train_loop

    def reach(self, point: str, call_hooks: Callable[[], None], given: dict[str, Any]) -> None:
        """Call the hooks of a point, and Lightning's callbacks around them."""
        mode = point.split("_")[1] if point in self._acts else ""
        if self.trainer.state.fn not in VERBS.get(mode, ()):
            call_hooks()
        else:
            self._settle(point)
            self._acts[point](STAGE_OF[point], call_hooks, given)
        self.run.presence.beat()

    def leave_contexts(self) -> None:
        """Leave the precision of a step that has not come to its end."""
        self._counters.leave_step()

    def tell(
        self, stage: str, call_hooks: Callable[[], None], *args: Any, owe: bool = False
    ) -> None:
        """Call a stage of the callbacks, the hooks in the middle, and then of module and strategy."""
        if stage not in self._listeners:
            self._listeners[stage] = self._look_up(stage)
        before, after = self._listeners[stage]
        outer, self._state[CURRENT_HOOK] = self._state.get(CURRENT_HOOK), stage
        for call in before:
            call(*args)
        call_hooks()
        for call in after:
            if owe and isinstance(getattr(call, "callback", None), Checkpoint):
                self._owed.append(partial(call, *args))
            else:
                call(*args)
        self._state[CURRENT_HOOK] = outer

    def _look_up(self, stage: str) -> tuple[list[Any], list[Any]]:
        trainer, module = self.trainer, self._module
        callbacks: list[Callback] = trainer.callbacks
        place = callbacks.index(self.driver)
        before, after = (
            [Listener(trainer, module, each, stage) for each in part if is_overridden(stage, each, Callback)]
            for part in (callbacks[:place], callbacks[place + 1 :])
        )  # fmt: skip
        own = [getattr(part, stage, None) for part in (module, trainer.strategy)]
        return before, [*after, *(call for call in own if call is not None)]

    def _settle(self, point: str) -> None:
        """Do what is owed, now that the loop has counted its batch; the epoch's end once the next one begins."""
        training = self._training
        if self._batch_over:
            training.batch_open = self._batch_over = False
            follows = training.clocked and point == "before_val"
            training.ahead = (Event.VALIDATE,) if follows else ()
        owed, self._owed = self._owed, []
        for call in owed:
            call()
        if self._epoch_owed and point in ("before_train_epoch", "before_train_iter", "after_train"):
            self._tell_end_of_epoch()

    def _tell_end_of_epoch(self) -> None:
        self._epoch_owed = False
        self._counters.end_epoch(self._tell_end_to_callbacks)
        self._pass_on_stop()

    def _tell_end_to_callbacks(self) -> None:
        trainer, stage = self.trainer, "on_train_epoch_end"
        callbacks = [each for each in trainer.callbacks if each is not self.driver]
        outer, self._state[CURRENT_HOOK] = self._state.get(CURRENT_HOOK), stage
        # As Lightning 2.6: those that monitor a metric come after the module, which may log it here.
        last = (EarlyStopping, Checkpoint)
        for callback in [each for each in callbacks if not isinstance(each, last)]:
            getattr(callback, stage)(trainer, self._module)
        getattr(self._module, stage)()
        for callback in [each for each in callbacks if isinstance(each, last)]:
            getattr(callback, stage)(trainer, self._module)
        self._state[CURRENT_HOOK] = outer

    def close(self) -> None:
        """Tell what is still owed when the loop has returned, and that the training is over if it did not say so."""
        self.leave_contexts()
        self._settle("")
        if self._epoch_owed:
            self._tell_end_of_epoch()
        if self._begun:
            self._begun = False
            self.tell("on_train_end", _nothing)

    def conclude(self) -> None:
        """Call what a loop calls at its end, which :class:`EndOfRun` has left."""
        self.leave_contexts()
        runner = self.run.runner
        if self._training.epoch_open and not self._train_loop.by_epoch:
            runner.call_hook("after_train_epoch")
        runner.call_hook("after_train")

    # Whether it goes on

    def _pass_on_stop(self) -> None:
        training, loop = self._training, self._train_loop
        if training.driven and self._counters.fit.is_to_end:
            training.stopped = training.stopped or not loop.stop_training
            loop.stop_training = True

    # Training

    def _begin_training(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        self._begun = True
        self.tell(stage, call_hooks)
        with naming(str(self.run.trainer.ckpt_path)):
            validates = self.run.continuing.restore_exact_state()
        if validates and self._training.clocked:
            self.run.runner.val_loop.run()

    def _begin_epoch(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        self._counters.look_for_end()
        self._listeners.clear()
        self._training.epoch_open, self._training.ahead = True, ()
        batches = self._counters.batches
        _follow(self._counters.fit.epoch_progress.current, self._train_loop.epoch)
        batches.reset_on_run()
        if not self._train_loop.by_epoch:
            _follow(batches.current, self._train_loop.iter)
        self._module.schedules_replaced = are_replaced(self.trainer, self._module)
        self._counters.begin_epoch(partial(self.tell, stage, call_hooks))

    def _begin_batch(
        self, stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]
    ) -> None:
        self._counters.look_for_end()
        if "train" in self._limits:
            self._limits["train"].begin_batch()
        training, loop = self._training, self._train_loop
        training.batch_open, training.batch_counted, training.ahead = True, False, ()
        idx, batch = given.get("batch_idx") or 0, given.get("data_batch")
        batches = self._counters.batches
        _follow(batches.total, loop.iter)
        batches.is_last_batch = bool(loop.by_epoch and idx + 1 == loop.epoch_length)
        self._counters.begin_batch(batch, partial(self.tell, stage, call_hooks, batch, idx))

    def _end_batch(
        self, stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]
    ) -> None:
        self._training.has_trained = True
        told = given.get("outputs"), given.get("data_batch"), given.get("batch_idx") or 0
        self._counters.end_batch(partial(self.tell, stage, call_hooks, *told, owe=True))
        self._batch_over = True
        self._pass_on_stop()

    def _end_epoch(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        training, loop = self._training, self._train_loop
        if training.clocked and loop.by_epoch:
            training.ahead = loop.follows(loop.epoch_length)
        call_hooks()
        training.epoch_open = False
        self._counters.fit.epoch_progress.increment_processed()
        self._epoch_owed = True

    def _end_training(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        self._begun = False
        self.tell(stage, call_hooks)

    # Evaluation

    def _evaluate(self, when: str) -> Callable[..., None]:
        act = getattr(self, f"_{when}")

        def reach(stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]) -> None:
            act(stage, call_hooks, given)

        return reach

    @property
    def _evaluation(self) -> Any:
        """Lightning's loop in whose place the evaluation goes on."""
        trainer = self.trainer
        if self._fits:
            return trainer.fit_loop.epoch_loop.val_loop
        return trainer.test_loop if trainer.testing else trainer.validate_loop

    def _before(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        if self._fits:
            if self._training.clocked:
                self._training.begin_validation()
            self.trainer.validating = True
        loop = self.run.loops["test" if self.trainer.testing else "val"]
        self._evaluation.expect(lengths_of(loop))
        self.tell(stage, call_hooks)

    def _before_epoch(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        self.tell(stage, call_hooks)

    def _before_iter(
        self, stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]
    ) -> None:
        if self.trainer.received_sigterm:
            raise SIGTERMException
        stage_of_run = "test" if self.trainer.testing else "val"
        if stage_of_run in self._limits:
            self._limits[stage_of_run].begin_batch()
        batch, loop = given.get("data_batch"), self._evaluation
        loop.batch_progress.increment_ready()
        begin_batch(self._connector, logged_values(loop), batch)
        self.tell(stage, call_hooks, batch, given.get("batch_idx") or 0)
        loop.batch_progress.increment_started()
        self._counters.enter(self.trainer.precision_plugin.val_step_context())

    def _after_iter(
        self, stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]
    ) -> None:
        self.leave_contexts()
        batch, loop = given.get("data_batch"), self._evaluation
        loop.batch_progress.increment_processed()
        self.tell(stage, call_hooks, given.get("outputs"), batch, given.get("batch_idx") or 0)
        logged_values(loop).batch = logged_values(loop).batch_size = None
        loop.batch_progress.increment_completed()

    def _after_epoch(
        self, stage: str, call_hooks: Callable[[], None], given: Mapping[str, Any]
    ) -> None:
        metrics = given.get("metrics") or {}
        self._module.eval_metrics = metrics
        self.trainer.callback_metrics.update(
            {name: torch.as_tensor(value) for name, value in scalars_of(metrics).items()}
        )
        if self._fits:
            self._training.judge_validation()
        self._connector.epoch_end_reached()
        self.tell(stage, call_hooks)
        if logged_values(self._evaluation):  # somebody has called self.log
            self._connector.log_eval_end_metrics(self._connector.update_eval_epoch_metrics())

    def _after(self, stage: str, call_hooks: Callable[[], None], given: Any) -> None:
        self.tell(stage, call_hooks)
        self._connector.reset_results()
        if self._fits:
            self.trainer.training = True
            self._pass_on_stop()


def whole_run(driver: RunDriver) -> Any:
    """Return the run that a driver carries, all of it."""
    return driver.run


class Listener:
    """One callback's method for a stage, which also names the callback."""

    def __init__(self, trainer: Any, module: Any, callback: Callback, stage: str) -> None:
        self.callback = callback
        self._call = getattr(callback, stage)
        self._first = trainer, module

    def __call__(self, *args: Any) -> None:
        """Call it."""
        self._call(*self._first, *args)


def lengths_of(loop: Any) -> list[int | float]:
    """Return the batches of each loader of a loop, as a progress bar wants them; ``inf`` where that is not known."""
    loader = getattr(loop, "dataloader", None)
    loaders: Iterable[Any] = loader if isinstance(loader, list | tuple) else [loader]
    # Every DataLoader has `__len__`, which may raise.
    lengths = map(length_of, loaders)
    return [float("inf") if length is None else length for length in lengths]


def _follow(progress: Any, count: int) -> None:
    """Set a counter of Lightning's to what the loop says."""
    progress.ready = progress.started = progress.processed = progress.completed = count


def _nothing() -> None:
    """Call no hooks."""
