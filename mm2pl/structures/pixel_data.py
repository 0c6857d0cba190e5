"""Maps over the pixels of a sample."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from typing_extensions import Self

from mm2pl.errors import ArgumentError
from mm2pl.structures.base_data_element import PRIVATE, BaseDataElement


class PixelData(BaseDataElement):
    """Data of shape ``(C, H, W)`` with one ``H`` and ``W``; stands for `mmengine.structures.PixelData`.

    A map ``(H, W)`` gets a channel dimension, with a warning.

    The arguments are those of `BaseDataElement`. Every data field is a tensor or an array.

    Example:
        >>> maps = PixelData(heat=torch.zeros(2, 4, 6))
        >>> maps.shape, maps[1:3, 2:].shape, maps[0, 0].shape
        ((4, 6), (2, 4), (1, 1))
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in PRIVATE:
            super().__setattr__(name, value)
            return
        if not isinstance(value, (torch.Tensor, np.ndarray)):
            raise ArgumentError(f"Can not set {type(value)}: a tensor or an array is needed")
        # As in MMEngine 0.10.7, even the only map cannot change its size.
        if self.shape and tuple(value.shape[-2:]) != self.shape:
            raise ArgumentError(
                f"The height and width of {name}, {tuple(value.shape[-2:])}, are not those of this "
                f"PixelData, {self.shape}"
            )
        if value.ndim not in (2, 3):
            raise ArgumentError(f"The dim of value must be 2 or 3, but got {value.ndim}")
        if value.ndim == 2:
            value = value[None]
            warnings.warn(
                f"The shape of value will convert from {value.shape[-2:]} to {value.shape}",
                stacklevel=2,
            )
        super().__setattr__(name, value)

    def __getitem__(self, item: tuple[int | slice, int | slice]) -> Self:
        """Cut out rows and columns; an int keeps its dimension.

        Raises:
            TypeError: ``item`` is not made of ints and slices.
        """
        if not isinstance(item, tuple):
            raise TypeError(
                f"Unsupported type {type(item)} for slicing PixelData: [rows, columns] is accepted"
            )
        if len(item) != 2:
            raise ArgumentError(f"Only support to slice height and width, but got {item!r}")
        window: list[slice] = []
        # Without data there is no shape, and nothing is cut below.
        for part, size in zip(item, self.shape or (0, 0), strict=True):
            if not isinstance(part, (int, slice)):
                raise TypeError(
                    f"The type of element in input must be int or slice, but got {type(part)}"
                )
            # slice(i, None, size) takes the i-th only, for a negative i too
            window.append(slice(part, None, size) if isinstance(part, int) else part)
        cut = self.__class__(metainfo=self.metainfo)
        for name, value in self.items():
            setattr(cut, name, value[(slice(None), *window)])
        return cut

    @property
    def shape(self) -> tuple[int, int] | None:
        """``(H, W)``, or None without data."""
        values = self.values() if self._data_fields else []
        return tuple(values[0].shape[-2:]) if values else None
