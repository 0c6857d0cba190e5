"""Python's operators on plain data, paid for before they are applied."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from typing import Any

from ..errors import ConfigSafetyError
from .budget import NUMBERS, Budget

_SIZED = (str, bytes, list, tuple, set, frozenset, dict, range)
# `%*d` takes its width from a value.
_WIDE = re.compile(r"\d{4,}|\*")

UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    ast.Not: operator.not_,
    ast.Invert: operator.invert,
}
BINARY: dict[type[ast.operator], tuple[Callable[[Any, Any], Any], Callable[[Any, Any], Any]]] = {
    ast.Add: (operator.add, operator.iadd),
    ast.Sub: (operator.sub, operator.isub),
    ast.Mult: (operator.mul, operator.imul),
    ast.Div: (operator.truediv, operator.itruediv),
    ast.FloorDiv: (operator.floordiv, operator.ifloordiv),
    ast.Mod: (operator.mod, operator.imod),
    ast.Pow: (operator.pow, operator.ipow),
    ast.LShift: (operator.lshift, operator.ilshift),
    ast.RShift: (operator.rshift, operator.irshift),
    ast.BitOr: (operator.or_, operator.ior),
    ast.BitAnd: (operator.and_, operator.iand),
    ast.BitXor: (operator.xor, operator.ixor),
}
COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    # operator.contains takes the container first.
    ast.In: lambda item, container: operator.contains(container, item),
    ast.NotIn: lambda item, container: not operator.contains(container, item),
}


def apply_binary(
    budget: Budget, kind: type[ast.operator], left: Any, right: Any, in_place: bool = False
) -> Any:
    """Compute ``left <op> right``.

    Raises:
        ConfigSafetyError: The result would be too large, or the operands are not plain data.
    """
    if kind not in BINARY:
        raise ConfigSafetyError(f"The operator {kind.__name__} is not allowed with safe=True.")
    for operand in (left, right):
        if not isinstance(operand, (*NUMBERS, *_SIZED)):
            raise TypeError(f"{type(operand).__name__} is not an operand of {kind.__name__}.")
    if isinstance(left, NUMBERS) and isinstance(right, NUMBERS):
        if isinstance(left, int) and isinstance(right, int):
            budget.check_bits(_bits(kind, left, right))
    elif kind is ast.Mult:
        repeat, times = (right, left) if isinstance(left, int) else (left, right)
        if isinstance(times, int) and isinstance(repeat, _SIZED):
            budget.create(len(repeat) * times)
    elif kind is ast.Mod and isinstance(left, (str, bytes)):
        _pay_percent(budget, left, right)
    elif isinstance(left, dict) or isinstance(right, dict):
        # ConfigDict's `|` copies both sides at every depth.
        budget.walk(left)
        budget.walk(right)
    else:
        for operand in (left, right):
            budget.create(len(operand) if isinstance(operand, _SIZED) else 0)
        if isinstance(left, (set, frozenset)) and isinstance(right, (set, frozenset)):
            budget.hash_keys((*left, *right))
    return BINARY[kind][in_place](left, right)


def apply_compare(budget: Budget, kind: type[ast.cmpop], left: Any, right: Any) -> bool:
    """Compute ``left <op> right``, after paying for every element that may be looked at."""
    if kind not in (ast.Is, ast.IsNot):
        for operand in (left, right):
            budget.walk(operand)
            budget.spend(len(operand) // 64 if isinstance(operand, (str, bytes)) else 0)
    return COMPARE[kind](left, right)


def apply_format(budget: Budget, value: Any, conversion: str | None, spec: str) -> str:
    """Return one replacement field as text, as ``format`` does.

    Raises:
        ConfigSafetyError: The width or precision has more than three digits.
    """
    _check_width(spec)
    budget.walk(value, as_text=True)
    # _check_width lets no more than three digits through.
    budget.create(1000 if any(map(str.isdigit, spec)) else 0)
    convert: dict[str | None, Callable[[Any], Any]] = {"s": str, "r": repr, "a": ascii}
    return format(convert[conversion](value) if conversion else value, spec)


def _pay_percent(budget: Budget, template: str | bytes, values: Any) -> None:
    if isinstance(values, dict):  # one value may be printed any number of times
        raise ConfigSafetyError("'%(name)s' is not allowed with safe=True. Use an f-string.")
    text = template if isinstance(template, str) else template.decode("latin-1")
    _check_width(text)
    budget.walk(values, as_text=True)
    budget.create(len(text) + 1000 * text.count("%"))


def _check_width(spec: str) -> None:
    if _WIDE.search(spec):
        raise ConfigSafetyError(
            f"The format {spec!r:.40} is too wide to be read safely; three digits are allowed."
        )


def _bits(kind: type[ast.operator], left: int, right: int) -> int:
    """Return a bound of the bits of ``left <op> right``."""
    if kind is ast.Pow:
        # A negative exponent gives a float.
        return left.bit_length() * max(right, 0)
    if kind is ast.LShift:
        return left.bit_length() + max(right, 0)
    return left.bit_length() + right.bit_length()
