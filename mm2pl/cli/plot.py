"""``mm2pl plot schedule``: the learning rate and momentum of a run, before it starts.

``mm2pl plot log`` draws what runs have logged.
"""

from __future__ import annotations

import argparse
import json
import os

from mm2pl.cli import plot_log
from mm2pl.cli.options import CONFIG_ENDINGS
from mm2pl.cli.reading import add_options, read
from mm2pl.errors import ArgumentError
from mm2pl.plan.plot import measured_epoch_length, plot_schedule, schedule_data


def run(command: str, arguments: list[str]) -> int:
    """Print a sparkline per curve, and draw them if a file is named.

    Raises:
        ValueError: If the config describes no training.
    """
    if arguments[:1] == ["log"]:
        return plot_log.run(command, arguments[1:])
    parser = argparse.ArgumentParser(
        prog=f"mm2pl {command}",
        description=__doc__,
        epilog=f"`mm2pl {command} log --help` lists the options of a log.",
    )
    if arguments and arguments[0].endswith(CONFIG_ENDINGS):
        raise ArgumentError(
            f"{arguments[0]!r} is a config, and what to plot comes first → mm2pl {command} schedule "
            f"{' '.join(arguments)}"
        )
    if arguments and os.path.isdir(arguments[0]):
        raise ArgumentError(
            f"{arguments[0]!r} is a folder, and what to plot comes first → mm2pl {command} log {' '.join(arguments)}"
        )
    parser.add_argument(
        "what", choices=["schedule", "log"], help="the schedules of a config, or the logs of runs"
    )
    add_options(parser)
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="draw to lr.png, lr.pdf, … (needs matplotlib)"
    )
    parser.add_argument(
        "--epoch-length", type=int, help="iterations per epoch, which a config does not say"
    )
    parser.add_argument(
        "--build", action="store_true", help="build the training data, and count them"
    )
    parser.add_argument("--json", action="store_true", help="print each value as JSON")
    options = parser.parse_args(arguments)
    if options.json and options.out:
        raise ArgumentError("--json prints the values and -o draws them → give one of the two")
    if options.build and options.epoch_length is not None:
        raise ArgumentError("--build and --epoch-length both say how long an epoch is → give one")
    cfg = read(options)
    if cfg is None:
        return 0
    length = measured_epoch_length(cfg) if options.build else options.epoch_length
    if options.json:
        print(json.dumps(schedule_data(cfg, epoch_length=length), ensure_ascii=False))
        return 0
    print(plot_schedule(cfg, options.out, epoch_length=length))
    if options.out:
        print(f"wrote {options.out}")
    return 0
