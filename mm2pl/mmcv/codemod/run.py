"""``mm2pl migrate --code``: a folder's sources, rewritten or shown as a diff."""

from __future__ import annotations

import difflib
import io
import multiprocessing
import tokenize
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from mm2pl.errors import ArgumentError, MissingFileError, MissingPackageError
from mm2pl.mmcv.codemod.chapters import note_chapters
from mm2pl.mmcv.codemod.masking import Masked
from mm2pl.mmcv.codemod.models import lines_of, with_bases
from mm2pl.mmcv.codemod.names import UNCHANGED
from mm2pl.mmcv.codemod.script import as_runner_script

Progress = Callable[[int, int], None]


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
        old, new = lines_of(self.old), lines_of(self.new)
        # `git apply` strips one component, and refuses absolute paths.
        name = self.path.as_posix().lstrip("/")
        return "".join(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))


@dataclass(frozen=True, kw_only=True)
class CodeReport:
    """What the rewriting of a folder found.

    Args:
        files: How many Python files were read.
        changed: Those that change.
        findings: What is left to the user.
        unchanged: What is left to MMCV 2.x, which has it as it was.
    """

    files: int
    changed: tuple[ChangedFile, ...]
    findings: tuple[Finding, ...]
    unchanged: tuple[Finding, ...] = ()

    def __str__(self) -> str:
        changed = f"{len(self.changed)} of {self.files} files change"
        lines = [f"{changed}, {len(self.findings)} places need you", *map(str, self.findings)]
        if self.unchanged:
            names = len({finding.what for finding in self.unchanged})
            lines.append(
                f"{names} names stay MMCV's, in {len(self.unchanged)} places: MMCV 2.x has them unchanged → "
                "pip install addict yapf opencv-python-headless && pip install --no-deps mmcv-lite==2.1.0"
            )
        return "\n".join(lines)


def migrate_code(
    source: str | Path, *, write: bool = False, jobs: int = 1, progress: Progress | None = None
) -> CodeReport:
    """Rewrite the imports, renamed APIs and hooks of a file or folder from mmcv 1.x and mmengine to mm2pl.

    Formatting and comments stay; a second run changes nothing.

    Args:
        source: A Python file, or a folder of them; hidden folders are left out.
        write: Whether to write the files; else they are only reported.
        jobs: Processes. More than one need a main module that can be imported.
        progress: Called after each file with how many are done, and how many there are.

    Raises:
        MissingFileError: ``source`` does not exist.
        MissingPackageError: libcst is not installed.
        ArgumentError: ``source`` is a file of another kind.
    """
    source = Path(source)
    if not source.exists():
        raise MissingFileError(f"{str(source)!r} does not exist → give a Python file or a folder.")
    changed, findings = [], []
    written: list[tuple[Path, bytes]] = []
    paths = _sources(source)
    with ExitStack() as stack:
        migrated: Iterator[_Result] = map(_migrated, paths)
        if jobs > 1 and len(paths) > 1:
            # Not forked: the caller may have threads.
            context = multiprocessing.get_context("spawn")
            pool = stack.enter_context(ProcessPoolExecutor(jobs, mp_context=context))
            # Sources differ in size, so small chunks.
            migrated = pool.map(_migrated, paths, chunksize=4)
        for done, (path, result) in enumerate(zip(paths, migrated, strict=True), 1):
            findings += result.findings
            # Files without a change are not written, so that their time stays.
            if result.new != result.old:
                changed.append(ChangedFile(path=path, old=result.old, new=result.new))
                # Bytes: text mode would change the line ends.
                written.append((path, result.new.encode(result.encoding)))
            if progress is not None:
                progress(done, len(paths))
    # At the end: while one file is rewritten others of its package are read.
    for path, data in written if write else ():
        path.write_bytes(data)
    return CodeReport(
        files=len(paths),
        changed=tuple(changed),
        findings=tuple(each for each in findings if each.reason != UNCHANGED),
        unchanged=tuple(each for each in findings if each.reason == UNCHANGED),
    )


class _Result(NamedTuple):
    old: str
    new: str
    encoding: str
    findings: list[Finding]


def _migrated(path: Path) -> _Result:
    try:
        old, encoding = _read(path)
    # A wrong coding line is a SyntaxError. One bad file must not stop the folder.
    except (SyntaxError, UnicodeDecodeError) as error:
        reason = f"cannot be read: {error}"
        return _Result("", "", "", [Finding(path=path, line=1, what="the file", reason=reason)])
    new, findings = migrate_text(old, path)
    return _Result(old, new, encoding, findings)


def _sources(source: Path) -> list[Path]:
    """Return the Python files; hidden folders and installed packages are not the user's."""
    if source.is_file():
        if source.suffix != ".py":
            raise ArgumentError(
                f"{str(source)!r} is not a Python source → give a .py file or a folder."
            )
        return [source]

    def is_own(path: Path) -> bool:
        parts = path.relative_to(source).parts
        # A virtual environment inside the project is not the user's code.
        return "site-packages" not in parts and not any(part.startswith(".") for part in parts)

    return [path for path in sorted(source.rglob("*.py")) if path.is_file() and is_own(path)]


def _read(path: Path) -> tuple[str, str]:
    """Return a source with its line ends as they are, and its encoding."""
    # Python's own rule: a byte order mark, a coding line, else UTF-8.
    data = path.read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding), encoding


def migrate_text(text: str, path: str | Path = "<text>") -> tuple[str, list[Finding]]:
    """Return the new text of one Python source, and what it leaves to the user or to MMCV 2.x.

    Args:
        text: The source.
        path: What findings call it.

    Raises:
        MissingPackageError: libcst is not installed.
    """
    found: list[Finding] = []

    def add(line: int, what: str, reason: str) -> None:
        finding = Finding(path=Path(path), line=line, what=what, reason=reason)
        if finding not in found:
            found.append(finding)

    text, note = as_runner_script(text, add, Path(path))
    # A model need not name MMCV to be one of 1.x.
    note_chapters(text, Path(path), note)
    new = text
    # Parsing takes most of the time, and most files of a project name neither.
    # 'Hook': a subclass of the user's own hook needs no import of MMCV.
    if "mmcv" in text or "mmengine" in text or "Hook" in text:
        # Only here: who does not rewrite code needs no libcst.
        try:
            import libcst as cst
        except ImportError as error:
            raise MissingPackageError(
                "rewriting code needs libcst → pip install 'mm2pl[migrate]'"
            ) from error
        from mm2pl.mmcv.codemod.rewrite import rewrite

        masked = Masked(text)
        try:
            new = masked.restored(rewrite(masked.text, note))
        except cst.ParserSyntaxError as error:
            note(error.raw_line, "the file", f"not valid Python: {error.message}")
    return with_bases(new, Path(path)), sorted(found, key=lambda f: f.line)
