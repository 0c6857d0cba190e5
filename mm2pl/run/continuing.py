"""How a run takes up what a checkpoint holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mm2pl.checkpoint import format as files
from mm2pl.checkpoint import kinds
from mm2pl.checkpoint.buffers import restore_buffers
from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.checkpoint.loader import CheckpointLoader
from mm2pl.checkpoint.progress import loops_state, progress_of
from mm2pl.checkpoint.random_state import set_rng_state
from mm2pl.checkpoint.reader import CheckpointError, naming
from mm2pl.checkpoint.schema import check
from mm2pl.checkpoint.weights import load_checkpoint_to_model
from mm2pl.errors import MissingFileError
from mm2pl.optim.abilities import wrappers_of
from mm2pl.plan.resume import Choice, Resume
from mm2pl.run.facts import facts_of
from mm2pl.run.resuming import Resumption
from mm2pl.run.saving import buffered, loops_of
from mm2pl.run.ticks import make_up

if TYPE_CHECKING:
    from mm2pl.checkpoint.reader import MapLocation
    from mm2pl.optim.scheduler.replay import Progress
    from mm2pl.run.run import Run

_DDP_PREFIX = (r"^module\.", "")


class Continuing:
    """Take up a run where a checkpoint was written.

    Args:
        run: The run. What it was made from and where it stands is read from it.
        load_from: Weights to start from, or with ``resuming`` the checkpoint to go on from.
        resume: Whether to continue the run of ``load_from``, or the one in the work folder, and which parts of it.

    Attributes:
        choice: Which parts of the run go on, as given or as the last :meth:`resume` has said.
        load_from: As given; may be assigned before the run.
        resuming: Whether to continue a run; and while a file is loaded, whether it continues its run. Hooks ask for it.
        has_loaded: Whether weights have come from a file.
    """

    def __init__(self, run: Run, load_from: str | None, resume: Resume) -> None:
        self._run = run
        self.load_from = resume.filename or load_from
        self.resuming = resume.wanted
        self.choice = resume.choice
        self._required = resume.required
        self.has_loaded = False
        self._to_continue: str | None = None
        self._restoring: str | None = None
        self._resumed: dict[str, Any] | None = None
        self._optimizer_state: dict[str, Any] | None = None
        self._resumption: Resumption | None = None

    def log_interruption(self) -> None:
        """Say where the run was stopped and from which file it can go on."""
        run = self._run
        try:
            last = self._newest()
        except CheckpointError as error:
            goes_on = str(error)
        else:
            goes_on = (
                f"the newest checkpoint is {last} → continue with --resume, or Runner(…, resume=True)"
                if last
                else "there is no checkpoint yet → start again"
            )
        place = f"epoch {run.epoch + 1} after {run.iter} of {run.runner.max_iters} iterations"
        if run.training.is_elsewhere:
            place = "forked processes"  # which alone know where they stood
        run.logger.warning(f"Stopped in {place}; {goes_on}")

    # Reading

    def path_to_resume(self) -> str | None:
        """Return the checkpoint that the next fit resumes, if the run asks for one and has not loaded it yet.

        Raises:
            CheckpointError: The work folder holds files of the run, but none from which it could go on.
            FileNotFoundError: There is none, and the run was to start from nothing else.
        """
        run = self._run
        if self._to_continue is not None:  # read already, for an evaluation
            return self._to_continue
        if not self.resuming or self.has_loaded:
            return None
        if self.load_from:
            return self.load_from
        path = self._newest()
        if path is not None:
            run.logger.info(f"Auto resumed from the latest checkpoint {path}.")
            return path
        if self._required:
            raise MissingFileError(
                f"resume='must': there is no checkpoint in {run.work_dir} → check --work-dir, or start with "
                "--resume, which begins anew where there is none"
            )
        trains = run.stage in (None, "fit")
        instead = "starts from the beginning" if trains else "the weights stay as they are"
        run.logger.warning(
            f"no checkpoint in {run.work_dir}: {instead}; if there should be one, check --work-dir"
        )
        return None

    def _newest(self) -> str | None:
        """Return the newest checkpoint of the work folder, or of those that hooks save to."""
        run = self._run
        folders = [
            hook.checkpoint_folder(run.work_dir)
            for hook in run.hooks
            if hasattr(hook, "checkpoint_folder")
        ]
        return find_latest_checkpoint(run.work_dir, folders)

    def accept(self, checkpoint: dict[str, Any]) -> None:
        """Take up a file that the Trainer has read; see :meth:`mm2pl.run.facade.RunnerFacade.accept_checkpoint`.

        Raises:
            CheckpointError: If the weights are those of another model, or training is to continue from a file that
                holds weights only.
        """
        run = self._run
        fitting = run.trainer.state.fn == "fit"
        before, self.resuming = self.resuming, fitting
        resumption = Resumption(checkpoint, self.choice)
        path = str(run.trainer.ckpt_path or "The checkpoint")
        with naming(path):
            run.runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            if fitting and self.choice.resume_optimizer:
                files.require_resumable(checkpoint, path)
            # A strategy that shards the model reads and fits its part of the file itself.
            if not run.trainer.strategy.restore_checkpoint_after_setup:
                strict = run.module.strict_loading
                resumption.take_weights(
                    checkpoint,
                    run.model,
                    strict=strict,
                    logger=run.logger,
                    around=run.module.outer_weights(),
                )
        if not fitting:
            # A resume that is still to come stays so: only a fit continues a run.
            self.resuming, self.has_loaded = before, self.has_loaded or not before
            return
        self.has_loaded, self._to_continue = True, None
        with naming(path):
            self._go_to_its_place(checkpoint, resumption)

    def _go_to_its_place(self, checkpoint: dict[str, Any], resumption: Resumption) -> None:
        """Stand where the file was written, and leave in it what Lightning restores: progress and optimizers."""
        run = self._run
        resumption.take_parts(checkpoint)
        meta = checkpoint.setdefault("meta", {})
        if "epoch" not in meta:
            meta["epoch"], meta["iter"] = progress_of(checkpoint)
        loop = run.train_loop
        loop.go_to(meta["epoch"] if run.by_epoch else 0, meta["iter"])
        if meta.get("seed") is not None:
            run.use_seed(meta["seed"])
        run.message_hub.load_state_dict(checkpoint.get("message_hub") or files.empty_hub())
        self._optimizer_state = checkpoint.get("optimizer")
        self._resumption = resumption
        resumption.match(run.module.param_schedulers)
        if self.choice.resume_param_scheduler is True:
            resumption.load(run.module.param_schedulers, self._progress(resumption))
        self._resumed = checkpoint.get("mm2pl")
        checkpoint["loops"] = loops_of(run, checkpoint, self._place(meta))
        if self._ends_with_validation(meta):
            # To Lightning the last epoch still has to end, or it would not even start the run.
            checkpoint["loops"] = loops_state(
                epoch=meta["epoch"] - 1,
                iter=meta["iter"],
                batch_idx=loop.epoch_length,
                steps=checkpoint.get("global_step"),
                epoch_length=loop.epoch_length,
            )
        run.training.reopen_epoch(bool(self._resumed and self._resumed["epoch_unfinished"]))
        for stage, state in (self._resumed or {}).get("loops", {}).items():
            if run.loops[stage] is not None and hasattr(run.loop_of(stage), "load_state_dict"):
                run.loop_of(stage).load_state_dict(state)
        run.logger.info(f"resumed epoch: {run.epoch}, iter: {run.iter}")

    def _progress(self, resumption: Resumption) -> Progress:
        loop = self._run.train_loop
        # A run by iterations ticks the schedules by epoch once, at its end.
        return resumption.progress(loop.epoch if loop.by_epoch else 0, loop.iter, loop.epoch_length)

    def _place(self, meta: dict[str, Any]) -> int:
        """Return how many batches of the current Lightning epoch are done."""
        if self._resumed is not None:
            return self._resumed["batch_idx"]
        # MMEngine cannot resume inside an epoch: it begins the epoch again.
        return 0 if self._run.by_epoch else meta["iter"]

    def _ends_with_validation(self, meta: dict[str, Any]) -> bool:
        """Return whether nothing but the last epoch's validation is left of the run."""
        pending = self._resumed is not None and self._resumed["validation_pending"]
        return pending and self._run.by_epoch and meta["epoch"] >= self._run.train_loop.max_epochs

    def fit_optimizers(self, checkpoint: dict[str, Any], wrappers: dict[str, Any]) -> None:
        """Leave in a checkpoint what the optimizers can take, just before Lightning restores them.

        Raises:
            CheckpointError: It is that of other optimizers.
        """
        if self._resumption is not None:
            with naming(str(self._run.trainer.ckpt_path)):
                self._resumption.fit_optimizers(checkpoint, wrappers, self._run.model)
            self._optimizer_state = checkpoint.get("optimizer")

    def restore_optimizer(self) -> None:
        """Restore the wrapper's scaler and open accumulation window; Lightning has dropped all gradients by now.

        Now that the groups are the file's, the schedules can be planned anew, and it can be said what differs.
        """
        run = self._run
        if self._optimizer_state is not None:
            run.optim_wrapper.load_state_dict(self._optimizer_state)
            self._optimizer_state = None
        resumption, self._resumption = self._resumption, None
        if resumption is not None:
            if self.choice.replans:
                resumption.replan(run.module.param_schedulers, self._progress(resumption))
            elif self.choice.resume_param_scheduler:
                make_up(run.module.param_schedulers, (self._resumed or {}).get("ticks_due", {}))
            # A seed that was drawn at the start is not what anybody has asked for.
            facts = {**facts_of(run.runner), "seed": run.randomness.get("seed")}
            run.logger.info(resumption.report(facts))

    def leave_optimizer(self) -> None:
        """Leave the optimizer and the schedules as they are, whatever has been read."""
        self._optimizer_state = self._resumption = None

    def restore_exact_state(self) -> bool:
        """Continue the data, the random numbers and each process's buffers where the checkpoint was written.

        Returns:
            Whether the run that wrote it would have validated next.
        """
        run = self._run
        stream, processes = run.training.stream, run.trainer.world_size
        assert stream is not None
        state, self._resumed = self._resumed, None
        keeps_place = run.training.keeps_place
        if state is None:
            if keeps_place and not run.by_epoch and run.iter and not stream.consumed:
                stream.skip_to(run.iter)
            return False
        if not keeps_place:
            self._say_what_a_loop_must_do(state)
        before = len(state["rng"])
        if before != processes:
            run.logger.warning(
                f"The checkpoint is of {before} and this run of {processes} processes: weights, optimizer, schedules "
                "and counters go on as they were; random numbers, each process's share of the data and its own "
                "buffers do not, so that the run is no longer equal to the last bit"
            )
        own = kinds.restore(kinds.RUN, state)
        if keeps_place and own["workers"] is not None:
            stream.workers.load_state_dict(own["workers"])
        if keeps_place:
            stream.load_state_dict(own["stream"])
        if own["rng"] is not None:
            set_rng_state(own["rng"])
        restore_buffers(buffered(self._run), own["buffers"] or {})
        return state["validation_pending"]

    def _say_what_a_loop_must_do(self, state: dict[str, Any]) -> None:
        run = self._run
        inside = state["batch_idx"] > 0 and run.by_epoch
        if inside or not run.training.clocked:
            kind = type(run.train_loop).__name__
            run.logger.warning(
                f"{kind} goes through the data itself: it goes on with epoch {run.epoch} and iter {run.iter}, its "
                "batches begin where it takes them, as in MMEngine, and a validation that followed the file is left "
                f"out → what {kind} keeps elsewhere it can save in a state_dict() and take up in a load_state_dict()"
            )

    def load_or_resume(self) -> None:
        """Load what ``load_from`` and ``resume`` ask for, once; what the Trainer itself restores is left to it."""
        run = self._run
        if self.has_loaded:
            return
        if self.resuming and run.stage == "fit":
            if self._restoring is not None:
                run.runner.resume(self._restoring, **self.choice.arguments())
        elif run.stage is not None and self._restoring is not None:
            return
        elif not self.resuming:
            if self.load_from:
                run.runner.load_checkpoint(self.load_from)
        elif (path := self.path_to_resume()) is not None:
            if run.stage is None:
                run.runner.resume(path, **self.choice.arguments())
            else:  # nothing is trained: the weights, and what hooks such as EMAHook keep of a run
                self.load_weights(path, "cpu", False, [_DDP_PREFIX], resuming=True)
                self._to_continue = path

    def leave_to_trainer(self, path: str | None) -> None:
        """Take note of the file that the Trainer restores in its next verb: its own ``ckpt_path`` is set later."""
        self._restoring = path

    @property
    def _trainer_restores(self) -> bool:
        """Return whether a fit is being prepared that continues a run: the Trainer reads the file when all is built."""
        return self._run.stage == "fit" and self.resuming

    def resume(self, filename: str, map_location: Any, choice: Choice) -> None:
        """Load the weights of a checkpoint now; the next fit continues its run. Within a fit, the Trainer restores it.

        MMEngine's ``resume`` calls ``load_checkpoint``, so an override of that is called too.
        """
        run, self.choice = self._run, choice
        if run.teller is not None and run.stage == "fit":
            self._resume_within(filename, map_location)
            return
        if self._trainer_restores:
            # Reading a large file twice is not worth the call of our own method.
            if run.runner.overrides("load_checkpoint"):
                run.runner.load_checkpoint(filename, map_location=map_location)
            return
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
        load_checkpoint_to_model(run.model, checkpoint)
        self.resuming, self.load_from, self.has_loaded = True, str(filename), False
        self._to_continue = None
        run.logger.info(f"the run of {filename} will be continued")

    def _resume_within(self, filename: str, map_location: Any) -> None:
        """Go to where a checkpoint was written, in the midst of a training that a loop drives."""
        run = self._run
        checkpoint = files.from_mmengine(
            CheckpointLoader.load_checkpoint(filename, map_location=map_location), resume=False
        )
        check(checkpoint, str(filename))
        with naming(str(filename)):
            # `runner._resume` stays as the run was started, as in MMEngine 0.10.7, whose EMAHook reads it.
            run.runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            files.require_resumable(checkpoint, str(filename))
            load_checkpoint_to_model(run.model, checkpoint)
            self.has_loaded = True
            self._go_to_its_place(checkpoint, Resumption(checkpoint, self.choice))
            self.fit_optimizers(checkpoint, wrappers_of(run.optim_wrapper))
        self.restore_optimizer()
        # As in MMEngine, random numbers and data go on as they are.
        self._resumed = None

    def load_weights(
        self,
        filename: str,
        map_location: MapLocation,
        strict: bool,
        revise_keys: list[tuple[str, str]],
        resuming: bool = False,
    ) -> dict[str, Any]:
        """Load weights only; see :meth:`mm2pl.run.facade.RunnerFacade.load_checkpoint`."""
        run = self._run
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=map_location)
        if self._trainer_restores:
            return checkpoint
        self.resuming, self._to_continue = resuming, None
        with naming(str(filename)):
            run.runner.call_hook("after_load_checkpoint", checkpoint=checkpoint)
            load_checkpoint_to_model(run.model, checkpoint, strict, revise_keys=revise_keys)
        self.has_loaded = True
        run.logger.info(f"Load checkpoint from {filename}")
        return checkpoint
