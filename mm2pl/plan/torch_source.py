"""What torch's optimizers take, read from the sources of the installed torch, since importing it takes seconds."""

from __future__ import annotations

import ast
import builtins
import collections.abc
import typing
from functools import cache
from pathlib import Path
from typing import Any

from mm2pl.plan.takes import Takes, taken_by
from mm2pl.registry.located import locations
from mm2pl.utils.sources import source_of, statements

_NAMES = {**vars(builtins), **vars(typing), **vars(collections.abc), "__name__": "torch.optim"}
"""Names of annotations that mean what they mean in torch."""


@cache
def sources() -> dict[str, tuple[str, Path]]:
    """Return the names that the optimizers' registry may find in ``torch.optim``: the name there, and the source."""
    package = source_of("torch.optim")
    if package is None:
        return {}
    imports = [node for node in statements(package) if isinstance(node, ast.ImportFrom)]
    return {
        locations().RENAMED.get(alias.name, alias.name): (
            alias.name,
            package.with_name(f"{(node.module or '').rpartition('.')[2]}.py"),
        )
        for node in imports
        for alias in node.names
    }


def taken_by_torchs(name: str) -> Takes | None:
    """Return what the optimizer of torch takes that is registered as ``name``; None if no source says it."""
    constructor = constructor_of(name)
    return None if constructor is None else taken_by(constructor)


@cache
def constructor_of(name: str) -> Any:
    """Return a function that takes what the optimizer of torch takes that is registered as ``name``, or None.

    It does nothing. A default that is not a plain value is 0.
    """
    own, source = sources().get(name, ("", None))
    classes = [n for n in statements(source) if isinstance(n, ast.ClassDef) and n.name == own]
    for node in [n for each in classes for n in each.body if isinstance(n, ast.FunctionDef)]:
        if node.name == "__init__":
            return _without_effect(own, node)
    return None


def _without_effect(name: str, constructor: ast.FunctionDef) -> Any:
    """Return a function with the parameters of a constructor that does nothing."""
    constructor.name, constructor.body, constructor.decorator_list = name, [ast.Pass()], []
    arguments = constructor.args
    del arguments.args[0]  # self
    arguments.defaults = [_plain(each) for each in arguments.defaults]
    arguments.kw_defaults = [each and _plain(each) for each in arguments.kw_defaults]
    future = ast.parse("from __future__ import annotations").body
    module = ast.fix_missing_locations(ast.Module(body=[*future, constructor], type_ignores=[]))
    names = dict(_NAMES)
    for node in ast.walk(arguments):
        if isinstance(node, ast.Name):
            # A name such as Tensor: no value in a config is of that class.
            names.setdefault(node.id, type(node.id, (), {}))
    exec(compile(module, name, "exec"), names)
    return names[name]


def _plain(default: ast.expr) -> ast.expr:
    try:
        ast.literal_eval(default)
    # It names something in its module.
    except ValueError:
        return ast.Constant(value=0)
    return default
