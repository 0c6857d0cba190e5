"""Annotation files, and their entries pickled one after the other in a single array.

An array of bytes has one reference count; worker processes forked from this one share its memory
for good, while every touched Python object would be copied into each of them.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mm2pl.errors import ArgumentError, MissingFileError
from mm2pl.fileio import load


def load_ann_file(ann_file: str | None, data_root: str | None = None) -> tuple[Mapping, Sequence]:
    """Return the ``metainfo`` and the ``data_list`` of an annotation file.

    Raises:
        FileNotFoundError: There is no such file.
        ArgumentError: There is no name of a file.
        ValueError: It is broken, or one of the two keys is missing.
        TypeError: It is in an unknown format, or does not hold a dict.
    """
    where = f"ann_file={ann_file!r}"
    if not ann_file:
        raise ArgumentError(
            f"{where}: give the annotation file, or override load_data_list in a subclass that "
            "needs none."
        )
    try:
        content = load(ann_file)
    except FileNotFoundError as error:
        raise MissingFileError(
            f"{where} does not exist (data_root={data_root!r}, working directory {os.getcwd()!r}): "
            "check data_root and ann_file."
        ) from error
    # These name their cause already: no permission, an unknown suffix, a missing package.
    except (OSError, TypeError, ImportError):
        raise
    except Exception as error:  # each format has errors of its own
        raise ArgumentError(
            f"{where} is broken or not in the format of its suffix ({type(error).__name__}: "
            f"{error}): write it again."
        ) from error
    if not isinstance(content, Mapping):
        raise ArgumentError(
            f"The annotations loaded from annotation file should be a dict, but got "
            f"{type(content)}! {where} must hold dict(metainfo=dict(…), data_list=[…])."
        )
    missing = [key for key in ("metainfo", "data_list") if key not in content]
    if missing:
        raise ArgumentError(
            f"Annotation must have data_list and metainfo keys, but {where} has "
            f"{sorted(map(str, content))} and lacks {missing}: add them, or override load_data_list."
        )
    return content["metainfo"], content["data_list"]


def serialize(entries: list[Any]) -> tuple[np.ndarray, np.ndarray]:
    """Pickle ``entries``, which is emptied; return all bytes and, per entry, where its bytes end."""
    ends = np.empty(len(entries), dtype=np.int64)
    data = bytearray()
    # Freeing each entry at once, and keeping no pickle, leaves a heap without holes: memory in them
    # could not be given back, and every worker process has a share of it.
    entries.reverse()
    for position in range(len(ends)):
        data += pickle.dumps(entries.pop(), protocol=4)
        ends[position] = len(data)
    # A bytearray over-allocates while it grows; the copy has just the bytes.
    return np.frombuffer(data, dtype=np.uint8).copy(), ends


def get_entry(data: np.ndarray, ends: np.ndarray, position: int) -> Any:
    """Return a fresh copy of the entry at ``position``, which is not negative."""
    start = ends[position - 1] if position else 0
    # A memoryview: the bytes are not copied before they are read.
    return pickle.loads(data[start : ends[position]].data)


def subset(
    data: np.ndarray, ends: np.ndarray, indices: int | Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the first ``n`` (last ``-n``) entries, or those at the given places.

    Nothing is copied for an int.

    Raises:
        ArgumentError: An index is beyond the data set.
        TypeError: ``indices`` is neither an integer nor a sequence of them.
    """
    length = len(ends)
    if isinstance(indices, int):
        if abs(indices) > length:
            raise ArgumentError(
                f"indices={indices!r} is out of dataset length({length}): give at most that many."
            )
        first, last = (0, indices) if indices >= 0 else (length + indices, length)
        # MMEngine 0.10.7 fails where all entries are kept from the end, `indices=-len`.
        start = ends[first - 1] if first else 0
        stop = ends[last - 1] if last else 0
        return data[start:stop], ends[first:last] - start
    if not isinstance(indices, Sequence):
        raise ArgumentError(f"indices should be a int or sequence of int, but got {type(indices)}")
    for index in indices:
        if not -length <= index < length:
            raise ArgumentError(f"indices has {index}, out of dataset length({length}).")
    places = [index % length for index in indices]
    parts = [data[ends[place - 1] if place else 0 : ends[place]] for place in places]
    # `np.concatenate` refuses an empty list; MMEngine 0.10.7 returns float arrays there.
    if not parts:
        return data[:0], ends[:0]
    # NumPy 1 counts in 32 bits on Windows, which 2 GB of annotations exceed.
    return np.concatenate(parts), np.cumsum([len(part) for part in parts], dtype=np.int64)
