"""``mm2pl compare``: runs next to each other: what differs in their configs and versions, metrics, checkpoints."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from mm2pl.cli.optional import with_default
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.runs.compare import compare, tables
from mm2pl.runs.curves import Curve, axis_of, curves
from mm2pl.runs.folders import WorkDir, work_dir
from mm2pl.runs.page import page
from mm2pl.runs.record import Run
from mm2pl.runs.tables import show


def run(command: str, arguments: list[str]) -> None:
    """Print the tables, or write them with the curves as a page.

    Raises:
        MissingFileError: A folder is not that of a run, or has no checkpoint to compare.
        ArgumentError: There are fewer than two runs.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument("folders", nargs="+", metavar="RUN", help="work folders of runs")
    parser.add_argument(
        "--weights",
        metavar="[best|last|NAME]",
        help="read a checkpoint of each, and say which weights differ from the first run's; default: last",
    )
    parser.add_argument("--html", metavar="FILE", help="write one page, with the curves")
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    words = with_default(arguments, "--weights", "last", _names_a_checkpoint)
    options = parser.parse_intermixed_args(words)
    if len(options.folders) < 2:
        raise ArgumentError(
            f"{options.folders[0]!r} is one run → name two or more: mm2pl {command} RUN RUN"
        )
    if options.html and not Path(options.html).parent.is_dir():
        raise MissingFileError(
            f"the folder of {options.html!r} does not exist → name another --html"
        )
    runs = [Run(work_dir(each)) for each in options.folders]
    found = compare(runs)
    if options.weights is not None:
        paths = [_checkpoint(each.folder, options.weights) for each in runs]
        # Only here, because torch comes with it.
        from mm2pl.runs.weights import compare_weights

        found.sections.append(compare_weights(paths))
    if options.html:
        Path(options.html).write_text(page(found, _logged(runs), axis_of(runs)), encoding="utf-8")
    if options.json:
        print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
    elif options.html:
        print(f"wrote {options.html}")
    else:
        show(tables(found))


def _names_a_checkpoint(word: str) -> bool:
    return word in ("best", "last") or (bool(word) and word[0] != "-" and not Path(word).is_dir())


def _logged(runs: list[Run]) -> list[Curve]:
    return curves(runs) if any(run.history.train or run.history.val for run in runs) else []


def _checkpoint(folder: WorkDir, wanted: str) -> Path:
    """Return the checkpoint of a run that is meant: where it goes on, the newest best one, or one by its name."""
    if wanted == "last" and folder.goes_on:
        return folder.goes_on[0]
    for path in reversed(folder.checkpoints):
        is_best = path.name.startswith("best_")
        if (
            path.name == wanted
            or (wanted == "best" and is_best)
            or (wanted == "last" and not is_best)
        ):
            return path
    names = ", ".join(path.name for path in folder.checkpoints) or "none"
    raise MissingFileError(f"--weights {wanted}: {folder.path} has no such checkpoint, but {names}")
