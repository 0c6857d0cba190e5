"""Dicts of a config as arguments of any LightningCLI: ``--model.optim_wrapper.optimizer.lr 0.01``.

The one door to the inside of jsonargparse. Its version 4.53 hands a nested override of an untyped argument to the class
as it is, and one of a ``dict`` replaces the whole dict below the first key. A type registered with it gets the override
and not the value that stands there, so that one is read from jsonargparse's own call.
"""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import jsonargparse
import jsonargparse.typing
import yaml

from mm2pl.closest import misspelt
from mm2pl.errors import ArgumentError

PREVIOUS = "prev_val"
"""What jsonargparse 4.28 to 4.53 call the value so far, an argument of the function that calls a registered type."""

if TYPE_CHECKING:
    Settings: TypeAlias = dict[str, Any]
    SettingsList: TypeAlias = list[Any]
else:

    class Settings:
        """A dict of a config."""

    class SettingsList:
        """A list of a config."""


def read(value: Any, kind: type[Any]) -> Any:
    """Return a config's dict or list: the given one, or what an override makes of the value so far.

    Raises:
        ArgumentError: It is of another kind, or the override leads nowhere.
    """
    if is_override(value):
        before = previous_value()
        value = overridden({} if before is None else before, value.key.split("."), typed(value.val))
    if not of_kind(value, kind):
        raise ArgumentError(f"{value!r}: give a {kind.__name__}")
    return value


def of_kind(value: Any, kind: type[Any]) -> bool:
    """Return whether a value is a dict or list of a config; one with a class_path is an object to make."""
    return isinstance(value, kind) and "class_path" not in value


def is_override(value: Any) -> bool:
    """Return whether jsonargparse hands over the rest of an option's name with its value."""
    return getattr(value, "_fields", None) == ("key", "val")


def typed(value: Any) -> Any:
    """Return an option's value as a YAML file would have it: jsonargparse leaves numbers and words of it text.

    >>> typed("1e-3"), typed("true"), typed("SGD")
    (0.001, True, 'SGD')
    """
    # Values below a class_path have gone through a text in which null is None.
    if value == "None" or not isinstance(value, str):
        return None if value == "None" else value
    try:
        return jsonargparse.get_loader("yaml")(value)
    except yaml.YAMLError:
        return value


def previous_value() -> Any:
    """Return what an argument holds so far; ``None`` where nothing was given."""
    frame: Any = sys._getframe(1)
    while frame is not None:
        if PREVIOUS in frame.f_locals:
            before = frame.f_locals[PREVIOUS]
            return vars(before) if isinstance(before, jsonargparse.Namespace) else before
        frame = frame.f_back
    raise ArgumentError(
        f"jsonargparse {jsonargparse.__version__} has no {PREVIOUS!r} → jsonargparse==4.53, or set it in the YAML"
    )


def overridden(value: Any, keys: list[str], new: Any, path: str = "") -> Any:
    """Return a copy of nested dicts and lists in which one entry is another; dicts that are missing are made.

    Raises:
        ArgumentError: A key does not fit: a misspelt one, or no index of a list.

    >>> overridden({"optimizer": {"type": "SGD", "lr": 0.1}}, ["optimizer", "lr"], 0.01)
    {'optimizer': {'type': 'SGD', 'lr': 0.01}}
    >>> overridden([{"end": 5}], ["0", "end"], 6), overridden(None, ["clip_grad", "max_norm"], 1)
    ([{'end': 6}], {'clip_grad': {'max_norm': 1}})
    """
    if not keys:
        return new
    key, *rest = keys
    here = f"{path}.{key}" if path else key
    if isinstance(value, list):
        if not key.isdigit() or int(key) >= len(value):
            raise ArgumentError(f"{here!r}: a list of {len(value)} → an index from 0 on")
        items = [*value]
        items[int(key)] = overridden(value[int(key)], rest, new, here)
        return items
    if value is not None and not isinstance(value, dict):
        raise ArgumentError(f"{here!r}: {path!r} is {value!r}, which has no keys")
    known = value or {}
    meant = misspelt(key, known) if key not in known else None
    # stage4 is as good a name as stage3
    if meant and meant.rstrip("0123456789") != key.rstrip("0123456789"):
        raise ArgumentError(f"{here!r} → did you mean {meant!r}?")
    return {**known, key: overridden(known.get(key), rest, new, here)}


if not TYPE_CHECKING:
    for _name, _kind in ((Settings, dict), (SettingsList, list)):
        jsonargparse.typing.register_type(
            _name,
            serializer=lambda value: value,
            deserializer=partial(read, kind=_kind),
            type_check=lambda value, _, kind=_kind: of_kind(value, kind),
        )
