"""Lightning's loops in which a user's loop goes through the data."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mm2pl.lightning.counting import EndOfRun
from mm2pl.lightning.ddp import averaged_outside
from mm2pl.lightning.evaluation_loop import LeanEvaluationLoop, driver_of
from mm2pl.lightning.limits import limited, refuse
from mm2pl.lightning.private import FitLoop
from mm2pl.lightning.telling import Teller
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
        module: Any = driver.module
        loader, length = getattr(loop, "dataloader", ()), loop.epoch_length or float("inf")
        with self.driven(loader, length):
            driver.started = True
            run.training.prepare()
            averaging = averaged_outside(
                self.trainer.strategy.model, module.model, lambda: module.holds_back_gradients
            )
            with averaging, telling(driver, "train", "val") as teller:
                try:
                    run.returned["train"] = loop.run()
                except EndOfRun:
                    teller.conclude()


class DrivenEvaluationLoop(LeanEvaluationLoop):
    """Let a validation or test loop with its own ``run`` evaluate."""

    def run(self) -> Any:
        """Evaluate; the metrics are in ``callback_metrics`` and in the run's log.

        Lightning's check before a fit is left out: such a loop would go through all of its data, and its hooks would
        take the metrics of an untrained model for the best.
        """
        trainer = self.trainer
        driver, stage = driver_of(trainer), "test" if trainer.testing else "val"
        if driver is None or not drives(driver.run.loops[stage]):
            return super().run()
        if trainer.sanity_checking:
            return []
        fits = trainer.state.fn == "fit"
        if not fits:
            driver.module.compile_step(stage)
        put_back = self.keep_modes(driver.module)
        with telling(driver, stage):
            driver.run.returned[stage] = driver.run.loops[stage].run()
        if not driver.has_mmengines_modes():
            put_back()
        if fits:
            driver.go_on_training()
        return [{}]


@contextmanager
def telling(driver: RunDriver, *stages: str) -> Iterator[Teller]:
    """Tell Lightning of what the loops of these stages do inside, and hold them to the Trainer's limits."""
    run: Any = driver.run
    # A run by iterations has taken its limit for its length.
    counted = {
        stage: run.loops[stage]
        for stage in stages
        if run.loops[stage] is not None and (stage != "train" or run.by_epoch)
    }
    with limited(driver.trainer, counted) as limits:
        outer, teller = run.teller, Teller(driver, limits)
        run.teller = teller
        try:
            yield teller
            teller.close()
        finally:
            teller.leave_contexts()
            run.teller = outer


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
    # Also where the train loop alone drives: what it evaluates is counted there.
    evaluates = run.loops[stage] is not None and (trains or drives(run.loops[stage]))
    reached = ["train"] * trains + [stage] * evaluates
    if not reached:
        return
    refuse(trainer, run, reached)
    if trains:
        trainer.fit_loop = DrivenFitLoop.in_place_of(trainer.fit_loop)
    owner: Any = attrgetter(path)(trainer) if path else trainer
    setattr(owner, name, DrivenEvaluationLoop.driven_in_place_of(getattr(owner, name)))
