"""Norm layers and images; the functions of `mmengine.utils.dl_utils.misc`."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mm2pl.errors import ArgumentError
from mm2pl.utils.misc import is_tuple_of


def is_norm(layer: nn.Module, exclude: type | tuple[type, ...] | None = None) -> bool:
    """Return whether ``layer`` is a batch, instance, group or layer norm, and none of ``exclude``.

    Raises:
        TypeError: ``exclude`` is neither a type nor a tuple of types.
    """
    excluded = exclude if isinstance(exclude, tuple) else () if exclude is None else (exclude,)
    if not is_tuple_of(excluded, type):
        raise TypeError(
            '"exclude" must be either None or type or a tuple of types, '
            f"but got {type(exclude)}: {exclude}"
        )
    norms = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)
    return isinstance(layer, norms) and not isinstance(layer, excluded)


def has_batch_norm(model: nn.Module) -> bool:
    """Return whether a batch norm is in ``model``."""
    return any(isinstance(module, _BatchNorm) for module in model.modules())


def tensor2imgs(
    tensor: torch.Tensor,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    to_bgr: bool = True,
) -> list[np.ndarray]:
    """Turn normalized images back into arrays.

    Args:
        tensor: ``(N, C, H, W)`` with C of 1 or 3.
        mean: What was subtracted, per channel; None: 0.
        std: What was divided by, per channel; None: 1.
        to_bgr: Reverse three channels.

    Returns:
        N contiguous arrays ``(H, W, C)``.

    Raises:
        ArgumentError: The tensor has another shape, or ``mean`` and ``std`` other lengths.
    """
    if not (torch.is_tensor(tensor) and tensor.ndim == 4 and tensor.size(1) in (1, 3)):
        raise ArgumentError(f"tensor must be (N, C, H, W) with C of 1 or 3, but got {tensor!r}")
    channels = tensor.size(1)
    mean, std = mean or (0,) * channels, std or (1,) * channels
    if not len(mean) == len(std) == channels or (channels == 1 and to_bgr):
        raise ArgumentError(
            f"mean and std need {channels} values, but got {mean} and {std}; to_bgr={to_bgr} needs "
            "three channels."
        )
    scale, shift = tensor.new_tensor(std).view(1, -1), tensor.new_tensor(mean).view(1, -1)
    images = (tensor.permute(0, 2, 3, 1) * scale + shift).detach().cpu().numpy()
    if to_bgr:
        images = images[..., ::-1]
    # A reversed view has a negative stride. OpenCV does not draw into such an array.
    return [np.ascontiguousarray(image) for image in images]


def mmcv_full_available() -> bool:
    """Return whether MMCV is installed with its compiled operators."""
    # Asking for the submodule alone raises if the package is missing.
    # MMEngine 0.10.7 asks pkgutil.find_loader, which Python 3.14 no longer has.
    return find_spec("mmcv") is not None and find_spec("mmcv._ext") is not None
