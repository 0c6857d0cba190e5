"""The functions of ``mmcv._ext`` by name, with MMCV's calling convention: results go into the caller's buffers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mm2pl.ops import (
    ext_boxes,
    ext_convolutions,
    ext_generation,
    ext_others,
    ext_points,
    ext_regions,
    ext_sparse,
    ext_time,
    ext_voxels,
)
from mm2pl.ops.ext_arguments import checked

MODULES = (
    ext_boxes,
    ext_convolutions,
    ext_generation,
    ext_others,
    ext_points,
    ext_regions,
    ext_sparse,
    ext_time,
    ext_voxels,
)
FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{
        name: checked(name, function)
        for module in MODULES
        for name, function in module.FUNCTIONS.items()
    },
    "get_compiler_version": lambda: "none: mm2pl.ops, PyTorch",
    "get_compiling_cuda_version": lambda: "not available",
}
"""What runs here, by the name that ``mmcv/ops/*.py`` loads."""
