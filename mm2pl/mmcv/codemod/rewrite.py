"""One source file, rewritten."""

from __future__ import annotations

import libcst as cst
from libcst import matchers as m
from libcst.metadata import MetadataWrapper, PositionProvider

from mm2pl.mmcv.codemod.hooks import CHANGED_RUNNER, rewritten_method
from mm2pl.mmcv.codemod.imports import Imports, Names, Note, dotted, inner_comments

_KEPT_HOOKS = (
    *("OptimizerHook", "EvalHook", "LoggerHook", "UpdaterHook", "CheckpointHook", "EMAHook"),
    *("IterTimerHook", "SyncBuffersHook", "DistSamplerSeedHook", "EmptyCacheHook", "ClosureHook"),
)
"""1.x hooks that `mm2pl.mmcv` has with 1.x' signatures, so that their subclasses keep them."""


def rewrite(text: str, note: Note) -> str:
    """Return the new text; tell ``note`` what is left to the user."""
    # libcst copies the tree by default, against nodes that stand in it twice; a parsed tree has none.
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    names = Names()
    # First a pass that only reads: whether an import can go depends on uses further down.
    wrapper.visit(names)
    return wrapper.visit(_Rewriter(names, Imports(names, note), note)).code


class _Rewriter(cst.CSTTransformer):
    METADATA_DEPENDENCIES = (PositionProvider,)

    def __init__(self, names: Names, imports: Imports, note: Note) -> None:
        super().__init__()
        self.names = names
        self.imports = imports
        self.note = note
        self.hooks: set[str] = set()

    def _line(self, node: cst.CSTNode) -> int:
        return self.get_metadata(PositionProvider, node).start.line

    def _lines(self, method: cst.CSTNode, name: str) -> list[int]:
        """Return the lines of a method where an attribute is used, or called (``name()``)."""
        uses = m.findall(method, m.Attribute(attr=m.Name(name.removesuffix("()"))))
        return [self._line(use) for use in uses] or [self._line(method)]

    # Imports

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement]:
        """Replace an import statement by as many as it takes."""
        parts: list[cst.BaseSmallStatement] = []
        comments: list[str] = []
        pairs = zip(original_node.body, updated_node.body, strict=True)
        for original, updated in pairs:
            new = self._imported(original)
            parts += [updated] if new is None else new
            # A statement that becomes several loses its inner layout. Its comments move above the first.
            if new is not None and len(new) > 1:
                comments += inner_comments(original)
        # The same node, so that unchanged lines keep their formatting.
        if parts == list(updated_node.body):
            return updated_node
        # `import mmcv; x = 1` becomes lines of their own.
        bare = [part.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for part in parts]
        lines = [cst.SimpleStatementLine([part]) for part in bare]
        above = [cst.EmptyLine(comment=cst.Comment(text)) for text in comments]
        lines[0] = lines[0].with_changes(leading_lines=[*updated_node.leading_lines, *above])
        lines[-1] = lines[-1].with_changes(trailing_whitespace=updated_node.trailing_whitespace)
        return cst.FlattenSentinel(lines)

    def _imported(self, node: cst.BaseSmallStatement) -> list[cst.BaseSmallStatement] | None:
        """Return what replaces an import; None for any other statement, and one that stays."""
        if isinstance(node, cst.Import):
            return self.imports.import_statement(node, self._line(node))
        if isinstance(node, cst.ImportFrom):
            return self.imports.from_statement(node, self._line(node))
        return None

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """Replace ``mmcv.Config``."""
        return self.imports.replaced.get(original_node, updated_node)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        """Replace ``mmengine``."""
        return self.imports.replaced.get(original_node, updated_node)

    # Classes

    def visit_ClassDef(self, node: cst.ClassDef) -> bool:
        """Note hooks."""
        for base in node.bases:
            name = dotted(base.value)
            origin = self.names.origin.get(name, name)
            if self._is_hook(name, origin):
                self.hooks.add(node.name.value)
        return True

    def _is_hook(self, name: str, origin: str) -> bool:
        # A subclass of a class in this file that is a hook is one too.
        if not origin.endswith("Hook") or origin.endswith(_KEPT_HOOKS):
            return name in self.hooks
        return True

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Give the methods of a hook their new parameters."""
        if original_node.name.value not in self.hooks:
            return updated_node
        # Positions belong to the original nodes; the updated ones have none.
        body = []
        pairs = zip(original_node.body.body, updated_node.body.body, strict=True)
        for original, statement in pairs:
            if isinstance(statement, cst.FunctionDef):
                statement, left = rewritten_method(statement)
                for name in left:
                    why = CHANGED_RUNNER.get(
                        name, "needs batch_idx, which this method does not have"
                    )
                    for line in self._lines(original, name):
                        self.note(line, f"runner.{name}", why)
            body.append(statement)
        return updated_node.with_changes(body=updated_node.body.with_changes(body=body))
