"""``mm2pl plot log``: what runs have logged, as curves over the training."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from importlib.util import find_spec
from pathlib import Path

from mm2pl.errors import ArgumentError
from mm2pl.runs.curves import Curve, as_text, axis_of, curves, smoothed
from mm2pl.runs.folders import work_dir
from mm2pl.runs.record import Run


def run(command: str, arguments: list[str]) -> int:
    """Print a sparkline per curve, and draw them if a file is named; with ``--watch`` again and again.

    Raises:
        MissingFileError: A folder is not that of a run.
        ArgumentError: A value was not logged, or an option does not fit.
    """
    options = _parsed(command, arguments)
    seconds = options.watch
    while True:
        runs = [Run(work_dir(each)) for each in options.folders]
        found = curves(runs, options.keys, options.x)
        if options.json:
            print(json.dumps([each.as_dict() for each in found], indent=1, ensure_ascii=False))
            return 0
        text = as_text([smoothed(each, options.smooth) for each in found], options.log)
        if seconds and sys.stdout.isatty():
            text = f"\033[H\033[2J{text}"
        print(text, flush=True)
        if options.out is not None:
            _draw(found, options, options.x or axis_of(runs))
        if not seconds:
            return 0
        # Nobody says of another program's run that it has ended.
        if all(each.state.name not in ("running", "unknown") for each in runs):
            return 0
        try:
            time.sleep(seconds)
        except KeyboardInterrupt:
            return 0


def _parsed(command: str, arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=f"mm2pl {command} log", description=__doc__)
    add = parser.add_argument
    add("folders", nargs="+", metavar="WORK_DIR", help="work folders of runs, in one picture")
    add("--keys", nargs="+", metavar="KEY", help="default: loss, the metric that decides, and lr")
    add("--x", choices=["epoch", "iter"], help="default: epoch where all runs count epochs")
    add("--smooth", type=float, default=0.0, metavar="WEIGHT", help="from 0 to below 1")
    add("--log", action="store_true", help="values on a logarithmic axis")
    add("-o", "--out", metavar="FILE", help="draw to x.png, x.pdf, … (needs matplotlib)")
    add("--size", default="10x6", metavar="WxH", help="of the picture in inches; default: 10x6")
    add("--dark", action="store_true", help="draw on a dark ground")
    add(
        *("--watch",),
        nargs="?",
        const=5.0,
        type=float,
        metavar="SECONDS",
        help="draw again every 5 seconds, until the runs have ended",
    )
    add("--json", action="store_true", help="print the values")
    options = parser.parse_args(arguments)
    if not 0 <= options.smooth < 1:
        raise ArgumentError(
            f"--smooth {options.smooth:g} → a number from 0 to below 1, such as 0.9"
        )
    if options.watch is not None and not options.watch > 0:
        raise ArgumentError(f"--watch {options.watch:g} → a number of seconds above 0")
    size = re.fullmatch(r"(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)", options.size)
    if size is None or not all(1 <= float(each) <= 100 for each in size.groups()):
        raise ArgumentError(f"--size {options.size} → width and height in inches, such as 10x6")
    options.size = float(size[1]), float(size[2])
    return options


def _draw(found: list[Curve], options: argparse.Namespace, axis: str) -> None:
    if find_spec("matplotlib") is None:
        print(f"{options.out} is not drawn: matplotlib is missing → pip install mm2pl[plot]")
        return
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
