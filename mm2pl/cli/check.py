"""``mm2pl check``: whether a run will reach its end, told before it starts."""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mm2pl.cli import changes
from mm2pl.cli.command_line import merged
from mm2pl.cli.merging import CLASSES, Asked
from mm2pl.cli.options import parse
from mm2pl.cli.reading import is_trusted
from mm2pl.closest import closest, did_you_mean
from mm2pl.config import Config
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.plan.fault import Fault
from mm2pl.plan.schema import require_config
from mm2pl.utils import get_object_from_string

if TYPE_CHECKING:
    from mm2pl.runner import Runner


def run(command: str, arguments: list[str]) -> int:
    """Print what was found in the words of ``mm2pl fit``; return 0 if the run is sound, 1 if it has faults.

    Raises:
        ArgumentError: If there is no config to check.
        MissingFileError: If no config is named.
    """
    options = parse(command, arguments)
    if options.lightning_help:
        raise ArgumentError("--lightning-help → mm2pl fit --lightning-help lists them")
    if not options.words:
        raise MissingFileError(f"mm2pl {command} needs a config → mm2pl {command} CONFIG")
    asked = merged(options, imports=not options.no_build)
    if asked is None:
        raise ArgumentError(
            "this is LightningCLI YAML without a run → mm2pl check takes MMEngine configs, and what mm2pl convert has "
            "written; a Trainer tries out anything else with --trainer.fast_dev_run true"
        )
    cfg = asked.cfg
    # Before any check: people print a config to find out what is wrong with it.
    if options.print_config:
        print(cfg.pretty_text)
        return 0
    require_config(cfg)
    cfg = changes.apply(options, cfg)
    _follow_length(asked)
    if not cfg.get("work_dir"):
        cfg.work_dir = f"./work_dirs/{Path(str(asked.path)).stem}"
    # Only here: Lightning comes with them.
    from mm2pl.check import check_config

    report = check_config(
        cfg,
        None if options.no_build else lambda folder: trial_runner(cfg, folder),
        asked.origins,
        trusted=is_trusted(options),
    )
    report.faults.extend(
        [
            *asked.doubts,
            *_not_tried(asked),
            *_of_classes(asked, is_trusted(options)),
            *_of_checkpoint(options.ckpt_path, cfg.work_dir),
        ]
    )
    if options.json:
        print(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        print(report)
    return 0 if report.is_sound(options.strict) else 1


_SHORTER = (
    *("fast_dev_run", "limit_train_batches", "limit_val_batches", "max_steps", "max_time"),
    *("min_epochs", "min_steps", "overfit_batches"),
)
"""Trainer arguments that make a run, or its validations, another length than the config says."""


def _follow_length(asked: Asked) -> None:
    """Let the config have the length that the Trainer is told, as the run has.

    Raises:
        ArgumentError: For a length that no key of a config has.
    """
    for name in _SHORTER:
        # What switches nothing on, in Lightning's words.
        if asked.values.get(name) not in (None, False, -1):
            raise ArgumentError(
                f"{asked.given[name]} → mm2pl check counts what the config says → leave it out, or give "
                "--trainer.max_epochs or --cfg-options train_cfg.…"
            )
    length, epochs = asked.cfg.get("train_cfg"), asked.values.get("max_epochs")
    if epochs not in (None, -1) and isinstance(length, Mapping) and "max_epochs" in length:
        asked.change({"train_cfg.max_epochs": epochs}, asked.given["max_epochs"])


def _not_tried(asked: Asked) -> Iterator[Fault]:
    """Yield the words for the Trainer that it does not know, and those that a trial does without."""
    from lightning.pytorch import Trainer

    known = inspect.signature(Trainer).parameters
    for name, word in asked.given.items():
        if name not in known:
            yield Fault(
                path=f"trainer.{name}",
                why="the Trainer has no such argument",
                advice=did_you_mean(f"trainer.{each}" for each in closest(name, known, 1)).strip(),
                origin=word,
            )
            continue
        if name == "max_epochs":
            continue
        yield Fault(
            path=f"trainer.{name}",
            why="a trial has one process and the Trainer that the config makes",
            severity="note",
            origin=word,
        )


def _of_classes(asked: Asked, trusted: bool) -> Iterator[Fault]:
    """Yield the classes in place of mm2pl's own that are not there, or that a trial does without."""
    for part, own in asked.classes.items():
        path = own.get("class_path")
        if path is None:
            continue
        missing = trusted and get_object_from_string(path) is None
        yield Fault(
            path=f"{part}.class_path",
            given=repr(path),
            why="there is no such class"
            if missing
            else f"a trial has {CLASSES[part]} in its place",
            advice="give the dotted path of one that can be imported" if missing else "",
            severity="error" if missing else "note",
        )


def _of_checkpoint(path: str | None, work_dir: str) -> Iterator[Fault]:
    """Yield a checkpoint that is not there."""
    from mm2pl.cli.parts import checkpoint_of, require_checkpoint

    try:
        if path in ("best", "last"):
            path = checkpoint_of(work_dir, path)
        require_checkpoint(path, work_dir)
    except (ArgumentError, MissingFileError) as error:
        yield Fault(path="ckpt_path", given=repr(path), why=str(error))
        return
    if path and "://" not in path and not Path(path).expanduser().exists():
        yield Fault(
            path="ckpt_path",
            given=repr(path),
            why="there is no such file",
            advice="give a path that is there, or a URL",
        )


def trial_runner(cfg: Config, folder: str) -> Runner:
    """Make the runner of the config for a trial, which works in ``folder``."""
    from mm2pl.check import in_folder
    from mm2pl.cli.lightning_cli import build_runner

    trial = copy.deepcopy(cfg)
    for key, value in in_folder(dict(cfg.items()), folder).items():
        trial[key] = value
    return build_runner(trial)
