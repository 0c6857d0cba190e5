"""What each kind of statement means to the interpreter."""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigSafetyError
from .calls import MODULES, Function, Module, iterate, module_member
from .operators import apply_binary

if TYPE_CHECKING:
    from .interpreter import Interpreter


class Break(Exception):
    """Leave a loop."""


class Continue(Exception):
    """Go on with the next round of a loop."""


def _assign(run: Interpreter, node: ast.Assign) -> None:
    value = run.evaluate(node.value)
    for target in node.targets:
        run.store(target, value)


def _annotated(run: Interpreter, node: ast.AnnAssign) -> None:
    if node.value is not None:
        run.store(node.target, run.evaluate(node.value))


def _augmented(run: Interpreter, node: ast.AugAssign) -> None:
    old = run.evaluate(node.target)
    # `a += [1]` changes the list that other names have too.
    new = apply_binary(run.budget, type(node.op), old, run.evaluate(node.value), in_place=True)
    run.store(node.target, new)


def _delete(run: Interpreter, node: ast.Delete) -> None:
    for target in node.targets:
        if isinstance(target, ast.Name):
            run.lookup(target.id)
            run.namespace.pop(target.id, None)
        elif isinstance(target, ast.Subscript):
            owner, key = run.evaluate(target.value), run.key(target.slice)
            if not isinstance(owner, (list, dict)):
                raise TypeError(f"{type(owner).__name__!r} object does not support item deletion")
            run.budget.hash_keys([key] if isinstance(owner, dict) else ())
            del owner[key]
        elif isinstance(target, ast.Attribute):
            delattr(run.config_dict(target), target.attr)
        else:
            raise ConfigSafetyError(f"{type(target).__name__} cannot be deleted.")


def _expression(run: Interpreter, node: ast.Expr) -> None:
    match node.value:
        case ast.Call(
            func=ast.Attribute(
                value=ast.Call(func=ast.Name(id="globals"), args=[], keywords=[]), attr="update"
            ),
            args=[ast.Dict() as values],
            keywords=[],
        ) if not run.scopes and "globals" not in run.namespace:
            # How a dumped config holds keys that are not names.
            run.namespace.update(_names(run.evaluate(values)))
        case value:
            run.evaluate(value)


def _names(values: dict) -> dict[str, Any]:
    for key in values:
        if type(key) is not str:
            raise TypeError(f"a config's keys are strings, not {key!r}")
    return values


def _if(run: Interpreter, node: ast.If) -> None:
    run.execute(node.body if run.evaluate(node.test) else node.orelse)


def _loop(run: Interpreter, body: Sequence[ast.stmt]) -> bool:
    """Run a loop's body once; tell whether to go on."""
    run.budget.spend(1)
    try:
        run.execute(body)
    except Continue:
        pass
    except Break:
        return False
    return True


def _for(run: Interpreter, node: ast.For) -> None:
    for value in iterate(run.budget, run.evaluate(node.iter)):
        run.store(node.target, value)
        if not _loop(run, node.body):
            return
    run.execute(node.orelse)


def _while(run: Interpreter, node: ast.While) -> None:
    while run.evaluate(node.test):
        if not _loop(run, node.body):
            return
    run.execute(node.orelse)


def _assert(run: Interpreter, node: ast.Assert) -> None:
    if not run.evaluate(node.test):
        raise AssertionError(run.evaluate(node.msg) if node.msg else "")


def _pass(run: Interpreter, node: ast.stmt) -> None:
    pass


def _stop(kind: type[Exception]) -> Callable[[Interpreter, Any], None]:
    def handler(run: Interpreter, node: ast.stmt) -> None:
        raise kind

    return handler


def _import(run: Interpreter, node: ast.Import) -> None:
    for alias in node.names:
        # `import os.path` binds `os`, but `import os.path as p` binds the submodule.
        name = alias.name if alias.asname else alias.name.split(".")[0]
        if alias.name not in MODULES:
            raise _refused_import(alias.name)
        run.namespace[alias.asname or name] = Module(name)


def _import_from(run: Interpreter, node: ast.ImportFrom) -> None:
    module = node.module or ""
    for alias in node.names:
        if module.startswith("mm2pl.config") and not node.level:
            # A config imports read_base or Config, but has no reason to call them when it gets here.
            found: Any = Function(alias.name, _only_a_mark)
        else:
            found = module_member(Module(module), alias.name) if module in MODULES else None
        if found is None:
            raise _refused_import(f"{module}.{alias.name}")
        run.namespace[alias.asname or alias.name] = found


def _only_a_mark(*args: Any, **kwargs: Any) -> None:
    raise ConfigSafetyError("mm2pl.config's functions cannot be called with safe=True.")


def _refused_import(name: str) -> ConfigSafetyError:
    return ConfigSafetyError(
        f"Importing {name} is not allowed with safe=True; {', '.join(MODULES)} are, in part."
    )


STATEMENTS: dict[type, Callable[[Interpreter, Any], None]] = {
    ast.Assign: _assign,
    ast.AnnAssign: _annotated,
    ast.AugAssign: _augmented,
    ast.Delete: _delete,
    ast.Expr: _expression,
    ast.If: _if,
    ast.For: _for,
    ast.While: _while,
    ast.Assert: _assert,
    ast.Pass: _pass,
    ast.Break: _stop(Break),
    ast.Continue: _stop(Continue),
    ast.Import: _import,
    ast.ImportFrom: _import_from,
}
