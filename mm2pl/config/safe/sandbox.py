"""The limits of one safe reading: which files, how much, and by which parsers."""

from __future__ import annotations

import ast
import json
import os
from typing import TYPE_CHECKING, Any

from ..errors import ConfigFormatError, ConfigSafetyError, Site
from ..lazy import LazyObject
from .budget import Budget
from .calls import Function, Module
from .interpreter import Interpreter

if TYPE_CHECKING:
    import yaml

_MAX_MACROS = 1000
# json and PyYAML turn digits into an integer in quadratic time.
_MAX_NUMBER = 100
_MAX_YAML = 100_000  # PyYAML in Python takes a second for this


class Sandbox:
    """Read a config and its bases without executing them.

    Bases must lie in ``root`` or in the configs of an installed package. The environment is not
    read, nothing is imported, and all files share one budget.

    Args:
        path: The config.
        root: Folder of the bases; by default the nearest folder above ``path`` that is called
            ``configs``, or else the folder of ``path``.
        budget: What may be spent.
    """

    def __init__(self, path: str, root: str | None = None, budget: Budget | None = None) -> None:
        self.roots = [os.path.realpath(root or _configs_folder(path))]
        self.budget = budget or Budget()

    def allow_package(self, folder: str) -> None:
        """Let bases lie in the configs of an installed package."""
        self.roots.append(os.path.realpath(folder))

    def check_base(self, path: str) -> None:
        """Refuse a base outside of the roots, also by way of a symbolic link.

        Raises:
            ConfigSafetyError: It is outside; nothing about it has been looked at.
        """
        real = os.path.realpath(path)
        # With the separator: `configs-private` does not lie in `configs`.
        if not any(real.startswith(root + os.sep) for root in self.roots):
            raise ConfigSafetyError(
                f"The base {path} lies outside of {self.roots[0]}. "
                "Move it there, or name a folder that holds all of them: safe='<folder>'."
            )

    def read_text(self, path: str) -> str:
        """Return the text of a file, up to the limit.

        Raises:
            ConfigFormatError: The file cannot be read.
            ConfigSafetyError: It has too many macros.
        """
        try:
            with open(path, encoding="utf-8") as file:
                # One more than allowed, to see that a file is longer, even one that never ends.
                text = file.read(self.budget.characters + 1)
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigFormatError(f"The config cannot be read: {error}", Site(path)) from error
        self.budget.read(len(text))
        if text.count("{{") > _MAX_MACROS:
            raise ConfigSafetyError(f"It has more than {_MAX_MACROS} macros.", Site(path))
        return text

    def run(self, tree: ast.Module, filename: str, namespace: dict[str, Any]) -> None:
        """Interpret a Python config; afterwards ``namespace`` holds plain data."""
        Interpreter(filename, namespace, self.budget).run(tree.body)
        # As modules and functions of an executed config, these are not values.
        for name in [k for k, v in namespace.items() if isinstance(v, (Function, Module))]:
            del namespace[name]
        self.budget.walk(namespace)

    def run_pure_python(self, tree: ast.Module, filename: str, namespace: dict[str, Any]) -> None:
        """Interpret a config whose imports have become calls of ``LazyObject``."""
        for name in [key for key, value in namespace.items() if value is LazyObject]:
            # The interpreter calls nothing that is not a Function.
            namespace[name] = Function(name, lambda budget, *args: LazyObject(*args))
        self.run(tree, filename, namespace)

    def evaluate(self, node: ast.expr, filename: str) -> Any:
        """Interpret the right-hand side of ``_base_ = ...``."""
        return self._walked(Interpreter(filename, {}, self.budget).value_of(node))

    def parse_json(self, text: str) -> Any:
        """Parse JSON text."""
        return self._walked(json.loads(text, parse_int=_short_int))

    def parse_yaml(self, text: str) -> Any:
        """Parse YAML text with PyYAML's safe loader, tuples allowed.

        Raises:
            ConfigSafetyError: The text is too long.
        """
        import yaml

        self._check_nesting(text)
        if len(text) > _MAX_YAML:
            raise ConfigSafetyError(
                f"More than {_MAX_YAML} characters of YAML are not read safely."
            )
        budget = self.budget

        # A class for each reading: its methods hold this budget.
        class Loader(yaml.SafeLoader):
            def flatten_mapping(self, node: yaml.MappingNode) -> None:
                super().flatten_mapping(node)
                budget.create(len(node.value))  # `<<: [*a, *a]` doubles at every level

            def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
                if isinstance(node, yaml.MappingNode):
                    # A key is hashed, and shared tuples inside it are each time they occur.
                    for key, _ in node.value:
                        _pay_for_hash(budget, key)
                return super().construct_object(node, deep)

            def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
                _check_number(node.value)
                return super().construct_yaml_int(node)

            def construct_yaml_float(self, node: yaml.ScalarNode) -> float:
                _check_number(node.value)
                return super().construct_yaml_float(node)

            def construct_python_tuple(self, node: yaml.SequenceNode) -> tuple:
                # PyYAML fills a list after it has returned it. A tuple needs its elements at once.
                return tuple(self.construct_sequence(node, deep=True))

        for tag in ("int", "float"):
            method = getattr(Loader, f"construct_yaml_{tag}")
            # PyYAML's table holds SafeLoader's own functions, so an overridden method alone is never called.
            Loader.add_constructor(f"tag:yaml.org,2002:{tag}", method)
        Loader.add_constructor("tag:yaml.org,2002:python/tuple", Loader.construct_python_tuple)
        return self._walked(yaml.load(text, Loader))

    def _check_nesting(self, text: str) -> None:
        """Refuse deep `[[[` before PyYAML gets to it: it takes cubic time over them."""
        depth = 0
        for character in text:
            depth += (character in "[{") - (character in "]}")
            self.budget.check_depth(depth)

    def _walked(self, data: Any) -> Any:
        self.budget.walk(data)
        return data


def _configs_folder(path: str) -> str:
    folder = above = os.path.dirname(os.path.abspath(path))
    # The root of the file system has no name.
    while os.path.basename(above):
        if os.path.basename(above) == "configs":
            return above
        above = os.path.dirname(above)
    return folder


def _pay_for_hash(budget: Budget, node: yaml.Node, depth: int = 0) -> None:
    """Pay for each part of a key, as often as it occurs."""
    budget.spend(1)
    budget.check_depth(depth)
    if isinstance(node.value, list):
        for child in node.value:
            for each in child if isinstance(child, tuple) else (child,):
                _pay_for_hash(budget, each, depth + 1)


def _short_int(text: str) -> int:
    _check_number(text)
    return int(text)


def _check_number(text: str) -> None:
    if len(text) > _MAX_NUMBER:
        raise ConfigSafetyError(f"The number {text[:20]}... has more than {_MAX_NUMBER} digits.")
