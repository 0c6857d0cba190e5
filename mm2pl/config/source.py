"""The syntax of Python config files: what they inherit, whether they are pure Python, their code."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from types import CodeType
from typing import TypeVar

from .errors import ConfigParsingError, ConfigSyntaxError, Site
from .placeholders import BASE_VARIABLE

BASE_KEY = "_base_"
CONFIG_PACKAGES = ("mm2pl.config", "mmengine.config")
Source = TypeVar("Source", bound="PythonSource")
_BODIES = ("body", "orelse", "finalbody", "handlers", "cases")


@dataclass(kw_only=True)
class PythonSource:
    """What a Python config says before it runs.

    Attributes:
        tree: Its statements, without the ``_base_`` assignments.
        bases: The right-hand side of its first ``_base_`` assignment.
    """

    filename: str
    tree: ast.Module
    bases: ast.expr | None = None

    @cached_property
    def code(self) -> CodeType:
        """The compiled statements.

        Raises:
            ConfigSyntaxError: Python cannot compile the text.
        """
        try:
            # dont_inherit, since this file's own `from __future__` imports would hold in the config.
            return compile(self.tree, self.filename, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, RecursionError) as error:
            site = Site(self.filename, getattr(error, "lineno", None) or 0)
            raise ConfigSyntaxError(getattr(error, "msg", None) or str(error), site) from error


def parse(text: str, filename: str) -> ast.Module:
    """Parse Python text; a mistake is an error at its line.

    Raises:
        ConfigSyntaxError: Python cannot parse the text.
    """
    try:
        return ast.parse(text, filename)
    # Deep nesting is a RecursionError or MemoryError, and a null byte a ValueError in older Pythons.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line = error.text.strip() if isinstance(error, SyntaxError) and error.text else ""
        message = getattr(error, "msg", None) or str(error) or "nested too deeply to be parsed"
        raise ConfigSyntaxError(
            f"{message}: {line!r:.80}" if line else message,
            Site(filename, getattr(error, "lineno", None) or 0),
        ) from error


def read_source(text: str, filename: str, any_style: bool) -> PythonSource:
    """Read the syntax of a config whose macros are already expanded.

    Raises:
        ConfigParsingError: It is a pure-Python config, and not ``any_style`` is accepted; or ``_base_`` is set where it
            has no effect.
    """
    tree = parse(text, filename)
    if not any_style and is_pure_python(tree, filename):
        raise ConfigParsingError(
            "A config with `with read_base():` or imported classes and one with `_base_ = ...` "
            "cannot inherit from each other. Use one style in the whole chain.",
            Site(filename),
        )
    source = PythonSource(filename=filename, tree=tree)
    assignments = (node for node in tree.body if is_base_assignment(node))
    if first := next(assignments, None):
        source.bases = getattr(first, "value", None)
        for block in blocks(tree):
            # MMEngine 0.10.7 may leave an `if` without a body, which Python does not compile.
            block[:] = [s for s in block if not is_base_assignment(s)] or [
                ast.copy_location(ast.Pass(), block[0])
            ]
    elif BASE_KEY in text:
        _refuse_hidden_base(tree, filename)
    # Looking at the text is cheap, and most configs import nothing.
    if "mmengine" in text:
        _rename_config_imports(tree)
    if BASE_VARIABLE.search(text):
        source.tree = _BaseVariables(text, filename).rewrite(tree)
    return source


def _refuse_hidden_base(tree: ast.Module, filename: str) -> None:
    """Raise where ``_base_`` is set in a way that inherits nothing; MMEngine 0.10.7 mostly says nothing of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id == BASE_KEY and isinstance(node.ctx, ast.Store):
            raise ConfigParsingError(
                "This `_base_` is not read. Write `_base_ = ...` alone in its line, not indented.",
                Site(filename, node.lineno),
            )


@lru_cache(maxsize=256)
def compiled_source(text: str, filename: str, any_style: bool) -> PythonSource:
    """Read and compile a config once: bases are shared by many, and equal text is equal code."""
    return without_tree(read_source(text, filename, any_style))


def without_tree(source: Source) -> Source:
    """Compile a source and drop its tree, which takes ten times the memory of the code."""
    assert source.code is not None
    source.tree = ast.Module([], [])
    return source


def is_base_assignment(node: ast.AST) -> bool:
    """Return whether a statement is ``_base_ = ...``."""
    return (
        # As in MMEngine 0.10.7, only the first target counts: `x = _base_ = ...` inherits nothing.
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and node.targets[0].id == BASE_KEY
    )


def is_standard_module(name: str) -> bool:
    """Return whether a config may really import this module while it is read.

    MMEngine 0.10.7 decides by the path of the file and so takes ``os`` for a third-party package in
    a virtual environment.
    """
    return name.split(".")[0] in sys.stdlib_module_names or name.startswith(CONFIG_PACKAGES)


def is_read_base(node: ast.With) -> bool:
    """Return whether a ``with`` statement is ``with read_base():``."""
    call = node.items[0].context_expr
    if len(node.items) != 1 or not isinstance(call, ast.Call):
        return False
    # MMEngine 0.10.7 fails on `config.read_base()` with AttributeError.
    name = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    return name == "read_base"


def statements(tree: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements of a tree breadth first; expressions hold none."""
    queue: list[ast.AST] = [tree]
    for node in queue:
        if isinstance(node, ast.stmt):
            yield node
        for field in _BODIES:
            queue += getattr(node, field, ()) if not isinstance(node, ast.expr) else ()


def key_line(tree: ast.Module, path: Sequence[str]) -> int:
    """Return the line that sets ``path`` in a config, as deep as it can be followed; 0 if nowhere."""
    # Of several assignments the last one holds.
    for node in reversed(tree.body):
        targets = getattr(node, "targets", None) or [getattr(node, "target", None)]
        if any(isinstance(t, ast.Name) and t.id == path[0] for t in targets):
            return _deeper(getattr(node, "value", None), path[1:]) or node.lineno
    return 0


def _deeper(node: ast.expr | None, path: Sequence[str]) -> int:
    if not path:
        return 0
    if isinstance(node, ast.Call):
        pairs = [(keyword.arg, keyword.value) for keyword in node.keywords]
    elif isinstance(node, ast.Dict):
        pairs = [
            (getattr(k, "value", None), v) for k, v in zip(node.keys, node.values, strict=True)
        ]
    else:
        return 0
    return next((_deeper(v, path[1:]) or v.lineno for k, v in pairs if k == path[0]), 0)


def blocks(tree: ast.AST) -> Iterator[list[ast.stmt]]:
    """Yield every non-empty list of statements in a tree."""
    for node in [tree, *statements(tree)]:
        for field in ("body", "orelse", "finalbody"):
            if isinstance(body := getattr(node, field, None), list) and body:
                yield body


def is_pure_python(tree: ast.Module, filename: str) -> bool:
    """Decide as MMEngine does: the first telling statement, breadth first, settles it.

    Raises:
        ConfigParsingError: That is a ``with`` other than ``read_base()``.
    """
    for node in statements(tree):
        if is_base_assignment(node):
            return False
        if isinstance(node, ast.With):
            if is_read_base(node):
                return True
            raise ConfigParsingError(
                "Only the `read_base` context manager can be used in a config.",
                Site(filename, node.lineno),
            )
        if isinstance(node, ast.ImportFrom):
            names = [alias.name for alias in node.names]
            # As in MMEngine 0.10.7, this import from a third-party package does not make a config pure Python.
            if node.module in ("mmengine", "mm2pl") and names == ["Config"] and not node.level:
                continue
            if node.level or not is_standard_module(node.module or ""):
                return True
        if isinstance(node, ast.Import) and not all(is_standard_module(a.name) for a in node.names):
            return True
    return False


def _rename_config_imports(tree: ast.Module) -> None:
    """Let a config that imports ``mmengine.config`` run where there is no MMEngine."""
    for node in statements(tree):
        if isinstance(node, ast.ImportFrom) and not node.level and node.module:
            rename_config_import(node)


def rename_config_import(node: ast.ImportFrom) -> None:
    """Point ``from mmengine.config import ...`` and ``from mmengine import Config`` here."""
    module = node.module or ""
    if module == "mmengine" and [alias.name for alias in node.names] == ["Config"]:
        node.module = "mm2pl.config"
    elif module.startswith("mmengine.config"):
        node.module = module.replace("mmengine", "mm2pl", 1)


class _BaseVariables(ast.NodeTransformer):
    """Turn ``{{ _base_.a.b }}``, to Python a set in a set, into ``_base_['a']['b']``."""

    def __init__(self, text: str, filename: str) -> None:
        self.text, self.filename = text, filename

    def rewrite(self, tree: ast.Module) -> ast.Module:
        """Return the tree with every macro rewritten."""
        return self.visit(tree)

    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0]
        if len(node.elts) == 1 and isinstance(inner, ast.Set) and len(inner.elts) == 1:
            names: list[str] = []
            target = inner.elts[0]
            while isinstance(target, ast.Attribute):
                names.insert(0, target.attr)
                target = target.value
            if names and isinstance(target, ast.Name) and target.id == BASE_KEY:
                result: ast.expr = target
                for name in names:
                    key = ast.copy_location(ast.Constant(name), node)
                    result = ast.copy_location(ast.Subscript(result, key, ast.Load()), node)
                return result
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and BASE_VARIABLE.search(node.value):
            # The source decides, not the value: a printed config writes such a text as `{\x7b` to keep it.
            segment = ast.get_source_segment(self.text, node) or ""
            if match := BASE_VARIABLE.search(segment):
                raise ConfigParsingError(
                    f"{match[0]!r} is not replaced inside a string. "
                    f"Write it without quotes, or use an f-string with {{_base_.{match[1]}}}.",
                    Site(self.filename, node.lineno),
                )
        return node
