"""Runs whose processes Lightning makes out of this one (``ddp_fork``, ``ddp_notebook``, ``ddp_spawn``)."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mm2pl.errors import ArgumentError, StateError
from mm2pl.lightning.private import start_method
from mm2pl.plan.processes import launched_by

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.run.run import Run


def _refuse_copies(run: Run, method: str, verb: str) -> None:
    """Refuse processes that cannot have the run, or would not train as separate ones do."""
    if method != "fork":
        raise ArgumentError(
            f"a strategy that starts processes by {method!r} sends them the run by pickle, and a run holds open files "
            "and a process group → strategy='ddp', or 'ddp_notebook' in a notebook"
        )
    if (started := launched_by(os.environ)) != "none":
        raise ArgumentError(
            f"a strategy that forks, in processes that {started} has started → leave it out: there are as many "
            "processes as were asked for"
        )
    if run.diff_rank_seed:
        raise ArgumentError(
            "randomness.diff_rank_seed=True with forked processes → they begin as copies, with one random state; "
            "strategy='ddp' starts each for itself"
        )
    if verb == "fit" and run.training.is_elsewhere:
        raise StateError(
            "this run has trained in forked processes, which have ended, with its optimizer and its place → make "
            "a new Runner with resume=True"
        )


@contextmanager
def copied(run: Run | None, trainer: Trainer, verb: str) -> Iterator[None]:
    """Let copies of this process carry the run, as ``trainer.fit`` makes them, or refuse to before there is one.

    A copy has all that this process has built. What it does to the run stays with it: this process gets back the
    weights, the metrics and the path of the best checkpoint, which is what Lightning hands back.

    Args:
        run: The run, if it has been opened in this process.
        trainer: Its Trainer.
        verb: ``fit``, ``validate``, ``test`` or ``predict``.

    Raises:
        ArgumentError: The copies cannot have the run, or would not train as separate processes do.
        StateError: This process has trained by copies already.
    """
    method = start_method(trainer)
    if run is None or not method:
        yield
        return
    _refuse_copies(run, method, verb)
    trainer.callback_metrics.clear()  # what comes back is added to it
    launcher: Any = trainer.strategy.launcher
    before = launcher.procs
    try:
        yield
    except BaseException as error:
        if verb == "fit" and launcher.procs is not before:
            run.training.note_elsewhere()
            if isinstance(error, SystemExit):  # which Lightning 2.6 makes of Ctrl-C
                run.continuing.log_interruption()
        raise
    finally:
        # After Ctrl-C, Lightning 2.6 ends only those that it has started as scripts.
        launcher.kill(signal.SIGKILL)
        for process in launcher.procs:
            process.join()
    module: Any = run.module
    if verb != "predict":
        # As the Trainer holds them: scalars of float32.
        module.eval_metrics = {
            name: value.item() for name, value in trainer.callback_metrics.items()
        }
    if verb == "fit":
        run.training.note_elsewhere()
        run.logger.info(
            "Trained in forked processes: this one has the weights and the metrics now; optimizer, epoch and "
            "iteration are in the checkpoints"
        )
