"""``mm2pl profile``: where the time of a training goes, and what its model costs."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mm2pl.cli.reading import add_options, read
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.plan.schema import require_config
from mm2pl.runs.configs import value_at
from mm2pl.runs.tables import show

if TYPE_CHECKING:
    from mm2pl.config import Config

TRACES = (".json", ".json.gz")
"""Endings of a trace that torch writes."""


def run(command: str, arguments: list[str]) -> int:
    """Print where the time of some iterations goes.

    They are trained in a temporary folder, without a checkpoint: nothing is written into a work folder.

    Raises:
        ArgumentError: An option has no such value, or the config describes no training of that length.
        MissingFileError: There is no such config, or no folder for the trace.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    add_options(parser)
    add = parser.add_argument
    add("-n", "--iterations", type=int, default=10, help="how many are measured; default: 10")
    add("--warm-up", type=int, default=3, help="how many come before; default: 3")
    add("--trace", metavar="FILE", help="write a trace for chrome://tracing: x.json or x.json.gz")
    add("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    _check(options)
    cfg = read(options)
    if cfg is None:
        return 0
    require_config(cfg)
    _require_training(cfg)
    # Only here: Lightning comes with it.
    from mm2pl.check.profile import profile_run
    from mm2pl.cli.check import trial_runner

    found = profile_run(
        lambda folder: trial_runner(cfg, folder),
        name=options.config,
        iterations=options.iterations,
        warm_up=options.warm_up,
        trace=options.trace,
        log_interval=value_at(dict(cfg.items()), "default_hooks.logger.interval", 10),
        left_out=_other_backends(cfg),
    )
    if options.json:
        print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
        return 0
    show(found.tables())
    if options.trace:
        print(f"\nwrote {options.trace}")
    return 0


def _check(options: argparse.Namespace) -> None:
    """See that each option has a value that can be used."""
    if options.iterations < 1:
        raise ArgumentError(f"--iterations {options.iterations} → at least 1")
    if options.warm_up < 0:
        raise ArgumentError(f"--warm-up {options.warm_up} → 0 or more")
    if options.trace is None:
        return
    folder = Path(options.trace).parent
    if not options.trace.endswith(TRACES):
        raise ArgumentError(f"--trace {options.trace} → a name that ends in {' or '.join(TRACES)}")
    if not folder.is_dir():
        raise MissingFileError(
            f"the folder of {options.trace!r} does not exist → name another --trace"
        )
    # torch 2.13 only prints that it could not write, and goes on.
    if Path(options.trace).is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise ArgumentError(f"--trace {options.trace} cannot be written → name another file")


def _require_training(cfg: Config) -> None:
    """See that the config trains.

    Raises:
        ArgumentError: It does not.
    """
    content: Mapping[str, Any] = dict(cfg.items())
    missing = [key for key in ("train_cfg", "optim_wrapper") if content.get(key) is None]
    if content.get("train_dataloader") is None and content.get("datamodule") is None:
        missing.insert(0, "train_dataloader")
    if "optim_wrapper" in missing and content.get("datamodule") is not None:
        missing.remove("optim_wrapper")
    if missing:
        raise ArgumentError(
            f"the config has no {', '.join(missing)} → mm2pl profile measures a training, which needs them"
        )


def _other_backends(cfg: Config) -> list[str]:
    """Return the backends of the visualizer that a trial leaves out: it writes files, and only where it is."""
    backends = value_at(dict(cfg.items()), "visualizer.vis_backends", None)
    kinds = [each.get("type") for each in backends or () if isinstance(each, Mapping)]
    return [str(getattr(kind, "__name__", kind)) for kind in kinds if kind != "LocalVisBackend"]
