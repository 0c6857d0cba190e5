"""The callback that carries a run with a user's own LightningModule through its Trainer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError
from mm2pl.lightning.border import Border
from mm2pl.lightning.evaluation import scalars_of
from mm2pl.lightning.private import logged_values
from mm2pl.lightning.run_driver import RunDriver

if TYPE_CHECKING:
    import logging

    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.lightning.guest import GuestModule


class GuestDriver(RunDriver):
    """Let a Trainer do what a run decides, with a module whose steps are its user's.

    The hooks get what the steps return and what they log.
    """

    module: GuestModule  # type: ignore[assignment]

    def __init__(self, module: GuestModule) -> None:
        super().__init__(module, None)  # type: ignore[arg-type]

    def join(self, trainer: Trainer) -> None:
        """Take over a Trainer that is about to be given the guest."""
        self.lead(trainer)
        Border.stand_at(trainer, self)

    @property
    def validates(self) -> bool:
        """Return whether the run does."""
        return self._run.loops["val"] is not None

    @property
    def logger(self) -> logging.Logger:
        """The log of the run."""
        return self._run.logger

    @property
    def hooks(self) -> list[Any]:
        """The hooks of the run."""
        return self._hooks

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Build what the stage needs."""
        self.module.eval_metrics = {}
        super().begin(trainer, stage)

    # Training

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Any
    ) -> None:
        """Clip the gradients, as ``optim_wrapper`` says; Lightning's own clipping comes later, in the module."""
        self.module.clip()

    def publish(self, outputs: Any) -> None:
        """Take note of the numbers that a step returns, which a hook can write."""
        super().publish(outputs)
        self.outputs = scalars_of(dict(self.outputs)) if isinstance(self.outputs, Mapping) else {}

    def train_outputs(self, pl_module: LightningModule, outputs: Any) -> Any:
        """Return these and what the batch has logged: Lightning has divided the loss by the accumulation window."""
        return {**logged_in_step(self.trainer.fit_loop.epoch_loop), **self.outputs}

    def settle(self, trainer: Trainer, outputs: Any) -> None:
        """End the batch now, with what it has logged so far."""
        super().settle(trainer, self.train_outputs(self.module.lightning_module, outputs))

    # Evaluation

    def eval_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return what the guest has logged and what the evaluator has computed, which counts where names meet."""
        before, exact = self._metrics_before, self.module.eval_metrics
        logged = {
            name: value.item()
            for name, value in trainer.callback_metrics.items()
            if before.get(name) is not value
        }
        self.module.eval_metrics = {**logged, **exact}
        return self.module.eval_metrics

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *place: Any
    ) -> None:
        """Feed the evaluator, then call the hooks after a batch."""
        self._process("val", outputs, batch)
        super().on_validation_batch_end(trainer, pl_module, outputs, batch, *place)

    def on_test_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, *place: Any
    ) -> None:
        """Feed the evaluator, then call the hooks after a batch."""
        self._process("test", outputs, batch)
        super().on_test_batch_end(trainer, pl_module, outputs, batch, *place)

    def _process(self, stage: str, outputs: Any, batch: Any) -> None:
        evaluator = self.loops[stage].evaluator
        if not evaluator.metrics:
            return
        if not isinstance(outputs, list | tuple):
            raise ArgumentError(
                f"{type(self.module.lightning_module).__name__}'s step returned {type(outputs).__name__}, and "
                f"{stage}_evaluator takes a list with one prediction per sample → return one, or log the metrics in "
                f"the module and leave out {stage}_evaluator"
            )
        evaluator.process(data_samples=outputs, data_batch=batch)


def logged_in_step(loop: Any) -> dict[str, Any]:
    """Return what the step that has just been made has logged for the loggers, under the names that they get."""
    logged = logged_values(loop)
    # Of the class: `unlogged` may stand in its place.
    return dict(type(logged).metrics(logged, on_step=True)["log"])


@contextmanager
def unlogged(trainer: Trainer) -> Iterator[None]:
    """Keep from the loggers what hooks write there: what steps log, and the results of evaluations.

    What else is logged, such as the mean over an epoch of training, reaches them by Lightning.
    """
    fit = trainer.fit_loop.epoch_loop
    results: list[tuple[Any, bool]] = [(logged_values(fit), True)]
    results += [
        (logged_values(loop), False)
        for loop in (fit.val_loop, trainer.validate_loop, trainer.test_loop)
    ]
    for logged, hidden in results:
        logged.metrics = _without_log(type(logged).metrics.__get__(logged), hidden)
    try:
        yield
    finally:
        for logged, _ in results:
            del logged.metrics


def _without_log(usual: Any, hidden: bool) -> Any:
    def metrics(on_step: bool) -> Any:
        found = usual(on_step)
        return {**found, "log": {}} if on_step is hidden else found

    return metrics
