"""Read one checkpoint file: verified, and without running code from it."""

from __future__ import annotations

import mmap
import os
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from mm2pl.checkpoint.errors import CheckpointError as CheckpointError
from mm2pl.checkpoint.marker import file_named, read_marker
from mm2pl.checkpoint.plain import from_plain
from mm2pl.checkpoint.schema import check
from mm2pl.checkpoint.unpickle import (
    STAND_INS,
    TRUSTING_PICKLE,
    ForbiddenError,
    replace_stand_ins,
    stand_ins_allowed,
)
from mm2pl.errors import MissingFileError

MapLocation = Any
File = str | os.PathLike[str] | BytesIO


SHARDS = ".metadata"
"""The file by which a folder is known as torch's distributed checkpoint, that of a sharded run."""


def is_sharded(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a sharded run's checkpoint."""
    return Path(path, SHARDS).is_file()


def read_checkpoint(
    file: File,
    map_location: MapLocation = None,
    *,
    weights_only: bool = True,
    name: str | None = None,
) -> Any:
    """Load what ``torch.save`` wrote, after checking that no bit has changed since.

    Args:
        file: A local path, or the content.
        map_location: As for ``torch.load``.
        weights_only: ``False`` runs any code that the file contains; only for files whose origin you trust.
        name: What to call the file in messages; its path if missing.

    Returns:
        The file's content; OpenMMLab's pickled classes have become dicts, numpy and ``HistoryBuffer``.

    Raises:
        CheckpointError: The file is empty, truncated, changed, something else than a checkpoint, or contains code. The
            message names the newest intact checkpoint of the same folder.
        FileNotFoundError: There is no such file.
    """
    content = _verified(file, map_location, weights_only, name)
    # Before anything is made of it; the loaders of users and of sharded files have not come past here.
    check(content, name or str(file), whole=False)
    return from_plain(content)


def _verified(
    file: File,
    map_location: MapLocation,
    weights_only: bool = True,
    name: str | None = None,
    check_bits: bool = True,
) -> Any:
    path = None if isinstance(file, BytesIO) else Path(file)
    if path is not None and not path.is_file():
        if path.is_dir():
            raise MissingFileError(f"{path} is a folder → name a checkpoint in it")
        near = files_beside(path)
        hint = f" → one that is there: {near}" if near else "."
        raise MissingFileError(f"{path} can not be found{hint}")
    try:
        _refuse_bomb(file)
        if check_bits:
            _verify(file)
        return _load(file, map_location, weights_only)
    except _Unreadable as error:
        message = f"{name or path} {error}"
        # The cause is torch's or zipfile's own error; `_Unreadable` itself would tell nothing more.
        raise CheckpointError(message + _hint(path)) from error.__cause__


_SHOWN = 5


def files_beside(path: Path) -> str:
    """Name the checkpoints in the folder of one that is not there, if there are any; of many the last ones.

    So ``epoch_2.pth`` comes before ``epoch_10.pth``.
    """
    names = [each.name for each in path.parent.glob("*") if each.suffix in (".pth", ".ckpt")]
    names.sort(key=lambda name: (len(name), name))
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[-_SHOWN:]) + more


def read_outline(file: File, name: str | None = None, *, check_bits: bool = True) -> dict[Any, Any]:
    """Return what a checkpoint holds, its tensors without contents.

    Args:
        file: As for :func:`read_checkpoint`.
        name: The same.
        check_bits: Check first that no bit has changed, for which the whole file is read.

    Raises:
        CheckpointError: As for :func:`read_checkpoint`; also if it holds something else than a dict.
    """
    # On this device tensors have no contents, so nothing but the outline is read.
    outline = _verified(file, "meta", name=name, check_bits=check_bits)
    if not isinstance(outline, dict):
        raise CheckpointError(f"{name or file} holds a {type(outline).__name__} → a dict is needed")
    return outline


@contextmanager
def naming(path: str) -> Iterator[None]:
    """Put a file's name into what is said about its contents, and name the newest intact file of its folder.

    Raises:
        CheckpointError: What went wrong inside, with the file's name.
    """
    try:
        yield
    except CheckpointError as error:
        if path in str(error):
            raise
        hint = _hint(Path(path)) if os.path.isfile(path) else ""
        said = str(error)
        # The hint begins with a full stop, which a question does not need.
        raise CheckpointError(f"{path}: {said}{hint[said.endswith('?') :]}") from error.__cause__


class _Unreadable(Exception):
    """Why a file cannot be read; the caller adds its name."""


_FORBIDDEN = (
    "pickles {}, which torch.load(weights_only=True) does not allow: unpickling it can run any code the file's author "
    "chose. If you trust them: pass weights_only=False, or allow just these names by "
    "torch.serialization.add_safe_globals([...])"
)


def _load(file: File, map_location: MapLocation, weights_only: bool) -> Any:
    kwargs: dict[str, Any] = {} if weights_only else {"pickle_module": TRUSTING_PICKLE}
    try:
        with stand_ins_allowed():
            return replace_stand_ins(
                torch.load(file, map_location, weights_only=weights_only, **kwargs)
            )
    except ModuleNotFoundError as error:
        raise _Unreadable(
            f"pickles objects of {error.name!r}, which cannot be imported → install that package, or ask the "
            "author for the state_dict alone"
        ) from error
    except pickle.UnpicklingError as error:
        names = _forbidden_names(file)
        if not names:
            raise _Unreadable(
                "is damaged or no checkpoint: its pickled part is malformed"
            ) from error
        raise _Unreadable(_FORBIDDEN.format(", ".join(names))) from error
    except ForbiddenError as error:
        raise _Unreadable(_FORBIDDEN.format(error)) from error
    except MemoryError:
        raise
    except Exception as error:
        if map_location != "cpu" and _loads_on_the_cpu(file):
            if map_location != "meta":
                raise  # the device failed, not the file
            # torch 2.13 has no quantized tensors without contents.
            return _load(file, "cpu", weights_only)
        raise _Unreadable(f"is damaged or no checkpoint: {_first_line(error)}") from error


def _loads_on_the_cpu(file: File) -> bool:
    if isinstance(file, BytesIO):
        file.seek(0)
    try:
        _load(file, "cpu", weights_only=True)
    except _Unreadable:
        return False
    return True


def _first_line(error: BaseException) -> str:
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def _forbidden_names(file: File) -> list[str]:
    """List what the file pickles and neither torch nor the stand-ins allow."""
    if isinstance(file, BytesIO):
        file.seek(0)
    try:
        with stand_ins_allowed():
            return sorted(torch.serialization.get_unsafe_globals_in_checkpoint(file))
    except Exception:  # a name for the message, never a second error
        return _names_in_old_format(file)


def _names_in_old_format(file: File) -> list[str]:
    """List the same for torch's format before 1.6: four pickles in a row, then the tensors."""
    content = file.getvalue() if isinstance(file, BytesIO) else Path(file).read_bytes()
    stream, names = BytesIO(content), set()
    try:
        for _ in range(4):
            for opcode, argument, _ in pickletools.genops(stream):
                if opcode.name == "GLOBAL":
                    names.add(str(argument).replace(" ", ".").replace("__builtin__", "builtins"))
    except (ValueError, struct.error, UnicodeDecodeError):
        return []
    known = ("torch", "collections", "_codecs")
    return sorted(n for n in names if n not in STAND_INS and n.partition(".")[0] not in known)


#: What zipfile raises about damaged headers.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    struct.error,
    ValueError,
    RuntimeError,
    EOFError,
    OSError,
    zlib.error,
)


def _verify(file: File) -> None:
    """Compare the checksums in a zip file with its contents; ``torch.load`` itself does not.

    A file in torch's format before 1.6 has none. About 2.5 GB/s.

    Raises:
        _Unreadable: Something is wrong.
    """
    content = file.getbuffer() if isinstance(file, BytesIO) else None
    size = file.getbuffer().nbytes if isinstance(file, BytesIO) else os.path.getsize(file)
    if not size:
        raise _Unreadable("is empty")
    with BytesIO(file.getbuffer()) if isinstance(file, BytesIO) else open(file, "rb") as opened:
        if opened.read(2) != b"PK":
            return
        try:
            archive = zipfile.ZipFile(opened)
        except _ZIP_ERRORS as error:
            raise _Unreadable(
                "is damaged: the table of contents at its end is missing or wrong, as after an interrupted copy"
            ) from error
        entries = archive.infolist()
        if not any(entry.filename.endswith("data.pkl") for entry in entries):
            raise _Unreadable("is a zip file of something else than a checkpoint")
        if not any(entry.CRC for entry in entries):
            return  # written under torch.serialization.set_crc32_options(False)
        if content is None:
            # Mapped, not read: the file may be larger than the free memory.
            content = memoryview(mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ))
        _verify_entries(archive, entries, content)


INFLATION, ALWAYS_ALLOWED = 16, 64 * 2**20
"""How many times a file's size its entries may unpack to, and the bytes that they may in any case."""


def _refuse_bomb(file: File) -> None:
    """Refuse a zip file whose entries would unpack to far more than it holds, by the sizes in its table of contents.

    torch stores them as they are. Another program may have compressed them, which trained weights hardly let it do.

    Raises:
        _Unreadable: They are too large.
    """
    with BytesIO(file.getbuffer()) if isinstance(file, BytesIO) else open(file, "rb") as opened:
        size = opened.seek(0, os.SEEK_END)
        try:
            unpacked = sum(entry.file_size for entry in zipfile.ZipFile(opened).infolist())
        except _ZIP_ERRORS:
            return  # of torch's format before 1.6, or damaged
    if unpacked > max(INFLATION * size, ALWAYS_ALLOWED):
        raise _Unreadable(
            f"is a zip file of {size} bytes that unpacks to {unpacked} → at most {INFLATION} times its size is read; "
            "if you trust it, unpack it and save it anew with torch.save"
        )


def _verify_entries(
    archive: zipfile.ZipFile, entries: Sequence[zipfile.ZipInfo], content: memoryview
) -> None:
    for entry in entries:
        try:
            intact = _is_intact(archive, entry, content)
        except _ZIP_ERRORS as error:
            raise _Unreadable(f"is damaged in {entry.filename!r}: {_first_line(error)}") from error
        if not intact:
            raise _Unreadable(f"is damaged: the checksum of {entry.filename!r} does not match")


def _is_intact(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, content: memoryview) -> bool:
    with archive.open(entry) as opened:  # compares the entry's two headers
        if entry.compress_type != zipfile.ZIP_STORED:  # torch never compresses, but reads it
            while opened.read(1 << 20):  # raises at the end if the checksum differs
                pass
            return True
    # From the entry's own header: torch pads that one, not the central one, to align its tensors.
    name_length, extra_length = struct.unpack_from("<HH", content, entry.header_offset + 26)
    start = entry.header_offset + 30 + name_length + extra_length
    checksum = zlib.crc32(content[start : start + entry.file_size])
    looks_like_a_folder = (
        entry.external_attr & 0x10
    )  # torch would return uninitialised memory for it
    same_size = entry.compress_size == entry.file_size
    return same_size and checksum == entry.CRC and not looks_like_a_folder


def _hint(path: Path | None) -> str:
    other = previous_checkpoint(path) if path is not None else None
    return f". The newest intact checkpoint next to it is {other}" if other else ""


def previous_checkpoint(path: str | os.PathLike[str]) -> str | None:
    """Return the newest other checkpoint in the folder of ``path`` that is intact, or None.

    The one that ``last_checkpoint`` names is tried first, then periodic ones, then best ones.
    """
    path = Path(path)
    for candidate in _neighbours(path):
        try:
            if not candidate.samefile(path) and what_is_wrong(candidate) is None:
                return str(candidate)
        except OSError:
            continue
    return None


def what_is_wrong(path: Path) -> str | None:
    """Return why a file is not an intact checkpoint, or None; the whole file is read."""
    try:
        _refuse_bomb(path)
        _verify(path)
        with open(path, "rb") as file:
            start = file.read(64)
    except (_Unreadable, OSError) as error:
        return str(error)
    return None if start[:2] == b"PK" or begins_like_torch(start) else "is not a checkpoint"


_OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")
"""The number with which torch before 1.6 begins a file, as pickle writes it."""


def begins_like_torch(start: bytes) -> bool:
    """Return whether a file that begins like this is one of torch's before 1.6; a newer one is a zip file."""
    return start[:1] == b"\x80" and _OLD_MAGIC in start


def _neighbours(path: Path) -> list[Path]:
    saved, _ = read_marker(path.parent)
    marked = saved and file_named(path.parent, saved)
    files = [file for file in path.parent.iterdir() if file.suffix in (".pth", ".ckpt")]
    files = [file for file in files if file.is_file()]
    files.sort(
        key=lambda file: (not file.name.startswith("best"), file.stat().st_mtime), reverse=True
    )
    return [marked, *files] if marked else files
