"""The pages of this project: their fenced blocks, headings and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^( *)(`{3,})(\w*)[^\n]*\n(.*?)^\1\2 *$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"(?<!\\)\[[^\]\n]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.*?) *#*$", re.MULTILINE)
_NOT_RUN = re.compile(r"^(?:#|//|<!--) not run: (.+)")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Args:
        line: Of the page, of its first line of content; from 1.
        language: ``bash``, ``python``, ``text``, …; empty where none is named.
        text: The content.
    """

    line: int
    language: str
    text: str

    @property
    def not_run(self) -> str | None:
        """Why a reader's machine needs more than ours to run it: its first line ``# not run: WHY``."""
        found = _NOT_RUN.match(self.text)
        return found[1] if found else None

    @property
    def status(self) -> int:
        """With which exit status the block ends: that of a comment ``# exit code N`` at its end, else 0."""
        found = re.search(r"# exit code (\d+)\s*\Z", self.text)
        return int(found[1]) if found else 0

    @property
    def file(self) -> str | None:
        """The file that the reader saves it as: its first line ``# path/to/file.py`` and no more."""
        found = re.match(r"# ([\w./-]+\.(?:py|ya?ml|toml|json|sh))\n", self.text)
        return found[1] if found else None


def pages() -> list[Path]:
    """Return the project's own Markdown files."""
    hidden = {"node_modules", "work_dirs"}
    return sorted(
        path
        for path in ROOT.rglob("*.md")
        if not any(part.startswith(".") or part in hidden for part in path.relative_to(ROOT).parts)
    )


def blocks(text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page in their order."""
    for found in _FENCE.finditer(text):
        indent = found[1]
        content = "\n".join(line.removeprefix(indent) for line in found[4].split("\n"))
        yield Block(text.count("\n", 0, found.start(4)) + 1, found[3], content)


def links(text: str) -> list[str]:
    """Return where the page's links lead, without those inside of fenced blocks."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """Return the names that GitHub gives to the page's headings."""
    names: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        name = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        names.add(name if name not in names else f"{name}-1")
    return names
