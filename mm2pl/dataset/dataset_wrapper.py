"""Data sets made of other data sets."""

from __future__ import annotations

import bisect
import copy
import logging
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np
from torch.utils.data import ConcatDataset as _ConcatDataset

from mm2pl.dataset.base_dataset import force_full_init
from mm2pl.errors import ArgumentError
from mm2pl.logging import print_log
from mm2pl.registry import DATASETS


def _built(dataset: Any) -> Any:
    """Return the data set that a config or an object means."""
    if isinstance(dataset, dict):
        return DATASETS.build(dataset)
    # MMEngine's own BaseDataset counts too, so this asks for what is used.
    if hasattr(dataset, "full_init") and hasattr(dataset, "metainfo"):
        return dataset
    raise ArgumentError(
        "elements in datasets sequence should be config or `BaseDataset` instance, but got "
        f"{type(dataset)}: give it the `metainfo` and `full_init` of a BaseDataset, or wrap it in "
        "one of torch.utils.data."
    )


class _Wrapper:
    """What the wrappers share: indices are translated, everything else is asked of the inside."""

    _metainfo: dict
    _fully_initialized = False

    @property
    def metainfo(self) -> dict:
        """A copy of the wrapped data set's meta information; of several, the first one's."""
        return copy.deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Load the annotations of what is wrapped; once."""
        raise NotImplementedError

    def _find(self, idx: int) -> tuple[Any, int]:
        """Return the data set that has sample ``idx``, and the index there."""
        raise NotImplementedError

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Return the entry behind sample ``idx``."""
        dataset, inner = self._find(idx)
        return dataset.get_data_info(inner)

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:
            print_log(
                "Please call `full_init` method manually to accelerate the speed.",
                logger="current",
                level=logging.WARNING,
            )
            self.full_init()
        dataset, inner = self._find(idx)
        return dataset[inner]

    def get_subset_(self, indices: int | Sequence[int]) -> NoReturn:
        """Refuse: it is ambiguous which samples are meant."""
        name = type(self).__name__
        raise NotImplementedError(
            f"`{name}` does not support `get_subset` and `get_subset_`, whose meaning would be "
            f"ambiguous: call them on the wrapped data set, and then use `{name}`."
        )

    def get_subset(self, indices: int | Sequence[int]) -> NoReturn:
        """Refuse: it is ambiguous which samples are meant."""
        self.get_subset_(indices)


class _SingleWrapper(_Wrapper):
    """A wrapper of one data set."""

    def __init__(self, dataset: Any, lazy_init: bool) -> None:
        self.dataset = _built(dataset)
        self._metainfo = self.dataset.metainfo
        if not lazy_init:
            self.full_init()

    def _get_ori_dataset_idx(self, idx: int) -> int:
        """Return the wrapped data set's index of sample ``idx``."""
        raise NotImplementedError

    def _find(self, idx: int) -> tuple[Any, int]:
        return self.dataset, self._get_ori_dataset_idx(idx)


# torch's class only for `isinstance` and `cumulative_sizes`: `_Wrapper` goes first in the method order.
@DATASETS.register_module()
class ConcatDataset(_Wrapper, _ConcatDataset):
    """Chain data sets of one kind; stands for `mmengine.dataset.ConcatDataset`.

    Args:
        datasets: Data sets, or their configs.
        lazy_init: Leave their annotations unread until they are needed.
        ignore_keys: Keys of ``metainfo`` in which they may differ.

    Raises:
        ValueError: There is no data set, or their meta information differs.
        TypeError: One is not a data set, or a meta value is of another type than the first's.
    """

    def __init__(
        self,
        datasets: Sequence[Any],
        lazy_init: bool = False,
        ignore_keys: str | list[str] | None = None,
    ) -> None:
        self.datasets: list[Any] = [_built(dataset) for dataset in datasets]
        if not self.datasets:
            raise ArgumentError(
                f"datasets={datasets!r}: give at least one data set to concatenate."
            )
        if not (ignore_keys is None or isinstance(ignore_keys, (str, list))):
            raise ArgumentError(f"ignore_keys should be a list or str, but got {type(ignore_keys)}")
        self.ignore_keys = [ignore_keys] if isinstance(ignore_keys, str) else ignore_keys or []
        self._metainfo = self.datasets[0].metainfo
        self._check_metainfo()
        if not lazy_init:
            self.full_init()

    def _check_metainfo(self) -> None:
        """Raise if the data sets' meta information differs where it may not."""
        metainfos = [dataset.metainfo for dataset in self.datasets]
        # Sorted, because the order of a set of strings differs between processes, and so would the message.
        keys = set().union(*metainfos) - set(self.ignore_keys)
        for key in sorted(keys, key=str):
            for number, metainfo in enumerate(metainfos, 1):
                if key not in metainfo or key not in self._metainfo:
                    lacking = number if key not in metainfo else 1
                    raise ArgumentError(
                        f"{key} is not in the meta information of the {lacking}-th dataset: add "
                        f"it, or pass ignore_keys=[{key!r}]."
                    )
                first, other = self._metainfo[key], metainfo[key]
                if type(first) is not type(other):
                    raise ArgumentError(
                        f"The type {type(other)} of {key} in the {number}-th dataset should be "
                        f"the same with the first dataset {type(first)}"
                    )
                # `==` of two arrays is an array, and has no truth value.
                same = np.array_equal if isinstance(first, np.ndarray) else _equal
                if not same(first, other):
                    raise ArgumentError(
                        f"The meta information of the {number}-th dataset does not match meta "
                        f"information of the first dataset: {key} is {other!r} instead of "
                        f"{first!r}. If that is meant, pass ignore_keys=[{key!r}]."
                    )

    def full_init(self) -> None:
        """Load the annotations of all data sets; once."""
        if self._fully_initialized:
            return
        for dataset in self.datasets:
            dataset.full_init()
        # Only now: torch's constructor asks for all lengths, which reads the annotations.
        _ConcatDataset.__init__(self, self.datasets)
        self._fully_initialized = True

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> tuple[int, int]:
        """Return which data set has sample ``idx``, and the index there."""
        if not -len(self) <= idx < len(self):
            raise _OutOfRange(f"index {idx} should not exceed dataset length({len(self)}).")
        idx %= len(self)
        which = bisect.bisect_right(self.cumulative_sizes, idx)
        return which, idx - (self.cumulative_sizes[which - 1] if which else 0)

    def _find(self, idx: int) -> tuple[Any, int]:
        which, inner = self._get_ori_dataset_idx(idx)
        return self.datasets[which], inner

    @force_full_init
    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


@DATASETS.register_module()
class RepeatDataset(_SingleWrapper):
    """Go through a data set ``times`` times per epoch; `mmengine.dataset.RepeatDataset`.

    Args:
        dataset: A data set, or its config.
        times: How often.
        lazy_init: Leave its annotations unread until they are needed.
    """

    def __init__(self, dataset: Any, times: int, lazy_init: bool = False) -> None:
        self.times = times
        super().__init__(dataset, lazy_init)

    def full_init(self) -> None:
        """Load the annotations; once."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        self._ori_len = len(self.dataset)
        self._fully_initialized = True

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> int:
        # Without a bound, as in MMEngine: a plain `for` over a RepeatDataset never ends.
        return idx % self._ori_len

    @force_full_init
    def __len__(self) -> int:
        return self.times * self._ori_len


@DATASETS.register_module()
class ClassBalancedDataset(_SingleWrapper):
    r"""Repeat samples of rare classes (LVIS); stands for `mmengine.dataset.ClassBalancedDataset`.

    With ``f(c)`` the fraction of samples that contain category ``c``, sample ``i`` appears
    ``ceil(max(1, max_{c in i} sqrt(oversample_thr / f(c))))`` times.

    Args:
        dataset: A data set with ``get_cat_ids(idx)``, or its config.
        oversample_thr: Categories in a smaller fraction of the samples are repeated.
        lazy_init: Leave its annotations unread until they are needed.
    """

    def __init__(self, dataset: Any, oversample_thr: float, lazy_init: bool = False) -> None:
        self.oversample_thr = oversample_thr
        super().__init__(dataset, lazy_init)

    def full_init(self) -> None:
        """Load the annotations and count the categories; once."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        factors = self._get_repeat_factors(self.dataset, self.oversample_thr)
        self.repeat_indices = [i for i, f in enumerate(factors) for _ in range(math.ceil(f))]
        self._fully_initialized = True

    def _get_repeat_factors(self, dataset: Any, repeat_thr: float) -> list[float]:
        """Return, per sample, how often it should appear."""
        length = len(dataset)
        # A set: `f(c)` counts samples, however often a category occurs in one.
        categories = [set(dataset.get_cat_ids(idx)) for idx in range(length)]
        frequency = Counter(c for of_sample in categories for c in of_sample)
        repeat = {
            c: max(1.0, math.sqrt(repeat_thr / (count / length))) for c, count in frequency.items()
        }
        # A sample without any category appears once.
        return [max((repeat[c] for c in of_sample), default=1.0) for of_sample in categories]

    @force_full_init
    def _get_ori_dataset_idx(self, idx: int) -> int:
        return self.repeat_indices[idx]

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the categories in sample ``idx``."""
        return self.dataset.get_cat_ids(self._get_ori_dataset_idx(idx))

    @force_full_init
    def __len__(self) -> int:
        return len(self.repeat_indices)


class _OutOfRange(ValueError, IndexError):
    """An index beyond the end; MMEngine raises ValueError, and iteration needs IndexError."""


def _equal(first: Any, other: Any) -> bool:
    return bool(first == other)
