"""A data set described by one annotation file."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from mm2pl.dataset.compose import Compose
from mm2pl.dataset.entries import get_entry, load_ann_file, serialize, subset
from mm2pl.errors import ArgumentError, StateError
from mm2pl.fileio import join_path, list_from_file
from mm2pl.logging import print_log
from mm2pl.utils import is_abs

F = TypeVar("F", bound=Callable[..., Any])

_ANNOTATIONS = ("data_list", "data_bytes", "data_address")


def force_full_init(old_func: F) -> F:
    """Decorate the method ``old_func`` so that it calls ``self.full_init()`` first if that was not done yet."""

    @functools.wraps(old_func)
    def wrapper(obj: Any, *args: Any, **kwargs: Any) -> Any:
        if not hasattr(obj, "full_init"):
            raise AttributeError(
                f"{type(obj)} does not have full_init method, which force_full_init calls: add it."
            )
        # A wrapper of a toolbox may not have the attribute before its own `full_init`.
        if not getattr(obj, "_fully_initialized", False):
            print_log(
                f"`{old_func.__name__}` needs the annotations of {type(obj).__name__}: "
                "`full_init` will be called now.",
                logger="current",
                level=logging.WARNING,
            )
            obj.full_init()
            # A `full_init` of a user's own may forget to set it, and would then run at every call.
            obj._fully_initialized = True
        return old_func(obj, *args, **kwargs)

    return wrapper  # type: ignore[return-value]


class BaseDataset(Dataset):
    """Read a list of annotations and run a pipeline on each; `mmengine.dataset.BaseDataset`.

    The annotation file (json, yaml or pickle) holds ``{'metainfo': {…}, 'data_list': [{…}, …]}``.
    Subclasses for other formats override :meth:`load_data_list` or :meth:`parse_data_info`.

    Args:
        ann_file: The annotation file, relative to ``data_root``.
        metainfo: Wins over the class's ``METAINFO``, which wins over the file's; a string that names
            a text file stands for the list of its lines.
        data_root: Directory (or URL) that relative paths begin at.
        data_prefix: Directories by the key of the annotation whose path they belong to.
        filter_cfg: For a subclass's :meth:`filter_data`.
        indices: Keep the first ``n`` (last ``-n``) entries, or those at the given places.
        serialize_data: Keep the entries pickled in one array, which worker processes share; a list
            of objects is copied into each of them, by and by.
        pipeline: Transforms, or their configs.
        test_mode: A transform that returns None is an error, instead of a reason to try another entry.
        lazy_init: Leave the annotation file unread until it is needed.
        max_refetch: Other random entries to try when the pipeline returns None.

    Raises:
        FileNotFoundError: The annotation file does not exist.
        ArgumentError: It does not hold ``metainfo`` and ``data_list``.

    Example:
    >>> class Squares(BaseDataset):
    ...     METAINFO = {"classes": ("even", "odd")}
    ...     def load_data_list(self):
    ...         return [{"number": n, "label": n % 2} for n in range(4)]
    >>> data = Squares(pipeline=[lambda entry: {**entry, "square": entry["number"] ** 2}])
    >>> len(data), data[3]
    (4, {'number': 3, 'label': 1, 'sample_idx': 3, 'square': 9})
    """

    METAINFO: dict = {}  # noqa: RUF012  # subclasses and users assign plain dicts
    # On the class: a subclass may read it before it calls `super().__init__`.
    _fully_initialized: bool = False

    def __init__(
        self,
        ann_file: str | None = "",
        metainfo: Mapping | None = None,
        data_root: str | None = "",
        data_prefix: dict = {"img_path": ""},  # noqa: B006  # copied, and part of the signature
        filter_cfg: dict | None = None,
        indices: int | Sequence[int] | None = None,
        serialize_data: bool = True,
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        lazy_init: bool = False,
        max_refetch: int = 1000,
    ) -> None:
        self.ann_file = ann_file
        # One config often gives the same dicts to the train and the test set, so each takes copies.
        self._metainfo = self._load_metainfo(copy.deepcopy(metainfo))
        self.data_root = data_root
        self.data_prefix = copy.copy(data_prefix)
        self.filter_cfg = copy.deepcopy(filter_cfg)
        self._indices = indices
        self.serialize_data = serialize_data
        self.test_mode = test_mode
        self.max_refetch = max_refetch
        self.data_list: list[dict] = []
        self.data_bytes: np.ndarray
        self.data_address: np.ndarray
        self._join_prefix()
        # Before the annotations are read: a broken pipeline is told at once.
        self.pipeline = Compose(pipeline)
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """A copy of the meta information, such as ``classes``."""
        return copy.deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Load, filter, cut to ``indices`` and serialize the annotations; once."""
        if self._fully_initialized:
            return
        self.data_list = self.load_data_list()
        # In two assignments, since `filter_data` reads `self.data_list`.
        self.data_list = self.filter_data()
        # After the filter, as in MMEngine: `indices=10` means ten entries that are kept.
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def load_data_list(self) -> list[dict]:
        """Return all entries of ``self.ann_file``, each as :meth:`parse_data_info` makes it.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It cannot be read, or lacks ``metainfo`` or ``data_list``.
            TypeError: Something in it is of a wrong type.
        """
        metainfo, raw_entries = load_ann_file(self.ann_file, self.data_root)
        for key, value in metainfo.items():
            # The file comes last: what the class or the argument says stays.
            self._metainfo.setdefault(key, value)
        entries: list[dict] = []
        for raw_entry in raw_entries:
            parsed = self.parse_data_info(raw_entry)
            several = parsed if isinstance(parsed, list) else [parsed]
            for entry in several:
                if not isinstance(entry, dict):
                    raise ArgumentError(
                        f"{type(self).__name__}.parse_data_info should return a dict or list of "
                        f"dict, but got {type(entry)} for {raw_entry!r}."
                    )
            entries.extend(several)
        return entries

    def parse_data_info(self, raw_data_info: dict) -> dict | list[dict]:
        """Return one entry of the file as one entry of the data set, or as several.

        Here: join the paths at the keys of ``data_prefix`` to their directories.

        ``raw_data_info`` is an element of the file's ``data_list``; it is changed in place.

        Raises:
            ArgumentError: ``data_prefix`` has a key that the entry lacks.
        """
        for key, prefix in self.data_prefix.items():
            if key not in raw_data_info:
                raise ArgumentError(
                    f"data_prefix has the key {key!r}, but the entry has only "
                    f"{sorted(raw_data_info)}: give data_prefix={{}} or one of these keys."
                )
            raw_data_info[key] = join_path(prefix, raw_data_info[key])
        return raw_data_info

    def filter_data(self) -> list[dict]:
        """Return the entries to keep of ``self.data_list``; here all."""
        return self.data_list

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the categories in entry ``idx``; `ClassBalancedDataset` asks for them."""
        raise NotImplementedError(f"{type(self)} must implement `get_cat_ids` method")

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return a fresh copy of entry ``idx``, with ``sample_idx``."""
        # MMEngine 0.10.7 reads `data_address[idx - 1]`, which fails for `idx == -len(self)`.
        position = idx if idx >= 0 else len(self) + idx
        if self.serialize_data:
            entry = get_entry(self.data_bytes, self.data_address, position)
        else:
            # Transforms write into the entry.
            entry = copy.deepcopy(self.data_list[position])
        entry["sample_idx"] = position
        return entry

    def prepare_data(self, idx: int) -> Any:
        """Return what the pipeline makes of entry ``idx``; None if it fails."""
        return self.pipeline(self.get_data_info(idx))

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:
            print_log(
                "Please call `full_init()` method manually to accelerate the speed: otherwise "
                "every worker process reads the annotations.",
                logger="current",
                level=logging.WARNING,
            )
            self.full_init()
        if self.test_mode:
            data = self.prepare_data(idx)
            if data is None:
                raise StateError(
                    f"Test time pipeline should not get `None` data_sample, but sample {idx} of "
                    f"{type(self).__name__} gives it."
                )
            return data
        # The first attempt is not a refetch, so there is one more.
        for _ in range(self.max_refetch + 1):
            data = self.prepare_data(idx)
            if data is not None:
                return data
            idx = self._rand_another()
        raise StateError(
            f"Cannot find valid image after {self.max_refetch}! The pipeline of "
            f"{type(self).__name__} returned None each time: check your image path and pipeline."
        )

    def _rand_another(self) -> int:
        # NumPy's global stream, one number a time: MMEngine's draws, which a seeded worker repeats.
        return np.random.randint(0, len(self))

    @force_full_init
    def __len__(self) -> int:
        return len(self.data_address if self.serialize_data else self.data_list)

    @classmethod
    def _load_metainfo(cls, metainfo: Any = None) -> dict:
        """Return ``cls.METAINFO`` updated by ``metainfo``, files of lines read."""
        # METAINFO belongs to the class; every instance adds to its own.
        merged = copy.deepcopy(cls.METAINFO)
        if metainfo is None:
            return merged
        # Ours or MMEngine's Config: neither is a Mapping, and both keep one there.
        content = getattr(metainfo, "_cfg_dict", metainfo)
        if not isinstance(content, Mapping):
            raise ArgumentError(f"metainfo should be a Mapping or Config, but got {type(metainfo)}")
        for key, value in content.items():
            merged[key] = _lines_of(value) if isinstance(value, str) else value
        return merged

    def _join_prefix(self) -> None:
        """Make ``ann_file`` and the values of ``data_prefix`` begin at ``data_root``."""
        if self.ann_file and not is_abs(self.ann_file) and self.data_root:
            self.ann_file = join_path(self.data_root, self.ann_file)
        for key, prefix in self.data_prefix.items():
            if not isinstance(prefix, str):
                raise ArgumentError(f"prefix should be a string, but got {type(prefix)} at {key!r}")
            if not is_abs(prefix) and self.data_root:
                self.data_prefix[key] = join_path(self.data_root, prefix)

    @force_full_init
    def get_subset_(self, indices: int | Sequence[int]) -> None:
        """Keep only the entries that ``indices`` names: the first ``n`` (last ``-n``), or those at the given places."""
        if self.serialize_data:
            self.data_bytes, self.data_address = self._get_serialized_subset(indices)
        else:
            self.data_list = self._get_unserialized_subset(indices)

    @force_full_init
    def get_subset(self, indices: int | Sequence[int]) -> BaseDataset:
        """Return a data set like this one with only the entries :meth:`get_subset_` would keep."""
        other = self._copy_without_annotation()
        if self.serialize_data:
            data_bytes, data_address = self._get_serialized_subset(indices)
            # A slice would keep the whole array alive, and share it.
            other.data_bytes, other.data_address = data_bytes.copy(), data_address.copy()
        else:
            other.data_list = copy.deepcopy(self._get_unserialized_subset(indices))
        return other

    def _get_serialized_subset(self, indices: int | Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        return subset(self.data_bytes, self.data_address, indices)

    def _get_unserialized_subset(self, indices: int | Sequence[int]) -> list[dict]:
        if isinstance(indices, int):
            return self.data_list[:indices] if indices >= 0 else self.data_list[indices:]
        if isinstance(indices, Sequence):
            return [self.data_list[index] for index in indices]
        raise ArgumentError(f"indices should be a int or sequence of int, but got {type(indices)}")

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries as bytes with their ends, and empty ``self.data_list``."""
        return serialize(self.data_list)

    def _copy_without_annotation(self, memo: dict | None = None) -> BaseDataset:
        """Return a deep copy of everything except the entries."""
        # Without `__init__`, which would read the annotations again.
        other = type(self).__new__(type(self))
        # MMEngine 0.10.7 has `memo=dict()`: it lives on, and a later copy may get an old object whose id is used again.
        memo = {} if memo is None else memo
        memo[id(self)] = other
        for key, value in self.__dict__.items():
            if key not in _ANNOTATIONS:
                other.__dict__[key] = copy.deepcopy(value, memo)
        return other


def _lines_of(value: str) -> Any:
    """Return the lines of the text file ``value``, or ``value`` itself if it is not a file."""
    try:
        return list_from_file(value)
    # MMEngine 0.10.7 knows only a missing file, and fails for the name of a folder.
    except (TypeError, ValueError, OSError):
        print_log(
            f"{value} is not a meta file, simply parsed as meta information",
            logger="current",
            level=logging.WARNING,
        )
        return value
