"""The options with which ``explain``, ``convert`` and ``plot`` read a config, as ``fit`` does."""

from __future__ import annotations

import argparse

from mm2pl.cli.command_line import find_config
from mm2pl.cli.options import add_reading_options
from mm2pl.config import Config
from mm2pl.plan import explain


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the config and what changes how it is read."""
    parser.add_argument("config", help="an MMEngine config")
    add_reading_options(parser)
    parser.add_argument(
        "--print_config",
        action="store_true",
        help="print the config without _base_ and with the changes, and do nothing else",
    )


def read(options: argparse.Namespace, *, check: bool = True, imports: bool = True) -> Config | None:
    """Read and change the config; None if printing it was all that was asked for.

    Args:
        options: What was parsed.
        check: With ``--strict``, refuse keys that will have no effect.
        imports: Import the config's ``custom_imports``.

    Raises:
        FileNotFoundError: If there is no such config.
        ValueError: If ``--strict`` finds something.
    """
    path = find_config(options.config)
    cfg = Config.fromfile(path, safe=options.safe, import_custom_modules=imports)
    if options.cfg_options:
        cfg.merge_from_dict(options.cfg_options)
    # Before any check: people print a config to find out what is wrong with it.
    if options.print_config:
        print(cfg.pretty_text)
        return None
    if check and options.strict:
        explain.check(dict(cfg.items()), strict=True)
    return cfg
