"""Put one config over another."""

from __future__ import annotations

import copy
from typing import Any

from .config_dict import DELETE_KEY, PLAIN_DICTS, ConfigDict
from .errors import ConfigIndexError, ConfigKeyError, ConfigTypeError

# None of these can be changed, so several places may share one.
_ATOMS = frozenset({str, int, float, bool, type(None), complex, bytes, type(Ellipsis)})


class MergeError(ConfigTypeError):
    """Report that a dict meets something else; ``path`` holds the keys that lead there."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.path = path


class ListIndexError(ConfigIndexError, ConfigKeyError):
    """Report an index key beyond the list it edits (a ``KeyError`` in MMEngine)."""


def merge_dicts(new: dict, base: Any, allow_list_keys: bool = False, path: tuple = ()) -> Any:
    """Return ``base`` with ``new`` put over it; neither is changed.

    A dict in ``new`` merges into the dict of the same key, or replaces it if it says
    ``_delete_=True``. With ``allow_list_keys``, ``{'0': value}`` edits the first element of a list.

    Raises:
        MergeError: A dict meets a value that is none.

    >>> merge_dicts(dict(a=dict(x=2)), dict(a=dict(x=1, y=1)))
    {'a': {'x': 2, 'y': 1}}
    >>> merge_dicts({"1": 5}, [1, 2], allow_list_keys=True)
    [1, 5]
    """
    result = _shallow_copy(base)
    if isinstance(result, list):
        for key, value in dict.items(new):
            index = _list_index(key, result, path)
            if isinstance(value, dict):
                value = _merge_value(value, result[index], allow_list_keys, (*path, key))
            # MMEngine 0.10.7 fails with AttributeError unless the new element is a dict.
            result[index] = value
        return result
    for key, value in dict.items(new):
        if not isinstance(value, dict):
            result[key] = value
        elif key in result:
            old = dict.__getitem__(result, key)
            result[key] = _merge_value(value, old, allow_list_keys, (*path, key))
        else:  # a `_delete_` with nothing to delete stays in the config, as in MMEngine 0.10.7
            result[key] = ConfigDict(value)
    return result


def _merge_value(new: dict, old: Any, allow_list_keys: bool, path: tuple) -> Any:
    if DELETE_KEY in new:
        # A copy: MMEngine 0.10.7 removes `_delete_` from the given dict, so a second merge would not delete.
        new = dict(dict.items(new))
        if new.pop(DELETE_KEY):
            return ConfigDict(new)
    if not isinstance(old, (dict, list) if allow_list_keys else dict):
        raise MergeError(
            f"{'.'.join(map(str, path))} is a dict in the child config and cannot inherit from the "
            f"base, where it is {old!r} of type {type(old).__name__}. "
            f"Add {DELETE_KEY}=True to the dict to replace the base's value.",
            path,
        )
    return merge_dicts(new, old, allow_list_keys, path)


def _shallow_copy(value: Any) -> Any:
    if type(value) is ConfigDict:  # its own copy() hooks every value again
        result = ConfigDict.__new__(ConfigDict)
        dict.update(result, dict.items(value))
        return result
    return value.copy()


def _list_index(key: Any, items: list, path: tuple) -> int:
    where = ".".join(map(str, path))
    # As in MMEngine 0.10.7, '-1' is not an index.
    if not str(key).isdigit():
        raise ConfigKeyError(f"{where} is a list, so {key!r} must be an index such as '0'.")
    if int(key) >= len(items):
        raise ListIndexError(f"Index {key} exceeds {where}, a list of {len(items)} elements.")
    return int(key)


def copy_tree(value: Any) -> Any:
    """Copy a config value so that no two places share a container; plain dicts become ConfigDict."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [copy_tree(item) for item in value]
    if kind is ConfigDict or kind in PLAIN_DICTS:
        # Not ConfigDict(...): its __init__ would go through all that copy_tree has just made.
        result = ConfigDict.__new__(ConfigDict)
        dict.update(result, {key: copy_tree(item) for key, item in dict.items(value)})
        return result
    if kind is tuple:
        return tuple([copy_tree(item) for item in value])
    return copy.deepcopy(value)
