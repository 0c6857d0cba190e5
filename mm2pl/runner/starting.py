"""What a Runner does before the first batch: process, seeds, and where the weights come from."""

from __future__ import annotations

from typing import Any

from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.weights import load_checkpoint_to_model
from mm2pl.run.continuing import RunState
from mm2pl.run.environment import set_random_seed, setup_env


class RunnerStart(RunState):
    """The methods of MMEngine's Runner that set up a run.

    A subclass may override ``setup_env`` and ``set_randomness``. ``resume`` and ``load_or_resume`` are for callers:
    ``train()`` resumes by itself.
    """

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Apply an ``env_cfg``, join the launcher's processes, and take the time for the names of files."""
        self.timestamp = setup_env(env_cfg, self.launcher)

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed Python, NumPy and torch; ``seed=None`` draws a seed that all processes share."""
        self.deterministic = deterministic
        self.seed = set_random_seed(seed, deterministic, diff_rank_seed)

    def resume_path(self) -> str | None:
        """Return the checkpoint to resume, if ``resume`` asks for one."""
        if not self.settings.get("resume") or self.has_loaded:
            return None
        path = self.settings.get("load_from") or find_latest_checkpoint(self.work_dir)
        self.logger.info(f"Auto resumed from the latest checkpoint {path}.")
        return path

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: Any = "cpu",
    ) -> None:
        """Load the weights of a checkpoint now; the next :meth:`train` continues its run.

        Args:
            filename: Path or URL.
            resume_optimizer: Must be True.
            resume_param_scheduler: Must be True.
            map_location: Where the tensors go first.

        Raises:
            ValueError: If only a part of the state is to be taken up.
        """
        if not (resume_optimizer and resume_param_scheduler):
            raise ValueError(
                f"resume_optimizer={resume_optimizer!r}, resume_param_scheduler={resume_param_scheduler!r} → a run "
                "is resumed as a whole; load_checkpoint() takes the weights alone"
            )
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
        load_checkpoint_to_model(self.model, checkpoint)
        self.settings = {**self.settings, "resume": True, "load_from": str(filename)}
        self.has_loaded = False
        self.logger.info(f"the run of {filename} will be continued")

    def load_or_resume(self) -> None:
        """Do what ``load_from`` and ``resume`` ask for, once; without them nothing."""
        if self.settings.get("resume"):
            if (path := self.resume_path()) is not None:
                self.resume(path)
        else:
            self.load_weights()
