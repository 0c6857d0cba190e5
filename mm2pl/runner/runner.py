"""``Runner``: MMEngine's entry point, as a facade over a Lightning Trainer."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mm2pl.compat import config_for
from mm2pl.config import Config
from mm2pl.dataset import batch_size_of
from mm2pl.hooks import Hook
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.datamodule import MMDataModule, let_datamodule_transfer
from mm2pl.lightning.loggers import connect_loggers
from mm2pl.lightning.module import MMLightningModule
from mm2pl.lightning.trainer import make_trainer
from mm2pl.logging.message_hub import share_with_mmengine
from mm2pl.model import revert_sync_batchnorm
from mm2pl.plan.translate import translate, whole_config
from mm2pl.registry import RUNNERS, DefaultScope
from mm2pl.run.loops import BaseLoop, EpochBasedTrainLoop
from mm2pl.run.stream import TrainStream
from mm2pl.runner.building import RunnerBuilders
from mm2pl.runner.starting import RunnerStart
from mm2pl.utils import import_modules_from_strings

if TYPE_CHECKING:
    from lightning.pytorch import Trainer


@RUNNERS.register_module()
class Runner(RunnerStart, RunnerBuilders):
    """Train, validate and test what an MMEngine config describes.

    Every argument is the config key of that name; see :class:`~mm2pl.lightning.MMLightningModule`,
    :class:`~mm2pl.lightning.MMDataModule` and :class:`~mm2pl.lightning.RunCallback`, which hold them. The Trainer is
    ``runner.trainer``; everything Lightning offers can be reached through it.

    Raises:
        ValueError: If of ``train_dataloader``, ``train_cfg`` and ``optim_wrapper`` (or of the loader, ``cfg`` and
            evaluator of validation or test) only some are given.
    """

    def __init__(
        self,
        model: Any,
        work_dir: str,
        train_dataloader: Any = None,
        val_dataloader: Any = None,
        test_dataloader: Any = None,
        train_cfg: dict[str, Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
        optim_wrapper: Any = None,
        param_scheduler: Any = None,
        val_evaluator: Any = None,
        test_evaluator: Any = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[Any] | None = None,
        data_preprocessor: Any = None,
        load_from: str | None = None,
        resume: bool = False,
        launcher: str = "none",
        env_cfg: dict[str, Any] | None = None,
        log_processor: Any = None,
        log_level: str | int = "INFO",
        visualizer: Any = None,
        default_scope: str | None = "mmengine",
        randomness: dict[str, Any] | None = None,
        experiment_name: str | None = None,
        cfg: Config | dict[str, Any] | None = None,
        trainer: dict[str, Any] | None = None,
    ) -> None:
        given = {
            key: value
            for key, value in locals().items()
            if key not in ("self", "cfg", "trainer", "__class__")
            and (value is not None or key == "default_scope")
        }
        whole = dict(cfg.items()) if cfg is not None else {}
        plan = translate({**whole, **given}, filename=getattr(cfg, "filename", None))
        plan.trainer.update(trainer or {})
        self._open(plan.run, cfg)
        self.module = self._make_module(plan.model)
        self.datamodule = MMDataModule(
            **plan.data, seed=self.seed, diff_rank_seed=self.diff_rank_seed
        )
        callback = RunCallback(**plan.run)
        callback.runner = self
        self._adopt(make_trainer(plan.trainer, callback))

    @classmethod
    def from_cfg(cls, cfg: Config | dict[str, Any]) -> Runner:
        """Make a runner from a whole config.

        Raises:
            KeyError: If ``model`` or ``work_dir`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        for key in ("model", "work_dir"):
            if key not in cfg:
                raise KeyError(
                    f"the config has no {key!r} → Runner.from_cfg needs 'model' and 'work_dir'"
                )
        names = cls.__init__.__code__.co_varnames[1 : cls.__init__.__code__.co_argcount]
        given = {
            name: cfg[name] for name in names if name in cfg and name not in ("cfg", "trainer")
        }
        return cls(**given, cfg=cfg)

    @classmethod
    def for_trainer(cls, callback: RunCallback, trainer: Trainer, module: Any) -> Runner:
        """Make the runner of a Trainer that LightningCLI (or a user) has built around a :class:`RunCallback`."""
        runner = cls.__new__(cls)
        data = getattr(getattr(trainer, "datamodule", None), "configs", {})
        loaders = {f"{stage}_dataloader": config for stage, config in data.items()}
        runner._open(callback.settings, whole_config(callback.settings, module.hparams, loaders))
        runner.module = module
        runner.datamodule = trainer.datamodule  # type: ignore[attr-defined]
        runner._adopt(trainer)
        return runner

    def _open(self, settings: dict[str, Any], cfg: Any) -> None:
        """Set up the process and the services, before anything is built that could draw a random number."""
        super().__init__()
        self.settings = settings
        self.cfg = cfg if isinstance(cfg, Config) else Config(dict(cfg or {}))
        if settings.get("custom_imports"):
            import_modules_from_strings(**settings["custom_imports"])
        self.work_dir = os.path.abspath(settings["work_dir"])
        self.launcher = settings.get("launcher") or "none"
        self.setup_env(settings.get("env_cfg") or {})
        self._randomness = dict(settings.get("randomness") or {})
        self.diff_rank_seed = self._randomness.get("diff_rank_seed", False)
        self.set_randomness(**{"seed": None, **self._randomness})
        filename = settings.get("filename")
        name = settings.get("experiment_name") or (Path(filename).stem if filename else None)
        self.experiment_name = f"{name}_{self.timestamp}" if name else self.timestamp
        scope = settings.get("default_scope", "mmengine")
        # With None, as released configs with `read_base()` have it, each registry starts from itself.
        self.default_scope = scope and DefaultScope.get_instance(
            self.experiment_name, scope_name=scope
        )
        self._make_log_dir()
        self.log_processor = self.build_log_processor(settings.get("log_processor") or {})
        self.logger = self.build_logger(settings.get("log_level") or "INFO")
        self.message_hub = self.build_message_hub()
        self.visualizer = self.build_visualizer(settings.get("visualizer"))
        for stage in ("train", "val", "test"):
            setattr(self, f"_{stage}_loop", settings.get(f"{stage}_cfg"))
        self.unused_loops = set()
        self.hooks = []
        self.lightning_callbacks: list[Any] = []
        self.loop_drives_hooks = False
        self.train_after_validation = False
        self.has_loaded = False

    def _make_log_dir(self) -> None:
        try:
            os.makedirs(self.log_dir, exist_ok=True)
        except OSError as error:
            raise OSError(
                f"work_dir={self.settings['work_dir']!r} cannot be written: {error.strerror} → name a folder that "
                "can, in the config or with --work-dir"
            ) from error

    def _make_module(self, arguments: dict[str, Any]) -> MMLightningModule:
        arguments = {**arguments, "model": arguments.get("model")}
        module = MMLightningModule(**arguments)
        if not self.launcher_is_parallel:
            module.model = revert_sync_batchnorm(module.model)
        return module

    @property
    def launcher_is_parallel(self) -> bool:
        """Whether the config starts several processes."""
        return self.launcher != "none"

    def _adopt(self, trainer: Any) -> None:
        """Take over a Trainer: register the hooks and describe the run in its log and work folder."""
        self.trainer = trainer
        self.module.driven_by_run = True
        self.module.batches_stay_raw = (
            type(self.module) is MMLightningModule and type(self.datamodule) is MMDataModule
        )
        let_datamodule_transfer(self.module)
        connect_loggers(trainer, self.visualizer, self.timestamp)
        if self.settings.get("val_cfg") is not None:
            next(c for c in trainer.callbacks if isinstance(c, RunCallback)).take_validation(
                trainer
            )
        self.register_hooks(self.settings.get("default_hooks"), self.settings.get("custom_hooks"))
        for callback in trainer.callbacks:
            if isinstance(
                callback, Hook
            ):  # given as a callback, run in MMEngine's order all the same
                callback.driven = True
                self.register_hook(callback)
        trainer.callbacks.extend(self.lightning_callbacks)
        if self.rank == 0:
            self.log_environment()
            self.dump_config()

    # The three verbs

    def train(self) -> torch.nn.Module:
        """Train, and return the model.

        Raises:
            RuntimeError: If the run was made without ``train_cfg``.
        """
        self._require("train")
        self.trainer.fit(self.module, datamodule=self.datamodule, ckpt_path=self.resume_path())
        return self.model

    def val(self) -> dict[str, Any]:
        """Validate, and return the metrics.

        Raises:
            RuntimeError: If the run was made without ``val_cfg``.
        """
        self._require("val")
        self.trainer.validate(self.module, datamodule=self.datamodule, verbose=False)
        return self.module.eval_metrics

    def test(self) -> dict[str, Any]:
        """Test, and return the metrics.

        Raises:
            RuntimeError: If the run was made without ``test_cfg``.
        """
        self._require("test")
        self.trainer.test(self.module, datamodule=self.datamodule, verbose=False)
        return self.module.eval_metrics

    def _require(self, stage: str) -> None:
        if self.settings.get(f"{stage}_cfg") is None:
            raise RuntimeError(
                f"Runner.{stage}() needs {stage}_cfg, which should not be None → give {stage}_cfg, "
                f"{stage}_dataloader and "
                + ("optim_wrapper" if stage == "train" else f"{stage}_evaluator")
            )

    # What the callback asks for

    def prepare(self, stage: str) -> None:
        """Build what ``fit``, ``validate``, ``test`` or ``predict`` needs, in MMEngine's order."""
        share_with_mmengine(self.message_hub)
        self.module.to(self.device)
        if stage == "fit":
            self._prepare_fit()
        elif stage in ("validate", "test"):
            self._prepare_evaluation("val" if stage == "validate" else "test")
            self.call_hook("before_run")
        if not self.settings.get("resume"):
            self.load_weights()

    def _prepare_fit(self) -> None:
        self._train_loop = self.new_loop("train")
        self.by_epoch = isinstance(self.train_loop, EpochBasedTrainLoop)
        self._open_stream()
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self._settle_optimization()
        self.scale_lr(self.optim_wrapper, self.module.auto_scale_lr)
        if self.module.param_scheduler is not None:
            self.param_schedulers = self.build_param_scheduler(self.module.param_scheduler)
        if self.settings.get("val_cfg") is not None:
            self._prepare_evaluation("val")
        self.call_hook("before_run")
        self.init_model_weights()

    def _settle_optimization(self) -> None:
        for note in self.module.settle_optimization():
            self.logger.warning(note)
        if self.module.automatic_optimization and self.loop_drives_hooks:
            raise ValueError(
                f"{type(self.train_loop).__name__}.run_iter drives the optimizer itself → drop the Trainer flags that "
                f"clip, accumulate or scale, and set them in optim_wrapper"
            )

    def stage_config(self, stage: str) -> Any:
        """Return a stage's ``cfg``; for training with the Trainer's ``max_epochs``: a flag wins over the config."""
        config = self.settings.get(f"{stage}_cfg")
        if stage == "train" and isinstance(config, dict) and "max_epochs" in config:
            return {**config, "max_epochs": self.trainer.max_epochs or config["max_epochs"]}
        return config

    def _open_stream(self) -> None:
        loop = self.train_loop
        length = len(loop.dataloader) if self.by_epoch else loop.max_iters
        stop = loop.epoch_length if self.by_epoch else loop.max_iters
        self.stream = TrainStream(loop.dataloader, length, endless=not self.by_epoch, stop=stop)
        self.datamodule.loaders["train"] = self.stream
        if not self.by_epoch:
            self.stream.open()
        # Monitors write where the log has a line; Lightning would warn of an interval beyond the epoch.
        self.trainer.log_every_n_steps = min(self.trainer.log_every_n_steps, stop)
        self.loop_drives_hooks = loop.overrides_run_iter
        if self.loop_drives_hooks:
            self.module.step_model = self._step_by_loop

    def _step_by_loop(self, batch: Any, batch_idx: int) -> None:
        if self.by_epoch:
            self.train_loop.run_iter(batch_idx, batch)
        else:
            self.train_loop.run_iter(batch)

    def _prepare_evaluation(self, stage: str) -> None:
        loop: BaseLoop = self.new_loop(stage)
        setattr(self, f"_{stage}_loop", loop)
        self.module.loops[stage] = loop
        self.datamodule.loaders[stage] = loop.dataloader

    def init_model_weights(self) -> None:
        """Call the model's ``init_weights`` and apply the options that change the model afterwards."""
        model, options = self.model, self.settings.get("options") or {}
        if hasattr(model, "init_weights"):
            model.init_weights()
            for tensor in model.state_dict().values():
                self.trainer.strategy.broadcast(tensor) if self.world_size > 1 else None
        if options.get("activation_checkpointing"):
            from mm2pl.model import turn_on_activation_checkpointing

            turn_on_activation_checkpointing(model, options["activation_checkpointing"])
        if options.get("efficient_conv_bn_eval"):
            from mm2pl.model import turn_on_efficient_conv_bn_eval

            turn_on_efficient_conv_bn_eval(model, options["efficient_conv_bn_eval"])

    def start_training(self) -> None:
        """Begin, or continue, counting accumulation windows; compile the step if asked to."""
        self.restore_optimizer()
        self.optim_wrapper.initialize_count_status(self.model, self.iter, self.max_iters)
        self.module.compile_step("train")

    def scale_lr(self, optim_wrapper: Any, auto_scale_lr: dict[str, Any] | None = None) -> None:
        """Scale the learning rates from ``base_batch_size`` to the real total batch size.

        Raises:
            ArgumentError: If the loader does not tell how large its batches are.
        """
        from mm2pl.optim import scale_lr

        if (auto_scale_lr or {}).get("enable"):
            batch_size = batch_size_of(self.train_loop.dataloader)
            scale_lr(optim_wrapper, auto_scale_lr, batch_size * self.world_size)

    # Logs

    def publish_scalars(self, scalars: Mapping[str, Any]) -> None:
        """Show a line of the training log to Lightning's callbacks too: ``EarlyStopping(monitor="loss")``."""
        super().publish_scalars(scalars)
        self.trainer.callback_metrics.update(
            {
                name: torch.tensor(value)
                for name, value in scalars.items()
                if isinstance(value, int | float) and name not in ("epoch", "iter")
            }
        )

    def log_environment(self) -> None:
        """Write the machine, the settings of the process, the config and the hooks into the log."""
        from mm2pl.utils.dl_utils import collect_env

        line = "-" * 60
        runtime = {
            **(self.settings.get("env_cfg") or {}),
            **self._randomness,
            "seed": self.seed,
            "Distributed launcher": self.launcher,
            "Distributed training": self.distributed,
            "GPU number": self.world_size,
        }
        system, runtime_text = (
            "".join(f"\n    {key}: {value}" for key, value in block.items())
            for block in (collect_env(), runtime)
        )
        self.logger.info(
            f"\n{line}\nSystem environment:{system}\n\nRuntime environment:{runtime_text}\n{line}\n"
        )
        if len(self.cfg):
            self.logger.info(f"Config:\n{self.cfg.pretty_text}")
            self.visualizer.add_config(config_for(self.visualizer, self.cfg))
        self.logger.info(f"Hooks will be executed in the following order:\n{self.get_hooks_info()}")

    def dump_config(self) -> None:
        """Write the config into the work folder, under its own name."""
        name = self.settings.get("filename")
        self.cfg.dump(
            str(Path(self.work_dir) / (Path(name).name if name else f"{self.timestamp}.py"))
        )
