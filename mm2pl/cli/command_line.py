"""Read a command line as far as that needs nothing of Lightning's: mistakes are told within a second."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mm2pl.cli import changes, options
from mm2pl.cli.merging import (
    Asked,
    merge,
    require_possible,
    skeleton,
)
from mm2pl.cli.options import Word
from mm2pl.cli.yaml_run import config_of_yaml, content_of, run_of_yaml
from mm2pl.closest import closest, did_you_mean
from mm2pl.config import Config
from mm2pl.config.packages import package_config
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.plan import explain
from mm2pl.plan.schema import faults_of, refuse, require_config
from mm2pl.plan.translate import Plan, require_plain, translate
from mm2pl.plan.unread import redefined


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """What a command line asks for.

    Attributes:
        options: mm2pl's own options.
        arguments: What LightningCLI's parser reads.
        cfg: The config of the run; ``None`` where LightningCLI runs classes of the user's own.
        plan: What the config asks for.
        given: Trainer arguments that the user has set, with the word that did it.
        origins: Dotted key of the config → the last word that has set it.
    """

    options: argparse.Namespace
    arguments: list[str]
    cfg: Config | None = None
    plan: Plan | None = None
    given: dict[str, str] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)


def read(
    command: str,
    arguments: Sequence[str],
    own: Mapping[str, bool] | None = None,
    classes: Callable[[], Mapping[str, str]] = dict,
    *,
    prog: str = "mm2pl",
    seed: int | None = None,
) -> CommandLine:
    """Read the command line of ``fit``, ``validate``, ``test`` or ``predict``.

    Args:
        command: Which of them.
        arguments: What follows it.
        own: Options that a subclass of LightningCLI has added, and whether each takes a value.
        classes: Returns the classes of ``model`` and ``data`` in a run, by dotted name, where they are not mm2pl's.
        prog: The program's name.
        seed: The seed of a run whose config and words name none.

    Raises:
        FileNotFoundError: If a config does not exist.
        ValueError: If words contradict each other or the config.
    """
    parsed = options.parse(command, arguments, own, prog)
    if parsed.lightning_help:
        return CommandLine(options=parsed, arguments=["--help"])
    if command in ("test", "predict") and parsed.out:
        changes.require_pickle(parsed.out)
    return of_words(command, parsed, classes, seed)


def of_words(
    command: str,
    parsed: argparse.Namespace,
    classes: Callable[[], Mapping[str, str]] = dict,
    seed: int | None = None,
) -> CommandLine:
    """Merge the words of a command line; see :func:`read`."""
    asked = merged(parsed, classes)
    if asked is None:
        return CommandLine(options=parsed, arguments=_for_lightning(parsed))
    path = asked.path
    require_config(asked.cfg)
    # Before anything is done with them.
    doubts = [*{doubt.path: doubt for doubt in [*redefined(asked.cfg), *asked.doubts]}.values()]
    refuse([*doubts, *faults_of(asked.cfg, False, asked.origins)], parsed.strict)
    explain.warn(explain.with_faults([], doubts))
    cfg = changes.apply(parsed, asked.cfg)
    if seed is not None and "seed" not in (cfg.get("randomness") or {}):
        asked.seed(seed)
    # `predict` has no evaluator; PredictionWriter does it there.
    if command == "test" and parsed.out:
        changes.write_results(cfg, parsed.out)
    plan = translate(dotted_names(dict(cfg.items())), filename=cfg.filename or path)
    if not cfg.get("work_dir"):  # OpenMMLab's scripts complete the config so; a Runner wants one
        cfg.work_dir = plan.run["work_dir"]
    if parsed.print_config:
        require_plain(plan.as_cli())
    # jsonargparse only has to parse it, and the Runner is made from `cfg`: live objects are left out.
    form = json.dumps(skeleton(plan, asked), default=lambda live: None)
    return CommandLine(
        options=parsed,
        arguments=[f"--config={form}", *asked.arguments],
        cfg=cfg,
        plan=plan,
        given=asked.given,
        origins=asked.origins,
    )


def merged(
    parsed: argparse.Namespace,
    classes: Callable[[], Mapping[str, str]] = dict,
    imports: bool = True,
) -> Asked | None:
    """Merge the words of a command line into one config; ``None`` if there is none among them.

    Args:
        parsed: The command line; gets the checkpoint that a YAML names.
        classes: As in :func:`read`.
        imports: Import the config's ``custom_imports``.

    Raises:
        ValueError: If words contradict each other or the config.
    """
    words = [(word, _content(word, parsed.safe, imports)) for word in parsed.words]
    base = next((i for i, (_, content) in enumerate(words) if _is_run(content)), None)
    if base is None:
        return None
    word, content = words[base]
    path = word.value if word.kind == "config" else None
    first = content if isinstance(content, Config) else config_of_yaml(content, path)
    asked = merge(words, base, Asked.of(first, classes(), path))
    if asked.ckpt_path and not parsed.ckpt_path:
        parsed.ckpt_path = asked.ckpt_path
    require_possible(asked, parsed.work_dir)
    return asked


def _content(word: Word, safe: Any, imports: bool) -> Any:
    """Return what a config or a YAML holds; ``None`` for other words."""
    if word.kind == "content":
        return word.value
    if word.kind != "config":
        return None
    path = find_config(word.value)
    content = content_of(path)
    if content is not None:
        return content
    return Config.fromfile(path, safe=safe, import_custom_modules=imports)


def _is_run(content: Any) -> bool:
    return isinstance(content, Config) or (content is not None and run_of_yaml(content) is not None)


def _for_lightning(parsed: argparse.Namespace) -> list[str]:
    """Return the arguments of a LightningCLI without a run.

    Raises:
        ValueError: An option changes an MMEngine config, and there is none.
    """
    for name in ("cfg_options", *changes.CHANGES, "launcher", "work_dir"):
        said = name == "cfg_options" and any(word.kind == name for word in parsed.words)
        if said or getattr(parsed, name, None):
            raise ArgumentError(
                f"--{name.replace('_', '-')} changes an MMEngine config, and this is LightningCLI YAML without a "
                "run → use --trainer.…, --model.… or --data.… options, or edit the file"
            )
    arguments = []
    for kind, value in parsed.words:
        # `content` cannot occur: what a program hands over as a dict goes to LightningCLI's parser as it is.
        arguments.append(f"--config={value}" if kind == "config" else value)
    return arguments


def find_config(path: str) -> str:
    """Return the file of a config, which may be named as ``package::path``.

    Raises:
        FileNotFoundError: Naming configs with a similar name, if there are any.
    """
    named = path
    if "::" in path:
        path = package_config(path)[0]
    file = Path(path)
    if file.is_file():
        return path
    if file.is_dir():
        raise MissingFileError(f"{path!r} is a folder → name a config file in it.")
    names = [
        other.name for other in file.parent.glob("*") if other.suffix in (".py", ".yaml", ".json")
    ]
    hint = did_you_mean(str(file.parent / name) for name in closest(file.name, names))
    if "::" in named and not hint:
        hint = did_you_mean(_by_name(named))
    raise MissingFileError(f"the config {path!r} does not exist.{hint}")


def _by_name(path: str) -> list[str]:
    """Return the configs of a package that have the name of ``package::name``, as MIM takes it without its folder."""
    _, folder, package = package_config(path)
    name = Path(path.partition("::")[2]).name.removesuffix(".py") + ".py"
    found = sorted(Path(folder).rglob(name))
    return [f"{package}::{each.relative_to(folder).as_posix()}" for each in found]


def dotted_names(value: Any) -> Any:
    """Replace classes and functions of a pure-Python config by their dotted names, all the way down."""
    if isinstance(value, dict):
        return {key: dotted_names(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(dotted_names(item) for item in value)
    # A callable object of the user's has no `__qualname__`: it stays, and has no name to be found by.
    if isinstance(value, type) or (callable(value) and hasattr(value, "__qualname__")):
        return f"{value.__module__}.{value.__qualname__}"
    return value
