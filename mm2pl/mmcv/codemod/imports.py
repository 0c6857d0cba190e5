"""Imports, and names reached through ``import mmcv``, rewritten in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst
from libcst.metadata import PositionProvider

from mm2pl.mmcv.codemod.names import home, is_old, module_home, reason

Note = Callable[[int, str, str], None]
"""Takes a line, what is left as it is, and why."""


def dotted(node: cst.BaseExpression | None) -> str:
    """Return ``a.b.c`` for such an expression, else an empty string."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.insert(0, node.attr.value)
        node = node.value
    if not isinstance(node, cst.Name):
        return ""
    return ".".join([node.value, *parts])


class Names(cst.CSTVisitor):
    """Collect what old modules are called in a file, and the expressions that reach into them."""

    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self) -> None:
        self.modules: dict[str, str] = {}
        self.origin: dict[str, str] = {}
        self.uses: list[tuple[cst.BaseExpression, str, int]] = []
        self.depth = 0

    def visit_Import(self, node: cst.Import) -> bool:
        """Note ``import mmcv``, ``import mmcv.runner as r``."""
        for alias in node.names:
            path = dotted(alias.name)
            if is_old(path):
                local = alias.evaluated_alias
                self.modules[local or path.partition(".")[0]] = (
                    path if local else path.partition(".")[0]
                )
        return False

    def visit_ImportFrom(self, node: cst.ImportFrom) -> bool:
        """Note where imported names come from."""
        module = dotted(node.module)
        if not node.relative and module and not isinstance(node.names, cst.ImportStar):
            for alias in node.names:
                name = alias.evaluated_alias or alias.evaluated_name
                self.origin[name] = f"{module}.{alias.evaluated_name}"
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """Note an outermost ``mmcv.a.b``."""
        path = dotted(node)
        self._use(node, path)
        return not path

    def visit_Name(self, node: cst.Name) -> bool:
        """Note a bare ``mmcv``."""
        self._use(node, node.value)
        return False

    # Names that are no values.

    def visit_Attribute_attr(self, node: cst.Attribute) -> None:
        """Attributes are no names."""

    def visit_Arg_keyword(self, node: cst.Arg) -> None:
        """Count a keyword, which is no name."""
        self.depth += 1

    def leave_Arg_keyword(self, node: cst.Arg) -> None:
        """See `visit_Arg_keyword`."""
        self.depth -= 1

    def _use(self, node: cst.BaseExpression, path: str) -> None:
        if path and not self.depth and path.partition(".")[0] in self.modules:
            line = self.get_metadata(PositionProvider, node).start.line
            self.uses.append((node, path, line))


class Imports:
    """What becomes of the imports of one file.

    Args:
        names: What the file calls the old modules.
        note: Told what is left as it is.
    """

    def __init__(self, names: Names, note: Note) -> None:
        self.names = names
        self.note = note
        self.replaced: dict[cst.CSTNode, cst.BaseExpression] = {}
        self.needed: set[str] = set()
        self.kept: set[str] = set()
        for node, path, line in names.uses:
            self._resolve(node, path, line)

    def _resolve(self, node: cst.BaseExpression, path: str, line: int) -> None:
        """Replace the part of an expression that reaches an object of an old module."""
        local, *rest = path.split(".")
        module = self.names.modules[local]
        if module_home(module) is not None and (local != module or module == "mmengine"):
            new = module_home(module)
            names = f"{new}.{rest[0]}" if rest else str(new)
            if not rest or home(module, rest[0]) is not None or module_home(f"{module}.{rest[0]}"):
                if local == "mmengine":
                    self.replaced[_prefix(node, len(rest))] = cst.parse_expression("mm2pl")
                    self._need_room(names)
                return
        for count in range(len(rest)):
            owner = ".".join([module, *rest[:count]])
            new = home(owner, rest[count])
            if new is not None:
                target = _prefix(node, len(rest) - count - 1)
                self.replaced[target] = cst.parse_expression(f"{new}.{rest[count]}")
                self.needed.add(new)
                return
        self.kept.add(local)
        if rest:
            full = ".".join([module, *rest])
            self.note(line, full, reason(full.rpartition(".")[0] if len(rest) > 1 else module))

    def _need_room(self, path: str) -> None:
        parts = path.split(".")
        if len(parts) > 1 and module_home("mmengine." + parts[1]) is not None:
            self.needed.add(f"mm2pl.{parts[1]}")

    def import_statement(self, node: cst.Import) -> list[cst.Import] | None:
        """Return what replaces ``import mmcv``; None if the statement stays."""
        new: list[str] = []
        changed = False
        for alias in node.names:
            path, local = dotted(alias.name), alias.evaluated_alias
            if not is_old(path):
                new.append(_text(alias))
                continue
            binding = local or path.partition(".")[0]
            whole = module_home(path)
            if local and whole is not None and binding not in self.kept:
                new.append(f"{whole} as {local}")
                changed = True
                continue
            if path.startswith("mmengine"):
                changed = True
                new += sorted({whole or "mm2pl", *(n for n in self.needed)})
                continue
            if binding in self.kept or not self._used(binding):
                new.append(_text(alias))
            else:
                changed = True
            if self.needed:
                changed = True
                new += sorted(self.needed)
        new = list(dict.fromkeys(new))
        if not changed or not new:
            return None
        return [_import(name) for name in new]

    def _used(self, binding: str) -> bool:
        return any(path.partition(".")[0] == binding for _, path, _ in self.names.uses)

    def from_statement(
        self, node: cst.ImportFrom, line: int
    ) -> cst.ImportFrom | list[cst.ImportFrom] | None:
        """Return what replaces ``from mmcv.x import y``; None if the statement stays."""
        module = dotted(node.module)
        if node.relative or not is_old(module):
            return None
        if isinstance(node.names, cst.ImportStar):
            whole = module_home(module)
            if whole is None:
                self.note(line, f"from {module} import *", reason(module))
                return None
            return node.with_changes(module=cst.parse_expression(whole))
        rooms: dict[str, list[cst.ImportAlias]] = {}
        for alias in node.names:
            name = alias.evaluated_name
            new = home(module, name)
            if new is None:
                self.note(line, f"{module}.{name}", reason(f"{module}"))
            rooms.setdefault(new or module, []).append(alias)
        if list(rooms) == [module]:
            return None
        if len(rooms) == 1:
            return node.with_changes(module=cst.parse_expression(next(iter(rooms))))
        return [_from(room, aliases) for room, aliases in rooms.items()]


def _prefix(node: cst.BaseExpression, drop: int) -> cst.CSTNode:
    for _ in range(drop):
        assert isinstance(node, cst.Attribute)
        node = node.value
    return node


def _text(alias: cst.ImportAlias) -> str:
    name = dotted(alias.name)
    return f"{name} as {alias.evaluated_alias}" if alias.evaluated_alias else name


def _import(name: str) -> cst.Import:
    statement = cst.parse_statement(f"import {name}\n")
    assert isinstance(statement, cst.SimpleStatementLine)
    (small,) = statement.body
    assert isinstance(small, cst.Import)
    return small


def _from(room: str, aliases: Sequence[cst.ImportAlias]) -> cst.ImportFrom:
    names = ", ".join(
        f"{a.evaluated_name} as {a.evaluated_alias}" if a.evaluated_alias else a.evaluated_name
        for a in aliases
    )
    text = f"from {room} import {names}"
    if len(text) > 79:
        inner = names.replace(", ", ",\n    ")
        text = f"from {room} import (\n    {inner},\n)"
    statement = cst.parse_statement(text + "\n")
    assert isinstance(statement, cst.SimpleStatementLine)
    (small,) = statement.body
    assert isinstance(small, cst.ImportFrom)
    return small
