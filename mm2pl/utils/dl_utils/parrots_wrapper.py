"""Torch's own classes, by the names under which OpenMMLab's packages import them."""

from __future__ import annotations

import torch
from torch.nn import SyncBatchNorm

# Private in torch, but OpenMMLab's packages import these classes from here.
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeMixin
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)
from torch.utils.data import DataLoader

__all__ = [
    "TORCH_VERSION",
    "DataLoader",
    "PoolDataLoader",
    "SyncBatchNorm",
    "SyncBatchNorm_",
    "_AdaptiveAvgPoolNd",
    "_AdaptiveMaxPoolNd",
    "_AvgPoolNd",
    "_BatchNorm",
    "_ConvNd",
    "_ConvTransposeMixin",
    "_InstanceNorm",
    "_MaxPoolNd",
    "get_build_config",
    "is_rocm_pytorch",
]

TORCH_VERSION = torch.__version__
# Two classes in Parrots, one in torch.
PoolDataLoader = DataLoader
SyncBatchNorm_ = SyncBatchNorm


def is_rocm_pytorch() -> bool:
    """Return whether torch is built for AMD's devices."""
    return torch.version.hip is not None


def get_build_config() -> str:
    """Return how torch was compiled."""
    return torch.__config__.show()
