"""LightningCLI with MMEngine's configs in front and MMEngine's order of building behind."""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.config import Config
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.prediction_writer import PredictionWriter
from mm2pl.lightning.progress_bar import with_progress_bar
from mm2pl.lightning.trainer import RunTrainer
from mm2pl.lightning.trainer import instantiate as built
from mm2pl.plan.processes import are_several, left_out, several
from mm2pl.plan.translate import Plan, whole_config
from mm2pl.registry import RUNNERS
from mm2pl.runner.runner import Runner
from mm2pl.utils import get_object_from_string, import_modules_from_strings


class MMCLI(LightningCLI):
    """Parse Trainer options with jsonargparse, then build seeds, model, data and Trainer in MMEngine's order.

    Subclass it as any LightningCLI: ``add_arguments_to_parser``, ``before_fit``, … work.

    Args:
        plan: What an MMEngine config asks for. Its values replace what jsonargparse has parsed of them, which knows no
            tuples and no live objects.
        cfg: The config itself, for ``runner.cfg``.
        options: The options that ``mm2pl`` itself has parsed.
        kwargs: LightningCLI's arguments.
    """

    def __init__(
        self,
        *,
        plan: Plan | None = None,
        cfg: Config | None = None,
        options: argparse.Namespace | None = None,
        **kwargs: Any,
    ) -> None:
        self.plan = plan
        self.cfg = cfg
        self.options = options or argparse.Namespace()
        self.runner: Runner | None = None
        asked, known = command_of(kwargs), self.subcommands()
        if asked in known:  # making a command's parser takes a tenth of a second
            self.subcommands = lambda: {asked: known[asked]}  # type: ignore[method-assign]
        super().__init__(
            model_class=LightningModule,
            datamodule_class=LightningDataModule,
            trainer_class=RunTrainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=None,
            seed_everything_default=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            **kwargs,
        )

    def parse_arguments(self, parser: Any, args: Any) -> None:
        """Parse what ``mm2pl`` has left of the command line, without Lightning's warning that this is unusual."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LightningCLI's args parameter")
            super().parse_arguments(parser, args)

    def before_instantiate_classes(self) -> None:
        """Open the run: seeds, process group, logger, before any model is built."""
        config = self.config[self.subcommand]
        run = next(
            (c for c in config.trainer.callbacks or [] if c.class_path.endswith("RunCallback")),
            None,
        )
        if run is None:
            return
        settings = vars(run.init_args)
        if self.plan is not None:
            settings.update(self.plan.run)
            vars(config.model.init_args).update(self.plan.model)
            vars(config.data.init_args).update(self.plan.data)
        if getattr(self.options, "work_dir", None):
            settings["work_dir"] = self.options.work_dir
        if getattr(self.options, "resume", None):
            auto = self.options.resume == "auto"
            settings.update(resume=True, load_from=None if auto else self.options.resume)
        if self.cfg is None:
            files = getattr(self.options, "config", None)
            settings["filename"] = settings.get("filename") or (files and str(files[0]))
            parts = (vars(part.init_args) for part in (config.model, config.data))
            self.cfg = Config(whole_config(settings, *parts))
        trainer = config.trainer
        trainer.default_root_dir = settings["work_dir"]
        many = are_several(trainer.devices, trainer.num_nodes)
        if many and trainer.strategy == "auto":
            # --trainer.devices N does what a launcher does: with what the config says about several processes.
            vars(trainer).update({k: built(v) for k, v in several(dict(self.cfg)).items()})
        if settings.get("custom_imports"):  # may register the runner_type
            import_modules_from_strings(**settings["custom_imports"])
        cls = RUNNERS.get((settings.get("options") or {}).get("runner_type") or "Runner")
        runner = self.runner = cls.__new__(cls)
        runner._open(settings, self.cfg)
        unheard = left_out(dict(self.cfg), trainer.strategy, trainer.sync_batchnorm)
        if many and unheard:
            runner.logger.warning(
                f"--trainer.strategy {trainer.strategy} does not follow {unheard} of the config → leave the flag out"
            )

    def instantiate_classes(self) -> None:
        """Build a run's parts directly: jsonargparse would bury a user's mistake under its own messages."""
        if self.runner is not None:
            config = self.config[self.subcommand]
            for name in ("model", "data"):
                config[name] = instantiate(config[name])
            config.trainer.callbacks = [
                instantiate(c) if c.class_path.endswith("RunCallback") else c
                for c in config.trainer.callbacks
            ]
        super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Build the Trainer; on a terminal, a run has its own progress bar.

        Raises:
            ValueError: If the Trainer refuses its options.
        """
        if self.runner is not None:
            given = self.config_init[self.subcommand].trainer
            kwargs = {
                **with_progress_bar(given.enable_progress_bar, given.callbacks or []),
                **kwargs,
            }
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise ValueError(f"the Trainer refuses its options: {error}") from error

    def after_instantiate_classes(self) -> None:
        """Hand the built parts to the run."""
        out = getattr(self.options, "out", None)
        callbacks: list[Any] = self.trainer.callbacks  # type: ignore[attr-defined]
        if self.subcommand == "predict" and out:
            callbacks.append(PredictionWriter(out))
        if self.runner is not None:
            callback = next(c for c in callbacks if isinstance(c, RunCallback))
            callback.runner = self.runner
            self.runner.module = self.model
            self.runner.datamodule = self.datamodule
            self.runner._adopt(self.trainer)
        path = self.checkpoint_path()
        if path is not None:
            # LightningCLI calls the Trainer's method with what stands here.
            self.config_init[self.subcommand]["ckpt_path"] = path

    def checkpoint_path(self) -> str | None:
        """Return the checkpoint to resume or to evaluate, if the options or the config name one.

        Raises:
            FileNotFoundError: There is none.
        """
        path = getattr(self.options, "ckpt_path", None)
        if self.runner is not None:
            if path in ("best", "last"):
                path = checkpoint_of(self.runner.work_dir, path)
            elif path is None and self.subcommand == "fit":
                path = self.runner.resume_path()
            require_checkpoint(path, self.runner.work_dir)
        return path


def command_of(kwargs: dict[str, Any]) -> str | None:
    """Return the one command that LightningCLI's arguments ask for, if they say so.

    >>> command_of({"args": ["fit", "--trainer.max_epochs=1"]}), command_of({"args": None})
    ('fit', None)
    >>> command_of({"args": ["fit"], "parser_kwargs": {"exit_on_error": False}})
    'fit'
    >>> command_of({"args": ["fit"], "parser_kwargs": {"test": {"description": "…"}}})  # needs them all
    """
    args = kwargs.get("args")
    per_command = LightningCLI.subcommands().keys() & (kwargs.get("parser_kwargs") or {})
    return args[0] if isinstance(args, list) and args and not per_command else None


def instantiate(spec: Any) -> Any:
    """Build the object of a parsed ``class_path`` and ``init_args``."""
    return get_object_from_string(spec.class_path)(**vars(spec.get("init_args", {})))


def require_checkpoint(path: str | None, work_dir: str) -> None:
    """Refuse the bare name of a checkpoint that is in the work folder and not here.

    Raises:
        FileNotFoundError: Naming the file that is meant.
    """
    meant = Path(work_dir, path or "")
    if path and "://" not in path and not Path(path).exists() and meant.is_file():
        raise FileNotFoundError(f"{path} can not be found → did you mean {os.path.relpath(meant)}?")


def checkpoint_of(work_dir: str, which: str) -> str:
    """Return the newest or the best checkpoint of a work folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are several best ones.
    """
    if which == "last":
        found = find_latest_checkpoint(work_dir)
        if found is None:
            raise FileNotFoundError(f"--ckpt_path last: there is no checkpoint in {work_dir!r}")
        return str(found)
    best = sorted(str(path) for path in Path(work_dir).glob("best_*.pth"))
    if not best:
        raise FileNotFoundError(
            f"--ckpt_path best: there is no best_*.pth in {work_dir!r} → train with "
            "default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='auto'))"
        )
    if len(best) > 1:
        raise ValueError(
            f"--ckpt_path best: there are several in {work_dir!r} → name one of {best}"
        )
    return best[0]
