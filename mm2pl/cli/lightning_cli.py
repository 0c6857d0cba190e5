"""LightningCLI with MMEngine's configs in front and MMEngine's order of building behind."""

from __future__ import annotations

import argparse
import inspect
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule, Trainer
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.cli.options import parts_to_resume, resume_keys
from mm2pl.config import Config
from mm2pl.lightning.assembly import Parts, made_by
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.prediction_writer import PredictionWriter
from mm2pl.lightning.progress_bar import with_progress_bar
from mm2pl.lightning.trainer import RunTrainer, instantiate
from mm2pl.plan.resume import with_parts
from mm2pl.plan.translate import Plan, whole_config
from mm2pl.registry import RUNNERS
from mm2pl.runner.runner import Runner
from mm2pl.utils import get_object_from_string, import_modules_from_strings


class MMCLI(LightningCLI):
    """Parse Trainer options with jsonargparse, then let the Runner of the config make everything and do the work.

    Subclass it as any LightningCLI: ``add_arguments_to_parser``, ``before_fit``, … work. ``trainer``, ``model`` and
    ``datamodule`` exist before ``before_fit``; ``runner`` is there for a run, and ``None`` for a YAML without
    :class:`~mm2pl.lightning.RunCallback`.

    Args:
        plan: What an MMEngine config asks for, as it was written into the arguments.
        cfg: The config itself; without it, the config is put together from the parsed YAML.
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
        defaults: dict[str, Any] = {
            # Any class, because a YAML without a run is an ordinary one of LightningCLI's.
            "model_class": LightningModule,
            "datamodule_class": LightningDataModule,
            "trainer_class": RunTrainer,
            "subclass_mode_model": True,
            "subclass_mode_data": True,
            # LightningCLI's refuses a second run into a folder with a config.yaml; the run dumps its own config.
            "save_config_callback": None,
            # LightningCLI would set a seed of its own; the run seeds by `randomness`.
            "seed_everything_default": False,
            # With it, `--optimizer` would replace the module's `configure_optimizers`.
            "auto_configure_optimizers": False,
            # It makes the parsed arguments the hyper-parameters; `assemble` saves those of the plan.
            "load_from_checkpoint_support": False,
        }
        super().__init__(**{**defaults, **kwargs})

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Parse what ``mm2pl`` has left of the command line, without Lightning's warning that this is unusual."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LightningCLI's args parameter")
            super().parse_arguments(parser, args)

    @property
    def parsed(self) -> Any:
        """What was parsed for the command."""
        return self.config[self.subcommand]

    def instantiate_classes(self) -> None:
        """Make the parts of a run through its Runner; anything else as LightningCLI does."""
        run = next((c for c in self.parsed.trainer.callbacks or [] if is_run_callback(c)), None)
        if run is None:
            super().instantiate_classes()
            return
        with made_by(CommandLineParts(self)):
            self.runner = build_runner(self.cfg or self._config_of_yaml(init_args(run)))
        self.model, self.datamodule = self.runner.module, self.runner.datamodule

    def _config_of_yaml(self, settings: dict[str, Any]) -> Config:
        """Put the config together again that a YAML in LightningCLI's form was made from."""
        files = getattr(self.options, "config", None)
        if getattr(self.options, "work_dir", None):
            settings["work_dir"] = self.options.work_dir
        if getattr(self.options, "resume", None):
            settings.update(resume_keys(self.options.resume))
        if chosen := parts_to_resume(self.options):
            settings["resume"] = with_parts(settings.get("resume"), chosen)
        file = settings.get("filename") or (files and str(files[0]))
        parts = (init_args(part) for part in (self.parsed.model, self.parsed.data))
        return Config(whole_config(settings, *parts), filename=file)

    def instantiate_parts(self) -> None:
        """Build what the parsed arguments say, with the module and the data module that the run has made."""
        super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Build the Trainer; on a terminal, a run has its own progress bar.

        Raises:
            ValueError: If the Trainer refuses its options.
        """
        # `config_init` holds the callbacks as objects, `config` as class paths.
        given = self.config_init[self.subcommand].trainer
        if any(isinstance(callback, RunCallback) for callback in given.callbacks or []):
            kwargs = {
                **with_progress_bar(given.enable_progress_bar, given.callbacks),
                **kwargs,
            }
        try:
            return super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, ValueError) as error:
            raise ValueError(f"the Trainer refuses its options: {error}") from error

    def after_instantiate_classes(self) -> None:
        """Add what ``--out`` asks for."""
        out = getattr(self.options, "out", None)
        if self.subcommand == "predict" and out:
            self.trainer.callbacks.append(PredictionWriter(out))  # type: ignore[attr-defined]
        path = self.checkpoint_path()
        if path is not None:
            # LightningCLI calls the Trainer's method with what stands here.
            self.config_init[self.subcommand]["ckpt_path"] = path

    # The commands end in the Runner's own methods, which a subclass may override.

    def fit(self, **arguments: Any) -> Any:
        """Train: ``runner.train()``."""
        return self._call("train", self.trainer.fit, arguments)

    def validate(self, **arguments: Any) -> Any:
        """Validate: ``runner.val()``."""
        return self._call("val", self.trainer.validate, arguments)

    def test(self, **arguments: Any) -> Any:
        """Test: ``runner.test()``."""
        return self._call("test", self.trainer.test, arguments)

    def _call(self, verb: str, otherwise: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        if self.runner is None:
            return otherwise(**arguments)
        # LightningCLI also hands over model and data module, which the Runner has of its own.
        options = {k: v for k, v in arguments.items() if k in ("ckpt_path", "weights_only")}
        self.runner.restore(**options)
        return getattr(self.runner, verb)()

    def checkpoint_path(self) -> str | None:
        """Return the checkpoint to resume or to evaluate, if the options or the config name one.

        Raises:
            FileNotFoundError: There is none.
        """
        path = getattr(self.options, "ckpt_path", None)
        if self.runner is not None:
            # Lightning asks the callbacks of this process, which has not trained anything yet.
            if path in ("best", "last"):
                path = checkpoint_of(self.runner.work_dir, path)
            require_checkpoint(path, self.runner.work_dir)
        return path


class CommandLineParts(Parts):
    """Make the parts of a run from the classes and options of a command line.

    An option of the Trainer wins over the plan. What was parsed of the plan itself is replaced by the plan:
    jsonargparse knows no tuples and no live objects, and a Runner subclass may have changed the config.
    """

    def __init__(self, cli: MMCLI) -> None:
        self.cli = cli
        #: What the arguments held of the plan before they were parsed; of a YAML nothing is known.
        self.written: dict[str, Any] = cli.plan.trainer if cli.plan is not None else {}

    @property
    def flags(self) -> dict[str, Any]:
        """How many processes, and what of the length, were given on the command line."""
        parsed = self.cli.parsed.trainer
        known = {**TRAINER_DEFAULTS, **self.written}
        names = ("devices", "num_nodes", "strategy", "sync_batchnorm")
        # jsonargparse does not say who set a value: where it differs from the plan's, the user has.
        given = {name: parsed[name] for name in names if parsed[name] != known[name]}
        return {k: v for k, v in given.items() if isinstance(v, str | int | list)}

    def module(self, arguments: dict[str, Any]) -> Any:
        """Make the module of the class that the arguments name."""
        return self._make("model", arguments)

    def datamodule(self, arguments: dict[str, Any]) -> Any:
        """Make the data module of the class that the arguments name."""
        return self._make("data", arguments)

    def _make(self, name: str, arguments: dict[str, Any]) -> Any:
        spec = self.cli.parsed[name]
        made = get_object_from_string(spec.class_path)(**{**init_args(spec), **arguments})
        self.take(name, made)
        return made

    def take(self, name: str, made: Any) -> None:
        """Take the object: jsonargparse leaves it as it is, and from the class path would make a second one."""
        self.cli.parsed[name] = made

    def trainer(self, arguments: dict[str, Any], callback: RunCallback) -> Any:
        """Make the Trainer from what was parsed, completed by what the plan says by now."""
        parsed, unset = self.cli.parsed.trainer, object()
        known = {**TRAINER_DEFAULTS, **self.written}
        for name, value in arguments.items():
            as_written = self.written.get(name, unset) == value
            if name != "callbacks" and not as_written and parsed[name] == known.get(name, unset):
                parsed[name] = instantiate(value)
        # Lightning callbacks among custom_hooks: those that were not written into the arguments, as in a YAML by hand.
        written = self.written.get("callbacks", [])
        more = [instantiate(c) for c in arguments.get("callbacks", []) if c not in written]
        parsed.callbacks = [callback if is_run_callback(c) else c for c in parsed.callbacks] + more
        folder = parsed.default_root_dir
        if self.written and folder != self.written["default_root_dir"]:
            raise ValueError(
                f"--trainer.default_root_dir {folder} → a run's files go to its work_dir → --work-dir {folder}"
            )
        # Hooks and checkpoints follow work_dir, which a Runner subclass may have changed.
        parsed.default_root_dir = arguments["default_root_dir"]
        self.cli.instantiate_parts()
        return self.cli.trainer


TRAINER_DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()
}


def is_run_callback(spec: Namespace) -> bool:
    """Return whether the parsed ``class_path`` of a callback is that of a run."""
    return issubclass(get_object_from_string(spec.class_path), RunCallback)


def init_args(spec: Namespace | None) -> dict[str, Any]:
    """Return the arguments of a parsed ``class_path``."""
    return vars(spec.init_args) if spec is not None and "init_args" in spec else {}


def build_runner(cfg: Config) -> Runner:
    """Make the Runner of a config, or the subclass that its ``runner_type`` names, as OpenMMLab's scripts do."""
    if imports := cfg.get("custom_imports"):  # may register the runner_type
        import_modules_from_strings(**imports)
    return RUNNERS.build(cfg) if cfg.get("runner_type") else Runner.from_cfg(cfg)


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
    # MMEngine's CheckpointHook keeps a best file for each metric of `save_best`.
    if len(best) > 1:
        raise ValueError(
            f"--ckpt_path best: there are several in {work_dir!r} → name one of {best}"
        )
    return best[0]
