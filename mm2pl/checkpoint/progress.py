"""Where a run stands, in the words of Lightning's loops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def loops_state(
    *,
    epoch: int,
    iter: int,
    batch_idx: int = 0,
    steps: int | None = None,
    epoch_length: int | None = None,
) -> dict[str, Any]:
    """Return Lightning's ``loops`` for a run that stands between epochs, or after a batch within one.

    Between epochs everything counts as finished, so the next epoch begins as any other: with ``on_train_epoch_start``
    and without validating again. Within an epoch it is what Lightning stores in ``on_train_batch_end``.

    Args:
        epoch: Finished epochs; of a run by iterations always 0.
        iter: Finished batches of the whole run.
        batch_idx: Finished batches of the epoch; 0 between epochs.
        steps: Optimizer steps (``global_step``); ``iter`` if missing.
        epoch_length: Batches per epoch, so that the last batch is known as such.
    """
    inside = int(batch_idx > 0)
    batches = {
        "total": _counts(iter, iter - inside),
        "current": _counts(batch_idx, batch_idx - inside),
        "is_last_batch": bool(inside and batch_idx == epoch_length),
    }
    steps = iter if steps is None else steps
    optimizer_steps = {part: {"ready": steps, "completed": steps} for part in ("total", "current")}
    zero_grad = {
        part: {"ready": steps, "started": steps, "completed": steps}
        for part in ("total", "current")
    }
    fit_loop = {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": iter - inside},
        "epoch_loop.batch_progress": batches,
        # `global_step` is the one or the other, depending on the module's mode, which is not known here.
        "epoch_loop.automatic_optimization.optim_progress": {
            "optimizer": {"step": optimizer_steps, "zero_grad": zero_grad}
        },
        "epoch_loop.manual_optimization.optim_step_progress": optimizer_steps,
        "epoch_progress": {
            part: {**_counts(epoch, epoch), "ready": epoch + inside, "started": epoch + inside}
            for part in ("total", "current")
        },
    }
    return {"fit_loop": fit_loop, "validate_loop": {}, "test_loop": {}, "predict_loop": {}}


def _counts(done: int, completed: int) -> dict[str, int]:
    return {"ready": done, "started": done, "processed": done, "completed": completed}


def progress_of(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Return the finished epochs and batches of a Lightning checkpoint."""
    fit_loop = checkpoint.get("loops", {}).get("fit_loop", {})
    batches = fit_loop.get("epoch_loop.batch_progress", {})
    # Not `completed`, which Lightning counts only after the hooks in which files are written.
    done = batches.get("total", {}).get("processed", checkpoint.get("global_step", 0))
    epoch = (
        fit_loop.get("epoch_progress", {})
        .get("current", {})
        .get("processed", checkpoint.get("epoch", 0))
    )
    # Saved in the last batch's hooks, before Lightning counts the epoch.
    unfinished = fit_loop.get("epoch_progress", {}).get("current", {}).get("ready", epoch) > epoch
    return epoch + bool(unfinished and batches.get("is_last_batch")), done
