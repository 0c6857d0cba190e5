"""``mm2pl fit``, ``validate``, ``test`` and ``predict``."""

from __future__ import annotations

import signal
import sys

from mm2pl.cli import command_line
from mm2pl.errors import MissingFileError
from mm2pl.version import __version__


def first_line() -> None:
    """Say that the program is at work, before seconds of imports; nothing where they are done already."""
    if "lightning.pytorch" not in sys.modules:
        print(f"mm2pl {__version__}, loading Lightning …", file=sys.stderr, flush=True)


def run(command: str, arguments: list[str]) -> int | None:
    """Run one of the four commands.

    Raises:
        FileNotFoundError: If there is no config.
        ValueError: If options contradict each other or the config.
    """
    said = command_line.read(command, arguments)
    asks_for_help = said.options.lightning_help
    if not asks_for_help and not said.options.words:
        raise MissingFileError(f"mm2pl {command} needs a config → mm2pl {command} CONFIG")
    if command == "predict" and not asks_for_help and not said.options.out:
        print("mm2pl: WARNING: without --out FILE.pkl no prediction is written", file=sys.stderr)
    first_line()
    # Only here: Lightning takes seconds to import, which a mistake in the config or `--help` need not.
    from lightning.pytorch.utilities.exceptions import SIGTERMException

    from mm2pl.cli.lightning_cli import MMCLI

    try:
        MMCLI(args=[command, *arguments], said=said)
    except SIGTERMException:  # a SystemExit(0): to a shell the run has not succeeded
        return 128 + signal.SIGTERM
    return None
