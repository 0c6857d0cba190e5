"""``mm2pl explain``: where every key of a config goes."""

from __future__ import annotations

import argparse
import json

from mm2pl.cli.reading import add_options, read
from mm2pl.plan.explain import explain, table


def run(command: str, arguments: list[str]) -> int:
    """Print the table; return 2 if the run would refuse the config, or with ``--strict`` on any warning."""
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    add_options(parser)
    parser.add_argument("--format", choices=["text", "md", "json"], default="text")
    options = parser.parse_args(arguments)
    # Without imports, so that a config can be explained where its packages are not installed.
    cfg = read(options, check=False, imports=False)
    if cfg is None:
        return 0
    rows = explain(dict(cfg.items()))
    if options.format == "json":
        print(json.dumps([row.as_dict() for row in rows], indent=1, ensure_ascii=False))
    else:
        print(table(rows, options.format))
    failing = {"error", "warning"} if options.strict else {"error"}
    return 2 if any(row.status in failing for row in rows) else 0
