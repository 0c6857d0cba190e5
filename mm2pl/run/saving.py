"""What a run puts into a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint import kinds
from mm2pl.checkpoint.buffers import buffers_of
from mm2pl.checkpoint.compare import KEY
from mm2pl.checkpoint.progress import loops_state
from mm2pl.checkpoint.random_state import rng_state
from mm2pl.errors import ArgumentError
from mm2pl.run.facts import facts_of

if TYPE_CHECKING:
    from mm2pl.run.run import Run


class Saving:
    """Write a run down: MMEngine's keys, the Trainer's progress, and what makes a resume exact.

    Args:
        run: The run. Where it stands is read from it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._saving: dict[str, Any] = {}

    def save(
        self,
        out_dir: str,
        filename: str,
        *,
        meta: dict[str, Any] | None,
        by_epoch: bool,
        optimizer: bool,
        schedules: bool,
        storage: dict[str, Any] | None,
    ) -> None:
        """Let the Trainer write a file; see :meth:`mm2pl.run.facade.RunnerFacade.save_checkpoint`.

        Raises:
            TypeError: If ``meta`` is not a dict.
        """
        run = self._run
        if meta is not None and not isinstance(meta, dict):
            raise ArgumentError(f"meta={meta!r} → a dict or None is needed")
        if run.runner.is_trial:  # which leaves no files, as Lightning's own callbacks have it
            return
        if run.trainer.model is None:  # nothing has run yet
            run.trainer.strategy.connect(run.module.lightning_module)
            run.module.trainer = run.trainer
        ahead = {"epoch": run.epoch + by_epoch, "iter": run.iter + (not by_epoch)}
        self._saving = {
            "meta": {**ahead, **(meta or {})},
            "schedules": schedules,
            "epoch_ends": by_epoch,
        }
        try:
            run.trainer.save_checkpoint(
                files.join(out_dir, filename), weights_only=not optimizer, storage_options=storage
            )
        finally:
            self._saving = {}

    def complete(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys and the exact state of the run, then let ``before_save_checkpoint`` hooks change it."""
        run, options = self._run, self._saving
        files.add_mmengine_keys(checkpoint, run.runner)
        checkpoint["meta"].update(options.get("meta", {}))
        if run.training.stream is None:
            # Before the first training: what MMEngine's Runner would write.
            for key in checkpoint.keys() & files.LIGHTNING_KEYS:
                del checkpoint[key]
        elif "optimizer_states" in checkpoint:
            state = checkpoint["mm2pl"] = self.exact_state(bool(options.get("epoch_ends")))
            checkpoint["loops"] = loops_of(run, checkpoint, state["batch_idx"])
            checkpoint[KEY] = facts_of(run.runner)
        else:
            checkpoint.pop("loops", None)
        schedules = run.module.param_schedulers
        if not options.get("schedules", True):
            checkpoint.pop("param_schedulers", None)
        elif options and schedules is not None:  # also without the optimizer
            checkpoint["param_schedulers"] = files.scheduler_states(schedules)
        run.runner.call_hook("before_save_checkpoint", checkpoint=checkpoint)

    def exact_state(self, epoch_ends: bool) -> dict[str, Any]:
        """Return what MMEngine does not save and a resume to the last bit needs. All processes must call this."""
        run = self._run
        training = run.training
        assert training.stream is not None
        progress = run.trainer.fit_loop.epoch_loop.batch_progress.current
        stepped = progress.processed == progress.ready
        # An exception has ended the step of this batch, or a loss that is NaN.
        stream = training.stream.state_dict(untrained=training.batch_open and not stepped)
        between = run.by_epoch and stream["rng_at_open"] is None
        batches = progress.processed
        inside = between and training.epoch_open
        ended = inside and epoch_ends
        uncounted = training.batch_open and stepped and not training.batch_counted
        place = {"iter": run.iter + uncounted, "epoch": run.epoch + ended if run.by_epoch else 0}
        state = {
            "batch_idx": 0 if between else batches,
            "stream": stream,
            "workers": training.stream.workers.state_dict(),
            # Saved in after_train_iter of an epoch's last batch: after_train_epoch is still to come.
            "epoch_unfinished": inside and not epoch_ends and not training.driven,
            "loops": states_of(run.loops),
            "validation_pending": run.trainer.state.fn == "fit"
            and training.validation_follows(between),
            "rng": training.rng_of_validation or rng_state(),
            "buffers": buffers_of(buffered(run)),
            # SWA has put its own schedule in their place: nobody ticks them.
            "ticks_due": {} if run.runner.ticking_schedulers is None else training.ticks.due(place),
        }
        return kinds.gather(kinds.RUN, state)


def states_of(loops: Mapping[str, Any]) -> dict[str, Any]:
    """Return per stage what a custom loop says of itself, if its class has a ``state_dict``."""
    return {
        stage: loop.state_dict()
        for stage, loop in loops.items()
        if hasattr(loop, "state_dict") and hasattr(loop, "load_state_dict")
    }


def buffered(run: Run) -> list[nn.Module]:
    """Return what has buffers that each process computes for itself: the model, and averages of it."""
    averages = (getattr(hook, "ema_model", None) for hook in run.hooks)
    return [run.model, *(module for module in averages if module is not None)]


def loops_of(run: Run, checkpoint: dict[str, Any], batch_idx: int) -> dict[str, Any]:
    """Return Lightning's ``loops`` for the place that a checkpoint's ``meta`` names."""
    meta = checkpoint["meta"]
    unfinished = checkpoint.get("mm2pl", {}).get("epoch_unfinished", False)
    return loops_state(
        epoch=meta["epoch"] + unfinished if run.by_epoch else 0,
        iter=meta["iter"],
        batch_idx=batch_idx,
        steps=checkpoint.get("global_step"),
        epoch_length=run.train_loop.epoch_length,
    )
