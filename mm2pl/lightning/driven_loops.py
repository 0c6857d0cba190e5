"""Lightning's loops in which a user's loop goes through the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from torch.nn.parallel import DistributedDataParallel

from mm2pl.errors import ArgumentError
from mm2pl.lightning.ddp import averaged_outside
from mm2pl.lightning.evaluation_loop import LeanEvaluationLoop
from mm2pl.lightning.private import FitLoop
from mm2pl.lightning.telling import EndOfRun, Teller
from mm2pl.run.base_loop import drives

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.lightning.run_driver import RunDriver


class DrivenFitLoop(FitLoop):
    """Let a train loop with its own ``run`` or ``run_epoch`` train, in all that the Trainer puts around a fit."""

    def run(self) -> None:
        """Train."""
        driver = driver_of(self.trainer)
        if driver is None or not drives(driver.run.loops["train"]):
            super().run()
            return
        run = driver.run
        loop = run.train_loop
        self.begin_drive(getattr(loop, "dataloader", ()), loop.epoch_length or float("inf"))
        driver.started = True
        run.training.prepare()
        manual = self.epoch_loop.manual_optimization
        manual.on_run_start()
        try:
            with averaging(driver), telling(driver) as teller:
                try:
                    run.returned["train"] = loop.run()
                except EndOfRun:
                    teller.conclude()
        finally:
            manual.on_run_end()


class DrivenEvaluationLoop(LeanEvaluationLoop):
    """Let a validation or test loop with its own ``run`` evaluate."""

    def run(self) -> Any:
        """Evaluate; the metrics are in ``callback_metrics`` and in the run's log."""
        trainer = self.trainer
        driver, stage = driver_of(trainer), "test" if trainer.testing else "val"
        if driver is None or not drives(driver.run.loops[stage]):
            return super().run()
        fits = trainer.state.fn == "fit"
        if not fits:
            driver.module.compile_step(stage)
        put_back = self.keep_modes(driver.module)
        with telling(driver):
            driver.run.returned[stage] = driver.run.loops[stage].run()
        put_back()
        if fits:
            driver.go_on_training()
        return [{}]


def driver_of(trainer: Trainer) -> Any:
    """Return who carries a run through this Trainer, if anybody does."""
    driver = getattr(trainer.lightning_module, "driver", None)
    return driver if getattr(driver, "run", None) is not None else None


@contextmanager
def telling(driver: RunDriver) -> Iterator[Teller]:
    """Tell Lightning of what a loop does inside."""
    run: Any = driver.run
    outer, teller = run.teller, Teller(driver)
    run.teller = teller
    try:
        yield teller
        teller.close()
    finally:
        teller.leave_contexts()
        run.teller = outer


@contextmanager
def averaging(driver: RunDriver) -> Iterator[None]:
    """Average gradients over the processes inside, for each backward pass that follows a forward pass of the model."""
    module: Any = driver.module
    wrapped = driver.trainer.strategy.model
    with ExitStack() as stack:
        if isinstance(wrapped, DistributedDataParallel):
            outside = averaged_outside(wrapped, module.model, lambda: module.holds_back_gradients)
            stack.enter_context(outside)
        yield


PLACES = {
    "fit": ("val", "fit_loop.epoch_loop", "val_loop"),
    "validate": ("val", "", "validate_loop"),
    "test": ("test", "", "test_loop"),
}
"""Per verb of a Trainer: MMEngine's stage that evaluates in it, and where Lightning keeps the loop for it."""


def stand_in(driver: RunDriver, trainer: Trainer, verb: str) -> None:
    """Put these loops into the Trainer's place of those that the run's own loops drive.

    Raises:
        ValueError: A limit of the Trainer, or its strategy, cannot reach such a loop.
    """
    run: Any = driver.run
    if verb not in PLACES:
        return
    stage, path, name = PLACES[verb]
    trains = verb == "fit" and drives(run.loops["train"])
    if trains:
        refuse(trainer, run, "train")
        trainer.fit_loop = DrivenFitLoop.in_place_of(trainer.fit_loop)
    if trains or drives(run.loops[stage]):
        if run.loops[stage] is not None:
            refuse(trainer, run, stage)
        # Also where the train loop alone drives: what it evaluates is counted there.
        owner: Any = attrgetter(path)(trainer) if path else trainer
        setattr(owner, name, DrivenEvaluationLoop.driven_in_place_of(getattr(owner, name)))


def refuse(trainer: Any, run: Any, stage: str) -> None:
    """Reject what cannot reach a loop that drives.

    Raises:
        ValueError: The Trainer limits the batches, or its strategy shards the model.
    """
    kind = type(run.loops[stage]).__name__
    limit = getattr(trainer, f"limit_{stage}_batches")
    counts = stage == "train" and not run.by_epoch  # `max_iters` is limited already
    if not counts and not (isinstance(limit, float) and limit == 1.0):
        flags = ("fast_dev_run", "overfit_batches", f"limit_{stage}_batches")
        flag = next((name for name in flags if getattr(trainer, name)), flags[-1])
        raise ArgumentError(
            f"Trainer({flag}={getattr(trainer, flag)!r}) → {kind} is gone through by code of the config, which takes "
            "as many batches as it wants → leave the flag out, and give the data set fewer samples (indices=…)"
        )
    if trainer.strategy.restore_checkpoint_after_setup:
        raise ArgumentError(
            f"{type(trainer.strategy).__name__} → {kind} calls the model's steps itself, and where the model is "
            "sharded only Lightning's own loops can → DDPStrategy, or a loop that overrides run_iter alone"
        )
