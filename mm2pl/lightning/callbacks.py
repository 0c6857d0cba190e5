"""A run as a callback that a Trainer is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lightning.pytorch.callbacks import Checkpoint

from mm2pl.errors import ArgumentError
from mm2pl.lightning.by_hand import ByHand
from mm2pl.lightning.datamodule import batches_stay_raw, leave_transfer_to_datamodule
from mm2pl.lightning.loggers import connect_loggers
from mm2pl.lightning.settings import Settings, SettingsList
from mm2pl.plan.length import length_of_run
from mm2pl.plan.translate import Plan, whole_config
from mm2pl.run.facade import RunnerFacade
from mm2pl.run.log_processor import LogProcessor
from mm2pl.run.other_package import refuse_other_package
from mm2pl.run.run import Run
from mm2pl.visualization import Visualizer

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer

    from mm2pl.lightning.datamodule import MMDataModule
    from mm2pl.lightning.module import MMLightningModule


class RunCallback(Checkpoint):
    """What a config says of a run, for a Trainer; and Lightning's view of the run's checkpoints.

    A Runner makes its Trainer with one. In a Trainer of the user's own it makes the run when the Trainer starts, from
    its arguments, the module and the data module; the Trainer's own ``max_epochs`` holds. What happens in the run's
    stages is done by the module's :class:`~mm2pl.lightning.run_driver.RunDriver`. This callback is a ``Checkpoint``:
    it answers for the run's ``CheckpointHook`` (``trainer.checkpoint_callback.best_model_path``).

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
            start where there is none, a dict chooses parts; see :func:`mm2pl.plan.resume.resume_of`.
        launcher: ``none``, ``pytorch``, ``slurm`` or ``mpi``.
        experiment_name: Name of the run; the config's file name if missing.
        options: The remaining keys that change the run (``compile``, ``sync_bn``, ``activation_checkpointing``, …).
        variables: The config's own helper variables, for hooks that read ``runner.cfg``.
        filename: The config file.
    """

    def __init__(
        self,
        work_dir: str,
        train_cfg: Settings | None = None,
        val_cfg: Settings | None = None,
        test_cfg: Settings | None = None,
        default_hooks: Settings | None = None,
        custom_hooks: SettingsList | None = None,
        env_cfg: Settings | None = None,
        randomness: Settings | None = None,
        log_processor: Settings | LogProcessor | None = None,
        log_level: str | int = "INFO",
        visualizer: Settings | Visualizer | None = None,
        default_scope: str | None = "mmengine",
        custom_imports: Settings | None = None,
        load_from: str | None = None,
        resume: bool | str | dict[str, Any] = False,
        launcher: str = "none",
        experiment_name: str | None = None,
        options: Settings | None = None,
        variables: Settings | None = None,
        filename: str | None = None,
    ) -> None:
        self.settings = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.run: Run | None = None

    # Making and joining a run

    def attach(
        self, run: Run, trainer: Trainer, module: MMLightningModule, datamodule: MMDataModule
    ) -> None:
        """Bind a run to the Trainer that this callback is in: hooks, loggers, validation, log and dumped config."""
        self.run = run
        run.attach(trainer, module, datamodule, ByHand(run))
        raw = not module.follows_lightning and batches_stay_raw(
            module, datamodule.lightning_datamodule
        )
        driver = module.follow(run, raw, self)
        # Only a data module of ours asks the module; another leaves the transfer to it.
        if not module.follows_lightning and datamodule is datamodule.lightning_datamodule:
            leave_transfer_to_datamodule(module)
        connect_loggers(trainer, run.visualizer, run.timestamp)
        if run.loops["val"] is not None:
            driver.claim_validation(trainer)
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

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """See that there is a run: an MMLightningModule's driver comes first and has begun it.

        Raises:
            TypeError: In a Trainer of the user's own, whose module is not mm2pl's.
        """
        if self.run is None or self.run.module.lightning_module is not pl_module:
            refuse_other_package(trainer, pl_module)
            raise _no_parts(pl_module, trainer.datamodule)  # type: ignore[attr-defined]

    def begin_run(self, trainer: Trainer, module: MMLightningModule) -> None:
        """Make the run of a Trainer that its user has made.

        Raises:
            TypeError: If the data module is not mm2pl's.
        """
        datamodule = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(datamodule, "use_loader"):
            raise _no_parts(module, datamodule)
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

    # Checkpoint: answer for the run's CheckpointHook

    @property
    def checkpoint_hook(self) -> Any:
        """The run's ``CheckpointHook``, if it has one."""
        hooks = self.run.hooks if self.run is not None else []
        return next((hook for hook in hooks if isinstance(hook, Checkpoint)), None)

    @property
    def best_model_path(self) -> str:
        """The best checkpoint so far, or ``""``."""
        return getattr(self.checkpoint_hook, "best_model_path", "")

    @best_model_path.setter
    def best_model_path(self, path: str) -> None:  # a launcher of forked processes hands it back
        if self.checkpoint_hook is not None:
            self.checkpoint_hook.best_model_path = path

    @property
    def best_model_score(self) -> Any:
        """The metric of the best checkpoint so far."""
        return getattr(self.checkpoint_hook, "best_model_score", None)

    @property
    def last_model_path(self) -> str:
        """The newest periodic checkpoint, or ``""``."""
        return getattr(self.checkpoint_hook, "last_model_path", "")


def _no_parts(module: object, datamodule: object) -> ArgumentError:
    return ArgumentError(
        f"RunCallback with {type(module).__name__} and {type(datamodule).__name__} → a run needs an "
        "MMLightningModule and an MMDataModule; for other modules, give hooks as callbacks: "
        "Trainer(callbacks=[hook])"
    )
