"""What LightningCLI's parser refuses, in one message instead of a page of its own."""

from __future__ import annotations

import inspect
import re
import types
import typing
from typing import Any

from lightning.pytorch import Trainer

from mm2pl.cli.yaml_run import SECTIONS
from mm2pl.closest import closest, did_you_mean
from mm2pl.plan.keys import KEYS
from mm2pl.utils import get_object_from_string

_UNKNOWN_KEY = re.compile(r"does not accept option '([\w.]+)'")
_PARSER_KEY = re.compile(r'Parser key "?([\w.]+)"?')
_CLASS = re.compile(r"Problem with given class_path '([\w.]+)'")
_NEEDS = re.compile(r"the following arguments are required: ([\w, ]+)|Key \"(\w+)\" is required")
_EXTRA = re.compile(r"Option '([\w.]+)' is not accepted|Key '([\w.]+)' is not expected")


def of_parser(message: str, arguments: list[str], command: str) -> str:
    """Return a message about what jsonargparse has refused: what was given, what is accepted, what to do.

    Args:
        message: jsonargparse's.
        arguments: What was parsed.
        command: Whose ``--lightning-help`` lists the options.
    """
    unknown = re.search(r"--trainer\.(\w+)", message) if "unrecognized" in message else None
    if unknown:
        close = closest(unknown[1], inspect.signature(Trainer).parameters, 1)
        if close:
            return f"{message} → did you mean --trainer.{close[0]}?"
    if refused := _UNKNOWN_KEY.search(message):
        return f"{refused[1]} of the YAML → nothing reads it.{_meant(refused[1])}"
    found = _PARSER_KEY.search(message)
    if found is None:
        return f"{message.splitlines()[0]} → mm2pl {command} --lightning-help lists the options"
    key = found[1]
    said = _said(key, arguments)
    cls = _CLASS.search(message)
    if cls is not None:
        return f"{said} → {_of_class(key, cls[1], message)}"
    return f"{said} → {_accepted(key, message)}"


def _meant(key: str) -> str:
    """Return what a key of a YAML may stand for, as a question."""
    head, dot, name = key.partition(".")
    if head == "trainer" and dot:
        near = closest(name.partition(".")[0], inspect.signature(Trainer).parameters, 1)
        return did_you_mean(f"trainer.{each}" for each in near)
    return did_you_mean(closest(head, [*SECTIONS, *KEYS], 1))


def _said(key: str, arguments: list[str]) -> str:
    """Return the flag, or the entry of a YAML, that was refused."""
    flags = [each for each in arguments if re.match(rf"--{re.escape(key)}\b", each)]
    # A flag that changes what another has added comes after it.
    return (
        " ".join(each.replace("=", " ", 1).replace("+ ", "+=") for each in flags)
        or f"{key} of the YAML"
    )


def _of_class(key: str, path: str, message: str) -> str:
    """Say what a class that was named lacks, or has too much."""
    name = path.rpartition(".")[2]
    if get_object_from_string(path) is None:
        return f"there is no class {path}; give the dotted path of one that can be imported"
    needed = _NEEDS.search(message)
    if needed:
        first = (needed[1] or needed[2]).split(",")[0].strip()
        return f"{name} needs {needed[1] or needed[2]}: --{key}.{first}=…"
    extra = _EXTRA.search(message)
    if extra:
        accepted = [
            n for n in inspect.signature(get_object_from_string(path)).parameters if n != "kwargs"
        ]
        wrong = extra[1] or extra[2]
        hint = did_you_mean(closest(wrong.rpartition(".")[2], accepted, 1))
        return f"{name} has no {wrong!r}, but {', '.join(accepted)}.{hint}"
    detail = message[message.index(path) :].splitlines()[1:2]
    return f"{name}: {''.join(detail).strip()}"


def _accepted(key: str, message: str) -> str:
    """Return what an argument of the Trainer may be; of another, what jsonargparse has expected."""
    part, _, name = key.partition(".")
    parameter = inspect.signature(Trainer).parameters.get(name) if part == "trainer" else None
    if "import path string" in message:
        given = re.search(r"import path string: (\S+)", message)
        known = _subclasses(parameter.annotation) if parameter is not None else []
        hint = did_you_mean(closest(given[1], known)) if given else ""
        return (
            f"no class of that name; give its dotted path, or the name of one of Lightning's.{hint}"
        )
    if parameter is not None:
        return f"{', '.join(describe(parameter.annotation))} is accepted"
    expected = dict.fromkeys(re.findall(r"Expected an? (.+)", message))
    return f"{' or '.join(expected) or message.splitlines()[0]} is accepted"


def describe(kind: Any) -> list[str]:
    """Return what an annotation accepts, in words.

    >>> describe(typing.Optional[int]), describe(typing.Literal["a", 3])
    (['int', 'None'], ["'a'", '3'])
    """
    origin, below = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return list(dict.fromkeys(text for each in below for text in describe(each)))
    if origin is typing.Literal:
        return [repr(value) for value in below]
    if kind in (None, type(None)):
        return ["None"]
    name = (
        getattr(origin or kind, "__name__", str(kind)).lower()
        if origin
        else getattr(kind, "__name__", str(kind))
    )
    return [f"{name} of {' or '.join(describe(below[0]))}" if below else name]


def _subclasses(kind: Any) -> list[str]:
    """Return the names of the classes that an annotation stands for."""
    below = typing.get_args(kind)
    if below:
        return [name for each in below for name in _subclasses(each)]
    if not isinstance(kind, type) or kind.__module__ == "builtins":
        return []
    classes: list[type] = kind.__subclasses__()
    return [kind.__name__, *(name for subclass in classes for name in _subclasses(subclass))]
