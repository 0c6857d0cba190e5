"""Pure-Python configs: inheritance by ``with read_base():``, classes by import statements."""

from __future__ import annotations

import ast
import os
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from .config_dict import ConfigDict, rebuild
from .document import execute, read_text
from .errors import (
    ConfigError,
    ConfigKeyError,
    ConfigParsingError,
    Site,
    locate_error,
    reached_by,
)
from .lazy import LazyObject
from .loader import refuse_cycle
from .packages import package_folder
from .source import (
    blocks,
    is_base_assignment,
    is_read_base,
    is_standard_module,
    parse,
    rename_config_import,
)

if TYPE_CHECKING:
    from .safe import Sandbox

_LAZY = "__lazy_object__"


def load_pure_python(
    path: str, via: tuple[Site, ...] = (), sandbox: Sandbox | None = None
) -> tuple[ConfigDict, set[str]]:
    """Read a pure-Python config and its bases; ``ConfigDict.lazy`` must be set.

    Returns:
        Its values, and those of its names that are imports, functions or modules and therefore
        not part of the config when it is dumped.

    Raises:
        ConfigError: At the line of the file that is wrong.
    """
    refuse_cycle(path, via)
    with reached_by(path, via):
        module = _Module(path, via, sandbox)
        module.rewrite(parse(read_text(path, sandbox), path))
        return module.run()


class _Module:
    """One file on its way from syntax to values."""

    def __init__(self, filename: str, via: tuple[Site, ...], sandbox: Sandbox | None) -> None:
        self.filename, self.via, self.sandbox = filename, via, sandbox
        self.bases: dict[str, ConfigDict] = {}
        self.imported: set[str] = set()
        self.namespace: dict[str, Any] = {"__file__": filename, _LAZY: LazyObject}
        self.tree = ast.Module([], [])

    def error(self, message: str, node: ast.stmt) -> ConfigParsingError:
        return ConfigParsingError(message, Site(self.filename, node.lineno))

    def rewrite(self, tree: ast.Module) -> None:
        """Load the bases, and turn imports into lazy objects."""
        body: list[ast.stmt] = []
        for node in tree.body:
            if is_base_assignment(node):
                raise self.error(
                    "A config with `with read_base():` or imported classes cannot inherit by "
                    "`_base_ = ...`. Write `with read_base(): from .x import *`.",
                    node,
                )
            if not isinstance(node, ast.With):
                body.append(node)
                continue
            if not is_read_base(node):
                raise self.error("Only `read_base` can be used with `with` in a config.", node)
            for statement in node.body:
                self.load_base(statement)
            body += node.body
        tree.body = body
        for block in blocks(tree):
            block[:] = self.rewrite_imports(block) or [ast.Pass()]
        tree.body = self.gather_packages(tree.body)
        self.tree = ast.fix_missing_locations(tree)

    def load_base(self, node: ast.stmt) -> None:
        """Load the file that ``from .x import ...`` inside ``read_base`` names."""
        if not isinstance(node, ast.ImportFrom):
            raise self.error("Only `from ... import ...` is allowed inside `read_base`.", node)
        if node.module is None:
            raise self.error(
                "`from . import x` is not allowed inside `read_base`. Write `from .x import *`.",
                node,
            )
        if (name := _module_name(node)) in self.bases:
            return
        path = self.base_path(node)
        if self.sandbox:
            self.sandbox.check_base(path)
        if not os.path.isfile(path):
            folder, missing = os.path.split(path)
            raise ConfigParsingError(
                f"`from {name} import ...` inside `read_base` means {path}, which does not exist.",
                Site(self.filename, node.lineno),
                key=missing,
                accepted=os.listdir(folder) if os.path.isdir(folder) else (),
            )
        via = (*self.via, Site(self.filename, node.lineno))
        self.bases[name], imported = load_pure_python(path, via, self.sandbox)
        self.imported |= imported

    def base_path(self, node: ast.ImportFrom) -> str:
        parts = (node.module or "").split(".")
        if node.level:
            folder = os.path.dirname(self.filename)
            parts = [*[".."] * (node.level - 1), *parts]
        elif len(parts) == 1:
            raise self.error(
                f"{parts[0]!r} is a package, not a config. "
                "Write `from package.configs.name import *`.",
                node,
            )
        else:
            try:
                folder = package_folder(parts.pop(0))
                if self.sandbox:
                    self.sandbox.allow_package(folder)
            except ConfigError as error:
                error.at = Site(self.filename, node.lineno)
                raise
        return os.path.abspath(os.path.join(folder, *parts)) + ".py"

    def rewrite_imports(self, block: list[ast.stmt]) -> list[ast.stmt]:
        """Replace the import statements of one block."""
        result: list[ast.stmt] = []
        for node in block:
            if isinstance(node, ast.ImportFrom):
                result += self.rewrite_from(node)
            elif isinstance(node, ast.Import):
                result += self.rewrite_import(node)
            else:
                result.append(node)
        return result

    def rewrite_from(self, node: ast.ImportFrom) -> list[ast.stmt]:
        name = _module_name(node)
        standard = not node.level and is_standard_module(name)
        if name in self.bases and not standard:
            for alias in node.names:
                self.take_from_base(name, alias, node)
            return []
        if any(alias.name == "*" for alias in node.names):
            raise self.error(
                f"`from {name} import *` is allowed only inside `with read_base():`.", node
            )
        self.imported.update(alias.asname or alias.name for alias in node.names)
        if standard:
            rename_config_import(node)
            return [node]
        return [
            self.lazy(alias.asname or alias.name, node, name, alias.name) for alias in node.names
        ]

    def take_from_base(self, name: str, alias: ast.alias, node: ast.ImportFrom) -> None:
        base = self.bases[name]
        if alias.name == "*":
            self.namespace.update(dict.items(base))
        elif alias.name in base:
            self.namespace[alias.asname or alias.name] = base[alias.name]
        else:
            raise ConfigKeyError(
                f"The config {name} does not define {alias.name!r}.",
                Site(self.filename, node.lineno),
                key=alias.name,
                accepted=base.keys(),
            )

    def rewrite_import(self, node: ast.Import) -> list[ast.stmt]:
        result: list[ast.stmt] = []
        for alias in node.names:
            if alias.asname is None or is_standard_module(alias.name):
                single = ast.copy_location(ast.Import([alias]), node)
                result.append(single)
                if is_standard_module(alias.name):
                    self.imported.add(alias.asname or alias.name.split(".")[0])
            else:
                self.imported.add(alias.asname)
                result.append(self.lazy(alias.asname, node, alias.name))
        return result

    def gather_packages(self, body: list[ast.stmt]) -> list[ast.stmt]:
        """Bind each package of ``import a.b; import a.c`` once, before everything else."""
        rest: list[ast.stmt] = []
        packages: dict[str, tuple[ast.stmt, list[str]]] = {}
        for node in body:
            if isinstance(node, ast.Import) and not is_standard_module(node.names[0].name):
                path = node.names[0].name
                packages.setdefault(path.split(".")[0], (node, []))[1].append(path)
            else:
                rest.append(node)
        self.imported.update(packages)
        return [self.lazy(name, *packages[name]) for name in packages] + rest

    def lazy(
        self, name: str, node: ast.stmt, module: str | list[str], imported: str | None = None
    ) -> ast.stmt:
        """Return the statement ``name = LazyObject(module, imported, location)``."""
        location = f"{self.filename}, line {node.lineno}"
        call = f"{_LAZY}({module!r}, {imported!r}, {location!r})"
        statement = ast.parse(f"{name} = {call}").body[0]
        for child in ast.walk(statement):
            ast.copy_location(child, node)
        return statement

    def run(self) -> tuple[ConfigDict, set[str]]:
        """Execute the rewritten file."""
        if self.sandbox:
            self.sandbox.run_pure_python(self.tree, self.filename, self.namespace)
        else:
            try:
                code = compile(self.tree, self.filename, "exec", dont_inherit=True)
            except (SyntaxError, ValueError) as error:
                raise locate_error(error, self.filename) from error
            execute(code, self.filename, self.namespace)
        values = {k: v for k, v in self.namespace.items() if not k.startswith("__")}
        self.imported |= {
            key for key, value in values.items() if isinstance(value, (FunctionType, ModuleType))
        }
        return _copy_containers(values), self.imported


def _module_name(node: ast.ImportFrom) -> str:
    return "." * node.level + (node.module or "")


def _copy_containers(value: Any) -> Any:
    """Make every dict a ConfigDict of its own; what it holds stays as it is, lazy or built."""
    if isinstance(value, dict):
        result = ConfigDict.__new__(ConfigDict)
        dict.update(result, {key: _copy_containers(item) for key, item in dict.items(value)})
        return result
    if isinstance(value, (list, tuple)):
        return rebuild(value, (_copy_containers(item) for item in value))
    return value
