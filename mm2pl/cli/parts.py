"""The parts of a run, made from the classes and options of a command line; and the checkpoint that it names."""

from __future__ import annotations

import inspect
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace
from lightning.pytorch import Trainer

from mm2pl.checkpoint.latest import find_latest_checkpoint
from mm2pl.checkpoint.reader import files_beside
from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.lightning.assembly import Parts
from mm2pl.lightning.callbacks import RunCallback
from mm2pl.lightning.trainer import instantiate
from mm2pl.plan.translate import FOLLOWED_BY_PLAN
from mm2pl.utils import get_object_from_string

if TYPE_CHECKING:
    from mm2pl.cli.lightning_cli import MMCLI


class CommandLineParts(Parts):
    """Make the parts of a run from the classes and options of a command line.

    An option of the Trainer wins over the plan. What was parsed of the plan itself is replaced by the plan:
    jsonargparse knows no tuples and no live objects, and a Runner subclass may have changed the config.
    """

    def __init__(self, cli: MMCLI) -> None:
        self.cli = cli
        #: What the arguments held of the plan before they were parsed.
        self.written: dict[str, Any] = cli.plan.trainer if cli.plan is not None else {}

    @property
    def flags(self) -> dict[str, Any]:
        """What was given on the command line of that by which a plan is made."""
        parsed = self.cli.parsed.trainer
        known = {**TRAINER_DEFAULTS, **self.written}
        names = ("devices", "num_nodes", "strategy", "sync_batchnorm", *FOLLOWED_BY_PLAN)
        # jsonargparse does not say who set a value: where it differs from the plan's, the user has.
        given = {name: parsed[name] for name in names if parsed[name] != known[name]}
        return {k: v for k, v in given.items() if isinstance(v, str | int | float | list)}

    def module(self, arguments: dict[str, Any]) -> Any:
        """Make the module of the class that the arguments name."""
        return self._make("model", arguments)

    def datamodule(self, arguments: dict[str, Any]) -> Any:
        """Make the data module of the class that the arguments name."""
        return self._make("data", arguments)

    def _make(self, name: str, arguments: dict[str, Any]) -> Any:
        spec = self.cli.parsed[name]
        made = get_object_from_string(spec.class_path)(**{**init_args(spec), **arguments})
        self.take(name, made)
        return made

    def take(self, name: str, made: Any) -> None:
        """Take the object: jsonargparse leaves it as it is, and from the class path would make a second one."""
        self.cli.parsed[name] = made

    def trainer(self, arguments: dict[str, Any], callback: RunCallback) -> Any:
        """Make the Trainer from what was parsed, completed by what the plan says by now."""
        parsed, unset = self.cli.parsed.trainer, object()
        known = {**TRAINER_DEFAULTS, **self.written}
        for name, value in arguments.items():
            as_written = self.written.get(name, unset) == value
            if name != "callbacks" and not as_written and parsed[name] == known.get(name, unset):
                parsed[name] = instantiate(value)
        # Lightning callbacks among custom_hooks that a Runner subclass has added.
        written = self.written.get("callbacks", [])
        more = [instantiate(c) for c in arguments.get("callbacks", []) if c not in written]
        parsed.callbacks = [callback if is_run_callback(c) else c for c in parsed.callbacks] + more
        # Hooks and checkpoints follow work_dir, which a Runner subclass may have changed.
        parsed.default_root_dir = arguments["default_root_dir"]
        self.cli.instantiate_parts()
        return self.cli.trainer


TRAINER_DEFAULTS = {
    name: parameter.default for name, parameter in inspect.signature(Trainer).parameters.items()
}


def is_run_callback(spec: Namespace) -> bool:
    """Return whether the parsed ``class_path`` of a callback is that of a run."""
    return issubclass(get_object_from_string(spec.class_path), RunCallback)


def init_args(spec: Namespace | None) -> dict[str, Any]:
    """Return the arguments of a parsed ``class_path``."""
    return vars(spec.init_args) if spec is not None and "init_args" in spec else {}


def require_checkpoint(path: str | None, work_dir: str) -> None:
    """Refuse a checkpoint that is not there, where a file nearby may be meant.

    Raises:
        FileNotFoundError: Naming the file of this name in the work folder, or the checkpoints next to the path.
    """
    if not path or "://" in path or Path(path).exists():
        return
    meant = Path(work_dir, path)
    if meant.is_file():
        raise MissingFileError(f"{path} can not be found → did you mean {os.path.relpath(meant)}?")
    if near := files_beside(Path(path)):
        raise MissingFileError(
            f"{path} can not be found → last, best, or one that is there: {near}"
        )


def checkpoint_of(work_dir: str, which: str) -> str:
    """Return the newest or the best checkpoint of a work folder.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If there are several best ones.
    """
    if which == "last":
        found = find_latest_checkpoint(work_dir)
        if found is None:
            raise MissingFileError(f"--ckpt_path last: there is no checkpoint in {work_dir!r}")
        return str(found)
    best = sorted(str(path) for path in Path(work_dir).glob("best_*.pth"))
    if not best:
        raise MissingFileError(
            f"--ckpt_path best: there is no best_*.pth in {work_dir!r} → train with "
            "default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='auto'))"
        )
    # MMEngine's CheckpointHook keeps a best file for each metric of `save_best`.
    if len(best) > 1:
        raise ArgumentError(
            f"--ckpt_path best: there are several in {work_dir!r} → name one of {best}"
        )
    return best[0]
