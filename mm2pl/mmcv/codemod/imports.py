"""Imports, and names reached through ``import mmcv``, rewritten in place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import libcst as cst
from libcst import matchers as m
from libcst.metadata import PositionProvider

from mm2pl.mmcv.codemod.kept import keeps, keeps_module
from mm2pl.mmcv.codemod.names import UNCHANGED, home, is_old, module_home, reason

Note = Callable[[int, str, str], None]
"""Takes a line, what is left as it is, and why."""


def dotted(node: cst.BaseExpression | None) -> str:
    """Return ``a.b.c`` for such an expression, else an empty string."""
    parts: list[str] = []
    while isinstance(node, cst.Attribute):
        parts.insert(0, node.attr.value)
        node = node.value
    # A call or subscript in between ends the path: what it returns is unknown.
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
        self.locals: list[set[str]] = []

    def visit_Import(self, node: cst.Import) -> bool:
        """Note ``import mmcv``, ``import mmcv.runner as r``."""
        for alias in node.names:
            path = dotted(alias.name)
            # `import mmcv.runner` binds 'mmcv', `import mmcv.runner as r` binds the sub-module.
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
                # For all modules, since a hook's base may come through a file of the user's.
                path = self.origin[name] = f"{module}.{alias.evaluated_name}"
                # `from mmcv import runner` binds a module: its uses are attributes, as with `import`.
                if module == "mmcv" and module_home(path) is not None:
                    self.modules[name] = path
        return False

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """Note an outermost ``mmcv.a.b``."""
        path = dotted(node)
        self._use(node, path)
        # The inner parts of `mmcv.a.b` are not uses of their own.
        return not path

    def visit_Name(self, node: cst.Name) -> bool:
        """Note a bare ``mmcv``."""
        self._use(node, node.value)
        return False

    # Names that are not values, or not those of the modules.

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Expect names of a function's own, such as the parameter ``runner`` next to ``from mmcv import runner``."""
        # A name counts as hidden from where it is set, which is enough for parameters.
        self.locals.append(set())

    def leave_FunctionDef(self, original_node: cst.FunctionDef) -> None:
        """Forget them."""
        self.locals.pop()

    def visit_Param(self, node: cst.Param) -> None:
        """Note a parameter."""
        # Parameters of a lambda at module level belong to no function here.
        if self.locals:
            self.locals[-1].add(node.name.value)

    def visit_AssignTarget(self, node: cst.AssignTarget) -> None:
        """Note a variable."""
        if self.locals and isinstance(node.target, cst.Name):
            self.locals[-1].add(node.target.value)

    def visit_Attribute_attr(self, node: cst.Attribute) -> None:
        """Attributes are not names."""

    def visit_Arg_keyword(self, node: cst.Arg) -> None:
        """Count a keyword, which is not a name."""
        self.depth += 1

    def leave_Arg_keyword(self, node: cst.Arg) -> None:
        """See `visit_Arg_keyword`."""
        self.depth -= 1

    def _use(self, node: cst.BaseExpression, path: str) -> None:
        name = path.partition(".")[0]
        hidden = self.depth or any(name in names for names in self.locals)
        if name in self.modules and not hidden:
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
        self.needed: dict[str, set[str]] = {}
        self.kept: set[str] = set()
        # Before any import is written: an import stays if one use stays, and grows by what the uses need.
        for node, path, line in names.uses:
            self._resolve(node, path, line)

    def _resolve(self, node: cst.BaseExpression, path: str, line: int) -> None:
        """Replace the part of an expression that reaches an object of an old module."""
        local, *rest = path.split(".")
        module = self.names.modules[local]
        if self._reached_as_before(node, local, module, rest):
            return
        # The shortest path that has a home: `mmcv.Config.fromfile` is an attribute of `mmcv.Config`.
        for count in range(len(rest)):
            owner = ".".join([module, *rest[:count]])
            new = home(owner, rest[count])
            if new is not None:
                target = _prefix(node, len(rest) - count - 1)
                self.replaced[target] = cst.parse_expression(f"{new}.{rest[count]}")
                self._need(local, new)
                return
        # One use without a home keeps the old import, next to the new ones.
        self.kept.add(local)
        if rest:
            full = ".".join([module, *rest])
            self.note(line, full, UNCHANGED if _is_kept(module, rest) else reason(full))

    def _reached_as_before(
        self, node: cst.BaseExpression, local: str, module: str, rest: list[str]
    ) -> bool:
        """Return whether the module that takes the place of ``module`` has the name where the old one had it."""
        whole = module_home(module)
        if whole is None or (local == module and module != "mmengine"):
            return False
        # A name that mm2pl lacks keeps the whole module, so that the file still runs with the old library.
        if rest and home(module, rest[0]) is None and module_home(f"{module}.{rest[0]}") is None:
            return False
        # 1.x names have moved to several rooms; mm2pl mirrors MMEngine's modules one to one.
        if rest and not module.startswith("mmengine") and home(module, rest[0]) != whole:
            return False
        if local == "mmengine":
            self.replaced[_prefix(node, len(rest))] = cst.parse_expression("mm2pl")
            # `import mmengine` makes its sub-modules attributes. `import mm2pl` alone does not import them.
            if rest and module_home(f"mmengine.{rest[0]}") is not None:
                self._need(local, f"mm2pl.{rest[0]}")
        return True

    def _need(self, local: str, module: str) -> None:
        self.needed.setdefault(local, set()).add(module)

    def import_statement(self, node: cst.Import, line: int) -> list[cst.BaseSmallStatement] | None:
        """Return what replaces ``import mmcv``; None if the statement stays."""
        old = [_text(alias) for alias in node.names]
        new: list[str] = []
        for alias, text in zip(node.names, old, strict=True):
            path, local = dotted(alias.name), alias.evaluated_alias
            # `import os, mmcv`: the other names must stay in their place.
            if not is_old(path):
                new.append(text)
                continue
            binding = local or path.partition(".")[0]
            whole = module_home(path)
            if binding in self.kept:
                new.append(text)
            elif local and whole is not None:
                new.append(f"{whole} as {local}")
            elif path.startswith("mmengine"):
                new.append(whole or "mm2pl")
            # An unused import may be there for its effect, such as registering mmcv's layers.
            elif not self._used(binding):
                new.append(text)
                self.note(line, f"import {text}", "is not used here: delete it, or keep mmcv 2.x")
            new += sorted(self.needed.get(binding, ()))
        new = list(dict.fromkeys(new))
        return None if new == old else [_import(name) for name in new]

    def _used(self, binding: str) -> bool:
        return any(path.partition(".")[0] == binding for _, path, _ in self.names.uses)

    def from_statement(
        self, node: cst.ImportFrom, line: int
    ) -> list[cst.BaseSmallStatement] | None:
        """Return what replaces ``from mmcv.x import y``; None if the statement stays."""
        module = dotted(node.module)
        # `from .mmcv import x` is a module of the user's.
        if node.relative or not is_old(module):
            return None
        if isinstance(node.names, cst.ImportStar):
            whole = module_home(module)
            # Which names a star brings is unknown, so none can be moved singly.
            if whole is None:
                why = UNCHANGED if keeps_module(module) else reason(module)
                self.note(line, f"from {module} import *", why)
                return None
            return [node.with_changes(module=cst.parse_expression(whole))]
        rooms: dict[str, list[cst.ImportAlias]] = {}
        needed: set[str] = set()
        for alias in node.names:
            rooms.setdefault(self._room(module, alias, line), []).append(alias)
            needed |= self.needed.get(alias.evaluated_alias or alias.evaluated_name, set())
        imports = [_import(name) for name in sorted(needed)]
        # Untouched, byte for byte: only changed statements are written anew.
        if list(rooms) == [module] and not imports:
            return None
        # The names, with their comments and line breaks, stay; only the module changes.
        if len(rooms) == 1:
            return [node.with_changes(module=cst.parse_expression(next(iter(rooms)))), *imports]
        return [*(_from(room, aliases) for room, aliases in rooms.items()), *imports]

    def _room(self, module: str, alias: cst.ImportAlias, line: int) -> str:
        """Return where an imported name is now; ``module`` itself if it stays, which is noted."""
        name = alias.evaluated_name
        local = alias.evaluated_alias or name
        room = home(module, name)
        # `from mmcv import runner` takes a module, which is not the name of another module.
        if room is None and module == "mmcv" and local not in self.kept:
            room = (module_home(f"mmcv.{name}") or "").rpartition(".")[0]
        if not room:
            full = f"{module}.{name}"
            self.note(line, full, UNCHANGED if keeps(module, name) else reason(full))
        return room or module


def inner_comments(node: cst.CSTNode) -> list[str]:
    """Return the comments inside a statement, such as those next to the names of a long import."""
    return [cst.ensure_type(c, cst.Comment).value for c in m.findall(node, m.Comment())]


def _is_kept(module: str, rest: Sequence[str]) -> bool:
    """Return whether MMCV 2.x has what a path from a module reaches: a whole module, or a name and its attributes."""
    owners = [".".join([module, *rest[:n]]) for n in range(len(rest) + 1)]
    if keeps_module(owners[-1]):
        return True
    pairs = zip(owners, rest, strict=False)
    return any(keeps(owner, name) and not keeps_module(f"{owner}.{name}") for owner, name in pairs)


def _prefix(node: cst.BaseExpression, drop: int) -> cst.CSTNode:
    for _ in range(drop):
        assert isinstance(node, cst.Attribute)
        node = node.value
    return node


def _text(alias: cst.ImportAlias) -> str:
    name = dotted(alias.name)
    return f"{name} as {alias.evaluated_alias}" if alias.evaluated_alias else name


def _import(name: str) -> cst.BaseSmallStatement:
    statement = cst.parse_statement(f"import {name}\n")
    assert isinstance(statement, cst.SimpleStatementLine)
    return statement.body[0]


def _from(room: str, aliases: Sequence[cst.ImportAlias]) -> cst.BaseSmallStatement:
    names = ", ".join(
        f"{a.evaluated_name} as {a.evaluated_alias}" if a.evaluated_alias else a.evaluated_name
        for a in aliases
    )
    text = f"from {room} import {names}"
    # PEP 8's width, which OpenMMLab's projects check.
    if len(text) > 79:
        inner = names.replace(", ", ",\n    ")
        text = f"from {room} import (\n    {inner},\n)"
    statement = cst.parse_statement(text + "\n")
    assert isinstance(statement, cst.SimpleStatementLine)
    return statement.body[0]
