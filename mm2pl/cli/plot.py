"""``mm2pl plot schedule``: the learning rate and momentum of a run, before it starts."""

from __future__ import annotations

import argparse

from mm2pl.cli.run import require_config
from mm2pl.config import Config, DictAction


def run(command: str, arguments: list[str]) -> None:
    """Print a sparkline per curve, and draw them if a file is named.

    Raises:
        ValueError: If the config describes no training.
    """
    parser = argparse.ArgumentParser(prog=f"mm2pl {command}", description=__doc__)
    parser.add_argument("what", choices=["schedule"])
    parser.add_argument("config", help="an MMEngine config")
    parser.add_argument(
        "-o", "--out", metavar="FILE", help="draw to lr.png, lr.pdf, … (needs matplotlib)"
    )
    parser.add_argument(
        "--epoch-length", type=int, help="iterations per epoch, which a config does not say"
    )
    parser.add_argument("--cfg-options", nargs="+", action=DictAction, metavar="KEY=VALUE")
    options = parser.parse_args(arguments)
    require_config(options.config)
    cfg = Config.fromfile(options.config)
    if options.cfg_options:
        cfg.merge_from_dict(options.cfg_options)
    from mm2pl.optim.plot import plot_schedule

    print(plot_schedule(cfg, options.out, epoch_length=options.epoch_length))
