"""The syntax of pure-Python configs: which bases they take names from, which classes they import."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple, TypeVar

from .errors import ConfigParsingError, Site
from .source import (
    PythonSource,
    blocks,
    is_base_assignment,
    is_read_base,
    is_standard_module,
    parse,
    rename_config_import,
    without_tree,
)

Node = TypeVar("Node", ast.stmt, ast.expr)
LAZY_NAME = "__lazy_object__"


class Taken(NamedTuple):
    """A name that a config takes from a base: ``from module import name as target``."""

    module: str
    name: str
    target: str
    lineno: int


@dataclass(kw_only=True)
class PureSource(PythonSource):
    """What a pure-Python config says before it runs.

    Attributes:
        tree: Its statements, without the bases and with each import turned into
            ``name = __lazy_object__(module, name, location)``.
        modules: Line of each module named inside ``read_base``.
        taken: What it takes from them, in order; the name ``*`` takes everything.
        imported: Names that are imports and therefore not part of the dumped config.
    """

    modules: dict[str, int] = field(default_factory=dict)
    taken: list[Taken] = field(default_factory=list)
    imported: set[str] = field(default_factory=set)


def read_pure_source(text: str, filename: str) -> PureSource:
    """Read the syntax of a pure-Python config.

    Raises:
        ConfigParsingError: It breaks a rule of such configs.
    """
    source = PureSource(filename=filename, tree=parse(text, filename))
    _inline_bases(source)
    for block in blocks(source.tree):
        # MMEngine 0.10.7 may leave a block empty, which Python does not compile.
        block[:] = _rewrite_imports(source, block) or [_at(ast.Pass(), block[0])]
    source.tree.body = _gather_packages(source, source.tree.body)
    return source


@lru_cache(maxsize=256)
def compiled_pure_source(text: str, filename: str) -> PureSource:
    """Read and compile a pure-Python config once."""
    return without_tree(read_pure_source(text, filename))


def module_name(node: ast.ImportFrom) -> str:
    """Return the module of an import statement, with its leading dots."""
    return "." * node.level + (node.module or "")


def _error(source: PureSource, message: str, node: ast.stmt) -> ConfigParsingError:
    return ConfigParsingError(message, Site(source.filename, node.lineno))


def _inline_bases(source: PureSource) -> None:
    """Note the modules of ``with read_base():`` and put its imports in its place."""
    body: list[ast.stmt] = []
    for node in source.tree.body:
        if is_base_assignment(node):
            raise _error(
                source,
                "A config with `with read_base():` or imported classes cannot inherit by "
                "`_base_ = ...`. Write `with read_base(): from .x import *`.",
                node,
            )
        # Every `with` is looked at. MMEngine 0.10.7 stops after the first one and fails on a second.
        if not isinstance(node, ast.With):
            body.append(node)
            continue
        if not is_read_base(node):
            raise _error(source, "Only `read_base` can be used with `with` in a config.", node)
        for statement in node.body:
            if not isinstance(statement, ast.ImportFrom):
                raise _error(
                    source, "Only `from ... import ...` is allowed inside `read_base`.", statement
                )
            if statement.module is None:
                raise _error(
                    source,
                    "`from . import x` is not allowed inside `read_base`. "
                    "Write `from .x import *`.",
                    statement,
                )
            source.modules.setdefault(module_name(statement), statement.lineno)
        body += node.body
    source.tree.body = body


def _rewrite_imports(source: PureSource, block: list[ast.stmt]) -> list[ast.stmt]:
    result: list[ast.stmt] = []
    for node in block:
        if isinstance(node, ast.ImportFrom):
            result += _rewrite_from(source, node)
        elif isinstance(node, ast.Import):
            result += _rewrite_import(source, node)
        else:
            result.append(node)
    return result


def _rewrite_from(source: PureSource, node: ast.ImportFrom) -> list[ast.stmt]:
    module = module_name(node)
    standard = not node.level and is_standard_module(module)
    names = [(alias.name, alias.asname or alias.name) for alias in node.names]
    if module in source.modules and not standard:
        source.taken += [Taken(module, name, target, node.lineno) for name, target in names]
        return []
    if any(name == "*" for name, _ in names):
        message = f"`from {module} import *` is allowed only inside `with read_base():`."
        raise _error(source, message, node)
    source.imported.update(target for _, target in names)
    if standard:
        rename_config_import(node)
        return [node]
    return [_lazy(source, target, node, module, name) for name, target in names]


def _rewrite_import(source: PureSource, node: ast.Import) -> list[ast.stmt]:
    result: list[ast.stmt] = []
    for alias in node.names:
        target = alias.asname or alias.name.split(".")[0]
        if is_standard_module(alias.name):
            source.imported.add(target)
        if alias.asname is None or is_standard_module(alias.name):
            result.append(_at(ast.Import([alias]), node))
        else:
            source.imported.add(target)
            result.append(_lazy(source, target, node, alias.name))
    return result


def _gather_packages(source: PureSource, body: list[ast.stmt]) -> list[ast.stmt]:
    """Bind each package of ``import a.b; import a.c`` once, before everything else."""
    rest: list[ast.stmt] = []
    packages: dict[str, tuple[ast.stmt, list[str]]] = {}
    for node in body:
        if isinstance(node, ast.Import) and not is_standard_module(node.names[0].name):
            path = node.names[0].name
            # `import a.b` and `import a.c` both bind `a`, so the second would replace the first.
            packages.setdefault(path.split(".")[0], (node, []))[1].append(path)
        else:
            rest.append(node)
    source.imported.update(packages)
    return [_lazy(source, name, *packages[name]) for name in packages] + rest


def _lazy(
    source: PureSource,
    target: str,
    node: ast.stmt,
    module: str | list[str],
    imported: str | None = None,
) -> ast.stmt:
    """Return the statement ``target = __lazy_object__(module, imported, location)``."""

    def constant(value: str | None) -> ast.expr:
        return _at(ast.Constant(value), node)

    if isinstance(module, list):
        modules = _at(ast.List([constant(path) for path in module], ast.Load()), node)
    else:
        modules = constant(module)
    location = constant(f"{source.filename}, line {node.lineno}")
    function = _at(ast.Name(LAZY_NAME, ast.Load()), node)
    call = _at(ast.Call(function, [modules, constant(imported), location], []), node)
    return _at(ast.Assign([_at(ast.Name(target, ast.Store()), node)], call), node)


def _at(node: Node, where: ast.stmt) -> Node:
    # compile() demands a position for each node, and an error has to name the user's line.
    node.lineno, node.col_offset = where.lineno, where.col_offset
    return node
