"""Instances of a sample: boxes, masks, key points, one entry each."""

from __future__ import annotations

from collections.abc import Sequence, Sized
from typing import Any, overload

import numpy as np
import torch
from typing_extensions import Self

from mm2pl.errors import ArgumentError
from mm2pl.structures.base_data_element import PRIVATE, BaseDataElement

IndexType = str | slice | int | list[Any] | torch.Tensor | np.ndarray
"""What :class:`InstanceData` can be indexed by; tensors are 1-dim, of dtype long or bool."""


class InstanceData(BaseDataElement):
    """Data of one length; stands for `mmengine.structures.InstanceData`.

    A value is a tensor, an array, a list, a tuple, a string, or an object with ``__len__``, ``__getitem__`` and a
    static ``cat``.

    The arguments are those of `BaseDataElement`; every data field must have the same length, the number of instances.

    Example:
        >>> found = InstanceData(scores=torch.tensor([0.8, 0.7, 0.9]), names=["cat", "dog", "cow"])
        >>> best = found[found.scores > 0.75]
        >>> best.names, len(best), found[-1].names
        (['cat', 'cow'], 2, ['cow'])
        >>> InstanceData.cat([best, found[1]]).scores
        tensor([0.8000, 0.9000, 0.7000])
    """

    def __setattr__(self, name: str, value: Sized) -> None:
        if name not in PRIVATE:
            if not isinstance(value, Sized):
                raise ArgumentError(
                    f"value must contain `__len__` attribute, but {name} is {value!r}"
                )
            # As in MMEngine 0.10.7, even the only field cannot change its length: it is compared with itself.
            if len(self) > 0 and len(value) != len(self):
                raise ArgumentError(
                    f"The length of values {len(value)} is not consistent with the length of this "
                    f":obj:`InstanceData` {len(self)}"
                )
        super().__setattr__(name, value)

    __setitem__ = __setattr__

    @overload
    def __getitem__(self, item: str) -> Any: ...
    @overload
    def __getitem__(
        self, item: slice | int | list[Any] | torch.Tensor | np.ndarray[Any, Any]
    ) -> Self: ...
    def __getitem__(self, item: IndexType) -> Any:
        """Return the field that a string names, or an element with some of the instances (a single one too).

        Raises:
            ArgumentError: Not an :data:`IndexType`; a tensor of another shape or dtype; a bool one of another length.
            IndexError: There is no such instance.
            ValueError: A value can neither be indexed nor concatenated.
        """
        if isinstance(item, str):
            return getattr(self, item)
        index = _as_index(item, len(self))
        chosen = self.__class__(metainfo=self.metainfo)
        for name, value in self.items():
            chosen[name] = value[index] if isinstance(index, slice) else _take(name, value, index)
        return chosen

    @staticmethod
    def cat(instances_list: Sequence[InstanceData]) -> InstanceData:
        """Put the elements of ``instances_list``, which have the same fields, one behind another.

        The first one's meta information is kept.

        Raises:
            ArgumentError: There is none, or they differ in their fields.
            ValueError: A value cannot be concatenated.
        """
        if not instances_list or not all(isinstance(one, InstanceData) for one in instances_list):
            raise ArgumentError(
                f"a non-empty list of InstanceData is needed, but got {instances_list!r}"
            )
        first = instances_list[0]
        if len(instances_list) == 1:
            # As in MMEngine 0.10.7: the very element, no copy.
            return first
        if any(set(one.all_keys()) != set(first.all_keys()) for one in instances_list):
            raise ArgumentError(
                f"There are different keys in `instances_list`, which may cause the cat operation to fail. Please "
                f"make sure all elements in `instances_list` have the exact same key: "
                f"{[one.all_keys() for one in instances_list]}"
            )
        joined = first.__class__(metainfo=first.metainfo)
        for name in list(first.keys()):
            joined[name] = _cat(name, [one[name] for one in instances_list])
        return joined

    def __len__(self) -> int:
        values = self.values() if self._data_fields else []
        # __setattr__ has made all fields equally long, unless set_field was called directly.
        return len(values[0]) if values else 0


def _as_index(item: Any, length: int) -> slice | torch.Tensor:
    """Return a slice, or a vector of numbers or bools."""
    if isinstance(item, slice):
        return item
    if isinstance(item, int):
        if not -length <= item < length:
            raise IndexError(f"Index {item} out of range!")
        # takes the item-th only, for a negative one too
        return slice(item, None, length)
    if isinstance(item, list):
        # NumPy makes float64 of an empty list, and MMEngine 0.10.7 fails on that as an index.
        item = np.array(item) if item else np.zeros(0, np.int64)
    if isinstance(item, np.ndarray):
        # NumPy's own integer on Windows was int32 before NumPy 2. Tensors of int32 are refused below.
        item = torch.from_numpy(item.astype(np.int64) if item.dtype == np.int32 else item)
    if not isinstance(item, torch.Tensor):
        raise ArgumentError(
            f"{item!r}: InstanceData is indexed by a str, slice, int, list, array or tensor"
        )
    if item.dtype not in (torch.long, torch.bool) or item.dim() != 1:
        raise ArgumentError(
            f"Only support to get the values along the first dimension, by a long or bool vector, but got "
            f"{item.dtype} of shape {tuple(item.shape)}"
        )
    if item.dtype == torch.bool and len(item) != length:
        raise ArgumentError(
            f"The shape of the input(BoolTensor) {len(item)} does not match the shape of the indexed tensor in "
            f"results_field {length} at first dimension."
        )
    return item


def _take(name: str, value: Any, index: torch.Tensor) -> Any:
    """Index one value by a tensor."""
    if isinstance(value, torch.Tensor):
        return value[index]
    if isinstance(value, np.ndarray):
        # NumPy cannot read an index from another device.
        return value[index.cpu().numpy()]
    if not isinstance(value, (str, list, tuple)) and not (
        hasattr(value, "__getitem__") and hasattr(value, "cat")
    ):
        raise ValueError(
            f"The type of `{name}` is `{type(value)}`, which has no attribute of `cat`, so it does not support slice "
            f"with `bool`"
        )
    numbers = (index.nonzero().view(-1) if index.dtype == torch.bool else index).tolist()
    parts = [value[slice(number, None, len(value))] for number in numbers]
    # Where nothing is chosen, an empty slice keeps the field's type.
    return _cat(name, parts or [value[:0]])


def _cat(name: str, values: list[Any]) -> Any:
    first = values[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(values, dim=0)
    if isinstance(first, np.ndarray):
        return np.concatenate(values, axis=0)
    if isinstance(first, (str, list, tuple)):
        # sum() refuses strings.
        return sum(values[1:], start=first[:]) if not isinstance(first, str) else "".join(values)
    if hasattr(first, "cat"):
        return first.cat(values)
    raise ValueError(f"The type of `{name}` is `{type(first)}` which has no attribute of `cat`")
