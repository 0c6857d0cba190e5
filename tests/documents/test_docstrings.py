"""What each public class and function says of itself: a sentence, and every argument."""

from __future__ import annotations

import enum
import importlib
import inspect
import pkgutil
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import mm2pl
import mm2pl.mmcv

ROOMS = [
    found.name
    for package in (mm2pl, mm2pl.mmcv)
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    if found.ispkg and not found.name.rpartition(".")[2].startswith("_")
]

HANDED_ON = {inspect.Parameter.VAR_POSITIONAL: "args", inspect.Parameter.VAR_KEYWORD: "kwargs"}
"""By their names ``*args`` and ``**kwargs`` go on to what the text or the class above describes."""

ELSEWHERE = {"mm2pl.config.DictAction": "argparse makes it, with its own arguments"}
"""Classes whose arguments a user does not give."""


def exported(room: str) -> Iterator[tuple[str, Any]]:
    """Yield the public classes and functions of ours that a room has, by their path there.

    Without the three that a room imports only on use: they load torch.distributed or Lightning for seconds.
    """
    for name, thing in sorted(vars(importlib.import_module(room)).items()):
        ours = str(getattr(thing, "__module__", "")).startswith("mm2pl")
        if (
            not name.startswith("_")
            and ours
            and (inspect.isclass(thing) or inspect.isfunction(thing))
        ):
            yield f"{room}.{name}", thing


def arguments(path: str, thing: Any) -> list[str]:
    """Return the arguments that a user gives by name or place."""
    # The constructor of an Enum is never called, and a builtin one, as exceptions have it, has no names.
    is_enum = isinstance(thing, enum.EnumMeta)
    written = inspect.isfunction(thing) or any(
        inspect.isfunction(getattr(thing, name)) for name in ("__init__", "__new__")
    )
    if path in ELSEWHERE or is_enum or not written:
        return []
    parameters = inspect.signature(thing).parameters.values()
    return [p.name for p in parameters if HANDED_ON.get(p.kind) != p.name]


def said(thing: Any) -> str:
    """Return a docstring, and those of what it points to, as in `Runner` or :func:`build_from_cfg`."""
    text = inspect.getdoc(thing) or ""
    known = {**PUBLIC, **vars(sys.modules[thing.__module__])}
    names = re.findall(r"(?<!`)`~?(?:\w+\.)*(\w+)`(?!`)", text)
    return "\n".join(
        [text, *(inspect.getdoc(known[name]) or "" for name in names if name in known)]
    )


def describes(text: str, argument: str) -> bool:
    """Return whether a docstring has a line for an argument, or a sentence that names it."""
    line = rf"(?m)^ +\*{{0,2}}{argument}( \(.*\))?: \S"
    return bool(re.search(rf"{line}|``\*{{0,2}}{argument}``", text))


PUBLIC = {
    path.rpartition(".")[2]: thing for room in reversed(ROOMS) for path, thing in exported(room)
}


@pytest.mark.parametrize("room", ROOMS)
def test_the_first_line_is_a_sentence(room: str) -> None:
    first = {path: (thing.__doc__ or "").partition("\n")[0] for path, thing in exported(room)}
    assert [path for path, line in first.items() if not line.endswith(".")] == []


@pytest.mark.parametrize("room", ROOMS)
def test_every_argument_is_described(room: str) -> None:
    missing = []
    for path, thing in exported(room):
        text = said(thing)
        missing += [
            f"{path}: {name}" for name in arguments(path, thing) if not describes(text, name)
        ]
    assert missing == []
