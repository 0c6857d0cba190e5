"""``mm2pl check``: whether a run will reach its end, told before it starts."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mm2pl.cli import changes
from mm2pl.cli.command_line import merged
from mm2pl.cli.merging import Asked
from mm2pl.cli.options import parse
from mm2pl.cli.reading import is_trusted
from mm2pl.config import Config
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.plan.fault import Fault
from mm2pl.plan.schema import require_config

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
    report.faults.extend([*asked.doubts, *_not_tried(asked)])
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
    """Yield the words for the Trainer, and for classes of the user's own, that a trial does without."""
    for name, word in asked.given.items():
        if name == "max_epochs":
            continue
        yield Fault(
            path=f"trainer.{name}",
            why="a trial has one process and the Trainer that the config makes",
            severity="note",
            origin=word,
        )


def trial_runner(cfg: Config, folder: str) -> Runner:
    """Make the runner of the config for a trial, which works in ``folder``."""
    from mm2pl.check import in_folder
    from mm2pl.cli.lightning_cli import build_runner

    trial = copy.deepcopy(cfg)
    for key, value in in_folder(dict(cfg.items()), folder).items():
        trial[key] = value
    return build_runner(trial)
