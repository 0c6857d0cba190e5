"""Choose the command, and turn a user's mistake into one message. Imports nothing slow."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path

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
    "plot": ("plot", "draw the learning rate over the run, before training"),
    "migrate": ("migrate", "bring an MMCV 1.x config, or a project's code, over"),
}
"""Command → module of :mod:`mm2pl.cli`, and what it does."""

USAGE = """usage: mm2pl COMMAND CONFIG [options]

Run MMEngine-style projects on the PyTorch Lightning Trainer.

{commands}

  mm2pl fit config.py                                  train
  mm2pl fit config.py --cfg-options train_cfg.max_epochs=3 --trainer.precision bf16-mixed
  mm2pl test config.py --ckpt_path best                evaluate the best checkpoint of the work folder

`mm2pl COMMAND --help` lists a command's options. --verbose shows the traceback of an error.
Packages that import mmengine get it from mm2pl if MMEngine is not installed; --as-mmengine insists on that.
"""


def usage() -> str:
    """Return the text of ``mm2pl --help``."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:<{width}}{text}" for name, (_, text) in COMMANDS.items()]
    return USAGE.format(commands="\n".join(lines))


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; return the exit code: 0, or 2 for a mistake that one message explains."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Wherever they stand: they belong to mm2pl and not to one command's parser.
    verbose, insist = "--verbose" in arguments, "--as-mmengine" in arguments
    arguments = [a for a in arguments if a not in ("--verbose", "--as-mmengine")]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(usage())
        return 0
    if arguments[0] == "--version":
        print(f"mm2pl {__version__}")
        return 0
    command, *rest = arguments
    if command not in COMMANDS:
        hint = did_you_mean(closest(command, COMMANDS, 1))
        print(
            f"mm2pl: {command!r} is no command → one of {', '.join(COMMANDS)}.{hint}",
            file=sys.stderr,
        )
        return 2
    if "" not in sys.path:
        sys.path.insert(
            0, ""
        )  # custom_imports find the project's own packages, as with `python tools/train.py`
    try:
        with alias_mmengine(insist):
            run: Callable[[str, list[str]], int | None] = import_module(
                f"mm2pl.cli.{COMMANDS[command][0]}"
            ).run
            return run(command, rest) or 0
    # Not SystemExit: argparse has said its message already, with an exit code.
    except Exception as error:
        if not speaks_for_all(error):
            return 1
        if verbose or not is_users_mistake(error):
            raise
        print(f"mm2pl {command}: {message_of(error)}", file=sys.stderr)
        return 2


def speaks_for_all(error: BaseException) -> bool:
    """Return whether this process tells of a failure; of several that fail, one does."""
    if "MASTER_PORT" not in os.environ:
        return True
    # Only here: Lightning comes with it, and a single process has nobody to ask.
    from mm2pl.lightning.failures import is_first_failure

    return is_first_failure(error)


def is_users_mistake(error: BaseException) -> bool:
    """Return whether mm2pl or Lightning raised the error to tell its user something; others keep their traceback."""
    if not isinstance(
        error, (ValueError, TypeError, LookupError, OSError, RuntimeError, ImportError, SyntaxError)
    ):
        return type(error).__name__ == "MisconfigurationException"  # Lightning's, an Exception
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return False
    last = Path(frames[-1].filename).resolve()
    if Path(__file__).resolve().parent.parent in last.parents:
        return True
    # Lightning checks its callbacks and options with messages of its own; what fails in a call is no such message.
    return "lightning" in last.parts and (frames[-1].line or "").startswith("raise ")


def message_of(error: BaseException) -> str:
    """Return an error's message with its notes."""
    return "\n".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
