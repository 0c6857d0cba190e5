"""Keep from libcst what it has nothing to do with: it reads about 10 KB a second, Python's own parser 1 MB."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence

from mm2pl.mmcv.codemod.models import lines_of
from mm2pl.mmcv.codemod.names import is_old

Block = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
_BLOCKS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


class Masked:
    """A source whose functions and classes that name nothing of MMCV or MMEngine are one word each.

    Line numbers stay: a word is followed by as many empty lines as its block has more.

    Args:
        text: The source.

    Attributes:
        text: What is left to read.
    """

    def __init__(self, text: str) -> None:
        self.kept: list[tuple[str, str]] = []
        self.text = text
        try:
            tree = ast.parse(text)
        except (SyntaxError, ValueError, RecursionError):
            return  # libcst says what is wrong
        names = _words(tree)
        self._named = re.compile(rf"\b({'|'.join(map(re.escape, sorted(names)))})\b")
        self._lines = lines_of(text)
        for block in self._blocks(tree.body, _hooks(tree)):
            self._mask(block)
        self.text = "".join(self._lines)

    def restored(self, text: str) -> str:
        """Return a rewritten text with its blocks back."""
        for word, block in self.kept:
            text = text.replace(word, block, 1)
        return text

    def _blocks(self, body: Sequence[ast.stmt], hooks: set[str]) -> Iterator[Block]:
        """Yield the largest blocks that can be masked: they name nothing old, and no class in them may be a hook."""
        for statement in body:
            if not isinstance(statement, _BLOCKS):
                continue
            hook = any(
                isinstance(node, ast.ClassDef) and node.name in hooks
                for node in ast.walk(statement)
            )
            if not hook and not self._named.search("".join(self._of(statement))):
                yield statement
            elif isinstance(statement, ast.ClassDef) and statement.name not in hooks:
                yield from self._blocks(statement.body, hooks)

    def _of(self, block: Block) -> list[str]:
        return self._lines[_first_line(block) - 1 : block.end_lineno]

    def _mask(self, block: Block) -> None:
        first, last = _first_line(block) - 1, block.end_lineno or 0
        lines = self._lines[first:last]
        head = lines[0]
        indent = head[: len(head) - len(head.lstrip())]
        # `class A: x = 1; class B: …` has no line of its own.
        if len(indent.encode()) != block.col_offset:
            return
        word = f"{indent}_mm2pl_kept_{len(self.kept)}_"
        ends = [line[len(line.rstrip("\r\n")) :] for line in lines]
        self._lines[first:last] = [word + ends[0], *ends[1:]]
        self.kept.append((word + "".join(ends), "".join(lines)))


def _first_line(block: Block) -> int:
    return min([block.lineno, *(decorator.lineno for decorator in block.decorator_list)])


def _words(tree: ast.Module) -> set[str]:
    """Return the words by which a block may name an old module: the packages', and what they are called here."""
    words = {"mmcv", "mmengine"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            words |= {a.asname for a in node.names if a.asname and is_old(a.name)}
        elif isinstance(node, ast.ImportFrom) and node.module == "mmcv" and not node.level:
            # `from mmcv import runner` binds a module.
            words |= {alias.asname or alias.name for alias in node.names}
    return words


def _hooks(tree: ast.Module) -> set[str]:
    """Return the classes, at any depth, that may be hooks: by a base's name, or as subclass of such a one in this file.

    A hook that is imported under another name is one of them.
    """
    hooks: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            hooks |= {a.asname for a in node.names if a.asname and a.name.endswith("Hook")}
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    # In the order of the text, since a base stands above its subclass; `ast.walk` goes by depth.
    for node in sorted(classes, key=lambda each: each.lineno):
        bases = {ast.unparse(base).rpartition(".")[2] for base in node.bases}
        if bases & hooks or any(base.endswith("Hook") for base in bases):
            hooks.add(node.name)
    return hooks
