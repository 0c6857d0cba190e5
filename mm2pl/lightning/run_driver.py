"""The callback that carries a run through Lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.checkpoint.alike import require_own_kind
from mm2pl.checkpoint.progress import loops_state
from mm2pl.checkpoint.reader import CheckpointError, naming
from mm2pl.errors import ArgumentError
from mm2pl.hooks.early_stopping_hook import EarlyStoppingHook
from mm2pl.hooks.stages import tell_all_written
from mm2pl.lightning.driven_loops import stand_in
from mm2pl.lightning.driver import ModuleDriver
from mm2pl.lightning.epoch_loop import NEVER
from mm2pl.lightning.listening import overrides
from mm2pl.lightning.optimization import batches_of_max_steps, refuse_batch_size_finder
from mm2pl.lightning.parameters import KnownParameters
from mm2pl.lightning.private import take_loaders_again
from mm2pl.lightning.schedules import are_replaced
from mm2pl.run.base_loop import drives
from mm2pl.run.clock import Event
from mm2pl.run.collation import unstacked

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

    from mm2pl.lightning.callbacks import RunCallback
    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.loops import TrainLoop
    from mm2pl.run.run import Run


UNKNOWN_END = 10**9
"""Iterations of a run that ``max_steps`` ends, where no one knows before how many batches that takes."""

_KNOWN = [EarlyStoppingHook.state_dict]


class RunDriver(ModuleDriver):
    """Let a Trainer do what a run decides: MMEngine's hooks, loops and validations in MMEngine's order.

    There is one such callback and not one per hook: Lightning would sort them, and hooks would lose their priorities.

    Args:
        module: The module of the run.
        run: The run; ``None`` in a Trainer of the user's own, where ``starter`` makes it when the Trainer starts.
        starter: Who makes the run, and answers for its checkpoints.
    """

    flags_win = exact = hooks_log = True

    def __init__(
        self, module: MMLightningModule, run: Run | None, starter: RunCallback | None = None
    ) -> None:
        super().__init__(module)
        self.run = run
        self.starter = starter
        self._owns_validation = True
        self._called_by_loop: tuple[str, ...] = ()
        self.started = False

    @property
    def _run(self) -> Run:
        assert self.run is not None
        return self.run

    def take(self, run: Run, starter: RunCallback) -> None:
        """Carry this run from now on; another one may have been carried before, in another Trainer."""
        self.run, self.starter = run, starter

    # What the stages of the base class ask for

    def reach(self, trainer: Trainer, point: str, **arguments: Any) -> None:
        """Call the hooks of the run through its runner, whose ``call_hook`` a subclass may override."""
        run = self._run
        if point not in self._called_by_loop:
            run.runner.call_hook(point, **arguments)
        run.presence.beat()

    def is_idle(self) -> bool:
        """Return False: there is always a run to be told."""
        return False

    def refuse_callbacks(self) -> None:
        """Refuse the batch size finder: a run's loader and schedules are those of its config."""
        refuse_batch_size_finder(self.trainer)

    def train(self, batch: object, batch_idx: int) -> Any:
        """Run one iteration: the model's ``train_step``, or a custom loop's ``run_iter``, which returns nothing."""
        run = self._run
        loop = run.train_loop
        try:
            if not run.training.loop_steps:
                return super().train(batch, batch_idx)
            # MMEngine 0.10.7's two loops differ: only `run_iter` of the one by epochs takes the index.
            return loop.run_iter(batch_idx, batch) if loop.by_epoch else loop.run_iter(batch)
        except (TypeError, AttributeError) as error:
            if (plainer := unstacked(error, "train", loop.dataloader, batch)) is not None:
                raise plainer from error
            raise

    def build_anew(self) -> None:
        """Build the optimizer and the schedules of the run again."""
        with self.parameters_may_follow():
            self._run.build_optimizer_anew()

    def fit_optimizers(self, checkpoint: dict[str, Any]) -> None:
        """Leave in a checkpoint what the optimizers of the run can take."""
        self._run.continuing.fit_optimizers(checkpoint, self.trained())

    def take_optimizer(self, state: Any) -> None:
        """Forget what has been read for the optimizer, since somebody sets its learning rate now."""
        self._run.continuing.leave_optimizer()

    # What Lightning is told of validations and of the length of the run

    def claim_validation(self, trainer: Trainer) -> None:
        """Decide when to validate from now on, unless the Trainer's own flags say when.

        It must be known before other callbacks' ``setup``. Else ``EarlyStopping`` would look at its metric at the ends
        of epochs, and a run by iterations has only one.
        """
        # 1 and 1.0 are Lightning's defaults, and NEVER is what this callback has left in an earlier stage.
        # A Trainer that validates by time has no `val_check_interval`.
        interval = getattr(trainer, "val_check_interval", None)
        given = trainer.check_val_every_n_epoch not in (1, NEVER) or interval != 1
        self._owns_validation = not given
        self._let_validate(trainer, False)

    def _let_validate(self, trainer: Trainer, now: bool) -> None:
        """Switch Lightning's validation on for this moment, or off. It asks after every batch."""
        if self._owns_validation:
            trainer.check_val_every_n_epoch = 1 if now else NEVER
            # Lightning 2.6 validates after the batches that this number divides: from here on, after any.
            trainer.val_check_batch = 1

    def _agree_on_length(self, trainer: Trainer, loop: TrainLoop) -> None:
        """Give Trainer and loop the same length: the Trainer's where its user has set it, else the loop's.

        Raises:
            ValueError: A flag of the Trainer leaves nothing to train; no schedule could be made for that.
        """
        told = self._run.length_told
        if drives(loop) and not hasattr(loop, "end_after"):
            return  # not a subclass of the loops that count
        loop.measure()
        loop.most_iters = batches_of_max_steps(trainer, self.module, loop)
        # -1 is Lightning's "no end", also where its user has set `max_steps` alone: the steps are the length then.
        if trainer.max_epochs == -1 and trainer.max_steps >= 0:
            loop.end_after_iters(min(loop.most_iters, UNKNOWN_END))
        if loop.by_epoch:
            # Schedules need an end, so -1 alone is the loop's.
            if trainer.max_epochs not in (None, -1, told.get("max_epochs")):
                loop.end_after(trainer.max_epochs)
            # `Trainer.max_epochs` cannot be assigned: it reads this attribute of the loop.
            trainer.fit_loop.max_epochs = loop.max_epochs
            self._run.note_length(max_epochs=loop.max_epochs)
        # A loader without any batch has a message of its own, so the flag must have been given.
        limited = trainer.limit_train_batches not in (1.0, told.get("limit_train_batches"))
        leaves_nothing = {
            "max_steps": trainer.max_steps == 0,
            "max_epochs": trainer.max_epochs == 0,
            "limit_train_batches": limited and loop.max_iters < 1,
        }
        flag = next((each for each, holds in leaves_nothing.items() if holds), None)
        if flag is not None:
            raise ArgumentError(
                f"Trainer({flag}={getattr(trainer, flag)!r}) → a run with nothing to train → at least one batch; "
                "mm2pl test evaluates without training"
            )
        if not loop.by_epoch:
            # The loop has applied the user's limit; a fraction would be taken of that length once more.
            trainer.limit_train_batches = loop.max_iters
            self._run.note_length(limit_train_batches=loop.max_iters)
        self._log_within_epoch(trainer, loop)

    def _log_within_epoch(self, trainer: Trainer, loop: TrainLoop) -> None:
        """Let monitors write where the log has a line; Lightning would warn of an interval beyond the epoch."""
        interval = min(trainer.log_every_n_steps, loop.epoch_length)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]

    # Setup

    def begin(self, trainer: Trainer, stage: str) -> None:
        """Build what the stage needs, in MMEngine's order, before Lightning restores a checkpoint.

        Raises:
            TypeError: In a Trainer of the user's own, whose module or data module are not mm2pl's.
        """
        assert self.starter is not None
        if self.run is None or self.run.trainer is not trainer:
            self.starter.begin_run(trainer, self.module)  # another Trainer is another run
        self._batch = None
        self.step_back(trainer)
        run = self._run
        run.enter(stage)
        self._collect_data(trainer, stage)
        self.started = False
        if stage == "fit":
            run.presence.begin()
            self.claim_validation(trainer)
            self._agree_on_length(trainer, run.loop_of("train"))
        with self.parameters_may_follow():
            run.prepare(stage)
        if self._known is not None:
            # What the model gets until here, from its `init_weights` for instance, MMEngine 0.10.7 does not train.
            self._known = KnownParameters(self.module)
        stand_in(self, trainer, stage)
        # The counters follow a loop that drives.
        if stage == "fit" and not drives(run.train_loop):
            self._agree_on_place(trainer, run.train_loop)

    def _collect_data(self, trainer: Trainer, stage: str) -> None:
        """Take the loaders of a data module that has them only now, behind its ``setup``."""
        collect = getattr(self._run.datamodule, "collect", None)
        if collect is not None:
            validates = ["val"] if self._run.loops["val"] is not None else []
            stages = {"fit": ["train", *validates], "validate": ["val"], "test": ["test"]}
            collect(trainer, stages.get(stage, []), self._run.take_loader)

    def _agree_on_place(self, trainer: Trainer, loop: TrainLoop) -> None:
        """Begin where the loop stands, if a program has moved its counters: MMEngine's loops go on from there."""
        fit = trainer.fit_loop
        batches: Any = fit.epoch_loop.batch_progress.total
        epochs: Any = fit.epoch_progress.current
        moved = loop.iter != batches.processed
        if loop.by_epoch:
            moved = moved or loop.epoch != epochs.processed
        if moved:
            state = loops_state(
                epoch=loop.epoch if loop.by_epoch else 0,
                iter=loop.iter,
                batch_idx=0 if loop.by_epoch else loop.iter,
                epoch_length=loop.epoch_length,
            )
            fit.load_state_dict(state["fit_loop"])

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the stage."""
        run = self._run
        if stage == "fit" and not self.started:
            # Lightning enters no loop where nothing is left to train; MMEngine's loop calls what stands around it.
            run.training.begin()
            self._pass_over(run)
            self.reach(trainer, "after_train")
        super().teardown(trainer, pl_module, stage)
        tell_all_written(run.hooks, run.runner)
        run.leave()

    def _pass_over(self, run: Run) -> None:
        """Open and close the one epoch of a run by iterations that trains nothing."""
        if not run.train_loop.by_epoch:
            run.training.begin_epoch()
            run.training.close_epoch()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say where a run stands that was stopped by Ctrl-C or SIGTERM, and let the data's workers end."""
        if self.run is None:
            return
        if self.run.others is not None:
            # At once: a launcher that sees one process end soon ends the others.
            self.run.others.is_told(exception)
        try:
            stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
            if stopped and self.run.stage == "fit":
                self.run.continuing.log_interruption()
        finally:
            if self.run.training.stream is not None:
                self.run.training.stream.leave_epoch()
            self.run.leave(exception)

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start, or continue where the checkpoint was written."""
        run, training = self._run, self._run.training
        self.started = True
        place = run.epoch, run.iter
        training.begin()
        # MMEngine's loops look at their counters after `before_train`, which may have moved them.
        if (run.epoch, run.iter) != place:
            self._agree_on_place(trainer, run.train_loop)
            trainer.fit_loop.reset()
        if training.epoch_open:  # resumed from a file written in the last iteration of an epoch
            training.close_epoch()
        loop = run.train_loop
        finished = loop.by_epoch and loop.epoch >= loop.max_epochs
        if trainer.fit_loop.restarted_mid_epoch and not finished:
            self._begin_epoch(trainer)
        with naming(str(trainer.ckpt_path)):
            validates = run.continuing.restore_exact_state()
        if validates:
            self._validate_now(trainer)
        if loop.is_over():
            trainer.should_stop = True
            self._pass_over(run)

    def _validate_now(self, trainer: Trainer) -> None:
        """Make up for the validation that followed the checkpoint; schedules, best files and early stopping need it.

        MMEngine leaves it out.
        """
        val_loop = trainer.fit_loop.epoch_loop.val_loop
        # A restarted loop goes on counting from the batches of the validation in the file.
        val_loop.restarting = False
        # As Lightning's loop does: the stage decides from which loop `self.log` and the data fetcher take their part.
        trainer.validating = True
        val_loop.run()
        trainer.training = True
        if self._run.train_loop.stop_training:
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch; a run by iterations is one epoch of Lightning's."""
        self._batch = None
        self.module.schedules_replaced = are_replaced(trainer, self.module)
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        if self._run.training.begin_epoch():
            self._log_within_epoch(trainer, self._run.train_loop)
            take_loaders_again(trainer.fit_loop)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Call the hooks before a batch."""
        self.open_batch(batch, batch_idx)
        self._run.training.begin_batch(batch_idx, batch)

    def end_batch(self, trainer: Trainer, outputs: Any, batch: Any, batch_idx: int) -> None:
        """Call the hooks after a batch, and do what follows it: Lightning closes its own epoch by itself."""
        run = self._run
        events = run.training.end_batch(batch_idx, batch, outputs)
        run.presence.beat()
        if events or trainer.check_val_every_n_epoch != NEVER:
            self._let_validate(trainer, Event.VALIDATE in events)
            # Lightning leaves an epoch at once when it sees `should_stop`; MMEngine's epoch loop reads
            # `stop_training` only between epochs, so there the end of the epoch sets it.
            if Event.STOP in events and not run.train_loop.by_epoch:
                trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the one epoch of a run by iterations; end a run by epochs where its loop says so."""
        run, loop = self._run, self._run.train_loop
        if not loop.by_epoch:
            run.training.close_epoch()
        if loop.stop_training:
            trainer.should_stop = True
        if loop.by_epoch:
            # The loop decides when the run ends, and hooks may have moved its counter.
            epochs: Any = trainer.fit_loop.epoch_progress.current
            if epochs.processed != loop.epoch:
                epochs.ready = epochs.started = epochs.processed = loop.epoch
                epochs.completed = loop.epoch - 1  # which Lightning counts behind this callback
            # Hooks may have changed it; a Trainer without an end of its own asks its callbacks.
            trainer.fit_loop.max_epochs = loop.max_epochs
            run.note_length(max_epochs=loop.max_epochs)

    # Validation

    def open_evaluation(self, stage: str) -> None:
        """Evaluate with the run's present loop, also if a hook assigns another one later.

        The hooks of a batch are left to a custom loop's ``run_iter``, which calls them as MMEngine's does.
        """
        self._run.use_loop(stage)
        loop = self.loops.get(stage)
        own = loop is not None and loop.overrides_run_iter
        self._called_by_loop = (f"before_{stage}_iter", f"after_{stage}_iter") if own else ()

    def _take_loader(self, stage: str, loop: Any) -> None:
        if self._run.use_loader(stage):
            take_loaders_again(loop)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note in a training where its validation begins."""
        if trainer.state.fn == "fit":
            self._run.training.begin_validation()
        super().on_validation_start(trainer, pl_module)

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the hooks, which find the model in the mode it was left in, then its ``eval()``, as MMEngine does.

        Then the loader counts that the loop has: they may have given it another.
        """
        super().on_validation_epoch_start(trainer, pl_module)
        fits = trainer.state.fn == "fit"
        self._take_loader(
            "val", trainer.fit_loop.epoch_loop.val_loop if fits else trainer.validate_loop
        )
        self._eval_mode()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call the hooks, then the model's ``eval()``, and take the loader that the loop has then."""
        super().on_test_epoch_start(trainer, pl_module)
        self._take_loader("test", trainer.test_loop)
        self._eval_mode()

    def _eval_mode(self) -> None:
        if self.has_mmengines_modes():
            self._run.model.eval()

    def has_mmengines_modes(self) -> bool:
        """Return whether the evaluation leaves the model in eval mode, until the next epoch calls its ``train()``.

        Lightning puts a module back into its modes. That stays so within an epoch, where only a flag of the Trainer's
        validates, and where the module has its own hook for the modes.
        """
        trainer, run = self.trainer, self._run
        if run.module.follows_lightning or trainer.sanity_checking:
            return False
        if trainer.state.fn == "fit" and run.by_epoch and run.training.epoch_open:
            return False
        name = "test" if trainer.testing else "validation"
        hooks = (f"on_{name}_model_eval", f"on_{name}_model_train")
        return not any(overrides(self.module, hook, LightningModule) for hook in hooks)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics to the hooks and go back to training."""
        if trainer.state.fn == "fit":
            self._run.training.judge_validation()
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit":
            self.go_on_training()

    def go_on_training(self) -> None:
        """Go back to training after a validation, unless the run ends with it."""
        self._let_validate(self.trainer, False)
        if self._run.training.end_validation():
            self.trainer.should_stop = True

    # The hooks' own state, such as what EarlyStoppingHook has counted; MMEngine loses it

    @property
    def _hooks(self) -> list[Any]:
        return self.run.hooks if self.run is not None else []

    def _stateful_hooks(self) -> dict[str, Any]:
        return {
            f"{index}.{type(hook).__name__}": hook
            for index, hook in enumerate(self._hooks)
            if hasattr(hook, "state_dict") and hasattr(hook, "load_state_dict")
        }

    def state_dict(self) -> dict[str, Any]:
        """Return the state of each hook that has one."""
        states = {name: hook.state_dict() for name, hook in self._stateful_hooks().items()}
        return {name: state for name, state in states.items() if state}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Hand each hook its state; a hook that is new in this run has none.

        Raises:
            CheckpointError: It is of another kind, or a hook cannot read it.
        """
        with naming(str(self.trainer.ckpt_path)):
            for name, hook in self._stateful_hooks().items():
                if name in state_dict:
                    place = f"callbacks.RunDriver.{name}"
                    require_own_kind(hook, _KNOWN, state_dict[name], place)
                    try:
                        hook.load_state_dict(state_dict[name])
                    except (LookupError, TypeError, ValueError, AttributeError) as error:
                        raise CheckpointError(
                            f"{place} is not the state of a {type(hook).__name__} "
                            f"({type(error).__name__}: {error}) → take an undamaged file"
                        ) from error
