"""List what each module of MMEngine's holds that is MMEngine's own; the source of ``mmengine_names.tsv``.

Usage: python tests/compat/list_names.py > tests/compat/mmengine_names.tsv
"""

from __future__ import annotations

import importlib
import pkgutil
import typing
import warnings
from types import FunctionType, ModuleType
from typing import Any

PLAIN = (str, int, float, list, dict, tuple, set, frozenset)


def is_own(name: str, value: Any) -> bool:
    """Say whether a name in a module is MMEngine's: a class, function or registry, a constant, an alias for hints."""
    if name.startswith("__") or isinstance(value, ModuleType) or name == "TYPE_CHECKING":
        return False
    if isinstance(value, type | FunctionType):
        return value.__module__.partition(".")[0] == "mmengine"
    if type(value).__module__ == "typing":
        return name not in vars(typing) and not isinstance(value, typing.TypeVar)
    return type(value).__module__.startswith("mmengine") or isinstance(value, PLAIN)


def names() -> dict[str, list[str]]:
    """Return MMEngine's modules and what is its own in each."""
    package = importlib.import_module("mmengine")
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for info in pkgutil.walk_packages(package.__path__, "mmengine."):
            module = importlib.import_module(info.name)
            found[info.name] = sorted(n for n, value in vars(module).items() if is_own(n, value))
    return {name: found[name] for name in sorted(found)}


if __name__ == "__main__":
    for module, held in names().items():
        print(module, " ".join(held), sep="\t")
