"""``mm2pl plot log``: what runs have logged, as curves over the training."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from mm2pl.cli.optional import with_default
from mm2pl.errors import ArgumentError, MissingPackageError
from mm2pl.runs.curves import Curve, as_text, axis_of, curves, smoothed
from mm2pl.runs.folders import work_dir
from mm2pl.runs.record import Run
from mm2pl.utils.numbers import is_number
from mm2pl.utils.picture_path import check_picture_path


def run(command: str, arguments: list[str]) -> int:
    """Print a sparkline per curve, and draw them if a file is named; with ``--watch`` again and again.

    Raises:
        MissingFileError: A folder is not that of a run.
        ArgumentError: A value was not logged, or an option does not fit.
        MissingPackageError: A picture needs matplotlib.
    """
    options = _parsed(command, arguments)
    try:
        return _run(options)
    except KeyboardInterrupt:
        # It is how watching ends.
        if options.watch is None:
            raise
        return 0


def _run(options: argparse.Namespace) -> int:
    seconds = options.watch
    if options.out is not None and find_spec("matplotlib"):
        check_picture_path(Path(options.out))
    while True:
        # Each once: a pattern such as */vis_data/scalars.json names the starts of one run.
        folders = {folder.path.resolve(): folder for folder in map(work_dir, options.folders)}
        runs = [Run(folder) for folder in folders.values()]
        begun = any(run.history.train or run.history.val for run in runs)
        # A run that is watched from its start has logged nothing yet.
        found = curves(runs, options.keys, options.x) if begun or not seconds else []
        if options.json:
            print(json.dumps([each.as_dict() for each in found], indent=1, ensure_ascii=False))
            return 0
        text = as_text([smoothed(each, options.smooth) for each in found], options.log)
        text = text or "nothing was logged yet"
        if seconds and sys.stdout.isatty():
            text = f"\033[H\033[2J{text}"
        print(text, flush=True)
        if options.out is not None and found:
            _draw(found, options, options.x or axis_of(runs))
        if not seconds:
            return 0
        # Another program's run leaves no word of its end.
        if all(each.state.name not in ("running", "unknown") for each in runs):
            return 0
        time.sleep(seconds)


def _parsed(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"mm2pl {command} log", description=__doc__)
    add = parser.add_argument
    add("folders", nargs="+", metavar="WORK_DIR", help="work folders of runs, in one picture")
    add("--keys", nargs="+", metavar="KEY", help="default: loss, the metric that decides, and lr")
    add("--x", choices=["epoch", "iter"], help="default: epoch where all runs count epochs")
    add("--smooth", type=float, default=0.0, metavar="WEIGHT", help="from 0 to below 1")
    add("--log", action="store_true", help="values on a logarithmic axis")
    add("-o", "--out", metavar="FILE", help="draw to x.png, x.pdf, … (needs matplotlib)")
    add("--size", metavar="WxH", help="of the picture in inches; default: 10x6")
    add("--dark", action="store_true", help="draw on a dark ground")
    add(
        *("--watch",),
        type=float,
        metavar="[SECONDS]",
        help="draw again every 5 seconds, until the runs have ended",
    )
    add("--json", action="store_true", help="print the values")
    words = with_default(arguments, "--watch", "5", is_number)
    options = parser.parse_intermixed_args(words)
    _check_together(options)
    if not 0 <= options.smooth < 1:
        raise ArgumentError(
            f"--smooth {options.smooth:g} → a number from 0 to below 1, such as 0.9"
        )
    if options.watch is not None and not options.watch > 0:
        raise ArgumentError(f"--watch {options.watch:g} → a number of seconds above 0")
    size = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", options.size or "10x6")
    if size is None or not all(1 <= float(each) <= 100 for each in size.groups()):
        raise ArgumentError(f"--size {options.size} → width and height in inches, such as 10x6")
    options.size = float(size[1]), float(size[2])
    return options


def _check_together(options: argparse.Namespace) -> None:
    """See that no option is given which another one makes useless."""
    of_text = ("smooth", "log", "out", "watch")
    unused = [f"--{name}" for name in of_text if options.json and getattr(options, name)]
    if unused:
        raise ArgumentError(
            f"--json prints the values once, as they were logged → leave out {', '.join(unused)}"
        )
    unused = [f"--{name}" for name in ("dark", "size") if getattr(options, name)]
    if unused and options.out is None:
        raise ArgumentError(f"{', '.join(unused)} is of a picture → name its file with --out FILE")


def _draw(found: list[Curve], options: argparse.Namespace, axis: str) -> None:
    if find_spec("matplotlib") is None:
        raise MissingPackageError(
            f"{options.out} is not drawn: matplotlib is missing → pip install mm2pl[plot]"
        )
    # Only here, because it takes a while.
    from mm2pl.runs.picture import draw

    draw(
        found,
        Path(options.out),
        axis=axis,
        weight=options.smooth,
        log=options.log,
        dark=options.dark,
        size=options.size,
    )
    if options.watch is None:
        print(f"wrote {options.out}")
