"""``mm2pl check``: whether a run will reach its end, told before it starts."""

from __future__ import annotations

import argparse
import copy
import json
from pathlib import Path
from typing import TYPE_CHECKING

from mm2pl.cli.reading import add_options, is_trusted, read
from mm2pl.config import Config
from mm2pl.plan.fault import Fault

if TYPE_CHECKING:
    from mm2pl.runner import Runner


def run(command: str, arguments: list[str]) -> int:
    """Print what was found; return 0 if the run is sound, 1 if it has faults, 2 if there is no config to check."""
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    add_options(parser)
    parser.add_argument("--work-dir", help="the folder of the run")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    parser.add_argument(
        "--no-build", action="store_true", help="only what the config alone tells; nothing is built"
    )
    options = parser.parse_args(arguments)
    doubts: list[Fault] = []
    cfg = read(options, check=False, imports=not options.no_build, doubts=doubts)
    if cfg is None:
        return 0
    if options.work_dir:
        cfg.work_dir = options.work_dir
    elif not cfg.get("work_dir"):
        cfg.work_dir = f"./work_dirs/{Path(options.config).stem}"
    # Only here: Lightning comes with them.
    from mm2pl.check import check_config

    report = check_config(
        cfg,
        None if options.no_build else lambda folder: trial_runner(cfg, folder),
        dict.fromkeys(options.cfg_options or {}, "--cfg-options"),
        trusted=is_trusted(options),
    )
    report.faults.extend(doubts)
    if options.json:
        print(json.dumps(report.as_dict(), indent=1, ensure_ascii=False))
    else:
        print(report)
    return 0 if report.is_sound(options.strict) else 1


def trial_runner(cfg: Config, folder: str) -> Runner:
    """Make the runner of the config for a trial, which works in ``folder``."""
    from mm2pl.check import in_folder
    from mm2pl.cli.lightning_cli import build_runner

    trial = copy.deepcopy(cfg)
    for key, value in in_folder(dict(cfg.items()), folder).items():
        trial[key] = value
    return build_runner(trial)
