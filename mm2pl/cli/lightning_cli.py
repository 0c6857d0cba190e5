"""LightningCLI with MMEngine's configs in front and MMEngine's order of building behind."""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI

from mm2pl.cli.command_line import CommandLine, of_words, read
from mm2pl.cli.faults import told
from mm2pl.cli.options import LIGHTNING_FLAG, Word, parse
from mm2pl.cli.parts import (
    CommandLineParts,
    checkpoint_of,
    is_run_callback,
    require_checkpoint,
)
from mm2pl.cli.refusals import of_parser
from mm2pl.cli.yaml_run import run_of_yaml
from mm2pl.config import Config
from mm2pl.errors import ArgumentError
from mm2pl.lightning.assembly import made_by
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.datamodule import MMDataModule
from mm2pl.lightning.module import MMLightningModule
from mm2pl.lightning.prediction_writer import PredictionWriter
from mm2pl.lightning.private import actions_of, parser_of
from mm2pl.lightning.progress_bar import with_progress_bar
from mm2pl.lightning.refused import refused_options
from mm2pl.lightning.trainer import RunTrainer
from mm2pl.plan.schema import faults_of, refuse
from mm2pl.plan.translate import Plan
from mm2pl.registry import RUNNERS
from mm2pl.runner.runner import Runner
from mm2pl.utils import import_modules_from_strings


class MMCLI(LightningCLI):
    """LightningCLI that reads MMEngine configs, and lets the Runner of the config make everything and do the work.

    Arguments, subclasses and hooks are LightningCLI's (``add_arguments_to_parser``, ``before_fit``, …); only some
    defaults differ. ``trainer``, ``model`` and ``datamodule`` exist before ``before_fit``; ``runner`` is there for a
    run, and ``None`` where neither an MMEngine config nor a YAML with :class:`~mm2pl.lightning.RunCallback` is given.

    Args:
        arguments: LightningCLI's, by position. A ``model_class`` must be an :class:`MMLightningModule` where a config
            is given, a ``datamodule_class`` an :class:`MMDataModule`.
        said: The command line, if it has been read already.
        kwargs: LightningCLI's, by name.

    Example:
        ``python cli.py fit config.py --trainer.max_epochs 3``, where the script ends in ``MMCLI()``.
    """

    def __init__(self, *arguments: Any, said: CommandLine | None = None, **kwargs: Any) -> None:
        given = {**inspect.signature(LightningCLI).bind_partial(*arguments).arguments, **kwargs}
        self.said = said
        self._runs_commands = bool(given.get("run", True))
        self.runner: Runner | None = None
        self._as_parsed: Namespace | None = None
        asked, known = command_of(given.get("args")), self.subcommands()
        per_command = known.keys() & (
            given.get("parser_kwargs") or {}
        )  # needs the parsers of them all
        if (
            asked in known and not per_command
        ):  # making a command's parser takes a tenth of a second
            self.subcommands = lambda: {asked: known[asked]}  # type: ignore[method-assign]
        # The Trainer's usage text fills two hundred lines; jsonargparse 5 will not complete abbreviations any more.
        quiet = {
            "exit_on_error": False,
            "allow_abbrev": False,
            **(given.get("parser_kwargs") or {}),
        }
        super().__init__(**{**DEFAULTS, **given, "parser_kwargs": quiet})

    @property
    def cfg(self) -> Config | None:
        """The config of the run."""
        return self.said.cfg if self.said is not None else None

    @property
    def plan(self) -> Plan | None:
        """What the config asks for."""
        return self.said.plan if self.said is not None else None

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        """Read MMEngine configs and mm2pl's options; LightningCLI's parser reads what they leave.

        Raises:
            SystemExit: After printing the run, which ``--print_config`` asks for.
        """
        command, asked_by_mm2pl = command_of(args), self.said is not None
        try:
            if self.said is None:
                self.said = self._read(args, command)
            if self.cfg is not None:
                self._require_types(self.cfg)
            self._parse(parser, args, command)
        except Exception as error:
            if not asked_by_mm2pl and (text := told(error, Path(sys.argv[0]).name)):
                # As LightningCLI's parser ends a script: with one message, and code 2.
                print(text, file=sys.stderr)
                raise SystemExit(2) from error
            raise
        if self.plan is not None and self.said is not None:
            self._show_run(self.plan)
            if self.said.options.print_config:
                self._print_run(command)
                raise SystemExit(0)

    def _parse(self, parser: LightningArgumentParser, args: ArgsType, command: str | None) -> None:
        if self.said is not None:
            args = [command, *self.said.arguments] if command is not None else self.said.arguments
            if self.cfg is None and self.said.options.print_config:
                args = [*args, "--print_config"]
        # Without Lightning's warning that a list is unusual.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "LightningCLI's args parameter")
            try:
                super().parse_arguments(parser, args)
            except argparse.ArgumentError as error:
                arguments = args if isinstance(args, list) else []
                raise ArgumentError(of_parser(str(error), arguments, command or "fit")) from error

    def _print_run(self, command: str | None) -> None:
        """Print the run as a YAML that ``--config`` takes."""
        with warnings.catch_warnings():
            # Renamed by jsonargparse 4.49, which takes the old name until 5.
            warnings.filterwarnings("ignore", r"\s*skip_none parameter was deprecated")
            print(parser_of(self, command).dump(self._command_config(), skip_none=False))

    def _read(self, args: ArgsType, command: str | None) -> CommandLine | None:
        """Read a command line as ``mm2pl`` does, or the dict of a program; ``None``: it is none of ours."""
        default = self.seed_everything_default
        # True draws one, as a run without a seed does.
        seed = default if type(default) is int else None
        if isinstance(args, dict):
            content = args.get(command or "fit", args)
            options = parse(command or "fit", [])
            options.words.append(Word("content", content))
            found = run_of_yaml(content)
            return of_words(command or "fit", options, self._own_classes, seed) if found else None
        # With `run=False` there are no commands; else it is the help, or a command of a subclass's own.
        if not isinstance(args, list | None) or (command is None and self._runs_commands):
            return None
        words = sys.argv[1:] if args is None else args
        own = own_options(parser_of(self, command))
        rest = words if command is None else words[1:]
        prog = Path(sys.argv[0]).name
        return read(command or "fit", rest, own, self._own_classes, prog=prog, seed=seed)

    def _own_classes(self) -> dict[str, str]:
        """Return the dotted names of the classes that this CLI was made with, which are to hold what a config says.

        Raises:
            ValueError: If one of them cannot.
        """
        own = {}
        for part, cls, base, subclasses in (
            ("model", self.model_class, MMLightningModule, self.subclass_mode_model),
            ("data", self.datamodule_class, MMDataModule, self.subclass_mode_data),
        ):
            if cls in (None, LightningModule, LightningDataModule):
                continue
            if not (isinstance(cls, type) and issubclass(cls, base)):
                raise ArgumentError(
                    f"{getattr(cls, '__name__', cls)} as the {part} class with an MMEngine config → a subclass of "
                    f"{base.__name__} is needed, which takes the config's keys"
                )
            if not subclasses:
                raise ArgumentError(
                    f"subclass_mode_{part}=False with an MMEngine config → leave it out"
                )
            own[part] = f"{cls.__module__}.{cls.__qualname__}"
        return own

    def _show_run(self, plan: Plan) -> None:
        """Put the run among the parsed callbacks, where a YAML has it: a list that a user gives does not replace it."""
        parsed, form = self._command_config(), plan.as_cli()
        own = [
            as_namespace(json.loads(json.dumps(c, default=lambda live: None)))
            for c in form["trainer"]["callbacks"]
        ]
        given = parsed.trainer.callbacks or []
        more = given if isinstance(given, list) else [given]
        parsed.trainer.callbacks = [*own, *(c for c in more if not is_run_callback(c))]
        parsed.seed_everything = False  # the run seeds

    def _command_config(self) -> Any:
        command = self.config.get("subcommand")
        return self.config[command] if command else self.config

    @property
    def parsed(self) -> Any:
        """What was parsed for the command."""
        return self._command_config()

    def instantiate_classes(self) -> None:
        """Make the parts of a run through its Runner; anything else as LightningCLI does."""
        if self.cfg is None:
            super().instantiate_classes()
            return
        # The parts replace what was parsed of them, which `save_config_callback` writes.
        self._as_parsed, self.config = self.config, self.config.clone()
        with made_by(CommandLineParts(self)):
            self.runner = build_runner(self.cfg)
        self.model, self.datamodule = self.runner.module, self.runner.datamodule

    def _require_types(self, cfg: Config) -> None:
        """Compare each ``type`` with its class, with all that is wrong in one message and before anything is built.

        Raises:
            FaultyConfigError: If a class cannot be built, or does not exist; with ``--strict`` also for a doubt.
        """
        assert self.said is not None
        import_custom(cfg)
        refuse(
            faults_of(cfg, origins=self.said.origins), getattr(self.said.options, "strict", False)
        )

    def instantiate_parts(self) -> None:
        """Build what the parsed arguments say, with the module and the data module that the run has made."""
        super().instantiate_classes()

    def instantiate_trainer(self, **kwargs: Any) -> Any:
        """Build the Trainer; on a terminal, a run has its own progress bar.

        Raises:
            RefusedByLightning: If the Trainer refuses its options.
        """
        # `config_init` holds the callbacks as objects, `config` as class paths.
        self.config = self._as_parsed or self.config
        command = self.subcommand
        given = (self.config_init if command is None else self.config_init[command])["trainer"]
        if any(isinstance(callback, RunCallback) for callback in given.callbacks or []):
            kwargs = {
                **with_progress_bar(given.enable_progress_bar, given.callbacks),
                **kwargs,
            }
        with refused_options(vars(given)):
            return super().instantiate_trainer(**kwargs)

    def after_instantiate_classes(self) -> None:
        """Add the writer of predictions that ``--out`` names."""
        out = getattr(self.said.options, "out", None) if self.said is not None else None
        if self.subcommand == "predict" and out:
            self.trainer.callbacks.append(PredictionWriter(out))  # type: ignore[attr-defined]
        path = self.checkpoint_path()
        if path is not None:
            # LightningCLI calls the Trainer's method with what stands here.
            (self.config_init[self.subcommand] if self.subcommand else self.config_init)[
                "ckpt_path"
            ] = path

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
        path = getattr(self.said.options, "ckpt_path", None) if self.said is not None else None
        if self.runner is not None:
            # Lightning asks the callbacks of this process, which has not trained anything yet.
            if path in ("best", "last"):
                path = checkpoint_of(self.runner.work_dir, path)
            require_checkpoint(path, self.runner.work_dir)
        return path


def build_runner(cfg: Config) -> Runner:
    """Make the Runner of a config, or the subclass that its ``runner_type`` names, as OpenMMLab's scripts do."""
    import_custom(cfg)  # may register the runner_type
    return RUNNERS.build(cfg) if cfg.get("runner_type") else Runner.from_cfg(cfg)


def import_custom(cfg: Config) -> None:
    """Import a config's ``custom_imports``."""
    if imports := cfg.get("custom_imports"):
        import_modules_from_strings(**imports)


def command_of(args: ArgsType) -> str | None:
    """Return the command that LightningCLI's ``args`` ask for; ``None``: none of its four.

    >>> command_of(["fit", "config.py"]), command_of({"subcommand": "test"}), command_of(["--help"])
    ('fit', 'test', None)
    """
    if isinstance(args, list) or args is None:
        command = next(iter(sys.argv[1:] if args is None else args), None)
    else:
        command = args.get("subcommand")
    return command if command in LightningCLI.subcommands() else None


def own_options(parser: LightningArgumentParser) -> dict[str, bool]:
    """Return the options that a subclass has added to a parser, and whether each takes a value."""
    return {
        name: action.nargs != 0
        for action in actions_of(parser)
        for name in action.option_strings
        if name.startswith("--") and not LIGHTNING_FLAG.fullmatch(name) and name not in OURS
    }


OURS = ("--help", "--config", "--print_config", "--print_completion", "--ckpt_path")
"""Options of LightningCLI's that mm2pl reads itself, or that no subclass has added."""


def as_namespace(value: Any) -> Any:
    """Make a parsed value of plain data: a ``class_path`` and its arguments."""
    if not (isinstance(value, dict) and "class_path" in value):
        return value
    arguments = {k: as_namespace(v) for k, v in value.get("init_args", {}).items()}
    return Namespace(class_path=value["class_path"], init_args=Namespace(**arguments))


DEFAULTS: dict[str, Any] = {
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
"""Where MMCLI differs from LightningCLI."""
