"""Names that come out of a file: what they may stand for without importing or calling anything new."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from inspect import isclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from mm2pl.errors import UserError, add_note
from mm2pl.registry.errors import RegistryKeyError
from mm2pl.registry.registry import Registry, canonical

KEYS = (
    *("type", "_scope_", "default_scope", "constructor", "collate_fn", "worker_init_fn"),
    "class_path",  # LightningCLI's
)
"""Keys of a config whose text names something that is looked up."""

SCOPES = ("_scope_", "default_scope")


class UnknownNameError(UserError, ValueError):
    """A name in a file that stands for nothing which this program knows already."""


@contextmanager
def naming_source(source: str) -> Iterator[None]:
    """Add to a failed look-up the file that has caused it, for a user who has written no such name."""
    try:
        yield
    except RegistryKeyError as error:
        add_note(error, f"While building from {source}.")
        raise


def require_known(values: object, source: str, instead: str) -> None:
    """Refuse names in ``values`` that are neither registered nor a class of this kind that is imported already.

    A short name is looked up in registries alone and needs no check. A dotted one is a scope's, whose package has been
    imported, or a class: registered, or derived from a registered one, ``nn.Module`` or ``Optimizer``. Others, such as
    ``subprocess.call``, are imported as well, but nobody meant them to be built from a config.

    Args:
        values: Parts of a config, such as the hyper-parameters in a checkpoint.
        source: What they come from, for the message.
        instead: What the user can do without the name, for the message.

    Raises:
        UnknownNameError: The message names place and name, and the line that would allow it.
    """
    for place, key, name in _names(values, "", set()):
        allowed = _is_scope(name) if key in SCOPES else "." not in name or _is_known(name)
        if not allowed:
            package = name if key in SCOPES else name.rpartition(".")[0]
            line = f"import {package}"
            if package in sys.modules:
                line = (
                    f"import {package}; MODELS.register_module(name={name!r}, module={name}), with "
                    "`from mm2pl.registry import MODELS`"
                )
            raise UnknownNameError(
                f"{source}: {place}={name!r} → it is neither registered nor a class of a package that this program "
                f"has imported, and a file must not choose what is imported and called → {instead}; or, if you trust "
                f"the file, put before it: {line}"
            )


def _names(value: object, place: str, seen: set[int]) -> Iterator[tuple[str, str, str]]:
    """Yield place, key and text of each name in dicts, lists and tuples; what is shared is looked at once."""
    if isinstance(value, Mapping | list | tuple):
        if id(value) in seen:
            return
        seen.add(id(value))
        pairs = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, each in pairs:
            where = f"{place}.{key}" if place else str(key)
            if isinstance(each, str) and key in KEYS:
                yield where, str(key), each
            else:
                yield from _names(each, where, seen)


def _is_scope(name: str) -> bool:
    return canonical(name) in Registry.all_scopes()


def _is_known(name: str) -> bool:
    scope, _, rest = name.partition(".")
    for registry in list(Registry._all):
        if name in registry.module_dict:
            return True
        if canonical(scope) == canonical(registry.scope) and registry.get(rest) is not None:
            return True
    return _is_of_a_kind(_imported(name))


def _imported(path: str) -> Any:
    """Return what a dotted path names, if its module is imported; the attributes are read and nothing is imported."""
    parts = path.split(".")
    # As everywhere, mm2pl's own class answers to MMEngine's path.
    parts[0] = canonical(parts[0])
    for length in range(len(parts) - 1, 0, -1):
        found: Any = sys.modules.get(".".join(parts[:length]))
        if found is not None:
            for part in parts[length:]:
                # A module may answer to any name by importing something.
                found = vars(found).get(part) if hasattr(found, "__dict__") else None
            return found
    return None


def _is_of_a_kind(found: object) -> bool:
    if not isclass(found):
        return False
    if issubclass(found, nn.Module | Optimizer):
        return True
    registered = {id(each) for r in list(Registry._all) for each in r.module_dict.values()}
    return any(id(base) in registered for base in found.__mro__)
