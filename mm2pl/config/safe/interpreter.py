"""Evaluate the syntax tree of a config without giving it to Python."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from mm2pl.closest import closest, did_you_mean

from ..config_dict import ConfigDict
from ..errors import ConfigError, ConfigSafetyError, Site, locate_error
from .budget import Budget
from .calls import FUNCTIONS, elements, iterate
from .expressions import EXPRESSIONS
from .statements import STATEMENTS, Break, Continue


class Interpreter:
    """Run statements on a namespace of plain data; what is not in the two tables is an error.

    Args:
        filename: For messages.
        namespace: Variables, read and written.
        budget: Paid from for every node.
    """

    def __init__(self, filename: str, namespace: dict[str, Any], budget: Budget) -> None:
        self.filename = filename
        self.namespace = namespace
        self.budget = budget
        self.scopes: list[dict[str, Any]] = []  # of comprehensions, innermost last
        self.depth = 0
        self.failed_at = 0

    def run(self, body: Sequence[ast.stmt]) -> None:
        """Execute statements.

        Raises:
            ConfigError: At the line that fails or is not allowed.
        """
        self._located(self.execute, body)

    def value_of(self, node: ast.expr) -> Any:
        """Evaluate one expression.

        Raises:
            ConfigError: At the line that fails or is not allowed.
        """
        return self._located(self.evaluate, node)

    def _located(self, function: Callable[[Any], Any], argument: Any) -> Any:
        try:
            return function(argument)
        # These two are raised to leave a loop. One that gets here had no loop around it.
        except (Break, Continue):
            raise ConfigSafetyError("break outside of a loop", Site(self.filename)) from None
        except Exception as error:
            located = locate_error(error, self.filename, self.failed_at)
            raise located from (None if isinstance(error, ConfigError) else error)

    def execute(self, body: Sequence[ast.stmt]) -> None:
        """Execute a block."""
        for node in body:
            self._step(STATEMENTS, node)

    def evaluate(self, node: ast.expr) -> Any:
        """Return the value of an expression."""
        return self._step(EXPRESSIONS, node)

    def _step(self, table: dict[type, Callable[[Interpreter, Any], Any]], node: Any) -> Any:
        self.depth += 1
        try:
            self.budget.spend(1)
            self.budget.check_depth(self.depth)
            handler = table.get(type(node))
            if handler is None:
                name = type(node).__name__
                raise ConfigSafetyError(
                    f"{name} is not allowed with safe=True, which reads only data, not programs."
                )
            return handler(self, node)
        # The end of a loop's round is not a failure, so it marks no line.
        except (Break, Continue):
            raise
        except Exception:
            # The innermost node sees the error first.
            self.failed_at = self.failed_at or node.lineno
            raise
        finally:
            self.depth -= 1

    def lookup(self, name: str) -> Any:
        """Return the value of a variable, or the function of that name.

        Raises:
            NameError: There is none of that name.
        """
        # Functions last, like Python's builtins: a config may use `max` as a name of its own.
        for scope in (*reversed(self.scopes), self.namespace, FUNCTIONS):
            if name in scope:
                return scope[name]
        known = [*self.namespace, *FUNCTIONS]
        raise NameError(
            f"name {name!r} is not defined or not allowed.{did_you_mean(closest(name, known))}"
        )

    def store(self, target: ast.expr, value: Any) -> None:
        """Assign to a target.

        Raises:
            ConfigSafetyError: The target is of a kind that is not allowed.
        """
        if isinstance(target, ast.Name):
            (self.scopes[-1] if self.scopes else self.namespace)[target.id] = value
        elif isinstance(target, (ast.Tuple, ast.List)):
            self._unpack(target.elts, elements(self.budget, value))
        elif isinstance(target, ast.Subscript):
            self._store_item(self.evaluate(target.value), self.key(target.slice), value)
        elif isinstance(target, ast.Attribute):
            owner = self.config_dict(target)
            self.budget.walk(value)
            setattr(owner, target.attr, value)
        else:
            raise ConfigSafetyError(f"{type(target).__name__} cannot be assigned to.")

    def _unpack(self, targets: Sequence[ast.expr], values: list) -> None:
        star = next((i for i, t in enumerate(targets) if isinstance(t, ast.Starred)), None)
        if star is None:
            pairs = list(zip(targets, values, strict=True))
        else:
            after = len(targets) - star - 1
            if len(values) < star + after:
                raise ValueError(f"not enough values to unpack: {len(values)}")
            middle = values[star : len(values) - after]
            rest = values[len(values) - after :]
            pairs = list(zip(targets, [*values[:star], middle, *rest], strict=True))
        for target, value in pairs:
            self.store(target.value if isinstance(target, ast.Starred) else target, value)

    def _store_item(self, owner: Any, key: Any, value: Any) -> None:
        if isinstance(owner, ConfigDict):
            self.budget.walk(value)  # is copied
        if isinstance(owner, dict):
            self.budget.hash_keys([key], len(owner))
            self.budget.create(1)
        elif type(owner) is list:
            if isinstance(key, slice):
                value = elements(self.budget, value)
        else:
            raise TypeError(f"{type(owner).__name__!r} object does not support item assignment")
        owner[key] = value

    def key(self, node: ast.expr) -> Any:
        """Return the value of a subscript, a slice included."""
        if not isinstance(node, ast.Slice):
            return self.evaluate(node)
        parts = (node.lower, node.upper, node.step)
        return slice(*(None if part is None else self.evaluate(part) for part in parts))

    def config_dict(self, node: ast.Attribute) -> ConfigDict:
        """Return the owner of an attribute that is to be changed.

        Raises:
            ConfigSafetyError: The owner is not a ConfigDict, or the attribute is private.
        """
        owner = self.evaluate(node.value)
        if type(owner) is not ConfigDict or node.attr.startswith("__"):
            raise ConfigSafetyError(
                f"The attribute {node.attr!r} of {type(owner).__name__} cannot be changed."
            )
        return owner

    def items(self, nodes: Sequence[ast.expr]) -> list:
        """Evaluate the elements of a display or call, ``*x`` included."""
        values: list = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                values += elements(self.budget, self.evaluate(node.value))
            else:
                values.append(self.evaluate(node))
        self.budget.create(len(nodes))
        return values

    def rounds(self, generators: Sequence[ast.comprehension]) -> Iterator[None]:
        """Bind the variables of a comprehension to one combination after the other.

        Raises:
            ConfigSafetyError: The comprehension is asynchronous.
        """
        first, rest = generators[0], generators[1:]
        if first.is_async:
            raise ConfigSafetyError("async is not allowed with safe=True.")
        for value in iterate(self.budget, self.evaluate(first.iter)):
            self.store(first.target, value)
            if all(self.evaluate(condition) for condition in first.ifs):
                if rest:
                    yield from self.rounds(rest)
                else:
                    yield

    def comprehend(self, node: Any, make: Callable[[], Any]) -> list:
        """Collect what ``make`` returns in each round of a comprehension."""
        self.scopes.append({})
        try:
            result = []
            for _ in self.rounds(node.generators):
                self.budget.create(1)
                result.append(make())
            return result
        finally:
            self.scopes.pop()
