"""The one callback that carries a config-driven run through Lightning's Trainer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mm2pl.hooks.stages import LightningStages, named
from mm2pl.lightning.epoch_loop import NEVER
from mm2pl.run.clock import validates_after

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


class RunCallback(LightningStages, Checkpoint):
    """Drive MMEngine's hooks, loops and validation schedule in MMEngine's order.

    There is one such callback and not one per hook, because Lightning moves every ``Checkpoint`` callback to the end
    of its list: hooks would lose their priorities. As a ``Checkpoint`` it answers for the run's ``CheckpointHook``
    (``trainer.checkpoint_callback.best_model_path``).

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
        resume: Continue the run in ``work_dir``, or the one of ``load_from``.
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
        resume: bool = False,
        launcher: str = "none",
        experiment_name: str | None = None,
        options: dict[str, Any] | None = None,
        variables: dict[str, Any] | None = None,
        filename: str | None = None,
    ) -> None:
        self.settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.runner: Any = None
        self._owns_validation = True

    # LightningStages

    def find_runner(self, trainer: Trainer) -> Any:
        """Return the run."""
        return self.runner

    def _at(self, trainer: Trainer, point: str, *args: Any) -> None:
        runner = self.runner
        for method in runner.methods_of(point):
            method(runner, **named(point, args))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Build what the stage needs, in MMEngine's order, before Lightning restores a checkpoint."""
        if self.runner is None:
            from mm2pl.runner.runner import Runner

            self.runner = Runner.for_trainer(self, trainer, pl_module)
        self._stage_calls = {"run": ()}
        if stage == "fit":
            self._owns_validation = (
                trainer.check_val_every_n_epoch in (1, NEVER) and trainer.val_check_interval == 1.0
            )
            self._schedule_validation(trainer, now=False)
        self.runner.prepare(stage)

    def take_validation(self, trainer: Trainer) -> None:
        """Tell Lightning's callbacks, before their ``setup``, that validation does not follow each epoch.

        Else ``EarlyStopping`` would look at its metric at the ends of epochs, of which a run by iterations has one.
        """
        if trainer.check_val_every_n_epoch == 1 and trainer.val_check_interval == 1.0:
            trainer.check_val_every_n_epoch = NEVER

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """End the run."""
        if stage != "predict":
            self._at(trainer, "after_run")

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: Any) -> None:
        """Say where a run stands that was stopped by Ctrl-C or SIGTERM, and how it goes on."""
        stopped = isinstance(exception, KeyboardInterrupt | SIGTERMException)
        if stopped and self.runner is not None and trainer.state.fn == "fit":
            self.runner.log_interruption()

    # Training

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start, or continue where the checkpoint was written."""
        runner = self.runner
        runner.start_training()
        self._at(trainer, "before_train")
        if runner.epoch_open:  # resumed from a file written in the last iteration of an epoch
            self._end_epoch(trainer)
        finished = runner.by_epoch and runner.epoch >= runner.max_epochs
        if trainer.fit_loop.restarted_mid_epoch and not finished:
            self._begin_epoch(trainer)
        if runner.restore_exact_state():
            self._validate_now(trainer)

    def _validate_now(self, trainer: Trainer) -> None:
        """Make up for the validation that followed the checkpoint; schedules, best files and early stopping need it.

        MMEngine leaves it out.
        """
        val_loop = trainer.fit_loop.epoch_loop.val_loop
        val_loop.restarting = False
        trainer.validating = True
        val_loop.run()
        trainer.training = True
        if self.runner.train_loop.stop_training:
            trainer.should_stop = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin an epoch; an iteration-based run is one epoch of Lightning's."""
        self._begin_epoch(trainer)

    def _begin_epoch(self, trainer: Trainer) -> None:
        self.runner.epoch_open = True
        self._at(trainer, "before_train_epoch")
        self.runner.model.train()

    def _end_epoch(self, trainer: Trainer) -> None:
        self._at(trainer, "after_train_epoch")
        loop = self.runner.train_loop
        loop._epoch += 1
        loop._decide_current_val_interval()
        self.runner.epoch_open = False

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call ``before_train_iter``, unless a custom loop's ``run_iter`` does."""
        runner = self.runner
        runner.batch_open = True
        if runner.train_after_validation:
            runner.train_after_validation = False
            runner.model.train()
        if not runner.loop_drives_hooks:
            for method in runner.methods_of("before_train_iter"):
                method(runner, batch_idx=batch_idx, data_batch=batch)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Call ``after_train_iter``, advance the clocks, and decide whether Lightning validates now."""
        runner, loop = self.runner, self.runner.train_loop
        if not runner.loop_drives_hooks:
            outputs = self.train_outputs(pl_module, outputs)
            for method in runner.methods_of("after_train_iter"):
                method(runner, batch_idx=batch_idx, data_batch=batch, outputs=outputs)
            loop._iter += 1
        if runner.by_epoch:
            if batch_idx + 1 >= trainer.num_training_batches:
                runner.stream.finish()
                self._end_epoch(trainer)
                self._schedule_validation(trainer, validates_after(loop.timetable, loop.epoch))
        else:
            loop._decide_current_val_interval()
            self._schedule_validation(trainer, validates_after(loop.timetable, loop.iter))
            if loop.stop_training or loop.iter >= loop.max_iters:
                trainer.should_stop = True
        runner.batch_open = False

    def _schedule_validation(self, trainer: Trainer, now: bool) -> None:
        """Switch Lightning's validation on for this moment, or off. It asks after every batch."""
        if self._owns_validation:
            trainer.check_val_every_n_epoch = 1 if now and self.runner.val_loop else NEVER
            trainer.val_check_batch = 1

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """End the one epoch of an iteration-based run; stop an epoch-based one that a hook has ended."""
        if not self.runner.by_epoch:
            self._at(trainer, "after_train_epoch")
        if self.runner.train_loop.stop_training:
            trainer.should_stop = True

    # Validation

    def on_validation_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Report the metrics to the hooks and go back to training."""
        super().on_validation_end(trainer, pl_module)
        if trainer.training or trainer.state.fn == "fit":
            self._schedule_validation(trainer, now=False)
            loop = self.runner.train_loop
            self.runner.train_after_validation = not self.runner.by_epoch
            if not self.runner.by_epoch and loop.stop_training:
                trainer.should_stop = True

    def on_save_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Leave the file to the module, which knows the order of the two worlds' hooks."""

    def on_load_checkpoint(self, trainer: Trainer, pl_module: Any, checkpoint: Any) -> None:
        """Leave the file to the module, which sees it before the weights are loaded."""

    # The hooks' own state, such as what EarlyStoppingHook has counted; MMEngine loses it

    def _stateful_hooks(self) -> dict[str, Any]:
        hooks = self.runner.hooks if self.runner is not None else []
        return {
            f"{index}.{type(hook).__name__}": hook
            for index, hook in enumerate(hooks)
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
        hooks = self.runner.hooks if self.runner is not None else []
        return next((hook for hook in hooks if isinstance(hook, Checkpoint)), None)

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
