"""``mm2pl explain``: where every key of a config goes."""

from __future__ import annotations

import argparse
import contextlib
import json
from importlib import import_module

from mm2pl.cli.command_line import find_config
from mm2pl.cli.reading import add_options, is_trusted, read
from mm2pl.cli.yaml_run import content_of
from mm2pl.config import Config
from mm2pl.config.errors import ConfigError
from mm2pl.config.outline import outlined_keys
from mm2pl.errors import ArgumentError
from mm2pl.plan.explain import explain, table
from mm2pl.plan.fault import Fault
from mm2pl.plan.legacy import is_legacy
from mm2pl.plan.reference import reference
from mm2pl.plan.unread import redefined

_NOT_RUN = (
    "{config} is a config of MMCV 1.x. explain does not execute such a file, and cannot read this one otherwise "
    "({error}) → mm2pl migrate {config} -o NEW, which executes it."
)


def run(command: str, arguments: list[str]) -> int:
    """Print the table; return 2 if the run would refuse the config, or with ``--strict`` on any warning.

    Raises:
        ArgumentError: It is a config of MMCV 1.x that cannot be read without executing it.
        MissingFileError: There is no such config.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument(
        "--format", choices=["text", "md", "json"], default="text", help="of the table"
    )
    parser.add_argument(
        "--all", action="store_true", help="list every key there is, without a config"
    )
    if "--all" in arguments:
        style = parser.parse_args(arguments).format
        print(reference("md" if style == "md" else "text"))
        return 0
    add_options(parser)
    options = parser.parse_args(arguments)
    # All that there is to tell of it is the command that migrates it.
    old = not options.safe and _is_of_1x(options.config)
    if old:
        options.safe = True
    # Its packages may not be installed: their types are then not looked up, and all else is explained.
    doubts: list[Fault] = []
    try:
        cfg = read(options, check=False, imports=False, doubts=doubts)
    except ConfigError as error:
        if not old:
            raise
        path = find_config(options.config)
        raise ArgumentError(_NOT_RUN.format(config=path, error=error)) from error
    if cfg is None:
        return 0
    # Looking a type up imports what the config names, which a stranger's config must not decide.
    trusted = is_trusted(options)
    if trusted:
        import_custom(cfg)
    origins = dict.fromkeys(options.cfg_options or {}, "--cfg-options")
    rows = explain(cfg, trusted, origins, [*redefined(cfg), *doubts])
    if options.format == "json":
        print(json.dumps([row.as_dict() for row in rows], indent=1, ensure_ascii=False))
    else:
        print(table(rows, options.format))
    failing = {"error", "warning"} if options.strict else {"error"}
    return 2 if any(row.status in failing for row in rows) else 0


def _is_of_1x(config: str) -> bool:
    """Return whether a config is one of MMCV 1.x, by the names that it and its bases set; nothing is executed."""
    path = find_config(config)
    # A YAML in LightningCLI's form has `data` too.
    return content_of(path) is None and is_legacy(dict.fromkeys(outlined_keys(path)))


def import_custom(cfg: Config) -> None:
    """Import a config's ``custom_imports`` as far as they are there."""
    custom = cfg.get("custom_imports")
    modules = custom.get("imports") if isinstance(custom, dict) else None
    for module in [modules] if isinstance(modules, str) else modules or []:
        # Anything can happen in a module of the user's; `fit` says what.
        with contextlib.suppress(Exception):
            import_module(module)
