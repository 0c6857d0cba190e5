"""The options with which ``explain``, ``convert`` and ``plot`` read a config, as ``fit`` does."""

from __future__ import annotations

import argparse

from mm2pl.cli.command_line import find_config
from mm2pl.cli.options import add_reading_options
from mm2pl.cli.yaml_run import config_of_yaml, content_of, run_of_yaml
from mm2pl.config import Config
from mm2pl.plan.fault import Fault
from mm2pl.plan.overrides import without_effect
from mm2pl.plan.schema import faults_of, refuse, require_config
from mm2pl.plan.unread import redefined


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the config and what changes how it is read."""
    parser.add_argument("config", help="an MMEngine config")
    add_reading_options(parser)
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="print the config without _base_ and with the changes, and do nothing else",
    )


def is_trusted(options: argparse.Namespace) -> bool:
    """Return whether what a config names may be imported: without ``--safe``."""
    return options.safe is False or options.safe is None


def read(
    options: argparse.Namespace,
    *,
    check: bool = True,
    imports: bool = True,
    doubts: list[Fault] | None = None,
) -> Config | None:
    """Read and change the config; None if printing it was all that was asked for.

    Args:
        options: What was parsed.
        check: With ``--strict``, refuse keys that will have no effect.
        imports: Import the config's ``custom_imports``.
        doubts: Filled with the changes that have no effect.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If ``--strict`` finds something.
    """
    path = find_config(options.config)
    content = content_of(path)
    if content is not None and run_of_yaml(content):
        cfg = config_of_yaml(content, path)  # what `mm2pl convert` has written
    else:
        cfg = Config.fromfile(path, safe=options.safe, import_custom_modules=imports)
    changes = options.cfg_options or {}
    found = without_effect(changes, dict(cfg.items()))
    cfg.merge_from_dict(changes)
    # Before any check: people print a config to find out what is wrong with it.
    if options.print_config:
        print(cfg.pretty_text)
        return None
    require_config(cfg)
    if check and options.strict:
        origins = dict.fromkeys(changes, "--cfg-options")
        faults = faults_of(cfg, False, origins, trusted=is_trusted(options))
        refuse([*redefined(cfg), *found, *faults], strict=True)
    if doubts is not None:
        doubts += found
    return cfg
