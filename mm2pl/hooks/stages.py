"""When a Lightning Trainer reaches MMEngine's hook points.

A Lightning Trainer calls *stages* (``on_train_batch_end``) of callbacks; MMEngine calls *points*
(``after_train_iter``) of hooks. :class:`HookStages` is the one place that translates. As code,
one epoch with a validation at its end is::

    before_train_epoch
    for each batch: before_train_iter, after_train_iter
    after_train_epoch          # inside on_train_batch_end of the last batch, *before* validation
    before_val, before_val_epoch
    for each batch: before_val_iter, after_val_iter
    after_val_epoch(metrics), after_val
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from lightning.pytorch import Callback
from lightning.pytorch.callbacks import Checkpoint

from mm2pl.run.points import methods_by_point
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


def tell_all_written(hooks: Iterable[Any], runner: Any) -> None:
    """Tell hooks that wait for their files that nothing is being written any more.

    It is not one of MMEngine's points: there, a file is complete when ``after_train`` comes.
    """
    for hook in hooks:
        if hasattr(hook, "all_written"):
            hook.all_written(runner)


class HookStages(Callback):
    """Drive the points of a Trainer's hooks from its stages: one such callback for all of them.

    It stands behind the ordinary callbacks, so that a file which a hook writes holds what they have done in this batch
    (``WeightAveraging``), and in front of every ``Checkpoint``, whose files hold what the hooks have done. Where an
    earlier callback writes a file, :meth:`settle` does the hooks' part of the batch first.

    ``setup`` asks :meth:`driven_hooks` once per run which hooks to drive; a stage at which none of them does anything
    is one dictionary miss. A subclass overrides that method, or :meth:`reach`.
    """

    _calls: dict[str, list[Callable[..., None]]] | None = None
    _runner: RunnerView | Any = None
    _epoch_open = False
    _epoch_ends = False
    """Whether the hooks of an epoch's last batch are being called, after which those of its end will be."""
    _batch: tuple[Any, int] | None = None
    """The batch whose end the hooks have still to be told of."""
    _metrics_before: dict[str, Any]
    _tells = True
    """Whether the evaluation that goes on is one that hooks are told of, and not a sanity check."""

    # Its place in the Trainer

    @classmethod
    def drive(cls, trainer: Trainer) -> None:
        """Drive the hooks of a Trainer whose module brings nothing that does; called by each hook's ``setup``."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        if not any(isinstance(callback, HookStages) for callback in callbacks):
            stages = cls()
            stages.lead(trainer)
            # Lightning goes on through the list that it has begun, in which this one is not.
            stages.call_hooks_at_start(trainer)

    @classmethod
    def drive_added(cls, trainer: Trainer) -> None:
        """Drive hooks too that have joined the Trainer after the ``setup`` of its callbacks."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        stages = next((each for each in callbacks if isinstance(each, HookStages)), None)
        if stages is None:
            cls.drive(trainer)
        else:
            stages._calls = methods_by_point(stages.driven_hooks(trainer))
            stages._runner = runner_of(trainer)

    def lead(self, trainer: Trainer) -> None:
        """Become the first callback, so that ``setup`` comes before that of all others; no second one stays."""
        callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
        for other in [each for each in callbacks if isinstance(each, HookStages)]:
            if other is not self:
                other.withdraw(trainer)
        trainer.callbacks = [self, *_others(trainer)]  # type: ignore[attr-defined]

    def step_back(self, trainer: Trainer) -> None:
        """Take the place from which every other stage is to be called."""
        others = _others(trainer)
        files = (i for i, callback in enumerate(others) if isinstance(callback, Checkpoint))
        place = next(files, len(others))
        # A new list: Lightning is iterating over the old one.
        trainer.callbacks = [*others[:place], self, *others[place:]]  # type: ignore[attr-defined]

    def withdraw(self, trainer: Trainer) -> None:
        """Leave the Trainer, which another one drives now."""
        trainer.callbacks = _others(trainer)  # type: ignore[attr-defined]

    # What a subclass may decide

    def driven_hooks(self, trainer: Trainer) -> Sequence[Any]:
        """Return the hooks to drive, in calling order."""
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        hooks = [each for each in callbacks if getattr(each, "driven", None) is False]
        for source in [kind for hook in hooks for kind in getattr(hook, "sources", ())]:
            if not any(isinstance(hook, source) for hook in hooks):
                hooks.append(source())
        return sorted(hooks, key=lambda hook: get_priority(hook.priority))

    def train_outputs(self, pl_module: LightningModule, outputs: Any) -> Any:
        """Return what ``after_train_iter`` gets as ``outputs``: the log variables as a dict."""
        return outputs

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

    def is_idle(self) -> bool:
        """Return whether no hook does anything at any point."""
        return not self._calls

    def reach(self, trainer: Trainer, point: str, **arguments: Any) -> None:
        """Call the hooks' methods for a point: by name, as MMEngine does, for hooks that take ``**kwargs`` too."""
        for call in (self._calls or {}).get(point, ()):
            call(self._runner, **arguments)

    # From here on: LIGHTNING_POINTS, stage by stage.

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: D102
        self.call_hooks_at_start(trainer)

    def call_hooks_at_start(self, trainer: Trainer) -> None:
        """Find out which hook does something where, take this callback's place, and call ``before_run``."""
        hooks = self.driven_hooks(trainer)
        self._calls = methods_by_point(hooks)
        self._runner = runner_of(trainer) if hooks else None
        self._epoch_open = self._epoch_ends = False
        self._batch = None
        self.step_back(trainer)
        self.reach(trainer, "before_run")

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:  # noqa: D102
        self.reach(trainer, "after_run")
        tell_all_written(self.driven_hooks(trainer), self._runner)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self.reach(trainer, "before_train")

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._epoch_open, self._batch = True, None
        self.reach(trainer, "before_train_epoch")

    def on_train_batch_start(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self.open_batch(batch, batch_idx)
        self.reach(trainer, "before_train_iter", batch_idx=batch_idx, data_batch=batch)

    def open_batch(self, batch: Any, batch_idx: int) -> None:
        """Remember a batch whose end is to be told."""
        self._batch = batch, batch_idx

    def on_train_batch_end(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self._batch is not None:  # else `settle` has been here
            self._batch = None
            self.end_batch(trainer, self.train_outputs(pl_module, outputs), batch, batch_idx)

    def settle(self, trainer: Trainer, outputs: Any) -> None:
        """End the batch now, if its step is over: a callback in front of this one is writing a file."""
        progress: Any = trainer.fit_loop.epoch_loop.batch_progress.current
        if self._batch is not None and progress.processed == progress.ready:
            (batch, batch_idx), self._batch = self._batch, None
            self.end_batch(trainer, outputs, batch, batch_idx)

    def end_batch(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Call what comes after a batch, and after the epoch that ends with it."""
        if self.is_idle():
            return
        self._epoch_ends = trainer.is_last_batch
        self.reach(
            trainer, "after_train_iter", batch_idx=batch_idx, data_batch=batch, outputs=outputs
        )
        if self._epoch_ends:
            loop = self._runner.train_loop
            loop.batch_counted = True
            try:
                self._end_epoch(trainer)
            finally:
                loop.batch_counted = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if self._epoch_open and not self.is_idle():
            # Cut short, its last batch was not known as such; by now Lightning has counted the epoch.
            loop = self._runner.train_loop
            loop.epoch_counted = True
            try:
                self._end_epoch(trainer)
            finally:
                loop.epoch_counted = False

    def _end_epoch(self, trainer: Trainer) -> None:
        self._epoch_open = self._epoch_ends = False
        self.reach(trainer, "after_train_epoch")

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self.reach(trainer, "after_train")

    # A module of ours has the files completed for the hooks, at the border where the file is written and read.

    def on_save_checkpoint(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.reach(trainer, "before_save_checkpoint", checkpoint=checkpoint)

    def on_load_checkpoint(  # noqa: D102
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if "after_load_checkpoint" not in (self._calls or {}):
            return
        self._runner._resume = trainer.state.fn == "fit"
        self.reach(trainer, "after_load_checkpoint", checkpoint=checkpoint)
        # MMEngine's hooks may change the file before it is loaded; Lightning has loaded it by now.
        pl_module.load_state_dict(checkpoint["state_dict"], strict=pl_module.strict_loading)


def _others(trainer: Trainer) -> list[Callback]:
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if not isinstance(callback, HookStages)]


def _evaluation_stages(stage: str, mode: str) -> dict[str, Callable[..., None]]:
    """Write five stages of ``on_validation_*`` or ``on_test_*``; sanity checks reach no point."""
    before_iter, after_iter = f"before_{mode}_iter", f"after_{mode}_iter"

    def start(self: HookStages, trainer: Trainer, pl_module: LightningModule) -> None:
        # Asked once per evaluation: Lightning compares the names of its stages in lower case.
        self._tells = not trainer.sanity_checking
        if self._tells:
            self._metrics_before = dict(trainer.callback_metrics)
            self.reach(trainer, f"before_{mode}")

    def epoch_start(self: HookStages, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._tells:
            self.reach(trainer, f"before_{mode}_epoch")

    def batch_start(
        self: HookStages,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._tells:
            self.reach(trainer, before_iter, batch_idx=batch_idx, data_batch=batch)

    def batch_end(
        self: HookStages,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._tells:
            self.reach(trainer, after_iter, batch_idx=batch_idx, data_batch=batch, outputs=outputs)

    def end(self: HookStages, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.is_idle() and self._tells:
            metrics = self.eval_metrics(trainer, pl_module)
            self.reach(trainer, f"after_{mode}_epoch", metrics=metrics)
            self.reach(trainer, f"after_{mode}")

    stages = (start, epoch_start, batch_start, batch_end, end)
    return {f"on_{stage}_{function.__name__}": function for function in stages}


for _stage, _mode in (("validation", "val"), ("test", "test")):
    for _name, _function in _evaluation_stages(_stage, _mode).items():
        setattr(HookStages, _name, _function)
