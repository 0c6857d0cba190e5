"""What a run puts into a checkpoint, and how it takes it up again."""

from __future__ import annotations

from typing import Any

import torch

from mm2pl.dist import all_gather_object
from mm2pl.lightning import checkpoint as files
from mm2pl.lightning.facade import RunnerFacade
from mm2pl.runner.checkpoint import load_checkpoint_to_model, read_checkpoint


class RunState(RunnerFacade):
    """Save and restore a run: MMEngine's keys, the Trainer's progress, and what makes a resume exact."""

    save_options: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    _resumed: dict[str, Any] | None = None

    # Writing

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Write a file that Lightning and MMEngine can both read. Every process must call this; the first one writes.

        Args:
            out_dir: Folder or URL.
            filename: Name of the file.
            file_client_args: Deprecated name of ``backend_args``.
            save_optimizer: Whether the file can be resumed; without it, it holds weights and metadata.
            save_param_scheduler: Whether the schedules' state is stored.
            meta: Further entries of ``meta``.
            by_epoch: Count the epoch that is just ending (hooks save before the counter moves), or the iteration.
            backend_args: Options of the file backend.

        Raises:
            TypeError: If ``meta`` is not a dict.
        """
        if meta is not None and not isinstance(meta, dict):
            raise TypeError(f"meta={meta!r} → a dict or None is needed")
        ahead = {"epoch": self.epoch + by_epoch, "iter": self.iter + (not by_epoch)}
        with self._saving_as(  # type: ignore[attr-defined]
            meta={**ahead, **(meta or {})},
            save_param_scheduler=save_param_scheduler,
            epoch_ends=by_epoch,
        ):
            self.trainer.save_checkpoint(
                files.join(out_dir, filename),
                weights_only=not save_optimizer,
                storage_options=backend_args or file_client_args,
            )

    def complete_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys and the exact state of the run, then let ``before_save_checkpoint`` hooks change it."""
        options = self.save_options
        resumable = "optimizer_states" in checkpoint
        meta = checkpoint["meta"] = {**self.meta(), **options.get("meta", {})}
        checkpoint["message_hub"] = self.message_hub.state_dict()
        if resumable:
            checkpoint["optimizer"] = self.optim_wrapper.state_dict()
            checkpoint["mm2pl"] = self.exact_state(bool(options.get("epoch_ends")))
            checkpoint["loops"] = files.loops_state(
                epoch=meta["epoch"] if self.by_epoch else 0,  # type: ignore[attr-defined]
                iter=meta["iter"],
                batch_idx=checkpoint["mm2pl"]["batch_idx"],
                steps=checkpoint["global_step"],
            )
        else:
            checkpoint.pop("loops", None)
        if self.param_schedulers is not None and options.get("save_param_scheduler", resumable):
            checkpoint["param_schedulers"] = states_of(self.param_schedulers)
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)

    def exact_state(self, epoch_ends: bool) -> dict[str, Any]:
        """Return what MMEngine does not save and a resume to the last bit needs."""
        between = epoch_ends or self.train_loop is None
        stream = self.stream.state_dict()  # type: ignore[attr-defined]
        batches = self.trainer.fit_loop.epoch_loop.batch_progress.current.processed
        return {
            "batch_idx": 0 if between and self.by_epoch else batches,  # type: ignore[attr-defined]
            "stream": stream,
            "validation_pending": self.validation_pending,  # type: ignore[attr-defined]
            "rng": all_gather_object(files.rng_state()),
        }

    # Reading

    def accept_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let ``after_load_checkpoint`` hooks change what was read; when training, take over MMEngine's part of it."""
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        self.has_loaded = True
        if self.trainer.state.fn != "fit":
            return
        meta = checkpoint.get("meta", {})
        self.train_loop._epoch, self.train_loop._iter = meta["epoch"], meta["iter"]
        self.take_over_seed(meta.get("seed"))
        self.message_hub.load_state_dict(checkpoint["message_hub"])
        if "optimizer" in checkpoint:
            self.optim_wrapper.load_state_dict(checkpoint["optimizer"])
        load_states(self.param_schedulers, checkpoint.get("param_schedulers"))
        self._resumed = checkpoint.get("mm2pl")
        self.logger.info(f"resumed epoch: {self.epoch}, iter: {self.iter}")

    def take_over_seed(self, seed: int | None) -> None:
        """Use the seed of the run being resumed, and say so if the config asks for another."""
        if seed is None or seed == self.seed:
            return
        if self._randomness.get("seed") is not None:  # type: ignore[attr-defined]
            self.logger.warning(
                f"the checkpoint was made with seed {seed}, randomness asks for {self.seed} → the checkpoint's is used"
            )
        self.seed = seed

    def restore_random_state(self) -> None:
        """Continue the data and the random numbers where the checkpoint was written."""
        state, self._resumed = self._resumed, None
        if state is None:
            return
        self.stream.load_state_dict(state["stream"])  # type: ignore[attr-defined]
        if len(state["rng"]) == self.world_size:
            files.set_rng_state(state["rng"][self.rank])
        if state["validation_pending"]:
            # The run that wrote the file validated next: its validation loader drew one number for its workers' seeds.
            torch.empty((), dtype=torch.int64).random_()

    def load_weights(self) -> None:
        """Load ``load_from`` into the model, once."""
        path = self.settings.get("load_from")  # type: ignore[attr-defined]
        if path and not self.has_loaded:
            self.load_checkpoint(path)

    def load_checkpoint(
        self,
        filename: str,
        map_location: Any = "cpu",
        strict: bool = False,
        revise_keys: Any = ((r"^module\.", ""),),
    ) -> dict[str, Any]:
        """Load weights only, from an MMEngine, Lightning or bare state-dict file.

        Args:
            filename: Path or URL.
            map_location: Where the tensors go first.
            strict: Refuse a file whose keys are not exactly the model's.
            revise_keys: Pairs of pattern and replacement for the keys.

        Returns:
            The file's contents.
        """
        checkpoint = read_checkpoint(filename, map_location=map_location)
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        load_checkpoint_to_model(self.model, checkpoint, strict, revise_keys=list(revise_keys))
        self.has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint


def states_of(param_schedulers: Any) -> Any:
    """Return the schedules' states, in the shape of the schedules: a list, or a dict of lists."""
    if isinstance(param_schedulers, dict):
        return {name: states_of(group) for name, group in param_schedulers.items()}
    return [scheduler.state_dict() for scheduler in param_schedulers]


def load_states(param_schedulers: Any, states: Any) -> None:
    """Restore what :func:`states_of` returned."""
    if param_schedulers is None or states is None:
        return
    if isinstance(param_schedulers, dict):
        for name, group in param_schedulers.items():
            load_states(group, states[name])
        return
    for scheduler, state in zip(param_schedulers, states, strict=False):
        scheduler.load_state_dict(state)

