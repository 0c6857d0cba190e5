"""What a run puts into a checkpoint, and how it takes it up again."""

from __future__ import annotations

from typing import Any

from torch import nn

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint.buffers import own_buffers, restore_buffers
from mm2pl.checkpoint.fitting import fitting_weights
from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.progress import loops_state, progress_of
from mm2pl.checkpoint.random_state import rng_state, set_rng_state
from mm2pl.checkpoint.reader import naming
from mm2pl.checkpoint.weights import load_checkpoint_to_model
from mm2pl.dist import all_gather_object
from mm2pl.run.clock import validates_after
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.stream import TrainStream


class RunState(RunnerFacade):
    """Save and restore a run: MMEngine's keys, the Trainer's progress, and what makes a resume exact."""

    save_options: dict[str, Any] = {}  # noqa: RUF012 - replaced, never changed
    _resumed: dict[str, Any] | None = None
    _optimizer_state: dict[str, Any] | None = None
    settings: dict[str, Any]
    _randomness: dict[str, Any]
    stream: TrainStream
    by_epoch: bool = True
    epoch_open: bool = False
    batch_open: bool = False

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
        if (
            self.trainer.fast_dev_run
        ):  # a trial, which leaves no files, as Lightning's own callbacks have it
            return
        if self.trainer.model is None:  # nothing has run yet
            self.module.trainer = self.trainer
            self.trainer.strategy.connect(self.module)
        ahead = {"epoch": self.epoch + by_epoch, "iter": self.iter + (not by_epoch)}
        self.save_options = {
            "meta": {**ahead, **(meta or {})},
            "save_param_scheduler": save_param_scheduler,
            "epoch_ends": by_epoch,
        }
        try:
            self.trainer.save_checkpoint(
                files.join(out_dir, filename),
                weights_only=not save_optimizer,
                storage_options=backend_args or file_client_args,
            )
        finally:
            self.save_options = {}

    def complete_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add MMEngine's keys and the exact state of the run, then let ``before_save_checkpoint`` hooks change it."""
        options = self.save_options
        files.add_mmengine_keys(checkpoint, self)
        checkpoint["meta"].update(options.get("meta", {}))
        if not hasattr(
            self, "stream"
        ):  # before the first training: what MMEngine's Runner would write
            for key in checkpoint.keys() & files.LIGHTNING_KEYS:
                del checkpoint[key]
        elif "optimizer_states" in checkpoint:
            state = checkpoint["mm2pl"] = self.exact_state(bool(options.get("epoch_ends")))
            checkpoint["loops"] = self._loops(checkpoint, state["batch_idx"])
        else:
            checkpoint.pop("loops", None)
        if not options.get("save_param_scheduler", True):
            checkpoint.pop("param_schedulers", None)
        elif options and self.param_schedulers is not None:  # also without the optimizer
            checkpoint["param_schedulers"] = files.scheduler_states(self.param_schedulers)
        self.call_hook("before_save_checkpoint", checkpoint=checkpoint)

    def exact_state(self, epoch_ends: bool) -> dict[str, Any]:
        """Return what MMEngine does not save and a resume to the last bit needs."""
        stream = self.stream.state_dict()
        between = self.by_epoch and stream["rng_at_open"] is None
        return {
            "batch_idx": 0
            if between
            else self.trainer.fit_loop.epoch_loop.batch_progress.current.processed,
            "stream": stream,
            "workers": all_gather_object(self.stream.workers.state_dict()),
            # Saved in after_train_iter of an epoch's last batch: after_train_epoch is still to come.
            "epoch_unfinished": between and self.epoch_open and not epoch_ends,
            "validation_pending": self._validates_next(between),
            "rng": all_gather_object(rng_state()),
            "buffers": own_buffers(self._buffered()) if self.world_size > 1 else [],
        }

    def _buffered(self) -> list[nn.Module]:
        """Return what has buffers that each process computes for itself: the model, and averages of it."""
        averages = (getattr(hook, "ema_model", None) for hook in self.hooks)
        return [self.model, *(module for module in averages if module is not None)]

    def _validates_next(self, epoch_over: bool) -> bool:
        if self._val_loop is None or not self.trainer.training:
            return False
        loop = self.train_loop
        if not self.batch_open:  # RunCallback has decided
            return self.trainer.check_val_every_n_epoch == 1
        if self.by_epoch:
            return epoch_over and validates_after(loop.timetable, loop.epoch + 1)
        return validates_after(loop.timetable, loop.iter + 1)

    def _loops(self, checkpoint: dict[str, Any], batch_idx: int) -> dict[str, Any]:
        meta, loop = checkpoint["meta"], self.train_loop
        return loops_state(
            epoch=meta["epoch"] + checkpoint.get("mm2pl", {}).get("epoch_unfinished", False)
            if self.by_epoch
            else 0,
            iter=meta["iter"],
            batch_idx=batch_idx,
            steps=checkpoint.get("global_step"),
            epoch_length=loop.epoch_length if self.by_epoch else loop.max_iters,
        )

    def log_interruption(self) -> None:
        """Say where the run was stopped and from which file it can go on."""
        last = find_latest_checkpoint(self.work_dir)
        goes_on = (
            f"the newest checkpoint is {last} → continue with --resume, or Runner(…, resume=True)"
            if last
            else "there is no checkpoint yet → start again"
        )
        self.logger.warning(
            f"Stopped in epoch {self.epoch + 1} after {self.iter} of {self.max_iters} iterations; {goes_on}"
        )

    # Reading

    def accept_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Let ``after_load_checkpoint`` hooks change what was read; when training, take over MMEngine's part of it.

        Raises:
            CheckpointError: If the weights are those of another model, or training is to continue from a file that
                holds weights only.
        """
        self._resume = self.trainer.state.fn == "fit"
        with naming(str(self.trainer.ckpt_path)):
            self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            fitting_weights(self.module.model, checkpoint["state_dict"], self.module.strict_loading)
        self.has_loaded = True
        if self.trainer.state.fn != "fit":
            return
        files.require_resumable(checkpoint, str(self.trainer.ckpt_path or "The checkpoint"))
        meta = checkpoint.setdefault("meta", {})
        if "epoch" not in meta:
            meta["epoch"], meta["iter"] = progress_of(checkpoint)
        loop = self.train_loop
        loop._epoch, loop._iter = meta["epoch"] if self.by_epoch else 0, meta["iter"]
        self.take_over_seed(meta.get("seed"))
        self.message_hub.load_state_dict(checkpoint.get("message_hub") or files.empty_hub())
        self._optimizer_state = checkpoint.get("optimizer")
        load_states(self.param_schedulers, checkpoint.get("param_schedulers"))
        self._resumed = checkpoint.get("mm2pl")
        checkpoint["loops"] = self._loops(checkpoint, self._place(meta))
        if self._ends_with_validation(meta):
            # To Lightning the last epoch still has to end, or it would not even start the run.
            checkpoint["loops"] = loops_state(
                epoch=meta["epoch"] - 1,
                iter=meta["iter"],
                batch_idx=loop.epoch_length,
                steps=checkpoint.get("global_step"),
                epoch_length=loop.epoch_length,
            )
        self.epoch_open = bool(self._resumed and self._resumed["epoch_unfinished"])
        self.logger.info(f"resumed epoch: {self.epoch}, iter: {self.iter}")

    def _place(self, meta: dict[str, Any]) -> int:
        """Return how many batches of the current Lightning epoch are done."""
        if self._resumed is not None:
            return self._resumed["batch_idx"]
        if not self.by_epoch:
            return meta["iter"]
        # MMEngine cannot resume inside an epoch: it begins the epoch again.
        return 0

    def _ends_with_validation(self, meta: dict[str, Any]) -> bool:
        """Whether nothing but the last epoch's validation is left of the run."""
        pending = self._resumed is not None and self._resumed["validation_pending"]
        return pending and self.by_epoch and meta["epoch"] >= self.train_loop.max_epochs

    def take_over_seed(self, seed: int | None) -> None:
        """Use the seed of the run being resumed, and say so if the config asks for another."""
        if seed is None or seed == self.seed:
            return
        if self._randomness.get("seed") is not None:
            self.logger.warning(
                f"the checkpoint was made with seed {seed}, randomness asks for {self.seed} → the checkpoint's is used"
            )
        self.seed = seed

    def restore_optimizer(self) -> None:
        """Restore the wrapper's scaler and open accumulation window; Lightning has dropped all gradients by now."""
        if self._optimizer_state is not None:
            self.optim_wrapper.load_state_dict(self._optimizer_state)
            self._optimizer_state = None

    def restore_exact_state(self) -> bool:
        """Continue the data, the random numbers and each process's buffers where the checkpoint was written.

        Returns:
            Whether the run that wrote it would have validated next.
        """
        state, self._resumed = self._resumed, None
        if state is None:
            if not self.by_epoch and self.iter:
                self.stream.skip_to(self.iter)
            return False
        if len(state.get("workers", ())) == self.world_size:
            self.stream.workers.load_state_dict(state["workers"][self.rank])
        self.stream.load_state_dict(state["stream"])
        if len(state["rng"]) == self.world_size:
            set_rng_state(state["rng"][self.rank])
        if len(state.get("buffers", ())) == self.world_size:
            restore_buffers(self._buffered(), state["buffers"][self.rank])
        return state["validation_pending"]

    def load_weights(self) -> None:
        """Load ``load_from`` into the model, once."""
        path = self.settings.get("load_from")
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
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
        self._resume = False
        self.call_hook("after_load_checkpoint", checkpoint=checkpoint)
        with naming(str(filename)):
            load_checkpoint_to_model(self.model, checkpoint, strict, revise_keys=list(revise_keys))
        self.has_loaded = True
        self.logger.info(f"Load checkpoint from {filename}")
        return checkpoint


def load_states(param_schedulers: Any, states: Any) -> None:
    """Restore what :func:`mm2pl.checkpoint.format.scheduler_states` returned."""
    if param_schedulers is None or states is None:
        return
    if isinstance(param_schedulers, dict):
        for name, group in param_schedulers.items():
            load_states(group, states[name])
        return
    for scheduler, state in zip(param_schedulers, states, strict=False):
        scheduler.load_state_dict(state)
