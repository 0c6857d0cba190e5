"""The one callback that carries a run through Lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.checkpoint.progress import loops_state
from mm2pl.hooks.stages import LightningStages
from mm2pl.lightning.datamodule import batches_stay_raw, leave_transfer_to_datamodule
from mm2pl.lightning.epoch_loop import NEVER
from mm2pl.lightning.loggers import connect_loggers
from mm2pl.plan.length import length_of_run
from mm2pl.plan.translate import Plan, whole_config
from mm2pl.run.clock import Event
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.points import named
from mm2pl.run.run import Run

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer
    from lightning.pytorch.utilities.types import STEP_OUTPUT

    from mm2pl.lightning.datamodule import MMDataModule
    from mm2pl.lightning.module import MMLightningModule
    from mm2pl.run.loops import TrainLoop


class RunCallback(LightningStages, Checkpoint):
    """Let a Trainer do what a run decides: MMEngine's hooks, loops and validations in MMEngine's order.

    There is one such callback and not one per hook, because Lightning moves every ``Checkpoint`` callback to the end
    of its list: hooks would lose their priorities. As a ``Checkpoint`` it answers for the run's ``CheckpointHook``
    (``trainer.checkpoint_callback.best_model_path``).

    A Runner makes its Trainer with one. In a Trainer of the user's own it makes the run when the Trainer starts, from
    its arguments, the module and the data module; the Trainer's own ``max_epochs`` holds.

    Args: the keys of an MMEngine config that are neither model, data, optimizer nor metric; meaning as there.
        work_dir: Where checkpoints, logs and the dumped config go.
        train_cfg: ``dict(by_epoch=True, max_epochs=…)`` or ``dict(by_epoch=False, max_iters=…)``, with ``val_begin``,
            ``val_interval``, ``dynamic_intervals``.
        val_cfg: ``dict(fp16=…)`` or a custom loop.
        test_cfg: The same for testing.
        default_hooks: Changes to the six default hooks; ``None`` removes one.
        custom_hooks: Further hooks, or Lightning callbacks by dotted name.
        env_cfg: ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit``.
        randomness: ``seed``, ``diff_rank_seed``, ``deterministic``.
        log_processor: Text and scalars of the log.
        log_level: Level of the log.
        visualizer: Where scalars and pictures go.
        default_scope: The registry scope in which type names are looked up first.
        custom_imports: Modules to import before anything is built.
        load_from: Weights to start from, or with ``resume`` the checkpoint to resume.
        resume: Continue the run in ``work_dir`` if there is one, or the one of ``load_from``; ``"must"`` refuses to
            start where there is none.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        experiment_name: Name of the run; the config's file name if missing.
        options: The remaining keys that change the run (``compile``, ``sync_bn``, ``activation_checkpointing``, …).
        variables: The config's own helper variables, for hooks that read ``runner.cfg``.
        filename: The config file.
    """

    def __init__(
        self,
        work_dir: str,
        train_cfg: dict[str, Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
        env_cfg: dict[str, Any] | None = None,
        randomness: dict[str, Any] | None = None,
        log_processor: Any = None,
        log_level: str | int = "INFO",
        visualizer: Any = None,
        default_scope: str | None = "mmengine",
        custom_imports: dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool | str = False,
        launcher: str = "none",
        experiment_name: str | None = None,
        options: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
        filename: str | None = None,
    ) -> None:
        self.settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.run: Run | None = None
        self._owns_validation = True
        self._started = False

    @property
    def _run(self) -> Run:
        assert self.run is not None
        return self.run

    # Making and joining a run

    def attach(
        self, run: Run, trainer: Trainer, module: MMLightningModule, datamodule: MMDataModule
    ) -> None:
        """Bind a run to the Trainer that this callback is in: hooks, loggers, validation, log and dumped config."""
        self.run = run
        run.attach(trainer, module, datamodule)
        module.follow(run, batches_stay_raw(module, datamodule))
        leave_transfer_to_datamodule(module)
        connect_loggers(trainer, run.visualizer, run.timestamp)
        if run.loops["val"] is not None:
            self.claim_validation(trainer)
        runner, settings = run.runner, run.plan.run
        runner.register_hooks(settings.get("default_hooks"), settings.get("custom_hooks"))
        callbacks: list[Any] = trainer.callbacks  # type: ignore[attr-defined]
        for callback in callbacks:
            if hasattr(callback, "driven"):
                # A hook that was given as a callback: it runs in MMEngine's order all the same.
                callback.leave_to_run()
                runner.register_hook(callback)
        callbacks.extend(run.callbacks)
        if trainer.global_rank == 0:
            hooks = runner.get_hooks_info()
            run.logger.info(f"Hooks will be executed in the following order:\n{hooks}")
            runner.dump_config()

    def _own_run(self, trainer: Trainer, module: Any) -> None:
        """Make the run of a Trainer that its user has made."""
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        for part, needs in ((module, "follow"), (datamodule, "use_loader")):
            if not hasattr(part, needs):
                raise TypeError(
                    f"RunCallback with {type(module).__name__} and {type(datamodule).__name__} → a run needs an "
                    "MMLightningModule and an MMDataModule; for other modules, give hooks as callbacks: "
                    "Trainer(callbacks=[hook])"
                )
        data = {f"{stage}_dataloader": loader for stage, loader in datamodule.configs.items()}
        evaluators = {f"{stage}_evaluator": given for stage, given in module.evaluators.items()}
        plan = Plan(
            trainer=length_of_run(self.settings["train_cfg"]),
            model={**module.hparams, **evaluators},
            data=data,
            run=self.settings,
        )
        run = Run(plan, whole_config(self.settings, module.hparams, data))
        # It makes itself `run.runner`. A Runner would make a Trainer and a module, which are here already.
        RunnerFacade(run)
        run.open()
        self.attach(run, trainer, module, datamodule)

    # LightningStages

    def reach(self, trainer: Trainer, point: str, *args: Any) -> None:
        """Call the hooks of the run through its runner, whose ``call_hook`` a subclass may override."""
        self._run.runner.call_hook(point, **named(point, args))

    def is_idle(self) -> bool:
        """Return False: there is always a run to be told."""
        return False

    # What Lightning is told; nothing else writes to a Trainer.

    def claim_validation(self, trainer: Trainer) -> None:
        """Decide when to validate from now on, unless the Trainer's own flags say when.

        It must be known before other callbacks' ``setup``. Else ``EarlyStopping`` would look at its metric at the ends
        of epochs, and a run by iterations has only one.
        """
        # 1 and 1.0 are Lightning's defaults, and NEVER is what this callback has left in an earlier stage.
        given = trainer.check_val_every_n_epoch not in (1, NEVER) or trainer.val_check_interval != 1
        self._owns_validation = not given
        self._let_validate(trainer, False)

    def _let_validate(self, trainer: Trainer, now: bool) -> None:
        """Switch Lightning's validation on for this moment, or off. It asks after every batch."""
        if self._owns_validation:
            trainer.check_val_every_n_epoch = 1 if now else NEVER
            # Lightning 2.6 validates after the batches that this number divides: from here on, after any.
            trainer.val_check_batch = 1

    def _agree_on_length(self, trainer: Trainer, loop: TrainLoop) -> None:
        """Give Trainer and loop the same length: the Trainer's where its user has set it, else the loop's."""
        told = self._run.length_told
        if loop.by_epoch:
            # -1 is Lightning's "no end", also where its user has set `max_steps` alone; schedules need the loop's.
            if trainer.max_epochs not in (None, -1, told.get("max_epochs")):
                loop.end_after(trainer.max_epochs)
            # `Trainer.max_epochs` cannot be assigned: it reads this attribute of the loop.
            trainer.fit_loop.max_epochs = loop.max_epochs
            self._run.note_length(max_epochs=loop.max_epochs)
        else:
            # The loop has applied the user's limit; a fraction would be taken of that length once more.
            trainer.limit_train_batches = loop.max_iters
            self._run.note_length(limit_train_batches=loop.max_iters)
        # Monitors write where the log has a line; Lightning would warn of an interval beyond the epoch.
        interval = min(trainer.log_every_n_steps, loop.epoch_length)  # type: ignore[attr-defined]
        trainer.log_every_n_steps = interval  # type: ignore[attr-defined]

    # Setup

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build what the stage needs, in MMEngine's order, before Lightning restores a checkpoint.

        Raises:
            TypeError: In a Trainer of the user's own, whose module or data module are not mm2pl's.
        """
        known = self.run
        if known is None or known.trainer is not trainer or known.module is not pl_module:
            self._own_run(trainer, pl_module)  # another module, or another Trainer, is another run
        run = self._run
        run.enter(stage)
        self._started = False
        if stage == "fit":
            self.claim_validation(trainer)
            self._agree_on_length(trainer, run.loop_of("train"))
        run.prepare(stage)
        if stage == "fit":
            self._agree_on_place(trainer, run.train_loop)

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
        if stage == "fit" and not self._started:
            # Lightning enters no loop where nothing is left to train; MMEngine's loop calls what stands around it.
            run.training.begin()
            self._pass_over(run)
            self.reach(trainer, "after_train")
        run.leave()

    def _pass_over(self, run: Run) -> None:
        """Open and close the one epoch of a run by iterations that trains nothing."""
        if not run.train_loop.by_epoch:
            run.training.begin_epoch()
            run.training.close_epoch()

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say where a run stands that was stopped by Ctrl-C or SIGTERM, and how it goes on."""
        if self.run is None:
            return
        if isinstance(exception, KeyboardInterrupt | SIGTERMException) and self.run.stage == "fit":
            self.run.continuing.log_interruption()
        self.run.break_off()

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start, or continue where the checkpoint was written."""
        run, training = self._run, self._run.training
        self._started = True
        training.begin()
        if training.epoch_open:  # resumed from a file written in the last iteration of an epoch
            training.close_epoch()
        loop = run.train_loop
        finished = loop.by_epoch and loop.epoch >= loop.max_epochs
        if trainer.fit_loop.restarted_mid_epoch and not finished:
            training.begin_epoch()
        if run.continuing.restore_exact_state():
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
        self._run.training.begin_epoch()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Call the hooks before a batch."""
        self._run.training.begin_batch(batch_idx, batch)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: STEP_OUTPUT,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Call the hooks after a batch, and do what follows it: Lightning closes its own epoch by itself."""
        outputs = self.train_outputs(pl_module, outputs)
        events = self._run.training.end_batch(batch_idx, batch, outputs)
        if events or trainer.check_val_every_n_epoch != NEVER:
            self._let_validate(trainer, Event.VALIDATE in events)
            # Lightning leaves an epoch at once when it sees `should_stop`; MMEngine's epoch loop reads
            # `stop_training` only between epochs, so there the end of the epoch sets it.
            if Event.STOP in events and not self._run.train_loop.by_epoch:
                trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End the one epoch of a run by iterations; end a run by epochs where its loop says so."""
        run, loop = self._run, self._run.train_loop
        if not loop.by_epoch:
            run.training.close_epoch()
        if loop.stop_training:
            trainer.should_stop = True
        if loop.by_epoch:
            # Hooks may have changed it; a Trainer without an end of its own asks its callbacks.
            trainer.fit_loop.max_epochs = loop.max_epochs
            run.note_length(max_epochs=loop.max_epochs)

    # Validation

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report the metrics to the hooks and go back to training."""
        super().on_validation_end(trainer, pl_module)
        if trainer.state.fn == "fit":
            self._let_validate(trainer, False)
            if self._run.training.end_validation():
                trainer.should_stop = True

    # Files: the module hands them on, since it knows the order of the two worlds' hooks.

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to the module."""

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Leave the file to the module, which sees it before the weights are loaded."""

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
        """Hand each hook its state; a hook that is new in this run has none."""
        for name, hook in self._stateful_hooks().items():
            if name in state_dict:
                hook.load_state_dict(state_dict[name])

    # Checkpoint: answer for the run's CheckpointHook

    @property
    def checkpoint_hook(self) -> Any:
        """The run's ``CheckpointHook``, if it has one."""
        return next((hook for hook in self._hooks if isinstance(hook, Checkpoint)), None)

    @property
    def best_model_path(self) -> str:
        """The best checkpoint so far, or ``""``."""
        return getattr(self.checkpoint_hook, "best_model_path", "")

    @property
    def best_model_score(self) -> Any:
        """The metric of the best checkpoint so far."""
        return getattr(self.checkpoint_hook, "best_model_score", None)

    @property
    def last_model_path(self) -> str:
        """The newest periodic checkpoint, or ``""``."""
        return getattr(self.checkpoint_hook, "last_model_path", "")
