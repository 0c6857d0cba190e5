"""A dict whose keys are attributes and whose lazy imports resolve when they are read."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .errors import ConfigAttributeError, ConfigKeyError
from .lazy import LAZY_TYPES

DELETE_KEY = "_delete_"

# MMEngine 0.10.7 converts exactly these types; a user's defaultdict stays one.
PLAIN_DICTS = (dict, OrderedDict)


class ConfigDict(dict):
    """Hold a config: ``cfg.model.type`` is ``cfg['model']['type']``.

    Plain dicts that are put in become ``ConfigDict`` at every depth, through lists and tuples; dict
    subclasses of the user stay what they are. Reading a value that a pure-Python config imported
    imports it, unless the class attribute ``lazy`` is set (it is while such a config is read).

    As in MMEngine, ``update`` merges nested dicts, ``pop`` returns None for a missing key, and
    ``items``/``values`` are lists.

    The arguments are those of `dict`: a mapping or pairs as ``args``, and keys as ``kwargs``.

    >>> cfg = ConfigDict(model=dict(type="ResNet", depth=50))
    >>> cfg.update(model=dict(depth=18))
    >>> cfg.model
    {'type': 'ResNet', 'depth': 18}
    """

    lazy = False

    def __init__(self, /, *args: Any, **kwargs: Any) -> None:
        for arg in (*args, kwargs):
            if not arg:
                continue
            if isinstance(arg, ConfigDict):
                # Its own items() would import every lazy value.
                pairs: Any = dict.items(arg)
            elif isinstance(arg, dict):
                pairs = arg.items()
            else:
                # addict, MMEngine's base class, also takes one pair alone: ConfigDict(("a", 1)).
                pairs = [arg] if isinstance(arg, tuple) and not isinstance(arg[0], tuple) else arg
            for key, value in pairs:
                dict.__setitem__(self, key, self._hook(value))

    @classmethod
    def _hook(cls, item: Any) -> Any:
        kind = type(item)
        if kind in PLAIN_DICTS:
            return cls(item)
        if kind is list:
            return [cls._hook(element) for element in item]
        if isinstance(item, (list, tuple)):
            return rebuild(item, (cls._hook(element) for element in item))
        return item

    def build_lazy(self, value: Any) -> Any:
        """Return what a lazy import stands for, and anything else as it is."""
        return value.build() if isinstance(value, LAZY_TYPES) and not self.lazy else value

    def __getattr__(self, name: str) -> Any:
        try:
            value = dict.__getitem__(self, name)
        except KeyError:
            raise ConfigAttributeError(
                f"{type(self).__name__!r} object has no attribute {name!r}.",
                key=name,
                accepted=self,
            ) from None
        return self.build_lazy(value)

    def __setattr__(self, name: str, value: Any) -> None:
        # The method would hide the key, and cfg.name would never return what was set.
        if hasattr(type(self), name):
            raise AttributeError(
                f"{name!r} is a method of {type(self).__name__} and cannot be set as an attribute. "
                f"Use cfg[{name!r}] = ..."
            )
        self[name] = value

    def __delattr__(self, name: str) -> None:
        del self[name]

    # addict creates a dict for a missing key. MMEngine 0.10.7 switches that off: a misspelt key is an error.
    def __missing__(self, key: Any) -> Any:
        raise ConfigKeyError(f"The config has no key {key!r}.", key=key, accepted=self)

    def __getitem__(self, key: Any) -> Any:
        return self.build_lazy(dict.__getitem__(self, key))

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, key, self._hook(value))

    def __iter__(self) -> Iterator:
        # Only with an __iter__ of its own does ``f(**cfg)`` go through __getitem__.
        return iter(self.keys())

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the value of ``key``, built if it is lazy."""
        return self.build_lazy(dict.get(self, key, default))

    def pop(self, key: Any, default: Any = None) -> Any:
        """Remove ``key`` and return its value, or ``default`` if there is none: never an error."""
        return self.build_lazy(dict.pop(self, key, default))

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """Return the value of ``key``, after storing ``default`` if there was none."""
        if key not in self:
            self[key] = default
        # Read back, since a plain dict has become a ConfigDict.
        return self[key]

    def values(self) -> list:  # type: ignore[override]
        """Return the values, lazy ones built."""
        # A list and no view, as in MMEngine 0.10.7: callers may change the config while they go through it.
        return [self.build_lazy(value) for value in dict.values(self)]

    def items(self) -> list:  # type: ignore[override]
        """Return the pairs, lazy values built."""
        return [(key, self.build_lazy(value)) for key, value in dict.items(self)]

    def update(self, /, *args: Any, **kwargs: Any) -> None:
        """Set keys; where both sides hold a dict, merge it instead of replacing it.

        Raises:
            TypeError: There is more than one positional argument.
        """
        if len(args) > 1:
            raise TypeError(f"update accepts one positional argument, got {len(args)}.")
        new = dict(dict.items(args[0]) if isinstance(args[0], dict) else args[0]) if args else {}
        new.update(kwargs)
        for key, value in new.items():
            old = dict.get(self, key)
            if isinstance(old, dict) and isinstance(value, dict):
                old.update(value)
            else:
                self[key] = value

    def __or__(self, other: Any) -> ConfigDict:
        return _merged(self, other)

    def __ror__(self, other: Any) -> ConfigDict:
        return _merged(other, self)

    def __ior__(self, other: Any) -> ConfigDict:
        self.update(other)
        return self

    def merge(self, other: dict) -> None:
        """Merge ``other`` in place; a dict with ``_delete_=True`` replaces instead."""
        # Copies, since the merge removes `_delete_` from what it is given.
        merged = _merge_values(copy.deepcopy(other), copy.deepcopy(self))
        # In place: other parts of the program may hold this very dict.
        self.clear()
        for key, value in merged.items():
            self[key] = value

    def __copy__(self) -> ConfigDict:
        other = type(self)()
        for key, value in dict.items(self):
            # As in MMEngine 0.10.7, the copy has lists of its own, but shares nested ConfigDicts.
            other[key] = value
        return other

    copy = __copy__

    def __deepcopy__(self, memo: dict) -> ConfigDict:
        other = type(self)()
        memo[id(self)] = other
        for key, value in dict.items(self):
            # Not other[key]: that builds new lists, and a list that stands in two places would become two.
            dict.__setitem__(other, copy.deepcopy(key, memo), copy.deepcopy(value, memo))
        return other

    def deepcopy(self) -> ConfigDict:
        """Return a copy at every depth; MMEngine's has this from addict, and MMDetection's MaskFormer calls it."""
        return copy.deepcopy(self)

    def __reduce_ex__(self, protocol: Any) -> tuple:
        # The default would iterate over self.items() and so import every lazy value.
        return type(self), (dict(dict.items(self)),), None, None, None

    def __eq__(self, other: object) -> bool:
        if isinstance(other, ConfigDict):
            # to_dict names classes without importing them, so comparing imports nothing.
            return self.to_dict() == other.to_dict()
        return isinstance(other, dict) and dict(self.items()) == other

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None

    def to_dict(self) -> dict:
        """Return plain dicts at every depth, lazy values as their dotted path."""
        return to_builtin(self, lazy_as_text=True)

    def _to_lazy_dict(self) -> dict:
        """Return plain dicts at every depth, lazy values as they are."""
        return to_builtin(self, lazy_as_text=False)


@contextmanager
def keep_lazy() -> Iterator[None]:
    """Let every ConfigDict return lazy values unbuilt."""
    # A class attribute, as in MMEngine 0.10.7: ConfigDicts that are made meanwhile need it as well.
    before, ConfigDict.lazy = ConfigDict.lazy, True
    try:
        yield
    finally:
        ConfigDict.lazy = before


def to_builtin(value: Any, lazy_as_text: bool) -> Any:
    """Turn every dict in ``value`` into a builtin one; lists and tuples keep their type."""
    if isinstance(value, dict):
        return {key: to_builtin(item, lazy_as_text) for key, item in dict.items(value)}
    if type(value) is list:
        return [to_builtin(item, lazy_as_text) for item in value]
    if isinstance(value, (list, tuple)):
        return rebuild(value, (to_builtin(item, lazy_as_text) for item in value))
    if lazy_as_text and isinstance(value, LAZY_TYPES):
        return value.dotted_path
    return value


def rebuild(like: list | tuple, items: Iterator) -> Any:
    """Make a sequence of the type of ``like``, a named tuple included."""
    kind = type(like)
    # A named tuple takes its items one by one. MMEngine 0.10.7 passes an iterator and fails.
    return kind(*items) if hasattr(kind, "_fields") else kind(items)


def _merged(first: dict, second: Any) -> ConfigDict:
    if not isinstance(first, dict) or not isinstance(second, dict):
        return NotImplemented
    result = ConfigDict(to_builtin(first, lazy_as_text=False))  # shares no dict with ``first``
    result.update(second)
    return result


def _merge_values(new: dict, old: dict) -> dict:
    if new.pop(DELETE_KEY, False):
        old = {}
    merged = dict(dict.items(old))
    for key, value in dict.items(new):
        if isinstance(value, dict):
            base = merged.get(key)
            if isinstance(base, dict):
                value = _merge_values(value, base)
            else:
                # With nothing to delete the mark disappears. In a child config it would stay (merge_dicts).
                value.pop(DELETE_KEY, None)
        merged[key] = value
    merged.pop(DELETE_KEY, None)
    return merged


def as_config(data: Any) -> Any:
    """Give the plain dicts in ``data`` attributes, at every depth, as parts of an MMEngine config have.

    Users read ``cfg.type``. Objects, lists with a class of their own among them, stay as they are.

    >>> as_config([{"type": "Resize", "scale": {"width": 4}}])[0].scale.width
    4
    """
    if type(data) in (dict, ConfigDict):
        made = ConfigDict()
        for key, value in dict.items(data):
            dict.__setitem__(made, key, as_config(value))
        return made
    return type(data)(map(as_config, data)) if type(data) in (list, tuple) else data
