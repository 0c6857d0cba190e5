"""What each kind of expression means to the interpreter."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..config_dict import ConfigDict
from ..errors import ConfigSafetyError
from ..lazy import LAZY_TYPES
from .calls import Function, Module, find_method, module_member
from .operators import UNARY, apply_binary, apply_compare, apply_format

if TYPE_CHECKING:
    from .interpreter import Interpreter


def _name(run: Interpreter, node: ast.Name) -> Any:
    return run.lookup(node.id)


def _constant(run: Interpreter, node: ast.Constant) -> Any:
    run.budget.walk(node.value)
    return node.value


def _list(run: Interpreter, node: ast.List) -> list:
    return run.items(node.elts)


def _tuple(run: Interpreter, node: ast.Tuple) -> tuple:
    return tuple(run.items(node.elts))


def _set(run: Interpreter, node: ast.Set) -> set:
    values = run.items(node.elts)
    run.budget.hash_keys(values)
    return set(values)


def _dict(run: Interpreter, node: ast.Dict) -> dict:
    result: dict = {}
    for key, item in zip(node.keys, node.values, strict=True):
        name = None if key is None else run.evaluate(key)
        value = run.evaluate(item)
        if key is None and not isinstance(value, dict):
            raise TypeError(f"{type(value).__name__!r} object is not a mapping")
        names = value.keys() if key is None else [name]
        run.budget.create(len(names))
        run.budget.hash_keys(names, len(result))
        result.update(value if key is None else {name: value})
    return result


def _call(run: Interpreter, node: ast.Call) -> Any:
    function = run.evaluate(node.func)
    if isinstance(function, LAZY_TYPES):
        function()  # says why it cannot be called
    if not isinstance(function, Function):
        raise TypeError(f"{type(function).__name__!r} object is not callable")
    args = run.items(node.args)
    kwargs: dict[str, Any] = {}
    for keyword in node.keywords:
        value = run.evaluate(keyword.value)
        new = {keyword.arg: value} if keyword.arg else value
        if not isinstance(new, dict) or not all(isinstance(key, str) for key in new):
            raise TypeError(f"{function.name}() argument after ** must be a dict of str keys")
        if again := [key for key in new if key in kwargs]:
            raise TypeError(f"{function.name}() got multiple values for {again[0]!r}")
        run.budget.create(len(new))
        kwargs.update(new)
    return function.call(run.budget, *args, **kwargs)


def _attribute(run: Interpreter, node: ast.Attribute) -> Any:
    owner, name = run.evaluate(node.value), node.attr
    # `().__class__.__base__.__subclasses__()` would lead to all of Python.
    if not name.startswith("__"):
        if isinstance(owner, Module):
            found = module_member(owner, name)
        elif isinstance(owner, LAZY_TYPES):
            # Each attribute of a chain keeps the whole path to it.
            run.budget.create(len(owner.dotted_path) + len(name))
            found = getattr(owner, name)
        else:
            found = find_method(owner, name)
            # An attribute of a ConfigDict is a key, unless it is a method that no table allows.
            if found is None and type(owner) is ConfigDict and not hasattr(ConfigDict, name):
                return getattr(owner, name)
        if found is not None:
            return found
    kind = f"module {owner.name}" if isinstance(owner, Module) else type(owner).__name__
    raise ConfigSafetyError(f"The attribute {name!r} of {kind} is not allowed with safe=True.")


def _subscript(run: Interpreter, node: ast.Subscript) -> Any:
    owner, key = run.evaluate(node.value), run.key(node.slice)
    if isinstance(owner, dict):
        run.budget.hash_keys([key])
    elif not isinstance(owner, (list, tuple, str, bytes, range)):
        raise TypeError(f"{type(owner).__name__!r} object is not subscriptable")
    value = owner[key]
    if isinstance(key, slice):
        run.budget.create(len(value))
    return value


def _binary(run: Interpreter, node: ast.BinOp) -> Any:
    left, right = run.evaluate(node.left), run.evaluate(node.right)
    return apply_binary(run.budget, type(node.op), left, right)


def _unary(run: Interpreter, node: ast.UnaryOp) -> Any:
    return UNARY[type(node.op)](run.evaluate(node.operand))


def _boolean(run: Interpreter, node: ast.BoolOp) -> Any:
    stop = isinstance(node.op, ast.Or)
    for operand in node.values:
        value = run.evaluate(operand)
        if bool(value) is stop:
            break
    return value


def _compare(run: Interpreter, node: ast.Compare) -> bool:
    left = run.evaluate(node.left)
    for operator, operand in zip(node.ops, node.comparators, strict=True):
        right = run.evaluate(operand)
        if not apply_compare(run.budget, type(operator), left, right):
            return False
        left = right
    return True


def _conditional(run: Interpreter, node: ast.IfExp) -> Any:
    return run.evaluate(node.body if run.evaluate(node.test) else node.orelse)


def _f_string(run: Interpreter, node: ast.JoinedStr) -> str:
    parts = [run.evaluate(part) for part in node.values]
    run.budget.create(sum(map(len, parts)))
    return "".join(parts)


def _formatted(run: Interpreter, node: ast.FormattedValue) -> str:
    value = run.evaluate(node.value)
    spec = run.evaluate(node.format_spec) if node.format_spec else ""
    # ast writes -1 for a field without `!r`.
    conversion = chr(node.conversion) if node.conversion > 0 else None
    return apply_format(run.budget, value, conversion, spec)


def _list_comprehension(run: Interpreter, node: ast.ListComp | ast.GeneratorExp) -> list:
    return run.comprehend(node, lambda: run.evaluate(node.elt))


def _set_comprehension(run: Interpreter, node: ast.SetComp) -> set:
    values = run.comprehend(node, lambda: run.evaluate(node.elt))
    run.budget.hash_keys(values)
    return set(values)


def _dict_comprehension(run: Interpreter, node: ast.DictComp) -> dict:
    pairs = run.comprehend(node, lambda: (run.evaluate(node.key), run.evaluate(node.value)))
    run.budget.hash_keys([key for key, _ in pairs])
    return dict(pairs)


EXPRESSIONS: dict[type, Callable[[Interpreter, Any], Any]] = {
    ast.Name: _name,
    ast.Constant: _constant,
    ast.List: _list,
    ast.Tuple: _tuple,
    ast.Set: _set,
    ast.Dict: _dict,
    ast.Call: _call,
    ast.Attribute: _attribute,
    ast.Subscript: _subscript,
    ast.BinOp: _binary,
    ast.UnaryOp: _unary,
    ast.BoolOp: _boolean,
    ast.Compare: _compare,
    ast.IfExp: _conditional,
    ast.JoinedStr: _f_string,
    ast.FormattedValue: _formatted,
    ast.ListComp: _list_comprehension,
    # A generator would run later, when nobody pays.
    ast.GeneratorExp: _list_comprehension,
    ast.SetComp: _set_comprehension,
    ast.DictComp: _dict_comprehension,
}
