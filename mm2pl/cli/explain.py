"""``mm2pl explain``: where every key of a config goes."""

from __future__ import annotations

import argparse
import json

from mm2pl.cli.run import require_config
from mm2pl.config import Config, DictAction
from mm2pl.lightning.explain import explain, table


def run(command: str, arguments: list[str]) -> int:
    """Print the table; return 2 if the run would refuse the config, or with ``--strict`` on any warning."""
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument("config", help="an MMEngine config")
    parser.add_argument("--format", choices=["text", "md", "json"], default="text")
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    parser.add_argument("--safe", action="store_true", help="read the config without executing it")
    parser.add_argument("--strict", action="store_true", help="exit with 2 if there is a warning")
    options = parser.parse_args(arguments)
    require_config(options.config)
    cfg = Config.fromfile(options.config, import_custom_modules=False, safe=options.safe)
    if options.cfg_options:
        cfg.merge_from_dict(options.cfg_options)
    rows = explain(dict(cfg.items()))
    if options.format == "json":
        print(json.dumps([row.as_dict() for row in rows], indent=1, ensure_ascii=False))
    else:
        print(table(rows, options.format))
    failing = {"error", "warning"} if options.strict else {"error"}
    return 2 if any(row.status in failing for row in rows) else 0
