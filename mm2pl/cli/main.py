"""Choose the command, and turn a user's mistake into one message. Imports nothing slow."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import TextIO

from mm2pl.adverts import without_adverts
from mm2pl.cli.faults import speaks_for_all, told, users_line
from mm2pl.cli.habits import command_instead_of
from mm2pl.closest import closest, did_you_mean
from mm2pl.compat import alias_mmengine
from mm2pl.version import __version__

COMMANDS: dict[str, tuple[str, str]] = {
    "fit": ("run", "train (and validate) what a config describes"),
    "validate": ("run", "evaluate on the validation set"),
    "test": ("run", "evaluate on the test set"),
    "predict": ("run", "write the test set's predictions to a file"),
    "check": ("check", "find out, before a long run, whether it will reach its end"),
    "explain": ("explain", "list where every key of a config goes, or why it goes nowhere"),
    "convert": ("convert", "write a config as LightningCLI YAML, or flattened"),
    "convert-ckpt": (
        "convert_ckpt",
        "rewrite a checkpoint for Lightning, for MMEngine, or as bare weights",
    ),
    "plot": ("plot", "draw the learning rate of a run before it starts, or what runs have logged"),
    "browse": ("browse", "show samples as the model gets them, with their annotations"),
    "profile": ("profile", "measure where the time of a training goes, and what its model costs"),
    "runs": ("runs", "list the runs of work folders: state, progress, best metric, pace"),
    "compare": ("compare", "put runs next to each other: configs, versions, metrics, checkpoints"),
    "publish": ("publish", "write the weights of a checkpoint under a name with their hash"),
    "clean": ("clean", "remove checkpoints of a run that has ended, after asking"),
    "migrate": ("migrate", "bring an MMCV 1.x config, or a project's code, over"),
    "run": ("script", "run a script that imports mmengine, with mm2pl in its place"),
}
"""Command → module of :mod:`mm2pl.cli`, and what it does."""

USAGE = """usage: mm2pl COMMAND CONFIG [options]

Run MMEngine-style projects on the PyTorch Lightning Trainer.

{commands}

  mm2pl fit config.py                                  train
  mm2pl fit config.py --cfg-options train_cfg.max_epochs=3 --trainer.precision bf16-mixed
  mm2pl test config.py --ckpt_path best                evaluate the best checkpoint of the work folder
  mm2pl run tools/train.py config.py                   run a script, whose mmengine is mm2pl

`mm2pl COMMAND --help` lists a command's options. --verbose shows the traceback of an error.
Packages that import mmengine get it from mm2pl if MMEngine is not installed; --as-mmengine insists on that.
"""


def usage() -> str:
    """Return the text of ``mm2pl --help``."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, (_, text) in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))


NOBODY_READS = 128 + 13
"""The exit code where standard output is closed, as by ``| head -1``: that of a program which SIGPIPE has ended."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line ``argv``, by default this process's own; return the exit code.

    It is 0, 1 after Ctrl-C, 2 for a mistake that one message explains, or :data:`NOBODY_READS`.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _main(arguments)
        # Here: what still waits to be written would fail behind this function, with a message of Python's.
        print(end="", flush=True)
    except BrokenPipeError:
        # A script of the user's has a say of its own.
        if arguments[:1] == ["run"] or not _is_closed(sys.stdout):
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    return code


def _is_closed(stream: TextIO) -> bool:
    """Return whether the reader of a stream is gone, where the system tells."""
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(stream.fileno(), 0)
    return any(state & select.POLLERR for _, state in poll.poll(0))


def _main(arguments: list[str]) -> int:
    # Wherever they stand: they belong to mm2pl and not to one command's parser. But a script has options of its own.
    words = (i for i, each in enumerate(arguments) if each not in ("--verbose", "--as-mmengine"))
    first = next(words, 0)
    end = first if arguments[first : first + 1] == ["run"] else len(arguments)
    verbose, insist = "--verbose" in arguments[:end], "--as-mmengine" in arguments[:end]
    own = [a for a in arguments[:end] if a not in ("--verbose", "--as-mmengine")]
    arguments = [*own, *arguments[end:]]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"mm2pl {__version__}")
        return 0
    command, *rest = arguments
    if command != "run" and isinstance(sys.stdout, TextIOWrapper):
        # A name of a file may be no text, and a terminal of Windows has no arrows.
        sys.stdout.reconfigure(errors="backslashreplace")
    if command not in COMMANDS:
        print(f"mm2pl: {_no_command(command, rest)}", file=sys.stderr)
        return 2
    if "" not in sys.path and command != "run":
        # custom_imports find the project's own packages, as with `python tools/train.py`
        sys.path.insert(0, "")
    with alias_mmengine(insist, force=command == "run"), without_adverts():
        # Inside: a message may ask the registries of packages that are gone with the alias.
        return _run(command, rest, verbose)


def _no_command(command: str, rest: list[str]) -> str:
    """Return a message about a word that is not a command."""
    if meant := command_instead_of(command, rest):
        return f"{command!r} is not a command → {meant}"
    hint = did_you_mean(closest(command, COMMANDS, 1))
    return f"{command!r} is not a command → one of {', '.join(COMMANDS)}.{hint}"


def _run(command: str, rest: list[str], verbose: bool) -> int:
    """Run a command; a mistake of the user's becomes one message."""
    try:
        run: Callable[[str, list[str]], int | None] = import_module(
            f"mm2pl.cli.{COMMANDS[command][0]}"
        ).run
        return run(command, rest) or 0
    except KeyboardInterrupt:
        # As Lightning ends a training. A script of the user's has a say of its own.
        if verbose or command == "run":
            raise
        print(f"mm2pl {command}: interrupted", file=sys.stderr)
        return 1
    # Not SystemExit: argparse has said its message already, with an exit code.
    except Exception as error:
        if not speaks_for_all(error):
            return 1
        text = told(error, f"mm2pl {command}")
        if verbose or not text:
            if line := users_line(error):
                print(f"mm2pl {command}: failed in {line}", file=sys.stderr)
            raise
        print(text, file=sys.stderr)
        return 2
