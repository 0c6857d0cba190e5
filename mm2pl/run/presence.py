"""A run in its work folder: it holds the folder while it trains."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mm2pl.run.lock import FORCE, RunLock, WorkDirLocked

if TYPE_CHECKING:
    from mm2pl.run.run import Run


class Presence:
    """Hold the work folder of a run for all its processes.

    Args:
        run: The run. Where it stands is read from it.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._lock = RunLock(run.work_dir)

    def begin(self) -> None:
        """See that no other run trains in the work folder: one process asks, all obey. A trial writes no files.

        Raises:
            WorkDirLocked: One does.
            OSError: The folder cannot be written.
        """
        run = self._run
        if run.runner.is_trial:
            return
        said: str | None = None
        problem: tuple[bool, str] | None = None
        if run.trainer.global_rank == 0:
            try:
                said = self._lock.acquire(force=os.environ.get(FORCE) == "1")
            except (WorkDirLocked, OSError) as error:  # said by all processes: the others wait here
                problem = isinstance(error, WorkDirLocked), str(error)
        if run.trainer.world_size > 1:
            problem = run.trainer.strategy.broadcast(problem)
        if problem is not None:
            locked, text = problem
            raise WorkDirLocked(text) if locked else OSError(text)
        if said is not None:
            run.logger.warning(said)

    def beat(self) -> None:
        """Let others see that the run is alive, and where it is."""
        if self._lock.is_due():
            self._lock.beat(self._position())

    def end(self, error: BaseException | None = None) -> None:
        """Leave the folder to others; ``error`` is what has ended the training."""
        state, text = "finished", None
        if error is not None:
            stopped = isinstance(error, KeyboardInterrupt | SystemExit)
            state, text = "stopped" if stopped else "failed", f"{type(error).__name__}: {error}"
        self._lock.release(state, self._run.log_dir, text, self._position())

    def _position(self) -> dict[str, int | None]:
        """Return where the run is, of how many; a run by iterations has no number of epochs."""
        run = self._run
        loop = run.loops["train"]
        found = {
            "epoch": run.epoch,
            "iter": run.iter,
            "max_epochs": getattr(loop, "max_epochs", None) if run.by_epoch else None,
            "max_iters": getattr(loop, "max_iters", None),
        }
        # A loop of the user's own may hold anything there, and this is written as JSON.
        return {name: value if isinstance(value, int) else None for name, value in found.items()}
