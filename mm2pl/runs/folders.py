"""Which folders are work folders, and what is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mm2pl.checkpoint.marker import file_named, read_marker
from mm2pl.errors import MissingFileError
from mm2pl.run.lock import LAST, NAME

_START = re.compile(r"\d{8}_\d{6}")
_PERIODIC = re.compile(r"(?:epoch|iter)_\d+\.(?:pth|ckpt)")
_ENDINGS = (".pth", ".ckpt", ".pt", ".safetensors")
_DEPTH = 5
"""Folders below the given one in which runs are looked for: ``work_dirs/project/config/fold/seed``."""
_LINKED = 1
"""Folders below a link in which they are: a link is a run, a folder of runs, or the way to a data set."""


@dataclass(frozen=True)
class Part:
    """The files of one start of a run: a resumed one has several.

    Attributes:
        start: ``20260102_030405``, as in the names of its files; ``""`` where they have none.
        scalars: One JSON object a line; ``None`` if there is no such file.
        text: The log as text; ``None`` if there is no such file.
        facts: What mm2pl has left of how it ended; ``None`` if there is no such file.
        config: The config with which it was started; ``None`` if there is no such file.
    """

    start: str
    scalars: Path | None
    text: Path | None
    facts: Path | None = None
    config: Path | None = None


@dataclass(frozen=True)
class WorkDir:
    """A work folder.

    Args:
        path: As it was found.
        names: The files and folders in it.
    """

    path: Path
    names: list[str] = field(repr=False)

    @cached_property
    def parts(self) -> list[Part]:
        """What its starts have left, the oldest first."""
        timed = (self.path / name for name in self.names if _START.fullmatch(name))
        found = [_part_of_folder(path) for path in timed if _is_start(path)]
        # MMCV 1.x writes TIME.log and TIME.log.json into the folder itself. A log of another name is a shell's.
        logs = {name.removesuffix(".log.json") for name in self.names if name.endswith(".log.json")}
        texts = (name.removesuffix(".log") for name in self.names if name.endswith(".log"))
        logs |= {name for name in texts if _START.fullmatch(name)}
        found += [
            Part(name, _file(self.path / f"{name}.log.json"), _file(self.path / f"{name}.log"))
            for name in logs
        ]
        direct = _file(self.path / "vis_data" / "scalars.json")
        if direct is not None:
            found.append(Part("", direct, None, config=_file(direct.with_name("config.py"))))
        return sorted(found, key=lambda part: (bool(_START.fullmatch(part.start)), part.start))

    @cached_property
    def checkpoints(self) -> list[Path]:
        """Its checkpoints, sharded ones too, the oldest first; links to them are left out."""
        found = [self.path / name for name in self.names if name.endswith(_ENDINGS)]
        return sorted((each for each in found if not each.is_symlink()), key=modified)

    @cached_property
    def held(self) -> Path | None:
        """The file of a run that trains here, or that was killed here."""
        return _file(self.path / NAME)

    @cached_property
    def logs(self) -> list[Path]:
        """What a run writes all the time while it trains."""
        files = [file for part in self.parts for file in (part.scalars, part.text) if file]
        return [*files, self.held] if self.held else files

    @cached_property
    def config(self) -> Path | None:
        """The config that was written at the last start."""
        copies = [part.config for part in self.parts if part.config]
        if copies:
            return copies[-1]
        # Not .json: results and evaluations are written next to it.
        own = [name for name in self.names if name.endswith((".py", ".yaml", ".yml"))]
        files = (self.path / name for name in own if not name.startswith("."))
        return max((each for each in files if each.is_file()), key=modified, default=None)

    @cached_property
    def goes_on(self) -> list[Path]:
        """The checkpoint with which it goes on, as MMEngine and mm2pl name it, and as MMCV 1.x does."""
        named, _ = read_marker(self.path)
        found = [file_named(self.path, named)] if named else []
        link = self.path / "latest.pth"
        if link.is_symlink():
            found.append(self.path / os.path.basename(os.readlink(link)))
        return [path for path in found if path is not None and path.exists()]


def modified(path: Path) -> float:
    """Return when a file was written last, in seconds since 1970; 0 for one that is gone."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def size_of(path: Path) -> int:
    """Return the bytes of a checkpoint: of a file, or of the files of a sharded one."""
    try:
        if path.is_dir():
            return sum(size_of(each) for each in path.iterdir())
        return path.stat().st_size
    except OSError:
        return 0


def work_dir(path: str | Path) -> WorkDir:
    """Return the work folder that a path names, or that the path of one of its starts, checkpoints or logs is in.

    Raises:
        MissingFileError: There is none.
    """
    given = Path(path)
    place = given.resolve().parent if given.is_file() or _is_start(given.resolve()) else given
    if given.is_file() and place.name == "vis_data":  # scalars.json, which MMEngine's tools read
        place = place.parent
    if _is_start(place):
        place = place.parent
    if not place.is_dir():
        raise MissingFileError(
            f"{str(path)!r}: there is no such folder → give the work_dir of a run"
        )
    found = WorkDir(place, _listed(place))
    if not _is_work_dir(found):
        below = f"`mm2pl runs {path}` lists those below it"
        raise MissingFileError(
            f"{str(path)!r} is not the work folder of a run: it has neither logs nor checkpoints → "
            f"{'give the work_dir of a run' if given.is_file() else below}"
        )
    return found


def find(folders: Iterable[str | Path]) -> list[WorkDir]:
    """Return the work folders that are given or below those that are given, each once.

    Raises:
        MissingFileError: A folder is not there.
    """
    found: dict[str, WorkDir] = {}
    for folder in folders:
        if not Path(folder).is_dir():
            raise MissingFileError(
                f"{str(folder)!r}: there is no such folder → give one that holds runs"
            )
        # A link comes last, so that a run has its own name.
        for each in _below(Path(folder), _DEPTH):
            found.setdefault(os.path.realpath(each.path), each)
    return list(found.values())


def _below(folder: Path, depth: int) -> Iterator[WorkDir]:
    entries = _entries(folder)
    here = WorkDir(folder, [each.name for each in entries])
    if _is_work_dir(here):
        yield here
    below = [each for each in entries if depth and _may_hold_runs(each)]
    for each in sorted(below, key=os.DirEntry.is_symlink):
        yield from _below(
            folder / each.name, min(depth - 1, _LINKED if each.is_symlink() else depth)
        )


def _may_hold_runs(entry: os.DirEntry[str]) -> bool:
    # A folder with a dot (.git) is not looked into. An entry knows its kind: a data folder has a million files.
    try:
        is_folder = entry.is_dir()
    except OSError:  # a link to itself
        return False
    hidden = entry.name.startswith(".") or entry.name == "vis_data"
    return is_folder and not hidden and not _is_start(Path(entry.path))


def _is_work_dir(folder: WorkDir) -> bool:
    return _has_run(folder.path, folder.names) or (
        "vis_data" in folder.names and (folder.path / "vis_data" / "scalars.json").is_file()
    )


def _has_run(folder: Path, names: list[str]) -> bool:
    return any(
        name in (NAME, "last_checkpoint", "latest.pth")
        or name.endswith(".log.json")
        or _PERIODIC.fullmatch(name)
        # Its name first: a path for each of a million files takes a while.
        or (_START.fullmatch(name) and _is_start(folder / name))
        for name in names
    )


def _is_start(path: Path) -> bool:
    """Return whether a folder holds the log of one start; a work folder may be named by the time, too."""
    if not _START.fullmatch(path.name):
        return False
    names = _listed(path)
    logged = LAST in names or "vis_data" in names or f"{path.name}.log" in names
    return logged and not _has_run(path, names)


def _part_of_folder(path: Path) -> Part:
    return Part(
        path.name,
        _file(path / "vis_data" / "scalars.json"),
        _file(path / f"{path.name}.log"),
        _file(path / LAST),
        _file(path / "vis_data" / "config.py"),
    )


def _file(path: Path) -> Path | None:
    # Not `exists`: reading a pipe of that name would wait for ever.
    return path if path.is_file() else None


def _listed(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _entries(path: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(path) as found:
            return sorted(found, key=lambda each: each.name)
    except OSError:
        return []
