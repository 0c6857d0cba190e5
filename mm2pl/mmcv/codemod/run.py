"""``mm2pl migrate --code``: a folder's sources, rewritten or shown as a diff."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that the rewriting leaves to the user.

    Args:
        path: The file.
        line: The line in the old file.
        what: The name that is left.
        reason: Why, and what to do.
    """

    path: Path
    line: int
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.what}: {self.reason}"


@dataclass(frozen=True, kw_only=True)
class ChangedFile:
    """A file and its new text.

    Args:
        path: The file.
        old: Its text.
        new: Its new text.
    """

    path: Path
    old: str
    new: str

    def diff(self) -> str:
        """Return the change as a unified diff."""
        lines = difflib.unified_diff(
            self.old.splitlines(keepends=True),
            self.new.splitlines(keepends=True),
            fromfile=f"a/{self.path}",
            tofile=f"b/{self.path}",
        )
        return "".join(lines)


@dataclass(frozen=True, kw_only=True)
class CodeReport:
    """What the rewriting of a folder found.

    Args:
        files: How many Python files were read.
        changed: Those that change.
        findings: What is left to the user.
    """

    files: int
    changed: tuple[ChangedFile, ...]
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        head = f"{len(self.changed)} of {self.files} files change, {len(self.findings)} places need you"
        return "\n".join([head, *map(str, self.findings)])


def migrate_code(source: str | Path, *, write: bool = False) -> CodeReport:
    """Rewrite the imports, renamed APIs and hooks of a file or folder from mmcv 1.x and mmengine to mm2pl.

    Formatting and comments stay; a second run changes nothing.

    Args:
        source: A Python file, or a folder of them; hidden folders are left out.
        write: Whether to write the files; else they are only reported.

    Raises:
        FileNotFoundError: ``source`` does not exist.
    """
    source = Path(source)
    if not source.exists():
        raise FileNotFoundError(f"{str(source)!r} does not exist → give a Python file or a folder.")
    root = source if source.is_dir() else source.parent
    paths = [source] if source.is_file() else sorted(source.rglob("*.py"))
    paths = [
        p for p in paths if not any(part.startswith(".") for part in p.relative_to(root).parts)
    ]
    changed, findings = [], []
    for path in paths:
        old = path.read_text(encoding="utf-8")
        new, found = migrate_text(old, path)
        findings += found
        if new != old:
            changed.append(ChangedFile(path=path, old=old, new=new))
            if write:
                path.write_text(new, encoding="utf-8")
    return CodeReport(files=len(paths), changed=tuple(changed), findings=tuple(findings))


def migrate_text(text: str, path: str | Path = "<text>") -> tuple[str, list[Finding]]:
    """Return the new text of one Python source, and what it leaves to the user.

    Args:
        text: The source.
        path: What findings call it.

    Raises:
        ImportError: libcst is not installed.
    """
    if "mmcv" not in text and "mmengine" not in text and "Hook" not in text:
        return text, []
    try:
        import libcst as cst
    except ImportError as error:
        raise ImportError("rewriting code needs libcst → pip install 'mm2pl[migrate]'") from error
    from mm2pl.mmcv.codemod.rewrite import rewrite

    found: list[Finding] = []

    def note(line: int, what: str, reason: str) -> None:
        finding = Finding(path=Path(path), line=line, what=what, reason=reason)
        if finding not in found:
            found.append(finding)

    try:
        return rewrite(text, note), sorted(found, key=lambda f: f.line)
    except cst.ParserSyntaxError as error:
        line = error.editor_line
        reason = f"no valid Python: {error.message}"
        return text, [Finding(path=Path(path), line=line, what="the file", reason=reason)]
