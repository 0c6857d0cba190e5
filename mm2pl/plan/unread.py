"""Variables of a config that nothing reads, although they look as if something did."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mm2pl.config.errors import ConfigError, Site
from mm2pl.config.pure_python import base_path
from mm2pl.config.pure_source import read_pure_source
from mm2pl.plan.fault import Fault
from mm2pl.plan.keys import KEYS
from mm2pl.plan.legacy import LEGACY

if TYPE_CHECKING:
    from mm2pl.config import Config

SETTINGS: dict[str, str] = {
    "lr": "optim_wrapper.optimizer.lr",
    "learning_rate": "optim_wrapper.optimizer.lr",
    "weight_decay": "optim_wrapper.optimizer.weight_decay",
    "optimizer": "optim_wrapper.optimizer",
    "batch_size": "train_dataloader.batch_size",
    "num_workers": "train_dataloader.num_workers",
    "max_epochs": "train_cfg.max_epochs",
    "num_epochs": "train_cfg.max_epochs",
    "epochs": "train_cfg.max_epochs",
    "max_iters": "train_cfg.max_iters",
    "val_interval": "train_cfg.val_interval",
    "seed": "randomness.seed",
    "deterministic": "randomness.deterministic",
}
"""Names that look like settings at the top of a config → where the setting is."""


@dataclass
class _File:
    """What one file of a config defines and reads at its top.

    Attributes:
        path: The file.
        defined: Name → line and value of its last assignment.
        read: The names that it reads.
    """

    path: str
    defined: dict[str, tuple[int, str]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)


def redefined(cfg: Config) -> list[Fault]:
    """Return the variables of a config's files that nothing reads.

    A base has read its own value by the time a config that inherits from it gives the variable another one:
    MMEngine says nothing then.

    Args:
        cfg: A config read from a file; of any other nothing is known.
    """
    files = list(_files(cfg))
    found = []
    for index, file in enumerate(files):
        for name, (line, value) in file.defined.items():
            # None clears up: it takes away what a base has defined.
            if name in KEYS or name in LEGACY or cfg.get(name) is None:
                continue
            if any(name in later.read for later in files[index:]):
                continue
            if any(name in later.defined for later in files[index + 1 :]):
                continue
            earlier = [each for each in files[:index] if name in each.read and name in each.defined]
            if earlier and earlier[-1].defined[name][1] != value:
                base = earlier[-1]
                found.append(_no_effect(name, cfg[name], file, line, base))
            elif name in SETTINGS and not earlier:
                found.append(_no_effect(name, cfg[name], file, line, None))
    return found


def _no_effect(name: str, value: object, file: _File, line: int, base: _File | None) -> Fault:
    text = " ".join(repr(value).split())
    why = "nothing reads it"
    if base is not None:
        where = Site(os.path.basename(base.path), base.defined[name][0])
        why = f"nothing reads it: {where} has used its own value already"
    cure = f"set {SETTINGS[name]}" if name in SETTINGS else "set the keys that are to use it"
    return Fault(
        path=name,
        given=text if len(text) <= 48 else f"{text[:45]}...",
        why=why,
        advice=cure,
        severity="warning",
        origin=Site(file.path, line),
    )


def _files(cfg: Config) -> Iterator[_File]:
    """Yield the Python files of a config, bases first."""
    own = cfg.filename
    if not own or not str(own).endswith(".py"):
        return
    own = os.path.abspath(os.path.expanduser(str(own)))
    texts = list(_parts(cfg.text))
    try:
        if texts:
            for path, text in texts:
                yield _file(path, ast.parse(text), text)
        else:
            yield from _pure_files(own, cfg.text)
    except (SyntaxError, ConfigError, OSError):
        return  # {{ macros }} outside of Python's grammar, or a base that has gone since


def _parts(text: str) -> Iterator[tuple[str, str]]:
    """Split ``Config.text``, in which each file's text follows a line with its absolute path."""
    path: str | None = None
    lines: list[str] = []
    for line in text.splitlines():
        # No statement is an absolute path.
        if line.endswith(".py") and os.path.isabs(line) and os.path.isfile(line):
            if path is not None:
                yield path, "\n".join(lines)
            path, lines = line, []
        else:
            lines.append(line)
    if path is not None:
        yield path, "\n".join(lines)


def _pure_files(path: str, text: str) -> Iterator[_File]:
    source = read_pure_source(text, path)
    for module, line in source.modules.items():
        base = base_path(source, module, line, None)
        with open(base, encoding="utf-8") as file:
            yield from _pure_files(base, file.read())
    yield _file(path, ast.parse(text), text)


_BASE_VARIABLE = re.compile(r"_base_\.(\w+)")


def _file(path: str, tree: ast.Module, text: str) -> _File:
    found = _File(path)
    found.read.update(_BASE_VARIABLE.findall(text))
    for statement in tree.body:
        if not isinstance(statement, ast.Assign):
            continue
        for target in statement.targets:
            if isinstance(target, ast.Name):
                found.defined[target.id] = (statement.lineno, ast.dump(statement.value))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.read.add(node.id)
    return found
