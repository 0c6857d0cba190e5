"""``mm2pl runs``: one line per run of the work folders: state, progress, best metric, loss, pace, checkpoints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mm2pl.errors import MissingFileError
from mm2pl.runs.folders import find
from mm2pl.runs.listing import SORTS, chosen, table
from mm2pl.runs.record import Run
from mm2pl.runs.tables import show


def run(command: str, arguments: list[str]) -> int:
    """Print the table; return 0, or 1 if no run is left by ``--filter``.

    Raises:
        MissingFileError: A folder is not there, or holds no runs.
        ArgumentError: A filter names a key that no config has.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument(
        "folders",
        nargs="*",
        metavar="DIR",
        help="work folders, or folders that hold some; default: work_dirs, or the current one",
    )
    parser.add_argument(
        "--sort", choices=SORTS, default="time", help="what comes first; default: the newest run"
    )
    parser.add_argument(
        "--filter",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="only runs whose config has this value, such as optim_wrapper.optimizer.lr=0.01; may be given again",
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    options = parser.parse_args(arguments)
    folders = options.folders or ["work_dirs" if Path("work_dirs").is_dir() else "."]
    found = find(folders)
    if not found:
        raise MissingFileError(
            f"{', '.join(map(repr, folders))}: no work folder of a run is there or up to five folders below → "
            f"mm2pl {command} DIR"
        )
    runs = chosen((Run(each, brief=True) for each in found), options.filter)
    records = sorted((each.record() for each in runs), key=SORTS[options.sort])
    if options.json:
        print(json.dumps([each.as_dict() for each in records], indent=1, ensure_ascii=False))
    elif records:
        show([table(records)])
    else:
        print(f"none of {len(found)} runs has {' and '.join(options.filter)}")
    return 0 if records else 1
