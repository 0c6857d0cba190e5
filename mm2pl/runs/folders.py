"""Which folders are work folders, and what is in them."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mm2pl.errors import MissingFileError
from mm2pl.run.lock import LAST, NAME

_START = re.compile(r"\d{8}_\d{6}")
_PERIODIC = re.compile(r"(?:epoch|iter)_\d+\.(?:pth|ckpt)")
_ENDINGS = (".pth", ".ckpt", ".pt", ".safetensors")
_DEPTH = 5
"""Folders below the given one in which runs are looked for: ``work_dirs/project/config/fold/seed``."""


@dataclass(frozen=True)
class Part:
    """The files of one start of a run: a resumed one has several.

    Attributes:
        start: ``20260102_030405``, as in the names of its files; ``""`` where they have none.
        scalars: One JSON object a line; ``None`` if there is no such file.
        text: The log as text; ``None`` if there is no such file.
    """

    start: str
    scalars: Path | None
    text: Path | None
    facts: Path | None = None


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
        own = [name for name in self.names if _START.fullmatch(name)]
        found = [_part_of_folder(self.path / name) for name in own]
        logs = {
            name.partition(".")[0] for name in self.names if name.endswith((".log.json", ".log"))
        }
        # MMCV 1.x writes TIME.log and TIME.log.json into the folder itself.
        found += [
            Part(name, _file(self.path / f"{name}.log.json"), _file(self.path / f"{name}.log"))
            for name in logs
        ]
        direct = _file(self.path / "vis_data" / "scalars.json")
        if direct is not None:
            found.append(Part("", direct, None))
        return sorted(found, key=lambda part: part.start)

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
    def config(self) -> Path | None:
        """The config that was written at the last start."""
        endings = (".py", ".yaml", ".yml", ".json")
        own = [self.path / name for name in self.names if name.endswith(endings)]
        own = [each for each in own if not each.name.endswith(".log.json") and each.is_file()]
        if own:
            return max(own, key=modified)
        copies = (part.scalars.with_name("config.py") for part in self.parts if part.scalars)
        return max((each for each in copies if each.is_file()), key=modified, default=None)


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
    """Return the work folder that a path names, or that the path of one of its starts or checkpoints is in.

    Raises:
        MissingFileError: There is none.
    """
    given = Path(path)
    start = _START.fullmatch(given.resolve().name)
    place = given.resolve().parent if start or given.is_file() else given
    if not place.is_dir():
        raise MissingFileError(
            f"{str(path)!r}: there is no such folder → give the work_dir of a run"
        )
    found = WorkDir(place, _listed(place))
    if not _is_work_dir(found):
        raise MissingFileError(
            f"{str(path)!r} is not the work folder of a run: it has neither logs nor checkpoints → "
            f"`mm2pl runs {path}` lists those below it"
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
        for each in _below(Path(folder), _DEPTH):
            found.setdefault(os.path.realpath(each.path), each)
    return list(found.values())


def _below(folder: Path, depth: int) -> Iterator[WorkDir]:
    here = WorkDir(folder, _listed(folder))
    is_run = _is_work_dir(here)
    if is_run:
        yield here
    for name in here.names if depth else ():
        # The folders of a run's starts hold no runs, and those with a dot (.git) are not looked into.
        if name.startswith(".") or name == "vis_data" or _START.fullmatch(name):
            continue
        if (below := folder / name).is_dir() and not below.is_symlink():
            yield from _below(below, depth - 1)


def _is_work_dir(folder: WorkDir) -> bool:
    return any(
        name in (NAME, "last_checkpoint", "latest.pth")
        or name.endswith(".log.json")
        or _PERIODIC.fullmatch(name)
        or (_START.fullmatch(name) and _is_start(folder.path / name))
        for name in folder.names
    ) or ("vis_data" in folder.names and (folder.path / "vis_data" / "scalars.json").is_file())


def _is_start(path: Path) -> bool:
    names = _listed(path)
    return LAST in names or "vis_data" in names or any(name.endswith(".log") for name in names)


def _part_of_folder(path: Path) -> Part:
    return Part(
        path.name,
        _file(path / "vis_data" / "scalars.json"),
        _file(path / f"{path.name}.log"),
        _file(path / LAST),
    )


def _file(path: Path) -> Path | None:
    # Not `exists`: reading a pipe of that name would wait for ever.
    return path if path.is_file() else None


def _listed(path: Path) -> list[str]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []
