"""When a Lightning Trainer reaches MMEngine's hook points.

A Lightning Trainer calls *stages* (``on_train_batch_end``) of callbacks; MMEngine calls *points*
(``after_train_iter``) of hooks. :class:`LightningStages` is the one place that translates. As code,
one epoch with a validation at its end is::

    before_train_epoch
    for each batch: before_train_iter, after_train_iter
    after_train_epoch          # inside on_train_batch_end of the last batch, *before* validation
    before_val, before_val_epoch
    for each batch: before_val_iter, after_val_iter
    after_val_epoch(metrics), after_val
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback

from mm2pl.run.points import methods_by_point, named
from mm2pl.run.priority import get_priority
from mm2pl.run.trainer_view import runner_of

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.run.view import RunnerView

LIGHTNING_POINTS: dict[str, tuple[str, ...]] = {
    "setup": ("before_run",),
    "on_load_checkpoint": ("after_load_checkpoint",),
    "on_train_start": ("before_train",),
    "on_train_epoch_start": ("before_train_epoch",),
    "on_train_batch_start": ("before_train_iter",),
    "on_train_batch_end": ("after_train_iter", "after_train_epoch"),
    "on_train_epoch_end": ("after_train_epoch",),  # only when the epoch was cut short
    "on_train_end": ("after_train",),
    "on_validation_start": ("before_val",),
    "on_validation_epoch_start": ("before_val_epoch",),
    "on_validation_batch_start": ("before_val_iter",),
    "on_validation_batch_end": ("after_val_iter",),
    "on_validation_end": ("after_val_epoch", "after_val"),
    "on_test_start": ("before_test",),
    "on_test_epoch_start": ("before_test_epoch",),
    "on_test_batch_start": ("before_test_iter",),
    "on_test_batch_end": ("after_test_iter",),
    "on_test_end": ("after_test_epoch", "after_test"),
    "on_save_checkpoint": ("before_save_checkpoint",),
    "teardown": ("after_run",),
}
"""Which points each Lightning stage reaches. Metrics are complete at ``on_*_end`` only: Lightning
calls ``on_*_epoch_end`` of the callbacks before that of the module, which computes them."""


class LightningStages(Callback):
    """Drive the points of a list of hooks from the stages of a Lightning Trainer.

    ``setup`` asks :meth:`driven_hooks` once per run which hooks to drive; a stage at which none of
    them does anything is one dictionary miss. A subclass overrides that method, as ``Hook`` does, or
    :meth:`reach` and :meth:`is_idle`, as ``RunCallback`` does.
    """

    _stage_calls: dict[str, list[Callable[..., None]]] | None = None
    _stage_runner: RunnerView | Any = None
    _epoch_open = False
    _metrics_before: dict[str, Any]

    def driven_hooks(self, trainer: Trainer) -> Sequence[Any]:
        """Return the hooks to drive, in calling order."""
        raise NotImplementedError

    def train_outputs(self, pl_module: LightningModule, outputs: Any) -> Any:
        """Return what ``after_train_iter`` gets as ``outputs``: the log variables as a dict."""
        logged = getattr(pl_module, "logged_outputs", None)
        return logged(outputs) if logged else outputs

    def eval_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """Return the metrics of the validation or test that just ended.

        A module that keeps them as MMEngine computes them offers them as ``eval_metrics``; else
        they are what this evaluation has written into ``trainer.callback_metrics``.
        """
        exact = getattr(pl_module, "eval_metrics", None)
        if exact and isinstance(exact, dict):
            return exact
        before = self._metrics_before
        logged = trainer.callback_metrics.items()
        return {key: value.item() for key, value in logged if before.get(key) is not value}

    # From here on: LIGHTNING_POINTS, stage by stage.

    def is_idle(self) -> bool:
        """Return whether no hook does anything at any point."""
        return not self._stage_calls

    def reach(self, trainer: Trainer, point: str, *args: Any) -> None:
        """Call the hooks' methods for a point."""
        if self._stage_calls is None:  # e.g. Trainer.save_checkpoint before any run
            self._stage_calls = methods_by_point(self.driven_hooks(trainer))
            self._stage_runner = runner_of(trainer)
        for call in self._stage_calls.get(point, ()):
            call(self._stage_runner, **named(point, args))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: D102
        hooks = self.driven_hooks(trainer)
        self._stage_calls = methods_by_point(hooks)
        self._stage_runner = runner_of(trainer) if hooks else None
        self._epoch_open = False
        if stage != "predict":
            self.reach(trainer, "before_run")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: D102
        if stage != "predict":
            self.reach(trainer, "after_run")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self.reach(trainer, "before_train")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._epoch_open = True
        self.reach(trainer, "before_train_epoch")

    def on_train_batch_start(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.reach(trainer, "before_train_iter", batch_idx, batch)

    def on_train_batch_end(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.is_idle():
            return
        outputs = self.train_outputs(pl_module, outputs)
        self.reach(trainer, "after_train_iter", batch_idx, batch, outputs)
        if trainer.is_last_batch:
            loop = self._stage_runner.train_loop
            loop.batch_counted = True
            try:
                self._end_epoch(trainer)
            finally:
                loop.batch_counted = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if self._epoch_open:
            self._end_epoch(trainer)

    def _end_epoch(self, trainer: Trainer) -> None:
        self._epoch_open = False
        self.reach(trainer, "after_train_epoch")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self.reach(trainer, "after_train")

    def on_save_checkpoint(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if not getattr(pl_module, "hands_checkpoints_to_hooks", False):
            self.reach(trainer, "before_save_checkpoint", checkpoint)

    def on_load_checkpoint(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        calls = self._stage_calls or {}
        if (
            getattr(pl_module, "hands_checkpoints_to_hooks", False)
            or "after_load_checkpoint" not in calls
        ):
            return
        self._stage_runner._resume = trainer.state.fn == "fit"
        self.reach(trainer, "after_load_checkpoint", checkpoint)
        # MMEngine's hooks may change the file before it is loaded; Lightning has loaded it by now.
        pl_module.load_state_dict(checkpoint["state_dict"], strict=pl_module.strict_loading)


def _evaluation_stages(stage: str, mode: str) -> dict[str, Callable[..., None]]:
    """Write five stages of ``on_validation_*`` or ``on_test_*``; sanity checks reach no point."""

    def start(self: LightningStages, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self._metrics_before = dict(trainer.callback_metrics)
            self.reach(trainer, f"before_{mode}")

    def epoch_start(self: LightningStages, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.sanity_checking:
            self.reach(trainer, f"before_{mode}_epoch")

    def batch_start(
        self: LightningStages,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            self.reach(trainer, f"before_{mode}_iter", batch_idx, batch)

    def batch_end(
        self: LightningStages,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.sanity_checking:
            self.reach(trainer, f"after_{mode}_iter", batch_idx, batch, outputs)

    def end(self: LightningStages, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.is_idle() and not trainer.sanity_checking:
            self.reach(trainer, f"after_{mode}_epoch", self.eval_metrics(trainer, pl_module))
            self.reach(trainer, f"after_{mode}")

    stages = (start, epoch_start, batch_start, batch_end, end)
    return {f"on_{stage}_{function.__name__}": function for function in stages}


for _stage, _mode in (("validation", "val"), ("test", "test")):
    for _name, _function in _evaluation_stages(_stage, _mode).items():
        setattr(LightningStages, _name, _function)


def hooks_driven_by_first(callback: Callback, trainer: Trainer) -> Sequence[Any]:
    """Return all hooks of a plain ``Trainer(callbacks=[…])`` by priority, to the first of them.

    So the first hook in the list drives the others too, and they see MMEngine's order and clocks
    whatever else is between them: Lightning alone would run one hook's epoch end before the next
    hook's last iteration. A hook that a run drives is not among them.
    """
    callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
    hooks = [each for each in callbacks if getattr(each, "driven", None) is False]
    if not hooks or hooks[0] is not callback:
        return ()
    return sorted(hooks, key=lambda hook: get_priority(hook.priority))
